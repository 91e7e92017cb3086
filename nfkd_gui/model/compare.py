"""What the Compare workspace shows: runs grouped by equal settings, filtered and sorted, and the chosen groups."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from PySide6.QtCore import QObject, QTimer, Signal

from nfkd.config.run_filter import FilterError, RunFilter, Value, require_known
from nfkd.protocol.run_rows import RunRow
from nfkd_gui.gc_policy import LoadingPause
from nfkd_gui.model.compare_figures import Figure, find_figures
from nfkd_gui.model.listed_runs import ListedRun, ListedRuns
from nfkd_gui.model.run_groups import (
    RunGroup,
    find_order,
    has_same_settings,
    is_in_folder,
    is_same_row,
    make_group,
    parent_of,
    sort_groups,
)
from nfkd_gui.model.run_value_store import RunValueStore
from nfkd_gui.model.setting_names import find_differing
from nfkd_gui.model.slices import SlicedWork, Steps, run_steps
from nfkd_gui.model.studio import Studio

__all__ = ["COLOURS", "CompareModel", "RunGroup", "is_condition"]
COLOURS = 8
"""Colours of chosen groups (`Tokens.run` of the theme); further ones repeat them."""
_WAIT, _AGAIN = 1000, 50
"""Milliseconds between updates while values arrive, and until one in progress is looked at again."""
_PATIENCE = 5000  # milliseconds without an answer after which garbage is collected again
_MANY = 1000  # runs that are grouped in slices, or whose values are read while no garbage is collected
_STEP = 100  # groups that are made, or runs that are filtered, in a step of the work
_CONDITION = re.compile(r"[<>=~]|\bin\s*[\[(]")


def is_condition(text: str) -> bool:
    """Return whether a filter is a condition: a text with a comparison. Any other text is words to look for."""
    return _CONDITION.search(text) is not None


@dataclass(frozen=True)
class _Prepared:
    """Groups in order and by key, with what is computed from them."""

    groups: list[RunGroup]
    by_key: dict[str, RunGroup]
    order: tuple[str, bool]
    settings: list[str]
    figures: list[Figure]


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
    preparations
        What views compute of the groups before they take them, each given the groups. Runs in slices, but after an act
        of the user, who waits for it.
    """

    groups_changed = Signal()
    chosen_changed = Signal()

    def __init__(self, studio: Studio, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._studio = studio
        self._store = RunValueStore(studio, self)
        self._listed = ListedRuns(studio)
        self._rows: dict[str, RunRow] = {}
        self._made: dict[str, RunGroup] = {}
        self._made_with: dict[str, str] = {}
        self._by_key: dict[str, RunGroup] = {}
        self._settings: list[str] | None = None
        self._figures: list[Figure] | None = None
        self._filter = RunFilter.parse("")
        self._words: list[str] = []
        self._order = ("created", True)
        self.groups: list[RunGroup] = []
        self.chosen: list[str] = []
        self.folder: str | None = None
        self.filter, self.problem, self.total = "", "", 0
        self.preparations: list[Callable[[Sequence[RunGroup]], Steps[None]]] = []
        self._work = SlicedWork(self)
        self._loading = LoadingPause()
        self._patience = QTimer(self, interval=_PATIENCE, singleShot=True)
        self._patience.timeout.connect(self._loading.end)
        self.destroyed.connect(self._loading.end)
        self._timer = QTimer(self, interval=0, singleShot=True)
        self._timer.timeout.connect(self._update_soon)
        studio.rows_changed.connect(self._on_rows)
        studio.row_changed.connect(self._on_row)
        studio.renamed.connect(self._on_renamed)
        studio.engine_changed.connect(self._end_loading)
        self._store.arrived.connect(self._take)
        self._on_rows()
        self._update()

    # --- what is shown --------------------------------------------------------------------------------------------

    def show_folder(self, folder: str | None) -> None:
        """Show the runs of one folder and the folders in it, or all; the runs folder itself stands for its own only."""
        self.folder = folder
        self._update()

    def group_seeds(self, *, grouped: bool) -> None:
        """Show runs that differ only by their seeds as one row, or each alone; many are grouped in slices."""
        self._listed.group_seeds(grouped=grouped)
        if self.run_count > _MANY:
            self._work.start(self._prepare(), self._take_prepared)
        else:
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
            if self._store.any_read:
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
        return not any(all(word in self._listed.text(each.row) for word in words) for each in self._listed.all())

    def sort_by(self, name: str, *, descending: bool) -> None:
        """Order the groups by a column, setting or figure; those without a value come last."""
        self._order = (name, descending)
        self._show(sort_groups(self.groups, *self._order))

    def names(self) -> set[str]:
        """Return every column, setting and figure that a run has."""
        return self._store.names()

    def known_values(self, name: str) -> list[Value]:
        """Return the most frequent values of a column, setting or figure, sorted."""
        return self._store.known_values(name)

    def folders(self) -> dict[str, int]:
        """Return the folders that have runs, with their number, as `count_folders` does."""
        return self._listed.folders()

    @property
    def grouped(self) -> bool:
        """Whether runs that differ only by their seeds are one row."""
        return self._listed.grouped

    @property
    def run_count(self) -> int:
        """The number of all runs."""
        return len(self._listed.all())

    def folder_of(self, row: RunRow) -> str:
        """Return the folder of a run below the runs folder, with slashes."""
        return self._listed.folder(parent_of(row.run))

    def group_of(self, key: str) -> RunGroup | None:
        """Return a shown group by its key."""
        return self._by_key.get(key)

    def settings(self) -> list[str]:
        """Return the settings that are not the same in all shown groups."""
        if self._settings is None:
            self._settings = run_steps(find_differing([each.values for each in self.groups], self._store.varied()))
        return self._settings

    def figures(self) -> list[Figure]:
        """Return the figures of students that some of the shown groups have: costs, then measures."""
        if self._figures is None:
            self._figures = run_steps(find_figures([each.values for each in self.groups], self.names()))
        return self._figures

    def values_of(self, run: str) -> Mapping[str, Value]:
        """Return the values of one run by name."""
        return self._store.values_of(run)

    def teacher_run(self, run: str) -> RunRow | None:
        """Return the run in whose directory the weights of a run's teacher are; None if there is none."""
        return self._store.teacher_run(run)

    # --- the choice -----------------------------------------------------------------------------------------------

    def choose(self, keys: Iterable[str]) -> None:
        """Choose groups; those that were chosen before keep their place, and so their colour."""
        wanted = dict.fromkeys(keys)
        kept = [key for key in self.chosen if key in wanted]
        self._set_chosen(list(dict.fromkeys([*kept, *wanted])))

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
        self._store.follow(rows.keys(), gone)
        self._rows = dict(rows)
        self._listed.reset()
        self._work.cancel()  # it may be about runs that are gone
        self._timer.start(0)
        if self._store.missing >= _MANY:
            self._loading.begin()
            self._patience.start()
        self._store.read()

    def _on_row(self, run: str) -> None:
        self._forget(run)
        row = self._rows[run] = self._studio.rows[run]
        self._listed.replace(row)
        self._store.read_again(run)
        self._start_timer()

    def _on_renamed(self, old: str, new: str) -> None:
        self._set_chosen([new if key == old else key for key in self.chosen])

    def _forget(self, run: str) -> None:
        self._store.forget(run)
        self._drop_group(run)

    def _drop_group(self, run: str) -> None:
        """Make the group of a run anew when it is next shown."""
        self._listed.forget_text(run)
        self._made.pop(self._made_with.pop(run, run), None)

    def _take(self, runs: list[str]) -> None:
        for run in runs:
            self._drop_group(run)
        if self._patience.isActive():
            self._patience.start()
        self._start_timer()

    def _start_timer(self) -> None:
        if not self._store.missing:
            self._timer.start(0)
        elif not self._timer.isActive():
            self._timer.start(_WAIT)

    # --- groups ---------------------------------------------------------------------------------------------------

    def _update(self) -> None:
        """Group, filter and sort all runs now: the user has changed what is shown."""
        self._timer.stop()
        self._work.cancel()
        groups = sort_groups(run_steps(self._find_groups()), *self._order)
        by_key = {group.key: group for group in groups}
        if not self._has_settings_of(by_key):
            self._settings = self._figures = None
        self._take_groups(groups, by_key)

    def _update_soon(self) -> None:
        """Do the same in slices: values have arrived, or runs have changed."""
        if self._work.active:  # let it end, so that something is shown; then once more
            self._timer.start(_AGAIN)
        else:
            self._work.start(self._prepare(), self._take_prepared)

    def _find_groups(self) -> Steps[list[RunGroup]]:
        listed = [each for each in self._listed.all() if is_in_folder(each.folder, self.folder)]
        self.total = len({each.group for each in listed})
        yield
        passed = yield from self._passed(listed)
        members: defaultdict[str, list[RunRow]] = defaultdict(list)
        for number, each in enumerate(passed):
            members[each.group].append(each.row)
            if number % _STEP == 0:
                yield
        groups = list[RunGroup]()
        for number, rows in enumerate(members.values()):
            groups.append(self._group(rows))
            if number % _STEP == 0:
                yield
        return groups

    def _prepare(self) -> Steps[_Prepared]:
        """Find the groups in order, and what views need of them."""
        order = self._order
        groups = yield from find_order((yield from self._find_groups()), *order)
        by_key = {group.key: group for group in groups}
        settings, figures = self._settings, self._figures
        if settings is None or figures is None or not self._has_settings_of(by_key):
            values = [group.values for group in groups]
            settings = yield from find_differing(values, self._store.varied())
            figures = yield from find_figures(values, self.names())
        for prepare in self.preparations:
            yield from prepare(groups)
        return _Prepared(groups, by_key, order, settings, figures)

    def _take_prepared(self, found: _Prepared) -> None:
        self._settings, self._figures = found.settings, found.figures
        ordered = found.order == self._order  # else the user has chosen another order meanwhile
        self._take_groups(found.groups if ordered else sort_groups(found.groups, *self._order), found.by_key)

    def _take_groups(self, ordered: list[RunGroup], by_key: dict[str, RunGroup]) -> None:
        self._by_key = by_key
        self._show(ordered)
        self._keep_chosen()
        self._end_loading()

    def _end_loading(self) -> None:
        if not self._store.missing or not self._studio.ready:
            self._patience.stop()
            self._loading.end()

    def _show(self, ordered: list[RunGroup]) -> None:
        self.groups = ordered
        self.groups_changed.emit()

    def _has_settings_of(self, groups: Mapping[str, RunGroup]) -> bool:
        """Return whether groups have the same settings as those that are shown, and figures of the same names."""
        shown = self._by_key
        return shown.keys() == groups.keys() and all(
            has_same_settings(old, groups[key]) for key, old in shown.items() if old is not groups[key]
        )

    def _keep_chosen(self) -> None:
        """Keep the chosen groups that are shown; one that got a newer run has another key."""
        if self.chosen:
            keys = [self._made_with.get(key, key) for key in self.chosen]
            self._set_chosen([key for key in dict.fromkeys(keys) if key in self._by_key])

    def _passed(self, listed: list[ListedRun]) -> Steps[list[ListedRun]]:
        if not self._words and not self._filter.text:
            return listed
        passed, words, condition = list[ListedRun](), self._words, self._filter
        try:
            for number, each in enumerate(listed):
                if number % _STEP == 0:
                    yield
                row = each.row
                if all(word in self._listed.text(row) for word in words) and (
                    words or condition.matches(self.values_of(row.run))
                ):
                    passed.append(each)
        except FilterError as error:  # a number was compared with a text
            self.problem = str(error)
            return listed
        return passed

    def _group(self, rows: Sequence[RunRow]) -> RunGroup:
        known, runs = self._made.get(rows[0].run), [row.run for row in rows]
        if known is not None and known.runs == runs:
            return known
        made = make_group(rows, self.values_of(rows[0].run), self._store.seeds)
        for run in runs:  # each is in one of them
            self._made.pop(self._made_with.get(run, run), None)
            self._made_with[run] = made.key
        self._made[made.key] = made
        return made
