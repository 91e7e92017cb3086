"""Folders of images that stay on disk: the same as in memory, decoded once."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from nfkd.config.data import ImageFolderConfig
from nfkd.data import DataError, Dataset, image_lists, load_dataset, pictures
from nfkd.data.decoded_images import DecodedImages
from nfkd.data.examples import in_memory
from nfkd.data.image_lists import find_images
from nfkd.data.index_cache import indexes_folder
from nfkd.data.progress import reporting

SPLITS = ("train", "validation", "test")
COUNT = 120


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NFKD_DATA", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for number in range(COUNT):
        path = tmp_path / "pictures" / "cba"[number % 3] / f"{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).save(path)
    return tmp_path / "pictures"


def load(folder: Path, storage: Any, **options: Any) -> Dataset:
    return load_dataset(ImageFolderConfig(path=str(folder), size=8, storage=storage, **options))


@pytest.mark.parametrize("options", [{}, {"class_labels": True, "bits": 5}, {"flip": True, "shift": 1}])
def test_a_folder_on_disk_is_that_in_memory(folder: Path, options: dict[str, Any]) -> None:
    memory, disk = load(folder, "memory", **options), load(folder, "disk", **options)
    assert in_memory(memory.train.values)
    assert not in_memory(disk.train.values)
    for name in SPLITS:
        one, other = getattr(memory, name), getattr(disk, name)
        np.testing.assert_array_equal(one.values[:], other.values[:])
        np.testing.assert_array_equal(one.labels, other.labels)
        if options.get("class_labels"):
            np.testing.assert_array_equal(one.context, other.context)
    assert memory.fingerprint is not None
    assert disk.fingerprint is not None
    assert memory.fingerprint() == disk.fingerprint()
    assert memory.summary == disk.summary
    index = np.array([5, 3, 5, 60])
    batches = [each.training_batch(index, torch.Generator(), torch.Generator()) for each in (memory, disk)]
    torch.testing.assert_close(batches[0].x, batches[1].x, rtol=0, atol=0)


def test_each_image_is_decoded_once_by_all_sessions(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load(folder, "disk")
    images = np.concatenate([getattr(first, name).values[:] for name in SPLITS])
    del first
    from nfkd.data import loading

    loading._cache.clear()

    def fail(*_: Any, **__: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(pictures, "decode", fail)
    monkeypatch.setattr("nfkd.data.sources.folder.decode", fail)
    again = load(folder, "disk")
    np.testing.assert_array_equal(np.concatenate([getattr(again, name).values[:] for name in SPLITS]), images)


def test_the_order_is_that_of_sorted_paths(tmp_path: Path) -> None:
    for name in ("b.png", "a.png", "a/z.png", "a/b/c.png", "a.b/y.jpg", ".hidden/x.png", "a/.x.png", "B.PNG", "t.txt"):
        (tmp_path / "p" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "p" / name).touch()
    paths = find_images(tmp_path / "p").paths
    expected = [each for each in (tmp_path / "p").rglob("*") if each.suffix.lower() in (".png", ".jpg")]
    assert [*paths] == sorted(each for each in expected if not any(part.startswith(".") for part in each.parts))
    assert paths[-1] == [*paths][-1]
    assert paths[1:3] == [*paths][1:3]


@pytest.mark.parametrize("change", ["added", "removed", "renamed", "rewritten"])
def test_a_kept_list_follows_the_folder(folder: Path, change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_lists, "_MANY", 10)
    before = find_images(folder)
    assert (before.folder / "images.json").is_file()
    assert find_images(folder).state == before.state
    path = folder / "a" / "002.png"
    match change:
        case "added":
            shutil.copy(path, folder / "a" / "new.png")
        case "removed":
            path.unlink()
        case "renamed":
            path.rename(folder / "a" / "1.png")
        case _:
            path.write_bytes(path.read_bytes() + b"\0")
    after = find_images(folder)
    assert after.state != before.state
    assert [*after.paths] == sorted(folder.rglob("*.png"))


@pytest.mark.parametrize("name", ["images.json", "names.bin"])
def test_a_damaged_list_is_made_again(folder: Path, name: str) -> None:
    before = find_images(folder, keep=True)
    os.truncate(before.folder / name, 20)
    after = find_images(folder, keep=True)
    assert (after.state, [*after.paths]) == (before.state, [*before.paths])


def test_a_killed_process_leaves_no_wrong_image(tmp_path: Path) -> None:
    image = np.full((1, 2, 2), 7, np.uint8)
    kept = DecodedImages(tmp_path / "x.pixels", (5, 1, 2, 2))
    assert kept.add(3, image)
    np.testing.assert_array_equal(kept[np.array([3])][0], image)
    assert not DecodedImages(tmp_path / "x.pixels", (5, 1, 2, 2)).known.any()  # not marked before it is on the disk
    del kept
    again = DecodedImages(tmp_path / "x.pixels", (5, 1, 2, 2))
    assert again.known.tolist() == [False, False, False, True, False]
    os.truncate(tmp_path / "x.pixels", 3)
    assert not DecodedImages(tmp_path / "x.pixels", (5, 1, 2, 2)).known.any()


def test_without_space_images_are_decoded_each_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = load(folder, "memory").train.values[:]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1 << 20))
    said: list[str] = []
    with reporting(said.append):
        dataset = load(folder, "disk")
    assert said[-1].startswith("Images are decoded each time they are read: 0.0 GiB are needed in ")
    np.testing.assert_array_equal(dataset.train.values[:], expected)


def test_an_image_that_disappears_is_named(folder: Path) -> None:
    dataset = load(folder, "disk")
    (folder / "a" / "002.png").unlink()
    with pytest.raises(DataError, match=r"002\.png: is not there any more"):
        np.concatenate([getattr(dataset, name).values[:] for name in SPLITS])
    assert indexes_folder().is_dir()
