"""Download the official archives and install them: the verb ``zslbench data fetch``.

The authors publish no checksum. The sha256 of what came is therefore recorded beside the installed files, and a
known one can be demanded.
"""

from __future__ import annotations

import logging
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from zslbench.data.array_store import home, write_home
from zslbench.data.catalogue import CATALOGUE, refuse_awa
from zslbench.data.import_archive import MAX_BYTES, Installed, import_archive
from zslbench.data.xlsa17 import FEATURES, SEMANTICS, stems
from zslbench.errors import BadData, BadValue, DataMissing, UnknownName, first_line
from zslbench.files import working_folder
from zslbench.identity import file_sha256

if TYPE_CHECKING:
    from rich.progress import Progress

_HOST = "http://datasets.d2.mpi-inf.mpg.de/xian/"
ARCHIVES = {
    "xlsa17.zip": (_HOST + "xlsa17.zip", ("apy", "awa1", "awa2", "cub", "sun")),
    "cvpr18xian.zip": (_HOST + "cvpr18xian.zip", ("flo",)),
}
_FOLDERS = {source.name: source.card.folder for source in CATALOGUE}
RETRIES = 3
TIMEOUT = 30.0
PATIENCE, SLOWEST = 60.0, 1024
"""Seconds in which at least so many bytes a second must come."""
RESERVE = 1 << 30
"""Bytes of the disk that a download leaves free: 1 GiB."""
_CHUNK = 1 << 18
_OTHER_WAY = "or get the archive another way and install it with `zslbench data import FILE`"


def fetch(
    name: str = "all",
    *,
    url: str | None = None,
    sha256: str | None = None,
    force: bool = False,
    progress: bool = True,
    retries: int = RETRIES,
) -> list[Installed]:
    """Download the official archive of a data set (or all of them) and install the data sets listed for it.

    Whatever else an archive holds is left out: the ``att`` of another archive's CUB need not be xlsa17's. Data sets
    that are installed already are left as they are, and with `url` only what was asked for is installed.

    Args:
        name: a catalogued data set, or ``all``.
        url: another address of the archive, a mirror for instance; http or https.
        sha256: what the archive must hash to, 64 hex digits.
        force: download even where the data set is installed, and replace what is.
        progress: show a bar on standard error, when it is a terminal.
        retries: how often a broken transfer is started again.

    Raises:
        UnknownName: not a catalogued data set.
        BadValue: one `sha256` or `url` for more than one archive, not a sha256, or not an address.
        DataMissing: the network or the host is down.
        BadData: what came has another sha256, is no such archive, or lacks the data set.
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
    archives = {file: source for file, source in ARCHIVES.items() if lacking & set(source[1])}
    if len(archives) > 1 and (url is not None or sha256 is not None):
        raise BadValue("--url and --sha256 belong to one archive, and 'all' is several; name one data set.")
    if sha256 is not None and (len(sha256) != 64 or set(sha256.lower()) - set("0123456789abcdef")):
        raise BadValue(f"--sha256 {sha256!r} is not a sha256; it has 64 hex digits.")
    if url is not None and not _is_web_address(url):
        raise BadValue(
            f"--url {url!r} is not an address to download from; give one that starts with http:// or https://, "
            "or install a file that you have with `zslbench data import FILE`."
        )
    installed, folder = [], home() / "downloads"
    for file, (official, listed) in archives.items():
        source = official if url is None else url
        required = [_FOLDERS[name] for name in listed if name in lacking]
        spare = [_FOLDERS[name] for name in listed if name not in asked and (force or not any(held[name]))]
        with write_home(f"write the download to {folder}"), working_folder(folder, ".fetching-") as work:
            path = _download(file, source, work, progress, retries)
            checksum = file_sha256(path)
            if sha256 is not None and checksum != sha256.lower():
                raise BadData(
                    f"{source} has sha256 {checksum} where {sha256.lower()} is expected; nothing was installed."
                )
            allowed = [*required, *spare] if url is None else required
            installed += import_archive(path, source, checksum, required=required, allowed=allowed)
    return installed


def _is_web_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return False


def _download(file: str, url: str, folder: Path, show_progress: bool, retries: int) -> Path:
    import pooch
    import requests
    from rich import progress
    from rich.console import Console

    source = pooch.create(path=folder, base_url="", registry={file: None}, urls={file: url}, retry_if_failed=retries)
    logger, console = pooch.get_logger(), Console(stderr=True)
    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.DownloadColumn(),
        progress.TransferSpeedColumn(),
        progress.TimeRemainingColumn(),
    )
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with progress.Progress(*columns, console=console, disable=not (show_progress and console.is_terminal)) as bar:
            bar.add_task(file, total=None)
            return Path(source.fetch(file, downloader=lambda url, path, _: _stream(url, Path(path), bar)))
    except (requests.RequestException, ValueError) as error:
        raise DataMissing(f"cannot download {url} ({_reason(error)}); try again later, {_OTHER_WAY}.") from error
    finally:
        logger.setLevel(level)


def _stream(url: str, path: Path, bar: Progress) -> None:
    """Write what an address sends into a file, as it comes; the bar begins anew.

    Raises:
        requests.RequestException: it fails, and may be tried again.
        BadData: it sends more than an archive may have, or than fits on the disk.
        DataMissing: it sends too slowly to wait for.
    """
    import requests
    import urllib3

    most = max(min(MAX_BYTES, shutil.disk_usage(path.parent).free - RESERVE), 0)
    with requests.get(url, stream=True, timeout=TIMEOUT, headers={"Accept-Encoding": "identity"}) as response:
        response.raise_for_status()
        length = response.headers.get("Content-Length", "")
        declared = int(length) if length.isdecimal() and len(length) < 19 else None
        if declared is not None and declared > most:
            raise BadData(f"{url} has {declared:,} bytes, and {most:,} can be taken; free some space.")
        (task,) = bar.task_ids
        bar.reset(task, total=declared or None)
        taken, mark, before = 0, time.monotonic(), 0
        with path.open("wb") as out:
            while True:
                try:
                    part = response.raw.read1(_CHUNK)
                except urllib3.exceptions.TimeoutError as error:
                    raise requests.Timeout(str(error)) from error
                except (urllib3.exceptions.HTTPError, OSError) as error:
                    raise requests.exceptions.ChunkedEncodingError(str(error)) from error
                if not part:
                    break
                out.write(part)
                taken += len(part)
                bar.update(task, completed=taken)
                if taken > most:
                    raise BadData(f"{url} sends more than {most:,} bytes, which can be taken; free some space.")
                if (waited := time.monotonic() - mark) > PATIENCE:
                    if taken - before < SLOWEST * waited:
                        raise DataMissing(
                            f"{url} sent {taken - before:,} bytes in {waited:.0f} s, too few to wait for the rest; try "
                            f"again later, {_OTHER_WAY}."
                        )
                    mark, before = time.monotonic(), taken
    if declared is not None and taken != declared:
        raise requests.exceptions.ChunkedEncodingError(f"{taken} of {declared} bytes came")


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
