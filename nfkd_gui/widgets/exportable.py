"""What a panel tells its menu: its options, and which picture, numbers and moving pictures it can copy and save."""

from __future__ import annotations

from typing import ClassVar

from PySide6.QtGui import QAction
from PySide6.QtWidgets import QWidget

from nfkd_gui.model.csv_files import Table
from nfkd_gui.model.export_files import Animation, file_stem


class Exportable:
    """Mixed into the widget of a panel; a panel overrides what it has.

    Attributes
    ----------
    has_numbers, has_animations
        Whether the menu has entries for them at all; while there is nothing to save, they are disabled.
    """

    has_numbers: ClassVar[bool] = False
    has_animations: ClassVar[bool] = False

    def figure(self) -> QWidget | None:
        """Return the widget that is drawn, with legend and captions but without controls; None while it is empty."""
        return self if isinstance(self, QWidget) else None

    def numbers(self) -> dict[str, Table]:
        """Return the tables of what is shown, by name; the arrays in them must not change later."""
        return {}

    def animations(self) -> dict[str, Animation]:
        """Return the moving pictures that can be saved, by name."""
        return {}

    def options(self) -> list[QAction]:
        """Return what else the menu offers, above the pictures and numbers."""
        return []

    def export_name(self) -> str:
        """Return the proposed file name without its ending: run, panel and step."""
        return file_stem(self.objectName() if isinstance(self, QWidget) else "panel")
