"""The flow panel: time until its first picture, of a step through the layers, and of the states of an image."""

from __future__ import annotations

import statistics
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PySide6.QtWidgets import QApplication

import nfkd
from nfkd.config import ExperimentConfig
from nfkd.engine.explore import Explorer
from nfkd.protocol.inspection import InspectMessage, Origin, ReadLayers, ReadPlane
from nfkd.protocol.view import RunView
from nfkd.runs.reader import open_run
from nfkd_gui.model.preferences import Preferences
from nfkd_gui.model.studio import Studio
from nfkd_gui.panels import flow
from nfkd_gui.panels.flow import FlowPanel
from nfkd_gui.theme import apply_theme

pytestmark = pytest.mark.benchmark

POINTS, STEPS, ROUNDS = 4000, 60, 15
DATA = Path(__file__).resolve().parents[1] / "data"


class Answering(Studio):
    """A studio whose engine answers in this thread."""

    def __init__(self, folder: Path) -> None:
        super().__init__(Preferences(), folder / "studio.json")
        self.explorer = Explorer()
        self.asked: list[Any] = []

    def ask(self, request: Any, on_reply: Any, on_error: Any, *, key: str = "") -> None:
        del on_error, key
        self.asked.append((request, on_reply))

    def answer(self) -> None:
        while self.asked:
            request, reply = self.asked.pop(0)
            if isinstance(request, InspectMessage):
                reply(self.explorer.answer(request))


@pytest.fixture
def panel_of(qapp: QApplication, qtbot: Any, tmp_path: Path) -> Callable[[Path, tuple[int, int]], FlowPanel]:
    def make(run: Path, size: tuple[int, int]) -> FlowPanel:
        torch.set_num_threads(1)
        apply_theme(qapp, "light")
        studio = Answering(tmp_path)
        studio.view = RunView.from_snapshot(open_run(run).snapshot())
        studio.seed = min(studio.view.seeds)
        panel = FlowPanel(studio)
        qtbot.addWidget(panel)
        panel.resize(*size)
        with qtbot.waitExposed(panel):
            panel.show()
        panel.show_run(studio.view)
        for _ in range(2):
            panel.refresh()
            studio.answer()
            panel.refresh()
            qapp.processEvents()
        return panel

    return make


def milliseconds(act: Callable[[], object], rounds: int) -> float:
    """Return the median time of an action."""
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        act()
        times.append(1000 * (time.perf_counter() - began))
    return statistics.median(times)


def repaint(panel: FlowPanel) -> None:
    for cell in panel.planes.cells:
        cell.plane.viewport().repaint()


def test_two_moons_in_the_plane(panel_of: Any, qapp: QApplication, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(flow, "POINTS", POINTS)
    config = ExperimentConfig.load("two_moons")
    teacher = config.teacher.model_dump(mode="json") | {"steps": 8}
    student = config.student.model_dump(mode="json") | {"steps": 2}
    short = {"teacher_steps": 40, "student_steps": 20}
    nfkd.run(config.replace(teacher=teacher, student=student, training=short), tmp_path / "moons")
    print()
    for name, size in (("tile", (616, 380)), ("enlarged", (1180, 760))):
        panel = panel_of(tmp_path / "moons", size)
        plane = panel.states.plane
        assert plane is not None
        assert [cell.plane.flow.points.shape for cell in panel.planes.cells] == [(9, POINTS, 2), (3, POINTS, 2)]
        request = ReadPlane(run=plane.run, seed=plane.seed, count=POINTS)
        explorer = panel.studio.explorer
        engine = milliseconds(lambda explorer=explorer, request=request: explorer.answer(request), ROUNDS)

        def show_new(panel: FlowPanel = panel) -> None:
            panel._redraw()
            panel.refresh()
            repaint(panel)

        paint = milliseconds(show_new, ROUNDS)
        positions = iter(range(10**6))

        def step(panel: FlowPanel = panel, positions: Any = positions) -> None:
            number = next(positions)
            for cell, layers in zip(panel.planes.cells, (8, 2), strict=True):
                cell.plane.go(number % 37 / 36 * layers)
            repaint(panel)

        frame = milliseconds(step, STEPS)
        print(f"{name}: engine {engine:.1f} ms + first picture {paint:.1f} ms; a step of both planes {frame:.1f} ms")


def test_the_states_of_a_digit(panel_of: Any, qapp: QApplication, tmp_path: Path) -> None:
    with zipfile.ZipFile(DATA / "digits.zip") as archive:
        archive.extractall(tmp_path)
    panel = panel_of(tmp_path / "digits", (616, 380))
    layers = panel.states.layers
    assert layers is not None
    explorer, numbers = panel.studio.explorer, iter(range(10**6))

    def engine() -> SimpleNamespace:
        origin = Origin(kind="validation", index=next(numbers) % 50)
        return explorer.answer(ReadLayers(run=layers.run, seed=layers.seed, origin=origin))

    def show_new() -> None:
        panel._redraw()
        panel.refresh()
        panel.layers.repaint()
        panel.layers.plot.viewport().repaint()

    seconds = milliseconds(engine, ROUNDS), milliseconds(show_new, ROUNDS)
    print(f"\ndigits: engine {seconds[0]:.1f} ms + picture {seconds[1]:.1f} ms")
