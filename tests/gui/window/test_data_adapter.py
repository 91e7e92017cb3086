"""Another data set in the window: what depends on it follows, as one step for undo."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QPushButton

from nfkd.config import ConfigProblem, ExperimentConfig
from nfkd.config.data import ImageFolderConfig, TableConfig
from nfkd.config.toml import toml_text
from nfkd.protocol.data import DataPreview, NamedData
from nfkd_gui.forms.pairs_box import PairsBox
from nfkd_gui.window.main_window import MainWindow
from tests.gui.forms.driver import choose, editor, write
from tests.gui.forms.preview_driver import preview_of

Do = Callable[[Any], Any]


@pytest.fixture
def look(window: MainWindow, do: Do) -> Callable[[], None]:
    """Wait until the engine has sent the preview and the description of the present experiment."""

    async def wait() -> None:
        for _ in range(2):
            window.studio.data_preview.refresh()
            window.studio.experiment.describe()
            await window.studio.clients[-1].settled()  # type: ignore[attr-defined]

    return lambda: do(wait())


@pytest.fixture(autouse=True)
def previews(script: Any) -> None:
    script.previews["table"] = preview_of(event_shape=[6], levels=0, unit="nats")
    script.previews["two_moons"] = preview_of(event_shape=[2], levels=0, unit="nats")
    script.previews["cifar10"] = DataPreview(
        problems=[ConfigProblem("data.kind", "download it")], event_shape=[3, 32, 32], may_fetch=True
    )
    fitting = {"size": 16, "colour": False}
    script.previews["image_folder"] = preview_of(event_shape=[3, 32, 32], suggested=fitting)


def config_of(window: MainWindow) -> ExperimentConfig:
    config = window.studio.experiment.config
    assert config is not None
    return config


def test_a_table_after_digits_needs_no_repair_and_one_undo(window: MainWindow, look: Callable[[], None]) -> None:
    look()
    before = config_of(window)
    window.use_data({"kind": "table", "path": "/d/flowers.csv"})
    look()
    config = config_of(window)
    assert (config.teacher.kind, config.student.kind, config.name) == ("glow1d", "glow1d", "flowers")
    assert config.monitor.temperature == 1.0
    assert editor(window.form, "name").text() == "flowers"
    note = window.form.preview.note
    assert note.isVisible()
    assert note.label.text().startswith("Adapted to 6 features: Glow-1D with 5 and 3 steps")
    link = note.findChild(QPushButton, "preview.undo")
    assert isinstance(link, QPushButton)
    QTest.mouseClick(link, Qt.MouseButton.LeftButton)
    assert not note.isVisible()
    look()
    assert config_of(window) == before
    assert not note.isVisible()  # undo is not adapted again
    window.form.undo_stack.redo()
    look()
    assert config_of(window) == config


def test_the_form_adapts_to_a_chosen_data_set_and_keeps_later_edits_apart(
    window: MainWindow, look: Callable[[], None]
) -> None:
    look()
    choose(window.form, "data.kind", "two_moons")
    look()
    assert config_of(window).monitor.sample_count == 1000
    window.form.show_section(None)
    write(window.form, "student.hidden", "20")
    assert not window.form.preview.note.isVisible()
    window.form.undo_stack.undo()
    assert config_of(window).teacher.kind == "glow1d"
    window.form.undo_stack.undo()
    assert config_of(window) == ExperimentConfig.load("digits")


def test_a_named_data_set_is_adapted_to_and_keeps_its_settings(
    window: MainWindow, look: Callable[[], None], do: Do, script: Any
) -> None:
    table, folder = TableConfig(path="/d/flowers.csv"), ImageFolderConfig(path="/d/cats", size=24)
    script.named = [NamedData("flowers", toml_text(table)), NamedData("cats", toml_text(folder))]
    look()
    before = config_of(window)

    async def named() -> None:
        window.studio.data_preview.list_datasets()
        await window.studio.clients[-1].settled()  # type: ignore[attr-defined]

    do(named())
    menu = window.form.datasets.menu_
    for name, kind in (("flowers", "glow1d"), ("cats", "glow")):
        menu.aboutToShow.emit()
        [entry] = [action for action in menu.actions() if action.text() == name]
        entry.trigger()
        assert window.form.undo_stack.undoText() == "Change data set"
        look()
        assert config_of(window).teacher.kind == kind
    assert config_of(window).data == folder
    window.form.undo_stack.undo()
    window.form.undo_stack.undo()
    assert config_of(window) == before


def test_after_another_edit_the_adaptation_is_a_step_of_its_own(window: MainWindow, look: Callable[[], None]) -> None:
    look()
    choose(window.form, "data.kind", "two_moons")
    window.form.show_section(None)
    write(window.form, "training.student_steps", "7")
    look()
    stack = window.form.undo_stack
    assert config_of(window).teacher.kind == "glow1d"
    assert stack.undoText() == "Adapt to the data"
    stack.undo()
    config = config_of(window)
    assert (config.data.kind, config.teacher.kind, config.training.student_steps) == ("two_moons", "glow", 7)
    assert stack.undoText() == "Change student steps of training"
    stack.undo()
    stack.undo()
    assert config_of(window) == ExperimentConfig.load("digits")


def test_data_that_is_not_downloaded_yet_is_adapted_to(window: MainWindow, look: Callable[[], None]) -> None:
    look()
    choose(window.form, "data.kind", "cifar10")
    look()
    assert config_of(window).model_dump()["student"]["levels"] == 3


def test_a_folder_gets_the_size_and_the_channels_of_its_images(window: MainWindow, look: Callable[[], None]) -> None:
    look()
    window.use_data({"kind": "image_folder", "path": "/d/cats"})
    look()
    data = config_of(window).model_dump()["data"]
    assert (data["size"], data["colour"], data["path"]) == (16, False, "/d/cats")
    assert "Adapted to 1×16×16 images" in window.form.preview.note.label.text()
    window.form.undo_stack.undo()
    assert config_of(window).data.kind == "digits"


def test_a_size_that_the_user_sets_is_kept(window: MainWindow, look: Callable[[], None], script: Any) -> None:
    look()
    window.use_data({"kind": "image_folder", "path": "/d/cats"})
    look()
    write(window.form, "data.size", "24")
    look()
    assert config_of(window).model_dump()["data"]["size"] == 24


def test_pairs_of_the_former_flows_are_removed(window: MainWindow, look: Callable[[], None]) -> None:
    look()
    experiment = window.studio.experiment
    matching = {"strategy": "pairs", "pairs": [{"student": "level1.split", "teacher": "level1.split"}]}
    loss = experiment.document["distillation"] | {"matching": matching}
    experiment.amend("matching", experiment.document | {"distillation": loss})
    look()
    choose(window.form, "data.kind", "two_moons")
    look()
    assert config_of(window).distillation.matching.pairs == ()
    [pairs] = window.form.findChildren(PairsBox)
    assert pairs.rows == []


def test_an_opened_experiment_is_not_adapted(window: MainWindow, look: Callable[[], None], script: Any) -> None:
    script.previews["two_moons"] = preview_of(event_shape=[1, 8, 8])
    window.files.open("two_moons")
    look()
    assert config_of(window) == ExperimentConfig.load("two_moons")
    assert not window.studio.experiment.dirty
