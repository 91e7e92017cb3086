"""The studio with a real window, a real engine and real files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyqtgraph as pg
import pytest

from nfkd.config import ExperimentConfig
from nfkd.config.lab import LabConfig
from nfkd.protocol.events import CurvePoints, RunFinished
from nfkd_gui.window.main_window import MainWindow

Do = Callable[[Any], Any]
SHORT = [
    "data.count=500",
    "training.teacher_steps=60",
    "training.student_steps=40",
    "training.warmup_steps=10",
    "monitor.evaluate_every=20",
    "monitor.pictures_every=40",
    "monitor.sample_count=200",
    "compute.device=cpu",
    "compute.threads=1",
]


def experiment(tmp_path: Path, *more: str) -> Path:
    path = tmp_path / "moons.toml"
    ExperimentConfig.load("two_moons", [*SHORT, *more]).save(path)
    return path


def drawn(window: MainWindow) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the points of every line in the window's curves panel."""
    [panel] = [panel for panel in window.panels if panel.name == "curves"]
    items = [item for view in panel.findChildren(pg.GraphicsView) for item in view.scene().items()]
    lines = [item.getData() for item in items if isinstance(item, pg.PlotCurveItem)]
    return [(np.asarray(x), np.asarray(y)) for x, y in lines if x is not None]


def curves_of(path: Path) -> dict[tuple[str, str], tuple[np.ndarray, np.ndarray]]:
    """Return every curve with points in a run's file, as (steps, values)."""
    found = {}
    file: Any
    with h5py.File(path, "r", swmr=True) as file:
        for stage in ("teacher", "student", "baseline"):
            curves = file[stage]["curves"]
            names: list[str] = []
            curves.visititems(lambda name, item, names=names: names.append(name) if "value" in item else None)
            for name in names:
                if len(curves[name]["step"]):
                    found[stage, name] = curves[name]["step"][:], curves[name]["value"][:]
    return found


@pytest.mark.slow
def test_a_run_has_the_same_curves_in_its_file_and_in_the_panel(do: Do, user: Any, tmp_path: Path) -> None:
    async def scenario() -> None:
        window = await user.open(experiment(tmp_path))
        user.click(window, "header.primary")
        await user.until(window.studio.event_applied, lambda event: isinstance(event, RunFinished))
        view = window.studio.view
        assert view is not None
        file = curves_of(Path(view.row.run) / "run.h5")
        assert {stage for stage, _ in file} == {"teacher", "student", "baseline"}
        for (stage, name), (steps, values) in file.items():
            curve = view.stages[1, stage].curves[name]  # type: ignore[index]
            np.testing.assert_array_equal(curve.steps, steps)
            np.testing.assert_array_equal(curve.values, values)
        for panel in window.panels:
            panel.refresh()
        lines = drawn(window)
        for stage in ("student", "baseline"):
            steps, values = file[stage, "validation/nll"]
            assert any(np.array_equal(x, steps) and np.allclose(y, values) for x, y in lines), stage

    do(scenario())


@pytest.mark.slow
def test_a_state_of_the_lab_opens_in_learn_from_the_command_line(do: Do, user: Any, tmp_path: Path) -> None:
    file = tmp_path / "pinwheel.lab.toml"
    state = LabConfig.of_experiment(ExperimentConfig.load("two_moons"))
    state.save(file)

    async def scenario() -> None:
        window = await user.open(file)
        assert window.workspace == "learn"
        assert window.learn.lab.state == state
        assert window.studio.experiment.name == "digits"

    do(scenario())


def test_a_run_continues_without_a_window_and_the_next_window_shows_it(do: Do, user: Any, tmp_path: Path) -> None:
    async def scenario() -> None:
        long = experiment(tmp_path, "training.teacher_steps=1000000", "training.early_stop=0")
        window = await user.open(long)
        user.click(window, "header.primary")
        await user.until(window.studio.event_applied, lambda event: isinstance(event, CurvePoints))
        assert window.studio.view is not None
        run = window.studio.view.row.run
        seen = window.studio.view.stages[1, "teacher"].curves["train/total"].steps.copy()
        await user.close(window)

        again = await user.open()
        await user.until(again.studio.event_applied, lambda event: isinstance(event, CurvePoints))
        assert again.studio.view is not None
        assert again.studio.view.row.run == run
        assert again.workspace == "train"
        assert again.studio.experiment.config == ExperimentConfig.load(long)
        steps = again.studio.view.stages[1, "teacher"].curves["train/total"].steps
        assert len(steps) > len(seen)
        np.testing.assert_array_equal(steps[: len(seen)], seen)
        assert len(set(np.diff(steps))) == 1  # no point is missing between the two windows
        user.click(again, "header.second")
        user.click(again, "stop.run")
        await user.until(
            again.studio.event_applied, lambda event: isinstance(event, RunFinished) and event.state == "stopped"
        )
        assert (Path(run) / "teacher.safetensors").is_file()

    do(scenario())
