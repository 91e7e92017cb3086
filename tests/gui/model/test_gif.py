"""GIFs, read back with Pillow: frames, sizes, durations and pixels."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageSequence

from nfkd.protocol.pictures import SampleSeries
from nfkd_gui.model.export_files import CancelledError, ExportError, Progress
from nfkd_gui.model.gif import MAX_WIDTH, point_frames, write_gif, write_interpolation_gif, write_samples_gif

RANDOM = np.random.default_rng(0)


def read(path: Path) -> tuple[list[np.ndarray], list[int]]:
    """Return the frames as RGB, and their durations in milliseconds."""
    with Image.open(path) as image:
        assert image.format == "GIF"
        assert image.info["loop"] == 0
        frames = [(np.array(frame.convert("RGB")), frame.info["duration"]) for frame in ImageSequence.Iterator(image)]
    return [frame for frame, _ in frames], [duration for _, duration in frames]


def levels(count: int, n: int, channels: int = 1, height: int = 3, width: int = 2) -> np.ndarray:
    """Return random images of which no two frames are equal, in 256 levels."""
    return RANDOM.integers(0, 256, (count, n, channels, height, width)).astype(np.float32) / 255


def test_every_image_is_at_its_place_in_the_grid(tmp_path: Path) -> None:
    frames = levels(4, 5)
    write_gif(tmp_path / "a.gif", frames, width=(3 * 3 - 1) * 10, seconds=0.2)
    pictures, durations = read(tmp_path / "a.gif")
    assert durations == [200] * 4
    assert [picture.shape for picture in pictures] == [(70, 80, 3)] * 4
    for picture, images in zip(pictures, frames, strict=True):
        small = picture[5::10, 5::10, 0]
        np.testing.assert_array_equal(picture, np.kron(small, np.ones((10, 10)))[..., None].repeat(3, axis=2))
        for index, image in enumerate(images):
            top, left = index // 3 * 4, index % 3 * 3
            np.testing.assert_array_equal(small[top : top + 3, left : left + 2], 255 * image[0])
        assert (small[3] == 128).all()
        assert (small[4:, 6:] == 128).all()  # no sixth image


def test_colours_are_kept(tmp_path: Path) -> None:
    frames = np.zeros((2, 1, 3, 2, 2), np.float32)
    frames[0, 0, :, 0, 0] = 1, 0, 0
    frames[1, 0, :, 1, 1] = 0, 1, 1
    write_gif(tmp_path / "a.gif", frames, width=2)
    pictures, _ = read(tmp_path / "a.gif")
    for picture, frame in zip(pictures, frames, strict=True):
        np.testing.assert_array_equal(picture, 255 * frame[0].transpose(1, 2, 0))


def test_many_colours_are_close_to_the_originals(tmp_path: Path) -> None:
    ramp = np.linspace(0, 1, 64, dtype=np.float32)
    red, green = np.meshgrid(ramp, ramp)
    frames = np.stack([red, green, 0.5 * red])[None, None]
    write_gif(tmp_path / "a.gif", frames, width=64, captions=["many"])
    (picture,), _ = read(tmp_path / "a.gif")
    error = np.abs(picture[:64].astype(float) - 255 * frames[0, 0].transpose(1, 2, 0))
    assert error.mean() < 8
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) <= 256


def test_values_are_clamped_and_a_nan_is_black(tmp_path: Path) -> None:
    frames = np.array([-3, 4, np.nan, np.inf, -np.inf, 0.5], np.float32).reshape(1, 1, 1, 2, 3)
    write_gif(tmp_path / "a.gif", frames, width=3)
    (picture,), _ = read(tmp_path / "a.gif")
    assert picture[..., 0].tolist() == [[0, 255, 0], [255, 0, 128]]


def test_captions_are_below_the_picture(tmp_path: Path) -> None:
    frames = np.full((2, 1, 1, 4, 4), 0.5, np.float32)
    write_gif(tmp_path / "a.gif", frames, width=120, captions=["step 10", "step 20"])
    pictures, _ = read(tmp_path / "a.gif")
    bands = [picture[120:] for picture in pictures]
    assert all((picture[:120] == 128).all() for picture in pictures)
    assert all((band > 200).any() and (band[0] == 0).all() for band in bands)
    assert (bands[0] != bands[1]).any()


def test_identical_frames_last_as_long_as_all_of_them(tmp_path: Path) -> None:
    frames = levels(3, 1)[[0, 1, 1, 2]]
    write_gif(tmp_path / "a.gif", frames, width=2)
    assert read(tmp_path / "a.gif")[1] == [100, 200, 100]


def series(samples: np.ndarray, *, final: bool) -> SampleSeries:
    steps = [10 * number for number in range(len(samples))]
    return SampleSeries(run="run", seed=1, stage="teacher", steps=steps, samples=samples, final=final)


def test_samples_over_time_have_a_frame_for_each_step(tmp_path: Path) -> None:
    samples = levels(5, 4)
    write_samples_gif(tmp_path / "a.gif", series(samples, final=True), width=50)
    pictures, _ = read(tmp_path / "a.gif")
    assert [picture.shape for picture in pictures] == [(70 + 28, 50, 3)] * 5
    for picture, images in zip(pictures, samples, strict=True):
        np.testing.assert_array_equal(picture[5:30:10, 5:20:10, 0], 255 * images[0, 0])


def test_points_are_drawn_with_the_same_axes_in_all_frames(tmp_path: Path) -> None:
    corners = np.array([[[0, 0], [10, 20]], [[0, 20], [np.nan, 1]], [[5, 10], [np.inf, 0]]], np.float32)
    frames = point_frames(corners)
    assert frames.shape == (3, 1, 1, 240, 240)
    centres = [np.argwhere(frame[0, 0] == 0).mean(axis=0) for frame in frames]
    np.testing.assert_allclose(centres[0], [119.5, 119.5], atol=1)  # bottom left and top right
    np.testing.assert_allclose(centres[1], [239 / 22, 239 / 22], atol=1)  # top left, 5 % from the edge
    np.testing.assert_allclose(centres[2], [119.5, 119.5], atol=1)
    assert [int((frame == 0).sum()) for frame in frames] == [18, 9, 9]
    write_samples_gif(tmp_path / "a.gif", series(corners, final=False), width=240)
    pictures, _ = read(tmp_path / "a.gif")
    np.testing.assert_array_equal(pictures[1][:240, :, 0], 255 * frames[1, 0, 0])


@pytest.mark.parametrize("points", [np.full((2, 3, 2), np.nan), np.zeros((1, 3, 1)), np.ones((1, 1, 2))])
def test_points_without_a_range_are_drawn(points: np.ndarray) -> None:
    assert point_frames(points).shape == (len(points), 1, 1, 240, 240)


def test_an_interpolation_goes_there_and_back(tmp_path: Path) -> None:
    paths = levels(2, 4)  # two paths of four steps
    write_interpolation_gif(tmp_path / "a.gif", paths, width=5)
    pictures, _ = read(tmp_path / "a.gif")
    steps = [0, 1, 2, 3, 2, 1]
    assert len(pictures) == len(steps)
    for picture, step in zip(pictures, steps, strict=True):
        np.testing.assert_array_equal(picture[:, :2, 0], 255 * paths[0, step, 0])
        np.testing.assert_array_equal(picture[:, 3:, 0], 255 * paths[1, step, 0])


def test_paths_of_vectors_are_moving_points(tmp_path: Path) -> None:
    path = np.array([[[0, 0], [5, 10], [10, 20]]], np.float32)
    write_interpolation_gif(tmp_path / "a.gif", path, width=240)
    pictures, _ = read(tmp_path / "a.gif")
    centres = [np.argwhere(picture[..., 0] == 0).mean(axis=0).round() for picture in pictures]
    low, high = 239 / 22, 239 - 239 / 22  # 5 % from the edge
    np.testing.assert_allclose(centres, [(high, low), (119.5, 119.5), (low, high), (119.5, 119.5)], atol=1)


def test_progress_counts_frames_and_a_cancelled_gif_leaves_no_file(tmp_path: Path) -> None:
    fractions: list[float] = []
    write_gif(tmp_path / "a.gif", levels(4, 1), progress=Progress(fractions.append))
    assert fractions == [0.25, 0.5, 0.75, 1.0]

    def stop(fraction: float) -> None:
        if fraction == 0.5:
            progress.cancel()

    progress = Progress(stop)
    with pytest.raises(CancelledError):
        write_gif(tmp_path / "b.gif", levels(4, 1), progress=progress)
    assert [path.name for path in tmp_path.iterdir()] == ["a.gif"]


def test_a_file_that_cannot_be_written_stays_and_is_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.gif"
    path.write_bytes(b"before")

    def full(*arguments: Any) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ExportError) as refused:
        write_gif(path, levels(2, 1))
    info = refused.value.info
    assert (info.title, info.cause) == ("The file was not saved", f"{path}: No space left on device.")
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["missing/a.gif", "folder", "a\0.gif"])
def test_an_impossible_path_is_one_message(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(ExportError) as refused:
        write_gif(tmp_path / name, levels(1, 1))
    assert name.partition("\0")[0] in refused.value.info.cause
    assert "\n" not in refused.value.info.cause


def test_nothing_and_too_wide_are_one_message(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="no pictures yet"):
        write_samples_gif(tmp_path / "a.gif", series(np.empty(0, np.float32), final=False))
    with pytest.raises(ExportError, match="Choose 1 to 4,096"):
        write_gif(tmp_path / "a.gif", levels(1, 1), width=MAX_WIDTH + 1)
    assert not list(tmp_path.iterdir())
