"""The user's named data sets in the form."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QDialog, QLabel, QLineEdit, QListWidget, QPushButton, QWidget
from pytestqt.qtbot import QtBot

from nfkd.config import ExperimentConfig
from nfkd.config.data import TableConfig
from nfkd.config.datasets import ENVIRONMENT, add_dataset, dataset_names, parse_data
from nfkd.config.toml import toml_text
from nfkd.protocol.data import ListData, NamedData
from nfkd_gui.forms.experiment_form import ExperimentForm
from nfkd_gui.model.studio import Studio
from tests.gui.forms.driver import choose, write
from tests.gui.forms.preview_driver import all_text


@pytest.fixture
def form(form_with_preview: ExperimentForm) -> ExperimentForm:
    return form_with_preview


def test_a_named_data_set_fills_the_form_and_can_be_undone(
    form: ExperimentForm, ready: Studio, script: Any, qtbot: QtBot, settled: Callable[[], None]
) -> None:
    table = TableConfig(path="/d/jets.csv", columns=("mass", "charge"), scaling="robust")
    problem = "the data set 'old' cannot be read"
    script.named = [NamedData(name="jets & more", config=toml_text(table)), NamedData("old", "", problem)]
    menu = form.datasets.menu_
    qtbot.mouseClick(form.datasets, Qt.MouseButton.LeftButton)  # requests the list again
    qtbot.waitUntil(lambda: len(menu.actions()) == 5)
    good, bad, _line, _save, _manage = menu.actions()
    assert (good.text(), good.isEnabled()) == ("jets && more", True)
    assert (bad.text(), bad.isEnabled(), bad.toolTip()) == ("old", False, problem)
    QTest.keyClick(menu, Qt.Key.Key_Down)
    QTest.keyClick(menu, Qt.Key.Key_Return)
    assert ready.experiment.config is not None
    assert ready.experiment.config.data == table
    assert ready.experiment.dirty
    form.undo_stack.undo()
    assert ready.experiment.config == ExperimentConfig.load("digits")
    form.undo_stack.redo()
    assert form.document()["data"]["path"] == "/d/jets.csv"
    write(form, "data.path", "/d/k.csv")
    form.undo_stack.undo()
    assert ready.experiment.document["data"]["path"] == "/d/jets.csv"


def test_an_empty_menu_offers_to_name_the_data(
    named: Path, form: ExperimentForm, script: Any, settled: Callable[[], None]
) -> None:
    none, _line, save, manage = form.datasets.menu_.actions()
    assert (none.text(), none.isEnabled(), save.isEnabled(), manage.isEnabled()) == ("None yet", False, False, False)
    assert any(isinstance(request, ListData) for request in script.asked)
    settled()
    form.datasets.menu_.aboutToShow.emit()
    assert save.isEnabled()


@pytest.fixture
def named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the named data sets."""
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path / "named"))
    return tmp_path / "named"


def dialog_of(form: ExperimentForm, settled: Callable[[], None]) -> QDialog:
    settled()
    form.datasets.menu_.aboutToShow.emit()
    form.datasets.save.trigger()
    [dialog] = [each for each in form.findChildren(QDialog, "dataset_name") if each.isVisible()]
    return dialog


def test_the_data_of_the_form_gets_a_name_as_by_the_command(
    form: ExperimentForm, ready: Studio, settled: Callable[[], None], named: Path
) -> None:
    choose(form, "data.kind", "two_moons")
    write(form, "data.count", "500")
    dialog = dialog_of(form, settled)
    line, save = dialog.findChild(QLineEdit), dialog.findChild(QPushButton, "dataset_name.save")
    assert line is not None
    assert save is not None
    assert not save.isEnabled()
    QTest.keyClicks(line, "my moons")
    QTest.mouseClick(save, Qt.MouseButton.LeftButton)
    assert not dialog.isVisible()
    assert [path.name for path in named.iterdir()] == ["my moons.toml"]
    assert ready.experiment.config is not None
    assert parse_data("my moons") == ready.experiment.config.data


def test_bad_names_and_taken_names(
    form: ExperimentForm, ready: Studio, settled: Callable[[], None], named: Path
) -> None:
    add_dataset("jets", TableConfig(path="/d/jets.csv"))
    dialog = dialog_of(form, settled)
    line, save = dialog.findChild(QLineEdit), dialog.findChild(QPushButton, "dataset_name.save")
    label = dialog.findChild(QLabel, "dataset_name.message")
    assert line is not None
    assert save is not None
    assert label is not None
    for name, words in (("a/b", "cannot be a name"), ("mnist", "is a kind of data"), ("x" * 200, "at most 80")):
        line.setText(name)
        assert words in label.text()
        assert not save.isEnabled()
    line.setText("jets")
    assert "will be replaced" in label.text()
    assert save.text() == "Replace"
    QTest.mouseClick(save, Qt.MouseButton.LeftButton)
    assert parse_data("jets").kind == "digits"


def test_a_name_that_cannot_be_saved_is_reported(
    form: ExperimentForm, ready: Studio, settled: Callable[[], None], named: Path
) -> None:
    named.write_text("a file where the folder should be")
    errors: list[Any] = []
    ready.data_preview.failed.connect(errors.append)
    dialog = dialog_of(form, settled)
    line, save = dialog.findChild(QLineEdit), dialog.findChild(QPushButton, "dataset_name.save")
    assert line is not None
    assert save is not None
    line.setText("jets")
    QTest.mouseClick(save, Qt.MouseButton.LeftButton)
    assert [error.title for error in errors] == ["The data set jets was not saved"]
    assert dialog.isVisible()
    dialog.reject()


@pytest.fixture
def managed(form: ExperimentForm, named: Path, qtbot: QtBot) -> Callable[[], QDialog]:
    """Two named data sets, and a function that opens the dialog that manages them."""
    add_dataset("jets", TableConfig(path="/d/jets.csv"))
    add_dataset("rows", TableConfig(path="/d/rows.csv"))

    def opened() -> QDialog:
        form.datasets.menu_.aboutToShow.emit()
        qtbot.waitUntil(form.datasets.manage.isEnabled)
        form.datasets.manage.trigger()
        [dialog] = form.window().findChildren(QDialog, "dataset_list")
        return dialog

    return opened


def part(owner: QWidget, name: str) -> Any:
    """Return the visible widget of a name."""
    [found] = [each for each in owner.findChildren(QWidget, name) if each.isVisible()]
    return found


def names(dialog: QDialog) -> list[str]:
    listed: Any = dialog.findChild(QListWidget)
    return [listed.item(row).text() for row in range(listed.count())]


def test_a_data_set_is_renamed_by_the_keyboard(
    managed: Callable[[], QDialog], form: ExperimentForm, qtbot: QtBot
) -> None:
    dialog = managed()
    listed = part(dialog, "dataset_list.names")
    assert names(dialog) == ["jets", "rows"]
    QTest.keyClick(listed, Qt.Key.Key_Down)
    QTest.keyClick(listed, Qt.Key.Key_Return)
    asking = part(dialog, "dataset_name")
    line, save = part(asking, "dataset_name.line"), part(asking, "dataset_name.save")
    assert (line.text(), line.selectedText(), save.text(), save.isEnabled()) == ("rows", "rows", "Rename", False)
    QTest.keyClicks(line, "jets")
    assert "will be replaced" in part(asking, "dataset_name.message").text()
    line.selectAll()
    QTest.keyClicks(line, "my rows")
    QTest.keyClick(line, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: names(dialog) == ["jets", "my rows"])
    assert dataset_names() == ["jets", "my rows"]
    assert parse_data("my rows") == TableConfig(path="/d/rows.csv")
    assert [action.text() for action in form.datasets.menu_.actions()[:2]] == ["jets", "my rows"]


def test_a_name_is_removed_after_a_question(
    managed: Callable[[], QDialog], form: ExperimentForm, ready: Studio, qtbot: QtBot
) -> None:
    ready.experiment.replace(form.document() | {"data": "jets"})
    assert ready.experiment.config is not None
    dialog = managed()
    for answer, left in (("Cancel", ["jets", "rows"]), ("Remove", ["rows"])):
        QTest.mouseClick(part(dialog, "dataset_list.remove"), Qt.MouseButton.LeftButton)
        question = part(dialog, "dataset_remove")
        assert "“jets”" in question.text()
        [button] = [each for each in question.buttons() if each.text().replace("&", "") == answer]
        QTest.mouseClick(button, Qt.MouseButton.LeftButton)
        qtbot.waitUntil(lambda left=left: names(dialog) == left)
        assert dataset_names() == left
    assert ready.experiment.config.data == TableConfig(path="/d/jets.csv")  # the open experiment keeps its data
    ready.experiment.replace(form.document() | {"data": "jets"})
    assert "there is no data set 'jets'" in all_text(form).replace("There", "there")


def test_without_names_nothing_can_be_renamed(managed: Callable[[], QDialog], qtbot: QtBot, named: Path) -> None:
    dialog = managed()
    for path in named.iterdir():
        path.unlink()
    QTest.mouseClick(part(dialog, "dataset_list.remove"), Qt.MouseButton.LeftButton)
    question = part(dialog, "dataset_remove")
    QTest.mouseClick(part(question, "dataset_remove.remove"), Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: names(dialog) == [])  # listed again, although the name was gone already
    assert not part(dialog, "dataset_list.rename").isEnabled()
    assert not part(dialog, "dataset_list.remove").isEnabled()


@pytest.mark.parametrize("source", ["jets", "tables/jets.csv"])
def test_a_file_may_name_its_data_set_or_its_path(
    form: ExperimentForm, ready: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path / "named"))
    config = TableConfig(path=str(tmp_path / "tables" / "jets.csv"))
    add_dataset("jets", config)
    document = ExperimentConfig.load("two_moons").to_toml()
    head, _, rest = document.partition("[data]")
    file = tmp_path / "one.toml"
    file.write_text(f'data = "{source}"\n{head}[{rest.partition("[")[2]}')
    ready.experiment.open(file)
    assert ready.experiment.config is not None
    assert ready.experiment.config.data == config
    assert form.document()["data"]["path"] == config.path
    assert not ready.experiment.dirty


def test_an_unknown_name_is_reported_and_kept_until_a_kind_is_chosen(form: ExperimentForm, ready: Studio) -> None:
    document = form.document() | {"data": "jetz"}
    ready.experiment.replace(document)
    assert "there is no data set 'jetz'" in all_text(form).replace("There", "there")
    assert form.document() == document
    assert not form.preview.isVisible()
    choose(form, "data.kind", "two_moons")
    assert ready.experiment.config is not None
    assert ready.experiment.config.data.kind == "two_moons"
