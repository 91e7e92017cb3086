"""Where the files of published data sets are: in NFKD's cache, or in a folder of the user."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import platformdirs

from nfkd.data.files import expanded, named_folder, signature
from nfkd.data.source import NotFetchedError, RemoteFile
from nfkd.files import file_kind, is_regular, open_regular

_FOLDER_VARIABLE = "NFKD_DATA"


def cache_folder() -> Path:
    """Return the folder of downloads: ``NFKD_DATA`` if it is set, otherwise in the user's cache."""
    chosen = os.environ.get(_FOLDER_VARIABLE)
    return Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("nfkd") / "data"


def cached(
    files: Sequence[RemoteFile], folder: str = "", *, title: str, event_shape: tuple[int, ...] = (), kind: str = ""
) -> list[Path]:
    """Return the paths of the files, in their order; nothing is downloaded.

    Parameters
    ----------
    files
        The files. A ``.gz`` (not ``.tar.gz``) in a folder of the user may be unpacked: then the path has no ``.gz``.
    folder
        A folder of the user, whose files are taken as they are; empty: the cache, where checksums must be right.
    title
        The data set's name in messages, such as ``MNIST``.
    event_shape
        Shape of an example, so that the flows can be checked before the data is there.
    kind
        The data set's kind in a config, for the download command in messages.

    Raises
    ------
    NotFetchedError
        If files are missing from the cache, or have other bytes.
    DataError
        At ``data.folder``, if the user's folder does not exist or lacks a file.
    """
    if folder:
        return [_in_folder(file, folder, title, event_shape) for file in files]
    paths = [_in_cache(file) for file in files]
    missing = [file for file, path in zip(files, paths, strict=True) if path is None]
    if missing:
        target = (cache_folder() / missing[0].name).parent
        wrong = [file for file in missing if is_regular(cache_folder() / file.name)]
        found = "; ".join(map(_describe_mismatch, wrong))
        raise NotFetchedError(missing, event_shape, title, target, kind=kind, found=found)
    return [path for path in paths if path is not None]


def candidates(files: Sequence[RemoteFile], folder: str = "") -> list[Path]:
    """Return every path at which `cached` looks for the files."""
    return [path for file in files for path in _candidates(file, folder)]


def digest(path: Path, algorithm: str = "sha256") -> str:
    """Return a file's checksum in hexadecimal digits; it is computed again only after the file has changed."""
    return _digest(path, algorithm, *signature(path))


@lru_cache(maxsize=256)
def _digest(path: Path, algorithm: str, *_signature: int) -> str:
    with open_regular(path) as file:
        return hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()


def _candidates(file: RemoteFile, folder: str) -> list[Path]:
    if not folder:
        return [cache_folder() / file.name]
    name = Path(file.name).name
    names = [name] if name.endswith(".tar.gz") or not name.endswith(".gz") else [name, name.removesuffix(".gz")]
    return [expanded(folder) / candidate for candidate in names]


def _in_folder(file: RemoteFile, folder: str, title: str, event_shape: tuple[int, ...]) -> Path:
    root, paths = named_folder(folder, "data.folder", event_shape or None), _candidates(file, folder)
    for path in paths:
        if is_regular(path):
            return path
    for path in paths:
        if kind := file_kind(path):
            root.refuse(f"{path.name} in it {kind}: put the right file there")
    names = " or ".join(path.name for path in paths)
    return root.refuse(
        f"holds no {names}: put it there (from {file.url}), or leave the folder empty to download {title}"
    )


def _in_cache(file: RemoteFile) -> Path | None:
    path = cache_folder() / file.name
    try:
        return path if is_regular(path) and digest(path, file.checksum[0]) == file.checksum[1] else None
    except OSError:
        return None


def _describe_mismatch(file: RemoteFile) -> str:
    path = cache_folder() / file.name
    found = digest(path, file.checksum[0])
    return f"{path.name} has another {file.checksum_label}, {found}, and is not used"
