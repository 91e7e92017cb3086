"""An engine that is killed, and a run that a terminal starts, seen from a real window."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QAction
from PySide6.QtTest import QTest

from nfkd.protocol.events import CurvePoints, RunFinished
from nfkd_gui.window.main_window import MainWindow
from tests.end_to_end.test_studio import experiment

Do = Callable[[Any], Any]


def row_texts(window: MainWindow, name: str) -> list[str]:
    """Return the cells of a run in the table of runs; empty if the run is not there."""
    model = window.runs.table.model()
    cells = [[str(model.index(row, column).data()) for column in range(model.columnCount())]
             for row in range(model.rowCount())]  # fmt: skip
    return next((texts for texts in cells if name in texts), [])


def select(window: MainWindow, name: str) -> None:
    """Click a run in the table of runs."""
    table = window.runs.table
    [row] = [row for row in range(table.model().rowCount()) if name in str(table.model().index(row, 0).data())]
    cells = [table.visualRect(table.model().index(row, column)) for column in range(table.model().columnCount())]
    place = max(cells, key=lambda cell: cell.x()).center()  # not the first column, which has the check box
    QTest.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=place)


@pytest.mark.slow
def test_a_run_goes_on_after_its_engine_was_killed(do: Do, user: Any, tmp_path: Path) -> None:
    async def scenario() -> None:
        window = await user.open(experiment(tmp_path, "training.student_steps=120", "training.checkpoint_every=10"))
        studio = window.studio
        user.click(window, "header.primary")
        await user.until(
            studio.event_applied, lambda event: isinstance(event, CurvePoints) and event.stage == "student"
        )
        run = studio.view.row.run  # type: ignore[union-attr]
        engine = psutil.Process(studio.engine.status.pid)  # type: ignore[union-attr]
        engine.kill()
        await user.until(studio.engine_changed, lambda: studio.engine.phase == "lost")
        assert window.engine_status.restart.isVisible()
        user.click(window, "engine.restart")
        signals = [studio.rows_changed, studio.row_changed]  # the new engine may list the run, or see the change later
        await user.until_any(signals, lambda *_run: run in studio.rows and studio.rows[run].state == "interrupted")
        user.click(window, "header.workspace.compare")
        await user.reach(window.runs.compare.groups_changed, lambda: window.runs.table.model().rowCount())
        select(window, Path(run).name)
        action = window.findChild(QAction, "runs.continue")
        assert isinstance(action, QAction)
        assert action.isEnabled()
        action.trigger()
        await user.until(
            studio.event_applied, lambda event: isinstance(event, RunFinished) and event.state == "finished"
        )
        stages = {summary.stage for summary in studio.view.summaries()}  # type: ignore[union-attr]
        assert stages == {"teacher", "student", "baseline"}
        await user.end_engine(window)

    do(scenario())


@pytest.mark.slow
def test_a_run_of_a_terminal_appears_and_finishes_in_the_table(do: Do, user: Any, tmp_path: Path) -> None:
    async def scenario() -> None:
        window = await user.open("two_moons")
        file = experiment(tmp_path)
        command = [sys.executable, "-m", "nfkd", "run", str(file), "--out", str(tmp_path / "runs" / "from terminal")]
        process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        states = set[str]()

        def state(*_values: Any) -> str:
            found = [row.state for row in window.studio.rows.values() if row.name == "from terminal"]
            states.update(found)
            return found[0] if found else ""

        await user.until_any([window.studio.rows_changed, window.studio.row_changed], lambda *_: state() == "running")
        user.click(window, "header.workspace.compare")
        assert "another process" in " ".join(row_texts(window, "from terminal"))
        await user.until_any([window.studio.rows_changed, window.studio.row_changed], lambda *_: state() == "finished")
        assert await process.wait() == 0
        assert "finished" in row_texts(window, "from terminal")
        await user.end_engine(window)

    do(scenario())
