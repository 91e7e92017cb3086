"""Compressed tables: .gz, and .zip with one file, unpacked into memory within limits."""

from __future__ import annotations

import gzip
import os
import zipfile
from pathlib import PurePosixPath
from typing import IO

from nfkd.data.files import ConfigPath, list_names, refuse_large
from nfkd.files import open_regular

PACKED = (".gz", ".zip")
"""Suffixes of compressed tables."""
_CHUNK = 1 << 20
_SMALL, _RATIO = 64 << 20, 100  # bytes that any file may unpack to; numbers as text shrink to a third to a twentieth
_AS_TEXT = "unpack it yourself if you trust it"


def inner_suffix(file: ConfigPath) -> str:
    """Return the suffix of a text file, without that of its compression, such as ``.csv`` of ``rows.csv.gz``."""
    path = file.path
    return (path.with_suffix("") if path.suffix.lower() in PACKED else path).suffix.lower()


def unpack(file: ConfigPath) -> bytes:
    """Return the content of a .gz file, or of the only file in a .zip file.

    Raises
    ------
    DataError
        If it unpacks to far more bytes than a table of numbers would, or to more than the memory takes, or if a .zip
        file has no or several files, or needs a password.
    """
    with open_regular(file.path) as packed:
        size = os.fstat(packed.fileno()).st_size
        if file.path.suffix.lower() == ".gz":
            with gzip.GzipFile(fileobj=packed) as content:
                return _read(file, content, size)
        with zipfile.ZipFile(packed) as archive:
            member = _only_member(file, archive)
            _refuse_unpacked(file, member.file_size, size)
            with archive.open(member) as content:
                return _read(file, content, size)


def refuse_inflated(file: ConfigPath) -> None:
    """Refuse a file that is a zip archive, such as .xlsx, if its members unpack to too much; each is unpacked once."""
    with open_regular(file.path) as packed, zipfile.ZipFile(packed) as archive:
        size, total = os.fstat(packed.fileno()).st_size, 0
        _refuse_unpacked(file, sum(member.file_size for member in archive.infolist()), size)
        for member in archive.infolist():
            with archive.open(member) as content:
                while chunk := content.read(_CHUNK):
                    total += len(chunk)
                    _refuse_unpacked(file, total, size)


def _only_member(file: ConfigPath, archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    members = [item for item in archive.infolist() if not item.is_dir() and not _is_hidden(item.filename)]
    if len(members) != 1:
        names = list_names([item.filename for item in members])
        file.refuse(f"holds {len(members)} files ({names}): give a .zip with one table, or unpack it")
    if members[0].flag_bits & 1:
        file.refuse("needs a password: unpack it")
    return members[0]


def _is_hidden(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return "__MACOSX" in parts or parts[-1].startswith(".")


def _read(file: ConfigPath, content: IO[bytes] | gzip.GzipFile, size: int) -> bytes:
    found = bytearray()
    while chunk := content.read(_CHUNK):
        found += chunk
        _refuse_unpacked(file, len(found), size)
    return bytes(found)


def _refuse_unpacked(file: ConfigPath, count: int, size: int) -> None:
    if count > max(_SMALL, _RATIO * size):
        file.refuse(f"unpacks to more than {count / size:,.0f} times its size, as no table of numbers does: {_AS_TEXT}")
    refuse_large(file, count, "unpack it and save it as .npy or .h5, which are read on access")
