"""Matching profiles of the chosen runs: the last matching error of each pair of layers, a line for each group."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PySide6.QtGui import QFontMetrics
from PySide6.QtWidgets import QVBoxLayout, QWidget

from nfkd.protocol.comparing import MatchingProfile, MatchingProfiles
from nfkd.text import plain
from nfkd_gui.model.chosen_runs import ChosenRuns
from nfkd_gui.model.compare import CompareModel, RunGroup
from nfkd_gui.model.csv_files import Table
from nfkd_gui.model.run_curves import join_profiles
from nfkd_gui.model.studio import Studio
from nfkd_gui.panels.compare_base import ComparePanel, problem_text
from nfkd_gui.plotting.axes import Scale
from nfkd_gui.plotting.banded_plot import BandedLine, BandedPlot
from nfkd_gui.plotting.parallel_axes import spans_decade
from nfkd_gui.theme import font, scaled, set_space
from nfkd_gui.widgets.caption import Caption

_LONGEST, _APART = 60, 10


class RunMatchingPanel(ComparePanel):
    """Draws the errors of the matched layers of each chosen group, first to last."""

    title = "Matching"
    name = "compare.matching"

    def __init__(self, studio: Studio, model: CompareModel, chosen: ChosenRuns, parent: QWidget | None = None) -> None:
        super().__init__(studio, model, chosen, parent)
        self.plot = BandedPlot(self.content, marks=True)
        self.plot.setObjectName("compare.matching.plot")
        self.plot.setAccessibleName("Matching errors of the chosen runs")
        self.plot.resized.connect(self.mark_dirty)  # the width decides whether names of pairs fit
        self.note = Caption(parent=self.content)
        self.note.setObjectName("compare.matching.note")
        column = QVBoxLayout(self.content)
        set_space(column, 0, 4, 8, 12, 6)
        column.addWidget(self.plot, 1)
        foot = QVBoxLayout()
        set_space(foot, 0, 8, 0, 0, 0)
        foot.addWidget(self.note)
        column.addLayout(foot)
        chosen.profiles.changed.connect(self.mark_dirty)

    def missing(self) -> str:
        if not self.model.chosen_groups():
            self.chosen.profiles.follow(None, None)
            return "Choose runs in the table to see how well their layers match their teachers'."
        reply = self.chosen.ask_profiles()
        if self.chosen.profiles.error is not None:
            return problem_text(self.chosen.profiles.error)
        if reply is None:
            return "Reading the matching errors …"
        return "" if self.joined() else "The chosen runs have no matched layers."

    def joined(self) -> dict[str, tuple[RunGroup, MatchingProfile]]:
        """Return the profile of each chosen group that has one, by the group's key."""
        reply = self.chosen.profiles.reply
        found = reply.profiles if isinstance(reply, MatchingProfiles) else {}
        known = {
            group.key: (group, [found[run] for run in group.runs if run in found]) for group in self.chosen.groups()
        }
        return {key: (group, join_profiles(profiles)) for key, (group, profiles) in known.items() if profiles}

    def draw(self) -> None:
        joined = self.joined()
        colours = self.colours()
        lines = [
            BandedLine(key, group.name, colours[key], _numbers(found), found.mean, found.low, found.high)
            for key, (group, found) in joined.items()
        ]
        means = np.concatenate([line.mean for line in lines])
        scale = Scale("log" if spans_decade(means[np.isfinite(means)]) else "linear")
        self.plot.label("left", "Mean squared error of outputs", short="Error")
        self.plot.label("bottom", "Matched pair, first to last layer")
        self.plot.show_lines(lines, scale, frame=True)
        pairs = max((found.pairs for _, found in joined.values()), key=len)
        self._name_pairs(pairs)
        without = [group.name for group in self.chosen.groups() if group.key not in joined]
        notes = ["Last measured errors; band: lowest to highest seed."]
        if without:
            notes.append(f"Without matched layers: {', '.join(without)}.")
        self.note.show_texts([" ".join(notes), notes[0]])

    def _name_pairs(self, pairs: list[str]) -> None:
        """Write the names of the pairs at the axis where they fit, else their numbers; the tooltip has both."""
        texts = [plain(pair, _LONGEST) for pair in pairs]
        metrics = QFontMetrics(font("caption"))
        room = self.plot.canvas.getViewBox().width() / max(len(texts), 1) - scaled(_APART)
        fits = all(metrics.horizontalAdvance(text) <= room for text in texts)
        ticks = [(number, text if fits else str(number)) for number, text in enumerate(texts, start=1)]
        self.plot.canvas.getAxis("bottom").setTicks([ticks])
        self.plot.setToolTip("\n".join(f"{number}: {text}" for number, text in enumerate(texts, start=1)))

    # --- for the menu ---------------------------------------------------------------------------------------------

    def restyle(self) -> None:
        self.plot.restyle()

    def numbers(self) -> dict[str, Table]:
        joined = self.joined()
        header = ["run", "pair", "mean error", "lowest seed", "highest seed"]
        return {"Errors": Table(header, _rows(joined))} if joined else {}


def _numbers(found: MatchingProfile) -> np.ndarray:
    return np.arange(1, len(found.mean) + 1, dtype=np.float64)


def _rows(joined: dict[str, tuple[RunGroup, MatchingProfile]]) -> Iterator[list[object]]:
    for group, found in joined.values():
        columns = zip(found.pairs, found.mean.tolist(), found.low.tolist(), found.high.tolist(), strict=True)
        for pair, *errors in columns:
            yield [group.name, pair, *errors]
