"""Foreign text with markup is shown literally: in labels, tooltips, plots, menus and titles."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyqtgraph as pg
import pytest
from PySide6.QtCore import QModelIndex, Qt
from PySide6.QtGui import QAction, QTextDocument
from PySide6.QtWidgets import (
    QAbstractItemView,
    QApplication,
    QDialog,
    QGraphicsTextItem,
    QLabel,
    QMessageBox,
    QTableView,
    QTreeView,
    QWidget,
)
from pytestqt.qtbot import QtBot

from nfkd.config import ExperimentConfig
from nfkd.config.problems import ConfigProblem
from nfkd.protocol import events, records
from nfkd.protocol.data import ColumnStatistics, DataPreview, NamedData
from nfkd_gui.model.studio import Studio
from nfkd_gui.widgets.labels import MarkupLabel, tip
from nfkd_gui.window.main_window import MainWindow
from nfkd_gui.window.preferences_dialog import PreferencesDialog

Do = Callable[[Any], Any]
MARKUP = "<b>x</b><img src='nowhere.png'><a href='x'>y</a> &amp; [*]"
HOSTILE = f"{MARKUP} \x1b[31m\u202egnp"
SHOWN = MARKUP + r" \x1b[31m\u202egnp"
NAME = HOSTILE.replace("/", "_")
RUN = f"/runs/{NAME}"
OURS = {"Runs &folder", "&Theme", "&Engine here", "&Name", "&Host", "&Command", "&Folder"}
"""Labels that QFormLayout makes from our own captions."""
PICTURE = "\ufffc"
"""The character that stands for an image in a QTextDocument."""


@pytest.fixture
def window(studio: Studio, script: Any, qtbot: QtBot, do: Do, until: Do) -> Iterator[MainWindow]:
    """The window with a run, data and an experiment whose texts all contain markup."""
    column = ColumnStatistics(name=HOSTILE, low=0.0, mean=0.0, deviation=1.0, high=1.0)
    script.previews["digits"] = DataPreview(
        summary=HOSTILE, counts=[1, 2, 3], event_shape=[3], unit=HOSTILE, columns=[column] * 3
    )
    script.named = [NamedData(name=HOSTILE, config=HOSTILE), NamedData(name="y", config="", problem=HOSTILE)]
    script.find_problems = lambda _config: [ConfigProblem(path="student.hidden", message=HOSTILE)]
    script.pairs = [records.LayerPair(student="a", teacher="b", summary=HOSTILE)]
    window = MainWindow(studio)
    window.files.open("digits")
    window.resize(1500, 950)
    window.show()
    qtbot.waitExposed(window)

    async def start() -> None:
        studio.start()
        await until(studio.rows_changed)
        await studio.clients[-1].settled()  # type: ignore[attr-defined]
        emit_run(script)
        studio.open_run(RUN)
        await studio.clients[-1].settled()  # type: ignore[attr-defined]

    do(start())
    window.open_workspace("train")
    window.train.docks["log"].show()
    studio.unreadable = [HOSTILE]
    studio.rows_changed.emit()
    refresh(window)
    yield window
    studio.experiment.dirty = False
    window.close()
    window.deleteLater()


def emit_run(script: Any) -> None:
    script.begin(RUN, ExperimentConfig.load("digits").to_toml())
    texts = dict.fromkeys(("data", "teacher", "student", "device", "unit", "cause", "verdict"), HOSTILE)
    script.views[RUN].row = msgspec.structs.replace(script.views[RUN].row, **texts)
    curves = [records.CurveInfo(name=name, label=HOSTILE, unit=HOSTILE) for name in ("train/total", "validation/nll")]
    pairs = [records.LayerPair(student="a", teacher="b", summary=HOSTILE)]
    stages = [events.StagePlan(stage=stage, steps=9, curves=curves, pairs=pairs) for stage in script.roles]
    columns = [HOSTILE, f"2 {HOSTILE}", "c"]
    script.emit(events.SeedStarted(run=RUN, seed=1, stages=stages, event_shape=[3], columns=columns))
    script.emit(events.StageStarted(run=RUN, seed=1, stage="student"))
    script.train(RUN, "student", 4)
    common: dict[str, Any] = {"run": RUN, "seed": 1, "stage": "student", "step": 4}
    script.emit(events.SamplesDrawn(**common, temperature=0.7, samples=np.zeros((4, 3), np.float32)))
    script.emit(events.MatchingMeasured(**common, error=np.array([0.5])))
    script.emit(events.LogLine(run=RUN, time=0.0, level="warning", text=f"{HOSTILE}\n00:00:00  engine  forged"))


def refresh(window: MainWindow) -> None:
    for panel in window.panels:
        panel.refresh()
    QApplication.processEvents()


def harmless(text: str) -> bool:
    """Return whether a text has no control characters and no direction overrides."""
    return not any(
        unicodedata.category(character) in {"Cc", "Cs"} or unicodedata.bidirectional(character) in {"RLO", "LRO", "RLE"}
        for character in text.replace("\n", "").replace("\t", "")
    )


def as_qt_shows(text: str) -> str:
    """Return the text that Qt shows in a tooltip, where it detects markup by itself."""
    if not text.lstrip().startswith("<") and "<" not in text and "&" not in text:
        return text
    document = QTextDocument()
    document.setHtml(text)
    return document.toPlainText()


def shows_markup(text: str) -> bool:
    """Return whether a text has no image, and shows the hostile markup literally if it contains it."""
    whole = "nowhere.png" not in text or "<img src='nowhere.png'>" in text
    return PICTURE not in text and harmless(text) and whole


def check_labels(top: QWidget) -> int:
    """Check every label; return how many contain the hostile text."""
    found = 0
    for label in top.findChildren(QLabel):
        text = label.text()
        if not text or text in OURS:
            continue
        if isinstance(label, MarkupLabel):
            assert shows_markup(as_qt_shows(text)), text
        else:
            assert label.textFormat() == Qt.TextFormat.PlainText, (label.objectName(), text)
            assert harmless(text)
        found += "nowhere" in text
    return found


def test_labels_tooltips_and_plots_show_markup_literally(window: MainWindow) -> None:
    assert check_labels(window) > 8
    shown = {label.text() for label in window.findChildren(QLabel)}
    assert SHOWN.replace("/", "_") in shown  # the inspector's title
    assert any(SHOWN in text for text in shown)

    tips = [widget.toolTip() for widget in window.findChildren(QWidget)]
    tips += [action.toolTip() for action in window.findChildren(QAction)]
    for view in window.findChildren(QAbstractItemView):
        model = view.model()
        for row in range(model.rowCount(QModelIndex())):
            for column in range(model.columnCount(QModelIndex()) if isinstance(view, (QTableView, QTreeView)) else 1):
                index = model.index(row, column)
                tips.append(index.data(Qt.ItemDataRole.ToolTipRole) or "")
                assert harmless(str(index.data(Qt.ItemDataRole.DisplayRole) or ""))
    shown = [as_qt_shows(text) for text in tips]
    assert [text for text in shown if not shows_markup(text)] == []
    assert sum("nowhere" in text for text in shown) > 5
    assert sum(SHOWN in text for text in shown) > 3

    texts = [
        item.toPlainText()
        for view in window.findChildren(pg.GraphicsView)
        for item in view.scene().items()
        if isinstance(item, QGraphicsTextItem)
    ]
    assert all(shows_markup(text) for text in texts)
    assert sum("<b>x</b>" in text for text in texts) >= 2


def test_tip_keeps_the_text() -> None:
    for text in ("plain", "a < b", "&lt;b&gt;", "<b>x</b>", "two\n  <i>lines</i>"):
        assert as_qt_shows(tip(text)) == text


def test_log_title_menus_and_status_bar_show_markup_literally(window: MainWindow) -> None:
    text = window.train.log._text.toPlainText()
    assert SHOWN in text
    assert "\n    00:00:00  engine  forged" in text  # not a line of its own
    assert harmless(text)
    for action in window.findChildren(QAction):
        assert harmless(action.text())
    window.runs.message.emit(HOSTILE)
    assert harmless(window.statusBar().currentMessage())
    document = window.form.document()
    document["name"] = NAME
    window.studio.experiment.edit(document)
    assert harmless(window.windowTitle())
    assert window.windowTitle().count("[*]") == 3  # two for that in the name, one for the unsaved mark


def test_dialogs_show_markup_literally(window: MainWindow, qtbot: QtBot) -> None:
    window.show_error(events.ErrorInfo(title=HOSTILE, cause=HOSTILE, action=HOSTILE, traceback=HOSTILE))
    window.actions_.stop.trigger()
    window.actions_.stop_engine.trigger()
    window.actions_.about.trigger()
    window.actions_.shortcuts.trigger()
    document = window.form.document()
    document["description"] = "changed"
    document["name"] = NAME
    window.studio.experiment.edit(document)
    window.close()
    script_row = msgspec.structs.replace(window.studio.rows[RUN], state="finished")
    window.studio.rows[RUN] = script_row
    window.studio.rows_changed.emit()
    window.open_workspace("compare")
    QApplication.processEvents()  # lists the run
    for act in (window.runs.actions_.tag, window.runs.actions_.write_note, window.runs.actions_.rename):
        act()
    PreferencesDialog(window.studio, window).open()
    dialogs = window.findChildren(QDialog)
    assert len(dialogs) >= 8
    hostile = 0
    for dialog in dialogs:
        assert harmless(dialog.windowTitle())
        rich = isinstance(dialog, QMessageBox) and dialog.textFormat() == Qt.TextFormat.RichText
        if rich:
            assert dialog.windowTitle() in {"About NFKD", "Keyboard shortcuts"}
        elif dialog.windowTitle() != "Rename run":  # its only label is ours
            hostile += check_labels(dialog)
    assert hostile >= 7
    for dialog in dialogs:
        dialog.reject()


def test_the_cause_of_a_lost_engine_is_shown_literally(window: MainWindow, studio: Studio) -> None:
    studio.clients[-1].lose(events.ErrorInfo(title="Gone", cause=HOSTILE))  # type: ignore[attr-defined]
    assert check_labels(window) > 8
    status = window.engine_status.findChild(QLabel, "engine.message")
    assert status is not None
    assert as_qt_shows(status.toolTip()) == SHOWN
    for dialog in window.findChildren(QDialog):
        dialog.reject()


def test_a_name_that_is_no_file_name_is_replaced_when_saving(window: MainWindow, tmp_path: Path) -> None:
    document = window.form.document()
    document["name"] = "../../x"
    window.studio.experiment.edit(document)
    window.files.ask_save()
    (dialog,) = window.findChildren(QDialog)
    assert [Path(path).name for path in dialog.selectedFiles()] == ["experiment.toml"]  # type: ignore[attr-defined]
    dialog.reject()


def test_unreadable_runs_are_limited_and_do_not_widen_the_window(window: MainWindow, studio: Studio) -> None:
    studio.unreadable = [f"/runs/{name} is damaged." for name in "abcde"]
    studio.rows_changed.emit()
    window.open_workspace("compare")
    [label] = [label for label in window.findChildren(QLabel) if "/runs/a" in label.text()]
    assert label.isVisible()
    assert label.text().splitlines() == [
        "/runs/a is damaged.", "/runs/b is damaged.", "/runs/c is damaged.", "2 more runs cannot be read.",
    ]  # fmt: skip
    QApplication.processEvents()  # lays out the workspace that was opened
    before = window.minimumSizeHint().width()
    studio.unreadable = ["n" * 10_000]
    studio.rows_changed.emit()
    window.show_error(events.ErrorInfo(title="n" * 10_000, cause="n" * 10_000))
    QApplication.processEvents()
    assert window.minimumSizeHint().width() <= before + 100
    (dialog,) = window.findChildren(QDialog)
    assert dialog.minimumSizeHint().width() < 600
    assert dialog.width() <= window.width()
    dialog.reject()
