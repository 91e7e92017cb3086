"""What the tests of the preview share: replies of the engine, and what the form shows."""

from __future__ import annotations

from typing import Any

import numpy as np
from PySide6.QtWidgets import QLabel, QWidget

from nfkd.protocol.data import DataPreview
from nfkd_gui.forms.experiment_form import ExperimentForm
from nfkd_gui.widgets.message_cell import MessageCell

MISSING = "MNIST is not on this machine yet (12 MB): download it"
BY_HAND = "get it from http://far/ and put it into /cache"


def part(form: ExperimentForm, name: str) -> Any:
    [found] = form.findChildren(QWidget, name)
    return found


def message(form: ExperimentForm) -> str:
    """Return the visible message of the preview."""
    label = part(form, "preview.message")
    return label.text().replace("\u00a0", " ") if label.isVisible() else ""


def all_text(form: ExperimentForm) -> str:
    labels = [label.text() for label in form.findChildren(QLabel) if label.isVisible()]
    return "\n".join([*labels, *(cell.message for cell in form.findChildren(MessageCell) if cell.isVisible())])


def images(*levels: int) -> np.ndarray:
    """Return uniform images of these grey levels, 8×8."""
    return np.repeat(np.array(levels, np.uint8), 64).reshape(-1, 1, 8, 8)


def preview_of(**changes: Any) -> DataPreview:
    plain = {"summary": "x", "counts": [70, 20, 10], "event_shape": [1, 8, 8], "unit": "bits/dim", "levels": 17}
    return DataPreview(**(plain | changes))
