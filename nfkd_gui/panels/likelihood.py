"""The likelihood panel: log p of training, test and other data under every flow."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PySide6.QtWidgets import QComboBox, QVBoxLayout, QWidget

from nfkd.protocol.inspection import LikelihoodReport, Origin, ReadLikelihood
from nfkd.protocol.records import BlockSolve
from nfkd.protocol.roles import Role, role_label
from nfkd_gui.model.csv_files import Table
from nfkd_gui.model.studio import Studio
from nfkd_gui.panels.asking import AskingPanel
from nfkd_gui.panels.likelihood_parts import UNITS, ExtremesPart, Histograms, Quantiles, Scatter
from nfkd_gui.panels.pictures import data_kind
from nfkd_gui.panels.second_data import SecondData
from nfkd_gui.plotting.mosaic import themed
from nfkd_gui.theme import set_space, set_type
from nfkd_gui.widgets.combo import FittingComboBox
from nfkd_gui.widgets.flow_layout import ControlBar
from nfkd_gui.widgets.labels import ElidedLabel, PlainLabel
from nfkd_gui.widgets.quadrants import Quadrants
from nfkd_gui.widgets.switch import Switch

_TITLES = {"nats": ("log p", ""), "reported": ("NLL", "")}
"""Titles of the units, until the engine has answered."""


class LikelihoodPanel(AskingPanel[LikelihoodReport]):
    """Shows histograms of log p, two flows against each other, the extreme examples, and the latents."""

    title = "Likelihood"
    name = "likelihood"
    placeholder = "Log p of training, test and other data under every flow"
    what = "likelihoods"
    reply_type = LikelihoodReport
    has_numbers = True

    def __init__(self, studio: Studio, parent: QWidget | None = None) -> None:
        super().__init__(studio, parent)
        self._unit = "nats"
        self._role = self._make_roles()
        self._units = Switch("likelihood.unit", _TITLES, self.content)
        self._units.chosen.connect(self._choose_unit)
        self.second = SecondData("likelihood.second", studio.data_preview, self.content)
        self.second.changed.connect(self.mark_dirty)
        self.second.failed.connect(self.waiting.show_error)
        self.histograms, self.scatter = Histograms(self.content), Scatter(self.content)
        self.extremes, self.quantiles = ExtremesPart(self.content), Quantiles(self.content)
        for part in (self.extremes, self.scatter):
            part.picked.connect(self._inspect)
        parts = {
            "histograms": self.histograms,
            "scatter": self.scatter,
            "extremes": self.extremes,
            "quantiles": self.quantiles,
        }
        self._quadrants = Quadrants(parts, self.content)
        self.iterations = ElidedLabel(parent=self.content)
        self.iterations.setObjectName("likelihood.iterations")
        set_type(self.iterations, "caption")
        bar = ControlBar(8, self.content)
        for text, box in (("&Flow", self._role), ("&Second data", self.second)):
            label = PlainLabel(text, self.content)
            label.setBuddy(box)
            bar.add(label, box)
        bar.add(self._units)
        column = QVBoxLayout(self.content)
        set_space(column, 8, 12, 8, 12, 8)
        column.addWidget(bar)
        column.addWidget(self.waiting)
        column.addWidget(self._quadrants, 1)
        column.addWidget(self.iterations)

    def _make_roles(self) -> QComboBox:
        box = FittingComboBox(self.content)
        box.setObjectName("likelihood.role")
        box.setAccessibleName("Flow")
        box.setToolTip("The flow of the histograms and of the extreme examples.")
        box.activated.connect(self.mark_dirty)
        return box

    def restyle(self) -> None:
        for part in (self.histograms, self.scatter, self.quantiles):
            part.chart.plot.restyle()
        self.extremes.restyle()

    # --- the choices ----------------------------------------------------------------------------------------------

    def _choose_unit(self, unit: str) -> None:
        self._unit = unit
        self.mark_dirty()

    def _inspect(self, index: int) -> None:
        self.studio.example_chosen.emit(Origin("test", index))

    def _offer(self, report: LikelihoodReport) -> Role:
        """Offer the flows of a report, and return the chosen one; at first the student."""
        roles: list[Role] = list(report.log_prob)
        if [self._role.itemData(row) for row in range(self._role.count())] != roles:
            before = self._role.currentData()
            self._role.clear()
            for role in roles:
                self._role.addItem(role_label(role), role)
            wanted: Role = before if before in roles else "student" if "student" in roles else roles[-1]
            self._role.setCurrentIndex(roles.index(wanted))
        return self._role.currentData()

    def question(self) -> str:
        return self.second.text_of_config

    def request(self, run: str, seed: int, ticket: str) -> ReadLikelihood:
        return ReadLikelihood(run, seed=seed, ticket=ticket, second=self.second.text_of_config)

    # --- drawing --------------------------------------------------------------------------------------------------

    def draw(self) -> None:
        started = self.view.seeds.get(self.studio.seed) if self.view is not None else None
        self.second.show_shape(started.event_shape if started is not None else ())
        super().draw()

    def drawing(self) -> QWidget:
        return self._quadrants

    def draw_reply(self) -> None:
        report = self.reply
        self._quadrants.setVisible(report is not None)
        self.iterations.hide()
        if report is None:
            return
        role = self._offer(report)
        self._units.show_state(self._unit, list(UNITS))
        self._units.rename("reported", f"NLL, {report.unit}")
        self.histograms.show_report(report, role, self._unit)
        first, second = self._compared(report, role)
        self.scatter.show_report(report, first, second, self._unit)
        self.extremes.show_report(report, role, self._unit, self.features(), self._themed)
        self.quantiles.show_report(report)
        self._show_iterations(report.iterations.get(role, []))

    def _show_iterations(self, blocks: list[BlockSolve]) -> None:
        """Say how many Jacobi iterations each block needs; nothing for a flow whose directions are both one pass."""
        self.iterations.setVisible(bool(blocks))
        if not blocks:
            return
        counts = ", ".join(f"{block.name}: {block.iterations}" for block in blocks)
        exactly, examples = (sum(values) for values in zip(*((b.exactly, b.examples) for b in blocks), strict=True))
        text = f"Jacobi iterations of each block, in place of {blocks[0].tokens} tokens one by one – {counts}"
        if exactly:
            text += f"; {exactly} of {examples} did not converge and were computed exactly"
        self.iterations.setText(text)

    def _compared(self, report: LikelihoodReport, role: Role) -> tuple[Role, Role]:
        """Return the teacher and the chosen flow, or the student where that is the teacher."""
        roles: list[Role] = list(report.log_prob)
        first: Role = "teacher" if "teacher" in roles else roles[0]
        others: list[Role] = [each for each in (role, "student", *roles) if each in roles and each != first]
        return first, others[0] if others else first

    def _themed(self, images: np.ndarray) -> np.ndarray:
        if self.view is None or self.studio.preferences.images_as_stored:
            return images
        return themed(images, data_kind(self.view.config))

    # --- for the menu ---------------------------------------------------------------------------------------------

    def numbers(self) -> dict[str, Table]:
        report = self.reply
        if report is None:
            return {}
        return {
            "Log p": Table(["flow", "set", "example", "log p (nats)", f"NLL ({report.unit})"], _log_p_rows(report)),
            "Quantiles of the latents": Table(["flow", "standard normal", "latents"], _quantile_rows(report)),
            "Extremes": Table(["flow", "kind", "test example"], _extreme_rows(report)),
            "Jacobi iterations": Table(["flow", "block", "iterations", "tokens"], _iteration_rows(report)),
        }


def _log_p_rows(report: LikelihoodReport) -> Iterator[list[object]]:
    for role, sets in report.log_prob.items():
        for name, values in sets.items():
            for number, value in enumerate(values.tolist()):
                yield [role, name, number, value, report.nll_offset - report.nll_scale * value]


def _quantile_rows(report: LikelihoodReport) -> Iterator[list[object]]:
    for role, values in report.latents.items():
        for normal, value in zip(report.quantiles.tolist(), values.tolist(), strict=True):
            yield [role, normal, value]


def _iteration_rows(report: LikelihoodReport) -> Iterator[list[object]]:
    for role, blocks in report.iterations.items():
        for block in blocks:
            yield [role, block.name, block.iterations, block.tokens]


def _extreme_rows(report: LikelihoodReport) -> Iterator[list[object]]:
    for role, extremes in report.extremes.items():
        for kind, indices in (("most likely", extremes.most), ("least likely", extremes.least)):
            for index in indices.tolist():
                yield [role, kind, index]
