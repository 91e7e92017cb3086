"""An engine behind a real ssh server on loopback, seen from a real window; the connection is cut in mid-run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from nfkd.protocol.events import CurvePoints
from nfkd.remote.hosts import EngineHost, write_engines
from nfkd_gui.window.copy_dialog import CopyDialog
from nfkd_gui.window.main_window import MainWindow
from tests import ssh_server
from tests.end_to_end.test_studio import experiment

pytestmark = pytest.mark.skipif(not ssh_server.AVAILABLE, reason="needs OpenSSH's client and server")
Do = Callable[[Any], Any]


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ssh_server.SshServer]:
    """A machine ``lab`` in the list of engines, with an engine of its own."""
    monkeypatch.setenv("NFKD_ENGINES", str(tmp_path / "engines.toml"))
    engine = tmp_path / "engine"
    with ssh_server.ssh_server(tmp_path / "ssh") as server:
        monkeypatch.setenv("NFKD_SSH", server.program)
        server.start(environment=ssh_server.session_environment(engine, tmp_path))
        write_engines([EngineHost("lab", ssh_server.ALIAS, sys.executable, str(tmp_path / "lab-runs"))])
        yield server
    process = engine / "engine.pid"
    if process.is_file() and psutil.pid_exists(int(process.read_text())):
        psutil.Process(int(process.read_text())).wait(30)


async def use(window: MainWindow, user: Any, name: str) -> None:
    """Choose a machine, and wait until its engine has accepted the experiment."""
    studio = window.studio
    studio.machines.choose(name)
    await user.until(studio.connection.connected, lambda _status: True)
    await user.reach(studio.experiment.checked, lambda: studio.experiment.is_checked and studio.experiment.may_run)


@pytest.mark.slow
def test_a_run_survives_a_cut_connection_and_is_copied_home(
    do: Do, user: Any, server: ssh_server.SshServer, tmp_path: Path
) -> None:
    async def scenario() -> None:
        window = await user.open(experiment(tmp_path, "training.student_steps=400"))
        studio = window.studio
        await use(window, user, "lab")
        assert studio.engine.status is not None
        user.click(window, "header.primary")
        await user.until(
            studio.event_applied, lambda event: isinstance(event, CurvePoints) and event.stage == "student"
        )
        assert studio.view is not None
        run = studio.view.row.run
        assert Path(run).parent == tmp_path / "lab-runs"
        failed: list[Any] = []
        studio.failed.connect(failed.append)
        assert server.cut() >= 1
        await user.until(studio.engine_changed, lambda: studio.engine.phase == "waiting")
        await user.until(studio.connection.connected, lambda _status: True)
        changes = [studio.rows_changed, studio.row_changed, studio.view_changed, studio.event_applied]
        await user.reach_by(changes, lambda: run in studio.rows and studio.rows[run].state == "finished")
        await user.reach_by(changes, lambda: studio.view is not None and studio.view.verdict is not None)
        assert failed == []
        view = studio.view
        assert {summary.stage for summary in view.summaries()} == {"teacher", "student", "baseline"}
        steps = list(view.stages[1, "student"].curves["train/total"].steps)
        assert steps == list(range(1, 401)), "nothing is missing, and nothing is there twice"
        window.actions_.copy_run.trigger()
        dialog = window.findChild(CopyDialog, "copy")
        assert dialog is not None
        user.click(dialog, "copy.start")
        await user.until(dialog.copier.copied, lambda _directory: True)
        await user.reach(dialog.copier.ended, lambda: not dialog.copier.runs)
        user.click(dialog, "copy.open")
        await user.until(studio.view_changed, lambda: studio.view is not None)
        assert studio.machines.host is None
        assert Path(studio.view.row.run).parent == Path(studio.preferences.runs_folder)
        assert list(studio.view.stages[1, "student"].curves["train/total"].steps) == steps
        studio.machines.choose("lab")
        await user.until(studio.connection.connected, lambda _status: True)
        studio.stop_engine()
        await user.until(studio.engine_changed, lambda: studio.engine.phase == "lost")
        await user.quit()

    do(scenario())
