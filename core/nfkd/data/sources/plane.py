"""Densities in the plane, drawn with a seed; most points lie within ±4."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path

import numpy as np

from nfkd.config import ConfigProblem, TwoMoonsConfig
from nfkd.config.data import (
    CheckerboardConfig,
    CirclesConfig,
    DrawnConfig,
    EightGaussiansConfig,
    LetterConfig,
    PinwheelConfig,
    RingsConfig,
    SpiralsConfig,
)
from nfkd.data.dataset import DataError, DataSplit
from nfkd.data.source import ConfigT, Loaded, Source

_STREAM = 0x706C616E65  # keeps the points independent of the split, which draws from the bare seed
_MOST = 1e6


class _Plane(Source[ConfigT]):
    """Points on a shape, with Gaussian noise."""

    shape, unit, origin = "2", "nats", "drawn with a seed"

    def load(self, config: ConfigT) -> Loaded:
        """Return the points."""
        options = config.model_dump()
        rng = np.random.default_rng((options["split_seed"], _STREAM))
        points = self.draw(config, options["count"], rng)
        points = points + options["noise"] * rng.standard_normal(points.shape)
        return Loaded(name=self.kind.replace("_", " "), train=DataSplit(points.astype(np.float32)))

    @abstractmethod
    def draw(self, config: ConfigT, count: int, rng: np.random.Generator) -> np.ndarray:
        """Return points on the shape, without noise, (count, 2) float64."""


class TwoMoons(Source[TwoMoonsConfig]):
    """Two interleaved half circles of radius 1, as scikit-learn's ``make_moons`` draws them."""

    config = TwoMoonsConfig
    shape, unit, origin = "2", "nats", "drawn with a seed"

    def load(self, config: TwoMoonsConfig) -> Loaded:
        """Return the points."""
        outer = np.linspace(0, np.pi, config.count // 2)
        inner = np.linspace(0, np.pi, config.count - config.count // 2)
        x = np.append(np.cos(outer), 1 - np.cos(inner))
        y = np.append(np.sin(outer), 1 - np.sin(inner) - 0.5)
        rng, order = np.random.RandomState(config.split_seed), np.arange(config.count)  # numbers of scikit-learn
        rng.shuffle(order)
        points = np.stack([x, y], axis=1)[order]
        points += rng.normal(scale=config.noise, size=points.shape)
        return Loaded(name="two moons", train=DataSplit(points.astype(np.float32)))


class Circles(_Plane[CirclesConfig]):
    """Circles of radius 1 and 2, with equal probability.

    As scikit-learn's ``make_circles`` with a factor of 0.5, but with random angles instead of evenly spaced ones.
    """

    config = CirclesConfig

    def draw(self, config: CirclesConfig, count: int, rng: np.random.Generator) -> np.ndarray:
        """Return points on the circles."""
        return _polar(rng.integers(1, 3, count).astype(np.float64), 2 * np.pi * rng.random(count))


class Rings(_Plane[RingsConfig]):
    """Concentric rings up to radius 3, with probabilities proportional to their radii.

    FFJORD's toy data (Grathwohl et al. 2018, arXiv 1810.01367) has four rings with the same number of points on each;
    here the density along all rings is the same.
    """

    config = RingsConfig

    def draw(self, config: RingsConfig, count: int, rng: np.random.Generator) -> np.ndarray:
        """Return points on the rings."""
        ring = np.arange(1, config.rings + 1)
        radius = 3 * rng.choice(ring, count, p=ring / ring.sum()) / config.rings
        return _polar(radius, 2 * np.pi * rng.random(count))


class Pinwheel(_Plane[PinwheelConfig]):
    """Arms whose angle turns by exp(r)/4 with their radius r.

    From Johnson et al. 2016 (arXiv 1603.06277), in FFJORD's size: r is Gaussian around 1 with deviation 0.3, and all
    lengths are doubled. The config's noise replaces the width of the arms.
    """

    config = PinwheelConfig

    def draw(self, config: PinwheelConfig, count: int, rng: np.random.Generator) -> np.ndarray:
        """Return points along the arms."""
        arm = rng.integers(config.arms, size=count)
        radius = 1 + 0.3 * rng.standard_normal(count)
        return _polar(2 * radius, 2 * np.pi * arm / config.arms + np.exp(radius) / 4)


class Spirals(_Plane[SpiralsConfig]):
    """Two spirals of one and a half turns; the second is the first one rotated by half a turn.

    The curve of FFJORD's toy data (arXiv 1810.01367): radius φ/3 at angle φ, φ = 3π√u with u uniform.
    """

    config = SpiralsConfig

    def draw(self, config: SpiralsConfig, count: int, rng: np.random.Generator) -> np.ndarray:
        """Return points on the spirals."""
        angle = 3 * np.pi * np.sqrt(rng.random(count))
        return _polar(angle / 3, angle + np.pi * rng.integers(2, size=count))


class Checkerboard(_Plane[CheckerboardConfig]):
    """The eight squares of a 4×4 board between −4 and 4 that hold one colour, as in FFJORD (arXiv 1810.01367)."""

    config = CheckerboardConfig

    def draw(self, config: CheckerboardConfig, count: int, rng: np.random.Generator) -> np.ndarray:
        """Return points in the squares."""
        row = rng.integers(4, size=count)
        column = 2 * rng.integers(2, size=count) + row % 2
        return 2 * (np.stack([column, row], axis=1) + rng.random((count, 2))) - 4


class EightGaussians(_Plane[EightGaussiansConfig]):
    """Gaussians at eight points around a circle of radius 2√2, FFJORD's size (arXiv 1810.01367)."""

    config = EightGaussiansConfig

    def draw(self, config: EightGaussiansConfig, count: int, rng: np.random.Generator) -> np.ndarray:
        """Return the Gaussians' centres."""
        return _polar(np.full(count, 2 * np.sqrt(2)), np.pi / 4 * rng.integers(8, size=count))


class Letter(_Plane[LetterConfig]):
    """A character of DejaVu Sans Bold, filled uniformly; its longer side goes from −2 to 2.

    The font comes with matplotlib.
    """

    config = LetterConfig

    def draw(self, config: LetterConfig, count: int, rng: np.random.Generator) -> np.ndarray:
        """Return points in the letter, by rejection from its bounding box.

        Raises
        ------
        DataError
            If the font has no such character, or the character is blank.
        """
        outlines = _outlines(config.letter)
        corners = np.concatenate([outline.vertices for outline in outlines])
        low, high = corners.min(axis=0), corners.max(axis=0)
        found: list[np.ndarray] = []
        while sum(map(len, found)) < count:
            points = low + (high - low) * rng.random((count, 2))
            within = np.logical_xor.reduce([outline.contains_points(points) for outline in outlines])
            found.append(points[within])
        points = np.concatenate(found)[:count]
        return 4 * (points - (low + high) / 2) / (high - low).max()


def _outlines(letter: str) -> list:
    """Return the closed polygons of a character; a point in an odd number of them is inside."""
    import matplotlib as mpl
    from matplotlib.ft2font import FT2Font, LoadFlags
    from matplotlib.path import Path as Outline

    font = FT2Font(str(Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans-Bold.ttf"))
    font.set_size(200, 72)
    if not font.get_char_index(ord(letter)):
        raise DataError([ConfigProblem("data.letter", f"the font has no {letter!r}: choose another character")], (2,))
    font.load_char(ord(letter), flags=LoadFlags.NO_HINTING)
    vertices, codes = font.get_path()
    if not len(vertices):
        raise DataError([ConfigProblem("data.letter", f"{letter!r} is blank: choose a visible character")], (2,))
    polygons = Outline(vertices, codes).to_polygons()
    return [Outline(polygon) for polygon in polygons if np.ptp(polygon, axis=0).all()]


class Drawn(_Plane[DrawnConfig]):
    """The user's points, with equal probabilities and unscaled."""

    config = DrawnConfig

    def draw(self, config: DrawnConfig, count: int, rng: np.random.Generator) -> np.ndarray:
        """Return random ones of the points.

        Raises
        ------
        DataError
            If the noise is 0, or a point is too far away.
        """
        points = np.array(config.points)
        problems = []
        if not config.noise:
            message = "is 0, so all examples would be the drawn points themselves: choose more"
            problems.append(ConfigProblem("data.noise", message))
        far = np.flatnonzero(np.abs(points).max(axis=1) > _MOST)
        if len(far):
            problems.append(ConfigProblem(f"data.points.{far[0]}", f"lies beyond ±{_MOST:,.0f}: draw nearer to 0"))
        if problems:
            raise DataError(problems, (2,))
        return points[rng.integers(len(points), size=count)]


def _polar(radius: np.ndarray, angle: np.ndarray) -> np.ndarray:
    return radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)


SOURCES = (
    TwoMoons(),
    Circles(),
    Rings(),
    Pinwheel(),
    Spirals(),
    Checkerboard(),
    EightGaussians(),
    Letter(),
    Drawn(),
)
