"""Downloads: checked, resumable, and complete before a file gets its final name.

A file is downloaded to ``<name>.part`` beside its final path, and renamed when its checksum is right.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import responses
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from nfkd.config import ConfigProblem
from nfkd.data.cache import cache_folder, cached
from nfkd.data.dataset import DataError
from nfkd.data.source import OnProgress, RemoteFile
from nfkd.files import FileError, is_regular, is_taken, open_for_update, require_regular

_CHUNK = 1 << 18
_TIMEOUTS = (15, 60)  # seconds: to connect, and between two chunks
_DISK_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}


def fetch(files: Sequence[RemoteFile], folder: str, on_progress: OnProgress, *, title: str) -> None:
    """Download the missing files into the cache; if the user names a folder, only check that they are there.

    A download that was cut resumes, if the server supports it. Two processes that want the same file wait for each
    other.

    Parameters
    ----------
    files
        The files.
    folder
        A folder of the user; empty: the cache.
    on_progress
        Called in this thread. An exception that it raises ends the download, which can be resumed later.
    title
        The data set's name in messages.

    Raises
    ------
    DataError
        If a file cannot be downloaded, has other bytes, or cannot be written: with its address, its checksum and the
        folder in which to put it by hand. Also as `nfkd.data.cache.cached`.
    """
    if folder:
        cached(files, folder, title=title)
        return
    for file in files:
        _download(file, on_progress)


def _download(file: RemoteFile, on_progress: OnProgress) -> None:
    import pooch

    pooch.get_logger().setLevel(logging.WARNING)  # `on_progress` reports the progress
    target = cache_folder() / file.name
    part, lock = target.with_name(f"{target.name}.part"), target.with_name(f".{target.name}.lock")
    with _explained(file, target.parent):
        target.parent.mkdir(parents=True, exist_ok=True)
        for path in (target, part, lock):
            if is_taken(path):
                require_regular(path)
        with _locked(lock, part, file, on_progress):
            pooch.retrieve(
                file.url,
                known_hash=":".join(file.checksum),
                fname=target.name,
                path=target.parent,
                downloader=_downloader(file, part, on_progress),
            )


@contextmanager
def _locked(path: Path, part: Path, file: RemoteFile, on_progress: OnProgress) -> Iterator[None]:
    """Hold the file's lock; until then, report the progress that another process makes."""
    lock = FileLock(path)
    while True:
        try:
            lock.acquire(timeout=1)
            break
        except Timeout:
            on_progress(Path(file.name).name, part.stat().st_size if is_regular(part) else 0, file.size)
    try:
        yield
    finally:
        lock.release()


def _downloader(file: RemoteFile, part: Path, on_progress: OnProgress) -> Any:  # pooch's type has other parameters
    """Return a downloader for pooch, which checks the result and renames it."""

    def run(_url: str, output_file: Any, _pooch: Any) -> None:
        start = part.stat().st_size if is_regular(part) else 0
        if not _receive(file, part, start, on_progress):
            _receive(file, part, 0, on_progress)
        part.replace(output_file)

    return run


def _receive(file: RemoteFile, part: Path, start: int, on_progress: OnProgress) -> bool:
    """Append the bytes from `start` on, or write the file anew if the server only sends it whole.

    Returns
    -------
    bool
        False if the server has no such bytes: the part is no beginning of this file.
    """
    import requests

    headers = {"Accept-Encoding": "identity"}  # the checksum is that of the uncompressed file
    if start:
        headers["Range"] = f"bytes={start}-"
    with requests.get(file.url, headers=headers, stream=True, timeout=_TIMEOUTS) as response:
        if start and response.status_code == requests.codes.requested_range_not_satisfiable:
            return False
        response.raise_for_status()
        partial = response.status_code == requests.codes.partial_content
        if partial and _first_byte(response.headers) != start:
            return False
        received = start if partial else 0
        length = response.headers.get("Content-Length", "")
        total = received + int(length) if length.isdigit() else file.size
        if not partial:
            part.unlink(missing_ok=True)
        with open_for_update(part, append=True) as sink:
            on_progress(Path(file.name).name, received, total)
            for chunk in response.raw.stream(_CHUNK, decode_content=False):
                sink.write(chunk)
                received += len(chunk)
                on_progress(Path(file.name).name, received, total)
    return True


def _first_byte(headers: Any) -> int | None:
    """Return the first byte of a partial response, from ``Content-Range: bytes FIRST-LAST/ALL``."""
    first = headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
    return int(first) if first.isdigit() else None


@contextmanager
def _explained(file: RemoteFile, folder: Path) -> Iterator[None]:
    """Turn every error into a `DataError` that says how to get the file by hand."""
    from requests import RequestException
    from urllib3.exceptions import HTTPError

    try:
        yield
    except (RequestException, HTTPError) as error:
        raise _failure(file, folder, f"could not be downloaded: {_describe(error)}. Try again") from error
    except FileError as error:
        raise _failure(file, folder, f"could not be written to {folder}: {error}. Try again when it can be") from error
    except OSError as error:
        reason = "the disk is full" if error.errno in _DISK_FULL else error.strerror or "the file system failed"
        raise _failure(file, folder, f"could not be written to {folder}: {reason}. Try again when it can be") from error
    except ValueError as error:  # raised by pooch for a wrong checksum; it has removed the file
        raise _failure(file, folder, f"came with another {file.checksum_label} and was removed. Try again") from error


def _describe(error: Exception) -> str:
    from requests import ConnectionError as NoConnectionError
    from requests import Timeout as NoAnswerError
    from urllib3.exceptions import ProtocolError, ReadTimeoutError

    response = getattr(error, "response", None)
    if response is not None:
        phrase = responses.get(response.status_code, "")  # the server's own is foreign text
        return f"the server answered {response.status_code} {phrase}".rstrip()
    if isinstance(error, (NoAnswerError, ReadTimeoutError)):
        return "the server does not answer"
    if isinstance(error, NoConnectionError):
        return "the server cannot be reached"
    if isinstance(error, ProtocolError):
        return "the connection was cut; the received bytes are kept"
    return "the connection failed"


def _failure(file: RemoteFile, folder: Path, what: str) -> DataError:
    message = (
        f"{Path(file.name).name} {what}, or get it by hand from {file.url} ({file.checksum_label} {file.checksum[1]}) "
        f"and put it into {folder}"
    )
    return DataError([ConfigProblem("data.kind", message)])
