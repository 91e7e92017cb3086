"""The preview of the data: its contents, and problems."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QImage
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QScrollArea
from pytestqt.qtbot import QtBot

from nfkd.config.data import DrawnConfig
from nfkd.config.problems import ConfigProblem
from nfkd.config.toml import toml_text
from nfkd.protocol.data import ColumnStatistics, DataPreview, PreviewData
from nfkd.protocol.events import ErrorInfo
from nfkd.protocol.requests import Describe
from nfkd_gui.forms.experiment_form import ExperimentForm
from nfkd_gui.model.studio import Studio
from nfkd_gui.plotting.plane import Plane
from nfkd_gui.theme import apply_theme
from tests.gui.forms.driver import choose, write
from tests.gui.forms.preview_driver import all_text, images, message, part, preview_of

Do = Callable[[Any], Any]
Until = Callable[[Any], Any]


@pytest.fixture
def form(form_with_preview: ExperimentForm) -> ExperimentForm:
    return form_with_preview


@pytest.fixture
def themed_app(qapp: QApplication) -> Iterator[Callable[[str], None]]:
    """Apply a theme, and the light one after the test."""
    yield lambda theme: apply_theme(qapp, theme, 100)
    apply_theme(qapp, "light", 100)


@pytest.mark.parametrize(("theme", "levels"), [("light", [0, 255, 127, 191]), ("dark", [255, 0, 128, 64])])
def test_images_are_shown_in_order_with_counts_and_unit(
    theme: str, levels: list[int], form: ExperimentForm, ready: Studio, script: Any, settled: Callable[[], None],
    themed_app: Callable[[str], None],
) -> None:  # fmt: skip
    themed_app(theme)
    script.previews["digits"] = preview_of(counts=[1259, 269, 270], images=images(255, 0, 128, *[64] * 61))
    ready.data_preview.refresh()
    settled()
    assert "1,259 train · 269 validation · 270 test" in message(form)
    assert "8×8 pixels, grey, 17 levels · bits/dim" in message(form)
    mosaic = form.preview.mosaic
    assert mosaic.isVisible()
    shot = mosaic.grab().toImage().convertToFormat(QImage.Format.Format_Grayscale8)
    across = mosaic.target().width() / 11  # images of 8 pixels: eleven in a row
    seen = [shot.pixelColor(int((index + 0.5) * across), int(across / 2)).value() for index in range(4)]
    assert seen == levels  # in the light theme, digits are ink on paper
    assert mosaic.height() == mosaic.target().height()
    assert not form.preview.columns.isVisible()


def test_large_images_are_fewer(form: ExperimentForm, ready: Studio, script: Any, settled: Callable[[], None]) -> None:
    script.previews["digits"] = preview_of(event_shape=[3, 64, 64], images=np.zeros((64, 3, 64, 64), np.uint8))
    ready.data_preview.refresh()
    settled()
    target = form.preview.mosaic.target()
    assert target.width() / target.height() == pytest.approx(4 / 2, rel=0.02)
    assert "64×64 pixels, colour" in message(form)


def preview_points(
    form: ExperimentForm, script: Any, settled: Callable[[], None], names: tuple[str, str]
) -> tuple[np.ndarray, Plane]:
    """Preview data of the plane; return its points and their plot."""
    points = np.random.default_rng(0).normal(size=(200, 2)).astype(np.float32)
    columns = [ColumnStatistics(name=name, low=-3, mean=0, deviation=1, high=3) for name in names]
    script.previews["two_moons"] = preview_of(event_shape=[2], levels=0, unit="nats", points=points, columns=columns)
    choose(form, "data.kind", "two_moons")
    settled()
    assert form.preview.plane is not None
    return points, form.preview.plane


def test_points_are_plotted_with_the_names_of_their_columns(
    form: ExperimentForm, script: Any, settled: Callable[[], None]
) -> None:
    points, plane = preview_points(form, script, settled, ("mass", "charge"))
    assert plane.isVisible()
    assert np.column_stack(plane.points.getData()).tolist() == points.tolist()
    assert [plane.canvas.getAxis(side).labelText for side in ("bottom", "left")] == ["mass", "charge"]
    assert "2 features · nats" in message(form)
    assert not form.preview.mosaic.isVisible()
    assert not form.preview.columns.isVisible()
    choose(form, "data.kind", "digits")
    assert not plane.isVisible()


def test_the_wheel_over_the_plot_scrolls_the_form(
    form: ExperimentForm, script: Any, settled: Callable[[], None], qtbot: QtBot
) -> None:
    _, plane = preview_points(form, script, settled, ("x₁", "x₂"))
    before = plane.canvas.getViewBox().viewRange()
    scroll = next(area for area in form.findChildren(QScrollArea) if area.isAncestorOf(plane))
    view = plane.viewport()
    qtbot.waitUntil(lambda: view.visibleRegion().contains(view.rect().center()))
    QTest.wheelEvent(form.windowHandle(), QPointF(plane.mapTo(form, plane.rect().center())), QPoint(0, -120))
    assert plane.canvas.getViewBox().viewRange() == before
    assert scroll.verticalScrollBar().value() > 0


def cells(form: ExperimentForm) -> list[list[str]]:
    table = form.preview.columns
    shown = [index for index in range(table.columnCount()) if not table.isColumnHidden(index)]
    items = [[table.item(row, index) for index in shown] for row in range(table.rowCount())]
    return [[item.text() if item is not None else "" for item in row] for row in items]


def test_columns_are_shown_with_their_statistics(
    form: ExperimentForm, script: Any, settled: Callable[[], None]
) -> None:
    mass = ColumnStatistics(name="mass", low=-1.5, mean=12345.678, deviation=2.11e-7, high=1e9)
    gap = ColumnStatistics(name="gap", low=0, mean=0.5, deviation=0.25, high=1, missing=1234)
    script.previews["table"] = preview_of(
        event_shape=[2], levels=0, unit="nats (scaled)", context_features=3, columns=[mass, gap]
    )
    choose(form, "data.kind", "table")
    settled()
    assert cells(form) == [
        ["mass", "−1.5", "12,346", "2.1e−7", "1e9", "0"],
        ["gap", "0", "0.5", "0.25", "1", "1,234"],
    ]
    assert "2 features, conditioned on 3" in message(form)
    script.previews["table"] = preview_of(event_shape=[1], levels=0, unit="nats", columns=[mass])
    write(form, "data.path", "/t.csv")
    settled()
    assert cells(form) == [["mass", "−1.5", "12,346", "2.1e−7", "1e9"]]
    assert "1 feature ·" in message(form)


# --- problems --------------------------------------------------------------------------------------------


def test_a_problem_is_shown_only_at_its_field(
    form: ExperimentForm, script: Any, settled: Callable[[], None], ready: Studio, do: Do, until: Until
) -> None:
    problem = ConfigProblem(path="data.path", message="t.csv is not there")
    script.previews["table"] = DataPreview(problems=[problem])
    script.data_problems = [problem]
    client = ready.clients[0]  # type: ignore[attr-defined]
    client.slow = (Describe,)
    seen: list[str] = []
    watch = ready.data_preview.changed.connect(lambda: seen.append(message(form)))
    choose(form, "data.kind", "table")
    while not ready.data_preview.current:
        do(until(ready.data_preview.changed))
    assert problem.message not in all_text(form)  # the field will show it
    client.slow = ()
    client.release()
    settled()
    assert all_text(form).count("t.csv is not there") == 1
    assert message(form) == ""
    assert not any("t.csv" in text.lower() for text in seen)
    ready.data_preview.changed.disconnect(watch)


def test_warnings_about_columns_are_shown_once(
    form: ExperimentForm, script: Any, ready: Studio, settled: Callable[[], None]
) -> None:
    warning = ConfigProblem(path="data.dequantize", message="column rain has a spike, the value 0 in 80 % of the rows")
    script.previews["table"] = preview_of(event_shape=[2], levels=0, unit="nats", warnings=[warning])
    choose(form, "data.kind", "table")
    settled()
    label = part(form, "preview.warnings.0")
    assert label.isVisible()
    assert label.text() == "Column rain has a spike, the value 0 in 80 % of the rows."
    script.previews["table"] = preview_of(event_shape=[2], levels=0, unit="nats")
    ready.data_preview.refresh()
    settled()
    assert not part(form, "preview.warnings").isVisible()


def test_a_problem_is_shown_in_the_preview_while_other_fields_are_invalid(
    form: ExperimentForm, script: Any, settled: Callable[[], None]
) -> None:
    script.previews["table"] = DataPreview(problems=[ConfigProblem(path="data.path", message="t.csv is not there")])
    write(form, "student.hidden", "0")
    choose(form, "data.kind", "table")
    settled()
    assert message(form) == "t.csv is not there"


def test_the_last_preview_stays_while_a_value_is_wrong(
    form: ExperimentForm, ready: Studio, script: Any, settled: Callable[[], None]
) -> None:
    script.previews["digits"] = preview_of(images=images(*range(64)))
    ready.data_preview.refresh()
    settled()
    QTest.mouseClick(part(form, "data.advanced"), Qt.MouseButton.LeftButton)
    write(form, "data.test_fraction", "7")
    assert message(form).startswith("Last valid settings")
    assert form.preview.mosaic.isVisible()
    write(form, "data.test_fraction", "0.2")
    assert message(form).startswith("Loading a preview")
    settled()
    assert message(form).startswith("70 train")


def test_another_kind_never_shows_the_previous_preview(
    form: ExperimentForm, ready: Studio, script: Any, settled: Callable[[], None]
) -> None:
    script.previews["digits"] = preview_of(images=images(*range(64)))
    script.previews["circles"] = preview_of(
        event_shape=[2],
        levels=0,
        points=np.zeros((5, 2), np.float32),
        columns=[ColumnStatistics(name=name, low=0, mean=0, deviation=1, high=0) for name in "ab"],
    )
    settled()
    client = ready.clients[0]  # type: ignore[attr-defined]
    client.slow = (PreviewData,)
    ready.data_preview.refresh()
    choose(form, "data.kind", "circles")
    ready.data_preview.refresh()
    assert len(client.waiting) == 1  # the preview of digits; that of circles waits for it
    client.release()
    assert not form.preview.mosaic.isVisible()
    assert message(form) == "Loading a preview of the data …"
    client.slow = ()
    client.release()
    settled()
    assert form.preview.plane is not None
    assert form.preview.plane.isVisible()
    assert not form.preview.mosaic.isVisible()


def test_requests_wait_until_the_engine_has_started(
    studio: Studio, script: Any, qtbot: QtBot, do: Do, until: Until
) -> None:
    form = ExperimentForm(studio.experiment, studio.data_preview)
    qtbot.addWidget(form)
    form.show()
    studio.experiment.open("digits")
    studio.experiment.describe()
    studio.data_preview.refresh()

    async def start() -> None:
        for _ in range(5):
            await asyncio.sleep(0)
        assert message(form) == "Loading a preview of the data …"
        assert "Estimating …" in all_text(form)
        studio.start()
        while studio.experiment.description is None or not studio.data_preview.current:
            await until(studio.data_preview.changed)

    do(start())
    assert message(form).startswith("1,259 train")
    assert "Ready to run" in all_text(form)


def test_a_lost_engine_is_shown_in_the_form_until_it_is_back(
    form: ExperimentForm, ready: Studio, do: Do, until: Until, settled: Callable[[], None]
) -> None:
    settled()
    ready.experiment.edit(ready.experiment.document | {"name": "other"})
    ready.clients[0].lose(ErrorInfo(title="The engine has stopped", cause="Killed by somebody"))  # type: ignore[attr-defined]

    async def refused() -> None:
        while ready.experiment.error is None or ready.data_preview.error is None:
            await until(ready.experiment.checked)

    do(refused())
    assert message(form) == "No preview of the data: Killed by somebody"
    assert "No estimate: Killed by somebody" in all_text(form)

    async def restart() -> None:
        ready.start()
        while not ready.experiment.may_run or ready.data_preview.error is not None:
            await until(ready.data_preview.changed)

    do(restart())
    settled()
    assert message(form).startswith("1,259 train")
    assert "Ready to run" in all_text(form)


# --- drawn points -----------------------------------------------------------------------------------------------------


def test_drawn_points_are_previewed_saved_and_opened(
    form: ExperimentForm, ready: Studio, script: Any, tmp_path: Path, settled: Callable[[], None]
) -> None:
    choose(form, "data.kind", "drawn")
    box = part(form, "data.points")
    box.clear_button.click()
    points = [[-2.0, 1.25], [0.0, 3.5], [1.0, -1.0]]
    for x, y in points:
        QTest.mouseClick(box.canvas, Qt.MouseButton.LeftButton, pos=box.canvas.to_pixel(x, y).toPoint())
    drawn = box.value()
    assert np.allclose(drawn, points, atol=0.05)
    settled()
    [asked] = [request for request in script.asked if isinstance(request, PreviewData) and "drawn" in request.config]
    assert asked.config == toml_text(DrawnConfig(points=tuple((x, y) for x, y in drawn)))
    ready.experiment.save(tmp_path / "drawn.toml")
    ready.experiment.open("digits")
    ready.experiment.open(tmp_path / "drawn.toml")
    assert box.value() == drawn
    assert form.document()["data"]["points"] == drawn
