"""Export of a run's pictures as PNG files."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure

from nfkd.files import replacing
from nfkd.protocol.data import DataPreview
from nfkd.protocol.events import picture_label
from nfkd.protocol.requests import StageSnapshot
from nfkd.protocol.roles import ASSISTANTS, COLOURS, DATA, Role, role_name, the_role
from nfkd.runs.export import writing_into
from nfkd.runs.reader import RunRecord
from nfkd.text import plain

_COLOUR_MAP = "cividis"
_DPI = 144
_MAX_IMAGES = 64
_MAX_MARKED = 20  # points of a curve that get markers
_MAX_ASPECT = 5  # of a plot with equal axes
_MIN_ERROR = 1e-12
_MAX_TEXT = 200  # characters
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
    names = _feature_names(record)
    figures: dict[str, Callable[[], Figure | None]] = {
        "curves": lambda: _curves(record),
        "samples": lambda: _samples(stages, names),
        "interpolation": lambda: _interpolation(stages, names),
        "matching": lambda: _matching(record, stages, "student"),
    }
    for role in ASSISTANTS:
        figures[f"matching-{role}"] = partial(_matching, record, stages, role)
    drawn = {name: draw() for name, draw in figures.items()}
    return {name: figure for name, figure in drawn.items() if figure is not None}


def export_preview(preview: DataPreview, path: Path) -> Path:
    """Draw a data set's images or points in the plane; return the file.

    Raises
    ------
    ValueError
        When the preview has neither.
    RunError
        When the file cannot be written.
    """
    figure = _figure(4.0, 4.2)
    axes = figure.add_subplot()
    axes.set_title("\n".join(_escape(line) for line in textwrap.wrap(preview.summary, 56)), fontsize=8)
    if preview.images is not None:
        _images(axes, preview.images / np.float32(255), int(np.ceil(np.sqrt(len(preview.images)))))
    elif preview.points is not None:
        axes.plot(*preview.points.T, ".", color=COLOURS[DATA], markersize=2, alpha=0.6)
        axes.set(xlabel=_escape(preview.columns[0].name), ylabel=_escape(preview.columns[1].name))
        (x0, y0), (x1, y1) = preview.points.min(axis=0), preview.points.max(axis=0)
        _equal_scales(axes, x0, x1, y0, y1)
    else:
        msg = "neither images nor points in the plane"
        raise ValueError(msg)
    with writing_into(path.parent):
        _save(figure, path)
    return path


def _escape(text: str) -> str:
    """Return untrusted text for matplotlib, which would read text between dollar signs as mathematics."""
    return plain(text, _MAX_TEXT).replace("$", r"\$")


def _save(figure: Figure, path: Path) -> None:
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=_DPI, format="png")


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _curves(record: RunRecord) -> Figure | None:
    if not record.seeds:
        return None
    figure = _figure(7.5, 4.2)
    axes = figure.add_subplot()
    unit = ""
    labelled: set[str] = set()
    for seed_record in record.seeds.values():
        for plan in seed_record.started.stages:
            unit = next((info.unit for info in plan.curves if info.name == "validation/nll"), unit)
        for stage, view in seed_record.stages.items():
            _draw_curve(axes, view, "train/nll", COLOURS[stage], 0.8, 0.3, None)
            label = None if stage in labelled else f"{role_name(stage)}, validation"
            if _draw_curve(axes, view, "validation/nll", COLOURS[stage], 1.8, 1.0, label):
                labelled.add(stage)
    axes.set(xlabel="Step", ylabel=f"Negative log-likelihood ({_escape(unit)})")
    axes.set_title("Thin: training. Bold: validation.", fontsize=9, loc="left", color="#555555")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper", frameon=False)
    return figure


def _draw_curve(
    axes: Axes, view: StageSnapshot, name: str, colour: str, width: float, alpha: float, label: str | None
) -> bool:
    batch = view.curves.get(name)
    if batch is None or not len(batch.steps):
        return False
    marker = "o" if len(batch.steps) <= _MAX_MARKED else ""  # a line through one point would be invisible
    style: dict[str, Any] = {"color": colour, "linewidth": width, "alpha": alpha, "label": label}
    axes.plot(batch.steps, batch.values, marker=marker, markersize=2 * width, **style)
    return True


def _feature_names(record: RunRecord) -> tuple[str, str]:
    """Return the names of the first two features; x₁ and x₂ if they have none."""
    columns = next((started.columns for started in record.snapshot().seeds), [])
    first, second = [_escape(name) for name in columns[:2]] + ["x₁", "x₂"][len(columns[:2]) :]
    return first, second


def _samples(stages: Stages, names: tuple[str, str]) -> Figure | None:
    drawn: Stages = {stage: view for stage, view in stages.items() if view.samples is not None}
    if not drawn:
        return None
    figure = _figure(3.2 * len(drawn) + 0.6, 3.6)
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


def _images(axes: Axes, images: np.ndarray, columns: int) -> None:
    count, channels, height, width = images.shape
    rows = -(-count // columns)
    grid = np.ones((rows * (height + 1) - 1, columns * (width + 1) - 1, channels), np.float32)
    for index, image in enumerate(images):
        top, left = index // columns * (height + 1), index % columns * (width + 1)
        grid[top : top + height, left : left + width] = image.transpose(1, 2, 0)
    axes.imshow(grid[..., 0] if channels == 1 else grid[..., :3], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
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
    axes.plot(values[:, 0], values[:, 1], ".", color=colour, markersize=1.5, alpha=0.6)


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
    figure = _figure(3.2 * len(drawn) + 0.6, 3.6) if plane else _figure(7.0, 2.4 * len(drawn))
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
    figure = _figure(7.5, 1.6 + 0.4 * len(pairs))
    axes = figure.add_subplot()
    steps = view.matching_steps.astype(float)
    edges = np.concatenate([steps[:1], (steps[1:] + steps[:-1]) / 2, steps[-1:] + (len(steps) == 1)])
    norm = LogNorm(low, max(high, low * 1.01))
    mesh = axes.pcolormesh(edges, np.arange(len(pairs) + 1), np.ma.masked_invalid(errors), cmap=_COLOUR_MAP, norm=norm)
    axes.set_yticks(np.arange(len(pairs)) + 0.5, [_escape(pair.summary) for pair in pairs], fontsize=8)
    axes.invert_yaxis()
    axes.set(xlabel=f"Step of {the_role(stage)}")
    bar = figure.colorbar(mesh, ax=axes, label="mean squared error\n(log scale)")
    ticks = np.geomspace(low, norm.vmax or high, 4)
    bar.set_ticks(list(ticks), labels=[f"{tick:.3g}" for tick in ticks])
    bar.minorticks_off()
    return figure
