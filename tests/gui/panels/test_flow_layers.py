"""The flow panel for images: states, latents, decoded pictures, log-determinants, exports, and newer weights."""

from __future__ import annotations

import csv
import tracemalloc
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyqtgraph as pg
import pytest
from PIL import Image
from PySide6.QtCore import QPointF, Qt
from PySide6.QtGui import QColor
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QComboBox, QLabel, QPushButton, QSpinBox, QToolButton

from nfkd.protocol import events
from nfkd.protocol.inspection import Origin, ReadLayers
from nfkd.protocol.requests import Done
from nfkd.protocol.roles import Role
from nfkd_gui.model.csv_files import write_csv
from nfkd_gui.model.export_files import Progress
from nfkd_gui.model.layer_columns import pictured
from nfkd_gui.panels.flow import FlowPanel
from nfkd_gui.plotting.match_colours import match_map
from nfkd_gui.plotting.state_pictures import state_image
from tests.gui.panels.flow_driver import SMALL, Driven, greys, known, recorded
from tests.gui.panels.test_flow_plane import child


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recorded("digits", tmp_path_factory.mktemp("flow"))


@pytest.fixture
def driven(show: Any, fake_studio: Any, run: Path) -> Driven:
    return Driven(show, fake_studio, run)


def test_states_are_drawn_as_tiles_with_the_contrast_of_their_middle_96_per_cent(driven: Driven) -> None:
    chain = driven.panel.layers.chain
    states = known(driven, Origin(kind="validation", index=0))
    for row in chain.rows:
        layers = [layer for layer in states.flows[row.role].layers if layer.kind == "step"]
        assert len(row.pictures) == len(layers) + 1
        for picture, layer in zip(row.pictures[1:], layers, strict=True):
            values = layer.value
            low, high = np.percentile(values, (2, 98))
            grey = 255 * (1 - np.clip((values - low) / (high - low), 0, 1))
            channels, height, width = values.shape
            across = picture.width() // width
            assert picture.width() * picture.height() == values.size
            for channel in range(channels):
                down, right = divmod(channel, across)
                part = greys(picture)[down * height : (down + 1) * height, right * width : (right + 1) * width]
                np.testing.assert_allclose(part, grey[channel], atol=0.6)


def test_the_marked_and_matched_states_are_on_the_screen(driven: Driven) -> None:
    panel = driven.panel
    chain = panel.layers.chain
    panel.scrubber.go(8)
    assert chain.marked == [8, 2]
    picture = chain.grab().toImage()
    [join] = [join for join in chain.joins if (join.first, join.second) == (8, 2)]
    first, second = chain.picture_rect(0, 8), chain.picture_rect(1, 2)
    assert first.center().x() == pytest.approx(second.center().x())
    middle = picture.pixelColor(round(first.center().x()), round((first.bottom() + second.top()) / 2))
    assert _distance(middle, join.colour) < 30
    assert join.colour == scale_colour(driven, panel.pair.errors()[8, 2])
    pixel = picture.pixelColor(round(first.left()) + 3, round(first.top()) + 3)
    expected = chain.rows[0].pictures[8].pixelColor(0, 0)
    assert _distance(pixel, expected) < 10


def scale_colour(driven: Driven, error: float) -> QColor:
    """Return an error's colour on the logarithmic scale of all errors that the run measured."""
    stage = driven.view.find_stage(driven.studio.seed, "student")
    assert stage is not None
    logs = np.log10(np.stack(stage.matching_errors))
    share = (np.log10(error) - logs.min()) / (logs.max() - logs.min())
    return QColor(*map(int, np.asarray(match_map().map(np.array([share])))[0, :3]))


def _distance(first: QColor, second: QColor) -> int:
    pairs = zip(first.getRgb()[:3], second.getRgb()[:3], strict=True)  # type: ignore[index]
    return max(abs(a - b) for a, b in pairs)


def test_log_determinants_are_lines_over_the_columns(driven: Driven) -> None:
    page = driven.panel.layers
    states = known(driven, Origin(kind="validation", index=0))
    for role in ("teacher", "student"):
        line: Any = page.lines[role]
        x, y = line.getData()
        layers = pictured(states.flows[role])
        np.testing.assert_allclose(y, [0.0, *(layer.log_det for layer in layers)], rtol=1e-5, atol=1e-4)
        row = next(row for row in page.chain.rows if row.role == role)
        for place, column in zip(x, row.columns, strict=True):
            scene = page.plot.canvas.getViewBox().mapViewToScene(QPointF(float(place), 0.0))
            left = page.plot.mapFromScene(scene).x() + page.plot.x()
            assert left == pytest.approx(page.chain.x_of(column) + page.chain.x(), abs=3), "the same x as the state"


def test_a_wide_panel_shows_the_marked_layer_its_latents_and_what_decoding_gives(driven: Driven) -> None:
    panel = driven.panel
    states = known(driven, Origin(kind="validation", index=0))
    panel.scrubber.go(panel.pair.columns.last)
    for block, role in zip(panel.layers.detail.blocks, ("teacher", "student"), strict=True):
        flow = states.flows[role]  # type: ignore[index]
        assert block.isVisible()
        np.testing.assert_array_equal(greys(block.state.image), greys(state_image(flow.layers[-1].value)))
        assert block.log_det.text() == f"log-det {flow.layers[-1].log_det:.1f}"
        shown = [picture for picture, _ in block.latents if picture.isVisible()]
        assert len(shown) == len(flow.latents)
        grey = np.rint(255 * (1 - flow.decoded[1][0]))
        np.testing.assert_allclose(greys(block.decoded.image), grey, atol=1)
    mean = greys(panel.layers.detail.blocks[0].decoded.image)
    QTest.mouseClick(child(panel, QToolButton, "flow.rest.noise"), Qt.MouseButton.LeftButton)
    driven.answer()
    assert driven.asked[-1].rest == "noise"
    assert np.abs(greys(panel.layers.detail.blocks[0].decoded.image) - mean).max() > 5
    panel.scrubber.go(8)
    grey = np.rint(255 * (1 - states.flows["teacher"].example[0]))
    np.testing.assert_allclose(greys(panel.layers.detail.blocks[0].decoded.image), grey, atol=1)
    assert not any(picture.isVisible() for picture, _ in panel.layers.detail.blocks[0].latents)


def test_the_example_is_chosen_by_kind_and_number(driven: Driven) -> None:
    panel = driven.panel
    number = child(panel, QSpinBox, "flow.number")
    number.setFocus()
    number.selectAll()
    QTest.keyClicks(number, "12")
    QTest.keyClick(number, Qt.Key.Key_Return)
    driven.answer()
    shown = panel.states.layers
    assert shown is not None
    expected = known(driven, Origin(kind="validation", index=12)).flows["student"].example
    np.testing.assert_array_equal(shown.flows["student"].example, expected)
    kind = child(panel, QComboBox, "flow.kind")
    kind.setCurrentIndex(kind.findData("sample"))
    kind.activated.emit(kind.currentIndex())
    driven.answer()
    origin = driven.asked[-1].origin
    assert (origin.kind, origin.index) == ("sample", 12)
    assert number.maximum() == origin.count - 1
    remarks: list[str] = []
    panel.remarked.connect(remarks.append)
    panel.show_example(Origin(kind="test", index=3))
    driven.answer()
    assert (kind.currentData(), number.value()) == ("test", 3)
    assert remarks[-1] == "test example 3, newest weights"
    number.setValue(900_000)
    driven.answer()
    message = child(panel, QLabel, "flow.message")
    assert message.isVisible()
    assert message.text().startswith("There is no such example.")


def test_a_layer_can_be_shown_by_its_name(driven: Driven) -> None:
    panel = driven.panel
    wanted: tuple[tuple[Role, str, int], ...] = (
        ("teacher", "level1.step3", 3),
        ("student", "level2.step1", 3),
        ("student", "level1.split", 2),
        ("baseline", "level1.step2", 2),
    )
    for role, layer, state in wanted:
        panel.show_layer(role, layer)
        panel.refresh()
        row = panel.pair.roles.index(role)
        assert panel.layers.chain.rows[row].role == role
        assert panel.layers.chain.marked[row] == state


def test_a_layer_that_is_asked_for_before_the_reply_is_shown_with_it(show: Any, fake_studio: Any, run: Path) -> None:
    driven = Driven(show, fake_studio, run)
    driven.panel.show_run(driven.view)
    driven.panel.refresh()
    driven.panel.show_layer("teacher", "level1.step5")
    assert fake_studio.asked
    driven.answer()
    assert driven.panel.layers.chain.marked[0] == 5


def test_a_click_on_a_state_goes_there_and_a_small_tile_leaves_states_out(
    show: Any, fake_studio: Any, run: Path, qtbot: Any
) -> None:
    panel = Driven(show, fake_studio, run, SMALL).panel
    chain = panel.layers.chain
    qtbot.waitUntil(lambda: chain.width() > 500)
    assert not panel.layers.detail.isVisible()
    drawn = chain.visible_states(0)
    assert 4 < len(drawn) < len(chain.rows[0].pictures)
    assert {0, 8, 16} <= set(drawn)
    rects = [chain.picture_rect(0, state) for state in drawn]
    assert all(left.right() < right.left() for left, right in pairwise(rects))
    assert chain.picture_rect(0, 8).bottom() < chain.picture_rect(1, 2).top()
    QTest.mouseClick(chain, Qt.MouseButton.LeftButton, pos=chain.picture_rect(1, 2).center().toPoint())
    assert panel.scrubber.column == 8


def test_the_numbers_at_the_ends_of_the_lines_are_whole_in_a_narrow_tile(
    show: Any, fake_studio: Any, run: Path, qtbot: Any
) -> None:
    panel = Driven(show, fake_studio, run, (420, 330)).panel
    box = panel.layers.plot.canvas.getViewBox()
    qtbot.waitUntil(lambda: 200 < panel.layers.chain.width() < 420)
    panel.grab()
    ends = [item for item in box.allChildItems() if isinstance(item, pg.TextItem) and item.isVisible()]
    assert len(ends) == 2
    for end in ends:
        assert end.mapRectToScene(end.boundingRect()).right() <= box.sceneBoundingRect().right()


def test_rows_of_states_stay_together_in_a_tall_panel(show: Any, fake_studio: Any, run: Path, qtbot: Any) -> None:
    panel = Driven(show, fake_studio, run, (1500, 1300)).panel
    chain = panel.layers.chain
    qtbot.waitUntil(lambda: chain.width() > 500)
    chain.resize(chain.width(), 600)
    first, second = chain.picture_rect(0, 0), chain.picture_rect(1, 0)
    assert second.top() - first.bottom() < first.height()


# --- exports ------------------------------------------------------------------------------------------------------


def test_the_tables_have_the_states_and_the_terms_of_log_p(driven: Driven, tmp_path: Path) -> None:
    tables = driven.panel.numbers()
    states = known(driven, Origin(kind="validation", index=0))
    rows = {}
    for name, table in tables.items():
        path = tmp_path / f"{name}.csv"
        write_csv(path, table)
        with path.open(newline="", encoding="utf-8") as file:
            rows[name] = list(csv.DictReader(file))
    for role, flow in states.flows.items():
        own = [row for row in rows["States"] if row["flow"] == role]
        values = np.array([float(row["value"]) for row in own])
        expected = np.concatenate([flow.state.ravel(), *(layer.value.ravel() for layer in flow.layers)])
        np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-5)
        terms = {row["term"]: float(row["value (nats)"]) for row in rows["Log-determinants"] if row["flow"] == role}
        total = terms.pop("log p")
        assert sum(terms.values()) == pytest.approx(total, rel=1e-5)
        assert total == pytest.approx(flow.log_prob, rel=1e-5)


def test_the_play_is_saved_as_a_gif(driven: Driven, qtbot: Any, tmp_path: Path) -> None:
    panel = driven.panel
    panel.scrubber.go(4)
    writers: list[Any] = []
    [prepare] = panel.animations().values()
    prepare(writers.append, lambda error: pytest.fail(error.title))
    qtbot.waitUntil(lambda: bool(writers), timeout=20_000)
    writers[0](tmp_path / "play.gif", Progress())
    film: Any = Image.open(tmp_path / "play.gif")
    with film:
        assert film.n_frames == panel.pair.columns.last + 1, "a picture of each layer"
        assert film.size == (panel.layers.canvas.width(), panel.layers.canvas.height())
    assert panel.layers.column == 4, "the panel shows what it showed before"


def test_the_frames_of_a_large_page_are_small(
    show: Any, fake_studio: Any, run: Path, qtbot: Any, tmp_path: Path
) -> None:
    panel = Driven(show, fake_studio, run, (1600, 1000)).panel
    width, height = panel.layers.canvas.width(), panel.layers.canvas.height()
    assert width > 960
    writers: list[Any] = []
    [prepare] = panel.animations().values()
    tracemalloc.start()
    try:
        prepare(writers.append, lambda error: pytest.fail(error.title))
        qtbot.waitUntil(lambda: bool(writers), timeout=20_000)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < (panel.pair.columns.last + 1) * width * height / 4, "a twelfth of what the pixels take"
    writers[0](tmp_path / "play.gif", Progress())
    film: Any = Image.open(tmp_path / "play.gif")
    with film:
        assert film.width == 960
        assert film.height == pytest.approx(960 * height / width, abs=1)


def test_another_run_ends_the_recording_with_a_message(driven: Driven, qtbot: Any) -> None:
    panel, writers, errors = driven.panel, list[Any](), list[events.ErrorInfo]()
    [prepare] = panel.animations().values()
    prepare(writers.append, errors.append)
    page = panel.layers
    qtbot.waitUntil(lambda: page.column >= 2, timeout=5000)
    panel.show_run(driven.view)
    assert [error.title for error in errors] == ["The animation was not saved"]
    drawn, go = list[int](), page.go
    page.go = lambda column: (drawn.append(column), go(column))[1]  # type: ignore[method-assign]
    qtbot.wait(60)
    assert (writers, drawn, len(errors)) == ([], [], 1), "nothing more is recorded"


# --- newer weights ------------------------------------------------------------------------------------------------


def drawn(run: Any, step: int) -> None:
    run.samples("teacher", step, np.zeros((4, 1, 8, 8), np.float32))


def test_newer_weights_are_asked_for_once_a_second_at_most(
    show: Any, fake_run: Any, fake_studio: Any, qtbot: Any
) -> None:
    run = fake_run()
    run.begin("teacher")
    panel = show(FlowPanel, run)
    assert not panel.has_content()
    assert fake_studio.asked == []
    drawn(run, 10)
    panel.refresh()
    assert [type(ask) for ask, *_ in fake_studio.asked] == [ReadLayers]
    for step in (20, 30, 40):
        drawn(run, step)
        panel.refresh()
    assert len(fake_studio.asked) == 1
    fake_studio.asked[0][1](Done())  # until the reply, newer questions wait
    qtbot.waitUntil(lambda: (panel.refresh(), len(fake_studio.asked) == 2)[1], timeout=3000)
    qtbot.wait(60)
    panel.refresh()
    assert len(fake_studio.asked) == 2, "nothing has changed since"


def test_a_late_reply_of_another_run_is_dropped(driven: Driven, fake_studio: Any) -> None:
    panel = driven.panel
    panel.show_example(Origin(kind="test", index=1))
    request, reply, _fail, _key = fake_studio.asked.pop()
    before = panel.states.layers
    answer = driven._explorer.answer(request)
    other = type(answer)(run="/runs/other", seed=answer.seed, origin=answer.origin, flows=answer.flows)
    reply(other)
    assert panel.states.layers is before


def test_a_refusal_is_said(driven: Driven, fake_studio: Any) -> None:
    panel = driven.panel
    panel.show_example(Origin(kind="test", index=1))
    _request, _reply, fail, _key = fake_studio.asked.pop()
    fail(events.ErrorInfo(title="The run cannot be read", cause="It is gone.", action="Open another."))
    panel.refresh()
    assert child(panel, QLabel, "flow.message").text() == "The run cannot be read. It is gone. Open another."


def test_states_of_a_finished_run_can_be_asked_for_again(
    show: Any, fake_run: Any, fake_studio: Any, qtbot: Any
) -> None:
    run = fake_run()
    run.begin("teacher")
    drawn(run, 10)
    panel = show(FlowPanel, run)
    retry = child(panel, QPushButton, "flow.retry")
    assert not retry.isVisible()
    fake_studio.asked.pop()[2](events.ErrorInfo(title="Not now", cause="It is busy.", action="Wait."))
    panel.refresh()
    assert fake_studio.asked == []
    QTest.mouseClick(retry, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: (panel.refresh(), bool(fake_studio.asked))[1], timeout=3000)
    assert [type(ask) for ask, *_ in fake_studio.asked] == [ReadLayers]
    assert not retry.isVisible()


# --- the sample inspector -----------------------------------------------------------------------------------------


def test_the_example_is_inspected_by_a_click_on_it_the_button_or_the_menu(driven: Driven) -> None:
    panel, chosen = driven.panel, list[Origin]()
    driven.studio.example_chosen.connect(chosen.append)
    panel.show_example(Origin(kind="test", index=3))
    driven.answer()
    chain = panel.layers.chain
    QTest.mouseClick(chain, Qt.MouseButton.LeftButton, pos=chain.picture_rect(0, 8).center().toPoint())
    assert chosen == []
    QTest.mouseClick(chain, Qt.MouseButton.LeftButton, pos=chain.picture_rect(0, 0).center().toPoint())
    QTest.mouseClick(child(panel, QPushButton, "flow.inspect"), Qt.MouseButton.LeftButton)
    [entry] = [action for action in panel.options() if action.objectName() == "flow.inspect_entry"]
    entry.trigger()
    assert [(origin.kind, origin.index) for origin in chosen] == [("test", 3)] * 3
