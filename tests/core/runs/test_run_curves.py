"""Curves over seeds, matching profiles and thumbnails, against plain Python, h5py and NumPy."""

from __future__ import annotations

import math
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nfkd
from nfkd.protocol import events, records
from nfkd.runs.errors import RunError
from nfkd.runs.run_curves import SeedCurve, decimated, over_seeds, read_profile, read_run_curve
from nfkd.runs.thumbnails import draw_images, draw_points, read_thumbnail
from nfkd.runs.writer import RunWriter
from tests.core.runs.written import opened, points, writer_in
from tests.core.tiny import digits, moons

VALUES = st.floats(-1e6, 1e6) | st.just(math.nan)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "run"
    nfkd.run(moons(training={"teacher_steps": 30, "student_steps": 30}, seeds={"count": 2}), path)
    return path


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "images"
    nfkd.run(digits(training={"teacher_steps": 3, "student_steps": 3}, monitor={"sample_count": 12}), path)
    return path


# --- curves -----------------------------------------------------------------------------------------------------------


@given(st.lists(st.dictionaries(st.integers(0, 30), VALUES, min_size=1), min_size=1, max_size=4))
def test_means_and_bands_are_those_of_the_common_steps(seeds: list[dict[int, float]]) -> None:
    curve = over_seeds([
        SeedCurve(np.array(sorted(seed)), np.array([seed[step] for step in sorted(seed)])) for seed in seeds
    ])  # fmt: skip
    expected = {}
    for step in sorted({step for seed in seeds for step in seed}):
        if all(step in seed or step > max(seed) for seed in seeds):
            finite = [seed[step] for seed in seeds if step in seed and math.isfinite(seed[step])]
            expected[step] = (np.mean(finite), min(finite), max(finite)) if finite else (math.nan,) * 3
    assert curve.steps.tolist() == list(expected)
    assert curve.seeds == len(seeds)
    for found, values in zip((curve.mean, curve.low, curve.high), zip(*expected.values(), strict=True), strict=True):
        np.testing.assert_allclose(found, values, atol=1e-9)


@given(st.lists(VALUES, min_size=1, max_size=300), st.integers(4, 60))
def test_decimation_keeps_ends_and_extremes_of_the_line_and_its_band(values: list[float], points: int) -> None:
    line = np.array(values)
    curve = events_curve(line, line - 1, line + np.arange(len(line)))
    short = decimated(curve, points)
    assert len(short.steps) <= points
    assert (np.diff(short.steps) > 0).all()
    assert (short.steps[0], short.steps[-1]) == (0, len(line) - 1)
    np.testing.assert_array_equal(short.mean, line[short.steps])
    assert (np.isnan(short.low) | (short.low <= short.mean)).all()
    if np.isfinite(line).any():
        assert (np.nanmin(short.mean), np.nanmax(short.mean)) == (np.nanmin(line), np.nanmax(line))
        assert (np.nanmin(short.low), np.nanmax(short.high)) == (np.nanmin(curve.low), np.nanmax(curve.high))


def events_curve(mean: np.ndarray, low: np.ndarray, high: np.ndarray) -> Any:
    from nfkd.protocol.comparing import RunCurve

    return RunCurve(steps=np.arange(len(mean)), mean=mean, low=low, high=high, seeds=2)


def test_a_curve_of_a_run_is_the_mean_of_those_in_its_files(trained: Path) -> None:
    found = read_run_curve(trained, "validation/nll", "student", 500)
    assert found is not None
    stored = []
    for seed in (1, 2):
        with opened(trained / f"seed-{seed}" / "run.h5") as file:
            group = file["student/curves/validation/nll"]
            stored.append(group["value"][:])
            np.testing.assert_array_equal(found.curve.steps, group["step"][:])
            assert found.label == bytes(group.attrs["label"]).decode()
    np.testing.assert_allclose(found.curve.mean, np.mean(stored, axis=0))
    np.testing.assert_array_equal(found.curve.low, np.min(stored, axis=0))
    np.testing.assert_array_equal(found.curve.high, np.max(stored, axis=0))
    assert (found.unit, found.curve.seeds) == ("nats", 2)
    few = read_run_curve(trained, "train/nll", "student", 6)
    assert few is not None
    assert len(few.curve.steps) <= 6


def test_a_curve_is_read_while_it_is_written(tmp_path: Path) -> None:
    writer = writer_in(tmp_path)
    try:
        for first in (0, 10):
            writer.handle(points("student", first, 10))
            writer.flush()
            found = read_run_curve(tmp_path, "train/total", "student", 100)
            assert found is not None
            assert found.curve.steps.tolist() == list(range(first + 10))
    finally:
        writer.close()


def test_missing_curves_and_damaged_files(trained: Path, tmp_path: Path) -> None:
    assert read_run_curve(trained, "train/no such", "student", 100) is None
    assert read_run_curve(trained, "train/nll", "assistant-1", 100) is None
    assert read_run_curve(tmp_path / "nowhere", "train/nll", "student", 100) is None
    for name in ("../../summary", "/", ""):
        with suppress(RunError):
            assert read_run_curve(trained, name, "student", 100) is None
    with pytest.raises(RunError, match="too small"):
        read_run_curve(trained, "train/nll", "student", 3)
    run = Path(shutil.copytree(trained, tmp_path / "run"))
    with opened(run / "seed-2" / "run.h5", "r+") as file:
        del file["student/curves/train/nll"]
        file["student/curves/train/nll"] = h5py.ExternalLink(str(trained / "seed-1" / "run.h5"), "student/curves")
    with pytest.raises(RunError, match="is a link"):
        read_run_curve(run, "train/nll", "student", 100)
    (run / "seed-2" / "run.h5").write_bytes(b"noise")
    with pytest.raises(RunError, match="not a complete HDF5 file"):
        read_run_curve(run, "train/nll", "student", 100)


# --- matching profiles ------------------------------------------------------------------------------------------------


def test_a_profile_has_the_last_errors_of_every_pair(trained: Path, images: Path) -> None:
    stored, names = [], []
    for seed in (1, 2):
        with opened(trained / f"seed-{seed}" / "run.h5") as file:
            if "student/matching" in file:
                stored.append(file["student/matching/error"][-1])
    found = read_profile(trained)
    assert (found is None) == (not stored)
    with opened(images / "run.h5") as file:
        errors = file["student/matching/error"][-1]
        names = nfkd_json(file["student/matching"].attrs["pairs"])
    profile = read_profile(images)
    assert profile is not None
    assert profile.pairs == [pair["words"] for pair in names]
    np.testing.assert_allclose(profile.mean, errors)
    np.testing.assert_allclose(profile.low, profile.high)
    if found is not None:
        np.testing.assert_allclose(found.mean, np.mean(stored, axis=0))
        np.testing.assert_allclose(found.high, np.max(stored, axis=0))


def nfkd_json(value: Any) -> Any:
    import json

    return json.loads(bytes(value))


def test_a_run_without_matched_layers_has_no_profile(tmp_path: Path) -> None:
    info = records.CurveInfo(name="train/total", label="total", unit="nats")
    stages = [events.StagePlan(stage="student", steps=20, curves=[info])]
    started = events.SeedStarted(run="run", seed=1, stages=stages, event_shape=[2])
    RunWriter(tmp_path, moons(), started, device="cpu", threads=1).close()
    assert read_profile(tmp_path) is None
    assert read_thumbnail(tmp_path, 32) is None


# --- thumbnails -------------------------------------------------------------------------------------------------------


def test_images_are_a_grid_of_the_final_samples(images: Path) -> None:
    with opened(images / "run.h5") as file:
        samples = file["student/final/samples/images"][-1]
    assert len(samples) >= 9
    picture = read_thumbnail(images, 72)  # three times three images of 8×8, each pixel three times
    assert picture is not None
    assert (picture.dtype, picture.shape) == (np.uint8, (72, 72))
    for index in range(9):
        row, column = divmod(index, 3)
        cell = picture[24 * row : 24 * row + 24, 24 * column : 24 * column + 24]
        expected = np.kron(np.round(samples[index, 0] * 255), np.ones((3, 3)))
        np.testing.assert_array_equal(cell, expected)


@pytest.mark.parametrize(("count", "side"), [(1, 1), (3, 1), (4, 2), (8, 2), (9, 3), (30, 3)])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_every_number_of_images_fills_the_picture(count: int, side: int, channels: int) -> None:
    images = np.ones((count, channels, 5, 7), np.float32)
    images[0, :, 0, 0] = (math.nan, -3.0, 9.0)[:channels]
    picture = draw_images(images, 35 * side)
    assert picture.shape == (35 * side, 35 * side, 3)[: 3 if channels == 3 else 2]
    assert picture[-1, -1].min() == 255
    assert picture[0, 0].tolist() == ([0, 0, 255] if channels == 3 else 0)


def test_points_are_where_the_samples_are() -> None:
    corner = np.random.default_rng(0).normal((3.0, -2.0), 0.05, (400, 2))
    picture = draw_points(corner, 60, (0.0, 4.0, -4.0, 0.0))
    rows, columns = np.nonzero(picture > 128)
    np.testing.assert_allclose([columns.mean() / 60 * 4, rows.mean() / 60 * 4], [3.0, 2.0], atol=0.15)  # y upwards
    high = draw_points(np.array([[0.0, 0.0], [1.0, 1.0]]), 32)
    assert high[0, -1] > 200 < high[-1, 0]
    assert high[0, 0] == high[-1, -1] == 0


@given(st.integers(0, 40), st.integers(1, 4), st.integers(8, 70), st.sampled_from([0.0, 1e300, math.nan, math.inf]))
def test_any_points_give_a_picture(count: int, features: int, pixels: int, odd: float) -> None:
    points = np.random.default_rng(1).normal(size=(count, features))
    points[: count // 2] = odd
    picture = draw_points(points, pixels)
    assert (picture.shape, picture.dtype) == ((pixels, pixels), np.uint8)


def test_a_single_column_is_drawn_as_bars() -> None:
    picture = draw_points(np.array([[0.0]] * 3 + [[1.0]] * 6), 16)
    heights = (picture == 255).sum(axis=0)
    assert (heights[0], heights[-1]) == (8, 16)
    assert (picture[-1, [0, -1]] == 255).all()


def test_a_thumbnail_of_the_plane_uses_the_range_of_its_densities(trained: Path) -> None:
    picture = read_thumbnail(trained, 48)
    assert picture is not None
    with opened(trained / "seed-1" / "run.h5") as file:
        samples = file["student/final/samples/images"][-1]
        x0, x1, y0, y1 = file["student/density/extent"][:]
    inside = samples[(samples > (x0, y0)).all(axis=1) & (samples < (x1, y1)).all(axis=1)]
    columns = ((inside[:, 0] - x0) / (x1 - x0) * 48).astype(int)
    rows = ((y1 - inside[:, 1]) / (y1 - y0) * 48).astype(int)
    assert (picture[rows, columns] > 0).all()
    for pixels in (0, -1, 7, 513):
        with pytest.raises(RunError, match="cannot be made"):
            read_thumbnail(trained, pixels)
