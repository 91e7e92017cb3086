"""Images in one array: layouts, levels, labels, memory, and arrays that are refused."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from nfkd.config.data import ImageStackConfig
from nfkd.data import DataError, Dataset, load_dataset
from tests.core.data import image_files as files

GREY = files.some(60, 6, 5)
COLOUR = files.some(60, 3, 6, 5)


def write(folder: Path, kind: str, **arrays: np.ndarray) -> str:
    path = folder / f"stack.{kind}"
    content = {
        "npy": lambda: files.npy(arrays["images"]),
        "npz": lambda: files.npz(**arrays),
        "h5": lambda: files.h5(**arrays),
    }
    path.write_bytes(content[kind]())
    return str(path)


def every(dataset: Dataset) -> list[bytes]:
    splits = (dataset.train, dataset.validation, dataset.test)
    return sorted(image.tobytes() for split in splits for image in split.values[:])


def refusal(config: ImageStackConfig) -> tuple[str, str]:
    with pytest.raises(DataError) as refused:
        load_dataset(config)
    (problem,) = refused.value.problems
    return problem.path, problem.message


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (GREY, GREY[:, None]),
        (GREY[..., None].astype(np.int64), GREY[:, None]),
        (COLOUR, COLOUR),
        (np.moveaxis(COLOUR, 1, 3).astype(">u2"), COLOUR),
        (np.asfortranarray(COLOUR), COLOUR),
    ],
    ids=["N H W", "N H W 1", "N 3 H W", "N H W 3", "Fortran order"],
)
def test_every_layout_becomes_channels_height_width(stored: np.ndarray, expected: np.ndarray, tmp_path: Path) -> None:
    for kind in ("npy", "npz", "h5"):
        dataset = load_dataset(ImageStackConfig(path=write(tmp_path, kind, images=stored)))
        assert dataset.event_shape == expected.shape[1:]
        assert every(dataset) == sorted(image.tobytes() for image in expected)
        assert dataset.levels == 256
        assert all(split.values[:].dtype == np.uint8 for split in (dataset.train, dataset.test))


@pytest.mark.parametrize("kind", ["npy", "npz", "h5"])
def test_levels_and_bits_give_the_levels_of_the_dequantization(kind: str, tmp_path: Path) -> None:
    path = write(tmp_path, kind, images=GREY // 16)
    assert load_dataset(ImageStackConfig(path=path, levels=16)).levels == 16
    assert load_dataset(ImageStackConfig(path=path, levels=17)).levels == 17
    two = load_dataset(ImageStackConfig(path=path, levels=16, bits=2))
    assert two.levels == 4
    assert every(two) == sorted(image.tobytes() for image in np.floor(GREY[:, None] / 64).astype(np.uint8))
    assert refusal(ImageStackConfig(path=path, levels=17, bits=2))[0] == "data.bits"
    truth = write(tmp_path, kind, images=GREY > 100)
    assert load_dataset(ImageStackConfig(path=truth, levels=2)).levels == 2


@pytest.mark.parametrize("kind", ["npz", "h5"])
def test_labels_come_with_their_images(kind: str, tmp_path: Path) -> None:
    labels = (GREY[:, 0, 0] % 3).astype(np.int32)
    path = write(tmp_path, kind, images=GREY, labels=labels)
    config = ImageStackConfig(path=path, key="images", labels_key="labels", class_labels=True)
    dataset = load_dataset(config)
    assert dataset.context_features == 3
    for split in (dataset.train, dataset.validation, dataset.test):
        assert split.context is not None
        np.testing.assert_array_equal(split.context.argmax(1), split.values[:][:, 0, 0, 0] % 3)
    plain = load_dataset(config.model_copy(update={"class_labels": False})).train
    assert plain.context is None
    assert plain.labels is not None
    np.testing.assert_array_equal(plain.labels, plain.values[:][:, 0, 0, 0] % 3)

    assert refusal(config.model_copy(update={"labels_key": ""}))[0] == "data.class_labels"
    assert refusal(config.model_copy(update={"labels_key": "none"}))[0] == "data.labels_key"
    assert refusal(config.model_copy(update={"labels_key": "images"})) == (
        "data.labels_key", f"{path}: images has the shape (60, 6, 5) instead of 60 labels"
    )  # fmt: skip
    for wrong, expected in ((labels - 1, "is -1"), (labels / 2, "these are float64"), (labels + 1000, "is 100")):
        bad = write(tmp_path, kind, images=GREY, labels=wrong)
        field, message = refusal(config.model_copy(update={"path": bad}))
        assert field == "data.labels_key"
        assert expected in message


def test_a_npy_file_has_no_labels(tmp_path: Path) -> None:
    path = write(tmp_path, "npy", images=GREY)
    assert refusal(ImageStackConfig(path=path, class_labels=True))[0] == "data.class_labels"
    assert refusal(ImageStackConfig(path=path, class_labels=True, labels_key="x"))[0] == "data.class_labels"
    assert refusal(ImageStackConfig(path=path, key="x"))[0] == "data.key"


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (GREY / 255, "float64 values instead of whole numbers from 0 to 255"),
        (np.where(GREY > 3, np.nan, GREY).astype(np.float32), "float32 values"),
        (GREY.astype(np.int16) - 1, "holds the value -1: 0 to 255 are the levels"),
        (GREY.astype(np.int16) + 1, "holds the value 256"),
        (GREY[0], "has the shape 6×5"),
        (files.some(10, 4, 6, 5), "has the shape 10×4×6×5"),
        (GREY[:0], "is empty"),
        (np.array(7), "is empty"),
        (np.array([[[b"x"]]]), "not numbers"),
        (GREY.astype(np.complex64), "not numbers"),
    ],
    ids=["floats", "NaN", "below", "above", "one image", "four channels", "empty", "a number", "text", "complex"],
)
def test_arrays_that_are_no_images_are_refused(stored: np.ndarray, expected: str, tmp_path: Path) -> None:
    for kind in ("npy", "npz", "h5"):
        if kind == "h5" and (0 in stored.shape or not stored.shape):
            path = str(tmp_path / "x.h5")
            with h5py.File(path, "w") as file:
                file.create_dataset("images", data=stored)
        else:
            path = write(tmp_path, kind, images=stored)
        field, message = refusal(ImageStackConfig(path=path))
        assert field == "data.path"
        assert path in message
        assert expected in message


def test_the_image_with_the_wrong_value_is_named(tmp_path: Path) -> None:
    images = GREY.copy() // 2
    images[23, 5, 4] = 200
    path = write(tmp_path, "npy", images=images)
    _, message = refusal(ImageStackConfig(path=path, levels=128))
    assert "image number 23 holds the value 200" in message


@pytest.mark.parametrize("kind", ["npy", "npz"])
def test_python_objects_are_not_loaded(kind: str, tmp_path: Path) -> None:
    path = write(tmp_path, kind, images=np.array([GREY, None], dtype=object))
    field, message = refusal(ImageStackConfig(path=path))
    assert field == "data.path"
    assert "object" in message.lower()


def test_one_of_several_arrays_must_be_named(tmp_path: Path) -> None:
    for kind in ("npz", "h5"):
        path = write(tmp_path, kind, images=GREY, more=GREY)
        field, message = refusal(ImageStackConfig(path=path))
        assert field == "data.key"
        assert "images" in message
        assert "more" in message
        assert refusal(ImageStackConfig(path=path, key="no"))[0] == "data.key"
        assert len(every(load_dataset(ImageStackConfig(path=path, key="more")))) == 60


def external(file: h5py.File, other: Path) -> None:
    file["images"] = h5py.ExternalLink(str(other), "images")


def virtual(file: h5py.File, other: Path) -> None:
    layout = h5py.VirtualLayout(GREY.shape, GREY.dtype)
    layout[:] = h5py.VirtualSource(str(other), "images", GREY.shape)
    file.create_virtual_dataset("images", layout)


def raw(file: h5py.File, other: Path) -> None:
    file.create_dataset("images", GREY.shape, GREY.dtype, external=[(str(other), 0, GREY.nbytes)])


@pytest.mark.parametrize("make", [external, virtual, raw])
def test_hdf5_links_and_values_in_other_files_are_refused(make: Any, tmp_path: Path) -> None:
    other = tmp_path / "other.h5"
    other.write_bytes(files.h5(images=GREY))
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        make(file, other)
    for key in ("", "images"):
        with pytest.raises(DataError):
            load_dataset(ImageStackConfig(path=str(path), key=key))


def test_paths_that_are_no_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cases = {"": "names nothing yet", "none.npy": "there is no such file", ".": "is a folder", "a\0b": "no such file"}
    for path, expected in cases.items():
        field, message = refusal(ImageStackConfig(path=path))
        assert field == "data.path"
        assert expected in message


def test_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("1 2 3")
    assert ".npy, .npz, .h5" in refusal(ImageStackConfig(path=str(tmp_path / "x.txt")))[1]
    for ending in ("npy", "npz"):
        other = tmp_path / f"y.{ending}"
        other.write_bytes(files.npz(images=GREY) if ending == "npy" else files.npy(GREY))
        assert f"is no .{ending} file" in refusal(ImageStackConfig(path=str(other)))[1]


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    config = ImageStackConfig(path=write(tmp_path, "npy", images=GREY))
    before = load_dataset(config)
    assert load_dataset(config) is before
    write(tmp_path, "npy", images=files.some(70, 6, 5))
    assert len(every(load_dataset(config))) == 70


@pytest.mark.parametrize("kind", ["npy", "h5"])
def test_an_array_larger_than_memory_is_read_in_batches(kind: str, tmp_path: Path) -> None:
    """A sparse file of 3 GB: only the batches are in memory."""
    count, shape = 1_000_000, (3, 32, 32)
    path = tmp_path / f"large.{kind}"
    if kind == "npy":
        head = np.lib.format.open_memmap(path, "w+", np.uint8, (count, *shape))
        head[:1] = 7
        del head
    else:
        with h5py.File(path, "w") as file:
            file.create_dataset("images", (count, *shape), np.uint8, chunks=(1, *shape))
    generator = torch.Generator().manual_seed(0)
    tracemalloc.start()
    try:
        dataset = load_dataset(ImageStackConfig(path=str(path), validation_fraction=0.0001, test_fraction=0.0001))
        for _ in range(5):
            index = torch.randperm(len(dataset.train), generator=generator)[:64].numpy()
            batch = dataset.training_batch(index, generator, generator)
            assert batch.x.shape == (64, *shape)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100e6, f"{peak / 1e6:.0f} MB of {count * 3072 / 1e6:.0f} MB"
