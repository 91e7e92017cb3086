"""The gap bar: its size, and what it says of itself."""

from __future__ import annotations

from typing import Any

from PySide6.QtWidgets import QWidget

from nfkd_gui.widgets.gap_bar import GapBar, GapFigures


def test_the_bar_has_a_name_also_when_it_is_filled_while_its_page_is_hidden(qtbot: Any) -> None:
    page = QWidget()
    qtbot.addWidget(page)
    bar = GapBar(page)
    bar.show_figures(GapFigures(closed=0.706))
    assert " ".join(bar.accessibleName().split()) == "The student closes 71 % of the gap"
    with qtbot.waitExposed(page):
        page.show()
    assert bar.isVisible()
    bar.show_figures(GapFigures())
    assert (bar.accessibleName(), bar.isVisible()) == ("", False)
