"""The window on a slow line: its heartbeat while a digits run of another machine is watched, and times."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PySide6.QtWidgets import QApplication
from qasync import QEventLoop

from nfkd.protocol.events import SamplesDrawn
from nfkd.remote.hosts import EngineHost, write_engines
from nfkd_gui.app import make_window
from nfkd_gui.gc_policy import freeze_existing_objects
from nfkd_gui.window.main_window import MainWindow
from tests.benchmarks.test_remote import slow_server
from tests.benchmarks.test_studio import Heartbeat, until
from tests.ssh_server import ALIAS, AVAILABLE

pytestmark = [
    pytest.mark.benchmark,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not AVAILABLE, reason="openssh-server and openssh-client are not installed"),
]
TRAINING = {"teacher_steps": 100, "student_steps": 100_000}
"""Settings with which the student's stage begins soon and lasts."""
MONITORS = {"few": {"pictures_every": 50}, "many": {"pictures_every": 1, "sample_count": 256}}


@pytest.mark.parametrize("pictures", MONITORS)
def test_the_window_on_a_slow_line(
    loop: QEventLoop, qapp: QApplication, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pictures: str
) -> None:
    monkeypatch.setenv("NFKD_ENGINES", str(tmp_path / "engines.toml"))
    with slow_server(tmp_path, monkeypatch):
        write_engines([EngineHost("lab", ALIAS, sys.executable, str(tmp_path / "lab-runs"))])
        window = make_window(qapp, "digits", str(tmp_path / "runs"))
        window.resize(1440, 900)
        loop.run_until_complete(watch(window, pictures))


async def watch(window: MainWindow, pictures: str) -> None:
    studio = window.studio
    window.show()
    freeze_existing_objects()
    studio.machines.choose("lab")
    began = time.perf_counter()
    studio.start()
    await until(studio.engine_changed, lambda: studio.ready)
    print(f"\n{pictures} pictures: connected after {time.perf_counter() - began:.1f} s, with the start of the engine")
    document: Any = dict(studio.experiment.document)
    more = {"training": TRAINING, "monitor": MONITORS[pictures]}
    studio.experiment.replace(document | {name: document.get(name, {}) | values for name, values in more.items()})
    await until(studio.experiment.checked, lambda: studio.experiment.may_run)
    studio.run_experiment()
    await until(studio.event_applied, lambda: studio.view is not None and studio.view.current == (1, "student"))
    await measure_heartbeat(window, MONITORS[pictures]["pictures_every"])
    await measure_opening(window)
    over = asyncio.Event()
    engine = psutil.Process(studio.engine.status.pid) if studio.engine.status is not None else None
    studio.stop_engine()
    studio.engine_changed.connect(over.set)
    await over.wait()
    await studio.close()
    window.close()
    window.deleteLater()
    if engine is not None:
        engine.wait(60)


async def measure_heartbeat(window: MainWindow, every: int) -> None:
    studio = window.studio
    window.open_workspace("train")
    window.train.tile_all()
    await asyncio.sleep(2)
    pictures, steps, slow, trips = 0, [], 0, []

    def count(event: object) -> None:
        nonlocal pictures
        if isinstance(event, SamplesDrawn):
            pictures += 1
            steps.append(event.step)

    def note() -> None:
        nonlocal slow
        slow += studio.line_speed.slow
        trips.append(studio.line_speed.round_trip or 0.0)

    studio.event_applied.connect(count)
    studio.line_speed.changed.connect(note)
    seconds = float(os.environ.get("NFKD_BENCH_SECONDS", "30"))
    gaps = await Heartbeat().measure(seconds)
    studio.event_applied.disconnect(count)
    studio.line_speed.changed.disconnect(note)
    drawn = (steps[-1] - steps[0]) // every if len(steps) > 1 else 0
    print(f"heartbeat over {seconds:.0f} s: p99 {np.percentile(gaps, 99):.1f} ms, longest {gaps.max():.1f} ms")
    print(f"{pictures} of about {drawn + 1} pictures of samples arrived; {studio.line_speed.details()}")
    print(f"longest round trip {max(trips):.1f} s; slow in {100 * slow / max(1, len(trips)):.0f} % of the looks")


async def measure_opening(window: MainWindow) -> None:
    """Open the run again from the table, while it is in training."""
    studio = window.studio
    assert studio.view is not None
    run, times = studio.view.row.run, []
    heart = asyncio.create_task(Heartbeat().measure(20.0))
    for _ in range(5):
        studio.close_run()
        began = time.perf_counter()
        studio.open_run(run)
        await until(studio.view_changed, lambda: studio.view is not None)
        times.append(time.perf_counter() - began)
    gaps = await heart
    shown = ", ".join(f"{each:.1f}" for each in times)
    print(f"opened the run in {shown} s; heartbeat meanwhile p99 {np.percentile(gaps, 99):.1f} ms, "
          f"longest {gaps.max():.1f} ms")  # fmt: skip
