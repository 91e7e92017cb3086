"""A preset, another weight, a run that is paused, its pictures over time, and a figure to export."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QAction
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QComboBox, QFileDialog, QSlider, QWidget

from nfkd.config import ExperimentConfig
from nfkd.protocol.events import CurvePoints, RunFinished
from nfkd_gui.widgets.panel_menu import PanelMenu
from nfkd_gui.window.main_window import MainWindow

Do = Callable[[Any], Any]
SHORT = {"training.teacher_steps": "400", "training.student_steps": "60", "training.warmup_steps": "10",
         "monitor.pictures_every": "50", "data.count": "500"}  # fmt: skip


def child(window: QWidget, kind: type, name: str) -> Any:
    found = window.findChild(kind, name)
    assert isinstance(found, kind), name
    return found


def type_into(window: MainWindow, path: str, text: str) -> None:
    """Go to a field and replace its value by the keyboard."""
    window.design.open_field(path)
    editor = window.focusWidget()
    assert editor is not None, path
    QTest.keyClick(editor, Qt.Key.Key_A, Qt.KeyboardModifier.ControlModifier)
    QTest.keyClicks(editor, text)
    QTest.keyClick(editor, Qt.Key.Key_Return)


async def save(user: Any, window: MainWindow, panel: str, entry: str, path: Path) -> None:
    """Save what a panel shows through its menu and the dialog."""
    menu = child(window, PanelMenu, f"panel.{panel}.menu")
    menu.refill()
    entries = [action for action in menu.findChildren(QAction) if f"{panel}.{entry}" in action.objectName()]
    assert entries, (panel, entry)
    entries[0].trigger()
    dialog = child(window, QFileDialog, "save")
    dialog.selectFile(str(path))
    written = user.until(menu.saved, lambda _path: True)
    dialog.accept()
    await written


async def export(user: Any, window: MainWindow, run: Path, folder: Path) -> None:
    """Save the samples and the curves of a finished run, and compare the curves with its file."""
    for panel in window.panels:
        panel.refresh()
    await save(user, window, "samples", "picture", folder / "samples.png")
    assert (folder / "samples.png").read_bytes().startswith(b"\x89PNG")
    await save(user, window, "curves", "numbers", folder / "curves.csv")
    with (folder / "curves.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    stored: Any
    with h5py.File(run / "run.h5", "r") as stored:
        expected = stored["student"]["curves"]["validation"]["nll"]["value"][:]
    own = [line for line in lines if (line["flow"], line["curve"]) == ("student", "validation/nll")]
    assert [float(line["value"]) for line in own] == list(expected)


@pytest.mark.slow
def test_a_preset_is_changed_run_paused_scrubbed_and_exported(do: Do, user: Any, tmp_path: Path) -> None:
    async def scenario() -> None:
        window = await user.open()
        studio, experiment = window.studio, window.studio.experiment
        assert window.start_page.isVisible()
        QTest.keyClick(window.start_page.cards["two_moons"], Qt.Key.Key_Return)
        assert window.workspace == "design"
        for path, text in (SHORT | {"distillation.lkd.weight": "0.4"}).items():
            type_into(window, path, text)
        await user.reach(experiment.checked, lambda: experiment.is_checked)
        assert experiment.config.distillation.lkd.weight == 0.4
        user.click(window, "header.primary")
        await user.until(studio.event_applied, lambda event: isinstance(event, CurvePoints))
        assert window.workspace == "train"
        run = Path(studio.view.row.run)
        user.click(window, "header.primary")  # Pause
        await user.until(studio.row_changed, lambda run: studio.rows[run].state == "paused")
        user.click(window, "header.primary")  # Resume
        await user.until(studio.event_applied, lambda event: isinstance(event, RunFinished))
        assert ExperimentConfig.load(run / "experiment.toml").distillation.lkd.weight == 0.4

        timeline, slider = studio.timeline, child(window, QSlider, "time.slider")
        await user.reach(timeline.positions_changed, lambda: timeline.positions[-1].stage == "baseline")
        stages = child(window, QComboBox, "time.stage")
        stages.setCurrentIndex(0)
        stages.activated.emit(0)
        slider.setFocus()
        QTest.keyClick(slider, Qt.Key.Key_Home)
        await user.reach(timeline.changed, lambda: not timeline.is_live and timeline.position.stage == "teacher")
        assert timeline.position.step == 1
        user.click(window, "time.latest")
        assert timeline.is_live

        await export(user, window, run, tmp_path)

    do(scenario())
