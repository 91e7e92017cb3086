"""Export of a run's curves, pictures and settings as event files of TensorBoard."""

from __future__ import annotations

import io
import math
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from matplotlib.figure import Figure
from tensorboardX import RecordWriter
from tensorboardX import summary as summaries
from tensorboardX.proto import event_pb2

from nfkd.config import ExperimentConfig
from nfkd.config.toml import short_toml
from nfkd.files import replacing
from nfkd.protocol.events import Picture, StagePlan
from nfkd.protocol.pictures import StagePictures
from nfkd.protocol.requests import StageSnapshot
from nfkd.protocol.roles import Role
from nfkd.runs.export import writing_into
from nfkd.runs.figures import draw_pictures, feature_names_of, image_grid
from nfkd.runs.log import read_log
from nfkd.runs.pictures import list_pictures, read_pictures
from nfkd.runs.reader import RunRecord
from nfkd.runs.run_values import flat_settings

MAX_DRAWN = 20
"""Most figures of one kind that are drawn of a stage whose examples are vectors: the last, and others at even steps."""
Event = cast("Any", event_pb2).Event  # made when it is imported: type checkers do not see it
_VERSION = "brain.Event:2"
_DPI = 100
_FIGURES = (
    "test", "validation", "parameters", "multiply_adds", "samples_per_second", "seconds", "c2st", "sw", "mmd", "fd",
    "precision", "recall", "train_test_gap", "same_noise",
)  # fmt: skip
_NOT_SETTINGS = ("name", "description", "seeds", "monitor", "compute")


class _Point(NamedTuple):
    """A value of TensorBoard: its step, its wall time (seconds since 1970), and the value."""

    step: int
    time: float
    summary: Any


def export_tensorboard(record: RunRecord, directory: Path) -> list[Path]:
    """Write a run for TensorBoard, which shows each seed's stages as runs.

    Parameters
    ----------
    record
        The run.
    directory
        Created if missing; files of an earlier export are replaced.

    Returns
    -------
    list[Path]
        One event file for each stage of each seed that has points, in ``seed-<n>/<stage>``. It has every curve under
        its own name, the error of each matched pair as ``matching/<pair>``, pictures as ``samples`` and
        ``interpolation`` (those of the saved weights as ``final/…``), and the stage's figures as ``figures/…``. That of
        a student has the settings that are not defaults as hyperparameters.

    Raises
    ------
    RunError
        When the directory cannot be written or the run's file cannot be read.
    """
    written: list[Path] = []
    with writing_into(directory):
        for seed, seed_record in record.seeds.items():
            for plan in seed_record.started.stages:
                points = list(_points(record, seed, plan))
                if points:
                    path = (
                        directory / f"seed-{seed}" / plan.stage / f"events.out.tfevents.{int(record.row.created)}.nfkd"
                    )
                    _write(path, points, started=record.row.created)
                    written.append(path)
    return written


def _write(path: Path, points: Iterable[_Point], *, started: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary, _records(temporary) as write:
        write(Event(wall_time=started, file_version=_VERSION))
        for point in points:
            write(Event(wall_time=point.time, step=point.step, summary=point.summary))


@contextmanager
def _records(path: Path) -> Iterator[Callable[[Any], None]]:
    # The library's SummaryWriter would put the machine's name into that of the file, and start a thread for each one.
    writer = RecordWriter(str(path))
    try:
        yield lambda event: writer.write(event.SerializeToString())
    finally:
        writer.close()


def _points(record: RunRecord, seed: int, plan: StagePlan) -> Iterator[_Point]:
    view = record.seeds[seed].stages[plan.stage]
    start = _start(record, seed, view)
    times = _times(view)
    for name, batch in view.curves.items():
        for step, value, seconds in zip(batch.steps, batch.values, batch.times, strict=True):
            yield _Point(int(step), start + float(seconds), summaries.scalar(name, np.float64(value)))
    for step, errors in zip(view.matching_steps, view.matching_errors, strict=True):
        for pair, error in zip(plan.pairs, errors, strict=True):
            name = f"matching/{pair.student} - {pair.teacher}"
            yield _Point(int(step), start + times(int(step)), summaries.scalar(name, np.float64(error)))
    if any(len(batch.steps) for batch in view.curves.values()):
        for picture, summary in _pictures(record, seed, plan.stage):
            yield _Point(picture.step, start + times(picture.step), summary)
    yield from _end(record.config, view, start)


def _end(config: ExperimentConfig, view: StageSnapshot, start: float) -> Iterator[_Point]:
    """Yield the figures of a stage that has ended and, for a student, the settings as hyperparameters."""
    figures = view.summary
    if figures is None:
        return
    values = {f"figures/{name}": float(getattr(figures, name)) for name in _FIGURES}
    values = {name: value for name, value in values.items() if math.isfinite(value)}
    time = start + figures.seconds
    if view.stage == "student":
        for summary in summaries.hparams(_hyperparameters(config), values):
            yield _Point(figures.steps, time, summary)
    for name, value in values.items():
        yield _Point(figures.best_step, time, summaries.scalar(name, np.float64(value)))


def _hyperparameters(config: ExperimentConfig) -> Mapping[str, Any]:
    """Return the settings that are not defaults, without those that do not change a student."""
    table = tomllib.loads(short_toml(config, ("data", "teacher", "student")))
    settings = flat_settings({name: value for name, value in table.items() if name not in _NOT_SETTINGS})
    return {name: value for name, value in settings.items() if value is not None}


def _start(record: RunRecord, seed: int, view: StageSnapshot) -> float:
    """Return when a stage began, in seconds since 1970: its end, from the log, without the time that it took."""
    ends = [line.time for line in read_log(record.path) if (line.seed, line.stage) == (seed, view.stage)]
    return max(ends) - view.summary.seconds if ends and view.summary is not None else record.row.created


def _times(view: StageSnapshot) -> Callable[[int], float]:
    """Return the seconds since the start of a stage as a function of the step."""
    batch = max(view.curves.values(), key=lambda batch: len(batch.steps), default=None)
    if batch is None or not len(batch.steps):
        return lambda _: 0.0
    return lambda step: float(np.interp(step, batch.steps, batch.times))


# --- pictures ---------------------------------------------------------------------------------------------------------


def _pictures(record: RunRecord, seed: int, stage: Role) -> Iterator[tuple[Picture, Any]]:
    listed = next((each for each in list_pictures(record.path, seed).stages if each.stage == stage), None)
    if listed is None:
        return
    steps: list[int | None] = [*listed.steps]
    if len(record.seeds[seed].started.event_shape) == 1:
        chosen = np.linspace(0, len(steps) - 1, min(len(steps), MAX_DRAWN)).round().astype(int)
        steps = [steps[index] for index in chosen]
    steps += [] if listed.final is None else [None]  # None reads the final ones
    names = feature_names_of(record)
    shown: set[tuple[str, int]] = set()
    for step in steps:
        pictures = read_pictures(record.path, seed, stage, step)
        for name, picture in (("samples", pictures.samples), ("interpolation", pictures.interpolation)):
            tag = f"final/{name}" if picture is not None and picture.final else name
            if picture is not None and (tag, picture.step) not in shown:
                shown.add((tag, picture.step))
                yield picture, summaries.image(tag, _pixels(name, pictures, names), dataformats="HWC")


def _pixels(name: str, pictures: StagePictures, names: tuple[str, str]) -> np.ndarray:
    """Return a picture as pixels (height, width, channels), uint8: a grid of images, or a drawn figure of vectors."""
    samples, paths = pictures.samples, pictures.interpolation
    if name == "samples" and samples is not None and samples.samples.ndim == 4:
        return _bytes(image_grid(samples.samples, math.ceil(math.sqrt(len(samples.samples)))))
    if name == "interpolation" and paths is not None and paths.images.ndim == 5:
        return _bytes(image_grid(paths.images.reshape(-1, *paths.images.shape[2:]), paths.images.shape[1]))
    view = StageSnapshot(
        seed=pictures.seed, stage=pictures.stage, curves={}, matching_steps=np.empty(0, np.int64),
        matching_errors=np.empty((0, 0)), samples=samples, interpolation=paths, density=pictures.density,
    )  # fmt: skip
    figure = draw_pictures({pictures.stage: view}, names)[name]
    return _rendered(figure) if figure is not None else np.full((1, 1, 3), 255, np.uint8)


def _bytes(grid: np.ndarray) -> np.ndarray:
    grid = grid if grid.shape[2] == 1 else grid[..., :3]
    return np.round(255 * np.nan_to_num(np.clip(grid, 0, 1))).astype(np.uint8)


def _rendered(figure: Figure) -> np.ndarray:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="rgba", dpi=_DPI)
    width, height = (round(size * _DPI) for size in figure.get_size_inches())
    return np.frombuffer(buffer.getvalue(), np.uint8).reshape(height, width, 4)[..., :3]
