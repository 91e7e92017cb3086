"""The layout of the samples and interpolation panels: captions, controls, planes and their scales."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from PySide6.QtWidgets import QApplication, QLabel, QMainWindow, QScrollArea, QWidget

from nfkd_gui.panels.interpolation import InterpolationPanel
from nfkd_gui.panels.matching import MatchingPanel
from nfkd_gui.panels.samples import SamplesPanel
from nfkd_gui.plotting.plane import has_numbers
from nfkd_gui.widgets.panel_dock import PanelDock
from tests.gui.panels.picture_steps import grey, grey_path, shown_roles


def test_a_caption_becomes_shorter_by_words(show: Any, fake_run: Any) -> None:
    run = fake_run(shape=(2,))
    run.begin("teacher")
    run.samples("teacher", 1150, np.zeros((5, 2), np.float32), final=True)
    panel = show(SamplesPanel, run)
    caption = panel.planes.cells["teacher"].caption
    seen = set()
    for width in range(900, 200, -10):
        panel.resize(width, 500)
        QApplication.processEvents()
        text = caption.visible_text()
        assert caption.fontMetrics().horizontalAdvance(text) <= max(caption.width(), 0)
        assert caption.toolTip() == "final weights (step 1,150), temperature 0.70"
        seen.add(text)
    assert {"final weights (step 1,150), temperature 0.70", "final, step 1,150"} <= seen
    assert not any("…" in text for text in seen)


def test_flows_without_a_picture_have_no_axes_and_say_so_in_their_place(
    show: Any, fake_run: Any, fake_studio: Any
) -> None:
    """Runs of other data one after the other: an untrained flow kept the axes of the run before."""
    full, begun, images = fake_run(shape=(2,)), fake_run(shape=(2,)), fake_run()
    for run in (full, begun, images):
        run.begin("teacher")
    for role in ("teacher", "student", "baseline"):
        full.samples(role, 5, np.zeros((5, 2), np.float32))
    begun.samples("teacher", 5, np.zeros((5, 2), np.float32))
    images.samples("teacher", 5, grey(0.5))
    panel = show(SamplesPanel, full)
    for run in (begun, images, begun, full, images, full, begun):
        fake_studio.view = run.view
        panel.show_run(run.view)
        panel.refresh()
        QApplication.processEvents()
        axes = [role for role, cell in panel.planes.cells.items() if cell.plane.isVisible()]
        assert axes == {id(full): ["teacher", "student", "baseline"], id(begun): ["teacher"]}.get(id(run), [])
        if run is begun:
            cell = panel.planes.cells["student"]
            text = next(label for label in cell.pages.findChildren(QLabel) if label.isVisible())
            assert text.text() == "not trained yet"
            assert cell.rect().contains(text.geometry())
            assert not cell.caption.visible_text()
        if run is images:
            image, rect = panel.grid.grab().toImage(), panel.grid.cell_rect(0, 1, 0)
            last = panel.grid.cell_rect(0, 1, panel.grid.shape.columns - 1).united(rect)
            seen = {image.pixelColor(x, last.center().y()).name() for x in range(last.left() + 4, last.right())}
            assert len(seen) > 1, "its text"


def test_controls_fit_the_head_of_a_narrow_panel(show: Any, fake_run: Any, qtbot: Any) -> None:
    run = fake_run()
    run.begin("teacher")
    run.samples("teacher", 100, grey(0.25))
    run.path("teacher", grey_path(0.5, 4))
    for kind in (SamplesPanel, InterpolationPanel):
        panel = show(kind, run, size=(700, 400))
        window = QMainWindow()
        dock = PanelDock(panel.name, panel.title, panel, window)
        dock.head.add(*panel.tools)
        dock.add_expand_button()
        window.setCentralWidget(dock)
        window.resize(700, 400)
        with qtbot.waitExposed(window):
            window.show()
        wide = [tool for tool in panel.tools if tool.isVisible()]
        window.resize(345, 300)
        qtbot.waitUntil(lambda window=window: window.width() <= 345)
        QApplication.processEvents()
        narrow = [tool for tool in panel.tools if tool.isVisible()]
        assert 0 < len(narrow) < len(wide)
        shown = [
            child for child in dock.head.findChildren(QWidget) if child.isVisible() and child.parent() is dock.head
        ]
        for child in shown:
            assert dock.head.rect().contains(child.geometry()), child
        for one, other in itertools.combinations(shown, 2):
            assert not one.geometry().intersects(other.geometry())
        window.close()
        for widget in (panel, *panel.tools):
            widget.setParent(None)  # qtbot deletes the panel
        window.deleteLater()


def test_a_panel_needs_no_scroll_bar_at_its_minimum_height(show: Any, fake_run: Any) -> None:
    run = fake_run()
    run.begin("student")
    run.samples("student", 100, grey(0.25))
    run.path("student", grey_path(0.5, 4))
    run.matching(1, [0.1, 0.2])
    for kind in (SamplesPanel, InterpolationPanel, MatchingPanel):
        panel = show(kind, run, size=(340, 400))
        scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setWidget(panel)
        scroll.resize(350, panel.minimumSizeHint().height() + 10)
        scroll.show()
        QApplication.processEvents()
        assert scroll.verticalScrollBar().maximum() == 0
        assert scroll.horizontalScrollBar().maximum() == 0
        scroll.takeWidget()
        scroll.deleteLater()


def test_planes_are_as_large_as_possible_with_equal_scales(show: Any, fake_run: Any) -> None:
    run = fake_run(shape=(2,), roles=("teacher", "student"))
    for role in ("teacher", "student"):
        run.begin(role)
        run.samples(role, 10, np.random.default_rng(0).normal(size=(300, 2)).astype(np.float32))
        run.density(role)
    for size, across in (((1100, 330), 3), ((560, 560), 2), ((300, 900), 1), ((345, 235), 3)):
        panel = show(SamplesPanel, run, size=size)
        QApplication.processEvents()
        cells = [panel.planes.cells[role] for role in ("data", "teacher", "student")]
        assert len({cell.x() for cell in cells}) == across
        assert len({(cell.x(), cell.y()) for cell in cells}) == 3
        box = cells[1].plane.canvas.getViewBox()
        across_unit, up_unit = box.viewPixelSize()
        assert across_unit == pytest.approx(up_unit, rel=0.02)
        assert min(box.width(), box.height()) >= 0.6 * min(size[0] / across, size[1] / 3) - 32
        for cell in cells[1:]:
            plane = cell.plane
            shown = bool(plane.canvas.getAxis("left").style["showValues"])
            assert shown == has_numbers(plane.width(), plane.height())


def test_points_leave_room_for_the_density(show: Any, fake_run: Any) -> None:
    run = fake_run(shape=(2,))
    samples = np.random.default_rng(0).normal(size=(5000, 2)).astype(np.float32)
    run.begin("teacher")
    run.samples("teacher", 10, samples)
    run.density("teacher")
    for size in ((345, 235), (900, 700)):
        plane = show(SamplesPanel, run, size=size).planes.cells["teacher"].plane
        QApplication.processEvents()
        x, y = plane.points.getData()
        assert len(x) == min(5000, plane.width() * plane.height() // 60)
        np.testing.assert_allclose(np.stack([x, y], 1), samples[: len(x)])
        assert all(brush.color().alphaF() < 0.7 for brush in plane.points.data["brush"][:5] if brush is not None)


def test_planes_are_those_of_the_flows(show: Any, fake_run: Any) -> None:
    run = fake_run(shape=(2,), roles=("teacher", "student"))
    run.begin("teacher")
    run.samples("teacher", 1, np.zeros((3, 2), np.float32))
    run.path("teacher", np.zeros((1, 3, 2), np.float32))
    assert shown_roles(show(SamplesPanel, run)) == ["data", "teacher", "student"]
    assert shown_roles(show(InterpolationPanel, run)) == ["teacher", "student"]
