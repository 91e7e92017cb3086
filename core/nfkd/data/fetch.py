"""Downloads: whole, checked, taken up again after a cut, and never under their final name before that.

A file comes into ``<name>.part`` beside its place; when all of it is there and its SHA-256 is right it gets its name.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from nfkd.config import ConfigProblem
from nfkd.data.cache import cache_folder, cached
from nfkd.data.dataset import DataError
from nfkd.data.source import RemoteFile, Said
from nfkd.files import FileError, is_regular, is_taken, open_for_update, require_regular

_CHUNK = 1 << 18
_PATIENCE = (15, 60)  # seconds: to be connected, and between two pieces
_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}


def fetch(files: Sequence[RemoteFile], folder: str, said: Said, *, title: str) -> None:
    """Download what is missing into the cache; where the user names a folder, only look whether all is there.

    Raises
    ------
    DataError
        As `download` and `nfkd.data.cache.cached` do.
    """
    if folder:
        cached(files, folder, title=title)
    else:
        download(files, said)


def download(files: Sequence[RemoteFile], said: Said) -> list[Path]:
    """Bring files into the cache and return where they are; what is there already and right is left alone.

    A download that was cut goes on where it stopped, if the server can. Two processes that want the same file wait for
    each other.

    Parameters
    ----------
    files
        What to bring.
    said
        Told of the progress in this thread. An exception of its own ends the download, which can be taken up again.

    Raises
    ------
    DataError
        When a file cannot be had, is not what it should be, or cannot be written: with its address, its SHA-256 and
        the folder in which to put it by hand.
    """
    return [_bring(file, said) for file in files]


def _bring(file: RemoteFile, said: Said) -> Path:
    import pooch

    pooch.get_logger().setLevel(logging.WARNING)  # progress is told through `said`
    target = cache_folder() / file.name
    part = target.with_name(f"{target.name}.part")
    with _explained(file, target.parent):
        target.parent.mkdir(parents=True, exist_ok=True)
        for path in (target, part, _lock_of(target)):
            if is_taken(path):
                require_regular(path)
        with _alone(target, part, file, said):
            pooch.retrieve(
                file.url,
                known_hash=":".join(file.checksum),
                fname=target.name,
                path=target.parent,
                downloader=_downloader(file, part, said),
            )
    return target


def _lock_of(target: Path) -> Path:
    return target.with_name(f".{target.name}.lock")


@contextmanager
def _alone(target: Path, part: Path, file: RemoteFile, said: Said) -> Iterator[None]:
    """Hold the file's lock; meanwhile tell of the progress that another process makes."""
    lock = FileLock(_lock_of(target))
    while True:
        try:
            lock.acquire(timeout=1)
            break
        except Timeout:
            said(target.name, part.stat().st_size if is_regular(part) else 0, file.size)
    try:
        yield
    finally:
        lock.release()


def _downloader(file: RemoteFile, part: Path, said: Said) -> Any:  # pooch's type for one names other parameters
    """Return a downloader for pooch, which checks what it leaves and gives it its final name."""

    def run(_url: str, output_file: Any, _pooch: Any) -> None:
        begun = part.stat().st_size if is_regular(part) else 0
        if not _receive(file, part, begun, said):
            _receive(file, part, 0, said)  # the server has nothing after the part: it is no beginning of this file
        part.replace(output_file)

    return run


def _receive(file: RemoteFile, part: Path, begun: int, said: Said) -> bool:
    """Append what is missing to the part, or write it anew where the server only sends it whole.

    Return whether the server had anything to send after the part.
    """
    import requests

    headers = {"Accept-Encoding": "identity"}  # the checksum is that of the file, not of what a server makes of it
    if begun:
        headers["Range"] = f"bytes={begun}-"
    with requests.get(file.url, headers=headers, stream=True, timeout=_PATIENCE) as answer:
        if begun and answer.status_code == requests.codes.requested_range_not_satisfiable:
            return False
        answer.raise_for_status()
        goes_on = answer.status_code == requests.codes.partial_content and _first(answer.headers) == begun
        if answer.status_code == requests.codes.partial_content and not goes_on:
            return False
        come = begun if goes_on else 0
        length = answer.headers.get("Content-Length", "")
        total = come + int(length) if length.isdigit() else file.size
        if not goes_on:
            part.unlink(missing_ok=True)
        with open_for_update(part, append=True) as sink:
            said(Path(file.name).name, come, total)
            for piece in answer.raw.stream(_CHUNK, decode_content=False):
                sink.write(piece)
                come += len(piece)
                said(Path(file.name).name, come, total)
    return True


def _first(headers: Any) -> int | None:
    """Return the first byte of a partial answer, from ``Content-Range: bytes FIRST-LAST/ALL``."""
    first = headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
    return int(first) if first.isdigit() else None


@contextmanager
def _explained(file: RemoteFile, folder: Path) -> Iterator[None]:
    """Turn what goes wrong into a `DataError` that says how to do it by hand."""
    from requests import RequestException
    from urllib3.exceptions import HTTPError

    try:
        yield
    except (RequestException, HTTPError) as error:
        raise _failure(file, folder, f"could not be downloaded: {_words(error)}. Try again") from error
    except OSError as error:
        what = f"{error.strerror or error}"
        if error.errno in _FULL or isinstance(error, FileError):
            what = f"{error}" if isinstance(error, FileError) else "the disk is full"
        raise _failure(file, folder, f"could not be written to {folder}: {what}. Try again when it can be") from error
    except ValueError as error:  # pooch's word for a wrong checksum; it has removed the file
        raise _failure(file, folder, f"came with another {file.checksum_label} and was removed. Try again") from error


def _words(error: Exception) -> str:
    from requests import ConnectionError as NoConnectionError
    from requests import Timeout as NoAnswerError
    from urllib3.exceptions import ProtocolError, ReadTimeoutError

    answer = getattr(error, "response", None)
    if answer is not None:
        return f"the server answered {answer.status_code} {answer.reason}"
    if isinstance(error, (NoAnswerError, ReadTimeoutError)):
        return "the server does not answer"
    if isinstance(error, NoConnectionError):
        return "the server cannot be reached"
    if isinstance(error, ProtocolError):
        return "the connection was cut; what has come is kept"
    return f"{error}" or type(error).__name__


def _failure(file: RemoteFile, folder: Path, what: str) -> DataError:
    message = (
        f"{Path(file.name).name} {what}, or get it by hand from {file.url} ({file.checksum_label} {file.checksum[1]}) "
        f"and put it into {folder}"
    )
    return DataError([ConfigProblem("data.kind", message)])
