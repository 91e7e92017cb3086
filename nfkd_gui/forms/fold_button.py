"""The button that shows and hides the folded sections of a form."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QGridLayout

from nfkd_gui.forms.fields import Field
from nfkd_gui.widgets.buttons import quiet_button


class FoldButton:
    """A button below sections that can be folded: it says how many are folded, and shows or hides them.

    Attributes
    ----------
    is_open
        Whether all sections are shown.
    """

    def __init__(self, fields: list[Field], grid: QGridLayout) -> None:
        self.is_open = False
        self._group = fields[0].group or "settings"
        self.button = quiet_button("", grid.parentWidget())
        self.button.setObjectName(f"{fields[0].path.rpartition('.')[0]}.more")
        self.button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        grid.addWidget(self.button, grid.rowCount(), 0, 1, 3, Qt.AlignmentFlag.AlignLeft)

    def show(self, titles: list[str], *, shown: bool) -> None:
        """Show how many sections are folded, given their titles; hide the button if there are none."""
        arrow = Qt.ArrowType.UpArrow if self.is_open else Qt.ArrowType.RightArrow
        group = self._group.removesuffix("s") if len(titles) == 1 else self._group
        self.button.setArrowType(arrow)
        self.button.setText(f"Fewer {self._group}" if self.is_open else f"{len(titles)} more {group}")
        self.button.setToolTip(f"{'Hide' if self.is_open else 'Show'}: {', '.join(titles)}.")
        self.button.setVisible(shown and bool(titles))
