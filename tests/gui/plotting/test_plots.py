"""Axes of plots."""

from __future__ import annotations

from typing import Any

from PySide6.QtWidgets import QApplication, QGraphicsItem

from nfkd_gui.plotting.plots import Plot


def inked_columns(plot: Plot, width: int) -> set[int]:
    """Return the columns of the left part of a plot in which something is drawn."""
    image = plot.grab().toImage()
    ground = image.pixelColor(2, 2).lightness()
    rows = range(10, 60)
    return {x for x in range(width) if any(abs(image.pixelColor(x, y).lightness() - ground) > 40 for y in rows)}


def test_an_axis_that_becomes_wider_shows_its_whole_names(qtbot: Any) -> None:
    plot = Plot()
    qtbot.addWidget(plot)
    plot.resize(500, 120)
    with qtbot.waitExposed(plot):
        plot.show()
    plot.canvas.showGrid(x=False, y=False)
    axis = plot.left_axis
    plot.grab()  # fills the cached picture of the axis
    axis.setWidth(220)
    axis.setTicks([[(0.5, "level 1 step 2 of a student")]])
    QApplication.processEvents()
    cached = inked_columns(plot, 210)
    axis.setCacheMode(QGraphicsItem.CacheMode.NoCache)
    QApplication.processEvents()
    whole = inked_columns(plot, 210)
    assert max(whole) - min(whole) > 100
    assert len(cached ^ whole) <= 4  # edges of letters are smoothed differently
