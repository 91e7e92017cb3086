"""Takes pictures of the studio: ``make screenshots``.

The real window is shown with two recorded runs (``tests/data``), a small sweep and a run in training. Every workspace
and panel is drawn in both themes, at 1280×800 and 1920×1080, and at 2560×1440 with scale 2. All pictures go to
``build/screenshots``, the workspaces at 1280×800 also to ``resources/screenshots``, where README and docs show them.
Without a display the script starts Xvfb.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import AsyncIterator, Callable
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from PySide6.QtCore import QSize
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QApplication, QLineEdit, QWidget
from qasync import QEventLoop
from sklearn.datasets import load_wine

import nfkd
from nfkd.config import ExperimentConfig
from nfkd.config.lab import LabConfig
from nfkd.config.sweep import SweepConfig
from nfkd.protocol.inspection import Origin
from nfkd.protocol.requests import Shutdown
from nfkd.sweeps.execute import SweepLoop
from nfkd.sweeps.sweep import Sweep
from nfkd.terminal import say
from nfkd_gui.app import make_window
from nfkd_gui.panels.asking import AskingPanel
from nfkd_gui.panels.compare_base import ComparePanel
from nfkd_gui.panels.flow import FlowPanel
from nfkd_gui.widgets.panel_dock import PanelDock
from nfkd_gui.window.main_window import MainWindow
from nfkd_gui.window.sweep_dialog import SweepDialog

ROOT = Path(__file__).resolve().parents[1]
PICTURES, SHOWN = ROOT / "build" / "screenshots", ROOT / "resources" / "screenshots"
SIZES = {"1280x800": (QSize(1280, 800), 1), "1920x1080": (QSize(1920, 1080), 1), "2560x1440": (QSize(1280, 720), 2)}
"""Logical size of the window and the scale of the screen."""
IN_README = "1280x800"
IMAGES, PLANE = "digits", "pinwheel"
"""The recorded runs."""
TABLE = "wine"
"""A run that the script trains."""
SWEEP = "digits widths"
"""A sweep that the script trains: its folder."""
_GRID = {"student.hidden": [8, 16], "student.steps": [1, 2], "distillation.inherit": ["none", "blocks"]}
_BUDGET = {"teacher_steps": 150, "student_steps": 100}
_STEADY, _PATIENCE, _ESTIMATE, _TRAINING = 0.4, 30.0, 120.0, 300.0
"""Seconds without a change of the picture; the longest waits for them, for an estimate, and for a step of a run."""
_SHORT = ("name=my digits", "training.teacher_steps=400", "training.student_steps=600", "monitor.pictures_every=50")
_SHOWN_STEP = 150
"""Settings of the run that is shown in training, and the step of its student at which it is."""


def main() -> None:
    """Take the pictures of each size in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sizes", nargs="*", default=list(SIZES))
    parser.add_argument("--in-this-process", action="store_true", help="used by the script itself")
    options = parser.parse_args()
    if options.in_this_process:
        take(options.sizes[0])
        return
    shutil.rmtree(PICTURES, ignore_errors=True)
    with tempfile.TemporaryDirectory() as trained:
        train_table(Path(trained))
        train_sweep(Path(trained))
        for size in options.sizes:
            with tempfile.TemporaryDirectory() as home:
                shutil.copytree(trained, home, dirs_exist_ok=True)
                subprocess.run(command(size), env=environment(Path(home), SIZES[size][1]), check=True, timeout=600)
    say(f"{len(list(PICTURES.iterdir()))} pictures are in {PICTURES}")


def command(size: str) -> list[str]:
    """Return the command that takes the pictures of a size."""
    own = [sys.executable, __file__, "--in-this-process", size]
    return own if os.environ.get("DISPLAY") else ["xvfb-run", "-a", "-s", "-screen 0 2560x1440x24", *own]


def environment(home: Path, scale: int) -> dict[str, str]:
    """Return an environment without the user's preferences, engine and runs, and unpack the recorded runs."""
    for name in (IMAGES, PLANE):
        with zipfile.ZipFile(ROOT / "tests" / "data" / f"{name}.zip") as archive:
            archive.extractall(home / "runs")
    (home / "run").mkdir(mode=0o700)
    own = {"HOME": home, "XDG_CONFIG_HOME": home / "config", "XDG_RUNTIME_DIR": home / "run", "QT_SCALE_FACTOR": scale}
    return os.environ | {name: str(value) for name, value in own.items()} | {"PYTHONPATH": f"{ROOT}/core:{ROOT}"}


def train_table(home: Path) -> None:
    """Train small flows on the 13 measurements of scikit-learn's wines for a few seconds."""
    wine: Any = load_wine()
    names = [name.partition("/")[0] for name in wine.feature_names]
    file = home / "wine.csv"
    np.savetxt(file, wine.data, "%.9g", ",", header=",".join(names), comments="")
    config = ExperimentConfig.load("power").model_dump(mode="json")
    config |= {"name": TABLE, "data": {"kind": "table", "path": str(file)}}
    config["teacher"] |= {"hidden": 32}
    config["student"] |= {"hidden": 16}
    config["training"] |= {"teacher_steps": 150, "student_steps": 80}
    nfkd.run(ExperimentConfig.from_dict(config), home / "runs" / TABLE)


def train_sweep(home: Path) -> None:
    """Train students of eight kinds with three seeds, and one teacher for all, for about a minute."""
    base: dict[str, Any] = ExperimentConfig.load("digits").model_dump(mode="json")
    base |= {"name": SWEEP, "seeds": base["seeds"] | {"count": 3}, "sweep": {"grid": _GRID}}
    base["teacher"] |= {"steps": 4, "hidden": 32}
    base["training"] |= _BUDGET
    sweep = Sweep(SweepConfig.from_dict(base), home / "runs" / SWEEP)
    sweep.begin()
    SweepLoop(sweep).execute()


def take(size: str) -> None:
    """Take all pictures of a size."""
    app = QApplication(sys.argv[:1])
    app.setApplicationName("nfkd")
    with QEventLoop(app) as loop:
        loop.run_until_complete(_take(app, size))


async def _take(app: QApplication, size: str) -> None:
    runs = Path(os.environ["HOME"]) / "runs"
    window = make_window(app, "", str(runs))
    window.show()
    window.resize(SIZES[size][0])
    studio = window.studio
    studio.start()
    await until(lambda: len(studio.rows) == len([IMAGES, PLANE, TABLE]) + prod(map(len, _GRID.values())))
    camera = Camera(size)
    for theme in ("light", "dark"):
        studio.prefer(theme=theme)
        async for name, widget in views(window, runs):
            await camera.take(f"{name}-{theme}", widget)
    await start_training(window, runs.parent / "digits.toml")
    for theme in ("light", "dark"):
        studio.prefer(theme=theme)
        await asyncio.sleep(_STEADY)  # it changes all the time
        camera.write(f"train-live-{theme}", window.grab().toImage())
        system = window.train.tiles.docks["system"]
        window.train.tiles.expand(system)
        await asyncio.sleep(_STEADY)
        camera.write(f"panel-system-live-{theme}", system.grab().toImage())
        window.train.tiles.shrink()
    studio.ask(Shutdown(), lambda _reply: None, lambda _error: None)
    await until(lambda: studio.engine.phase != "ready")
    await studio.close()
    window.close()
    window.deleteLater()


async def views(window: MainWindow, runs: Path) -> AsyncIterator[tuple[str, QWidget]]:
    """Go through the workspaces and panels, and yield a name and the widget to draw."""
    window.open_workspace("")
    yield "start", window
    window.files.open("digits")
    window.open_workspace("design")
    await until(lambda: has_estimate(window), _ESTIMATE)
    for section in ("data", "distillation", "training"):
        window.design.outline.select(section)
        yield "design" if section == "distillation" else f"design-{section}", window
    async for name in drawings(window, runs):
        yield f"panel-architecture-{name}", window
    for run in (TABLE, PLANE, IMAGES):
        window.studio.open_run(str(runs / run))
        await until(lambda run=run: window.studio.view is not None and window.studio.view.row.name == run)
        window.open_workspace("train")
        yield "train" if run == IMAGES else f"train-{run}", window
        for name, dock in window.train.tiles.docks.items():
            window.train.tiles.expand(dock)
            await until(lambda dock=dock: has_answers(dock))
            if isinstance(dock.panel, FlowPanel):
                await until(lambda panel=dock.panel: panel.figure() is not None)
                dock.panel.scrubber.go(dock.panel.pair.columns.last // 2)
            yield f"panel-{name}-{run}", dock
            window.train.tiles.shrink()
        window.studio.example_chosen.emit(Origin("test", 12))
        await until(lambda: bool(window.train.sample.numbers()))
        yield f"panel-sample-{run}", window.train.docks["sample"]
        window.train.docks["sample"].hide()
    window.train.docks["log"].show()
    yield "panel-log", window.train.docks["log"]
    window.train.docks["log"].hide()
    yield "panel-inspector", window.train.docks["inspector"]
    async for name, widget in comparisons(window):
        yield name, widget
    async for name in lab_views(window):
        yield name, window


async def comparisons(window: MainWindow) -> AsyncIterator[tuple[str, QWidget]]:
    """Compare runs of the sweep, with each panel in front, show the dialog of a sweep, and yield names and widgets."""
    window.open_workspace("compare")
    model = window.compare.model
    model.show_folder(SWEEP)
    model.sort_by("student_test", descending=False)
    await until(lambda: all("student_test" in group.values for group in model.groups))
    model.choose([group.key for group in (*model.groups[:3], model.groups[-1])])
    yield "compare", window
    for name, dock in window.compare.docks.items():
        if isinstance(dock.panel, ComparePanel):
            dock.raise_()
            window.compare.expand(dock)
            await asyncio.sleep(_STEADY)
            yield f"panel-{name.replace('.', '-')}", dock
            window.compare.shrink()
    window.sweeps.set_up("student.hidden")
    [dialog] = window.findChildren(SweepDialog)
    [line] = dialog.findChildren(QLineEdit, "sweep.values.student.hidden")
    line.setText("8, 16, 32")
    line.textEdited.emit(line.text())
    await until(lambda: dialog.draft.description is not None or bool(dialog.draft.error))
    yield "panel-sweep-dialog", dialog
    dialog.reject()


async def lab_views(window: MainWindow) -> AsyncIterator[str]:
    """Show the lab after its training, a lesson, the probe, and points on their way, and yield a name for each."""
    window.open_workspace("learn")
    learn = window.learn
    lab = learn.lab
    learn.lesson.show_contents()
    lab.open_state(LabConfig.first().with_values({"lab.speed": "full"}))
    await until(lambda: lab.frame is not None and "teacher" in lab.pictures)
    lab.control("restart")
    lab.control("step", lab.state.training.student_steps)
    await until(lambda: lab.frame is not None and lab.frame.phase == "done", _TRAINING)
    yield "learn"
    lab.set_values({"lab.probe": (1.0, 1.5)})
    learn.view.choose_page("probe")
    await until(lambda: lab.probe is not None)
    yield "learn-probe"
    lab.set_values({"lab.position": 0.6})
    yield "learn-layers"
    lab.set_values({"lab.position": 0.0, "lab.probe": ()})
    learn.view.choose_page("buys")
    learn.lesson.open_lesson("02-change-of-variables", 1)
    await until(lambda: lab.frame is not None and "teacher" in lab.pictures)
    yield "learn-lesson"
    window.actions_.presentation.trigger()
    yield "learn-presented"
    window.presentation.leave()


def has_estimate(window: MainWindow) -> bool:
    """Return whether the time has been measured."""
    model = window.studio.time_estimate
    return model.estimate is not None or model.error is not None


def has_answers(dock: PanelDock) -> bool:
    """Return whether a panel has what it asked the engine for."""
    panel = dock.panel
    return not isinstance(panel, AskingPanel) or not panel.has_content() or panel.reply is not None


async def drawings(window: MainWindow, runs: Path) -> AsyncIterator[str]:
    """Show the flows of experiments on points, on a table and with an assistant, and yield a name for each."""
    experiment, panel = window.studio.experiment, window.design.architecture
    table = runs.parent / "table.csv"
    random = np.random.default_rng(0)
    rows = random.normal(size=(600, 5)) @ random.normal(size=(5, 5))
    np.savetxt(table, rows, "%.3f", ",", header="a,b,c,d,e", comments="")
    for name in ("pinwheel_few", "power", "digits_assistant"):
        experiment.dirty = False
        window.files.open(name)
        if name == "power":  # its data would have to be downloaded
            window.use_data({"kind": "table", "path": str(table)})
        panel.differences.setChecked(name == "digits_assistant")
        window.open_workspace("design")
        await until(lambda: experiment.description is not None and window.studio.data_preview.current)
        await until(lambda: has_estimate(window), _ESTIMATE)
        panel.view.fit()
        yield name
    panel.differences.setChecked(False)
    experiment.dirty = False


async def start_training(window: MainWindow, file: Path) -> None:
    """Start a run as a user does, and wait until its student has learnt for a while."""
    ExperimentConfig.load("digits", _SHORT).save(file)
    window.files.open(str(file))
    studio = window.studio
    await until(lambda: studio.experiment.may_run)
    studio.run_experiment()
    window.open_workspace("train")

    def student_has_learnt() -> bool:
        stage = studio.view.find_stage(studio.seed, "student") if studio.view is not None else None
        return stage is not None and any(
            curve.steps[-1] >= _SHOWN_STEP for curve in stage.curves.values() if len(curve)
        )

    await until(lambda: studio.view is not None and studio.view.row.state == "running")
    await until(student_has_learnt, _TRAINING)


class Camera:
    """Writes pictures of widgets, once they do not change any more."""

    def __init__(self, size: str) -> None:
        self._size = size

    async def take(self, name: str, widget: QWidget) -> None:
        """Write a picture as ``NAME-SIZE.png``."""
        self.write(name, await steady(widget))

    def write(self, name: str, picture: QImage) -> None:
        """Write a picture as ``NAME-SIZE.png``, and as it is shown in README and docs."""
        PICTURES.mkdir(parents=True, exist_ok=True)
        picture.save(str(PICTURES / f"{name}-{self._size}.png"))
        if self._size == IN_README and "panel" not in name:
            SHOWN.mkdir(exist_ok=True)
            picture.save(str(SHOWN / f"{name}.png"))


async def steady(widget: QWidget) -> QImage:
    """Return the picture of a widget once it has not changed for a while."""
    before = QImage()
    for _ in range(round(_PATIENCE / _STEADY)):
        await asyncio.sleep(_STEADY)
        now = widget.grab().toImage()
        if now == before:
            return now
        before = now
    message = f"{widget.objectName()} still changes after {_PATIENCE:.0f} s"
    raise TimeoutError(message)


async def until(condition: Callable[[], bool], patience: float = _PATIENCE) -> None:
    """Wait for a condition."""
    for _ in range(round(patience / 0.05)):
        if condition():
            return
        await asyncio.sleep(0.05)
    message = "the studio did not get ready"
    raise TimeoutError(message)


if __name__ == "__main__":
    main()
