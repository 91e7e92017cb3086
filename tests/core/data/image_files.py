"""Small files in the formats of the published image data sets, written from the descriptions of the formats."""

from __future__ import annotations

import gzip
import io
import pickle
import struct
import tarfile
from pathlib import Path

import h5py
import numpy as np
from PIL import Image

RNG = np.random.default_rng(7)


def some(*shape: int, high: int = 256) -> np.ndarray:
    return RNG.integers(0, high, shape, dtype=np.uint8)


# --- IDX --------------------------------------------------------------------------------------------------------------


def idx(values: np.ndarray, code: int = 8) -> bytes:
    return struct.pack(f">BBBB{values.ndim}I", 0, 0, code, values.ndim, *values.shape) + values.tobytes()


def write_mnist(folder: Path, *, packed: bool = True, count: int = 60, side: int = 28) -> dict[str, np.ndarray]:
    arrays = {
        "train-images-idx3-ubyte": some(count, side, side),
        "train-labels-idx1-ubyte": some(count, high=10),
        "t10k-images-idx3-ubyte": some(20, side, side),
        "t10k-labels-idx1-ubyte": some(20, high=10),
    }
    for name, values in arrays.items():
        content = idx(values)
        path = folder / (f"{name}.gz" if packed else name)
        path.write_bytes(gzip.compress(content) if packed else content)
    return arrays


# --- CIFAR-10 ---------------------------------------------------------------------------------------------------------

BATCHES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")
Batches = dict[str, tuple[np.ndarray, np.ndarray]]


def cifar(count: int = 12) -> Batches:
    return {name: (some(count, 3, 32, 32), some(count, high=10)) for name in BATCHES}


def cifar_binary(images: np.ndarray, labels: np.ndarray) -> bytes:
    return b"".join(bytes([label]) + image.tobytes() for image, label in zip(images, labels, strict=True))


def cifar_pickled(images: np.ndarray, labels: np.ndarray, protocol: int = 3) -> bytes:
    flat = images.reshape(len(images), -1)
    return pickle.dumps({b"batch_label": b"a batch", b"data": flat, b"labels": labels.tolist()}, protocol)


def tar(members: dict[str, bytes]) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w:gz") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return sink.getvalue()


def cifar_files(batches: Batches, version: str) -> dict[str, bytes]:
    if version == "binary":
        return {f"cifar-10-batches-bin/{name}.bin": cifar_binary(*batch) for name, batch in batches.items()}
    return {f"cifar-10-batches-py/{name}": cifar_pickled(*batch) for name, batch in batches.items()}


# --- arrays and pictures ----------------------------------------------------------------------------------------------


def npy(values: np.ndarray) -> bytes:
    sink = io.BytesIO()
    np.save(sink, values)
    return sink.getvalue()


def npz(**arrays: np.ndarray) -> bytes:
    sink = io.BytesIO()
    np.savez_compressed(sink, allow_pickle=True, **arrays)
    return sink.getvalue()


def h5(**arrays: np.ndarray) -> bytes:
    sink = io.BytesIO()
    with h5py.File(sink, "w") as file:
        for name, values in arrays.items():
            file.create_dataset(name, data=values, chunks=True, compression="gzip")
    return sink.getvalue()


def picture(values: np.ndarray, format: str = "PNG") -> bytes:  # noqa: A002 - Pillow's word
    sink = io.BytesIO()
    Image.fromarray(values).save(sink, format)
    return sink.getvalue()
