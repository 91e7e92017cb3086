"""The one writer of a seed's HDF5 file."""

from __future__ import annotations

import os
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
    RunEvent,
    SamplesDrawn,
    SeedStarted,
    StageFinished,
)
from nfkd.protocol.roles import Role
from nfkd.runs import schema
from nfkd.runs.disk import abandon, explained, whole_file
from nfkd.runs.errors import RunError, moved_away
from nfkd.runs.layout import RUN_FILE
from nfkd.runs.recovery import copy_cut, copy_into
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
    device, threads, units, data
        For the file's attributes; `units` is the scaling of the data and `data` its fingerprint, both as JSON.

    Raises
    ------
    RunError
        When the file cannot be made.
    """

    def __init__(
        self,
        directory: Path,
        config_toml: str,
        seed: int,
        started: SeedStarted,
        *,
        device: str,
        threads: int,
        units: str = "",
        data: str = "",
    ) -> None:
        path = directory / RUN_FILE
        if started.seed != seed:
            msg = f"the plan is for seed {started.seed}, not {seed}"
            raise ValueError(msg)
        with explained(directory), whole_file(path) as file:
            config = ExperimentConfig.from_toml(config_toml)
            schema.create(file, config, started, device=device, threads=threads, units=units, data=data)
        self._begin(directory)

    def _begin(self, directory: Path) -> None:
        self._directory = directory
        self._refused: RunError | None = None
        with explained(directory):
            self._file = _open_swmr(directory / RUN_FILE)
        self._nodes = _datasets(self._file)
        self._flushed = time.monotonic()

    @classmethod
    def reopen(cls, directory: Path, at: Mapping[Role, int | None]) -> RunWriter:
        """Go on with a file: what came after a step is cut off, in a copy that then takes the file's place.

        Parameters
        ----------
        directory
            Of the seed.
        at
            What is kept of each stage, as in `nfkd.runs.recovery.copy_cut`.

        Raises
        ------
        RunError
            When the file cannot be read or the copy cannot be written; the file is untouched then.
        """
        path = directory / RUN_FILE
        with explained(directory):
            copy_cut(path, path, at)
        writer = cls.__new__(cls)
        writer._begin(directory)  # noqa: SLF001 - its own class
        return writer

    def handle(self, event: RunEvent) -> None:
        """Write an event; those that are not for the file are passed over.

        Raises
        ------
        RunError
            When the disk is full or the file cannot be written; or for a curve that no plan declared.
        """
        with self._writing():
            match event:
                case CurvePoints():
                    self._curves(event)
                case SamplesDrawn():
                    where = schema.picture_group(event, "samples")
                    self._row(where, event.step, temperature=event.temperature, images=event.samples)
                case InterpolationDrawn():
                    where = schema.picture_group(event, "interpolation")
                    self._nodes[f"{where}/mode"][0] = event.mode.encode()
                    self._nodes[f"{where}/alpha"][...] = event.alpha
                    self._row(where, event.step, images=event.images)
                case DensityDrawn():
                    where = schema.picture_group(event, "density")
                    self._nodes[f"{where}/extent"][...] = event.extent
                    self._row(where, event.step, log_prob=event.log_prob)
                case MatchingMeasured():
                    self._row(f"{event.stage}/matching", event.step, error=event.error)
                case StageFinished():
                    for name in schema.FIGURES:
                        self._nodes[f"summary/{event.stage}/{name}"][0] = getattr(event.summary, name)
                case _:
                    return
        if time.monotonic() - self._flushed > _FLUSH_SECONDS:
            self.flush()

    def _curves(self, event: CurvePoints) -> None:
        for name, batch in event.curves.items():
            where = f"{event.stage}/curves/{name}"
            if f"{where}/step" not in self._nodes:
                raise RunError(
                    title="The run cannot be written", cause=f"The curve {name} was not declared before the first step."
                )
            # The steps come last: a reader goes by them.
            for key, values in (("value", batch.values), ("time", batch.times), ("step", batch.steps)):
                _append(self._nodes[f"{where}/{key}"], values)

    def _row(self, where: str, step: int, **values: np.ndarray | float) -> None:
        for key, value in values.items():
            _append(self._nodes[f"{where}/{key}"], np.asarray(value)[None])
        _append(self._nodes[f"{where}/step"], np.array([step]))

    def flush(self) -> None:
        """Bring everything to the disk.

        Raises
        ------
        RunError
            When the disk is full, the file cannot be written, or it was removed or replaced. In the last case
            everything was saved to a new file before, if that is possible.
        """
        with self._writing():
            self._file.flush()
            if not self._in_place():
                raise self._removed()
        self._flushed = time.monotonic()

    def _in_place(self) -> bool:
        """Return whether the path still leads to the file that is open here."""
        try:
            there = (self._directory / RUN_FILE).lstat()
        except OSError:
            return False
        return os.path.samestat(there, os.fstat(self._file.id.get_vfd_handle()))

    def _removed(self) -> RunError:
        """Save everything to a new file, close the removed one, and return the error to raise."""
        path = self._directory / RUN_FILE
        if not self._directory.is_dir():
            self._give_up()
            return moved_away(self._directory)
        gone = not os.path.lexists(path)
        target = path if gone else self._directory / f"saved-{RUN_FILE}"
        try:
            with explained(target.parent), whole_file(target) as new:
                copy_into(new, self._file, path, None)
        except RunError as error:
            saved, action = f"Its data could not be saved: {error.cause}", "Start the experiment again."
        else:
            saved = f"Everything recorded until then was saved to {target}."
            action = "Resume the run." if gone else f"Rename {target.name} to {RUN_FILE}, then resume the run."
        self._give_up()
        what = "removed" if gone else "replaced by another file"
        return RunError("The run's file is gone", f"{path} was {what} while the run was writing it. {saved}", action)

    def close(self) -> None:
        """Flush and close the file. A flush that fails was already reported; the file is closed anyway."""
        if self._refused is None:
            with suppress(RunError):
                self.flush()  # where this fails, so would the close, which HDF5 does not survive
        self._give_up()

    def _give_up(self) -> None:
        self._nodes.clear()
        with suppress(OSError, RuntimeError):  # as after a refusal, where HDF5 keeps the file open
            self._file.close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        if self._refused is not None:
            raise RunError(self._refused.title, self._refused.cause, self._refused.action)
        try:
            with explained(self._directory):
                yield
        except RunError as error:
            if error.__cause__ is not None:  # the disk refused, as `explained` says
                abandon(self._file)  # HDF5 may keep it open all the same: it is not flushed again
                self._refused = error
            elif not self._file:
                self._refused = error
            raise


def _datasets(file: Node) -> dict[str, Node]:
    """Return every dataset by its path. They stay open: the close of one hides from us that the disk was full."""
    found: dict[str, Node] = {}

    def note(path: str, node: Node) -> None:
        if isinstance(node, h5py.Dataset):
            found[path] = node

    file.visititems(note)
    return found


def _open_swmr(path: Path) -> Node:
    """Open a file as its SWMR writer at once: killed between a plain open and that, nobody could read it."""
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    access.set_libver_bounds(h5py.h5f.LIBVER_LATEST, h5py.h5f.LIBVER_LATEST)
    access.set_fclose_degree(h5py.h5f.CLOSE_STRONG)
    return h5py.File(h5py.h5f.open(os.fsencode(path), h5py.h5f.ACC_RDWR | h5py.h5f.ACC_SWMR_WRITE, access))


def _append(dataset: Node, values: np.ndarray) -> None:
    size = len(dataset)
    dataset.resize(size + len(values), axis=0)
    dataset[size:] = values
