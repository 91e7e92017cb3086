"""Views of many runs: 50 runs of 10,000 points over each other, and 500 groups in parallel coordinates."""

from __future__ import annotations

import asyncio
import itertools
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import QPointF, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from nfkd.protocol.comparing import RunCurve, RunCurves
from nfkd_gui.model.chosen_runs import ChosenRuns
from nfkd_gui.model.compare import CompareModel
from nfkd_gui.model.studio import Studio
from nfkd_gui.panels.compare_curves import RunCurvesPanel
from nfkd_gui.panels.compare_parallel import ParallelPanel
from nfkd_gui.panels.compare_tradeoff import TradeOffPanel
from nfkd_gui.plotting.lines import decimate
from nfkd_gui.theme import apply_theme
from nfkd_gui.widgets.workspace import Workspace
from nfkd_gui.window.compare_panels import add_compare_panels, arrange_compare_panels
from tests.gui.compare.compare_driver import hover
from tests.gui.compare_script import CompareScript, many_runs

pytestmark = pytest.mark.benchmark
RUNS, POINTS, SHOWN, GROUPS, FRAMES = 50, 10_000, 500, 500, 100


@pytest.fixture
def script() -> CompareScript:
    return CompareScript(lambda _event: None)


def model_of(studio: Studio, do: Callable[[Any], Any]) -> CompareModel:
    model = CompareModel(studio, studio)
    studio.list_runs()
    do(studio.clients[-1].settled())  # type: ignore[attr-defined]
    return model


def milliseconds(values: list[float]) -> str:
    return f"{1000 * statistics.median(values):.1f} ms, {1000 * np.percentile(values, 99):.1f} ms at p99"


def shown(panel: Any, qtbot: QtBot, size: tuple[int, int]) -> Any:
    qtbot.addWidget(panel)
    panel.resize(*size)
    with qtbot.waitExposed(panel):
        panel.show()
    return panel


def test_curves_of_50_runs(
    qapp: QApplication,
    qtbot: QtBot,
    ready: Studio,
    script: CompareScript,
    do: Callable[[Any], Any],
) -> None:
    apply_theme(qapp, "light")
    many_runs(script, RUNS)
    model = model_of(ready, do)
    chosen = ChosenRuns(ready, model, ready)
    panel = shown(RunCurvesPanel(ready, model, chosen), qtbot, (606, 436))
    noise = np.random.default_rng(1)
    steps = np.arange(1, POINTS + 1)
    long = {run: 2.5 + 2 * np.exp(-steps / 800) + 0.02 * noise.standard_normal(POINTS) for run in script.known}

    def read(_request: Any) -> RunCurves:
        curves = {}
        for run, values in long.items():
            x, y = decimate(steps, values, SHOWN // 2)
            curves[run] = RunCurve(steps=x, mean=y, low=y - 0.05, high=y + 0.05, seeds=3)
        return RunCurves(label="Negative log-likelihood", unit="bits/dim", curves=curves)

    script._readruncurves = read  # type: ignore[method-assign]
    model.choose(list(script.known))
    began = time.perf_counter()
    done = asyncio.Event()
    chosen.curves.changed.connect(done.set)
    panel.refresh()
    do(done.wait())
    panel.mark_dirty()
    panel.refresh()
    panel.plot.viewport().repaint()
    took = 1000 * (time.perf_counter() - began)
    print(f"\n{RUNS} runs of {POINTS:,} points compared after {took:.0f} ms, with the pause before the request")
    began = time.perf_counter()
    panel.mark_dirty()
    panel.refresh()
    drawn = time.perf_counter() - began
    port = panel.plot.viewport()
    paints = []
    for _ in range(20):
        began = time.perf_counter()
        port.repaint()
        paints.append(time.perf_counter() - began)
    print(f"drawn anew in {1000 * drawn:.0f} ms; painted in {milliseconds(paints)}")
    assert len(panel.plot.lines) == RUNS


def test_parallel_coordinates_of_500_groups(
    qapp: QApplication,
    qtbot: QtBot,
    ready: Studio,
    script: CompareScript,
    do: Callable[[Any], Any],
) -> None:
    apply_theme(qapp, "light")
    many_runs(script, GROUPS)
    model = model_of(ready, do)
    chosen = ChosenRuns(ready, model, ready)
    panel = shown(ParallelPanel(ready, model, chosen), qtbot, (606, 400))
    began = time.perf_counter()
    panel.mark_dirty()
    panel._shown = None
    panel.refresh()
    panel.plot.repaint()
    took = 1000 * (time.perf_counter() - began)
    print(f"\n{GROUPS} groups: {len(panel.plot.axis_names())} axes drawn in {took:.0f} ms")
    frame = panel.plot.frame()
    x = float(frame.places[-1])
    QTest.mousePress(panel.plot, Qt.MouseButton.LeftButton, pos=QPointF(x, frame.top + 5).toPoint())
    brushes, paints, place = [], [], QPointF()
    for step in range(FRAMES):
        place = QPointF(x, frame.top + 10 + step / FRAMES * 0.9 * frame.length)
        began = time.perf_counter()
        hover(panel.plot, place)
        panel.refresh()
        brushes.append(time.perf_counter() - began)
        began = time.perf_counter()
        panel.plot.repaint()
        paints.append(time.perf_counter() - began)
    most = len(model.chosen)
    print(f"a brush that chooses 1 to {most} groups: {milliseconds(brushes)}, painted in {milliseconds(paints)}")
    QTest.mouseRelease(panel.plot, Qt.MouseButton.LeftButton, pos=place.toPoint())
    model.choose([])
    panel.refresh()
    hovers = []
    for step in range(FRAMES):
        began = time.perf_counter()
        hover(panel.plot, QPointF(100 + 3 * step, frame.top + frame.length / 2))
        panel.plot.repaint()
        hovers.append(time.perf_counter() - began)
    print(f"pointer over lines: {milliseconds(hovers)}")


def test_trade_off_of_500_groups(
    qapp: QApplication, qtbot: QtBot, ready: Studio, script: CompareScript, do: Callable[[Any], Any]
) -> None:
    apply_theme(qapp, "light")
    many_runs(script, GROUPS)
    model = model_of(ready, do)
    tradeoff = shown(TradeOffPanel(ready, model, ChosenRuns(ready, model, ready)), qtbot, (474, 400))
    tradeoff.refresh()
    model.choose([group.key for group in model.groups[:8]])
    began = time.perf_counter()
    tradeoff.refresh()
    drawn = time.perf_counter() - began
    began = time.perf_counter()
    tradeoff.plot.viewport().repaint()
    print(f"\ntrade-off drawn in {1000 * drawn:.0f} ms, painted in {1000 * (time.perf_counter() - began):.0f} ms")


def test_heartbeat_while_50_runs_are_chosen(
    qapp: QApplication, qtbot: QtBot, ready: Studio, script: CompareScript, do: Callable[[Any], Any]
) -> None:
    apply_theme(qapp, "light")
    many_runs(script, RUNS)
    model = model_of(ready, do)
    workspace = Workspace("compare")
    add_compare_panels(workspace, ready, model)
    qtbot.addWidget(workspace)
    workspace.resize(1584, 436)
    with qtbot.waitExposed(workspace):
        workspace.show()
    arrange_compare_panels(workspace)
    workspace.docks["compare.curves"].raise_()
    beats = [time.perf_counter()]

    async def choose() -> None:
        keys = [group.key for group in model.groups]
        for step in range(FRAMES):
            model.choose(keys[: 1 + step // 2])
            for _ in range(4):
                await asyncio.sleep(0.005)
                beats.append(time.perf_counter())

    do(choose())
    late = [max(0.0, after - before - 0.005) for before, after in itertools.pairwise(beats)]
    print(f"\nthe loop is late by {milliseconds(late)} while 1 to {RUNS} runs are chosen, with curves and trade-off")
