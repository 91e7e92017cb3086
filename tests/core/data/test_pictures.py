"""Folders of image files and CelebA: how images are cropped, ordered and split, and which files are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nfkd.config.data import CelebAConfig, ImageFolderConfig
from nfkd.data import DataError, Dataset, load_dataset
from nfkd.data.files import ConfigPath
from nfkd.data.pictures import ImageFiles
from nfkd.data.preview import preview_dataset
from tests.core.data import image_files as files


def refusal(config: ImageFolderConfig | CelebAConfig) -> tuple[str, str]:
    with pytest.raises(DataError) as refused:
        load_dataset(config)
    (problem,) = refused.value.problems
    return problem.path, problem.message


def every(dataset: Dataset) -> list[bytes]:
    splits = (dataset.train, dataset.validation, dataset.test)
    return sorted(image.tobytes() for split in splits for image in split.values[:])


def fill(folder: Path, count: int = 60, side: int = 8) -> np.ndarray:
    images = files.some(count, side, side, 3)
    for number, image in enumerate(images):
        path = folder / f"{'ab'[number % 2]}" / f"{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(files.picture(image))
    return np.moveaxis(images, 3, 1)


def test_images_of_the_right_size_are_unchanged(tmp_path: Path) -> None:
    images = fill(tmp_path)
    dataset = load_dataset(ImageFolderConfig(path=str(tmp_path), size=8))
    assert dataset.event_shape == (3, 8, 8)
    assert every(dataset) == sorted(image.tobytes() for image in images)


def test_sub_folders_are_the_classes(tmp_path: Path) -> None:
    images = fill(tmp_path)
    dataset = load_dataset(ImageFolderConfig(path=str(tmp_path), size=8, class_labels=True))
    classes = {image.tobytes(): number % 2 for number, image in enumerate(images)}
    for split in (dataset.train, dataset.validation, dataset.test):
        assert split.context is not None
        assert [classes[image.tobytes()] for image in split.values[:]] == split.context.argmax(1).tolist()
    plain = load_dataset(ImageFolderConfig(path=str(tmp_path), size=8)).train
    assert plain.context is None
    assert plain.labels is not None
    assert [classes[image.tobytes()] for image in plain.values[:]] == plain.labels.tolist()
    (tmp_path / "loose.png").write_bytes(files.picture(files.some(8, 8, 3)))
    field, message = refusal(ImageFolderConfig(path=str(tmp_path), size=8, class_labels=True))
    assert field == "data.class_labels"
    assert "loose.png" in message
    assert load_dataset(ImageFolderConfig(path=str(tmp_path), size=8)).train.labels is None


def test_the_middle_square_is_averaged_down(tmp_path: Path) -> None:
    checks = np.zeros((16, 40, 3), np.uint8)
    checks[:, 12:28] = np.kron(files.some(4, 4, 3), np.ones((4, 4, 1), np.uint8))  # the middle: squares of 4×4
    for number in range(60):
        (tmp_path / f"{number}.png").write_bytes(files.picture(checks))
    small = load_dataset(ImageFolderConfig(path=str(tmp_path), size=4)).train.values[0:1][0]
    expected = np.asarray(Image.fromarray(checks[:, 12:28]).resize((4, 4), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(np.moveaxis(small, 0, 2), expected)
    assert not (small == 0).all()
    means = checks[:, 12:28].reshape(4, 4, 4, 4, 3).mean((1, 3))
    assert np.abs(small.mean((1, 2)) - means.mean((0, 1))).max() < 16  # a mean over the square, not single pixels


def test_grey_is_the_luma_of_the_colours(tmp_path: Path) -> None:
    images = fill(tmp_path)
    dataset = load_dataset(ImageFolderConfig(path=str(tmp_path), size=8, colour=False))
    assert dataset.event_shape == (1, 8, 8)
    luma = np.tensordot([0.299, 0.587, 0.114], images.astype(float), (0, 1))[:, None]
    found = np.concatenate([split.values[:] for split in (dataset.train, dataset.validation, dataset.test)])
    assert np.abs(np.sort(found.reshape(60, -1).mean(1)) - np.sort(luma.reshape(60, -1).mean(1))).max() < 1


def test_the_usual_formats_are_read(tmp_path: Path) -> None:
    flat = np.full((9, 9, 3), (200, 30, 90), np.uint8)
    suffixes = ["jpg", "jpeg", "bmp", "gif", "webp", "tiff", "ppm", "PNG"]
    for number in range(64):
        Image.fromarray(flat).save(tmp_path / f"{number}.{suffixes[number % 8]}")
    dataset = load_dataset(ImageFolderConfig(path=str(tmp_path), size=8))
    images = np.concatenate([split.values[:] for split in (dataset.train, dataset.validation, dataset.test)])
    assert len(images) == 64
    assert np.abs(images.astype(int) - np.array([200, 30, 90])[:, None, None]).max() < 6


def test_the_exif_orientation_is_applied(tmp_path: Path) -> None:
    upright = np.zeros((8, 8, 3), np.uint8)
    upright[0] = 255
    turned = Image.fromarray(np.rot90(upright).copy())
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: rotate to the right
    for number in range(60):
        turned.save(tmp_path / f"{number}.png", exif=exif)
    image = load_dataset(ImageFolderConfig(path=str(tmp_path), size=8)).test.values[0:1][0]
    np.testing.assert_array_equal(np.moveaxis(image, 0, 2), upright)


def test_a_damaged_image_is_named(tmp_path: Path) -> None:
    fill(tmp_path)
    path = tmp_path / "b" / "031.png"
    cases = {
        "of another format": files.picture(files.some(8, 8, 3))[:-30],
        "none of the formats PNG, JPEG": b"",
        "cannot be read: it is not an image": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        "has 16 bits a channel, and at most 8 are read": files.picture(files.some(8, 8).astype(np.uint16)),
    }
    for expected, content in cases.items():
        path.write_bytes(content)
        field, message = refusal(ImageFolderConfig(path=str(tmp_path), size=8))
        assert field == "data.path"
        assert str(path) in message
        assert expected in message


def test_folders_without_images_are_refused(tmp_path: Path) -> None:
    assert "names nothing yet" in refusal(ImageFolderConfig())[1]
    assert "no such folder" in refusal(ImageFolderConfig(path=str(tmp_path / "none")))[1]
    (tmp_path / ".hidden.png").write_bytes(b"x")
    assert "holds no image file" in refusal(ImageFolderConfig(path=str(tmp_path)))[1]
    (tmp_path / "x.png").write_bytes(files.picture(files.some(8, 8, 3)))
    assert "is a file: name the folder" in refusal(ImageFolderConfig(path=str(tmp_path / "x.png")))[1]
    with pytest.raises(DataError) as few:
        load_dataset(ImageFolderConfig(path=str(tmp_path)))
    assert few.value.event_shape == (3, 32, 32)


def test_a_changed_image_is_read_again(tmp_path: Path) -> None:
    fill(tmp_path)
    config = ImageFolderConfig(path=str(tmp_path), size=8)
    before = load_dataset(config)
    assert load_dataset(config) is before
    (tmp_path / "a" / "000.png").write_bytes(files.picture(np.full((8, 8, 3), 5, np.uint8)))
    assert np.full((3, 8, 8), 5, np.uint8).tobytes() in every(load_dataset(config))


def test_images_are_decoded_once_and_on_access() -> None:
    decoded: list[int] = []

    def decode(file: ConfigPath) -> np.ndarray:
        decoded.append(int(file.path.stem))
        return np.full((1, 2, 2), int(file.path.stem), np.uint8)

    pictures = ImageFiles([Path(f"{number}.png") for number in range(9)], "data.path", (1, 2, 2), decode)
    assert pictures.shape == (9, 1, 2, 2)
    assert decoded == []
    np.testing.assert_array_equal(pictures[np.array([3, 5, 8])][:, 0, 0, 0], [3, 5, 8])
    np.testing.assert_array_equal(pictures[2:6][:, 0, 0, 0], [2, 3, 4, 5])
    assert decoded == [3, 5, 8, 2, 4]

    large = ImageFiles([Path(f"{number}.png") for number in range(9)], "data.path", (1, 10_000, 10_000), decode)
    assert not large.fits
    np.testing.assert_array_equal(large[7:9].shape, (2, 1, 2, 2))
    assert decoded[-2:] == [7, 8]
    assert len(large[:0]) == 0


# --- CelebA -----------------------------------------------------------------------------------------------------------


def celeba(folder: Path, counts: tuple[int, int, int] = (12, 8, 9)) -> dict[str, int]:
    splits = {}
    (folder / "img_align_celeba").mkdir()
    for split, count in enumerate(counts):
        for _ in range(count):
            name = f"{len(splits) + 1:06}.jpg"
            grey = np.full((218, 178, 3), len(splits) * 4, np.uint8)
            grey[:35] = grey[:, :15] = grey[:, -15:] = grey[-35:] = 255  # the edges that are cut off
            (folder / "img_align_celeba" / name).write_bytes(files.picture(grey, "JPEG"))
            splits[name] = split
    lines = "".join(f"{name} {split}\n" for name, split in splits.items())
    (folder / "list_eval_partition.txt").write_text(lines)
    return splits


def test_celeba_has_its_own_splits_and_is_cropped(tmp_path: Path) -> None:
    celeba(tmp_path)
    dataset = load_dataset(CelebAConfig(folder=str(tmp_path)))
    assert dataset.event_shape == (3, 64, 64)
    first = 0
    for split, count in zip((dataset.train, dataset.validation, dataset.test), (12, 8, 9), strict=True):
        values = split.values[:]
        assert len(values) == count
        expected = 4.0 * np.arange(first, first + count)
        assert np.abs(values[:, :, 8:-8, 8:-8].mean((1, 2, 3)) - expected).max() < 3
        assert values[:, :, 2:-2, 2:-2].max() < 160  # the white edges are gone, up to what JPEG smears
        first += count


def test_wrong_lists_are_refused(tmp_path: Path) -> None:
    celeba(tmp_path)
    cases = {
        "000001.jpg 3\n": "line 1 is no name",
        "../../etc/x.jpg 0\n": "line 1 is no name",
        "000001.jpg\n": "line 1 is no name",
        "000001.jpg 0\n": "lists 1 images of the training split",
        "\xff": "line 1 is no name",
    }
    for lines, expected in cases.items():
        (tmp_path / "list_eval_partition.txt").write_text(lines, "utf-8")
        field, message = refusal(CelebAConfig(folder=str(tmp_path)))
        assert field == "data.folder"
        assert "list_eval_partition.txt" in message
        assert expected in message
    (tmp_path / "list_eval_partition.txt").write_bytes(b"\xff")
    assert "cannot be read: it is not UTF-8 text" in refusal(CelebAConfig(folder=str(tmp_path)))[1]


def test_missing_and_small_faces_are_named(tmp_path: Path) -> None:
    celeba(tmp_path)
    assert refusal(CelebAConfig(folder=str(tmp_path), class_labels=True))[0] == "data.class_labels"
    gone = tmp_path / "img_align_celeba" / "000004.jpg"
    content = gone.read_bytes()
    gone.unlink()
    assert "not there, the first is 000004.jpg" in refusal(CelebAConfig(folder=str(tmp_path)))[1]
    gone.write_bytes(files.picture(files.some(100, 100, 3), "JPEG"))
    with pytest.raises(DataError, match=r"000004\.jpg: has 100×100 pixels, and at least 148×148 are needed"):
        load_dataset(CelebAConfig(folder=str(tmp_path))).train.values[:]
    gone.write_bytes(content[:-300])
    with pytest.raises(DataError, match=r"000004\.jpg: cannot be read"):
        load_dataset(CelebAConfig(folder=str(tmp_path))).train.values[:]
    assert "lacks img_align_celeba" in refusal(CelebAConfig(folder=str(tmp_path / "img_align_celeba")))[1]


@pytest.mark.parametrize(
    ("mode", "side", "suggested"),
    [
        ("L", 16, {"size": 16, "colour": False}),
        ("RGB", 16, {"size": 16}),
        ("L", 32, {"colour": False}),
        ("L", 15, {"size": 14, "colour": False}),
        ("RGB", 200, {}),
        ("grey RGB", 32, {"colour": False}),
    ],
)
def test_the_preview_suggests_the_size_and_the_channels_of_the_files(
    tmp_path: Path, mode: str, side: int, suggested: dict[str, object]
) -> None:
    for number in range(40):
        values = np.random.default_rng(number).integers(0, 256, (side, side + 3, 3), np.uint8)
        if mode == "grey RGB":
            values[:] = values[..., :1]
        image = Image.fromarray(values[..., 0] if mode == "L" else values)
        image.save(tmp_path / f"{number:02}.png")
    assert preview_dataset(ImageFolderConfig(path=str(tmp_path))).suggested == suggested
