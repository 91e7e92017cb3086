"""A run that never was, told by events, and a studio for panels alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QApplication

from nfkd.protocol import events, records
from nfkd.protocol.requests import Request
from nfkd.protocol.roles import USUAL, Role
from nfkd.protocol.view import RunView
from nfkd_gui.theme import apply_theme

RUN = "/runs/never"
ALONE = {"teacher", "baseline"}
"""Flows that learn from no other."""


class PortOfTests(QObject):
    """Fulfils what panels ask of a studio, and keeps what they asked."""

    theme_changed = Signal()
    seed_changed = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self.view: RunView | None = None
        self.seed = 1
        self.asked: list[tuple[Request, Callable[[Any], None], Callable[[Any], None], str]] = []
        self.started: list[str] = []

    def ask(self, request: Request, on_reply: Any, on_error: Any, *, key: str = "") -> None:
        self.asked.append((request, on_reply, on_error, key))

    def start_preset(self, name: str) -> None:
        self.started.append(name)


class Story:
    """Tells a run to a view and a panel, event by event."""

    def __init__(
        self,
        shape: tuple[int, ...] = (1, 8, 8),
        seeds: int = 1,
        weights: tuple[float, ...] = (1.0, 1.0),
        roles: tuple[Role, ...] = USUAL,
    ) -> None:
        row = events.RunRow(
            run=RUN, name="never", state="running", data="digits", teacher="Glow 8×2", student="Glow 2×2",
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
            plans = [events.StagePlan(stage=stage, steps=1000, curves=curves, pairs=pairs if stage not in ALONE else [])
                     for stage in roles]  # fmt: skip
            self.tell(events.SeedStarted(run=RUN, seed=seed, stages=plans, event_shape=list(shape)))

    def tell(self, event: events.RunEvent) -> None:
        self.view.apply(event)
        if self.panel is not None:
            self.panel.take(event)

    def begin(self, stage: Role, seed: int = 1) -> None:
        self.tell(events.StageStarted(run=RUN, seed=seed, stage=stage))

    def points(self, stage: Role, name: str, values: Any, seed: int = 1, start: int = 1) -> None:
        values = np.asarray(values, np.float64)
        steps = np.arange(start, start + len(values))
        batch = events.CurveBatch(steps=steps, values=values, times=steps / 10)
        self.tell(events.CurvePoints(run=RUN, seed=seed, stage=stage, curves={name: batch}))

    def samples(self, stage: Role, step: int, samples: np.ndarray, *, final: bool = False) -> None:
        self.tell(events.SamplesDrawn(run=RUN, seed=1, stage=stage, step=step, temperature=0.7, samples=samples,
                                      final=final))  # fmt: skip

    def density(self, stage: Role) -> np.ndarray:
        y, x = np.meshgrid(np.linspace(-2, 2, 96), np.linspace(-2, 2, 96), indexing="ij")
        log_prob = -0.5 * (x**2 + y**2) - np.log(2 * np.pi)
        self.tell(events.DensityDrawn(run=RUN, seed=1, stage=stage, step=5, extent=(-2, 2, -2, 2), log_prob=log_prob))
        return log_prob

    def path(self, stage: Role, images: np.ndarray, step: int = 5, *, final: bool = False) -> None:
        alpha = np.linspace(0, 1, images.shape[1])
        self.tell(events.InterpolationDrawn(run=RUN, seed=1, stage=stage, step=step, mode="linear", alpha=alpha,
                                            images=images, final=final))  # fmt: skip

    def matching(self, step: int, error: list[float], stage: Role = "student") -> None:
        self.tell(events.MatchingMeasured(run=RUN, seed=1, stage=stage, step=step, error=np.array(error)))


@pytest.fixture
def port(qapp: QApplication) -> PortOfTests:
    return PortOfTests()


@pytest.fixture
def show(qtbot: Any, port: PortOfTests) -> Callable[..., Any]:
    """Makes a panel, shows a story in it, and draws it."""

    def make(kind: Any, story: Story | None = None, size: tuple[int, int] = (900, 600)) -> Any:
        panel = kind(port)
        qtbot.addWidget(panel)
        panel.resize(*size)
        with qtbot.waitExposed(panel):
            panel.show()
        if story is not None:
            story.panel = panel
            port.view = story.view
        panel.show_run(port.view)
        panel.refresh()
        return panel

    return make


@pytest.fixture(params=["light", "dark"])
def theme(qapp: QApplication, request: pytest.FixtureRequest) -> Iterator[str]:
    """Light, then dark; the tests that follow are light again."""
    apply_theme(qapp, request.param)
    yield request.param
    apply_theme(qapp, "light")


@pytest.fixture
def story() -> type[Story]:
    return Story
