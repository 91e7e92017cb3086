"""Autosave: what is in the file, which files are offered, and a process that is killed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pytestqt.qtbot import QtBot

from nfkd_gui.model.autosave import Autosave
from nfkd_gui.model.experiment import Experiment

KILLED = """
import os, signal, sys
from pathlib import Path
from PySide6.QtCore import QCoreApplication
from nfkd_gui.model.autosave import Autosave
from nfkd_gui.model.experiment import Experiment
app = QCoreApplication([])
experiment = Experiment(lambda *_args, **_names: None)
autosave = Autosave(experiment, Path(sys.argv[1]))
autosave.changed.connect(lambda: print("kept", flush=True))
experiment.open("digits")
experiment.edit(experiment.document | {"description": "not saved"})
app.exec()
"""


@pytest.fixture
def experiment() -> Iterator[Experiment]:
    experiment = Experiment(lambda *_args, **_names: None)
    experiment.open("digits")
    yield experiment
    experiment.stop()


@pytest.fixture
def autosave(experiment: Experiment, tmp_path: Path) -> Iterator[Autosave]:
    autosave = Autosave(experiment, tmp_path)
    yield autosave
    autosave.close()
    assert not list(tmp_path.glob("unsaved-*.json"))


def files(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in folder.glob("unsaved-*.json")]


@pytest.mark.usefixtures("qtbot")
def test_nothing_is_unsaved_once_the_changes_are_taken_back(
    experiment: Experiment, autosave: Autosave, tmp_path: Path
) -> None:
    opened = experiment.document
    assert experiment.config is not None
    whole = experiment.config.model_dump(mode="json")  # the same with all defaults, as the form enters it
    for back in (opened, whole):
        experiment.edit(back | {"description": "mine"})
        autosave.keep()
        assert (experiment.dirty, len(files(tmp_path))) == (True, 1)
        experiment.edit(back)
        assert (experiment.dirty, files(tmp_path)) == (False, [])
    experiment.edit(whole | {"description": "mine"})
    experiment.save(tmp_path / "mine.toml")
    experiment.edit(whole)
    assert experiment.dirty, "it differs from the saved file"
    experiment.edit(whole | {"description": "mine"})
    assert not experiment.dirty
    experiment.replace(whole, dirty=True)  # restored: no file has it
    experiment.edit(whole | {"description": "mine"})
    experiment.edit(whole)
    assert experiment.dirty


def test_only_unsaved_changes_are_kept(
    experiment: Experiment, autosave: Autosave, tmp_path: Path, qtbot: QtBot
) -> None:
    autosave.keep()
    assert files(tmp_path) == []
    with qtbot.waitSignal(autosave.changed, timeout=10_000):
        experiment.edit(experiment.document | {"description": "mine"})  # written by the timer
    [content] = files(tmp_path)
    assert content["document"] == experiment.document
    assert (content["name"], content["path"], autosave.kept_at) == ("digits", "", content["time"])
    experiment.save(tmp_path / "mine.toml")
    assert files(tmp_path) == []
    assert autosave.kept_at == 0


def test_a_window_that_is_open_is_not_offered_to_another(
    experiment: Experiment, autosave: Autosave, tmp_path: Path
) -> None:
    experiment.edit(experiment.document | {"description": "mine"})
    autosave.keep()
    other = Autosave(Experiment(lambda *_args, **_names: None), tmp_path)
    assert other.found() == []
    assert autosave.found() == []
    other.close()
    assert len(files(tmp_path)) == 1


def test_a_killed_process_leaves_its_experiment_which_is_restored(
    experiment: Experiment, autosave: Autosave, tmp_path: Path
) -> None:
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process:
        assert process.stdout.readline() == "kept\n"
        assert autosave.found() == []  # it still runs
        process.kill()
    [unsaved] = autosave.found()
    assert (unsaved.name, unsaved.document["description"]) == ("digits", "not saved")
    autosave.restore(unsaved)
    assert experiment.document["description"] == "not saved"
    assert experiment.dirty
    assert autosave.found() == []
    assert [content["document"] for content in files(tmp_path)] == [experiment.document]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"document": 3}', '{"document": {}, "path": "", "name": ""}'])
def test_damaged_files_are_reported_once(
    autosave: Autosave, tmp_path: Path, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "unsaved-1-1.json"
    file.write_text(content)
    assert autosave.found() == []
    assert "unsaved-1-1.json holds no unsaved experiment" in caplog.text
    caplog.clear()
    assert autosave.found() == []
    assert caplog.text == ""


def test_a_folder_that_cannot_be_written_is_reported(
    experiment: Experiment, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    autosave = Autosave(experiment, tmp_path / "file")
    experiment.edit(experiment.document | {"description": "mine"})
    autosave.keep()
    assert "could not be kept" in caplog.text
    assert autosave.kept_at == 0
    autosave.close()
