"""Densities in the plane: their shapes, and points that depend only on the seed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFont
from scipy import stats

from nfkd.config.data import (
    CheckerboardConfig,
    CirclesConfig,
    DrawnConfig,
    EightGaussiansConfig,
    LetterConfig,
    PinwheelConfig,
    RingsConfig,
    SpiralsConfig,
    TwoMoonsConfig,
)
from nfkd.data import DataError, load_dataset
from nfkd.data.sources import SOURCES

COUNT = 4000
PLANES: list[Callable[..., Any]] = [
    TwoMoonsConfig,
    CirclesConfig,
    PinwheelConfig,
    SpiralsConfig,
    CheckerboardConfig,
    EightGaussiansConfig,
    RingsConfig,
    LetterConfig,
    DrawnConfig,
]


def points(config: Any) -> np.ndarray:
    dataset = load_dataset(config)
    return np.concatenate([split.values[:] for split in (dataset.train, dataset.validation, dataset.test)])


def polar(config: Any) -> tuple[np.ndarray, np.ndarray]:
    x, y = points(config).astype(np.float64).T
    return np.hypot(x, y), np.arctan2(y, x) % (2 * np.pi)


def even(angles: np.ndarray) -> bool:
    return stats.kstest(angles / (2 * np.pi), "uniform").pvalue > 1e-3


def test_the_seed_decides_the_points() -> None:
    for config in PLANES:
        found = points(config(count=200))
        assert found.dtype == np.float32
        assert found.shape == (200, 2)
        assert 0.5 < np.abs(found).max() < 5
        drawn = [SOURCES[config().kind].load(config(count=200)).train.values[:] for _ in range(2)]
        np.testing.assert_array_equal(*drawn)
        np.testing.assert_array_equal(np.sort(found, axis=0), np.sort(drawn[0], axis=0))
        assert not np.array_equal(found, points(config(count=200, split_seed=1)))


def test_all_splits_have_the_same_distribution() -> None:
    dataset = load_dataset(CirclesConfig(count=20_000, noise=0.0))
    angles = [np.arctan2(*split.values[:].T) for split in (dataset.train, dataset.validation, dataset.test)]
    for other in angles[1:]:
        result: Any = stats.ks_2samp(angles[0], other)
        assert result.pvalue > 1e-3


def test_circles_have_two_radii_and_every_angle() -> None:
    radius, angle = polar(CirclesConfig(count=COUNT, noise=0.0))
    np.testing.assert_allclose(np.minimum(np.abs(radius - 1), np.abs(radius - 2)), 0, atol=1e-6)
    assert (radius < 1.5).mean() == pytest.approx(0.5, abs=0.03)
    assert even(angle[radius < 1.5])
    assert even(angle[radius > 1.5])


def test_noise_is_gaussian_with_the_configured_deviation() -> None:
    radius, _ = polar(CirclesConfig(count=COUNT, noise=0.1))
    off = radius - np.where(radius < 1.5, 1, 2)
    assert off.std() == pytest.approx(0.1, rel=0.06)


@pytest.mark.parametrize("rings", [1, 4, 7])
def test_all_rings_have_the_same_density(rings: int) -> None:
    radius, angle = polar(RingsConfig(count=COUNT, noise=0.0, rings=rings))
    number = radius * rings / 3
    np.testing.assert_allclose(number, number.round(), atol=1e-5)
    counts = np.bincount(number.round().astype(int), minlength=rings + 1)[1:]
    expected = COUNT * np.arange(1, rings + 1) / (rings * (rings + 1) / 2)
    np.testing.assert_allclose(counts, expected, atol=5 * np.sqrt(COUNT) / 2)
    assert even(angle)


def test_the_second_spiral_is_the_first_one_rotated() -> None:
    found = points(SpiralsConfig(count=COUNT, noise=0.0)).astype(np.float64)
    phi = 3 * np.hypot(*found.T)
    assert phi.max() == pytest.approx(3 * np.pi, rel=1e-2)
    curve = phi[:, None] / 3 * np.stack([np.cos(phi), np.sin(phi)], axis=1)
    same, opposite = (np.abs(found - sign * curve).max(axis=1) < 1e-4 for sign in (1, -1))
    assert (same | opposite).all()
    assert same.mean() == pytest.approx(0.5, abs=0.03)
    assert stats.kstest((phi / (3 * np.pi)) ** 2, "uniform").pvalue > 1e-3


@pytest.mark.parametrize("arms", [3, 5])
def test_the_pinwheel_has_its_arms(arms: int) -> None:
    x, y = points(PinwheelConfig(count=COUNT, noise=0.0, arms=arms)).astype(np.float64).T
    radius = np.hypot(x, y) / 2
    assert radius.mean() == pytest.approx(1, abs=0.02)
    assert radius.std() == pytest.approx(0.3, abs=0.02)
    near = radius > 0.3  # the tail through the centre turns its angle around
    turn = (np.arctan2(y, x) - np.exp(radius) / 4)[near] * arms / (2 * np.pi)
    np.testing.assert_allclose(turn, turn.round(), atol=1e-4)
    counts = np.bincount(turn.round().astype(int) % arms, minlength=arms)
    np.testing.assert_allclose(counts, near.sum() / arms, rtol=0.15)


def test_the_checkerboard_fills_every_other_square_evenly() -> None:
    found = points(CheckerboardConfig(count=COUNT)).astype(np.float64)
    assert np.abs(found).max() <= 4
    square = np.floor(found / 2).astype(int)
    assert set(map(tuple, square)) == {(a, b) for a in range(-2, 2) for b in range(-2, 2) if (a + b) % 2 == 0}
    _, counts = np.unique(square, axis=0, return_counts=True)
    np.testing.assert_allclose(counts, COUNT / 8, rtol=0.2)
    for inside in (found / 2 - square).T:
        assert stats.kstest(inside, "uniform").pvalue > 1e-3


def test_eight_gaussians_are_eight_and_round() -> None:
    found = points(EightGaussiansConfig(count=COUNT, noise=0.2)).astype(np.float64)
    centres = 2 * np.sqrt(2) * np.array([[np.cos(t), np.sin(t)] for t in np.arange(8) * np.pi / 4])
    nearest = np.linalg.norm(found[:, None] - centres, axis=2).argmin(axis=1)
    np.testing.assert_allclose(np.bincount(nearest), COUNT / 8, rtol=0.2)
    np.testing.assert_allclose((found - centres[nearest]).std(axis=0), 0.2, rtol=0.05)


def test_two_moons_are_two_half_circles() -> None:
    found = points(TwoMoonsConfig(count=400, noise=0.0)).astype(np.float64)
    upper = np.abs(np.hypot(*found.T) - 1) < 1e-6
    lower = np.abs(np.hypot(*(found - [1, 0.5]).T) - 1) < 1e-6
    assert (upper | lower).all()
    assert (found[upper & ~lower, 1] >= -1e-6).all()


@pytest.mark.parametrize("letter", "SOA8ßЖ")
def test_a_letter_lies_where_another_library_draws_it(letter: str) -> None:
    found = points(LetterConfig(count=COUNT, noise=0.0, letter=letter)).astype(np.float64)
    assert np.ptp(found, axis=0).max() == pytest.approx(4, abs=0.1)
    mask = _mask(letter)
    height, width = mask.shape
    size = max(mask.shape)
    column, row = (found / 4 * size).T
    row, column = np.floor(height / 2 - row).astype(int), np.floor(width / 2 + column).astype(int)
    at = np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)
    assert mask[at].mean() > 0.985  # Pillow's pixels have edges of their own
    area = mask.mean() * np.prod(np.array(mask.shape) / size * 4)
    cells = np.unique(np.floor(found / 0.25), axis=0)
    assert len(cells) * 0.25**2 > area  # all of it is filled
    inside = np.zeros_like(mask)
    inside[at] = True
    halves = [mask[: height // 2].sum() / mask.sum(), (row < height // 2).mean()]
    assert halves[0] == pytest.approx(halves[1], abs=0.03)


def _mask(letter: str) -> np.ndarray:
    font = ImageFont.truetype(str(Path(mpl.get_data_path()) / "fonts/ttf/DejaVuSans-Bold.ttf"), 600)
    image = Image.new("L", (1000, 1000))
    ImageDraw.Draw(image).text((100, 100), letter, font=font, fill=255)
    array = np.asarray(image) > 127
    rows, columns = np.nonzero(array.any(axis=1))[0], np.nonzero(array.any(axis=0))[0]
    return array[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def test_a_letter_that_cannot_be_drawn_is_refused() -> None:
    for letter, expected in ((" ", "is blank"), ("漢", "has no")):
        with pytest.raises(DataError, match=rf"data\.letter: .*{expected}"):
            load_dataset(LetterConfig(count=100, letter=letter))


@settings(max_examples=50)
@given(st.characters(codec="utf-8", max_codepoint=0xFFFF))
def test_every_character_is_drawn_or_refused(letter: str) -> None:
    try:
        values = SOURCES["letter"].load(LetterConfig(count=100, letter=letter)).train.values[:]
    except DataError:
        return
    assert np.isfinite(values).all()


def test_drawn_points_are_means_of_gaussians() -> None:
    given_points = ((-3.0, 0.5), (0.0, 2.0), (2.5, -1.0), (4.0, 4.0))
    found = points(DrawnConfig(count=COUNT, noise=0.1, points=given_points)).astype(np.float64)
    nearest = np.linalg.norm(found[:, None] - np.array(given_points), axis=2).argmin(axis=1)
    for number, point in enumerate(given_points):
        cloud = found[nearest == number]
        assert len(cloud) == pytest.approx(COUNT / 4, rel=0.15)
        np.testing.assert_allclose(cloud.mean(axis=0), point, atol=0.02)
        np.testing.assert_allclose(cloud.std(axis=0), 0.1, rtol=0.1)


def test_a_drawing_that_has_no_density_is_refused() -> None:
    with pytest.raises(DataError) as refused:
        load_dataset(DrawnConfig(noise=0.0, points=((0.0, 0.0), (1e30, 0.0))))
    assert [problem.path for problem in refused.value.problems] == ["data.noise", "data.points.1"]


COORDINATE = st.floats(allow_nan=False, allow_infinity=False)


@settings(max_examples=30)
@given(
    drawn=st.lists(st.tuples(COORDINATE, COORDINATE), min_size=1, max_size=20),
    noise=st.floats(0.0, 1.0),
    count=st.integers(100, 300),
)
def test_any_drawing_is_points_or_refused(drawn: list[tuple[float, float]], noise: float, count: int) -> None:
    try:
        dataset = load_dataset(DrawnConfig(points=tuple(drawn), noise=noise, count=count))
    except DataError:
        return
    values = np.concatenate([split.values[:] for split in (dataset.train, dataset.validation, dataset.test)])
    assert values.shape == (count, 2)
    assert np.isfinite(values).all()
