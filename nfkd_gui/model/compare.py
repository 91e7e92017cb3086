"""What the Compare workspace shows: runs grouped by equal settings, filtered and sorted, and the chosen groups."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from PySide6.QtCore import QObject, QTimer, Signal

from nfkd.config.run_filter import FilterError, RunFilter, Value, require_known
from nfkd.protocol.comparing import ReadRunValues, RunValues, SeedValues
from nfkd.protocol.events import ErrorInfo
from nfkd.protocol.records import RunRow
from nfkd.protocol.requests import Reply
from nfkd_gui.model.compare_figures import FIGURES, Figure, known_figures
from nfkd_gui.model.run_groups import (
    TEACHER_FROM,
    TEACHER_WEIGHTS,
    RunGroup,
    containing_run,
    count_folders,
    folder_below,
    has_same_settings,
    is_in_folder,
    is_same_row,
    make_group,
    parent_of,
    row_values,
    search_text,
)
from nfkd_gui.model.setting_names import differing_settings
from nfkd_gui.model.studio import Studio

__all__ = ["COLOURS", "CompareModel", "RunGroup", "is_condition"]
COLOURS = 8
"""Colours of chosen groups (`Tokens.run` of the theme); further ones repeat them."""
_CHUNK = 500  # runs in a request for values
_WAIT = 1000  # milliseconds between two updates while values arrive
_CONDITION = re.compile(r"[<>=~]|\bin\s*[\[(]")
_KNOWN_VALUES = 50


def is_condition(text: str) -> bool:
    """Return whether a filter is a condition: a text with a comparison. Any other text is words to look for."""
    return _CONDITION.search(text) is not None


@dataclass(frozen=True)
class _Listed:
    """A run of the table with what is computed from its row once."""

    row: RunRow
    group: str
    folder: str


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
    filter
        The text of the filter: a condition, or words that a run's name, data, flows, loss, state, tags … contain.
    problem
        Why the filter cannot be used; empty otherwise. The last usable filter then stays.
    total
        Number of groups in the folder, with those that do not pass the filter.
    """

    groups_changed = Signal()
    chosen_changed = Signal()

    def __init__(self, studio: Studio, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._studio = studio
        self._engine: dict[str, dict[str, Value]] = {}
        self._seeds: dict[str, list[SeedValues]] = {}
        self._values: dict[str, Mapping[str, Value]] = {}
        self._names: set[str] = set()
        self._texts: dict[str, str] = {}
        self._stale: set[str] = set()
        self._rows: dict[str, RunRow] = {}
        self._listed: list[_Listed] | None = None
        self._folders: dict[str, str] = {}
        self._made: dict[str, RunGroup] = {}
        self._made_with: dict[str, str] = {}
        self._by_key: dict[str, RunGroup] = {}
        self._settings: list[str] | None = None
        self._figures: list[Figure] | None = None
        self._filter = RunFilter.parse("")
        self._words: list[str] = []
        self._sort, self._descending = "created", True
        self.groups: list[RunGroup] = []
        self.chosen: list[str] = []
        self.folder: str | None = None
        self.grouped = True
        self.filter, self.problem = "", ""
        self.total = 0
        self._timer = QTimer(self, interval=0, singleShot=True)
        self._timer.timeout.connect(self._update)
        studio.rows_changed.connect(self._on_rows)
        studio.row_changed.connect(self._on_row)
        studio.renamed.connect(self._on_renamed)
        studio.engine_changed.connect(self._read)
        self._on_rows()
        self._update()

    # --- what is shown --------------------------------------------------------------------------------------------

    def show_folder(self, folder: str | None) -> None:
        """Show the runs of one folder and the folders in it, or all; the runs folder itself stands for its own only."""
        self.folder = folder
        self._update()

    def group_seeds(self, *, grouped: bool) -> None:
        """Show runs that differ only by their seeds as one row, or each alone."""
        self.grouped = grouped
        self._listed = None
        self._made.clear()
        self._update()

    def filter_by(self, text: str) -> None:
        """Show the runs that pass a filter; `problem` says why one cannot be used.

        A text with a comparison is a condition (see `nfkd.config.run_filter`). Of any other text, a run must have each
        word in its name, data, flows, loss, state, verdict, tags or note. The beginning of a name that is in no run's
        texts is the beginning of a condition, and filters nothing yet.
        """
        self.filter = text
        condition = text if is_condition(text) else ""
        try:
            found = RunFilter.parse(condition)
            if self._engine:
                require_known(found.names, self.names())
        except FilterError as error:
            self.problem = str(error)
        else:
            self.problem = ""
            words = [] if condition else text.casefold().split()
            if condition or not self._begins_condition(text.strip(), words):
                self._filter, self._words = found, words
        self._update()

    def _begins_condition(self, text: str, words: list[str]) -> bool:
        if not text or not any(name.startswith(text) for name in self.names()):
            return False
        return not any(all(word in self._text(each.row) for word in words) for each in self._list())

    def sort_by(self, name: str, *, descending: bool) -> None:
        """Order the groups by a column, setting or figure; those without a value come last."""
        self._sort, self._descending = name, descending
        self._show(self.groups)

    def names(self) -> set[str]:
        """Return every column, setting and figure that a run has."""
        return self._names

    def known_values(self, name: str) -> list[Value]:
        """Return the most frequent values of a column, setting or figure, sorted."""
        counts = Counter(value for values in self._values.values() if (value := values.get(name)) not in (None, ""))
        found = [value for value, _ in counts.most_common(_KNOWN_VALUES)]
        return sorted(found, key=lambda value: (isinstance(value, str), value))

    def folders(self) -> dict[str, int]:
        """Return the folders that have runs, with their number, as `count_folders` does."""
        return count_folders(each.folder for each in self._list())

    @property
    def run_count(self) -> int:
        """The number of all runs."""
        return len(self._list())

    def folder_of(self, row: RunRow) -> str:
        """Return the folder of a run below the runs folder, with slashes."""
        return self._folder(parent_of(row.run))

    def group_of(self, key: str) -> RunGroup | None:
        """Return a shown group by its key."""
        return self._by_key.get(key)

    def settings(self) -> list[str]:
        """Return the settings that are not the same in all shown groups."""
        if self._settings is None:
            self._settings = differing_settings([group.values for group in self.groups])
        return self._settings

    def figures(self) -> list[Figure]:
        """Return the figures of students that some of the shown groups have: costs, then measures."""
        if self._figures is None:
            self._figures = known_figures(FIGURES.values(), [group.values for group in self.groups])
        return self._figures

    def values_of(self, run: str) -> Mapping[str, Value]:
        """Return the values of one run by name."""
        found = self._values.get(run)
        return found if found is not None else self._merge(run)

    def teacher_run(self, run: str) -> RunRow | None:
        """Return the run in whose directory the weights of a run's teacher are; None if there is none."""
        weights = self._engine.get(run, {}).get(TEACHER_WEIGHTS)
        found = containing_run(weights, self._studio.rows) if isinstance(weights, str) else None
        return found if found is not None and found.run != run else None

    # --- the choice -----------------------------------------------------------------------------------------------

    def choose(self, keys: Iterable[str]) -> None:
        """Choose groups; those that were chosen before keep their place, and so their colour."""
        wanted = dict.fromkeys(keys)
        kept = [key for key in self.chosen if key in wanted]
        known = set(kept)
        self._set_chosen([*kept, *(key for key in wanted if key not in known)])

    def toggle(self, key: str) -> None:
        """Add a group to the choice, or remove it."""
        self.choose([other for other in self.chosen if other != key] if key in self.chosen else [*self.chosen, key])

    def chosen_groups(self) -> list[RunGroup]:
        """Return the chosen groups that are shown."""
        return [self._by_key[key] for key in self.chosen if key in self._by_key]

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
        gone = self._rows.keys() - rows.keys()
        for run, row in self._rows.items():
            if run in gone or not is_same_row(row, rows[run]):
                self._forget(run)
        for run in gone:
            self._engine.pop(run, None)
            self._seeds.pop(run, None)
        self._rows = dict(rows)
        self._listed = None
        self._folders.clear()
        self._stale = (self._stale | (rows.keys() - self._engine.keys())) & rows.keys()
        if gone:
            self._names = {name for values in self._values.values() for name in values}
        self._timer.start(0)
        self._read()

    def _on_row(self, run: str) -> None:
        self._forget(run)
        row = self._rows[run] = self._studio.rows[run]
        listed = self._listed or []
        place = next((number for number, each in enumerate(listed) if each.row.run == run), None)
        if place is not None:
            listed[place] = self._listed_of(row)
        self._stale.add(run)
        self._read()
        self._start_timer()

    def _on_renamed(self, old: str, new: str) -> None:
        self._set_chosen([new if key == old else key for key in self.chosen])

    def _forget(self, run: str) -> None:
        self._values.pop(run, None)
        self._texts.pop(run, None)
        self._made.pop(self._made_with.pop(run, run), None)

    def _read(self) -> None:
        """Ask for the values of runs that are not known or have changed."""
        if not self._stale or not self._studio.ready:
            return
        runs = sorted(self._stale)[:_CHUNK]
        self._stale -= set(runs)

        def refuse(error: ErrorInfo) -> None:
            self._stale.update(run for run in runs if run in self._studio.rows)  # read when the engine is back
            if self._studio.ready:
                self._studio.failed.emit(error)

        self._studio.ask(ReadRunValues(runs=runs, folder=str(self._studio.listed_folder)), self._take, refuse)

    def _take(self, reply: Reply) -> None:
        if isinstance(reply, RunValues):
            self._engine |= reply.values
            self._seeds |= reply.seeds
            for run in reply.values:
                self._forget(run)
                if run in self._studio.rows:
                    self._merge(run)  # now, as all at once would take long
            self._start_timer()
            self._read()

    def _start_timer(self) -> None:
        if not self._timer.isActive():
            self._timer.start(_WAIT if self._stale else 0)
        elif not self._stale:
            self._timer.start(0)

    # --- groups ---------------------------------------------------------------------------------------------------

    def _update(self) -> None:
        listed = [each for each in self._list() if is_in_folder(each.folder, self.folder)]
        self.total = len({each.group for each in listed})
        passed = self._passed(listed)
        members: defaultdict[str, list[RunRow]] = defaultdict(list)
        for each in passed:
            members[each.group].append(each.row)
        self._show([self._group(rows) for rows in members.values()])
        self._keep_chosen()

    def _show(self, groups: Sequence[RunGroup]) -> None:
        before = self._by_key
        self.groups = self._in_order(groups)
        self._by_key = {group.key: group for group in self.groups}
        if before.keys() != self._by_key.keys() or not all(
            has_same_settings(old, self._by_key[key]) for key, old in before.items() if old is not self._by_key[key]
        ):
            self._settings = self._figures = None
        self.groups_changed.emit()

    def _keep_chosen(self) -> None:
        """Keep the chosen groups that are shown; one that got a newer run has another key."""
        if self.chosen:
            keys = {run: group.key for group in self.groups for run in group.runs}
            self._set_chosen(list(dict.fromkeys(keys[key] for key in self.chosen if key in keys)))

    def _list(self) -> list[_Listed]:
        """Return all runs, newest first."""
        if self._listed is None:
            rows = sorted(self._studio.rows.values(), key=lambda row: row.created, reverse=True)
            self._listed = [self._listed_of(row) for row in rows]
        return self._listed

    def _listed_of(self, row: RunRow) -> _Listed:
        parent = parent_of(row.run)
        group = f"{row.digest} {parent}" if self.grouped and row.digest else row.run
        return _Listed(row, group, self._folder(parent))

    def _folder(self, parent: str) -> str:
        if parent not in self._folders:
            self._folders[parent] = folder_below(parent, self._studio.listed_folder)
        return self._folders[parent]

    def _passed(self, listed: list[_Listed]) -> list[_Listed]:
        if self._words:
            return [each for each in listed if all(word in self._text(each.row) for word in self._words)]
        if not self._filter.text:
            return listed
        try:
            return [each for each in listed if self._filter.matches(self.values_of(each.row.run))]
        except FilterError as error:  # a number was compared with a text
            self.problem = str(error)
            return listed

    def _text(self, row: RunRow) -> str:
        if row.run not in self._texts:
            self._texts[row.run] = search_text(row)
        return self._texts[row.run]

    def _merge(self, run: str) -> Mapping[str, Value]:
        """Return the values of a run: what the engine knows, and its row, which may be newer."""
        row, engine = self._studio.rows[run], self._engine.get(run, {})
        values = {**engine, **row_values(row)}
        teacher = self.teacher_run(run) if engine.get(TEACHER_WEIGHTS) else None
        if teacher is not None:
            values[TEACHER_FROM] = teacher.name
        self._values[run] = values
        self._names.update(values)
        return values

    def _group(self, rows: Sequence[RunRow]) -> RunGroup:
        known = self._made.get(rows[0].run)
        if known is not None and len(known.rows) == len(rows) and known.runs == [row.run for row in rows]:
            return known
        made = make_group(rows, self.values_of(rows[0].run), self._seeds)
        self._made[made.key] = made
        self._made_with.update(dict.fromkeys(made.runs, made.key))
        return made

    def _in_order(self, groups: Iterable[RunGroup]) -> list[RunGroup]:
        name = self._sort
        known, rest = list[tuple[tuple[bool, float, str], RunGroup]](), list[RunGroup]()
        for group in groups:
            value = group.values.get(name)
            if value is None or value == "":
                rest.append(group)
            else:
                key = (True, 0.0, value.casefold()) if isinstance(value, str) else (False, float(value), "")
                known.append((key, group))
        known.sort(key=lambda pair: pair[0], reverse=self._descending)
        return [*(group for _, group in known), *rest]
