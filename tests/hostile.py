"""Files that nobody should have to trust: each function makes one at a path, whatever was there before.

`ANY_FILE` has those that can stand in place of any file; the others are of one format.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import polars as pl
from safetensors import safe_open
from safetensors.torch import save_file

Build = Callable[[Path], None]
DEEP = 100_000


def clear(path: Path) -> Path:
    """Remove what is at a path."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    return path


def fifo(path: Path) -> None:
    """A pipe that nobody writes to."""
    os.mkfifo(clear(path))


def directory(path: Path) -> None:
    """A directory."""
    clear(path).mkdir()


def device(path: Path) -> None:
    """A link to a device without an end."""
    clear(path).symlink_to("/dev/zero")


def dangling(path: Path) -> None:
    """A link that leads nowhere."""
    clear(path).symlink_to(path.parent / "nowhere")


def loop(path: Path) -> None:
    """A link to itself."""
    clear(path).symlink_to(path)


def empty(path: Path) -> None:
    """No bytes."""
    clear(path).write_bytes(b"")


def zeros(path: Path) -> None:
    """Bytes of zero, as a crash leaves them."""
    clear(path).write_bytes(bytes(4096))


def endless(path: Path) -> None:
    """64 GiB of zeros that take no room on the disk."""
    with clear(path).open("wb") as file:
        file.truncate(64 << 30)


def not_text(path: Path) -> None:
    """Bytes that are no UTF-8."""
    clear(path).write_bytes(b'{"row": "\xff\xfe\x80"}')


def deep_json(path: Path) -> None:
    """JSON of a hundred thousand objects inside each other."""
    clear(path).write_text('{"row":' * DEEP)


def deep_list(path: Path) -> None:
    """JSON of a hundred thousand lists inside each other, each closed."""
    clear(path).write_text("[" * DEEP + "]" * DEEP)


ANY_FILE: dict[str, Build] = {
    build.__name__: build
    for build in (fifo, directory, device, dangling, loop, empty, zeros, endless, not_text, deep_json, deep_list)
}


# --- a run's state ----------------------------------------------------------------------------------------------------


def state_with(**changes: Any) -> Build:
    """A state with other values; those of the row are named ``row_…``."""

    def build(path: Path) -> None:
        state = json.loads(path.read_text())
        for name, value in changes.items():
            target = state["row"] if name.startswith("row_") else state
            target[name.removeprefix("row_")] = value
        path.write_text(json.dumps(state).replace('"@huge"', "1e400").replace('"@long"', "9" * 400))

    return build


BAD_STATES: dict[str, Build] = {
    "created beyond all time": state_with(row_created=1e300),
    "created not a finite number": state_with(row_created="@huge"),
    "created before all time": state_with(row_created=-1e300),
    "created text": state_with(row_created="yesterday"),
    "progress text": state_with(row_progress="x"),
    "pid of 30 digits": state_with(pid=10**30, row_state="running"),
    "seeds of 400 digits": state_with(row_seeds="@long"),
    "name a list": state_with(row_name=["a"]),
    "state unknown": state_with(row_state="flying"),
    "no row": state_with(row=None),
}
"""States whose run cannot be listed."""
ODD_STATES: dict[str, Build] = {
    "pid negative": state_with(pid=-1, row_state="running"),
    "pid zero": state_with(pid=0, row_state="running"),
    "pid too large": state_with(pid=2**40, row_state="running"),
    "born in no time": state_with(born=1e308, row_state="running"),
}
"""States whose run can be listed: its process is not there."""


# --- TOML and logs ----------------------------------------------------------------------------------------------------


def deep_toml(path: Path) -> None:
    """A list of a hundred thousand lists inside each other."""
    clear(path).write_text(f"a = {'[' * DEEP}{']' * DEEP}\n")


def long_key(path: Path) -> None:
    """A key of half a million parts."""
    clear(path).write_text(f"{'.'.join(['a'] * 500_000)} = 1\n")


def blank_toml(path: Path) -> None:
    """A megabyte of empty lines."""
    clear(path).write_text("\n" * (1 << 20))


def long_number(path: Path) -> None:
    """A number of a hundred thousand digits."""
    clear(path).write_text(f"a = {'9' * 100_000}\n")


BAD_TOML: dict[str, Build] = {build.__name__: build for build in (deep_toml, long_key, blank_toml, long_number)}


def long_log(path: Path) -> None:
    """A log of 20 MB: a line of 10 MB, lines that are no log lines, and one at the end that is."""
    line = {"run": "x", "level": "info", "text": "the last", "time": 1e9}
    with clear(path).open("w") as file:
        file.write(json.dumps(line | {"text": "x" * 10_000_000}) + "\n")
        file.write(("{" * 1000 + "\n") * 10_000)
        file.write('{"a":' * DEEP + "\n")
        file.write(json.dumps(line | {"time": 1e300}) + "\n")
        file.write(json.dumps(line) + "\n")


# --- weights ----------------------------------------------------------------------------------------------------------


def tampered_weights(source: Path, target: Path, changes: Mapping[str, Any]) -> None:
    """Copy a weights file with other words: the flow's fields, or ``event_shape`` and ``context_features``."""
    with safe_open(source, framework="pt") as file:
        meta = dict(file.metadata())
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dictionary
    for name, value in changes.items():
        if name in meta:
            meta[name] = json.dumps(value)
        else:
            meta["flow"] = json.dumps(json.loads(meta["flow"]) | {name: value})
    save_file(tensors, clear(target), meta)


# --- arrays -----------------------------------------------------------------------------------------------------------


def npy_bytes(shape: tuple[int, ...], content: bytes = b"") -> bytes:
    """A .npy file of bytes that claims a shape, whatever follows."""
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return head.getvalue() + content


def lying_npy(path: Path) -> None:
    """A .npy file that claims a terabyte."""
    clear(path).write_bytes(npy_bytes((10**6, 1, 10**3, 10**3), bytes(100)))


def deep_npy(path: Path) -> None:
    """A .npy file whose head is a thousand brackets."""
    head = ("(" * 9000).encode()
    clear(path).write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head)


def lying_npz(path: Path) -> None:
    """A .npz file whose array claims a gigabyte and has a hundred bytes."""
    with zipfile.ZipFile(clear(path), "w") as archive:
        archive.writestr("images.npy", npy_bytes((1000, 1, 1000, 1000), bytes(100)))


def packed_npz(path: Path) -> None:
    """A .npz file of a few megabytes with 4 GiB of zeros in it."""
    with (
        zipfile.ZipFile(clear(path), "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("images.npy", "w", force_zip64=True) as member,
    ):
        member.write(npy_bytes((4096, 1, 1024, 1024)))
        for _ in range(64):
            member.write(bytes(1 << 20))  # the head claims more: 64 MiB are enough for the test


def headless_npz(path: Path) -> None:
    """A .npz file whose array has a head of a gigabyte, packed to a megabyte."""
    with (
        zipfile.ZipFile(clear(path), "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("images.npy", "w") as member,
    ):
        member.write(b"\x93NUMPY\x02\x00" + struct.pack("<I", 1 << 30))
        for _ in range(64):
            member.write(b" " * (1 << 20))


def packed_hdf5(path: Path) -> None:
    """An HDF5 file of a few kilobytes with an array of 64 PiB, none of it written."""
    with h5py.File(clear(path), "w") as file:
        file.create_dataset("images", (1 << 40, 1, 256, 256), np.uint8, chunks=(1, 1, 256, 256), compression="gzip")


def large_chunk_hdf5(path: Path) -> None:
    """An HDF5 file whose chunks are 3 GiB each."""
    with h5py.File(clear(path), "w") as file:
        file.create_dataset("images", (3072, 1, 1024, 1024), np.uint8, chunks=(3072, 1, 1024, 1024), compression="gzip")


ARRAYS: dict[str, tuple[Build, str]] = {
    "lying npy": (lying_npy, ".npy"),
    "deep npy": (deep_npy, ".npy"),
    "lying npz": (lying_npz, ".npz"),
    "packed npz": (packed_npz, ".npz"),
    "headless npz": (headless_npz, ".npz"),
    "packed hdf5": (packed_hdf5, ".h5"),
    "large chunks": (large_chunk_hdf5, ".h5"),
}


# --- tables -----------------------------------------------------------------------------------------------------------


def packed_parquet(path: Path, rows: int = 2000, length: int = 100_000) -> None:
    """A Parquet file of some kilobytes: numbers, and a text of `length` characters in each of its rows."""
    frame = pl.DataFrame({"number": np.arange(rows) * 0.5}).with_columns(text=pl.lit("x" * length))
    frame.write_parquet(clear(path), compression="zstd")


def packed_lists(path: Path, rows: int = 100, length: int = 100_000) -> None:
    """A Parquet file of some kilobytes: numbers, and a list of `length` zeros in each of its rows."""
    frame = pl.DataFrame({"number": np.arange(rows) * 0.5, "list": [[0] * length] * rows})
    frame.write_parquet(clear(path), compression="zstd")


# --- pictures and archives --------------------------------------------------------------------------------------------


def large_png(path: Path, side: int = 8_100) -> None:
    """A PNG of a few hundred kilobytes with 65 megapixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    packer = zlib.compressobj(1)
    data = b"".join([*(packer.compress(bytes(side + 1)) for _ in range(side)), packer.flush()])
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    clear(path).write_bytes(png)


def packed_tar(path: Path, size: int = 2 << 30) -> None:
    """A .tar.gz of some megabytes whose only member has two gigabytes of zeros."""
    info = tarfile.TarInfo("cifar-10-batches-bin/other.bin")
    info.size = size
    with gzip.GzipFile(clear(path), "wb", compresslevel=1) as file:
        file.write(info.tobuf())
        for _ in range(size >> 20):
            file.write(bytes(1 << 20))
