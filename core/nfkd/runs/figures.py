"""Export of a run's pictures as PNG files."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure

from nfkd.files import replacing
from nfkd.protocol.data import DataPreview
from nfkd.protocol.events import picture_label
from nfkd.protocol.requests import StageSnapshot
from nfkd.protocol.roles import ASSISTANTS, COLOURS, DATA, Role, role_name, the_role
from nfkd.runs.curve_figures import draw_curves, escape_text, plot_figure
from nfkd.runs.export import writing_into
from nfkd.runs.reader import RunRecord

_COLOUR_MAP = "cividis"
_DPI = 144
_MAX_IMAGES = 64
_MAX_ASPECT = 5  # of a plot with equal axes
_MIN_ERROR = 1e-12
_MAX_VECTOR = 400  # points that are drawn as shapes in an SVG; more are drawn as pixels
Stages = Mapping[Role, StageSnapshot]


def export_figures(record: RunRecord, directory: Path) -> list[Path]:
    """Draw a run's curves, samples, interpolations and matching errors.

    Parameters
    ----------
    record
        Curves are drawn for all its seeds, other pictures for the first.
    directory
        Created if missing; files of the same names are replaced.

    Returns
    -------
    list[Path]
        The files; pictures without recorded data are omitted.

    Raises
    ------
    RunError
        When the directory cannot be written.
    """
    written = []
    with writing_into(directory):
        for name, figure in draw_figures(record).items():
            path = directory / f"{name}.png"
            _save(figure, path)
            written.append(path)
    return written


def draw_figures(record: RunRecord) -> dict[str, Figure]:
    """Return the figures of a run by name, as in `export_figures`; those without recorded data are left out."""
    stages: Stages = next((seed.stages for seed in record.seeds.values()), {})
    drawn = {"curves": draw_curves(record), **draw_pictures(stages, feature_names_of(record))}
    drawn["matching"] = _matching(record, stages, "student")
    drawn |= {f"matching-{role}": _matching(record, stages, role) for role in ASSISTANTS}
    return {name: figure for name, figure in drawn.items() if figure is not None}


def draw_pictures(stages: Stages, names: tuple[str, str]) -> dict[str, Figure | None]:
    """Return the figures of samples and interpolations of some flows; None for those without recorded data.

    Parameters
    ----------
    stages
        What each flow has recorded.
    names
        Of the first two features, as `feature_names_of` returns them.
    """
    return {"samples": _samples(stages, names), "interpolation": _interpolation(stages, names)}


def export_preview(preview: DataPreview, path: Path) -> Path:
    """Draw a data set's images or points in the plane; return the file.

    Raises
    ------
    ValueError
        When the preview has neither.
    RunError
        When the file cannot be written.
    """
    figure = plot_figure(4.0, 4.2)
    axes = figure.add_subplot()
    axes.set_title("\n".join(escape_text(line) for line in textwrap.wrap(preview.summary, 56)), fontsize=8)
    if preview.images is not None:
        _images(axes, preview.images / np.float32(255), int(np.ceil(np.sqrt(len(preview.images)))))
    elif preview.points is not None:
        axes.plot(*preview.points.T, ".", color=COLOURS[DATA], markersize=2, alpha=0.6)
        axes.set(xlabel=escape_text(preview.columns[0].name), ylabel=escape_text(preview.columns[1].name))
        (x0, y0), (x1, y1) = preview.points.min(axis=0), preview.points.max(axis=0)
        _equal_scales(axes, x0, x1, y0, y1)
    else:
        msg = "neither images nor points in the plane"
        raise ValueError(msg)
    with writing_into(path.parent):
        _save(figure, path)
    return path


def _save(figure: Figure, path: Path) -> None:
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=_DPI, format="png")


def feature_names_of(record: RunRecord) -> tuple[str, str]:
    """Return the names of a run's first two features for matplotlib; x₁ and x₂ if they have none."""
    columns = next((started.columns for started in record.snapshot().seeds), [])
    first, second = [escape_text(name) for name in columns[:2]] + ["x₁", "x₂"][len(columns[:2]) :]
    return first, second


def _samples(stages: Stages, names: tuple[str, str]) -> Figure | None:
    drawn: Stages = {stage: view for stage, view in stages.items() if view.samples is not None}
    if not drawn:
        return None
    figure = plot_figure(3.2 * len(drawn) + 0.6, 3.6)
    columns = figure.subplots(1, len(drawn), squeeze=False, sharex=True, sharey=True)[0]
    peak = _highest_density(drawn)
    for axes, (stage, view) in zip(columns, drawn.items(), strict=True):
        samples: Any = view.samples
        axes.set_title(
            f"{role_name(stage)}\n{picture_label(samples)}, temperature {samples.temperature:g}",
            color=COLOURS[stage],
            fontsize=9,
        )
        if samples.samples.ndim == 4:
            _images(axes, samples.samples[:_MAX_IMAGES], int(np.ceil(np.sqrt(min(_MAX_IMAGES, len(samples.samples))))))
        else:
            _points(axes, stage, view, peak, names)
    _density_bar(figure, list(columns), peak)
    return figure


def image_grid(images: np.ndarray, columns: int) -> np.ndarray:
    """Return images (n, channels, height, width) in [0, 1] as one picture (height, width, channels), on white."""
    count, channels, height, width = images.shape
    rows = -(-count // columns)
    grid = np.ones((rows * (height + 1) - 1, columns * (width + 1) - 1, channels), np.float32)
    for index, image in enumerate(images):
        top, left = index // columns * (height + 1), index % columns * (width + 1)
        grid[top : top + height, left : left + width] = image.transpose(1, 2, 0)
    return grid


def _images(axes: Axes, images: np.ndarray, columns: int) -> None:
    grid = image_grid(images, columns)
    shown = grid[..., 0] if grid.shape[2] == 1 else grid[..., :3]
    axes.imshow(shown, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_axis_off()


def _density(view: StageSnapshot) -> np.ndarray | None:
    if view.density is None:
        return None
    return np.nan_to_num(np.exp(np.minimum(view.density.log_prob, 80)))


def _highest_density(drawn: Stages) -> float:
    """Return the highest density of all flows, for a shared colour scale; 0 where none has a density."""
    densities = [density for view in drawn.values() if (density := _density(view)) is not None]
    return max((float(density.max()) for density in densities), default=0.0)


def _points(axes: Axes, stage: Role, view: StageSnapshot, peak: float, names: tuple[str, str]) -> None:
    """Draw samples of vectors: their first two features, over their density, or a histogram of one feature."""
    values = view.samples.samples if view.samples is not None else np.empty((0, 2))
    if values.shape[1] == 1:
        axes.hist(values[:, 0], bins=40, density=True, color=COLOURS[stage], alpha=0.6)
        axes.set(xlabel=names[0], ylabel="density")
        return
    _plane(axes, view, peak, names)
    colour = COLOURS[stage] if view.density is None else "white"
    many = len(values) > _MAX_VECTOR
    axes.plot(values[:, 0], values[:, 1], ".", color=colour, markersize=1.5, alpha=0.6, rasterized=many)


def _paths(axes: Axes, stage: Role, view: StageSnapshot, peak: float, names: tuple[str, str]) -> None:
    """Draw paths of vectors by their first two features; a single feature against the position on the path."""
    paths = view.interpolation.images if view.interpolation is not None else np.empty((0, 0, 2))
    colour = COLOURS[stage] if view.density is None else "white"
    if paths.shape[-1] == 1:
        axes.set(xlabel="position on the path", ylabel=names[0])
        for path in paths:
            axes.plot(np.linspace(0, 1, len(path)), path[:, 0], ".-", color=colour, linewidth=1.2)
        return
    _plane(axes, view, peak, names)
    for path in paths:
        axes.plot(path[:, 0], path[:, 1], ".-", color=colour, linewidth=1.2)


def _plane(axes: Axes, view: StageSnapshot, peak: float, names: tuple[str, str]) -> None:
    axes.set(xlabel=names[0], ylabel=names[1])
    axes.label_outer()
    if view.density is not None:
        _equal_scales(axes, *view.density.extent)
    density = _density(view)
    if density is None or view.density is None:
        return
    extent = view.density.extent
    axes.imshow(
        density, origin="lower", extent=extent, cmap=_COLOUR_MAP, vmin=0, vmax=peak or 1, aspect=axes.get_aspect()
    )
    axes.set_xlim(extent[:2])
    axes.set_ylim(extent[2:])


def _equal_scales(axes: Axes, x0: float, x1: float, y0: float, y1: float) -> None:
    """Draw both axes in the same scale, unless the features differ too much in theirs."""
    if (x1 - x0) / _MAX_ASPECT < y1 - y0 < (x1 - x0) * _MAX_ASPECT:
        axes.set_aspect("equal")


def _density_bar(figure: Figure, columns: list[Axes], peak: float) -> None:
    if peak:
        scale = ScalarMappable(Normalize(0, peak), _COLOUR_MAP)
        figure.colorbar(scale, ax=columns, label="density (per unit area)", shrink=0.8, pad=0.02)


def _interpolation(stages: Stages, names: tuple[str, str]) -> Figure | None:
    drawn: Stages = {stage: view for stage, view in stages.items() if view.interpolation is not None}
    if not drawn:
        return None
    plane = all(view.interpolation is not None and view.interpolation.images.ndim == 3 for view in drawn.values())
    figure = plot_figure(3.2 * len(drawn) + 0.6, 3.6) if plane else plot_figure(7.0, 2.4 * len(drawn))
    rows, columns = (1, len(drawn)) if plane else (len(drawn), 1)
    subplots = figure.subplots(rows, columns, squeeze=False, sharex=plane, sharey=plane).ravel()
    peak = _highest_density(drawn)
    for axes, (stage, view) in zip(subplots, drawn.items(), strict=True):
        paths: Any = view.interpolation
        label = f"{picture_label(paths)}, {paths.mode.replace('_', '-')}"
        separator = "\n" if plane else ", "
        axes.set_title(f"{role_name(stage)}{separator}{label}", color=COLOURS[stage], fontsize=9)
        if plane:
            _paths(axes, stage, view, peak, names)
        else:
            _images(axes, paths.images.reshape(-1, *paths.images.shape[2:]), paths.images.shape[1])
    _density_bar(figure, list(subplots), peak)
    return figure


def _matching(record: RunRecord, stages: Stages, stage: Role) -> Figure | None:
    view = stages.get(stage)
    if view is None or not np.size(view.matching_errors):
        return None
    started = next(iter(record.seeds.values())).started
    pairs = next(plan.pairs for plan in started.stages if plan.stage == stage)
    errors = np.maximum(view.matching_errors.T, _MIN_ERROR)
    finite = errors[np.isfinite(errors)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (_MIN_ERROR, 1.0)
    figure = plot_figure(7.5, 1.6 + 0.4 * len(pairs))
    axes = figure.add_subplot()
    steps = view.matching_steps.astype(float)
    edges = np.concatenate([steps[:1], (steps[1:] + steps[:-1]) / 2, steps[-1:] + (len(steps) == 1)])
    norm = LogNorm(low, max(high, low * 1.01))
    shown = np.ma.masked_invalid(errors)
    mesh = axes.pcolormesh(edges, np.arange(len(pairs) + 1), shown, cmap=_COLOUR_MAP, norm=norm, rasterized=True)
    axes.set_yticks(np.arange(len(pairs)) + 0.5, [escape_text(pair.summary) for pair in pairs], fontsize=8)
    axes.invert_yaxis()
    axes.set(xlabel=f"Step of {the_role(stage)}")
    bar = figure.colorbar(mesh, ax=axes, label="mean squared error\n(log scale)")
    ticks = np.geomspace(low, norm.vmax or high, 4)
    bar.set_ticks(list(ticks), labels=[f"{tick:.3g}" for tick in ticks])
    bar.minorticks_off()
    return figure
