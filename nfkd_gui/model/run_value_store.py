"""The values of runs by name: what the engine reads of their files, and their rows. No widgets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from itertools import islice

from PySide6.QtCore import QObject, Signal

from nfkd.config.run_filter import Value
from nfkd.protocol.comparing import ReadRunValues, RunValues, SeedValues
from nfkd.protocol.events import ErrorInfo
from nfkd.protocol.requests import Reply
from nfkd.protocol.run_rows import RunRow
from nfkd_gui.model.run_groups import TEACHER_FROM, TEACHER_WEIGHTS, containing_run, row_values
from nfkd_gui.model.setting_names import is_setting
from nfkd_gui.model.studio import Studio

_CHUNK = 50  # runs in a request: its reply, of 0.5 MB, is decoded and merged in a few milliseconds
_KNOWN_VALUES = 50


class RunValueStore(QObject):
    """Reads the values of the studio's runs from the engine, in parts.

    Attributes
    ----------
    seeds
        Figures of each seed that has ended, by run.
    """

    arrived = Signal(list)
    """Runs whose values the engine has sent."""

    def __init__(self, studio: Studio, parent: QObject) -> None:
        super().__init__(parent)
        self._studio = studio
        self.seeds: dict[str, list[SeedValues]] = {}
        self._engine: dict[str, dict[str, Value]] = {}
        self._values: dict[str, Mapping[str, Value]] = {}
        self._names: set[str] = set()
        self._shared: dict[str, Value] | None = None
        self._stale: dict[str, None] = {}
        studio.engine_changed.connect(self.read)

    @property
    def missing(self) -> int:
        """Number of runs whose values are neither known nor asked for."""
        return len(self._stale)

    @property
    def any_read(self) -> bool:
        """Whether the engine has sent values of a run."""
        return bool(self._engine)

    def names(self) -> set[str]:
        """Return every column, setting and figure that a run has."""
        return self._names

    def varied(self) -> set[str] | None:
        """Return the names without the settings that all runs share; None until the values of all are known."""
        known = self._engine.keys() >= self._studio.rows.keys()
        return self._names - (self._shared or {}).keys() if known else None

    def known_values(self, name: str) -> list[Value]:
        """Return the most frequent values of a column, setting or figure, sorted."""
        counts = Counter(value for values in self._values.values() if (value := values.get(name)) not in (None, ""))
        found = [value for value, _ in counts.most_common(_KNOWN_VALUES)]
        return sorted(found, key=lambda value: (isinstance(value, str), value))

    def values_of(self, run: str) -> Mapping[str, Value]:
        """Return the values of one run by name."""
        found = self._values.get(run)
        return found if found is not None else self._merge(run)

    def teacher_run(self, run: str) -> RunRow | None:
        """Return the run in whose directory the weights of a run's teacher are; None if there is none."""
        weights = self._engine.get(run, {}).get(TEACHER_WEIGHTS)
        found = containing_run(weights, self._studio.rows) if isinstance(weights, str) else None
        return found if found is not None and found.run != run else None

    # --- following the runs ---------------------------------------------------------------------------------------

    def follow(self, rows: Collection[str], gone: Collection[str]) -> None:
        """Follow another list of runs, without those that are gone."""
        for run in gone:
            self.forget(run)
            self._engine.pop(run, None)
            self.seeds.pop(run, None)
        wanted = {run for run in rows if run in self._stale or run not in self._engine}
        self._stale = dict.fromkeys(sorted(wanted))
        if gone:
            self._names = {name for values in self._values.values() for name in values}

    def forget(self, run: str) -> None:
        """Merge the values of a run again when they are next asked for: its row has changed."""
        self._values.pop(run, None)

    def read_again(self, run: str) -> None:
        """Ask for the values of a run, whose files have changed."""
        self._stale[run] = None
        self.read()

    def read(self) -> None:
        """Ask for the values of runs that are not known or have changed."""
        if not self._stale or not self._studio.ready:
            return
        runs = list(islice(self._stale, _CHUNK))
        for run in runs:
            del self._stale[run]

        def refuse(error: ErrorInfo) -> None:
            known = (run for run in runs if run in self._studio.rows)
            self._stale.update(dict.fromkeys(known))  # read when the engine is back
            if self._studio.ready:
                self._studio.failed.emit(error)

        self._studio.ask(ReadRunValues(runs=runs, folder=str(self._studio.listed_folder)), self._take, refuse)

    def _take(self, reply: Reply) -> None:
        if isinstance(reply, RunValues):
            self._engine |= reply.values
            self.seeds |= reply.seeds
            for run in reply.values:
                self.forget(run)
                if run in self._studio.rows:
                    self._merge(run)  # now, as all at once would take long
            self.arrived.emit(list(reply.values))
            self.read()

    def _merge(self, run: str) -> Mapping[str, Value]:
        """Return the values of a run: what the engine knows, and its row, which may be newer."""
        row, engine = self._studio.rows[run], self._engine.get(run, {})
        values = {**engine, **row_values(row)}
        teacher = self.teacher_run(run) if engine.get(TEACHER_WEIGHTS) else None
        if teacher is not None:
            values[TEACHER_FROM] = teacher.name
        self._values[run] = values
        self._names.update(values)
        if engine:
            self._note_shared(values)
        return values

    def _note_shared(self, values: Mapping[str, Value]) -> None:
        if self._shared is None:
            self._shared = {name: value for name, value in values.items() if is_setting(name)}
        elif not self._shared.items() <= values.items():
            self._shared = {name: value for name, value in self._shared.items() if (name, value) in values.items()}
