"""Time to switch workspaces, and the studio's memory while a run streams."""

from __future__ import annotations

import asyncio
import gc
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QApplication
from qasync import QEventLoop

from nfkd.config import ExperimentConfig
from nfkd.protocol.events import CurvePoints, SamplesDrawn, SeedStarted, StageStarted
from nfkd.protocol.records import CurveBatch, CurveInfo, StagePlan
from nfkd.protocol.roles import USUAL
from nfkd_gui.model.preferences import Preferences
from nfkd_gui.model.studio import Studio
from nfkd_gui.panels.curves import CurvesPanel
from nfkd_gui.window.main_window import MainWindow
from tests.gui.conftest import ScriptedClient
from tests.gui.scripted_engine import Script

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(900)]
IMAGES = 64
_TERMS = ("nll", "lkd", "ilkd", "skd_l1")
CURVES = (
    "train/total", *(f"train/{name}" for name in _TERMS), "validation/nll", "learning_rate", "gradient_norm",
    *(f"weighted/{name}" for name in _TERMS), *(f"share/{name}" for name in _TERMS), "masked",
)  # fmt: skip
"""The curves of a student with four loss terms, as the plan of its stage names them."""
ROUNDS, POINTS = 2400, 5
"""Updates of ten minutes, at four a second, and the points of each: 20 steps a second, as *digits* on two cores."""
PICTURES_EVERY = 25


class Stream:
    """A run of the digits preset whose events come from here, without an engine."""

    run = "/runs/stream"

    def __init__(self, folder: Path) -> None:
        self.script = Script(lambda _event: None)
        preferences = Preferences(runs_folder="/runs", theme="light")
        self.studio = Studio(preferences, folder / "studio.json", self._client)
        self.window = MainWindow(self.studio)
        self._random = np.random.default_rng(0)

    def _client(self, on_event: Any, on_lost: Any) -> ScriptedClient:
        return ScriptedClient(on_event, on_lost, self.script)

    async def begin(self) -> None:
        """Show the window with the run in its first stage."""
        self.window.files.open("digits")
        self.window.resize(1440, 900)
        self.window.show()
        self.studio.start()
        await asyncio.sleep(1)
        self.script.begin(self.run, ExperimentConfig.load("digits").to_toml())
        self.studio.open_run(self.run)
        await asyncio.sleep(1)
        curves = [CurveInfo(name=name, label=name) for name in CURVES]
        plans = [StagePlan(stage=role, steps=POINTS * ROUNDS, curves=curves) for role in USUAL]
        self.script.emit(SeedStarted(run=self.run, seed=1, stages=plans, event_shape=[1, 8, 8]))
        self.script.emit(StageStarted(run=self.run, seed=1, stage="teacher"))
        self.window.open_workspace("train")
        self.update(0)
        self.curves = next(panel for panel in self.window.panels if isinstance(panel, CurvesPanel))
        self.curves.refresh()
        for action in self.window.findChildren(QAction):
            if action.objectName().startswith("curves.quantity."):
                action.setChecked(True)
        await asyncio.sleep(0)

    def check_drawn(self) -> None:
        """Check that every quantity has a plot, and every plot a line with points."""
        self.curves.mark_dirty()
        self.curves.refresh()
        assert self.curves.has_content()
        # The training and the validation likelihood share a plot.
        assert len(self.curves.plots) == len(CURVES) - 1
        for name, plot in self.curves.plots.items():
            assert any(line.dataBounds(0)[0] is not None for line in plot.lines.values()), name

    def update(self, number: int) -> None:
        """Send points of every curve and, now and then, pictures."""
        steps = np.arange(POINTS * number, POINTS * (number + 1))
        curves = {
            curve: CurveBatch(steps=steps, values=self._random.normal(size=POINTS), times=0.05 * steps)
            for curve in CURVES
        }
        self.send(CurvePoints(run=self.run, seed=1, stage="teacher", curves=curves))
        if number % PICTURES_EVERY == 0:
            samples = self._random.uniform(size=(IMAGES, 1, 8, 8)).astype(np.float32)
            step = int(steps[-1])
            self.send(SamplesDrawn(run=self.run, seed=1, stage="teacher", step=step, temperature=0.7, samples=samples))

    def send(self, event: Any) -> None:
        """Send an event to the studio, without keeping it in the script."""
        self.script._on_event(event)

    async def end(self) -> None:
        """Close the window."""
        self.studio.experiment.dirty = False
        self.window.close()
        await self.studio.close()
        self.window.deleteLater()


def test_memory_while_ten_minutes_of_a_run_stream(loop: QEventLoop, tmp_path: Path) -> None:
    stream = Stream(tmp_path)

    async def scenario() -> None:
        await stream.begin()
        used = []
        for number in range(1, ROUNDS):
            stream.update(number)
            for panel in stream.window.panels:
                panel.refresh()
            await asyncio.sleep(0)
            if number in (ROUNDS // 10, ROUNDS - 1):
                stream.check_drawn()
                gc.collect()
                used.append(psutil.Process().memory_info().rss)
        await stream.end()
        growth = 100 * (used[1] / used[0] - 1)
        print(
            f"\n{len(CURVES)} curves and pictures, ten minutes of updates: {used[1] / 2**20:.0f} MiB, {growth:+.1f} %"
        )

    loop.run_until_complete(scenario())


def test_time_to_switch_the_workspace(loop: QEventLoop, qapp: QApplication, tmp_path: Path) -> None:
    stream = Stream(tmp_path)

    async def scenario() -> None:
        await stream.begin()
        for number in range(1, 200):
            stream.update(number)
        for name in ("design", "compare", "train"):  # each is laid out once before
            stream.window.open_workspace(name)
            await asyncio.sleep(0.5)
        stream.check_drawn()
        seconds: dict[str, list[float]] = {}
        for _ in range(20):
            for name in ("design", "train", "compare"):
                began = time.perf_counter()
                stream.window.open_workspace(name)
                qapp.processEvents()  # layout and painting
                seconds.setdefault(name, []).append(time.perf_counter() - began)
        await stream.end()
        for name, found in seconds.items():
            print(f"\nswitch to {name}: {1000 * statistics.median(found):.0f} ms, longest {1000 * max(found):.0f} ms")

    loop.run_until_complete(scenario())
