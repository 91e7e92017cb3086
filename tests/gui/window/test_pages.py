"""Pages of the window are made when they are first wanted, and then show what has happened before."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PySide6.QtWidgets import QToolButton, QTreeView

from nfkd.config import ExperimentConfig
from nfkd_gui.model.preferences import load_preferences
from nfkd_gui.model.studio import Studio
from nfkd_gui.window.main_window import MainWindow

Do = Callable[[Any], Any]
DIGITS = ExperimentConfig.load("digits").to_toml()
SHOWN = """
import sys
from PySide6.QtWidgets import QApplication
from nfkd_gui.app import make_window
app = QApplication([])
window = make_window(app, sys.argv[1], sys.argv[2])
window.show()
app.processEvents()
print(window.workspace, "pyqtgraph" in sys.modules)
"""


async def settled(studio: Studio) -> None:
    await studio.clients[-1].settled()  # type: ignore[attr-defined]


def test_the_first_screen_needs_no_plots(tmp_path: Path) -> None:
    for target, workspace in (("digits", "design"), ("", "")):
        command = [sys.executable, "-c", SHOWN, target, str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout.rpartition(" ")[::2] == (workspace, "False\n")


def test_train_that_is_opened_late_shows_the_run_so_far(window: MainWindow, script: Any, do: Do) -> None:
    async def scenario() -> None:
        script.begin("/runs/digits", DIGITS)
        window.studio.open_run("/runs/digits")
        await settled(window.studio)
        script.train("/runs/digits", "teacher", 3)
        await settled(window.studio)
        window.open_workspace("train")
        curves = next(panel for panel in window.panels if panel.name == "curves")
        assert curves.has_content()
        before = curves.view.stages[1, "teacher"].curves["train/total"].steps[-1]  # type: ignore[union-attr]
        script.train("/runs/digits", "teacher", 5)
        await settled(window.studio)
        assert curves.view is window.studio.view
        assert curves.view.stages[1, "teacher"].curves["train/total"].steps[-1] > before  # type: ignore[union-attr]

    do(scenario())


def test_compare_that_is_opened_late_selects_the_shown_run(window: MainWindow, script: Any, do: Do) -> None:
    async def scenario() -> None:
        for name in ("first", "second"):
            script.begin(f"/runs/{name}", DIGITS)
        window.studio.open_run("/runs/first")
        await settled(window.studio)
        window.open_workspace("compare")
        table = window.findChild(QTreeView, "runs.table")
        assert isinstance(table, QTreeView)
        assert table.model().rowCount() == 2
        assert table.currentIndex().siblingAtColumn(0).data() == "first"
        assert window.compare.selected.view is window.studio.view

    do(scenario())


def test_the_layout_of_a_workspace_that_was_not_opened_is_kept(
    window: MainWindow, studio: Studio, tmp_path: Path, qtbot: Any
) -> None:
    window.open_workspace("train")
    window.train.docks["inspector"].hide()
    window.close()
    for _ in range(2):  # the second window does not open Train
        studio.preferences = load_preferences(tmp_path / "studio.json")
        again = MainWindow(studio)
        qtbot.addWidget(again)
        again.show()
        qtbot.waitExposed(again)
        again.close()
    studio.preferences = load_preferences(tmp_path / "studio.json")
    last = MainWindow(studio)
    qtbot.addWidget(last)
    last.show()
    qtbot.waitExposed(last)
    last.open_workspace("train")
    assert last.train.docks["log"].isHidden()
    assert last.train.docks["inspector"].isHidden()
    last.close()


def test_docks_are_in_the_view_menu_once_their_workspace_was_opened(window: MainWindow) -> None:
    def listed() -> set[str]:
        [view] = [action.menu() for action in window.menu.actions() if action.text() == "&View"]
        return {action.text() for action in view.actions()}  # type: ignore[union-attr]

    assert {"Experiment", "Properties", "Estimate"} <= listed()
    assert not {"Curves", "Log"} & listed()
    window.open_workspace("train")
    assert {"Curves", "Samples", "Inspector", "Log"} <= listed()
    assert window.findChild(QToolButton, "panel.samples.expand") is not None
