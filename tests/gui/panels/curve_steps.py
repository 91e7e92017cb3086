"""What tests of the curves share."""

from __future__ import annotations

from typing import Any

import numpy as np
from PySide6.QtGui import QAction

from nfkd_gui.panels.curves import CurvesPanel

LOSS = np.linspace(4, 2, 300) + np.sin(np.arange(300))


def line(panel: CurvesPanel, role: str, name: str = "validation/nll", seed: int = 1) -> Any:
    return panel.plots["likelihood"].lines[seed, role, name]  # type: ignore[index]


def plot_also(panel: CurvesPanel, *names: str) -> None:
    """Plot further quantities, as a click on the menu does."""
    for name in names:
        action = panel.findChild(QAction, f"curves.quantity.{name}")
        assert isinstance(action, QAction), name
        action.trigger()
    panel.refresh()
