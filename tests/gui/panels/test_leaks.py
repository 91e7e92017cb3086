"""Panels are released when they are closed, and plots do not keep the items of earlier runs."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import QCoreApplication, QEvent
from PySide6.QtWidgets import QTableView, QWidget

from nfkd_gui.panels import PANELS
from nfkd_gui.panels.architecture import ArchitecturePanel
from nfkd_gui.panels.inspector import InspectorPanel
from nfkd_gui.panels.log import LogPanel
from nfkd_gui.panels.runs import RunsPanel
from nfkd_gui.plotting.plots import Plot
from tests.gui.panels.architecture_driver import Driver

SWITCHES = 20
DRAWINGS = 10


def filled(fake_run: Any, number: int = 0, shape: tuple[int, ...] = (2,)) -> Any:
    """Return a run with everything that panels draw; each number has other values."""
    run, random = fake_run(shape=shape), np.random.default_rng(number)
    for role in ("teacher", "student"):
        run.begin(role)
        for name in ("train/nll", "validation/nll"):
            run.points(role, name, random.normal(size=30))
        run.samples(role, 30, random.random((16, *shape)).astype(np.float32))
        run.path(role, random.random((2, 9, *shape)).astype(np.float32))
        if shape == (2,):
            run.density(role)
        run.finish(role, steps=30, best_step=20)
    for step in (1, 10, 20):
        run.matching(step, list(random.random(2)))
    return run


def destroy(panel: QWidget) -> None:
    panel.close()
    panel.deleteLater()
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    QCoreApplication.processEvents()


MAKERS: dict[str, Callable[[Any], QWidget]] = {
    **{kind.name: kind for kind in PANELS},
    "inspector": lambda studio: InspectorPanel(studio, studio),
    "runs": lambda studio: RunsPanel(studio, lambda _act: True),
    "log": LogPanel,
}


@pytest.mark.parametrize("name", MAKERS)
def test_nothing_keeps_a_closed_panel(name: str, fake_run: Any, fake_studio: Any, qapp: Any) -> None:
    panel: Any = MAKERS[name](fake_studio)
    panel.show()
    run = filled(fake_run)
    fake_studio.view = run.view
    fake_studio.view_changed.emit()
    if hasattr(panel, "show_run"):
        panel.show_run(run.view)
        panel.refresh()
        assert panel.has_content()
    qapp.processEvents()
    models = [view.model().sourceModel() for view in panel.findChildren(QTableView)]  # type: ignore[attr-defined]
    kept = [weakref.ref(each) for each in (panel, *models)]
    destroy(panel)
    fake_studio.asked.clear()  # they hold the functions that would get the replies
    del panel, run, models
    gc.collect()
    assert [each() for each in kept] == [None] * len(kept)
    fake_studio.theme_changed.emit()  # nothing that is left answers
    fake_studio.view_changed.emit()
    qapp.processEvents()


def test_nothing_keeps_a_closed_drawing(drawing: Driver, qapp: Any) -> None:
    panel: Any = ArchitecturePanel(drawing.studio)
    panel.show()
    panel.view.block_chosen.emit("teacher", "level1.step1")
    panel.differences.setChecked(True)
    qapp.processEvents()
    assert panel.view.drawing.pairs
    kept = [weakref.ref(each) for each in (panel, panel.view, panel.view.drawing, panel.view.drawing.blocks[0])]
    destroy(panel)
    del panel
    gc.collect()
    assert [each() for each in kept] == [None] * len(kept)
    drawing.studio.theme_changed.emit()
    drawing.studio.experiment.checked.emit()
    qapp.processEvents()


def test_drawing_anew_does_not_add_items(drawing: Driver) -> None:
    counts = []
    for number in range(DRAWINGS):
        drawing.panel.move_pair(1, "teacher", f"level2.step{1 + number % 8}")
        drawing.view.rebuild()
        counts.append(len(drawing.view.drawing.items()))
    assert len(set(counts)) == 1


@pytest.mark.parametrize("shape", [(2,), (1, 8, 8)])
@pytest.mark.parametrize("kind", PANELS)
def test_switching_runs_does_not_add_items_to_the_plots(
    kind: Any, shape: tuple[int, ...], show: Any, fake_run: Any, fake_studio: Any
) -> None:
    panel = show(kind, filled(fake_run, shape=shape))

    def items() -> list[int]:
        return [len(plot.scene().items()) for plot in panel.findChildren(Plot)]

    counts = []
    for number in range(SWITCHES):
        run = filled(fake_run, number, shape)
        fake_studio.view = run.view
        panel.show_run(run.view)
        panel.refresh()
        counts.append(items())
    assert counts[0] or len(shape) > 1, "a panel has plots of vectors"
    assert counts[-1] == counts[1]
