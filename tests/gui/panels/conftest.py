"""Recorded runs, runs made of events, and a studio without an engine that records requests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PySide6.QtWidgets import QApplication

from nfkd.protocol import events, records
from nfkd.protocol.requests import Request
from nfkd.protocol.roles import USUAL, Role
from nfkd.protocol.view import RunView
from nfkd_gui.forms.experiment_form import ExperimentForm
from nfkd_gui.model.preferences import Preferences
from nfkd_gui.model.studio import Studio
from nfkd_gui.panels.architecture import ArchitecturePanel
from tests.gui.glow_layers import glow
from tests.gui.panels.architecture_driver import MADE, Driver
from tests.gui.recorded import NAMES, RecordedRun, recording, unpack

RUN = "/runs/fake"
WITHOUT_TEACHER = {"teacher", "baseline"}


class FakeStudio(Studio):
    """A studio that records requests instead of sending them."""

    def __init__(self, folder: Path) -> None:
        super().__init__(Preferences(), folder / "studio.json")
        self.asked: list[tuple[Request, Callable[[Any], None], Callable[[Any], None], str]] = []

    def ask(self, request: Request, on_reply: Any, on_error: Any, *, key: str = "") -> None:
        self.asked.append((request, on_reply, on_error, key))


class FakeRun:
    """A run whose events are applied to a view and a panel."""

    def __init__(
        self,
        shape: tuple[int, ...] = (1, 8, 8),
        seeds: int = 1,
        weights: tuple[float, ...] = (1.0, 1.0),
        roles: tuple[Role, ...] = USUAL,
        epoch: int = 0,
    ) -> None:
        row = events.RunRow(
            run=RUN, name="fake", state="running", data="digits", teacher="Glow 8×2", student="Glow 2×2",
            created=0.0, seeds=seeds, seeds_done=0, progress=0.0,
        )  # fmt: skip
        self.view = RunView(row, "")
        self.shape = shape
        self.panel: Any = None
        pairs = [
            records.LayerPair(
                student=f"level{n}.step2",
                teacher=f"level{n}.step8",
                summary=f"student level {n} step 2 ↔ teacher level {n} step 8",
                weight=weight,
            )
            for n, weight in enumerate(weights, start=1)
        ]
        curves = [records.CurveInfo(name=name, label=name.split("/")[-1].upper(), unit="bits/dim")
                  for name in ("train/total", "train/nll", "validation/nll", "learning_rate")]  # fmt: skip
        for seed in range(1, seeds + 1):
            plans = [
                events.StagePlan(
                    stage=role, steps=1000, curves=curves, pairs=[] if role in WITHOUT_TEACHER else pairs, epoch=epoch
                )
                for role in roles
            ]
            self.add(events.SeedStarted(run=RUN, seed=seed, stages=plans, event_shape=list(shape)))

    def add(self, event: events.RunEvent) -> None:
        self.view.apply(event)
        if self.panel is not None:
            self.panel.on_event(event)

    def begin(self, stage: Role, seed: int = 1) -> None:
        self.add(events.StageStarted(run=RUN, seed=seed, stage=stage))

    def points(self, stage: Role, name: str, values: Any, seed: int = 1, start: int = 1) -> None:
        values = np.asarray(values, np.float64)
        steps = np.arange(start, start + len(values))
        batch = events.CurveBatch(steps=steps, values=values, times=steps / 10)
        self.add(events.CurvePoints(run=RUN, seed=seed, stage=stage, curves={name: batch}))

    def finish(self, stage: Role, *, steps: int, best_step: int, seed: int = 1, ended: Any = "") -> None:
        summary = events.StageSummary(
            stage=stage, seed=seed, parameters=1, multiply_adds=1, steps=steps, best_step=best_step, validation=1.0,
            test=1.0, test_error=0.1, unit="bits/dim", samples_per_second=1.0, seconds=1.0, ended=ended,
        )  # fmt: skip
        self.add(events.StageFinished(run=RUN, seed=seed, stage=stage, summary=summary))

    def samples(
        self, stage: Role, step: int, samples: np.ndarray, *, final: bool = False, flags: np.ndarray | None = None
    ) -> None:
        self.add(events.SamplesDrawn(run=RUN, seed=1, stage=stage, step=step, temperature=0.7, samples=samples,
                                      final=final, flags=flags))  # fmt: skip

    def density(self, stage: Role) -> np.ndarray:
        y, x = np.meshgrid(np.linspace(-2, 2, 96), np.linspace(-2, 2, 96), indexing="ij")
        log_prob = -0.5 * (x**2 + y**2) - np.log(2 * np.pi)
        self.add(events.DensityDrawn(run=RUN, seed=1, stage=stage, step=5, extent=(-2, 2, -2, 2), log_prob=log_prob))
        return log_prob

    def path(self, stage: Role, images: np.ndarray, step: int = 5, *, final: bool = False) -> None:
        alpha = np.linspace(0, 1, images.shape[1])
        self.add(events.InterpolationDrawn(run=RUN, seed=1, stage=stage, step=step, mode="linear", alpha=alpha,
                                            images=images, final=final))  # fmt: skip

    def matching(self, step: int, error: list[float], stage: Role = "student") -> None:
        self.add(events.MatchingMeasured(run=RUN, seed=1, stage=stage, step=step, error=np.array(error)))


@pytest.fixture(scope="session")
def recorded_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the recorded runs."""
    folder = tmp_path_factory.mktemp("recorded")
    unpack(folder)
    return folder


@pytest.fixture(scope="session")
def recorded(recorded_folder: Path) -> Callable[[str], RecordedRun]:
    """Returns a recorded run before its first event."""
    known = {name: recording(recorded_folder / name) for name in NAMES}
    return lambda name: RecordedRun(*known[name])


@pytest.fixture
def fake_studio(qapp: QApplication, tmp_path: Path) -> FakeStudio:
    return FakeStudio(tmp_path)


@pytest.fixture
def show(qtbot: Any, fake_studio: FakeStudio) -> Callable[..., Any]:
    """Creates a panel, shows a run in it and draws it."""

    def make(kind: Any, run: FakeRun | RecordedRun | None = None, size: tuple[int, int] = (900, 600)) -> Any:
        panel = kind(fake_studio)
        qtbot.addWidget(panel)
        panel.resize(*size)
        with qtbot.waitExposed(panel):
            panel.show()
        if run is not None:
            run.panel = panel
            fake_studio.view = run.view
        panel.show_run(fake_studio.view)
        panel.refresh()
        return panel

    return make


@pytest.fixture
def fake_run() -> type[FakeRun]:
    return FakeRun


@pytest.fixture
def drawing(ready: Studio, script: Any, qtbot: Any, do: Callable[[Any], Any]) -> Iterator[Driver]:
    """The drawing of the digits preset, 8 steps and 2 steps at each of two levels, matched as in the paper."""
    script.layers = {"teacher": glow(8, 90), "student": glow(2, 60)}
    script.pairs = [records.LayerPair(student=student, teacher=teacher, summary="") for student, teacher in MADE]
    ready.experiment.open("digits")
    form, panel = ExperimentForm(ready.experiment), ArchitecturePanel(ready)
    for widget in (form, panel):
        qtbot.addWidget(widget)
    panel.resize(1000, 560)
    with qtbot.waitExposed(panel):
        panel.show()
    driver = Driver(panel, form, ready, script)
    driver.describe(do)
    yield driver
    ready.experiment.stop()
