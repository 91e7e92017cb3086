"""Time until the studio's window is shown, and its responsiveness during training."""

from __future__ import annotations

import asyncio
import copy
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PySide6.QtCore import Qt, QTimer
from PySide6.QtWidgets import QApplication, QPushButton
from qasync import QEventLoop

from nfkd.protocol.requests import Shutdown
from nfkd_gui.app import make_window
from nfkd_gui.gc_policy import freeze_existing_objects
from nfkd_gui.panels.asking import AskingPanel
from nfkd_gui.panels.base import Panel
from nfkd_gui.window.main_window import MainWindow

pytestmark = pytest.mark.benchmark

SHORT_TEACHER = {"teacher_steps": 100, "student_steps": 100_000}
"""Settings with which the student's stage, the only one with matching errors, begins soon and lasts."""
SHOWN = """
import sys, time
from PySide6.QtWidgets import QApplication
from PySide6.QtCore import QTimer
from nfkd_gui.app import make_window
from nfkd_gui.gc_policy import gc_paused
app = QApplication([])
with gc_paused():
    window = make_window(app, "digits", sys.argv[1])
window.show()
while not window.windowHandle().isExposed():
    app.processEvents()
app.processEvents()
print(time.time())
"""


def test_time_until_the_window_is_shown(tmp_path: Path) -> None:
    seconds = []
    for _ in range(5):
        began = time.time()
        done = subprocess.run([sys.executable, "-c", SHOWN, str(tmp_path)], capture_output=True, text=True, check=True)
        seconds.append(float(done.stdout) - began)
    print(f"\nwindow shown after {statistics.median(seconds):.2f} s (median of 5; worst {max(seconds):.2f} s)")


class Heartbeat:
    """A precise timer of 16 ms, and the times between its timeouts."""

    clock = staticmethod(time.perf_counter)

    def __init__(self) -> None:
        self._timer = QTimer()
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.setInterval(16)
        self._timer.timeout.connect(self._beat)
        self._last = 0.0
        self._gaps: list[float] = []

    def _beat(self) -> None:
        now = self.clock()
        self._gaps.append(now - self._last)
        self._last = now

    async def measure(self, seconds: float) -> np.ndarray:
        """Return the gaps between timeouts over some seconds, in milliseconds."""
        return await self.during(asyncio.sleep(seconds))

    async def during(self, act: Awaitable[None]) -> np.ndarray:
        """Return the gaps between timeouts until an act ends, in milliseconds."""
        self._gaps, self._last = [], self.clock()
        self._timer.start()
        await act
        self._timer.stop()
        return 1000 * np.array(self._gaps[1:])


@pytest.mark.timeout(600)
def test_heartbeat_during_a_digits_run(loop: QEventLoop, qapp: QApplication, tmp_path: Path) -> None:
    window = make_window(qapp, "digits", str(tmp_path))
    window.resize(1440, 900)
    loop.run_until_complete(watch(window))


async def until(signal: Any, true: Any) -> None:
    found = asyncio.Event()

    def check(*_values: Any) -> None:
        if true():
            found.set()

    signal.connect(check)
    check()
    await found.wait()
    signal.disconnect(check)


async def measure_panels(window: MainWindow, panels: list[Panel], seconds: float) -> list[np.ndarray]:
    """Return the gaps between timeouts with each panel in front in turn; Flow plays."""
    heart, every = Heartbeat(), []
    window.open_workspace("train")
    window.train.stack_all()
    for panel in panels:
        window.train.tiles.docks[panel.name].raise_()
        await asyncio.sleep(1)
        playing = panel.findChild(QPushButton, "flow.play")
        if playing is not None:
            playing.setChecked(True)
        gaps = await heart.measure(seconds)
        if playing is not None:
            playing.setChecked(False)
        every.append(gaps)
        print(f"{panel.title:14} in front: p99 {np.percentile(gaps, 99):5.1f} ms, longest {gaps.max():5.1f} ms")
    return every


async def watch(window: MainWindow) -> None:
    studio = window.studio
    window.show()
    freeze_existing_objects()
    studio.start()
    await until(studio.experiment.checked, lambda: studio.experiment.may_run)
    document = copy.deepcopy(studio.experiment.document)
    document["training"] |= SHORT_TEACHER
    studio.experiment.replace(document)
    await until(studio.experiment.checked, lambda: studio.experiment.may_run)
    studio.run_experiment()
    panels = [panel for panel in window.panels if panel.name in window.train.tiles.docks]
    followers = [panel for panel in panels if not isinstance(panel, AskingPanel)]  # the others ask once they are shown
    await until(studio.event_applied, lambda: all(panel.has_content() for panel in followers))
    seconds = float(os.environ.get("NFKD_BENCH_SECONDS", "15"))
    print()
    every = await measure_panels(window, panels, seconds)
    assert studio.view is not None
    assert studio.view.current == (1, "student"), "the student was in training all the time"
    gaps = np.concatenate(every)
    print(f"{'all':14}         : p99 {np.percentile(gaps, 99):5.1f} ms, longest {gaps.max():5.1f} ms")
    over = asyncio.Event()
    engine = psutil.Process(studio.engine.status.pid) if studio.engine.status is not None else None
    studio.ask(Shutdown(), lambda _reply: over.set(), lambda _error: over.set())
    await over.wait()
    studio.experiment.dirty = False
    window.close()
    await studio.close()
    window.deleteLater()
    psutil.wait_procs([engine] if engine is not None else [], timeout=60)
