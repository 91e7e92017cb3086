"""The lab while it trains and plays through the layers: painted frames, densities, and the window's heartbeat."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PySide6.QtWidgets import QApplication
from qasync import QEventLoop

from nfkd.protocol.lab import LabFrame
from nfkd.protocol.requests import Shutdown
from nfkd_gui.model.lab import LabModel
from nfkd_gui.model.preferences import Preferences
from nfkd_gui.model.studio import Studio
from nfkd_gui.panels.lab_view import LabView
from nfkd_gui.theme import apply_theme
from tests.benchmarks.test_studio import Heartbeat

pytestmark = pytest.mark.benchmark

SIZE = (1176, 904)
"""Of the lab in a window of 1600×1000 with a lesson."""


class Densities:
    """Counts the frames with new densities."""

    def __init__(self, lab: LabModel) -> None:
        self._lab, self.count, self._last = lab, 0, -1
        lab.frame_changed.connect(self._add)

    def _add(self) -> None:
        frame = self._lab.frame
        if isinstance(frame, LabFrame) and frame.pictures and frame.number != self._last:
            self._last = frame.number
            self.count += 1


@pytest.mark.timeout(600)
def test_the_lab_while_it_trains_at_full_speed(loop: QEventLoop, qapp: QApplication, tmp_path: Path) -> None:
    apply_theme(qapp, "dark")
    studio = Studio(Preferences(runs_folder=str(tmp_path), theme="dark"), tmp_path / "studio.json")
    loop.run_until_complete(watch(studio))


async def until(true: Any, seconds: float = 300.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        await asyncio.sleep(0.05)


async def watch(studio: Studio) -> None:
    lab = LabModel(studio)
    lab.state = lab.state.with_values({"lab.speed": "full", "training.student_steps": 100_000})
    view = LabView(lab, studio)
    view.resize(*SIZE)
    view.show()
    studio.start()
    lab.control("play")
    await until(lambda: lab.frame is not None and lab.frame.phase == "students" and len(lab.pictures) == 3)
    seconds = float(os.environ.get("NFKD_BENCH_SECONDS", "15"))
    heart, densities = Heartbeat(), Densities(lab)
    print()
    for playing in (False, True):
        view.scrubber.play.setChecked(playing)
        await asyncio.sleep(1)
        painted, drawn, step, began = view.planes.painted, densities.count, lab.frame.step, time.perf_counter()  # type: ignore[union-attr]
        gaps = await heart.measure(seconds)
        passed = time.perf_counter() - began
        print(
            f"{'play through the layers' if playing else 'at the data':24}: "
            f"{(view.planes.painted - painted) / passed:4.1f} painted frames/s, "
            f"{(densities.count - drawn) / passed:3.1f} densities/s, "
            f"{(lab.frame.step - step) / passed:4.1f} steps/s, "  # type: ignore[union-attr]
            f"heartbeat p99 {np.percentile(gaps, 99):5.1f} ms, longest {gaps.max():5.1f} ms"
        )
    view.scrubber.pause()
    view.close()
    lab.close()
    engine = psutil.Process(studio.engine.status.pid) if studio.engine.status is not None else None
    ended = asyncio.Event()
    studio.ask(Shutdown(), lambda _reply: ended.set(), lambda _error: ended.set())
    await ended.wait()
    await studio.close()
    view.deleteLater()
    psutil.wait_procs([engine] if engine is not None else [], timeout=60)
