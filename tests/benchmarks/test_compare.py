"""Time to list, filter and sort 10,000 runs in the table of Compare, and its frame rate with thumbnails."""

from __future__ import annotations

import asyncio
import importlib
import statistics
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import QAbstractItemModel, Qt
from PySide6.QtWidgets import QApplication
from qasync import QEventLoop

from nfkd.config import ExperimentConfig
from nfkd.protocol.codec import from_engine, to_wire
from nfkd.protocol.comparing import ReadRunValues, SeedValues
from nfkd.protocol.frames import FrameDecoder
from nfkd.protocol.requests import Answer, Request
from nfkd.protocol.view import RunView
from nfkd_gui.link.engine_client import OnError, OnEvent, OnLost, OnReply
from nfkd_gui.model.compare import CompareModel
from nfkd_gui.model.preferences import Preferences
from nfkd_gui.model.studio import Studio
from nfkd_gui.window.main_window import MainWindow
from tests.benchmarks.test_studio import Heartbeat, until
from tests.gui.conftest import ScriptedClient
from tests.gui.scripted_engine import Script, row_of

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(900)]
FIGURES = ("student_test", "gap_closed", *(f"student_figure_{number}" for number in range(20)))
FILTERS = (
    'student.hidden < 64 and verdict == "better"',
    "student_test < 0.5 or not distillation.pool.share > 0.1",
    "digits 99",
    "",
)


def settings() -> dict[str, Any]:
    """Return every setting of *digits* by its dotted path."""

    def walk(table: Any, path: str) -> Any:
        for key, value in table.items() if isinstance(table, Mapping) else enumerate(table):
            inner = f"{path}.{key}" if path else str(key)
            if isinstance(value, (Mapping, list)):
                yield from walk(value, inner)
            else:
                yield inner, float(value) if type(value) is int else value

    return dict(walk(ExperimentConfig.load("digits").model_dump(mode="json"), ""))


class WireClient(ScriptedClient):
    """Sends the values of runs as bytes, made in another thread: the loop decodes them, as those of an engine."""

    def __init__(self, on_event: OnEvent, on_lost: OnLost, script: Script) -> None:
        super().__init__(on_event, on_lost, script)
        self._makers = ThreadPoolExecutor(1)

    def send(self, request: Request, on_reply: OnReply, on_error: OnError) -> None:
        if not isinstance(request, ReadRunValues):
            super().send(request, on_reply, on_error)
            return
        loop = asyncio.get_event_loop_policy().get_event_loop()

        def decode(frame: bytes) -> None:
            for body in FrameDecoder().feed(frame):
                answer = from_engine(body)
                assert isinstance(answer, Answer)
                on_reply(answer.reply)

        def make() -> None:
            frame = to_wire(Answer(id=1, reply=self.script.answer(request)))
            loop.call_soon_threadsafe(decode, frame)

        self._makers.submit(make)

    async def close(self) -> None:
        self._makers.shutdown()
        await super().close()


class CpuBeat(Heartbeat):
    """Measures the processor time of this thread between timeouts: other processes do not count."""

    clock = staticmethod(time.thread_time)


class Table:
    """A window that shows Compare with many runs, a third of which have three seeds in runs of their own."""

    def __init__(self, folder: Path, count: int) -> None:
        importlib.import_module("nfkd_gui.window.compare")  # as the studio does in a thread when its window is shown
        self.script = Script(lambda _event: None)
        self.random = np.random.default_rng(0)
        self.fill(count)
        preferences = Preferences(runs_folder="/runs", theme="light")
        self.studio = Studio(preferences, folder / "studio.json", self._client)
        self.window = MainWindow(self.studio)

    def _client(self, on_event: Any, on_lost: Any) -> ScriptedClient:
        return WireClient(on_event, on_lost, self.script)

    def fill(self, count: int) -> None:
        """Make the runs."""
        base, runs, draw = settings(), self.script.runs, self.random.random
        for number in range(count):
            run = f"/runs/study {number // 3 % 6}/run {number:05}"
            row = row_of(
                run, "finished", created=1e9 + number, seeds_done=1, student_test=draw(), gap_closed=draw(),
                verdict="better", digest=f"digest {number // 3}" if number % 9 < 3 else f"digest {number}",
            )  # fmt: skip
            self.script.views[run] = RunView(row, "")
            runs.values[run] = base | {"student.hidden": float(16 * 2 ** (number // 9 % 3))}
            runs.seeds[run] = [SeedValues(seed=1 + number % 3, values={name: draw() for name in FIGURES})]
            runs.thumbnails[run] = self.random.integers(0, 256, (44, 44), np.uint8)

    async def begin(self) -> str:
        """Show the window, and return how long it takes from the list of runs until the table is painted."""
        self.window.resize(1600, 1000)
        self.window.show()
        self.window.activateWindow()
        await asyncio.sleep(0.5)
        self.studio.rows_changed.connect(self._note)
        self.studio.start()
        await until(self.studio.rows_changed, lambda: self.studio.rows)
        self.window.open_workspace("compare")
        QApplication.processEvents()
        seconds, used = time.perf_counter() - self._listed[0], time.process_time() - self._listed[1]
        return f"{1000 * seconds:.0f} ms, of the processor {1000 * used:.0f} ms"

    def _note(self) -> None:
        self._listed = (time.perf_counter(), time.process_time())

    async def end(self) -> None:
        """Close the window."""
        self.studio.experiment.dirty = False
        self.window.close()
        await self.studio.close()
        self.window.deleteLater()


def measure(name: str, act: Callable[[], None]) -> None:
    """Print the time that an act and the painting after it take, and what of it is not other processes."""
    seconds, used = [], []
    for _ in range(5):
        began, before = time.perf_counter(), time.process_time()
        act()
        QApplication.processEvents()
        seconds.append(time.perf_counter() - began)
        used.append(time.process_time() - before)
    median, processor = statistics.median(seconds), statistics.median(used)
    print(f"{name:62} {1000 * median:5.0f} ms, of the processor {1000 * processor:.0f} ms")


async def measure_grouping(name: str, compare: CompareModel, heart: CpuBeat) -> None:
    """Print the time until all runs are grouped otherwise and painted, and the longest turn."""
    await asyncio.sleep(2)  # panels draw what was shown before
    times = list[float]()

    async def act() -> None:
        await asyncio.sleep(0.1)
        began, before, count = time.perf_counter(), time.process_time(), len(compare.groups)
        compare.group_seeds(grouped=not compare.grouped)
        await until(compare.groups_changed, lambda: len(compare.groups) != count)
        QApplication.processEvents()
        times.extend((time.perf_counter() - began, time.process_time() - before))
        await asyncio.sleep(1)

    longest = (await heart.during(act())).max()
    shown = f"{1000 * times[0]:5.0f} ms, of the processor {1000 * times[1]:.0f} ms"
    print(f"{name:62} {shown}; CPU between two beats at most {longest:.0f} ms")


def test_time_to_list_filter_and_sort_ten_thousand_runs(loop: QEventLoop, tmp_path: Path) -> None:
    table = Table(tmp_path, 10_000)

    async def scenario() -> None:
        print(f"\n10,000 runs listed and painted after {await table.begin()}")
        runs, compare = table.window.runs, table.window.runs.compare
        heart, began = CpuBeat(), time.perf_counter()
        while len(compare.names()) < len(settings()) or "student.hidden" not in compare.groups[-1].values:
            gaps = await heart.measure(1)
            p99, longest = np.percentile(gaps, 99), gaps.max()
            print(f"while values arrive: CPU between two beats p99 {p99:.0f} ms, longest {longest:.0f} ms")
        print(f"their values after {time.perf_counter() - began:.1f} s; {len(compare.groups):,} groups")
        for text in FILTERS:
            measure(f"filter {text!r}", lambda text=text: compare.filter_by(text))
        for name in ("student_test", "name"):
            measure(f"sort by {name}", lambda name=name: compare.sort_by(name, descending=True))
        measure("choose a folder", lambda: compare.show_folder("study 1"))
        measure("choose all folders", lambda: compare.show_folder(None))
        for name in ("each run alone", "seeds grouped"):
            await measure_grouping(name, compare, heart)
        measure("select all", runs.table.selectAll)
        await table.end()

    loop.run_until_complete(scenario())


def test_frames_while_four_hundred_thumbnails_scroll(loop: QEventLoop, tmp_path: Path) -> None:
    table = Table(tmp_path, 600)

    async def scenario() -> None:
        await table.begin()
        runs = table.window.runs
        runs.head_buttons[0].click()
        await asyncio.sleep(0.5)
        model: QAbstractItemModel = runs.model
        bar, view = runs.table.verticalScrollBar(), runs.table
        seconds, used = [], []
        for value in range(0, bar.maximum(), 24):
            began, before = time.perf_counter(), time.process_time()
            bar.setValue(value)
            view.viewport().repaint()
            seconds.append(time.perf_counter() - began)
            used.append(time.process_time() - before)
            await asyncio.sleep(0)
        rows = model.rowCount()
        print(f"\n{rows} rows with thumbnails scroll:")
        for name, found in (("", seconds), (", by the time of the processor", used)):
            rates = 1 / statistics.median(found), 1 / np.percentile(found, 99)
            print(f"{rates[0]:.0f} frames/s (median), {rates[1]:.0f} frames/s (slowest 1 %){name}")
        assert model.headerData(0, Qt.Orientation.Horizontal)
        await table.end()

    loop.run_until_complete(scenario())
