"""The only writer of a seed's HDF5 file."""

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
    CurveBatch,
    CurvePoints,
    DensityDrawn,
    InterpolationDrawn,
    MatchingMeasured,
    RunEvent,
    SamplesDrawn,
    SeedStarted,
    StageFinished,
)
from nfkd.protocol.flags import stored_flags
from nfkd.protocol.records import SYSTEM
from nfkd.protocol.roles import Role
from nfkd.runs import schema
from nfkd.runs.disk import abandon, disk_errors, whole_file
from nfkd.runs.errors import RunError, moved_away
from nfkd.runs.layout import RUN_FILE
from nfkd.runs.opening import writer_access
from nfkd.runs.recovery import copy_cut, copy_into
from nfkd.runs.schema import Node

_FLUSH_SECONDS = 1.0
_READER_SECONDS = (0.01, 0.1, 0.5, 2.0)


class RunWriter:
    """Writes a seed's events into its file, which others can read at any time (SWMR: single writer, multiple readers).

    All datasets are created at the start, because readers fail if a writer creates more later. Events without a
    dataset are refused.

    Parameters
    ----------
    directory
        Of the seed.
    config
        The experiment.
    started
        The event with the plans of all stages.
    device, threads, units, data
        For the file's attributes; `units` is the scaling of the data and `data` its fingerprint, both as JSON.

    Raises
    ------
    RunError
        When the file cannot be created.
    """

    def __init__(
        self,
        directory: Path,
        config: ExperimentConfig,
        started: SeedStarted,
        *,
        device: str,
        threads: int,
        units: str = "",
        data: str = "",
    ) -> None:
        path = directory / RUN_FILE
        with disk_errors(directory), whole_file(path) as file:
            schema.create(file, config, started, device=device, threads=threads, units=units, data=data)
        self._open(directory)

    def _open(self, directory: Path) -> None:
        self._directory = directory
        self._error: RunError | None = None
        self._points: dict[str, list[CurveBatch]] = {}  # that wait for a flush, by the group of their curve
        with disk_errors(directory):
            self._file = _open_swmr(directory / RUN_FILE)
        self._nodes = _datasets(self._file)
        self._flushed = time.monotonic()

    @classmethod
    def reopen(cls, directory: Path, at: Mapping[Role, int | None]) -> RunWriter:
        """Continue a file. It is first replaced by a copy without the rows after given steps.

        Parameters
        ----------
        directory
            Of the seed.
        at
            Last step to keep of each stage, as in `nfkd.runs.recovery.copy_cut`.

        Raises
        ------
        RunError
            When the file cannot be read or the copy cannot be written; the file then stays as it is.
        """
        path = directory / RUN_FILE
        with disk_errors(directory):
            copy_cut(path, path, at)
        writer = cls.__new__(cls)
        writer._open(directory)  # noqa: SLF001 - its own class
        return writer

    def handle(self, event: RunEvent) -> None:
        """Write an event; events that the file does not store are ignored, and points of curves wait for a flush.

        Raises
        ------
        RunError
            When the disk is full, the file cannot be written, or a curve is not in the plan.
        """
        with self._writing():
            match event:
                case CurvePoints():
                    self._curves(event)
                case SamplesDrawn():
                    where = schema.picture_group(event, "samples")
                    flags = self._flags(where, event.flags, event.samples.shape[:1])
                    self._row(where, event.step, temperature=event.temperature, images=event.samples, **flags)
                case InterpolationDrawn():
                    where = schema.picture_group(event, "interpolation")
                    self._nodes[f"{where}/mode"][0] = event.mode.encode()
                    self._nodes[f"{where}/alpha"][...] = event.alpha
                    flags = self._flags(where, event.flags, event.images.shape[:2])
                    self._row(where, event.step, images=event.images, **flags)
                case DensityDrawn():
                    where = schema.picture_group(event, "density")
                    self._nodes[f"{where}/extent"][...] = event.extent
                    self._row(where, event.step, log_prob=event.log_prob)
                case MatchingMeasured():
                    self._row(f"{event.stage}/matching", event.step, error=event.error)
                case StageFinished():
                    for name in schema.FIGURES:
                        self._nodes[f"summary/{event.stage}/{name}"][0] = schema.figure(event.summary, name)
                case _:
                    return
        if time.monotonic() - self._flushed > _FLUSH_SECONDS:
            self.flush()

    def _curves(self, event: CurvePoints) -> None:
        for name, batch in event.curves.items():
            where = f"{event.stage}/curves/{name}"
            if f"{where}/step" not in self._nodes:
                if name.startswith(SYSTEM):
                    continue  # the file is of an older version, or was begun on another device
                raise RunError(
                    title="The run cannot be written", cause=f"The curve {name} is not in the plan of its stage."
                )
            self._points.setdefault(where, []).append(batch)

    def _append_points(self) -> None:
        """Append the points of all curves; together, since each append takes as long as one of a thousand points."""
        points, self._points = self._points, {}
        for where, batches in points.items():
            columns = [(batch.values, batch.times, batch.steps) for batch in batches]
            # The steps come last, because readers count them.
            for key, values in zip(("value", "time", "step"), zip(*columns, strict=True), strict=True):
                _append(self._nodes[f"{where}/{key}"], np.concatenate(values))

    def _flags(self, where: str, flags: np.ndarray | None, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
        """Return the flags of a row; none in a file of an older version, which has no place for them."""
        return {"flags": stored_flags(flags, shape)} if f"{where}/flags" in self._nodes else {}

    def _row(self, where: str, step: int, **values: np.ndarray | float) -> None:
        for key, value in values.items():
            _append(self._nodes[f"{where}/{key}"], np.asarray(value)[None])
        _append(self._nodes[f"{where}/step"], np.array([step]))

    def flush(self) -> None:
        """Write all data to the disk.

        Raises
        ------
        RunError
            When the disk is full, the file cannot be written, or it was removed or replaced. In the last case the data
            is first saved to a new file, if possible.
        """
        with self._writing():
            self._append_points()
            self._file.flush()
            if not self._path_is_ours():
                raise self._save_elsewhere()
        self._flushed = time.monotonic()

    def _path_is_ours(self) -> bool:
        """Return whether the path still leads to the open file."""
        try:
            status = (self._directory / RUN_FILE).lstat()
        except OSError:
            return False
        return os.path.samestat(status, os.fstat(self._file.id.get_vfd_handle()))

    def _save_elsewhere(self) -> RunError:
        """Save all data to a new file, close the removed or replaced one, and return the error to raise."""
        path = self._directory / RUN_FILE
        if not self._directory.is_dir():
            self._close()
            return moved_away(self._directory)
        gone = not os.path.lexists(path)
        target = path if gone else self._directory / f"saved-{RUN_FILE}"
        try:
            with disk_errors(target.parent), whole_file(target) as new:
                copy_into(new, self._file, path, None)
        except RunError as error:
            saved, action = f"Its data could not be saved: {error.cause}", "Start the experiment again."
        else:
            saved = f"Its data was saved to {target}."
            action = "Resume the run." if gone else f"Rename {target.name} to {RUN_FILE}, then resume the run."
        self._close()
        what = "removed" if gone else "replaced by another file"
        return RunError("The run's file is gone", f"{path} was {what} while the run was writing to it. {saved}", action)

    def close(self) -> None:
        """Flush and close the file. A flush that fails was already reported; the file is closed anyway."""
        if self._error is None:
            with suppress(RunError):
                self.flush()  # an error in HDF5's own close would crash the process
        self._close()

    def _close(self) -> None:
        self._nodes.clear()
        with suppress(OSError, RuntimeError):  # HDF5 may keep the file open after an error
            self._file.close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        if self._error is not None:
            raise RunError(self._error.title, self._error.cause, self._error.action)
        try:
            with disk_errors(self._directory):
                yield
        except RunError as error:
            if error.__cause__ is not None:  # an error of the disk, from `disk_errors`
                abandon(self._file)
                self._error = error
            elif not self._file:
                self._error = error
            raise


def _datasets(file: Node) -> dict[str, Node]:
    """Return all datasets by path. They stay open, because closing one hides the error of a full disk."""
    found: dict[str, Node] = {}

    def note(path: str, node: Node) -> None:
        if isinstance(node, h5py.Dataset):
            found[path] = node

    file.visititems(note)
    return found


def _open_swmr(path: Path) -> Node:
    """Open a file directly in SWMR mode; after a kill between a normal open and SWMR mode nobody could read it.

    HDF5's own lock is not used: a reader at this moment would fail the run. `run_lock` excludes a second writer.
    """
    flags = h5py.h5f.ACC_RDWR | h5py.h5f.ACC_SWMR_WRITE
    for seconds in _READER_SECONDS:  # a reader in this process holds a new file only for a moment
        try:
            return h5py.File(h5py.h5f.open(os.fsencode(path), flags, writer_access()))
        except OSError as error:
            if "already open" not in str(error) and "close degree" not in str(error):
                raise
            time.sleep(seconds)
    return h5py.File(h5py.h5f.open(os.fsencode(path), flags, writer_access()))


def _append(dataset: Node, values: np.ndarray) -> None:
    """Add rows at the end, by h5py's low-level interface: its slices take three times as long for a few numbers."""
    target, values = dataset.id, np.ascontiguousarray(values)
    size, *row = target.shape
    target.set_extent((size + len(values), *row))
    space = target.get_space()
    space.select_hyperslab((size, *[0] * len(row)), (len(values), *row))
    target.write(h5py.h5s.create_simple(values.shape), space, values)
