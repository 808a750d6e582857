"""Download the official archives and install them: the verb ``zslbench data fetch``.

Several addresses are tried, a mirror of the user's first. If a transfer breaks off, the part that arrived is kept, and
the next attempt, in this process or a later one, asks only for the rest if the server allows it. The authors publish
no checksum: the sha256 of each downloaded archive is kept, and later copies are compared with it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import url2pathname

from zslbench.data.array_store import home, write_home
from zslbench.data.catalogue import ARCHIVES, CATALOGUE, Archive, refuse_awa
from zslbench.data.import_archive import MAX_BYTES, Installed, import_archive
from zslbench.data.xlsa17 import FEATURES, SEMANTICS, stems
from zslbench.errors import BadData, BadValue, DataMissing, UnknownName, first_line
from zslbench.files import json_text, locked, remove_working_folders, working_folder, write_text
from zslbench.identity import expand_home, file_sha256
from zslbench.visible import times_column

if TYPE_CHECKING:
    import requests
    from rich.progress import Progress

_FOLDERS = {source.name: source.card.folder for source in CATALOGUE}
MIRROR = "ZSLBENCH_MIRROR"
RETRIES = 3
TIMEOUT = 30.0
PATIENCE, SLOWEST = 60.0, 1024
"""Seconds over which a minimum rate of bytes per second is required."""
RESERVE = 1 << 30
"""Bytes of disk space that a download leaves free: 1 GiB."""
PROGRESS = 1 << 20
"""Bytes that a broken transfer must have brought so that it does not count as a failed attempt."""
_CHUNK = 1 << 18
_OTHER_WAY = "or get the archive another way and install it with `zslbench data import FILE`"
_PASSING = (408, 429)
"""Client errors after which a later attempt may succeed."""


def fetch(
    name: str = "all",
    *,
    url: str | None = None,
    sha256: str | None = None,
    force: bool = False,
    progress: bool = True,
    retries: int = RETRIES,
) -> list[Installed]:
    """Download the official archive of a data set (or all archives) and install the data sets that it is listed for.

    Other content of an archive is ignored: the ``att`` of CUB in another archive need not be that of xlsa17. A data set
    that is already installed is not replaced, and with `url` only the named data set is installed. Without `url` the
    addresses in ``ZSLBENCH_MIRROR`` (an address, a file, or a folder of archives) are tried first, then the official
    ones; the first that delivers the archive is used.

    Args:
        name: a catalogued data set, or ``all``.
        url: the only address of the archive to try; http or https.
        sha256: the required sha256 of the archive, 64 hex digits.
        force: download even if the data set is installed, and replace it.
        progress: show a bar on standard error, if it is a terminal.
        retries: how often a broken transfer is tried again in a row without having brought more.

    Raises:
        UnknownName: not a catalogued data set.
        BadValue: one `sha256` or `url` for more than one archive, a text that is not a sha256 or not an address, or a
            ``ZSLBENCH_MIRROR`` that is neither an address nor an existing file or folder.
        DataMissing: the network or the hosts are down.
        BadData: the downloaded file has another sha256, is not such an archive, or lacks the data set.
        StoreError: it cannot be written.
    """
    refuse_awa(name)
    if name.lower() not in (*_FOLDERS, "all"):
        raise UnknownName("downloadable dataset", name, [*_FOLDERS, "all"])
    asked = {*_FOLDERS} if name.lower() == "all" else {name.lower()}
    held = {listed: stems(home() / "xlsa17" / folder) for listed, folder in _FOLDERS.items()}
    lacking = {
        name for name in asked if force or FEATURES not in held[name].features or SEMANTICS not in held[name].semantics
    }
    archives = [archive for archive in ARCHIVES if lacking & set(archive.datasets)]
    if len(archives) > 1 and (url is not None or sha256 is not None):
        raise BadValue("--url and --sha256 are for one archive, but 'all' means several; name one data set.")
    if sha256 is not None and (len(sha256) != 64 or set(sha256.lower()) - set("0123456789abcdef")):
        raise BadValue(f"--sha256 {sha256!r} is not a sha256; it has 64 hex digits.")
    if url is not None and not _is_web_address(url):
        raise BadValue(
            f"--url {url!r} is not an address to download from; give one that starts with http:// or https://, "
            "or install a file that you have with `zslbench data import FILE`."
        )
    installed = []
    for archive in archives:
        sources = [*_mirrors(archive, len(archives) == 1), *archive.addresses] if url is None else [url]
        required = [_FOLDERS[name] for name in archive.datasets if name in lacking]
        spare = [_FOLDERS[name] for name in archive.datasets if name not in asked and (force or not any(held[name]))]
        wanted = _Wanted(
            archive.file, required, [*required, *spare] if url is None else required, (sha256 or archive.sha256).lower()
        )
        with write_home(f"write the download to {home() / 'downloads'}"), _place(archive.file) as path:
            installed += _install_first(wanted, sources, path, progress, retries)
    return installed


@dataclasses.dataclass(frozen=True)
class _Wanted:
    """An archive, the data set folders it must hold, those that may be installed, and its sha256 or an empty text."""

    file: str
    required: list[str]
    allowed: list[str]
    sha256: str


class _Failed(DataMissing):
    """A source that delivered nothing, with the reason in a few words."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"cannot download {url} ({reason}); try again later, {_OTHER_WAY}.")
        self.reason = reason


def _is_web_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return False


def _mirrors(archive: Archive, alone: bool) -> list[str | Path]:
    """Return the addresses or files of an archive that ``ZSLBENCH_MIRROR`` names; empty if it names another archive.

    `alone`: no other archive is wanted, so a file with another name is taken for this one.
    """
    given = os.environ.get(MIRROR, "").strip()
    if not given:
        return []
    if given.startswith("file://"):
        given = url2pathname(urlsplit(given).path)
    name = given.rstrip("/").rpartition("/")[2]
    other = name.endswith(".zip") and name != archive.file and not alone
    if _is_web_address(given):
        address = given if name.endswith(".zip") else f"{given.rstrip('/')}/{archive.file}"
        return [] if other else [address]
    path = expand_home(given).absolute()
    if path.is_dir():
        return [path / archive.file]
    if not path.is_file():
        raise BadValue(
            f"{MIRROR} is {given!r}, which is neither an http or https address nor a file or folder here; correct it, "
            "or unset it to use the official addresses."
        )
    return [] if other else [path]


@contextlib.contextmanager
def _place(file: str) -> Iterator[Path]:
    """Give the path to download to; a file that exists there may be part of the archive, from an earlier attempt.

    The file stays if an error is raised. If another process is downloading the same archive, or the file system has no
    locks, the path is in a temporary folder and nothing stays.
    """
    folder = home() / "downloads"
    folder.mkdir(parents=True, exist_ok=True)
    remove_working_folders(folder)
    path = folder / f"{file}.part"
    with locked(path, 0) as held:
        if held:
            yield path
            _discard(path)
        else:
            with working_folder(folder, ".fetching-") as work:
                yield work / path.name


def _discard(path: Path) -> None:
    path.unlink(missing_ok=True)
    _state_file(path).unlink(missing_ok=True)


def _install_first(
    wanted: _Wanted, sources: Sequence[str | Path], path: Path, show_progress: bool, retries: int
) -> list[Installed]:
    """Install from the first of several sources that has the wanted archive."""
    failures: list[tuple[str | Path, DataMissing | BadData]] = []
    for source in sources:
        try:
            if isinstance(source, Path):
                if not source.is_file():
                    raise _Failed(str(source), "there is no such file")
                return _install(wanted, source, str(source))
            _download(wanted.file, source, path, show_progress, retries)
            return _install(wanted, path, source)
        except (DataMissing, BadData) as error:
            if isinstance(error, BadData):  # the file is not the wanted one, so it must not be continued
                _discard(path)
            failures.append((source, error))
    if len(failures) == 1:
        raise failures[0][1]
    kind = BadData if any(isinstance(error, BadData) for _, error in failures) else DataMissing
    refused = kind(f"no source gave a usable {wanted.file}; try again later, {_OTHER_WAY}.")
    for source, failure in failures:
        refused.add_note(f"{source}: {failure.reason}" if isinstance(failure, _Failed) else str(failure))
    if path.exists():
        refused.add_note(f"{path.stat().st_size:,} bytes are kept in {path}; the same command goes on from there")
    raise refused


def _install(wanted: _Wanted, path: Path, source: str) -> list[Installed]:
    checksum = file_sha256(path)
    if wanted.sha256 and checksum != wanted.sha256:
        raise BadData(f"{source} has sha256 {checksum}, but {wanted.sha256} is expected; nothing was installed.")
    rows = import_archive(path, source, checksum, required=wanted.required, allowed=wanted.allowed)
    note = "as expected" if wanted.sha256 else _compare_checksum(wanted.file, source, checksum)
    return [dataclasses.replace(row, note=note) for row in rows]


def _compare_checksum(file: str, source: str, checksum: str) -> str:
    """Say whether a sha256 equals those of earlier copies of the archive, and keep it for later comparisons."""
    path = home() / "downloads" / "checksums.json"
    try:
        kept = json.loads(path.read_text("utf-8"))
        earlier = {str(known): str(place) for known, place in kept[file].items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        kept, earlier = {}, {}
    kept = kept if isinstance(kept, dict) else {}
    write_text(path, json_text(kept | {file: {checksum: source} | earlier}), path.name)
    if checksum in earlier:
        return f"the same as that of the copy from {earlier[checksum]}"
    if earlier:
        known, place = next(iter(earlier.items()))
        return f"not {known}, that of the copy from {place}: the archives differ"
    return f"its authors publish none to compare with; kept in {path} for later copies"


def _download(file: str, url: str, path: Path, show_progress: bool, retries: int) -> None:
    """Download an address into a file, continuing an earlier attempt.

    Raises:
        DataMissing: it cannot be downloaded, or arrives too slowly.
        BadData: it is too large.
    """
    import requests
    from rich import progress
    from rich.console import Console

    console, failures = Console(stderr=True), 0
    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.DownloadColumn(),
        progress.TransferSpeedColumn(),
        times_column(),
    )
    with progress.Progress(*columns, console=console, disable=not (show_progress and console.is_terminal)) as bar:
        bar.add_task(file, total=None)
        while True:
            before = path.stat().st_size if path.exists() else 0
            try:
                return _stream(url, path, bar)
            except (requests.RequestException, ValueError) as error:
                gained = (path.stat().st_size if path.exists() else 0) - before
                failures = 0 if gained >= PROGRESS else failures + 1
                unreachable = isinstance(error, requests.ConnectionError) and not path.exists()
                if failures > retries or unreachable or not _may_pass(error):
                    raise _Failed(url, _reason(error)) from error
            bar.update(bar.task_ids[0], description=f"{file}: the transfer broke off; trying again")
            time.sleep(min(failures + 1, 10))


def _may_pass(error: Exception) -> bool:
    """Return whether a later attempt may succeed: not if the host says that it has no such file."""
    import requests

    if isinstance(error, requests.HTTPError) and error.response is not None:
        return error.response.status_code >= 500 or error.response.status_code in _PASSING
    return True


def _state_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


@dataclasses.dataclass(frozen=True)
class _State:
    """A file that arrived in part: its address, the host's name for the content, and its length in bytes, if known."""

    url: str
    validator: str
    length: int | None

    @classmethod
    def of(cls, url: str, response: requests.Response, length: int | None) -> _State:
        """Return the state of a response that sends the whole file."""
        tag = response.headers.get("ETag", "")
        strong = tag if tag.startswith('"') else ""  # a weak ETag does not guarantee the same bytes
        return cls(url, strong or response.headers.get("Last-Modified", ""), length)

    @classmethod
    def read(cls, path: Path) -> _State | None:
        """Return the state that was kept beside a part; None if there is none that can be read."""
        try:
            return cls(**json.loads(_state_file(path).read_text("utf-8"))) if path.exists() else None
        except (OSError, ValueError, TypeError):
            return None


def _stream(url: str, path: Path, bar: Progress) -> None:
    """Write what an address sends into a file; bytes that the file already has are not requested again.

    The rest is appended only if the host confirms by ETag, date or length that its file is unchanged.

    Raises:
        requests.RequestException: the transfer failed, and may be tried again.
        BadData: it sends more than an archive may have, or than fits on the disk.
        DataMissing: it sends so slowly that waiting is no use.
    """
    import requests

    state, start = _State.read(path), 0
    headers = {"Accept-Encoding": "identity"}
    if state is not None and (state.validator or (state.url == url and state.length is not None)):
        start = path.stat().st_size
    if state is not None and start:
        headers |= {"Range": f"bytes={start}-"} | ({"If-Range": state.validator} if state.validator else {})
    with requests.get(url, stream=True, timeout=TIMEOUT, headers=headers) as response:
        if state is not None and start and response.status_code in (206, 416):
            sent = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d{1,18})", response.headers.get("Content-Range", ""))
            length = int(sent[2]) if sent else None
            if length is None or (state.length is not None and length != state.length):
                _discard(path)
                raise requests.exceptions.ChunkedEncodingError("the host has a different file now")
            if response.status_code == 416 and length == start:
                return
            if sent is None or sent[1] != str(start):
                _discard(path)
                raise requests.exceptions.ChunkedEncodingError("the host sent a different part than was requested")
        else:
            response.raise_for_status()
            if response.headers.get("Content-Type", "").startswith("text/html"):  # of a login, or of a proxy
                raise _Failed(url, "the host sends a web page instead of the archive")
            start, declared = 0, response.headers.get("Content-Length", "")
            length = int(declared) if declared.isdecimal() and len(declared) < 19 else None
            _discard(path)
            state = _State.of(url, response, length)
            write_text(_state_file(path), json_text(dataclasses.asdict(state)), _state_file(path).name)
        most = max(min(MAX_BYTES, start + shutil.disk_usage(path.parent).free - RESERVE), 0)
        if length is not None and length > most:
            raise BadData(f"{url} has {length:,} bytes, and {most:,} can be taken; free some space.")
        bar.reset(bar.task_ids[0], total=length or None, completed=start)
        _append(response, path, start, most, bar)
    if length is not None and path.stat().st_size != length:
        raise requests.exceptions.ChunkedEncodingError(f"{path.stat().st_size} of {length}bytes arrived")


def _append(response: requests.Response, path: Path, start: int, most: int, bar: Progress) -> None:
    """Write the body of a response to the end of a file that has `start` bytes (see `_stream`)."""
    import requests
    import urllib3

    taken, mark, before = start, time.monotonic(), start
    with path.open("ab") as out:
        while True:
            try:
                part = response.raw.read1(_CHUNK)
            except urllib3.exceptions.TimeoutError as error:
                raise requests.Timeout(str(error)) from error
            except (urllib3.exceptions.HTTPError, OSError) as error:
                raise requests.exceptions.ChunkedEncodingError(str(error)) from error
            if not part:
                return
            out.write(part)
            taken += len(part)
            bar.update(bar.task_ids[0], completed=taken)
            if taken > most:
                raise BadData(f"{response.url} sends more than {most:,} bytes, which can be taken; free some space.")
            if (waited := time.monotonic() - mark) > PATIENCE:
                if taken - before < SLOWEST * waited:
                    sent = f"it sent {taken - before:,} bytes in {waited:.0f}s, too slowly to wait for the rest"
                    raise _Failed(response.url, sent)
                mark, before = time.monotonic(), taken


def _reason(error: Exception) -> str:
    """Say in a few words why a download failed."""
    import requests

    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"the host answers {error.response.status_code} {error.response.reason}".rstrip()
    reasons = {
        requests.exceptions.ChunkedEncodingError: "the transfer broke off",
        requests.Timeout: "the host does not answer in time",
        requests.ConnectionError: "the host cannot be reached",
    }
    return next((reason for kind, reason in reasons.items() if isinstance(error, kind)), first_line(error))
