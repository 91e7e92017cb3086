"""Where the files of published data sets are: NFKD's cache, or a folder of the user's."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Hashable, Iterable, Sequence
from functools import lru_cache
from pathlib import Path

import platformdirs

from nfkd.data.files import expanded, named_folder
from nfkd.data.source import NotFetchedError, RemoteFile
from nfkd.files import file_kind, is_regular, open_regular

_FOLDER_VARIABLE = "NFKD_DATA"


def cache_folder() -> Path:
    """Return the folder that downloads fill: ``NFKD_DATA`` where that is set, the user's cache otherwise."""
    chosen = os.environ.get(_FOLDER_VARIABLE)
    return Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("nfkd") / "data"


def cached(
    files: Sequence[RemoteFile], folder: str = "", *, title: str, event_shape: tuple[int, ...] = (), kind: str = ""
) -> list[Path]:
    """Return where the files are, in their order; nothing is downloaded.

    Parameters
    ----------
    files
        What is looked for. A ``.gz`` (not ``.tar.gz``) may have been unpacked: then the path is without the ending.
    folder
        A folder of the user's with the files in it, taken as they are; empty: the cache, where only files with the
        right checksum count.
    title
        The data set's name in messages, such as ``MNIST``.
    event_shape
        Of an example, so that the flows can be checked before the data is there.
    kind
        In a config, for the command in messages that downloads it.

    Raises
    ------
    NotFetchedError
        When files are missing from the cache, or other bytes are in their place.
    DataError
        At ``data.folder``, when the user's folder is none or lacks a file.
    """
    if folder:
        return [_of_the_user(file, folder, title, event_shape) for file in files]
    paths = [_in_the_cache(file) for file in files]
    missing = [file for file, path in zip(files, paths, strict=True) if path is None]
    if missing:
        target = (cache_folder() / missing[0].name).parent
        wrong = [file for file in missing if is_regular(cache_folder() / file.name)]
        found = "; ".join(map(_describe_mismatch, wrong))
        raise NotFetchedError(missing, event_shape, title, target, kind=kind, found=found)
    return [path for path in paths if path is not None]


def stamp(paths: Iterable[Path]) -> Hashable:
    """Return something that changes when one of the files does; files may be missing."""
    return tuple((str(path), *_signature(path)) for path in paths)


def places(files: Sequence[RemoteFile], folder: str = "") -> list[Path]:
    """Return every path at which `cached` would look for the files: what a stamp is made of."""
    return [path for file in files for path in _candidates(file, folder)]


def digest(path: Path, algorithm: str = "sha256") -> str:
    """Return a file's checksum in hexadecimal digits; it is computed again only after the file has changed."""
    return _digest(path, algorithm, *_signature(path))


@lru_cache(maxsize=256)
def _digest(path: Path, algorithm: str, *_signature: int) -> str:
    with open_regular(path) as file:
        return hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()


def _signature(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except (OSError, ValueError):  # a ValueError: a null character in the name
        return -1, -1, -1
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns  # copies may keep size and time of modification


def _candidates(file: RemoteFile, folder: str) -> list[Path]:
    if not folder:
        return [cache_folder() / file.name]
    name = Path(file.name).name
    names = [name] if name.endswith(".tar.gz") or not name.endswith(".gz") else [name, name.removesuffix(".gz")]
    return [expanded(folder) / candidate for candidate in names]


def _of_the_user(file: RemoteFile, folder: str, title: str, event_shape: tuple[int, ...]) -> Path:
    root, candidates = named_folder(folder, "data.folder", event_shape or None), _candidates(file, folder)
    for path in candidates:
        if is_regular(path):
            return path
    kinds = [f"{path.name} in it {kind}" for path in candidates if (kind := file_kind(path))]
    if kinds:
        root.refuse(f"{kinds[0]}: put the right file there")
    names = " or ".join(path.name for path in candidates)
    return root.refuse(
        f"holds no {names}: put it there (from {file.url}), or leave the folder empty to download {title}"
    )


def _in_the_cache(file: RemoteFile) -> Path | None:
    path = cache_folder() / file.name
    try:
        return path if is_regular(path) and digest(path, file.checksum[0]) == file.checksum[1] else None
    except OSError:
        return None


def _describe_mismatch(file: RemoteFile) -> str:
    path = cache_folder() / file.name
    found = digest(path, file.checksum[0])
    return f"what is there as {path.name} has another {file.checksum_label}, {found}, and is not used"
