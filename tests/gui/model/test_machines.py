"""The list of machines and the choice of one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nfkd.config import ConfigError
from nfkd.protocol.events import ErrorInfo
from nfkd.protocol.requests import ListRuns, Run
from nfkd.remote.hosts import EngineHost, read_engines, write_engines
from nfkd_gui.model.preferences import Preferences, load_preferences
from nfkd_gui.model.studio import Studio
from tests.gui.model.test_studio import DIGITS, settled

GPU = EngineHost("gpu", "user@gpu.example", folder="/data/runs")
OTHER = EngineHost("other", "other.example")
Do = Callable[[Any], Any]


@pytest.fixture(autouse=True)
def engines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of engines of its own."""
    path = tmp_path / "engines.toml"
    monkeypatch.setenv("NFKD_ENGINES", str(path))
    return path


def test_another_machine_has_its_own_runs(ready: Studio, script: Any, do: Do, until: Do) -> None:
    async def scenario() -> None:
        ready.machines.save([GPU, OTHER])
        ready.run(DIGITS)
        await settled(ready)
        assert ready.view is not None
        script.asked.clear()
        ready.machines.choose("gpu")
        assert (ready.view, dict(ready.rows), ready.engine.phase) == (None, {}, "starting")
        script.views.clear()
        script.active = ""
        await until(ready.connection.connected)
        await settled(ready)
        assert [request.folder for request in script.asked if isinstance(request, ListRuns)] == ["/data/runs"]
        assert ready.view is None
        ready.run(DIGITS)
        await settled(ready)
        assert [request.folder for request in script.asked if isinstance(request, Run)] == ["/data/runs"]
        assert ready.machines.label == "gpu"
        ready.machines.choose("")
        await until(ready.connection.connected)
        assert ready.machines.label == "This machine"
        assert ready.machines.runs_folder == "/runs"

    do(scenario())


def test_the_choice_is_remembered(ready: Studio, tmp_path: Path, do: Do, until: Do) -> None:
    async def scenario() -> None:
        ready.machines.save([GPU])
        ready.machines.choose("gpu")
        await until(ready.connection.connected)

    do(scenario())
    preferences = load_preferences(tmp_path / "studio.json")
    assert preferences.machine == "gpu"
    again = Studio(preferences, tmp_path / "studio.json")
    assert again.machines.host == GPU
    write_engines([OTHER])
    assert Studio(preferences, tmp_path / "studio.json").machines.host is None


def test_a_machine_for_one_session_is_not_remembered(ready: Studio, do: Do, until: Do) -> None:
    async def scenario() -> None:
        ready.machines.save([GPU])
        ready.machines.choose("gpu")
        await until(ready.connection.connected)
        ready.machines.choose("", remember=False)
        await until(ready.connection.connected)
        assert ready.preferences.machine == "gpu"

    do(scenario())


def test_a_renamed_machine_stays_in_use_and_a_removed_one_does_not(ready: Studio, do: Do, until: Do) -> None:
    async def scenario() -> None:
        ready.machines.save([GPU, OTHER])
        ready.machines.choose("gpu")
        await until(ready.connection.connected)
        renamed = EngineHost("big", GPU.host, folder=GPU.folder)
        ready.machines.save([renamed, OTHER], {"gpu": "big"})
        await until(ready.connection.connected)
        assert ready.machines.host == renamed
        assert ready.preferences.machine == "big"
        assert read_engines() == [renamed, OTHER]
        ready.machines.save([OTHER])
        await until(ready.connection.connected)
        assert ready.machines.host is None

    do(scenario())


def test_two_machines_with_one_name_are_refused(ready: Studio) -> None:
    with pytest.raises(ConfigError):
        ready.machines.save([GPU, EngineHost("gpu", "x.example")])
    assert ready.machines.hosts == []


def test_a_damaged_list_is_named(tmp_path: Path, engines: Path, qapp: object) -> None:
    engines.write_text("[[engine]]\nname = 1\n")
    studio = Studio(Preferences(machine="gpu"), tmp_path / "studio.json")
    assert "engine.0.name" in studio.machines.problem
    assert studio.machines.host is None


def test_a_local_file_is_refused_only_for_another_machine(ready: Studio, do: Do, until: Do) -> None:
    errors: list[ErrorInfo] = []
    ready.failed.connect(errors.append)

    async def scenario() -> None:
        ready.machines.save([GPU])
        assert not ready.machines.refuse_file("/data/x.csv")
        assert errors == []
        ready.machines.choose("gpu")
        await until(ready.connection.connected)
        assert ready.machines.refuse_file("/data/x.csv")

    do(scenario())
    assert "/data/x.csv" in errors[0].cause
    assert "scp -r FILE user@gpu.example:" in errors[0].action
