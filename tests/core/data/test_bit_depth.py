"""Images of more than 8 bits a channel are refused alike; those of fewer bits have their right values."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from nfkd.data import DataError
from nfkd.data.files import ConfigPath
from nfkd.data.pictures import decode, look_at

SIDE = 8
RNG = np.random.default_rng(3)


def png(colour: int, depth: int, rows: bytes, palette: bytes = b"") -> bytes:
    """A PNG file from rows of packed samples, by the PNG specification."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    width = len(rows) // SIDE
    lines = b"".join(b"\0" + rows[row * width : (row + 1) * width] for row in range(SIDE))
    header = struct.pack(">IIBBBBB", SIDE, SIDE, depth, colour, 0, 0, 0)
    middle = chunk(b"PLTE", palette) if palette else b""
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + middle
        + chunk(b"IDAT", zlib.compress(lines))
        + chunk(b"IEND", b"")
    )


def tiff(values: np.ndarray, kind: int, order: str = "<", *, big: bool = False) -> bytes:
    """An uncompressed TIFF file of (H, W, samples), by the TIFF 6.0 specification; `kind` is its SampleFormat."""
    height, width, samples = values.shape
    bits, mark = 8 * values.dtype.itemsize, b"II" if order == "<" else b"MM"
    start = 16 if big else 8
    pixels = values.astype(f"{order}{values.dtype.str[1:]}").tobytes()
    extra = struct.pack(f"{order}{samples}H", *[bits] * samples) + struct.pack(f"{order}{samples}H", *[kind] * samples)
    bits_at, kinds_at = start, start + 2 * samples
    pixels_at = start + len(extra)
    after = pixels_at + len(pixels)

    def entry(tag: int, count: int, value: int) -> bytes:
        short = struct.pack(f"{order}H", value) if count == 1 and tag not in {273, 279} else b""
        place = 8 if big else 4
        held = short.ljust(place, b"\0") if short else struct.pack(f"{order}{'Q' if big else 'I'}", value)
        code = 3 if short or tag in {258, 339} else (16 if big else 4)
        if count * 2 <= place and tag in {258, 339} and count > 1:
            held = struct.pack(f"{order}{count}H", *[bits if tag == 258 else kind] * count).ljust(place, b"\0")
        return struct.pack(f"{order}HH{'Q' if big else 'I'}", tag, code, count) + held

    entries = [
        entry(256, 1, width),
        entry(257, 1, height),
        entry(258, samples, bits if samples == 1 else bits_at),
        entry(259, 1, 1),
        entry(262, 1, 1 if samples == 1 else 2),
        entry(273, 1, pixels_at),
        entry(277, 1, samples),
        entry(278, 1, height),
        entry(279, 1, len(pixels)),
        *([entry(338, 1, 2)] if samples in {2, 4} else []),
        entry(339, samples, kind if samples == 1 else kinds_at),
    ]
    head = mark + struct.pack(f"{order}HHHQ", 43, 8, 0, after) if big else mark + struct.pack(f"{order}HI", 42, after)
    count = struct.pack(f"{order}{'Q' if big else 'H'}", len(entries))
    return head + extra + pixels + count + b"".join(entries) + bytes(8)


def some(*shape: int, dtype: str = "u2") -> np.ndarray:
    return RNG.integers(0, 4096, (SIDE, SIDE, *shape)).astype(dtype)


DEEP = {
    **{f"png, colour type {colour}": png(colour, 16, some(n).astype(">u2").tobytes()) for colour, n in
       ((0, 1), (2, 3), (4, 2), (6, 4))},
    **{f"tiff {dtype}×{n} {order}": tiff(some(n, dtype=dtype), kind, order) for dtype, kind in
       (("u2", 1), ("i2", 2), ("u4", 1), ("f4", 3), ("f8", 3)) for n in (1, 3, 4) for order in "<>"},
    "bigtiff": tiff(some(3), 1, big=True),
    "pgm": b"P5 8 8 4095\n" + some().astype(">u2").tobytes(),
    "ppm": b"P6\n# a comment\n8 8\n65535\n" + some(3).astype(">u2").tobytes(),
    "plain pgm": b"P2 8 8 1023\n" + b" ".join(b"%d" % value for value in range(64)),
    "plain ppm": b"P3 8 8 1023\n" + b" ".join(b"%d" % value for value in range(192)),
    "pam": b"P7\nWIDTH 8\nHEIGHT 8\nDEPTH 3\nMAXVAL 65535\nTUPLTYPE RGB\nENDHDR\n" + some(3).astype(">u2").tobytes(),
    "pfm": b"Pf\n8 8\n-1.0\n" + some(dtype="<f4").tobytes(),
    "colour pfm": b"PF\n8 8\n-1.0\n" + some(3, dtype="<f4").tobytes(),
    "jpeg of 12 bits": b"\xff\xd8\xff\xe0\0\x04\0\0\xff\xc1\0\x0b\x0c\0\x08\0\x08\x01\x01\x11\0\xff\xd9",
}  # fmt: skip


@pytest.mark.parametrize("name", DEEP)
@pytest.mark.parametrize("colour", [True, False])
def test_more_than_8_bits_are_refused(name: str, tmp_path: Path, *, colour: bool) -> None:
    path = tmp_path / "image.png"
    path.write_bytes(DEEP[name])
    file = ConfigPath(path, "data.path")
    for refused in (lambda: decode(file, SIDE, colour=colour), lambda: look_at(file)):
        with pytest.raises(DataError, match=r"has 1\d|has 32|has 64") as error:
            refused()
        (problem,) = error.value.problems
        assert "bits a channel, and at most 8 are read: save it with 8" in problem.message
        assert str(path) in problem.message


def packed(levels: np.ndarray, depth: int) -> bytes:
    """Samples of fewer bits than 8, the first in the highest bits."""
    bits = (levels.reshape(SIDE, SIDE, 1) >> np.arange(depth)[::-1]) & 1
    return np.packbits(bits.reshape(SIDE, -1).astype(np.uint8), axis=1).tobytes()


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_few_bits_are_stretched_to_8(depth: int, tmp_path: Path) -> None:
    most = 2**depth - 1
    levels = RNG.integers(0, most + 1, (SIDE, SIDE))
    (tmp_path / "grey.png").write_bytes(png(0, depth, packed(levels, depth)))
    grey = decode(ConfigPath(tmp_path / "grey.png", "data.path"), SIDE, colour=False)
    np.testing.assert_array_equal(grey[0], levels * (255 // most))

    colours = RNG.integers(0, 256, (most + 1, 3), dtype=np.uint8)
    (tmp_path / "palette.png").write_bytes(png(3, depth, packed(levels, depth), colours.tobytes()))
    image = decode(ConfigPath(tmp_path / "palette.png", "data.path"), SIDE, colour=True)
    np.testing.assert_array_equal(np.moveaxis(image, 0, 2), colours[levels])


@pytest.mark.parametrize("most", [15, 255])
def test_pnm_of_8_bits_is_read(most: int, tmp_path: Path) -> None:
    levels = RNG.integers(0, most + 1, (SIDE, SIDE), dtype=np.uint8)
    (tmp_path / "x.pgm").write_bytes(b"P5 # a comment\n8 8 %d\n" % most + levels.tobytes())
    grey = decode(ConfigPath(tmp_path / "x.pgm", "data.path"), SIDE, colour=False)
    np.testing.assert_array_equal(grey[0], levels * (255 // most))


@pytest.mark.parametrize("samples", [1, 3])
def test_tiff_of_8_bits_is_read(samples: int, tmp_path: Path) -> None:
    values = RNG.integers(0, 256, (SIDE, SIDE, samples), dtype=np.uint8)
    (tmp_path / "x.tif").write_bytes(tiff(values, 1))
    image = decode(ConfigPath(tmp_path / "x.tif", "data.path"), SIDE, colour=samples == 3)
    np.testing.assert_array_equal(np.moveaxis(image, 0, 2), values)
