"""Builders of hostile files: what lies where a file of a run, an experiment or data is expected."""

from __future__ import annotations

import io
import json
import os
import socket
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Build = Callable[[Path], object]
"""Puts something at a path where there is nothing."""
DEEP = 200_000
HUGE = 1 << 40  # a sparse file takes no room
_BIG = 200_000_000
_ROW = 100_000


# --- anything but a regular file --------------------------------------------------------------------------------------


def _socket(path: Path) -> None:
    before = Path.cwd()
    os.chdir(path.parent)  # a socket's whole path may have a hundred bytes only
    try:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(path.name)
    finally:
        os.chdir(before)


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(HUGE)


KINDS: dict[str, Build] = {
    "missing": lambda path: None,
    "FIFO": os.mkfifo,
    "socket": _socket,
    "directory": Path.mkdir,
    "endless device": lambda path: path.symlink_to("/dev/zero"),
    "dangling link": lambda path: path.symlink_to("nowhere"),
    "link to itself": lambda path: path.symlink_to(path.name),
    "empty": lambda path: path.write_bytes(b""),
    "noise": lambda path: path.write_bytes(np.random.default_rng(0).bytes(5000)),
    "a terabyte of holes": _sparse,
}


# --- content ----------------------------------------------------------------------------------------------------------


def text(content: str) -> Build:
    """Return the builder of a text file."""
    return lambda path: path.write_text(content, encoding="utf-8")


def content(data: bytes) -> Build:
    """Return the builder of a file of bytes."""
    return lambda path: path.write_bytes(data)


def altered(source: bytes, change: Callable[[Any], Any]) -> Build:
    """Return the builder of a JSON file that was changed."""
    tree = json.loads(source)
    return text(json.dumps(change(tree) or tree))


def nested(opening: str, closing: str, *, before: str = "", after: str = "") -> Build:
    """Return the builder of a text with deep brackets."""
    return text(f"{before}{opening * DEEP}{closing * DEEP}{after}")


def dotted_toml() -> Build:
    """Return the builder of a TOML file with one very long dotted key."""
    return text(f"{'a.' * 20_000}a = 1\n")


# --- weights ----------------------------------------------------------------------------------------------------------


def tampered_weights(source: Path, change: Callable[[dict[str, Any]], None]) -> Build:
    """Return the builder of a weights file whose header was changed; its numbers stay."""
    data = source.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    change(header)
    new = json.dumps(header).encode()
    return content(struct.pack("<Q", len(new)) + new + data[8 + length :])


def flow_changed(**fields: Any) -> Callable[[dict[str, Any]], None]:
    """Return a change of the flow that a weights file says it is of."""

    def change(header: dict[str, Any]) -> None:
        meta = header["__metadata__"]
        meta["flow"] = json.dumps(json.loads(meta["flow"]) | fields)

    return change


def meta_changed(name: str, value: str) -> Callable[[dict[str, Any]], None]:
    """Return a change of one text of a weights file's metadata."""

    def change(header: dict[str, Any]) -> None:
        header["__metadata__"][name] = value

    return change


LONG_HEADER = content(struct.pack("<Q", 1 << 62) + b"{}")


# --- data -------------------------------------------------------------------------------------------------------------


def npy_claiming(shape: tuple[int, ...], dtype: str = "<f8") -> bytes:
    """Return a .npy file that claims a shape and has no numbers."""
    words = repr({"descr": dtype, "fortran_order": False, "shape": shape})
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(words) + 1) + words.encode() + b"\n"


def npz_bomb(path: Path) -> None:
    """Make a small archive of an array of 200 million zeros."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("data.npy", "w") as file:
        file.write(npy_claiming((_BIG // 2, 2), "|u1"))
        for _ in range(_BIG // 1_000_000):
            file.write(bytes(1_000_000))


def npz_claiming(path: Path) -> None:
    """Make an archive of an array that claims to be far larger than any memory."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data.npy", npy_claiming((1 << 40, 2)))


def png_claiming(width: int, height: int) -> bytes:
    """Return a PNG that claims a size; it is black, and ends early where it claims too much."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compressobj(9)
    packed = b"".join(rows.compress(bytes(min(width, _ROW) + 1)) for _ in range(min(height, 2000))) + rows.flush()
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def image_folder(spoil: Build, name: str = "x.png") -> Build:
    """Return the builder of a folder of 60 small images and one hostile entry."""

    def build(path: Path) -> None:
        from PIL import Image

        path.mkdir()
        noise = np.random.default_rng(0)
        for number in range(60):
            Image.fromarray(noise.integers(0, 256, (8, 8), np.uint8)).save(path / f"{number:02}.png")
        spoil(path / name)

    return build


def table(rows: int = 400) -> bytes:
    """Return a CSV file of two columns of numbers."""
    numbers = np.random.default_rng(0).normal(size=(rows, 2))
    file = io.StringIO()
    np.savetxt(file, numbers, delimiter=",", header="a,b", comments="")
    return file.getvalue().encode()


def array(seed: int = 0, rows: int = 400) -> bytes:
    """Return a .npy file of rows of two numbers; more rows begin with the same."""
    file = io.BytesIO()
    np.save(file, np.random.default_rng(seed).normal(size=(rows, 2)))
    return file.getvalue()


NAMES = {
    "escape sequence": os.fsencode("run\x1b[31m\x07red"),
    "markup": b"run[bold red]x[/]",
    "unclosed markup": b"run[/nothing]",
    "line feed": b"run\nnfkd: all is well",
    "invalid UTF-8": b"run\xff\xfe",
    "longest name": b"r" * 255,
    "option": b"--help",
}
"""Names of files and directories, as bytes."""
