"""What brings back the sections of a form that are folded away."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QGridLayout

from nfkd_gui.forms.fields import Field
from nfkd_gui.widgets.buttons import quiet_button


class Fold:
    """The button below sections that may be folded away: it says how many are, and brings them back.

    Attributes
    ----------
    is_open
        Whether none is folded away.
    """

    def __init__(self, fields: list[Field], grid: QGridLayout) -> None:
        self.is_open = False
        self._what = fields[0].group or "settings"
        self.button = quiet_button("", grid.parentWidget())
        self.button.setObjectName(f"{fields[0].path.rpartition('.')[0]}.more")
        self.button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        grid.addWidget(self.button, grid.rowCount(), 0, 1, 3, Qt.AlignmentFlag.AlignLeft)

    def show(self, titles: list[str], *, shown: bool) -> None:
        """Name the sections that are folded away, or would be; show the button where there are any."""
        arrows, what = Qt.ArrowType, self._what.removesuffix("s") if len(titles) == 1 else self._what
        self.button.setArrowType(arrows.UpArrow if self.is_open else arrows.RightArrow)
        self.button.setText(f"Fewer {self._what}" if self.is_open else f"{len(titles)} more {what}")
        self.button.setToolTip(f"{'Fold away' if self.is_open else 'Show'}: {', '.join(titles)}.")
        self.button.setVisible(shown and bool(titles))
