"""Builders of hostile files, for the tests and for `make torture`.

`ANY_FILE` has those that can replace any file; the others are of one format.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import socket
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from PIL import Image

Build = Callable[[Path], object]
"""Creates something at a path and replaces what is there."""
DEEP = 100_000


def clear(path: Path) -> Path:
    """Remove what is at a path."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    return path


def fifo(path: Path) -> None:
    """A pipe without a writer."""
    os.mkfifo(clear(path))


def socket_file(path: Path) -> None:
    """A socket."""
    before = Path.cwd()
    os.chdir(clear(path).parent)  # a socket's path may have about a hundred bytes
    try:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(path.name)
    finally:
        os.chdir(before)


def directory(path: Path) -> None:
    """A directory."""
    clear(path).mkdir()


def device(path: Path) -> None:
    """A link to an endless device."""
    clear(path).symlink_to("/dev/zero")


def dangling(path: Path) -> None:
    """A link without a target."""
    clear(path).symlink_to(path.parent / "nowhere")


def loop(path: Path) -> None:
    """A link to itself."""
    clear(path).symlink_to(path)


def empty(path: Path) -> None:
    """No bytes."""
    clear(path).write_bytes(b"")


def zeros(path: Path) -> None:
    """Bytes of zero, as after a crash."""
    clear(path).write_bytes(bytes(4096))


def endless(path: Path) -> None:
    """A sparse file of a terabyte."""
    with clear(path).open("wb") as file:
        file.truncate(1 << 40)


def noise(path: Path) -> None:
    """Random bytes."""
    clear(path).write_bytes(np.random.default_rng(0).bytes(5000))


def not_text(path: Path) -> None:
    """Bytes that are not UTF-8."""
    clear(path).write_bytes(b'{"row": "\xff\xfe\x80"}')


def deep_json(path: Path) -> None:
    """A hundred thousand nested JSON objects."""
    clear(path).write_text('{"row":' * DEEP)


def deep_list(path: Path) -> None:
    """A hundred thousand nested JSON lists, each closed."""
    clear(path).write_text("[" * DEEP + "]" * DEEP)


KINDS: dict[str, Build] = {
    "missing": clear,
    "FIFO": fifo,
    "socket": socket_file,
    "directory": directory,
    "endless device": device,
    "dangling link": dangling,
    "link to itself": loop,
    "empty": empty,
    "noise": noise,
    "a terabyte of holes": endless,
}
"""What can be at a path, apart from content, by its name in tables."""
_DAMAGED = (zeros, not_text, deep_json, deep_list)
ANY_FILE = {build.__name__: build for build in (*KINDS.values(), *_DAMAGED) if build is not clear}


# --- content ----------------------------------------------------------------------------------------------------------


def text(value: str) -> Build:
    """Return the builder of a text file."""
    return lambda path: clear(path).write_text(value, encoding="utf-8")


def content(data: bytes) -> Build:
    """Return the builder of a file of bytes."""
    return lambda path: clear(path).write_bytes(data)


def altered(source: bytes, change: Callable[[Any], Any]) -> Build:
    """Return the builder of a changed JSON file."""
    tree = json.loads(source)
    return text(json.dumps(change(tree) or tree))


def nested(opening: str, closing: str, *, before: str = "", after: str = "") -> Build:
    """Return the builder of a text with deeply nested brackets."""
    return text(f"{before}{opening * DEEP}{closing * DEEP}{after}")


# --- a run's state ----------------------------------------------------------------------------------------------------


def state_with(**changes: Any) -> Build:
    """Return the builder of a state with other values; those of the row are named ``row_…``."""

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
"""States whose run can be listed, because its process does not exist."""


# --- TOML and logs ----------------------------------------------------------------------------------------------------


def long_key(path: Path) -> None:
    """A key of half a million parts."""
    clear(path).write_text(f"{'.'.join(['a'] * 500_000)} = 1\n")


BAD_TOML: dict[str, Build] = {
    "deep": nested("[", "]", before="a = "),
    "long key": long_key,
    "blank": text("\n" * (1 << 20)),
    "long number": text(f"a = {'9' * 100_000}\n"),
}


def long_log(path: Path) -> None:
    """A log of 20 MB: a line of 10 MB, lines that are not log entries, and one valid entry at the end."""
    line = {"run": "x", "level": "info", "text": "the last", "time": 1e9}
    with clear(path).open("w") as file:
        file.write(json.dumps(line | {"text": "x" * 10_000_000}) + "\n")
        file.write(("{" * 1000 + "\n") * 10_000)
        file.write('{"a":' * DEEP + "\n")
        file.write(json.dumps(line | {"time": 1e300}) + "\n")
        file.write(json.dumps(line) + "\n")


# --- weights ----------------------------------------------------------------------------------------------------------


_METADATA = {"flow", "event_shape", "context_features", "foreign"}


def tampered_weights(source: Path, **changes: Any) -> Build:
    """Return the builder of a copy of a weights file with other metadata and the same numbers.

    `changes` are metadata (texts, or values to encode as JSON), or fields of the flow.
    """
    data = source.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    meta = header["__metadata__"]
    for name, value in changes.items():
        if name in _METADATA:
            meta[name] = value if isinstance(value, str) else json.dumps(value)
        else:
            meta["flow"] = json.dumps(json.loads(meta["flow"]) | {name: value})
    new = json.dumps(header).encode()
    return content(struct.pack("<Q", len(new)) + new + data[8 + length :])


LONG_HEADER = content(struct.pack("<Q", 1 << 62) + b"{}")


# --- arrays -----------------------------------------------------------------------------------------------------------


def npy_bytes(shape: tuple[int, ...], numbers: bytes = b"", dtype: str = "|u1") -> bytes:
    """Return a .npy file with a header of any shape, followed by any bytes."""
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": dtype, "fortran_order": False, "shape": shape})
    return head.getvalue() + numbers


def lying_npy(path: Path) -> None:
    """A .npy file whose header claims a terabyte."""
    clear(path).write_bytes(npy_bytes((10**6, 1, 10**3, 10**3), bytes(100)))


def deep_npy(path: Path) -> None:
    """A .npy file whose header is thousands of brackets."""
    head = ("(" * 9000).encode()
    clear(path).write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head)


def lying_npz(path: Path, shape: tuple[int, ...] = (1000, 1, 1000, 1000)) -> None:
    """A .npz file whose array claims a gigabyte and has a hundred bytes."""
    with zipfile.ZipFile(clear(path), "w") as archive:
        archive.writestr("images.npy", npy_bytes(shape, bytes(100)))


def packed_npz(path: Path) -> None:
    """A .npz file of a few megabytes with 4 GiB of zeros in it."""
    with (
        zipfile.ZipFile(clear(path), "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("images.npy", "w", force_zip64=True) as member,
    ):
        member.write(npy_bytes((4096, 1, 1024, 1024)))
        for _ in range(64):
            member.write(bytes(1 << 20))  # the header claims more; 64 MiB are enough for the test


def headless_npz(path: Path) -> None:
    """A .npz file whose array has a header of a gigabyte, compressed to a megabyte."""
    with (
        zipfile.ZipFile(clear(path), "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("images.npy", "w") as member,
    ):
        member.write(b"\x93NUMPY\x02\x00" + struct.pack("<I", 1 << 30))
        for _ in range(64):
            member.write(b" " * (1 << 20))


def whole_npz(path: Path) -> None:
    """A small .npz file with a complete array of 200 million zeros."""
    with (
        zipfile.ZipFile(clear(path), "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("data.npy", "w") as member,
    ):
        member.write(npy_bytes((100_000_000, 2)))
        for _ in range(200):
            member.write(bytes(1_000_000))


def packed_hdf5(path: Path) -> None:
    """An HDF5 file of a few kilobytes with an unwritten array of 64 PiB."""
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
    """A Parquet file of some kilobytes with numbers and a text of `length` characters in each row."""
    import polars as pl  # starts threads, and `make torture` forks

    frame = pl.DataFrame({"number": np.arange(rows) * 0.5}).with_columns(text=pl.lit("x" * length))
    frame.write_parquet(clear(path), compression="zstd")


def packed_lists(path: Path, rows: int = 100, length: int = 100_000) -> None:
    """A Parquet file of some kilobytes with numbers and a list of `length` zeros in each row."""
    import polars as pl

    frame = pl.DataFrame({"number": np.arange(rows) * 0.5, "list": [[0] * length] * rows})
    frame.write_parquet(clear(path), compression="zstd")


# --- pictures and archives --------------------------------------------------------------------------------------------


def png_claiming(width: int, height: int) -> bytes:
    """Return a black PNG of any claimed size; a large one is cut short."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compressobj(9)
    packed = b"".join(rows.compress(bytes(min(width, 100_000) + 1)) for _ in range(min(height, 2000))) + rows.flush()
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def packed_tar(path: Path, size: int = 2 << 30) -> None:
    """A .tar.gz of some megabytes whose only member has two gigabytes of zeros."""
    info = tarfile.TarInfo("cifar-10-batches-bin/other.bin")
    info.size = size
    with gzip.GzipFile(clear(path), "wb", compresslevel=1) as file:
        file.write(info.tobuf())
        for _ in range(size >> 20):
            file.write(bytes(1 << 20))


# --- valid data, for hostile entries and names ------------------------------------------------------------------------


def image_folder(spoil: Build, name: str = "x.png") -> Build:
    """Return the builder of a folder of 60 small images and one hostile entry."""

    def build(path: Path) -> None:
        path.mkdir()
        random = np.random.default_rng(0)
        for number in range(60):
            Image.fromarray(random.integers(0, 256, (8, 8), np.uint8)).save(path / f"{number:02}.png")
        spoil(path / name)

    return build


def table(rows: int = 400) -> bytes:
    """Return a CSV file of two columns of numbers."""
    numbers = np.random.default_rng(0).normal(size=(rows, 2))
    file = io.StringIO()
    np.savetxt(file, numbers, delimiter=",", header="a,b", comments="")
    return file.getvalue().encode()


def array(seed: int = 0, rows: int = 400) -> bytes:
    """Return a .npy file of rows of two numbers; the first rows do not depend on how many follow."""
    file = io.BytesIO()
    np.save(file, np.random.default_rng(seed).normal(size=(rows, 2)))
    return file.getvalue()


NAMES = {
    "escape sequence": os.fsencode("run\x1b[31m\x07red"),
    "markup": b"run[bold red]x[/]",
    "unclosed markup": b"run[/nothing]",
    "line feed": b"run\nnfkd: all is well",
    "marks of direction": os.fsencode("run\u202egnp.x\u2066"),
    "C1 control": os.fsencode("run\x9b31mred"),
    "invalid UTF-8": b"run\xff\xfe",
    "longest name": b"r" * 255,
    "option": b"--help",
}
"""Names of files and directories, as bytes."""
