"""The settings of samples besides the temperature, where a run has them: guidance, denoising and Jacobi iteration."""

from __future__ import annotations

import functools
import tomllib
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QHBoxLayout, QWidget

from nfkd.protocol.inspection import SampleOptions
from nfkd_gui.theme import limit_size, set_space
from nfkd_gui.widgets.number_field import DecimalField

_GUIDED = {"tarflow"}
_SEQUENTIAL = {"tarflow", "maf"}
_HIGHEST = 20.0
_TOLERANCE = 1e-3
_WIDTH = 130
"""Of a field, in pixels."""


class SampleOptionFields(QWidget):
    """Two fields for guidance, hidden for runs without a flow that takes it; entries of a menu for the others."""

    changed = Signal()

    def __init__(self, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._classes = False
        self.guides = False
        """Whether a flow of the run takes guidance."""
        self.weight = self._field(
            f"{name}.guidance",
            "Guidance",
            "Guidance of TarFlow: how far each token moves away from a weaker prediction, one without the class or "
            "with another attention temperature. Zero switches it off.",
            "guidance ",
        )
        self.attention = self._field(
            f"{name}.attention",
            "Attention temperature",
            "Attention temperature of the weaker prediction, where there are no classes: below or above 1.",
            "attention T ",
        )
        self.attention.setRange(0.1, 10.0)
        self.attention.setValue(0.3)
        self.denoise = QAction("Denoise", self)
        self.denoise.setObjectName(f"{name}.denoise")
        self.denoise.setToolTip("Remove the Gaussian noise that the images had in training, by each flow's own score.")
        self.denoise.setCheckable(True)
        self.denoise.toggled.connect(self.changed)
        self.jacobi = QAction("Jacobi iteration", self)
        self.jacobi.setObjectName(f"{name}.jacobi")
        self.jacobi.setToolTip(
            "Compute all tokens together and repeat until they change by less than 0.001: faster for few samples."
        )
        self.jacobi.setCheckable(True)
        self.jacobi.toggled.connect(self.changed)
        row = QHBoxLayout(self)
        set_space(row, 6)
        row.addWidget(self.weight)
        row.addWidget(self.attention)
        self.hide()

    def _field(self, name: str, title: str, help_: str, prefix: str) -> DecimalField:
        field = DecimalField(self)
        field.setObjectName(name)
        field.setAccessibleName(title)
        field.setToolTip(help_)
        field.setPrefix(prefix)
        field.setRange(0.0, _HIGHEST)
        field.setSingleStep(0.1)
        limit_size(field, least=(_WIDTH, 0), most=(_WIDTH, 0))
        field.valueChanged.connect(self.changed)
        return field

    def offer(self, config: str) -> None:
        """Show the fields that have an effect for an experiment given as TOML."""
        experiment = _parse(config)
        flows = (experiment.get("teacher"), *experiment.get("assistants", []), experiment.get("student"))
        self.guides = any(isinstance(flow, dict) and flow.get("kind") in _GUIDED for flow in flows)
        data = experiment.get("data")
        settings: dict[str, Any] = data if isinstance(data, dict) else {}
        self._classes = settings.get("class_labels") is True
        noisy = settings.get("noise") == "gaussian"
        iterates = any(isinstance(flow, dict) and _iterates(flow) for flow in flows)
        self.jacobi.setVisible(iterates)
        if not iterates:
            self.jacobi.setChecked(False)
        self.denoise.setVisible(noisy)
        if not self.guides:
            self.weight.setValue(0.0)
        if not noisy:
            self.denoise.setChecked(False)

    def fit(self, *, one: bool, both: bool) -> int:
        """Show the fields that have an effect, as far as there is room for one or for both; return how many."""
        second = both and not self._classes
        self.attention.setVisible(second)
        self.setVisible(self.guides and one)
        return 0 if self.isHidden() else 1 + second

    def reset(self) -> None:
        """Set guidance, denoising and iteration as live samples have them."""
        self.weight.setValue(0.0)
        for action in (self.denoise, self.jacobi):
            action.setChecked(False)

    def options(self) -> SampleOptions:
        """Return the chosen settings."""
        weight = round(self.weight.value(), 2)
        attention = None if self._classes or not weight else round(self.attention.value(), 2)
        return SampleOptions(
            guidance=weight,
            attention_temperature=attention,
            denoise=self.denoise.isChecked(),
            jacobi=_TOLERANCE if self.jacobi.isChecked() else None,
        )


def _iterates(flow: dict[str, Any]) -> bool:
    """Return whether a flow of an experiment samples token by token."""
    return flow.get("kind") in _SEQUENTIAL or (flow.get("kind") == "nsf" and flow.get("transform") == "autoregressive")


@functools.lru_cache(maxsize=8)
def _parse(config: str) -> dict[str, Any]:
    try:
        return tomllib.loads(config)
    except tomllib.TOMLDecodeError:
        return {}
