"""The one writer of a seed's HDF5 file."""

from __future__ import annotations

import errno
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import h5py
import numpy as np

from nfkd.config import ExperimentConfig
from nfkd.protocol.events import (
    CurvePoints,
    DensityDrawn,
    InterpolationDrawn,
    MatchingMeasured,
    Role,
    RunEvent,
    SamplesDrawn,
    SeedStarted,
    StageFinished,
)
from nfkd.runs import schema
from nfkd.runs.errors import RunError
from nfkd.runs.layout import RUN_FILE
from nfkd.runs.recovery import copy_cut
from nfkd.runs.schema import Node

_FLUSH_SECONDS = 1.0


class RunWriter:
    """Writes a seed's events into its file, readable by others at every moment (single writer, multiple readers).

    Everything is made up front: h5py would let a writer go on creating things after that, and its readers break.
    What was not declared in the plan is refused.

    Parameters
    ----------
    directory
        Of the seed.
    config_toml
        The experiment.
    seed
        The seed.
    started
        What will be recorded.
    device, threads
        For the file's attributes.

    Raises
    ------
    RunError
        When the file cannot be made.
    """

    def __init__(
        self, directory: Path, config_toml: str, seed: int, started: SeedStarted, *, device: str, threads: int
    ) -> None:
        path = directory / RUN_FILE
        if started.seed != seed:
            msg = f"the plan is for seed {started.seed}, not {seed}"
            raise ValueError(msg)
        with _explained(directory):
            file = h5py.File(path, "w", libver="latest")
            try:
                schema.create(file, ExperimentConfig.from_toml(config_toml), started, device=device, threads=threads)
                file.flush()
            except BaseException:
                with suppress(OSError, RuntimeError):
                    file.close()
                path.unlink(missing_ok=True)
                raise
        self._begin(directory, file)

    def _begin(self, directory: Path, file: Node) -> None:
        self._directory, self._file = directory, file
        with _explained(directory):
            file.swmr_mode = True
        self._flushed = time.monotonic()

    @classmethod
    def reopen(cls, directory: Path, at: Mapping[Role, int]) -> RunWriter:
        """Go on with a file: what came after a step is cut off, in a copy that then takes the file's place.

        Parameters
        ----------
        directory
            Of the seed.
        at
            The last step that is kept, by stage; stages that are not named are emptied.

        Raises
        ------
        RunError
            When the file cannot be read or the copy cannot be written; the file is untouched then.
        """
        path = directory / RUN_FILE
        with _explained(directory):
            copy_cut(path, path, at)
            file = h5py.File(path, "r+", libver="latest")
        writer = cls.__new__(cls)
        writer._begin(directory, file)
        return writer

    def handle(self, event: RunEvent) -> None:
        """Write an event; those that are not for the file are passed over.

        Raises
        ------
        RunError
            When the disk is full or the file cannot be written; or for a curve that no plan declared.
        """
        with _explained(self._directory):
            match event:
                case CurvePoints():
                    self._curves(event)
                case SamplesDrawn():
                    group = self._file[event.stage]["samples"]
                    self._row(group, event.step, temperature=event.temperature, images=event.samples)
                case InterpolationDrawn():
                    group = self._file[event.stage]["interpolation"]
                    group["mode"][0] = event.mode.encode()
                    group["alpha"][...] = event.alpha
                    self._row(group, event.step, images=event.images)
                case DensityDrawn():
                    group = self._file[event.stage]["density"]
                    group["extent"][...] = event.extent
                    self._row(group, event.step, log_prob=event.log_prob)
                case MatchingMeasured():
                    self._row(self._file["student"]["matching"], event.step, error=event.error)
                case StageFinished():
                    figures = self._file["summary"][event.stage]
                    for name in schema.FIGURES:
                        figures[name][0] = getattr(event.summary, name)
                case _:
                    return
            if time.monotonic() - self._flushed > _FLUSH_SECONDS:
                self.flush()

    def _curves(self, event: CurvePoints) -> None:
        curves = self._file[event.stage]["curves"]
        for name, batch in event.curves.items():
            group = curves.get(name)
            if group is None:
                raise RunError("The run cannot be written", f"The curve {name} was not declared before the first step.")
            # The steps come last: a reader goes by them.
            for key, values in (("value", batch.values), ("time", batch.times), ("step", batch.steps)):
                _append(group[key], values)

    @staticmethod
    def _row(group: Node, step: int, **values: np.ndarray | float) -> None:
        for key, value in values.items():
            _append(group[key], np.asarray(value)[None])
        _append(group["step"], np.array([step]))

    def flush(self) -> None:
        """Bring everything to the disk.

        Raises
        ------
        RunError
            When the disk is full or the file cannot be written.
        """
        with _explained(self._directory):
            self._file.flush()
        self._flushed = time.monotonic()

    def close(self) -> None:
        """Close the file; a disk that is full does not keep it open."""
        with suppress(OSError, RuntimeError):  # what could be written has been; the cause was told when it arose
            self._file.close()


def _append(dataset: Node, values: np.ndarray) -> None:
    size = len(dataset)
    dataset.resize(size + len(values), axis=0)
    dataset[size:] = values


@contextmanager
def _explained(directory: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError) as error:
        full = getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(error)
        title = "The disk is full" if full else "The run cannot be written"
        cause = f"Nothing more can be written to {directory}." if full else f"{directory}: {error}."
        action = "Make room, or choose a folder that you may write to, and resume; what was written stays readable."
        raise RunError(title, cause, action) from error
