"""Engines on other machines in the window: preferences, choice, reconnection, paths."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QAction
from PySide6.QtTest import QTest
from PySide6.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QLabel,
    QLineEdit,
    QPushButton,
    QTableWidget,
    QToolButton,
    QWidget,
)

from nfkd.protocol.events import ErrorInfo
from nfkd.protocol.requests import Status
from nfkd.remote.hosts import EngineHost, read_engines
from nfkd_gui.forms.path_box import PathBox
from nfkd_gui.model.drops import Drop
from nfkd_gui.window.engine_dialog import EngineDialog
from nfkd_gui.window.main_window import MainWindow
from nfkd_gui.window.palette_entries import entries_of
from nfkd_gui.window.preferences_dialog import PreferencesDialog
from tests.gui.window.steps import DIGITS, Do, child, click, settled, text

GPU = EngineHost("gpu", "user@gpu.example", folder="/data/runs")
CUT = ErrorInfo(title="The connection to gpu was lost", cause="The network was interrupted.")
RUN = "/data/runs/digits"


@pytest.fixture(autouse=True)
def engines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of engines of its own."""
    path = tmp_path / "engines.toml"
    monkeypatch.setenv("NFKD_ENGINES", str(path))
    return path


@pytest.fixture
def remote(window: MainWindow, do: Do, until: Do) -> MainWindow:
    """The window with the engine of another machine."""

    async def scenario() -> None:
        window.studio.machines.save([GPU])
        window.studio.machines.choose("gpu")
        await until(window.studio.connection.connected)
        client(window).remote = client(window).reconnects = True
        await settled(window.studio)

    do(scenario())
    return window


def client(window: MainWindow) -> Any:
    return window.studio.clients[-1]  # type: ignore[attr-defined]


def action(window: MainWindow, name: str) -> QAction:
    return child(window, QAction, name)


def write(window: QWidget, name: str, value: str) -> None:
    line = child(window, QLineEdit, name)
    line.clear()
    QTest.keyClicks(line, value)


def ok(dialog: QWidget) -> QPushButton:
    return child(dialog, QDialogButtonBox, "").button(QDialogButtonBox.StandardButton.Ok)


# --- preferences ------------------------------------------------------------------------------------------------------


def test_an_engine_is_added_changed_and_removed(window: MainWindow, do: Do) -> None:
    dialog = PreferencesDialog(window.studio, window, page="engines")
    dialog.open()
    click(dialog, QPushButton, "engines.add")
    edit = child(dialog, EngineDialog, "engine.dialog")
    assert not ok(edit).isEnabled()
    assert not child(edit, QWidget, "engine.problem").isVisible(), "nothing is wrong before the user writes"
    write(edit, "engine.name", "gpu")
    write(edit, "engine.host", "-oProxyCommand=x")
    assert 'may not begin with "-"' in text(edit, "engine.problem")
    assert not ok(edit).isEnabled()
    assert not child(edit, QPushButton, "engine.test").isEnabled()
    write(edit, "engine.host", "user@gpu.example")
    write(edit, "engine.folder", "/data/runs")
    QTest.mouseClick(ok(edit), Qt.MouseButton.LeftButton)
    table = child(dialog, QTableWidget, "engines.table")
    shown = [[table.item(row, column).text() for column in range(3)] for row in range(table.rowCount())]
    assert shown == [["This machine", "", "/runs"], ["gpu", "user@gpu.example", "/data/runs"]]
    assert read_engines() == [], "only OK of the preferences writes the list"
    dialog.accept()
    assert read_engines() == [GPU]
    assert window.studio.machines.host is None


def test_an_engine_is_removed_only_from_the_list(window: MainWindow) -> None:
    window.studio.machines.save([GPU])
    dialog = PreferencesDialog(window.studio, window, page="engines")
    dialog.open()
    table = child(dialog, QTableWidget, "engines.table")
    assert not child(dialog, QPushButton, "engines.remove").isEnabled(), "this machine cannot be removed"
    table.selectRow(1)
    click(dialog, QPushButton, "engines.remove")
    assert table.rowCount() == 1
    dialog.accept()
    assert read_engines() == []


def test_a_name_is_given_once(window: MainWindow) -> None:
    dialog = EngineDialog(window.studio.machines, None, ["gpu"], window)
    dialog.open()
    write(dialog, "engine.host", "x.example")
    for name, fits in (("gpu", False), ("This machine", False), ("other", True)):
        write(dialog, "engine.name", name)
        assert ok(dialog).isEnabled() is fits
    dialog.reject()


def test_an_engine_without_a_name_has_that_of_its_host(window: MainWindow) -> None:
    dialog = EngineDialog(window.studio.machines, None, [], window)
    decided: list[EngineHost] = []
    dialog.decided.connect(decided.append)
    dialog.open()
    write(dialog, "engine.host", "x.example")
    QTest.mouseClick(ok(dialog), Qt.MouseButton.LeftButton)
    assert [host.name for host in decided] == ["x.example"]


def test_a_test_says_what_was_found(window: MainWindow, do: Do) -> None:
    async def scenario() -> None:
        dialog = EngineDialog(window.studio.machines, GPU, [], window)
        dialog.open()
        click(dialog, QPushButton, "engine.test")
        await asyncio.wait_for(_found(dialog), 20)
        assert text(dialog, "engine.result") == (
            "Connected to user@gpu.example (machine box): NFKD 0.1.0, torch 2.13.0, CPU, 1 thread."
        )
        dialog.reject()

    do(scenario())


async def _found(dialog: EngineDialog) -> None:
    ended = asyncio.Event()
    dialog._tester.found.connect(ended.set)
    dialog._tester.failed.connect(ended.set)
    await ended.wait()


def test_a_test_that_hangs_can_be_cancelled(window: MainWindow, do: Do) -> None:
    async def scenario() -> None:
        dialog = EngineDialog(window.studio.machines, GPU, [], window)
        dialog.open()
        click(dialog, QPushButton, "engine.test")
        await asyncio.sleep(0)  # the client is made
        test = child(dialog, QPushButton, "engine.test")
        client(window).held = []
        assert "Cancel" in test.text()
        click(dialog, QPushButton, "engine.test")
        assert text(dialog, "engine.result") == "The test was cancelled."
        assert test.text() == "&Test connection"
        dialog.reject()

    do(scenario())


# --- the choice -------------------------------------------------------------------------------------------------------


def test_the_header_shows_the_machine_once_there_is_a_choice(window: MainWindow, do: Do, until: Do) -> None:
    button = child(window, QToolButton, "header.engine")
    assert not button.isVisible()

    async def scenario() -> None:
        window.studio.machines.save([GPU])
        assert button.isVisible()
        assert button.accessibleName() == "Engine: This machine"
        action(window, "engine.use.gpu").trigger()
        await until(window.studio.connection.connected)
        await settled(window.studio)

    do(scenario())
    assert button.accessibleName() == "Engine: gpu"
    assert "gpu" in button.text()
    assert text(window, "engine.message").startswith("Engine on gpu · ")
    assert action(window, "engine.use.gpu").isChecked()
    titles = [entry.title for entry in entries_of(window)]
    assert [title for title in titles if title.startswith("Engine: ")] == ["Engine: This machine", "Engine: gpu"]


def test_an_unreachable_machine_offers_two_ways(window: MainWindow, do: Do, until: Do) -> None:
    async def scenario() -> None:
        window.studio.machines.save([GPU])
        window.studio.machines.choose("gpu")
        await until(window.studio.connection.connected)
        client(window).lose(ErrorInfo(title="gpu does not answer", cause="The machine is off."))
        await settled(window.studio)
        dialog = child(window, QDialog, "error")
        assert [child(dialog, QPushButton, name).text() for name in ("error.remedy", "error.other")] == [
            "Try again", "Use this machine",
        ]  # fmt: skip
        click(dialog, QPushButton, "error.other")
        await until(window.studio.connection.connected)
        assert window.studio.machines.host is None
        assert window.studio.preferences.machine == ""

    do(scenario())


# --- reconnection -----------------------------------------------------------------------------------------------------


def test_a_cut_connection_shows_the_countdown_and_no_dialog(remote: MainWindow, script: Any, do: Do, until: Do) -> None:
    async def scenario() -> None:
        studio = remote.studio
        script.begin(RUN, DIGITS)
        studio.open_run(RUN)
        await settled(studio)
        script.train(RUN, "teacher", 42)
        await settled(studio)
        remote.open_workspace("train")
        client(remote).slow = (Status,)
        studio.ask(Status(), lambda _reply: None, studio.failed.emit)
        client(remote).lose(CUT)
        await until(studio.connection.counted)
        assert text(remote, "engine.message") == "gpu: connection lost, next try in 1 s"
        assert text(remote, "header.status") == "Not connected; the run continues"
        assert remote.findChild(QDialog, "error") is None
        assert not action(remote, "action.pause").isEnabled()
        script.train(RUN, "teacher", 77)  # while nothing arrives
        click(remote, QPushButton, "engine.now")
        await until(studio.view_changed)
        await settled(studio)
        assert text(remote, "engine.message").startswith("Engine on gpu")
        assert not child(remote, QPushButton, "engine.now").isVisible()
        assert studio.view is not None
        assert studio.view.row.run == RUN
        steps = studio.view.stages[1, "teacher"].curves["train/total"].steps
        assert 77 in list(steps), "the snapshot has what was missed"

    do(scenario())


def test_a_slow_line_is_noted_with_its_figures(remote: MainWindow) -> None:
    note, speed = child(remote, QWidget, "engine.slow"), remote.studio.line_speed
    assert not note.isVisible()
    speed.slow, speed.round_trip, speed.best, speed.rate = True, 2.5, 0.05, 51_200.0
    speed.changed.emit()
    assert note.isVisible()
    assert "2.5 s (shortest 50 ms), 50 KiB/s" in note.toolTip()
    speed.slow = False
    speed.changed.emit()
    assert not note.isVisible()


# --- files ------------------------------------------------------------------------------------------------------------


def test_paths_are_those_of_the_other_machine(remote: MainWindow, tmp_path: Path) -> None:
    boxes = remote.findChildren(PathBox)
    assert boxes
    for box in boxes:
        assert box.line.placeholderText() == "Path on gpu"
        assert box.browse.isHidden()
        assert not box.takes([str(tmp_path)])
    dialog = PreferencesDialog(remote.studio, remote)
    dialog.open()
    [own] = dialog.findChildren(PathBox)
    assert own.browse.isVisible(), "the runs folder of this machine"
    dialog.reject()


def test_a_dropped_data_file_is_refused_with_advice(remote: MainWindow, tmp_path: Path) -> None:
    path = tmp_path / "flowers.csv"
    path.write_text("a,b\n1,2\n")
    data = Drop("data", "Use flowers.csv as the data set", str(path), {"kind": "table", "path": str(path)})
    drop = remote.file_drops.adapt(data)
    assert (drop.kind, drop.text) == ("nothing", "gpu cannot see files of this machine")
    before = remote.studio.experiment.document
    remote.file_drops.take(drop)
    assert remote.studio.experiment.document == before
    dialog = child(remote, QDialog, "error")
    texts = [label.text() for label in dialog.findChildren(QLabel)]
    assert any("scp -r FILE user@gpu.example:" in each for each in texts)
    experiment = Drop("experiment", "Open the experiment x", str(tmp_path / "x.toml"))
    assert remote.file_drops.adapt(experiment) is experiment
    dialog.reject()


def test_what_needs_files_of_this_machine_is_disabled_with_a_reason(remote: MainWindow, script: Any, do: Do) -> None:
    async def scenario() -> None:
        script.begin(RUN, DIGITS)
        script.finish(RUN)
        remote.studio.open_run(RUN)
        await settled(remote.studio)
        remote.open_workspace("train")
        await settled(remote.studio)

    do(scenario())
    remote.actions_.offer_report(1)
    for name in ("action.report", "action.runs_folder"):
        assert not action(remote, name).isEnabled()
        assert "on gpu" in action(remote, name).toolTip()
    assert action(remote, "action.copy_run").isEnabled()


def test_a_run_is_opened_by_its_typed_path(remote: MainWindow, script: Any, do: Do) -> None:
    async def scenario() -> None:
        script.begin(RUN, DIGITS)
        action(remote, "action.open_run").trigger()
        dialog = child(remote, QDialog, "ask_path")
        QTest.keyClicks(dialog.findChild(QLineEdit), RUN)
        dialog.accept()
        await settled(remote.studio)
        assert remote.studio.view is not None
        assert remote.studio.view.row.run == RUN

    do(scenario())


def test_a_copy_is_offered_only_for_another_machine(remote: MainWindow, script: Any, do: Do, until: Do) -> None:
    async def scenario() -> None:
        script.begin(RUN, DIGITS)
        script.finish(RUN)
        await settled(remote.studio)
        remote.open_workspace("compare")
        remote.runs.table.selectAll()
        copy = action(remote, "runs.copy_here")
        assert copy.isEnabled()
        copy.trigger()
        dialog = child(remote, QDialog, "copy")
        assert dialog.isVisible()
        dialog.reject()
        remote.studio.machines.choose("")
        await until(remote.studio.connection.connected)
        await settled(remote.studio)
        assert not action(remote, "runs.copy_here").isEnabled()

    do(scenario())
