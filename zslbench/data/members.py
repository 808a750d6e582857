"""What a zip archive may hold to be unpacked: plain files inside itself, in sane numbers and sizes.

The sizes are those that the archive declares; zipfile gives no byte more than is declared.
"""

from __future__ import annotations

import stat
import zipfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from zslbench.errors import BadData

MAX_ENTRIES = 10_000
MAX_BYTES = 64 << 30
"""Unpacked, all together: 64 GiB; the largest official archive unpacks to some 3."""
MAX_RATIO = 200
"""Unpacked bytes a packed one; features compress some five times, deflate's limit is 1,032."""
SMALL = 1 << 20
"""Bytes that a member may unpack to at any ratio."""
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))}


def check_members(members: Iterable[zipfile.ZipInfo], path: Path) -> None:
    """Refuse an archive by what its directory says, before anything is unpacked.

    Raises:
        BadData: it names something outside itself, holds a link or a device, or unpacks to too much.
    """
    members = list(members)
    if len(members) > MAX_ENTRIES:
        raise BadData(
            f"{path} has {len(members):,} entries where {MAX_ENTRIES:,} are allowed; unpack it yourself and import the "
            "folder."
        )
    for member in members:
        _check_place(member, path)
        _check_kind(member, path)
        if member.file_size > SMALL and member.file_size > MAX_RATIO * max(member.compress_size, 1):
            raise BadData(
                f"{path}: {member.filename!r} would unpack from {member.compress_size:,} to {member.file_size:,} "
                f"bytes, more than {MAX_RATIO} times its size; it looks like a bomb and is not unpacked."
            )
    total = sum(member.file_size for member in members)
    if total > MAX_BYTES:
        raise BadData(
            f"{path} would unpack to {total:,} bytes where {MAX_BYTES:,} are allowed; unpack it yourself and "
            "import the folder."
        )


def parts_of(member: zipfile.ZipInfo) -> tuple[str, ...]:
    """Return the folders and the name of a member, whichever slash it was written with."""
    return PurePosixPath(member.filename.replace("\\", "/")).parts


def _check_place(member: zipfile.ZipInfo, path: Path) -> None:
    parts = parts_of(member)
    outside = member.filename.startswith(("/", "\\")) or ".." in parts or any(":" in part for part in parts)
    if outside or any(part.partition(".")[0].rstrip().lower() in _DEVICES for part in parts):
        raise BadData(f"{path} names {member.filename!r}, outside itself; it is not safe to unpack.")
    if not member.filename.isprintable():
        raise BadData(f"{path} names {member.filename!r}, which cannot be printed; it is not safe to unpack.")


def _check_kind(member: zipfile.ZipInfo, path: Path) -> None:
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind == stat.S_IFLNK:
        raise BadData(f"{path} holds a link, {member.filename!r}; archives with links are not unpacked.")
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise BadData(f"{path} holds {member.filename!r}, which is neither file nor folder; it is not unpacked.")
    if member.compress_type not in _METHODS:
        raise BadData(
            f"{path}: {member.filename!r} is packed by method {member.compress_type}; pack it again by deflate, "
            "the usual one."
        )
