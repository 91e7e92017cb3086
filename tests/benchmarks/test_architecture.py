"""Time from the drop of a line in the drawing of the flows to the engine's new description."""

from __future__ import annotations

import asyncio
import statistics
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from PySide6.QtCore import QEvent, QPoint, QPointF, Qt
from PySide6.QtGui import QMouseEvent
from PySide6.QtWidgets import QApplication
from qasync import QEventLoop

from nfkd.protocol.requests import Shutdown
from nfkd_gui.app import make_window
from nfkd_gui.gc_policy import freeze_existing_objects
from nfkd_gui.window.main_window import MainWindow

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(300)]
ROUNDS = 12
PATIENCE = 30.0


def send(view: Any, kind: QEvent.Type, place: QPoint) -> None:
    left, viewport = Qt.MouseButton.LeftButton, view.viewport()
    down = Qt.MouseButton.NoButton if kind == QEvent.Type.MouseButtonRelease else left
    at = QPointF(viewport.mapToGlobal(place))
    event = QMouseEvent(kind, QPointF(place), at, left, down, Qt.KeyboardModifier.NoModifier)
    QApplication.sendEvent(viewport, event)


async def described(window: MainWindow) -> None:
    """Wait until the engine has described the experiment and everything is painted."""
    experiment, found = window.studio.experiment, asyncio.Event()

    def check() -> None:
        if experiment.description is not None:
            found.set()

    experiment.checked.connect(check)
    check()
    await asyncio.wait_for(found.wait(), PATIENCE)
    experiment.checked.disconnect(check)
    QApplication.processEvents()


def processor_time(window: MainWindow) -> float:
    """Return the seconds that the studio and the engine have computed: other work on the machine does not count."""
    status = window.studio.engine.status
    assert status is not None
    engine = psutil.Process(status.pid).cpu_times()
    return time.process_time() + engine.user + engine.system


async def estimated(window: MainWindow) -> None:
    """Wait until the engine has measured the time of the experiment."""
    times, found = window.studio.time_estimate, asyncio.Event()

    def check() -> None:
        if times.estimate is not None or times.error is not None:
            found.set()

    times.changed.connect(check)
    check()
    await asyncio.wait_for(found.wait(), PATIENCE)
    times.changed.disconnect(check)


@pytest.mark.parametrize("preset", ["digits", "two_moons"])
def test_time_from_a_drop_to_the_new_estimate(
    preset: str, loop: QEventLoop, qapp: QApplication, tmp_path: Path
) -> None:
    window = make_window(qapp, preset, str(tmp_path))
    window.resize(1440, 900)

    async def scenario() -> None:
        window.show()
        freeze_existing_objects()
        window.studio.start()
        window.open_workspace("design")
        await described(window)
        await estimated(window)
        view, seconds, handled = window.design.architecture.view, list[float](), list[float]()
        busy = list[float]()
        for number in range(ROUNDS):
            item = view.drawing.pairs[-1]
            layer = view.drawing.layout_.row_of("teacher")[-1 - number % 2].layers[0]
            end = view.drawing.end_of("teacher", layer.name, "teacher")
            assert end is not None
            target = view.mapFromScene(end - QPointF(0, 20))
            if item.pair.teacher == layer.name:
                continue
            grip = view.mapFromScene(item.end("teacher"))
            send(view, QEvent.Type.MouseButtonPress, grip)
            send(view, QEvent.Type.MouseMove, (grip + target) / 2)
            send(view, QEvent.Type.MouseMove, target)
            used, began = processor_time(window), time.perf_counter()
            send(view, QEvent.Type.MouseButtonRelease, target)
            handled.append(time.perf_counter() - began)
            assert window.studio.experiment.description is None, "the drop changed the experiment"
            await described(window)
            seconds.append(time.perf_counter() - began)
            busy.append(processor_time(window) - used)
            await estimated(window)  # else the engine would measure times during the next round
        median, longest = 1000 * statistics.median(seconds), 1000 * max(seconds)
        print(f"\n{preset}: {1000 * statistics.median(handled):.0f} ms until the form and the drawing have changed")
        print(f"{preset}: {1000 * statistics.mean(busy):.0f} ms of processor time of studio and engine (mean)")
        print(f"{preset}: from drop to estimate {median:.0f} ms (median of {len(seconds)}; longest {longest:.0f} ms)")
        await end_engine(window)

    loop.run_until_complete(scenario())


async def end_engine(window: MainWindow) -> None:
    """Close the window, and wait until the engine has ended."""
    studio, over = window.studio, asyncio.Event()
    engine = psutil.Process(studio.engine.status.pid) if studio.engine.status is not None else None
    studio.ask(Shutdown(), lambda _reply: over.set(), lambda _error: over.set())
    await over.wait()
    studio.experiment.dirty = False
    window.close()
    await studio.close()
    window.deleteLater()
    psutil.wait_procs([engine] if engine is not None else [], timeout=60)
