"""Curves of the chosen runs over each other: the mean of each group with the band of its seeds."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QToolButton, QVBoxLayout, QWidget

from nfkd.protocol.comparing import RunCurve, RunCurves
from nfkd_gui.model.chosen_runs import MOST, ChosenRuns
from nfkd_gui.model.compare import CompareModel, RunGroup
from nfkd_gui.model.csv_files import Table
from nfkd_gui.model.run_curves import join_curves
from nfkd_gui.model.setting_names import setting_title
from nfkd_gui.model.studio import Studio
from nfkd_gui.panels.compare_base import ComparePanel, problem_text
from nfkd_gui.plotting.axes import Scale
from nfkd_gui.plotting.banded_plot import BANDS, BandedLine, BandedPlot
from nfkd_gui.theme import set_space
from nfkd_gui.widgets.caption import Caption
from nfkd_gui.widgets.combo import FittingComboBox

_CURVES = {
    "validation/nll": "Validation likelihood",
    "train/total": "Training loss",
    "train/nll": "Training: NLL",
    "gradient_norm": "Gradient norm",
    "learning_rate": "Learning rate",
}
_TERM = "distillation.{}.weight"


class RunCurvesPanel(ComparePanel):
    """Draws a curve of each chosen group."""

    title = "Curves"
    name = "compare.curves"

    def __init__(self, studio: Studio, model: CompareModel, chosen: ChosenRuns, parent: QWidget | None = None) -> None:
        super().__init__(studio, model, chosen, parent)
        self.curve = FittingComboBox(self)
        self.curve.setObjectName("compare.curves.curve")
        self.curve.setAccessibleName("Curve")
        self.curve.setToolTip("The value that is shown over the steps of the students.")
        self.curve.activated.connect(self.mark_dirty)
        self.log = QToolButton(self)
        self.log.setObjectName("compare.curves.log")
        self.log.setText("Log")
        self.log.setAccessibleName("Logarithmic scale")
        self.log.setToolTip("Draw values on a logarithmic scale; those at or below zero are left out.")
        self.log.setProperty("flat", True)
        self.log.setCheckable(True)
        self.log.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.log.clicked.connect(self.mark_dirty)
        self.tools += [self.curve, self.log]
        self.plot = BandedPlot(self.content)
        self.plot.setObjectName("compare.curves.plot")
        self.plot.setAccessibleName("Curves of the chosen runs")
        self.note = Caption(parent=self.content)
        self.note.setObjectName("compare.curves.note")
        column = QVBoxLayout(self.content)
        set_space(column, 0, 4, 8, 12, 6)
        column.addWidget(self.plot, 1)
        foot = QVBoxLayout()
        set_space(foot, 0, 8, 0, 0, 0)
        foot.addWidget(self.note)
        column.addLayout(foot)
        chosen.curves.changed.connect(self.mark_dirty)
        self._framed: object = None

    # --- what is shown --------------------------------------------------------------------------------------------

    def _offer(self) -> str:
        """Offer the curves that the chosen runs may have, and return the chosen one."""
        terms = [
            name.split(".")[1]
            for group in self.chosen.groups()
            for name, value in group.values.items()
            if name.endswith(".weight") and name.startswith("distillation.") and value and name.count(".") == 2
        ]
        names = dict(_CURVES)
        names |= {f"train/{term}": f"Training: {setting_title(_TERM.format(term))}" for term in terms if term != "nll"}
        if [self.curve.itemData(index) for index in range(self.curve.count())] != list(names):
            before = self.curve.currentData()
            self.curve.clear()
            for name, text in names.items():
                self.curve.addItem(text, name)
            self.curve.setCurrentIndex(list(names).index(before) if before in names else 0)
        return str(self.curve.currentData())

    def missing(self) -> str:
        if not self.model.chosen_groups():
            self.chosen.curves.follow(None, None)
            return "Choose runs in the table to see their curves over each other."
        reply = self.chosen.ask_curves(self._offer())
        if self.chosen.curves.error is not None:
            return problem_text(self.chosen.curves.error)
        if reply is None:
            return "Reading the curves …"
        return ""

    def joined(self) -> dict[str, tuple[RunGroup, RunCurve]]:
        """Return the curve of each chosen group that has one, by the group's key."""
        reply = self.chosen.curves.reply
        found = reply.curves if isinstance(reply, RunCurves) else {}
        known = {
            group.key: (group, [found[run] for run in group.runs if run in found]) for group in self.chosen.groups()
        }
        return {key: (group, join_curves(curves)) for key, (group, curves) in known.items() if curves}

    def draw(self) -> None:
        reply = self.chosen.curves.reply
        if not isinstance(reply, RunCurves):
            return
        joined = self.joined()
        colours = self.colours()
        lines = [
            BandedLine(key, group.name, colours[key], curve.steps, curve.mean, curve.low, curve.high)
            for key, (group, curve) in joined.items()
        ]
        scale = Scale("log" if self.log.isChecked() else "linear")
        framed = scale, self.curve.currentData(), [(line.key, len(line.x)) for line in lines]
        self.plot.label("left", reply.label, reply.unit)
        self.plot.label("bottom", "Step of the student")
        self.plot.show_lines(lines, scale, frame=framed != self._framed)
        self._framed = framed
        self.note.show_texts(self._notes(reply, joined))

    def _notes(self, reply: RunCurves, joined: dict[str, tuple[RunGroup, RunCurve]]) -> list[str]:
        """Return what is below the plot, from long to short: what bands are, and what is left out."""
        several = any(curve.seeds > 1 for _, curve in joined.values())
        bands = "Band: lowest to highest seed." if len(joined) <= BANDS else f"Bands are drawn for up to {BANDS} runs."
        notes = [bands if several else "One seed each."]
        without = [group.name for group in self.chosen.groups() if group.key not in joined]
        if without:
            notes.append(f"Without this curve: {', '.join(without)}.")
        notes += [f"{run}: {why}." for run, why in reply.unreadable.items()]
        if len(self.model.chosen_groups()) > MOST:
            notes.append(f"The first {MOST} of {len(self.model.chosen_groups())} chosen.")
        return [" ".join(notes), " ".join(notes[:2]), notes[0]]

    # --- for the menu ---------------------------------------------------------------------------------------------

    def restyle(self) -> None:
        self.plot.restyle()

    def numbers(self) -> dict[str, Table]:
        joined = self.joined()
        header = ["run", "step", "mean", "lowest seed", "highest seed", "seeds"]
        return {"Curves": Table(header, _rows(joined))} if joined else {}


def _rows(joined: dict[str, tuple[RunGroup, RunCurve]]) -> Iterator[list[object]]:
    for group, curve in joined.values():
        columns = np.stack([curve.mean, curve.low, curve.high], axis=1).tolist()
        for step, values in zip(curve.steps.tolist(), columns, strict=True):
            yield [group.name, step, *values, curve.seeds]
