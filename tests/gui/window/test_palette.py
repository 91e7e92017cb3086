"""The command palette, by the keyboard and the mouse."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QAction
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QToolButton, QWidget

from nfkd.config import ExperimentConfig, preset_names
from nfkd.config.data import TableConfig
from nfkd.config.datasets import DATA_KINDS
from nfkd.config.toml import toml_text
from nfkd.protocol.data import NamedData
from nfkd_gui.forms.fields import all_fields
from nfkd_gui.window.main_window import MainWindow
from nfkd_gui.window.palette import Palette
from nfkd_gui.window.palette_entries import entries_of

Do = Callable[[Any], Any]


def opened(window: MainWindow) -> Palette:
    QTest.keyClick(window, Qt.Key.Key_K, Qt.KeyboardModifier.ControlModifier)
    [palette] = [each for each in window.findChildren(Palette) if each.isVisible()]
    return palette


def choose(window: MainWindow, query: str, title: str) -> None:
    """Search, go down to a title and press Enter."""
    palette = opened(window)
    QTest.keyClicks(palette.line, query)
    for _ in range(palette.titles.index(title)):
        QTest.keyClick(palette.line, Qt.Key.Key_Down)
    QTest.keyClick(palette.line, Qt.Key.Key_Return)
    assert not palette.isVisible()


@pytest.mark.parametrize(
    ("query", "title", "path"),
    [
        ("stud hid", "Student › Hidden units", "student.hidden"),
        ("warm up", "Training › Warm-up", "training.warmup_steps"),
        ("skd weight", "SKD › Weight", "distillation.skd.weight"),
    ],
)
def test_a_field_is_found_and_gets_the_focus(window: MainWindow, query: str, title: str, path: str) -> None:
    window.open_preset("maf_moons")
    window.open_workspace("train")
    [title] = {field.title for field in all_fields() if field.path == path and field.title.endswith(title)}
    choose(window, query, title)
    assert window.workspace == "design"
    focus: QWidget | None = QApplication.focusWidget()
    names = []
    while focus is not None:
        names.append(focus.objectName())
        focus = focus.parentWidget()
    assert path in names


def test_fields_of_other_kinds_of_flow_are_not_offered(window: MainWindow) -> None:
    def fields() -> list[str]:
        return [entry.title for entry in entries_of(window) if entry.kind == "Field"]

    assert {"Student › Levels", "Student › Hidden channels"} <= set(fields())
    assert "Student › Hidden units" not in fields()
    window.open_preset("maf_moons")
    assert "Student › Levels" not in fields()
    assert "Student › Order" in fields()


def test_a_field_is_found_by_its_path_and_its_help(window: MainWindow) -> None:
    palette = opened(window)
    for query in ("gradient_clip", "maximum norm of the gradient"):
        palette.line.setText(query)
        assert any("Gradient clip" in title for title in palette.titles), query
    palette.close()


def test_commands_follow_their_state_and_are_triggered(window: MainWindow) -> None:
    window.open_workspace("train")  # its panels are offered once it was opened
    titles = [entry.title for entry in entries_of(window) if entry.kind == "Command"]
    assert {"Open experiment …", "Train", "Presentation", "Dark", "Log"} <= set(titles)
    assert "Pause" not in titles  # nothing is in training
    choose(window, "dark", "Dark")
    assert window.studio.preferences.theme == "dark"


def test_everything_that_the_menus_offer_is_found(window: MainWindow) -> None:
    found = {entry.detail for entry in entries_of(window) if entry.kind == "Command"}
    keys = {
        action.shortcut().toString()
        for action in window.findChildren(QAction)
        if action.isEnabled() and not action.shortcut().isEmpty()
    }
    assert keys - {"Ctrl+K"} <= found


def test_presets_data_sets_runs_and_files(window: MainWindow, script: Any, do: Do, tmp_path: Path) -> None:
    table = TableConfig(path="/d/jets.csv")
    script.named = [NamedData(name="jets", config=toml_text(table))]
    file = tmp_path / "mine.toml"
    ExperimentConfig.load("maf_moons").save(file)
    window.studio.prefer(recent=[str(file)])

    async def scenario() -> None:
        settled = window.studio.clients[-1].settled  # type: ignore[attr-defined]
        window.studio.data_preview.list_datasets()
        script.begin("/runs/old", ExperimentConfig.load("digits").to_toml())
        script.finish("/runs/old")
        await settled()
        kinds = {entry.kind: entry for entry in entries_of(window)}
        assert len([entry for entry in entries_of(window) if entry.kind == "Preset"]) == len(preset_names())
        assert len([entry for entry in entries_of(window) if entry.kind == "Data set"]) == len(DATA_KINDS)
        choose(window, "jets", "jets")
        assert window.studio.experiment.config is not None
        assert window.studio.experiment.config.data == table
        window.studio.experiment.dirty = False
        choose(window, "pinwheel few", "Pinwheel, 100 points")
        assert window.studio.experiment.name == "pinwheel, 100 points"
        kinds["Recent file"].choose()
        assert window.studio.experiment.path == file
        choose(window, "old", "old")
        await settled()
        assert window.studio.view is not None
        assert (window.studio.view.row.run, window.workspace) == ("/runs/old", "train")

    do(scenario())


def test_escape_a_click_and_an_unknown_name(window: MainWindow, qtbot: Any) -> None:
    QTest.mouseClick(window.design.search, Qt.MouseButton.LeftButton)
    assert isinstance(window.design.search, QToolButton)
    [palette] = [each for each in window.findChildren(Palette) if each.isVisible()]
    QTest.keyClicks(palette.line, "qqqq")
    assert palette.titles == []
    QTest.keyClick(palette.line, Qt.Key.Key_Return)
    assert palette.isVisible()
    palette.line.setText("two moons by maf")
    QTest.keyClick(palette.line, Qt.Key.Key_Escape)
    assert not palette.isVisible()
    palette = opened(window)
    palette.line.setText("checkerboard")
    row = palette.list.visualRect(palette.list.model().index(palette.titles.index("Checkerboard"), 0))
    QTest.mouseClick(palette.list.viewport(), Qt.MouseButton.LeftButton, pos=row.center())
    assert window.studio.experiment.name == "checkerboard"
    qtbot.waitUntil(lambda: not window.findChildren(Palette))
