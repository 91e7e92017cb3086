"""Reading of the pictures in a seed's file, while it is written or afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from nfkd.protocol.events import DensityDrawn, InterpolationDrawn, Picture, SamplesDrawn
from nfkd.protocol.flags import UNKNOWN, flags_of_vectors
from nfkd.protocol.pictures import PictureList, SampleSeries, StagePictures, StagePictureSteps
from nfkd.protocol.roles import ROLES, Role, the_role
from nfkd.runs import schema
from nfkd.runs.errors import RunError
from nfkd.runs.layout import RUN_FILE, read_config, seed_directory
from nfkd.runs.opening import open_file
from nfkd.runs.schema import FINAL, Node

if TYPE_CHECKING:
    from nfkd.data import Dataset

MAX_SERIES_BYTES = 1 << 27
"""Largest size of the samples in a `SampleSeries`; beyond it, fewer frames are read."""
_P = TypeVar("_P", SamplesDrawn, InterpolationDrawn, DensityDrawn)
_Reader = Callable[..., _P]


def list_pictures(run: Path, seed: int) -> PictureList:
    """Return the steps with stored pictures, of all stages of a seed.

    Raises
    ------
    RunError
        When the run has no such seed, or its file is missing or damaged.
    """
    with _open_seed(run, seed, ROLES) as file:
        plans = schema.read_started(file).stages
        stages = [_picture_steps(file[plan.stage], plan.stage) for plan in plans]
    return PictureList(run=str(run), seed=seed, stages=stages)


def read_pictures(run: Path, seed: int, stage: Role, step: int | None = None) -> StagePictures:
    """Return a stage's last pictures at or before a step; without a step the final ones, or else the newest.

    Raises
    ------
    RunError
        As `list_pictures`; also when the seed has no such stage.
    """
    with _open_stage(run, seed, stage) as group:
        return StagePictures(
            run=str(run), seed=seed, stage=stage, **stage_pictures(group, run=str(run), seed=seed, step=step)
        )


def stage_pictures(
    stage: Node,
    *,
    run: str,
    seed: int,
    step: int | None = None,
    known: Mapping[str, Picture | None] = MappingProxyType({}),
) -> dict[str, Any]:
    """Return the pictures in a stage's open group by kind, as `read_pictures` chooses them.

    Those that are missing, and those of the same step as in `known`, are None.
    """
    fields = {"run": run, "seed": seed, "stage": stage.name.strip("/")}
    return {name: _picture(stage, name, read, step, fields, known.get(name)) for name, read in _READERS.items()}


def read_series(run: Path, seed: int, stage: Role, frames: int) -> SampleSeries:
    """Return at most `frames` of a stage's samples over its steps; the last ones are of the final weights, if stored.

    Raises
    ------
    RunError
        As `read_pictures`; also when fewer than one frame is requested.
    """
    if frames < 1:
        title, cause = "The request is too small", f"{frames:,} frames were requested."
        raise RunError(title, cause, "Request at least 1.")
    with _open_stage(run, seed, stage) as group:
        rows = [(where, row) for where in _places("samples") for row in range(len(_steps(group.get(where))))]
        if rows:
            row_bytes = group["samples/images"].dtype.itemsize * int(np.prod(group["samples/images"].shape[1:]))
            frames = min(frames, max(1, MAX_SERIES_BYTES // max(1, row_bytes)))
        chosen = [rows[index] for index in _spread(len(rows), frames)]
        pictures = [group[where]["images"][row] for where, row in chosen]
        return SampleSeries(
            run=str(run),
            seed=seed,
            stage=stage,
            steps=[int(group[where]["step"][row]) for where, row in chosen],
            samples=np.stack(pictures) if pictures else np.empty(0, np.float32),
            temperatures=[float(group[where]["temperature"][row]) for where, row in chosen],
            final=bool(chosen) and chosen[-1][0].startswith(FINAL),
        )


def every_picture(run: Path, seed: int, stage: Role) -> Iterator[SamplesDrawn | InterpolationDrawn | DensityDrawn]:
    """Yield all stored pictures of a stage as they were published: by kind, the final ones last.

    Raises
    ------
    RunError
        As `read_pictures`.
    """
    fields = {"run": str(run), "seed": seed, "stage": stage}
    with _open_stage(run, seed, stage) as group:
        for name, read in _READERS.items():
            for where in _places(name):
                for row, step in enumerate(_steps(group.get(where))):
                    yield read(group[where], row, step=int(step), final=where != name, **fields)


def in_units_of_run(dataset: Dataset, run: Path, seed: int) -> Dataset:
    """Return a run's data set, with pictures in the units of those in the run's file.

    Raises
    ------
    RunError
        As `list_pictures`.
    """
    if dataset.scaler is None:
        return dataset
    with _open_seed(run, seed, ()) as file:
        scaled = schema.read_started(file).has_scaled_pictures
    return dataset if scaled == dataset.scaled_pictures else replace(dataset, scaled_pictures=scaled)


def _spread(count: int, most: int) -> list[int]:
    """Return at most `most` of `count` indices at equal distances, with the last one and, if there is room, the first.

    Examples
    --------
    >>> _spread(5, 3)
    [0, 2, 4]
    """
    if count <= most:
        return list(range(count))
    return [round(index) for index in np.linspace(0, count - 1, most)] if most > 1 else [count - 1]


def _places(name: str) -> tuple[str, str]:
    """Return the paths of a kind of picture within its stage: the series, then the final one."""
    return name, f"{FINAL}/{name}"


def _steps(group: Node | None) -> np.ndarray:
    """Return the steps of the complete rows of a group; older files lack some groups."""
    return np.empty(0, np.int64) if group is None else group["step"][: schema.complete_rows(group)]


def _picture_steps(stage: Node, role: Role) -> StagePictureSteps:
    series = [_steps(stage.get(name)) for name in _READERS]
    final = [_steps(stage.get(f"{FINAL}/{name}")) for name in _READERS]
    ended = np.concatenate(final)
    return StagePictureSteps(
        stage=role,
        steps=np.unique(np.concatenate(series)).tolist(),
        final=int(ended.max()) if len(ended) else None,
    )


def _picture(
    stage: Node, name: str, read: _Reader[_P], step: int | None, fields: dict[str, Any], known: Picture | None
) -> _P | None:
    series, final = _places(name)
    for where in (final, series) if step is None else (series,):
        group = stage.get(where)
        steps = _steps(group)
        rows = np.arange(len(steps)) if step is None else np.flatnonzero(steps <= step)
        if len(rows):
            row = int(rows[-1])
            if known is not None and (known.step, known.final) == (int(steps[row]), where == final):
                return None
            return read(group, row, step=int(steps[row]), final=where == final, **fields)
    return None


def _samples(group: Node, row: int, **fields: Any) -> SamplesDrawn:
    samples = group["images"][row]
    flags = _flags(group, row, samples if samples.ndim == 2 else None)
    return SamplesDrawn(**fields, temperature=float(group["temperature"][row]), samples=samples, flags=flags)


def _interpolation(group: Node, row: int, **fields: Any) -> InterpolationDrawn:
    mode = bytes(group["mode"][0]).decode()
    images = group["images"][row]
    flags = _flags(group, row, images if images.ndim == 3 else None)
    return InterpolationDrawn(**fields, mode=mode, alpha=group["alpha"][...], images=images, flags=flags)


def _flags(group: Node, row: int, vectors: np.ndarray | None) -> np.ndarray | None:
    """Return the stored flags; without them those of vectors, and None for images, which are stored clamped."""
    if "flags" in group and (flags := group["flags"][row]).max(initial=0) < UNKNOWN:
        return flags
    return None if vectors is None else flags_of_vectors(vectors)


def _density(group: Node, row: int, **fields: Any) -> DensityDrawn:
    x0, x1, y0, y1 = (float(value) for value in group["extent"][...])
    return DensityDrawn(**fields, extent=(x0, x1, y0, y1), log_prob=group["log_prob"][row])


_READERS: dict[str, _Reader[Any]] = {"samples": _samples, "interpolation": _interpolation, "density": _density}


@contextmanager
def _open_seed(run: Path, seed: int, stages: Iterable[Role]) -> Iterator[Node]:
    """Open a seed's file to read the pictures of some stages."""
    config = read_config(run)
    seeds = config.seeds.values()
    if seed not in seeds:
        title, cause = "There is no such seed", f"Seed {seed} was requested; the run has {', '.join(map(str, seeds))}."
        raise RunError(title, cause, "Choose another seed.")
    parts = [f"{stage}/{name}" for stage in stages for name in (*_READERS, FINAL)]
    with open_file(seed_directory(run, config, seed) / RUN_FILE, parts) as file:
        yield file


@contextmanager
def _open_stage(run: Path, seed: int, stage: Role) -> Iterator[Node]:
    with _open_seed(run, seed, (stage,)) as file:
        plans = [plan.stage for plan in schema.read_started(file).stages]
        if stage not in plans:
            title, cause = f"There are no pictures of {the_role(stage)}", f"Seed {seed} of the run trains no {stage}."
            raise RunError(title, cause, f"Choose {', '.join(plans)}.")
        yield file[stage]
