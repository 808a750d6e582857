"""Install data sets from an archive or a folder that the user has: the verb ``zslbench data import``.

Only ``*.mat`` and ``*.txt`` files directly in a folder with the name of a catalogued data set are taken. They are
unpacked beside their destination, together with the files there that are kept, and the whole folder is then replaced in
one step. So a broken archive, a full disk or a killed process leaves what was installed before, never a mixture.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import shutil
import stat
import zipfile
from collections.abc import Callable, Collection, Sequence
from pathlib import Path, PurePosixPath
from typing import IO, Any

from zslbench.data.array_store import home, write_home
from zslbench.data.catalogue import CATALOGUE
from zslbench.data.parsers import refuse_broken
from zslbench.errors import BadData, DataMissing
from zslbench.files import switch_folder, working_folder
from zslbench.identity import expand_home, file_sha256

ORIGIN = "origin.json"
MAX_ENTRIES = 10_000
MAX_BYTES = 64 << 30
"""Total unpacked size: 64 GiB; the largest official archive unpacks to about 3 GiB."""
MAX_RATIO = 200
"""Unpacked bytes per packed byte; features compress about five times, and deflate's limit is 1,032."""
SMALL = 1 << 20
"""Bytes to which a member may unpack whatever its ratio."""
_FOLDERS = {source.card.folder.lower(): source.card.folder for source in CATALOGUE}
_NAMES = {source.card.folder: source.name for source in CATALOGUE}
_DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))}

Openers = dict[tuple[str, str], Callable[[], Any]]
"""Functions that open a file, by its data set folder and name."""


@dataclasses.dataclass(frozen=True)
class Installed:
    """What was installed of one data set: its registered name, its folder, the new files, and their source.

    `note` says how the sha256 compares with those of earlier copies.
    """

    name: str
    folder: Path
    files: tuple[str, ...]
    source: str
    sha256: str = ""
    note: str = ""


def import_(source: Path | str) -> list[Installed]:
    """Install every catalogued data set of a zip archive or a folder under ``ZSLBENCH_HOME/xlsa17``.

    A folder may be an xlsa17 tree or the folder of a single data set. Installed files of the same name are replaced,
    others stay. Links in a folder are followed; an archive that contains links, or paths outside itself, is refused.

    Raises:
        DataMissing: there is no such file or folder.
        BadData: the file is not a zip archive, is broken or unsafe, or contains no catalogued data set.
        StoreError: the files cannot be written.
    """
    path = expand_home(source).absolute()
    if path.is_dir():
        try:
            return _install(_find_in_folder(path), str(path), "")
        except EOFError as error:
            raise BadData(f"{path} cannot be read completely ({error}); check its disk.") from error
    if not path.is_file():
        raise DataMissing(f"there is no file or folder {path}; give a zip archive, or a folder that holds CUB, SUN, …")
    return import_archive(path, str(path), file_sha256(path))


def import_archive(
    path: Path, source: str, checksum: str, *, required: Collection[str] = (), allowed: Collection[str] | None = None
) -> list[Installed]:
    """Install from a zip archive, recording the `source` it came from and its sha256 (see `import_`).

    Args:
        required: data set folders that it must contain; if one is absent nothing is installed.
        allowed: data set folders that may be installed; None: all that it contains.
    """
    with (
        refuse_broken(source, "cannot be unpacked as a zip archive", "; get it again"),
        zipfile.ZipFile(path) as archive,
    ):
        _check_members(archive.infolist(), source)
        openers = _find_in_archive(archive, path.stem, source)
        held = _data_sets(openers)
        if lacking := [folder for folder in required if folder not in held]:
            raise BadData(
                f"{source} holds no .mat file of {', '.join(lacking)} (it holds: {', '.join(held) or 'no data set'}"
                "); nothing was installed from it, name another archive with --url."
            )
        chosen = {key: opener for key, opener in openers.items() if allowed is None or key[0] in allowed}
        return _install(chosen, source, checksum)


def _find_in_archive(archive: zipfile.ZipFile, stem: str, source: str) -> Openers:
    openers: Openers = {}
    members: dict[tuple[str, str], str] = {}
    for member in archive.infolist():
        parts = _parts(member)
        key = _key(parts[-2] if len(parts) > 1 else stem, parts[-1] if parts else "")
        if key and not member.is_dir() and parts[0] != "__MACOSX":
            folded = key[0], key[1].lower()  # one file to some file systems
            if folded in members:
                raise BadData(
                    f"{source} holds {'/'.join(key)} twice ({members[folded]!r}, {member.filename!r}); unpack it "
                    "yourself and import the folder that is meant."
                )
            members[folded] = member.filename
            openers[key] = functools.partial(archive.open, member)
    return openers


def _find_in_folder(folder: Path) -> Openers:
    """Find the relevant files in a folder, its subfolders, and those of an ``xlsa17`` or ``data`` folder in it."""
    trees = [folder, *(folder / inner for inner in ("xlsa17", "data", "xlsa17/data"))]
    folders = [folder, *(path for tree in trees if tree.is_dir() for path in sorted(tree.iterdir()))]
    return {
        key: functools.partial(path.open, "rb")
        for place in folders
        if place.is_dir() and place.name.lower() in _FOLDERS
        for path in sorted(place.iterdir())
        if path.is_file() and (key := _key(place.name, path.name))
    }


def _key(folder: str, file: str) -> tuple[str, str] | None:
    known = _FOLDERS.get(folder.lower())
    return (known, file) if known and not file.startswith(".") and file.lower().endswith((".mat", ".txt")) else None


def _data_sets(openers: Openers) -> list[str]:
    """Return the data set folders that have a MATLAB file, sorted."""
    return sorted({folder for folder, file in openers if file.lower().endswith(".mat")})


def _install(openers: Openers, source: str, checksum: str) -> list[Installed]:
    folders = _data_sets(openers)
    if not folders:
        known = ", ".join(_FOLDERS.values())
        raise BadData(f"{source} holds no .mat file of {known} (each in its folder); name another file or folder.")
    root, installed = home() / "xlsa17", []
    with write_home(f"install under {root}"), working_folder(root, ".incoming-") as work:
        for (folder, file), opener in openers.items():
            (work / folder).mkdir(exist_ok=True)
            with opener() as incoming, (work / folder / file).open("wb") as out:
                while part := _read_part(incoming):
                    out.write(part)
        for folder in folders:
            new, target = work / folder, root / folder
            files = tuple(sorted(path.name for path in new.iterdir()))
            (new / ORIGIN).write_text(json.dumps({"source": source, "sha256": checksum}), encoding="utf-8")
            for path in sorted(target.iterdir()) if target.is_dir() else ():
                if not (new / path.name).exists():
                    _take_over(path, new / path.name)
            switch_folder(new, target)
            installed.append(Installed(_NAMES[folder], target, files, source, checksum))
    return installed


def _read_part(incoming: IO[bytes]) -> bytes:
    try:
        return incoming.read(1 << 20)
    except OSError as error:  # an error of the source, not of the destination
        raise EOFError(error.strerror or str(error)) from error


def _take_over(old: str | Path, new: str | Path) -> None:
    """Make a file or folder available in another folder: by a link if the file system has links, else as a copy."""
    if Path(old).is_dir():
        shutil.copytree(old, new, symlinks=True, copy_function=_take_over)
        return
    try:
        Path(new).hardlink_to(old)
    except (OSError, NotImplementedError):
        shutil.copy2(old, new)


def _check_members(members: Sequence[zipfile.ZipInfo], source: str) -> None:
    """Refuse an archive whose directory is unsafe or too large, before anything is unpacked."""
    if len(members) > MAX_ENTRIES:
        raise BadData(
            f"{source} has {len(members):,} entries, but {MAX_ENTRIES:,} are allowed; unpack it yourself and import "
            "the folder."
        )
    for member in members:
        name, parts, kind = member.filename, _parts(member), stat.S_IFMT(member.external_attr >> 16)
        outside = name.startswith(("/", "\\")) or ".." in parts or any(":" in part for part in parts)
        if outside or any(part.partition(".")[0].rstrip().lower() in _DEVICES for part in parts):
            raise BadData(f"{source} contains {name!r}, a path outside itself; it is not safe to unpack.")
        if not name.isprintable():
            raise BadData(f"{source} contains {name!r}, which cannot be printed; it is not safe to unpack.")
        if kind == stat.S_IFLNK:
            raise BadData(f"{source} holds a link, {name!r}; archives with links are not unpacked.")
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise BadData(f"{source} holds {name!r}, which is neither file nor folder; it is not unpacked.")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise BadData(
                f"{source}: {name!r} is compressed with method {member.compress_type}; compress it again with deflate, "
                "the usual method."
            )
        if member.file_size > SMALL and member.file_size > MAX_RATIO * max(member.compress_size, 1):
            raise BadData(
                f"{source}: {name!r} would unpack from {member.compress_size:,} to {member.file_size:,} bytes, more "
                f"than {MAX_RATIO} times its size; it looks like a zip bomb and is not unpacked."
            )
    if (total := sum(member.file_size for member in members)) > MAX_BYTES:
        raise BadData(
            f"{source} would unpack to {total:,} bytes, but {MAX_BYTES:,} are allowed; unpack it yourself and "
            "import the folder."
        )


def _parts(member: zipfile.ZipInfo) -> tuple[str, ...]:
    r"""Return the folders and the name of a member, whether it was written with / or \\."""
    return PurePosixPath(member.filename.replace("\\", "/")).parts
