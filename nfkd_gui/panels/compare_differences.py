"""What differs: the settings of the chosen runs that are not the same, and what that changes."""

from __future__ import annotations

from PySide6.QtWidgets import QVBoxLayout, QWidget

from nfkd.protocol.comparing import CompareRuns, RunsCompared
from nfkd_gui.model.chosen_runs import MOST, ChosenRuns
from nfkd_gui.model.compare import CompareModel
from nfkd_gui.model.csv_files import Table
from nfkd_gui.model.studio import Studio
from nfkd_gui.panels.compare_base import ComparePanel, problem_text
from nfkd_gui.panels.compare_rows import difference_rows, table_rows
from nfkd_gui.panels.compare_table import DifferenceModel, DifferenceView
from nfkd_gui.theme import set_space
from nfkd_gui.widgets.caption import Caption

_HEADER = ["name", "run", "value", "half of the 95 % interval", "seeds", "difference", "its half interval", "outcome"]


class DifferencesPanel(ComparePanel):
    """Compares the students of the chosen groups with that of the first one."""

    title = "What differs"
    name = "compare.differences"

    def __init__(self, studio: Studio, model: CompareModel, chosen: ChosenRuns, parent: QWidget | None = None) -> None:
        super().__init__(studio, model, chosen, parent)
        self.rows = DifferenceModel(self)
        self.table = DifferenceView(self.rows, self.content)
        self.table.setObjectName("compare.differences.table")
        self._whole = DifferenceView(self.rows, self)
        """For pictures, which have all rows and columns; it is never shown."""
        self._whole.hide()
        self.note = Caption(parent=self.content)
        self.note.setObjectName("compare.differences.note")
        column = QVBoxLayout(self.content)
        set_space(column, 6, 0, 0, 0, 6)
        column.addWidget(self.table, 1)
        foot = QVBoxLayout()
        set_space(foot, 0, 12, 0, 12, 0)
        foot.addWidget(self.note)
        column.addLayout(foot)
        chosen.compared.changed.connect(self.mark_dirty)

    def missing(self) -> str:
        groups = self.model.chosen_groups()
        reply = self.chosen.ask_differences()
        if len(groups) < 2:
            one = f"Choose another run in the table to compare it with {groups[0].name}." if groups else ""
            return one or "Choose runs in the table to see which of their settings differ, and what that changes."
        if self.chosen.compared.error is not None:
            return problem_text(self.chosen.compared.error)
        return "Comparing the chosen runs …" if reply is None else ""

    def draw(self) -> None:
        reply, asked = self.chosen.compared.reply, self.chosen.compared.asked
        if not isinstance(reply, RunsCompared) or not isinstance(asked, CompareRuns):
            return
        colours = self.colours()
        self.rows.show_rows(difference_rows(reply), reply.names, [colours.get(run) for run in asked.runs])
        same = f"{reply.same:,} settings are the same" if reply.same != 1 else "1 setting is the same"
        self.remarked.emit(same)
        self.note.show_texts(self._notes(reply))

    def _notes(self, reply: RunsCompared) -> list[str]:
        notes = [f"Differences to {reply.names[0]}, paired by seed, with 95 % intervals."]
        several = [group.name for group in self.chosen.groups() if len(group.rows) > 1]
        if several:
            notes.append(f"Of {', '.join(several)}: the newest run.")
        if len(self.model.chosen_groups()) > MOST:
            notes.append(f"The first {MOST} of {len(self.model.chosen_groups())} chosen.")
        return [" ".join(notes), notes[0], "Paired by seed, with 95 % intervals."]

    # --- for the menu ---------------------------------------------------------------------------------------------

    def restyle(self) -> None:
        self.table.fit()

    def drawing(self) -> QWidget:
        self._whole.fit_all(self.table.width())
        return self._whole

    def numbers(self) -> dict[str, Table]:
        reply = self.chosen.compared.reply
        return {"Comparison": Table(_HEADER, table_rows(reply))} if isinstance(reply, RunsCompared) else {}
