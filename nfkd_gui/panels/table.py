"""The table panel: the columns of test rows and of samples of every flow, in the units of the data."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PySide6.QtCore import Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QSplitter, QVBoxLayout, QWidget

from nfkd.protocol.inspection import MAX_COLUMNS_TESTED, ColumnTests, CompareColumns, ReadTable, TableRows
from nfkd.protocol.requests import Reply
from nfkd.protocol.roles import DATA, Role, role_label
from nfkd_gui.model.csv_files import Table
from nfkd_gui.model.inspection import Inspection
from nfkd_gui.model.studio import Studio
from nfkd_gui.panels.asking import AskingPanel
from nfkd_gui.panels.table_columns import ColumnsView
from nfkd_gui.plotting.pair_grid import PairGrid
from nfkd_gui.theme import role_colour, scaled, set_space, set_type
from nfkd_gui.widgets.caption import Caption
from nfkd_gui.widgets.combo import FittingComboBox
from nfkd_gui.widgets.labels import MarkupLabel, PlainLabel
from nfkd_gui.widgets.waiting_line import WaitingLine

_FIRST = 3
"""Columns that are chosen at first."""
_NARROW, _LIST, _WIDEST = 640, 0.35, 0.46
"""Width in pixels at 100 % below which the plots of a high panel stand below the list, its share of the height then,
and of the width otherwise."""


class TablePanel(AskingPanel[TableRows]):
    """Shows a list of the columns with KS and C2ST, and a pair plot of the chosen ones."""

    title = "Table"
    name = "table"
    placeholder = "The columns of the data beside those of every flow's samples"
    what = "columns"
    reply_type = TableRows
    has_numbers = True

    def __init__(self, studio: Studio, parent: QWidget | None = None) -> None:
        super().__init__(studio, parent)
        self._listed: TableRows | None = None
        self._tests = Inspection(studio, self, long=True)
        self._tests.replied.connect(self._add_tests)
        self._requested: set[int] = set()
        """Columns whose C2ST was requested; that of constant columns stays unknown."""
        self._held = False
        """Whether the user ended the C2ST, or it failed."""
        self.testing = WaitingLine(
            "table.tests", "C2ST of the visible columns", self._tests, self.content, repeats=True
        )
        self.testing.again.connect(self._test_again)
        self.testing.ended.connect(self._hold)
        self._tests.failed.connect(self._hold)
        self.columns = ColumnsView(self.content)
        self.columns.chosen.connect(self._on_choice)
        self.columns.seen.connect(self._on_choice)
        self.pairs = PairGrid("table.pairs", self.content)
        self._role = FittingComboBox(self.content)
        self._role.setObjectName("table.role")
        self._role.setAccessibleName("Flow whose points are shown")
        self._role.setToolTip("The flow whose points are shown beside the data's; a narrow list has its measures only.")
        self._role.activated.connect(self._on_choice)
        self._lay_out()

    def _lay_out(self) -> None:
        self._legend = MarkupLabel(self.content)
        self._legend.setObjectName("table.legend")
        self._legend.setWordWrap(True)
        set_type(self._legend, "caption")
        self._caption = Caption(parent=self.content)
        self._caption.setObjectName("table.caption")
        self._drawing = QWidget(self.content)
        picture = QVBoxLayout(self._drawing)
        set_space(picture, 4)
        picture.addWidget(self._legend)
        picture.addWidget(self.pairs, 1)
        picture.addWidget(self._caption)
        label = PlainLabel("&Points of", self.content)
        label.setBuddy(self._role)
        top = QHBoxLayout()
        set_space(top, 12)
        top.addWidget(label)
        top.addWidget(self._role)
        top.addWidget(self.testing, 1)
        top.addStretch(0)
        self._split = QSplitter(self.content)
        self._split.setChildrenCollapsible(False)
        self._split.addWidget(self.columns)
        self._split.addWidget(self._drawing)
        whole = QVBoxLayout(self.content)
        set_space(whole, 8, 12, 8, 12, 8)
        whole.addWidget(self.waiting)
        whole.addLayout(top)
        whole.addWidget(self._split, 1)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._share_room()
        self.mark_dirty()  # the number of points depends on the room

    def _share_room(self) -> None:
        """Put the plots beside the list, which is as wide as it needs to be, or below it where there is little room."""
        width, height = self.width(), self.height()
        below = width < scaled(_NARROW) and height > width
        self._split.setOrientation(Qt.Orientation.Vertical if below else Qt.Orientation.Horizontal)
        whole = self._split.height() if below else self._split.width()
        wanted = int(_LIST * whole) if below else min(self.columns.wanted_width(), int(_WIDEST * whole))
        self._split.setSizes([wanted, whole - wanted])

    def restyle(self) -> None:
        self.pairs.restyle()
        self.columns.restyle()

    def run_changed(self) -> None:
        super().run_changed()
        self._tests.cancel()
        self.testing.clear()
        self._held, self._listed = False, None
        self.columns.show_rows(None, ())

    def has_content(self) -> bool:
        return bool(self.features()) and super().has_content()

    def reason(self) -> str:
        started = self.view.seeds.get(self.studio.seed) if self.view is not None else None
        images = started is not None and len(started.event_shape) == 3
        return "The examples of this run are images; the panel shows the columns of tables." if images else ""

    def request(self, run: str, seed: int, ticket: str) -> ReadTable:
        return ReadTable(run, seed=seed, ticket=ticket)

    def drawing(self) -> QWidget:
        return self._drawing

    # --- the columns ----------------------------------------------------------------------------------------------

    def _on_choice(self) -> None:
        self.mark_dirty()

    def draw_reply(self) -> None:
        rows = self.reply
        self._split.setVisible(rows is not None)
        if rows is None:
            return
        if rows is not self._listed:
            self._list(rows)
        self._test_visible(rows)
        self._plot(rows)

    def _list(self, rows: TableRows) -> None:
        """List the columns of another reply; what was chosen stays chosen."""
        same = self._listed is not None and self._listed.columns == rows.columns
        chosen = self.columns.chosen_columns() if same else []
        self._listed, self._held, self._requested = rows, False, set()
        self._tests.cancel()
        self.columns.show_rows(rows, chosen or range(min(_FIRST, len(rows.columns))))
        self._share_room()
        roles: list[Role] = list(rows.samples)
        before = self._role.currentData()
        self._role.clear()
        for role in roles:
            self._role.addItem(role_label(role), role)
        wanted: Role = before if before in roles else "student" if "student" in roles else roles[0]
        self._role.setCurrentIndex(roles.index(wanted))

    def _plot(self, rows: TableRows) -> None:
        chosen = self.columns.chosen_columns()
        shown = chosen[: self.pairs.most()] or [0]
        sets = {DATA: rows.data[:, shown]} | {role: values[:, shown] for role, values in rows.samples.items()}
        self.columns.show_role(self._role.currentData())
        self._role.setEnabled(len(shown) > 1 or not self.columns.shows_all)
        self.pairs.show_columns(sets, [rows.columns[column] for column in shown], (DATA, self._role.currentData()))
        names = {DATA: f"Test rows {len(rows.data):,}"}
        names |= {role: f"{role_label(role)} {_count(values)}" for role, values in rows.samples.items()}
        self._legend.setText(
            " &nbsp; ".join(
                f'<span style="color:{role_colour(key)}">{name.replace(" ", "&nbsp;")}</span>'
                for key, name in names.items()
            )
        )
        few = f"The first {len(shown)} of {len(chosen)} chosen columns. " if len(chosen) > len(shown) else ""
        more = "KS: 0 is best. C2ST: 0.5 is best."
        self._caption.show_texts(
            [f"{few}Units of the data; the range is that of the test rows. {more}", few + more, few or more]
        )

    # --- C2ST -----------------------------------------------------------------------------------------------------

    def _test_visible(self, rows: TableRows) -> None:
        """Ask for the C2ST of some of the visible columns that have none, those on top first."""
        if self._held or self._tests.busy or self.view is None:
            return
        left = [column for column in self.columns.visible_columns() if column not in self._requested]
        columns = left[:MAX_COLUMNS_TESTED]
        if columns:
            self._requested |= set(columns)
            request = CompareColumns(rows.run, seed=rows.seed, ticket=self._tests.ticket, columns=columns)
            self._tests.ask(request)

    def _add_tests(self, reply: Reply) -> None:
        if isinstance(reply, ColumnTests):
            self.columns.model_.add(reply)
            self.mark_dirty()

    def _hold(self) -> None:
        self._held = True

    def _test_again(self) -> None:
        self._held = False
        unknown = [np.isnan(values) for (measure, _), values in self.columns.model_.values.items() if measure == "C2ST"]
        self._requested -= set(np.flatnonzero(np.all(unknown, axis=0)).tolist())
        self.mark_dirty()

    # --- for the menu ---------------------------------------------------------------------------------------------

    def numbers(self) -> dict[str, Table]:
        rows = self.reply
        if rows is None:
            return {}
        columns = ["column", "flow", "KS", "p value of KS", "C2ST (AUC)"]
        return {
            "Columns": Table(columns, self._column_rows(rows)),
            "Rows": Table(["set", *rows.columns], _rows_of(rows)),
        }

    def _column_rows(self, rows: TableRows) -> Iterator[list[object]]:
        scores = {role: self.columns.model_.values["C2ST", role].tolist() for role in rows.samples}
        for number, name in enumerate(rows.columns):
            for role in rows.samples:
                yield [name, role, float(rows.ks[role][number]), float(rows.ks_p[role][number]), scores[role][number]]


def _count(values: np.ndarray) -> str:
    """Return the number of samples, and of those with values that are not finite."""
    left = int((~np.isfinite(values).all(axis=1)).sum())
    return f"{len(values):,}" + (f" ({left:,} not finite)" if left else "")


def _rows_of(rows: TableRows) -> Iterator[list[object]]:
    for name, values in {DATA: rows.data, **rows.samples}.items():
        for row in values.tolist():
            yield [name, *row]
