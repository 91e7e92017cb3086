"""What the Compare workspace shows: runs grouped by equal settings, filtered and sorted, and the chosen groups."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from PySide6.QtCore import QObject, QTimer, Signal

from nfkd.config.run_filter import FilterError, RunFilter, Value, require_known
from nfkd.protocol.comparing import ReadRunValues, RunValues, SeedValues
from nfkd.protocol.records import RunRow
from nfkd.protocol.requests import Reply
from nfkd_gui.model.studio import Studio

COLOURS = 8
"""Colours of chosen groups (`run_1` … `run_8` of the theme); further ones repeat them."""
_CHUNK = 500  # runs in a request for values


@dataclass(frozen=True, eq=False)
class RunGroup:
    """One row of the table: a run, or runs that differ only by their seeds.

    Attributes
    ----------
    key
        The directory of its newest run, by which the group is known.
    rows
        Its runs, newest first.
    values
        Columns, settings and figures. Figures are means over the seeds of all runs.
    deviations
        Standard deviations over seeds of the figures of at least two seeds.
    seeds
        Figures of each seed, as (run, figures).
    """

    key: str
    rows: tuple[RunRow, ...]
    values: Mapping[str, Value]
    deviations: Mapping[str, float]
    seeds: tuple[tuple[RunRow, SeedValues], ...]

    @property
    def name(self) -> str:
        """The name of its newest run."""
        return self.rows[0].name

    @property
    def runs(self) -> list[str]:
        """The directories of its runs."""
        return [row.run for row in self.rows]


class CompareModel(QObject):
    """Follows the studio's runs, reads their values from the engine, and holds filter, order and choice.

    Attributes
    ----------
    groups
        The groups of the folder that pass the filter, in order.
    chosen
        Keys of the chosen groups, in the order of their choice.
    folder
        Folder below the runs folder, such as ``digits/two steps``; None for all.
    problem
        Why the filter cannot be used; empty otherwise. The last usable filter then stays.
    """

    groups_changed = Signal()
    chosen_changed = Signal()

    def __init__(self, studio: Studio, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._studio = studio
        self._values: dict[str, dict[str, Value]] = {}
        self._seeds: dict[str, list[SeedValues]] = {}
        self._stale: set[str] = set()
        self._filter = RunFilter.parse("")
        self._sort, self._descending = "created", True
        self.groups: list[RunGroup] = []
        self.chosen: list[str] = []
        self.folder: str | None = None
        self.grouped = True
        self.problem = ""
        self._timer = QTimer(self, interval=0, singleShot=True)
        self._timer.timeout.connect(self._update)
        studio.rows_changed.connect(self._on_rows)
        studio.row_changed.connect(self._on_row)
        studio.renamed.connect(self._on_renamed)
        studio.engine_changed.connect(self._read)
        self._on_rows()

    # --- what is shown --------------------------------------------------------------------------------------------

    def show_folder(self, folder: str | None) -> None:
        """Show the runs of one folder, or all."""
        self.folder = folder
        self._update()

    def group_seeds(self, *, grouped: bool) -> None:
        """Show runs that differ only by their seeds as one row, or each alone."""
        self.grouped = grouped
        self._update()

    def filter_by(self, text: str) -> None:
        """Show the runs that pass a filter (see `nfkd.config.run_filter`); `problem` says why one cannot be used."""
        try:
            found = RunFilter.parse(text)
            if self._values:
                require_known(found.names, self.names())
        except FilterError as error:
            self.problem = str(error)
        else:
            self._filter, self.problem = found, ""
        self._update()

    def sort_by(self, name: str, *, descending: bool) -> None:
        """Order the groups by a column, setting or figure; those without a value come last."""
        self._sort, self._descending = name, descending
        self._update()

    def names(self) -> set[str]:
        """Return every column, setting and figure that a run has."""
        return {name for values in self._values.values() for name in values}

    def folders(self) -> list[str]:
        """Return the folders that have runs, sorted; the runs folder itself is the empty text."""
        return sorted({self.folder_of(row) for row in self._studio.rows.values()})

    def folder_of(self, row: RunRow) -> str:
        """Return the folder of a run below the runs folder, with slashes."""
        parent, base = PurePath(row.run).parent, self._studio.listed_folder
        return parent.relative_to(base).as_posix().removeprefix(".") if parent.is_relative_to(base) else ""

    def group_of(self, key: str) -> RunGroup | None:
        """Return a shown group by its key."""
        return next((group for group in self.groups if group.key == key), None)

    # --- the choice -----------------------------------------------------------------------------------------------

    def choose(self, keys: Iterable[str]) -> None:
        """Choose groups; those that were chosen before keep their place, and so their colour."""
        wanted = list(dict.fromkeys(keys))
        kept = [key for key in self.chosen if key in wanted]
        self._set_chosen([*kept, *(key for key in wanted if key not in kept)])

    def toggle(self, key: str) -> None:
        """Add a group to the choice, or remove it."""
        self.choose([other for other in self.chosen if other != key] if key in self.chosen else [*self.chosen, key])

    def chosen_groups(self) -> list[RunGroup]:
        """Return the chosen groups that are shown."""
        groups = {group.key: group for group in self.groups}
        return [groups[key] for key in self.chosen if key in groups]

    def colour_of(self, key: str) -> int | None:
        """Return the index of a group's colour, 0 to 7; None if it is not chosen."""
        return self.chosen.index(key) % COLOURS if key in self.chosen else None

    def _set_chosen(self, chosen: list[str]) -> None:
        if chosen != self.chosen:
            self.chosen = chosen
            self.chosen_changed.emit()

    # --- following the studio -------------------------------------------------------------------------------------

    def _on_rows(self) -> None:
        rows = self._studio.rows
        for known in (self._values, self._seeds):
            for run in known.keys() - rows.keys():
                del known[run]
        self._stale |= rows.keys() - self._values.keys()
        self._stale &= rows.keys()
        self._timer.start()
        self._read()

    def _on_row(self, run: str) -> None:
        self._stale.add(run)
        self._read()
        self._timer.start()

    def _on_renamed(self, old: str, new: str) -> None:
        self._set_chosen([new if key == old else key for key in self.chosen])

    def _read(self) -> None:
        """Ask for the values of runs that are not known or have changed."""
        if not self._stale or not self._studio.ready:
            return
        runs = sorted(self._stale)[:_CHUNK]
        self._stale -= set(runs)
        self._studio.ask(ReadRunValues(runs=runs), self._take, self._studio.failed.emit)

    def _take(self, reply: Reply) -> None:
        if isinstance(reply, RunValues):
            self._values |= reply.values
            self._seeds |= reply.seeds
            self._timer.start()
            self._read()

    # --- groups ---------------------------------------------------------------------------------------------------

    def _update(self) -> None:
        rows = [row for row in self._studio.rows.values() if self.folder is None or self.folder_of(row) == self.folder]
        try:
            rows = [row for row in rows if self._filter.matches(self._values.get(row.run, {}))]
        except FilterError as error:  # a number was compared with a text
            self.problem = str(error)
        self.groups = self._in_order([self._group(members) for members in self._members(rows)])
        self.groups_changed.emit()
        shown = {group.key for group in self.groups}
        self._set_chosen([key for key in self.chosen if key in shown])

    def _members(self, rows: Sequence[RunRow]) -> list[list[RunRow]]:
        """Return the rows of each group, newest first."""
        found: defaultdict[str, list[RunRow]] = defaultdict(list)
        for row in sorted(rows, key=lambda row: row.created, reverse=True):
            found[f"{row.digest} {PurePath(row.run).parent}" if self.grouped and row.digest else row.run].append(row)
        return list(found.values())

    def _group(self, rows: Sequence[RunRow]) -> RunGroup:
        seeds = [(row, seed) for row in rows for seed in self._seeds.get(row.run, [])]
        values, deviations = dict(self._values.get(rows[0].run, {})), dict[str, float]()
        for name in {name for _, seed in seeds for name in seed.values}:
            numbers = [float(value) for _, seed in seeds if isinstance(value := seed.values.get(name), (int, float))]
            if numbers and len(rows) > 1:
                values[name] = statistics.fmean(numbers)
            if len(numbers) > 1:
                deviations[name] = statistics.stdev(numbers)
        return RunGroup(rows[0].run, tuple(rows), values, deviations, tuple(seeds))

    def _in_order(self, groups: list[RunGroup]) -> list[RunGroup]:
        known = [group for group in groups if group.values.get(self._sort) is not None]
        rest = [group for group in groups if group.values.get(self._sort) is None]
        return [*sorted(known, key=self._key, reverse=self._descending), *rest]

    def _key(self, group: RunGroup) -> tuple[bool, float, str]:
        value = group.values[self._sort]
        return (True, 0.0, value.casefold()) if isinstance(value, str) else (False, float(value or 0), "")
