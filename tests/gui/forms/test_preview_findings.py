"""What the preview of a table found, and corrections of it in place: reading, unused columns, warnings, refusals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QLineEdit, QPushButton, QWidget
from pytestqt.qtbot import QtBot

from nfkd.config.problems import ConfigProblem
from nfkd.protocol.data import ColumnStatistics, DataPreview, UnusedColumn
from nfkd_gui.forms.experiment_form import ExperimentForm
from nfkd_gui.model.studio import Studio
from tests.gui.forms.driver import choose, write
from tests.gui.forms.preview_driver import all_text, message, part, preview_of

Show = Callable[[DataPreview], None]
SPIKE = ConfigProblem("data.dequantize", "column rain has a spike", ("rain",))
STEPS = ConfigProblem("data.dequantize", "column count has 9 distinct values", ("count",))
FAR = ConfigProblem("data.scaling", "a few rows are far from the others", "quantile")
SENTINEL = ConfigProblem("data.missing_texts", "a value is far from all others", ("-999",))


@pytest.fixture
def form(form_with_preview: ExperimentForm) -> ExperimentForm:
    return form_with_preview


@pytest.fixture
def show(form: ExperimentForm, script: Any, ready: Studio, settled: Callable[[], None]) -> Show:
    """Make a preview that of the table /t.csv, and show it."""

    def previewed(preview: DataPreview) -> None:
        script.previews["table"] = preview
        script.data_problems = list(preview.problems)
        if data(form)["kind"] != "table":
            choose(form, "data.kind", "table")
            write(form, "data.path", "/t.csv")
        ready.data_preview.refresh()
        ready.experiment.describe()
        settled()

    return previewed


def table(**changes: Any) -> DataPreview:
    columns = [ColumnStatistics(name=name, low=0, mean=0, deviation=1, high=1) for name in ("rain", "count", "x")]
    return preview_of(event_shape=[3], levels=0, unit="nats", columns=columns, **changes)


def data(form: ExperimentForm) -> dict[str, Any]:
    return form.document()["data"]


def links(form: ExperimentForm) -> dict[str, QPushButton]:
    """Return the visible links by their text."""
    return {each.text(): each for each in form.preview.findChildren(QPushButton) if each.isVisible()}


def press(form: ExperimentForm, text: str) -> None:
    links(form)[text].click()


def test_the_reading_is_shown_and_its_settings_are_changed_in_place(
    form: ExperimentForm, script: Any, show: Show, settled: Callable[[], None]
) -> None:
    show(table(reading="separated by ;, decimal comma"))
    assert part(form, "reading.label").text() == "Read as: separated by ;, decimal comma"
    decimal = part(form, "reading.decimal")
    assert not decimal.isVisible()
    press(form, "Change …")
    assert decimal.isVisible()
    script.previews["table"] = table(reading="separated by ;")
    choose(form, "reading.decimal", "point")
    assert data(form)["decimal"] == "point"
    settled()
    assert part(form, "reading.label").text() == "Read as: separated by ;"
    QTest.keyClicks(part(form, "reading.comment"), "//")
    assert data(form)["comment"] == "//"
    assert part(form, "reading.comment").text() == "//"
    form.undo_stack.undo()
    assert (data(form)["comment"], data(form)["decimal"]) == ("", "point")
    form.undo_stack.undo()
    assert data(form)["decimal"] == "auto"
    assert decimal.value() == "auto"


def test_a_table_without_text_has_no_reading(form: ExperimentForm, show: Show) -> None:
    show(table())
    assert not part(form, "reading").isVisible()


def test_unused_columns_are_listed_and_those_of_numbers_can_be_used(form: ExperimentForm, show: Show) -> None:
    flag = UnusedColumn(name="flag", reason="holds true and false", usable=True)
    others = [UnusedColumn(name=f"text{index}", reason="holds text") for index in range(4)]
    show(table(unused=[flag, *others], more_unused=1_203))
    text = all_text(form)
    assert "1,208 columns are not used" in text
    assert "flag: holds true and false" in text
    assert "text2: holds text" not in text
    assert "and 1,205 more" in text
    press(form, "Show 2 more")
    assert "text3: holds text" in all_text(form)
    assert "and 1,203 more" in all_text(form)
    press(form, "Use as number")
    assert data(form)["columns"] == ["rain", "count", "x", "flag"]
    form.undo_stack.undo()
    assert data(form)["columns"] == []
    press(form, "Use as condition")
    assert data(form)["context"] == ["flag"]


@pytest.mark.parametrize(
    ("warnings", "link", "field", "value"),
    [
        ([SPIKE], "Dequantize rain", "dequantize", ["rain"]),
        ([SPIKE, STEPS], "Dequantize all", "dequantize", ["auto"]),
        ([SPIKE], "Use as condition", "context", ["rain"]),
        ([FAR], "Scale by quantiles", "scaling", "quantile"),
        ([SENTINEL], "Treat -999 as missing", "missing_texts", ["-999"]),
    ],
)
def test_a_warning_is_solved_by_a_link_and_taken_back_by_one_undo(
    warnings: list[ConfigProblem], link: str, field: str, value: Any, form: ExperimentForm, show: Show
) -> None:
    show(table(warnings=warnings))
    before = data(form)
    press(form, link)
    assert data(form) == before | {field: value}
    form.undo_stack.undo()
    assert data(form) == before


def test_a_warning_leads_to_its_field(form: ExperimentForm, show: Show) -> None:
    show(table(warnings=[FAR]))
    press(form, "Go to scaling")
    focus = form.window().focusWidget()
    assert focus is not None
    assert focus.objectName() == "data.scaling"


def test_a_refusal_shows_the_settings_that_it_names(form: ExperimentForm, show: Show) -> None:
    problem = ConfigProblem("data.path", "has 3 values in line 2, but 1 in its first (data.separator)")
    show(DataPreview(problems=[problem], reading="separated by commas"))
    assert all_text(form).lower().count("has 3 values") == 1
    assert part(form, "reading.label").text() == "Read as: separated by commas"
    assert part(form, "reading.separator").isVisible()
    choose(form, "reading.separator", "semicolon")
    assert data(form)["separator"] == "semicolon"


@pytest.mark.parametrize(
    ("problem", "link", "field", "value"),
    [
        (ConfigProblem("data.split", "holds train and test", "arrays"), "Use them as parts", "split", "arrays"),
        (ConfigProblem("data.decimal", "may be either"), "Decimal comma", "decimal", "comma"),
        (ConfigProblem("data.columns", "is missing (data.missing)"), "Fill in medians", "missing", "median"),
    ],
)
def test_a_refusal_is_solved_by_a_link(
    problem: ConfigProblem, link: str, field: str, value: Any, form: ExperimentForm, show: Show
) -> None:
    show(DataPreview(problems=[problem]))
    press(form, link)
    assert data(form)[field] == value


def test_the_way_of_the_split_is_shown_with_its_counts(form: ExperimentForm, show: Show) -> None:
    show(table(split="split by column part"))
    assert "70 train · 20 validation · 10 test, split by column part" in message(form)


def test_the_estimate_counts_the_warnings_that_the_preview_lists(form: ExperimentForm, show: Show) -> None:
    show(table(warnings=[FAR]))
    assert all_text(form).lower().count(FAR.message) == 1


def test_nothing_is_wider_than_a_narrow_form(form: ExperimentForm, show: Show, qtbot: QtBot) -> None:
    names = [UnusedColumn(name="a_long_name_" * 20, reason="holds text", usable=True)]
    show(table(unused=names, warnings=[SPIKE, STEPS, FAR], reading="separated by ;, " * 10))
    press(form, "Change …")
    form.resize(300, 900)
    qtbot.waitUntil(lambda: form.preview.width() <= 300)
    wide = [each for each in form.preview.findChildren(QWidget) if each.isVisible() and not isinstance(each, QLineEdit)]
    assert all(each.mapTo(form.preview, each.rect().topRight()).x() <= form.preview.width() for each in wide)
