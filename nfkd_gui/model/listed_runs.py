"""The runs of the studio, newest first, each with its group, its folder and its text. No widgets."""

from __future__ import annotations

from typing import NamedTuple

from nfkd.protocol.run_rows import RunRow
from nfkd_gui.model.run_groups import count_folders, folder_below, parent_of, search_text
from nfkd_gui.model.studio import Studio


class ListedRun(NamedTuple):
    """A run with what is computed from its row once: the key of its group, and its folder below the runs folder."""

    row: RunRow
    group: str
    folder: str


class ListedRuns:
    """Keeps what is computed from the rows of the studio.

    Attributes
    ----------
    grouped
        Whether runs that differ only by their seeds have the same group.
    """

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self.grouped = True
        self._runs: list[ListedRun] | None = None
        self._folders: dict[str, str] = {}
        self._counts: dict[str, int] | None = None
        self._texts: dict[str, str] = {}

    def all(self) -> list[ListedRun]:
        """Return all runs, newest first."""
        if self._runs is None:
            rows = sorted(self._studio.rows.values(), key=lambda row: row.created, reverse=True)
            self._runs = [self._listed(row) for row in rows]
        return self._runs

    def group_seeds(self, *, grouped: bool) -> None:
        """Give runs that differ only by their seeds the same group, or each its own."""
        self.grouped = grouped
        self._runs = None

    def reset(self) -> None:
        """Follow another list of runs, or another runs folder."""
        self._runs = self._counts = None
        self._folders.clear()

    def replace(self, row: RunRow) -> None:
        """Replace the row of a run; it keeps its place."""
        listed = self._runs or []
        place = next((number for number, each in enumerate(listed) if each.row.run == row.run), None)
        if place is not None:
            listed[place] = self._listed(row)

    def _listed(self, row: RunRow) -> ListedRun:
        parent = parent_of(row.run)
        group = f"{row.digest} {parent}" if self.grouped and row.digest else row.run
        return ListedRun(row, group, self.folder(parent))

    def folder(self, parent: str) -> str:
        """Return a directory below the runs folder, as `folder_below` does."""
        if parent not in self._folders:
            self._folders[parent] = folder_below(parent, self._studio.listed_folder)
        return self._folders[parent]

    def folders(self) -> dict[str, int]:
        """Return the folders that have runs, with their number, as `count_folders` does."""
        if self._counts is None:
            self._counts = count_folders(each.folder for each in self.all())
        return self._counts

    def text(self, row: RunRow) -> str:
        """Return the text of a run in which a filter looks for words."""
        if row.run not in self._texts:
            self._texts[row.run] = search_text(row)
        return self._texts[row.run]

    def forget_text(self, run: str) -> None:
        """Make the text of a run anew: its row has changed."""
        self._texts.pop(run, None)
