"""Curves of a million points: time until they are drawn, frames per second while panning, cost of a new point."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QMouseEvent
from PySide6.QtWidgets import QApplication

from nfkd.protocol import events
from nfkd.protocol.records import CurveInfo
from nfkd.protocol.view import RunView
from nfkd_gui.model.preferences import Preferences
from nfkd_gui.model.studio import Studio
from nfkd_gui.panels.curves import CurvesPanel
from nfkd_gui.theme import apply_theme

pytestmark = pytest.mark.benchmark

RUN, POINTS, FRAMES = "/runs/long", 1_000_000, 200


def long_run() -> RunView:
    """Return a run whose teacher has a training value at each of a million steps, and one validation per thousand."""
    row = events.RunRow(
        run=RUN, name="long", state="running", data="digits", teacher="Glow 8×2", student="Glow 2×2", created=0.0,
        seeds=1, seeds_done=0, progress=0.0,
    )  # fmt: skip
    view = RunView(row, "")
    infos = [CurveInfo(name=name, label="NLL", unit="bits/dim") for name in ("train/nll", "validation/nll")]
    plan = events.StagePlan(stage="teacher", steps=POINTS, curves=infos)
    view.apply(events.SeedStarted(run=RUN, seed=1, stages=[plan], event_shape=[1, 8, 8]))
    view.apply(events.StageStarted(run=RUN, seed=1, stage="teacher"))
    view.apply(points(1, POINTS))
    return view


def points(first: int, count: int) -> events.CurvePoints:
    steps = np.arange(first, first + count)
    values = 2 + 2 * np.exp(-steps / 2e5) + 0.1 * np.random.default_rng(first).standard_normal(count)
    train = events.CurveBatch(steps=steps, values=values, times=steps / 100)
    some = steps % 1000 == 0
    validation = events.CurveBatch(steps=steps[some], values=values[some], times=steps[some] / 100)
    curves = {"train/nll": train, "validation/nll": validation}
    return events.CurvePoints(run=RUN, seed=1, stage="teacher", curves=curves)


def send(kind: QMouseEvent.Type, view: Any, at: QPoint) -> None:
    left, none = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    event = QMouseEvent(kind, QPointF(at), QPointF(view.mapToGlobal(at)), left, left, none)
    QApplication.sendEvent(view, event)


def test_curves_of_a_million_points(qapp: QApplication, qtbot: Any, tmp_path: Path) -> None:
    apply_theme(qapp, "light")
    view = long_run()
    panel = CurvesPanel(Studio(Preferences(), tmp_path / "studio.json"))
    qtbot.addWidget(panel)
    panel.resize(616, 418)
    panel.show()
    qtbot.waitExposed(panel)

    began = time.perf_counter()
    panel.show_run(view)
    panel.refresh()
    qapp.processEvents()
    panel.repaint()
    print(f"\n{POINTS:,} points drawn after {1000 * (time.perf_counter() - began):.0f} ms")

    plot = panel.plots["likelihood"]
    port = plot.viewport()
    middle = port.rect().center()
    for part in ("all points", "a tenth of them"):
        if part == "a tenth of them":
            plot.canvas.getViewBox().setXRange(0.5 * POINTS, 0.6 * POINTS)
            qapp.processEvents()
        send(QMouseEvent.Type.MouseButtonPress, port, middle)
        frames = []
        for frame in range(FRAMES):
            began = time.perf_counter()
            send(QMouseEvent.Type.MouseMove, port, middle + QPoint(round(80 * np.sin(frame / 20)), 0))
            port.repaint()
            frames.append(time.perf_counter() - began)
        send(QMouseEvent.Type.MouseButtonRelease, port, middle)
        slowest = np.percentile(frames, 99)
        print(f"panning {part}: {1 / statistics.median(frames):.0f} frames/s, {1000 * slowest:.1f} ms at p99")
    plot.show_everything()

    costs = []
    for number in range(FRAMES):
        view.apply(points(POINTS + 1 + 5 * number, 5))
        panel.mark_dirty()
        began = time.perf_counter()
        panel.refresh()
        port.repaint()
        costs.append(time.perf_counter() - began)
    print(f"five new points: {1000 * statistics.median(costs):.1f} ms, {1000 * np.percentile(costs, 99):.1f} ms at p99")
