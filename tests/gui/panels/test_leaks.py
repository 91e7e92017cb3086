"""Panels are released when they are closed, and plots do not keep the items of earlier runs."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from msgspec import structs
from PySide6.QtCore import QCoreApplication, QEvent
from PySide6.QtWidgets import QTableView, QTableWidget, QTreeView, QWidget

from nfkd.protocol.events import CurvePoints
from nfkd.protocol.inspection import Origin, ReadLikelihood, ReadTable
from nfkd.protocol.records import CurveBatch, CurveInfo
from nfkd_gui.panels.architecture import ArchitecturePanel
from nfkd_gui.panels.inspector import InspectorPanel
from nfkd_gui.panels.log import LogPanel
from nfkd_gui.panels.runs import RunsPanel
from nfkd_gui.panels.sample import SamplePanel
from nfkd_gui.plotting.plots import Plot
from nfkd_gui.window.train import PANELS
from tests.gui.panels.architecture_driver import Driver
from tests.gui.panels.test_likelihood import report
from tests.gui.panels.test_table_panel import rows
from tests.gui.recorded import NAMES

SWITCHES = 20
DRAWINGS = 10


def filled(recorded: Any, name: str) -> Any:
    """Return a recorded run after its last event."""
    run = recorded(name)
    run.play()
    add_usage(run)
    return run


def add_usage(run: Any) -> None:
    """Add curves about the machine, which runs recorded with an older version lack."""
    info = CurveInfo(name="system/cpu", label="CPU", unit="%")
    for seed, started in list(run.view.seeds.items()):
        plans = [structs.replace(plan, curves=[*plan.curves, info]) for plan in started.stages]
        run.add(structs.replace(started, stages=plans))
        batch = CurveBatch(steps=np.arange(3), values=np.ones(3), times=np.arange(1.0, 4.0))
        run.add(CurvePoints(run=run.view.row.run, seed=seed, stage="student", curves={info.name: batch}))


def answer(panel: Any, studio: Any, shape: tuple[int, ...]) -> None:
    """Answer the newest request of a panel that shows a reply, and draw it."""
    for request, on_reply, _, _ in studio.asked[-1:]:
        if isinstance(request, ReadTable):
            on_reply(rows(shape[0]))
        elif isinstance(request, ReadLikelihood):
            on_reply(report(shape))
    panel.refresh()


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
    "sample": SamplePanel,
}


@pytest.mark.parametrize("name", MAKERS)
def test_nothing_keeps_a_closed_panel(name: str, recorded: Any, fake_studio: Any, qapp: Any) -> None:
    panel: Any = MAKERS[name](fake_studio)
    panel.show()
    run = filled(recorded, "pinwheel")
    fake_studio.view = run.view
    fake_studio.view_changed.emit()
    if hasattr(panel, "show_run"):
        panel.show_run(run.view)
        fake_studio.example_chosen.emit(Origin("test", 1))  # which the sample inspector shows
        panel.refresh()
        assert panel.has_content()
    qapp.processEvents()
    tables = [view for view in panel.findChildren(QTableView) if not isinstance(view, QTableWidget)]
    models = [view.model().sourceModel() for view in tables]  # type: ignore[attr-defined]
    models += [view.model() for view in panel.findChildren(QTreeView)]
    kept = [weakref.ref(each) for each in (panel, *models)]
    destroy(panel)
    fake_studio.asked.clear()  # they hold the functions that would get the replies
    del panel, run, models, tables
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


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", PANELS)
def test_switching_runs_does_not_add_items_to_the_plots(
    kind: Any, name: str, show: Any, recorded: Any, fake_studio: Any
) -> None:
    panel = show(kind, filled(recorded, name))

    def items() -> list[int]:
        return [len(plot.scene().items()) for plot in panel.findChildren(Plot)]

    counts = []
    for _ in range(SWITCHES):
        run = filled(recorded, name)
        fake_studio.view = run.view
        panel.show_run(run.view)
        panel.refresh()
        answer(panel, fake_studio, (1, 8, 8) if name == "digits" else (2,))
        counts.append(items())
    assert counts[0] or name == "digits", "a panel has plots of vectors"
    assert counts[-1] == counts[1]
