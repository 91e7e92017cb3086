"""Samples, interpolations and matching: what is asked of the engine, and the pixels that are shown."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QApplication, QComboBox, QLabel, QScrollArea, QWidget

from nfkd.protocol import requests as ask
from nfkd.protocol.events import ErrorInfo
from nfkd_gui.panels.interpolation import InterpolationPanel
from nfkd_gui.panels.matching import MatchingPanel
from nfkd_gui.panels.samples import SamplesPanel
from nfkd_gui.plotting.mosaic import Mosaic, compose
from nfkd_gui.theme import apply_theme, is_dark, plot_colours
from nfkd_gui.widgets.flow_layout import ControlBar

RUN = "/runs/fake"


def grey(value: float, count: int = 4) -> np.ndarray:
    return np.full((count, 1, 8, 8), value, np.float32)


def pixel(widget: Mosaic, place: tuple[int, int]) -> float:
    """Return the grey that is shown at a place of the picture, 0 to 1."""
    target = widget.target()
    return widget.grab().toImage().pixelColor(target.x() + place[0], target.y() + place[1]).redF()


def test_compose_puts_every_pixel_in_its_place() -> None:
    images = np.random.default_rng(0).random((5, 3, 2, 4)).astype(np.float32)
    picture = compose(images, columns=3, gap=1, background=7)
    assert picture.shape == (2 * 3 - 1, 3 * 5 - 1, 3)
    for place in range(5):
        top, left = place // 3 * 3, place % 3 * 5
        expected = np.rint(images[place].transpose(1, 2, 0) * 255)
        np.testing.assert_array_equal(picture[top : top + 2, left : left + 4], expected)
    assert (picture[2] == 7).all()


def test_live_samples_are_shown_as_they_come(show: Any, fake_run: Any, fake_studio: Any) -> None:
    run = fake_run()
    run.begin("teacher")
    run.samples("teacher", 100, grey(0.25))
    panel = show(SamplesPanel, run)
    assert pixel(panel.pictures["teacher"].mosaic, (3, 3)) == pytest.approx(0.25, abs=0.01)
    run.samples("teacher", 200, grey(0.75))
    panel.refresh()
    assert pixel(panel.pictures["teacher"].mosaic, (3, 3)) == pytest.approx(0.75, abs=0.01)
    assert "step 200" in panel.pictures["teacher"].caption.text()
    assert panel.pictures["student"].caption.text() == "not trained yet"
    assert len(fake_studio.asked) == 1  # once, for the examples of the data
    run.samples("teacher", 150, grey(0.5), final=True)
    panel.refresh()
    assert pixel(panel.pictures["teacher"].mosaic, (3, 3)) == pytest.approx(0.5, abs=0.01)
    assert panel.pictures["teacher"].caption.text() == "final weights (step 150), temperature 0.70"


def test_a_caption_without_room_ends_in_an_ellipsis_and_has_its_tooltip(show: Any, fake_run: Any) -> None:
    run = fake_run()
    run.begin("teacher")
    run.samples("teacher", 100, grey(0.25))
    panel = show(SamplesPanel, run, size=(900, 600))
    caption = panel.pictures["teacher"].caption
    assert caption.shown() == caption.text() == "step 100, temperature 0.70"
    panel.resize(260, 500)
    QApplication.processEvents()
    assert caption.shown().startswith("step 100")
    assert caption.shown().endswith("…")
    assert caption.fontMetrics().horizontalAdvance(caption.shown()) <= caption.width()
    assert caption.toolTip() == "step 100, temperature 0.70"


def test_the_temperature_asks_and_the_answer_is_shown(show: Any, fake_run: Any, fake_studio: Any) -> None:
    run = fake_run()
    run.begin("teacher")
    run.samples("teacher", 100, grey(0.25))
    panel = show(SamplesPanel, run)
    panel._temperature.setValue(120)
    request, on_reply, on_error, key = fake_studio.asked[-1]
    assert (request.run, request.temperature, key) == (RUN, 1.2, "samples")
    reply = ask.Samples(run=RUN, seed=1, temperature=1.2, samples={"teacher": grey(0.5)}, real=grey(1.0), densities={})
    on_reply(reply)
    panel.refresh()
    assert pixel(panel.pictures["teacher"].mosaic, (3, 3)) == pytest.approx(0.5, abs=0.01)
    assert pixel(panel.pictures["data"].mosaic, (3, 3)) == pytest.approx(1.0, abs=0.01)
    panel._new_noise()
    assert fake_studio.asked[-1][0].noise_seed == request.noise_seed + 1
    on_error(ErrorInfo(title="There are no weights yet", cause="", action="Look again a little later."))
    assert "no weights yet" in panel._message.text()
    panel._live.click()
    panel.refresh()
    assert pixel(panel.pictures["teacher"].mosaic, (3, 3)) == pytest.approx(0.25, abs=0.01)


def test_own_samples_follow_the_training(show: Any, fake_run: Any, fake_studio: Any) -> None:
    run = fake_run()
    run.begin("teacher")
    run.samples("teacher", 100, grey(0.25))
    panel = show(SamplesPanel, run)
    panel._temperature.setValue(120)
    asked = len(fake_studio.asked)
    panel.refresh()
    assert len(fake_studio.asked) == asked
    run.samples("teacher", 200, grey(0.25))
    panel.refresh()
    assert len(fake_studio.asked) == asked + 1


def test_the_plane_shows_density_and_points(show: Any, fake_run: Any) -> None:
    run = fake_run(shape=(2,))
    run.begin("teacher")
    points = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
    run.samples("teacher", 5, points)
    log_prob = run.density("teacher")
    panel = show(SamplesPanel, run)
    plane = panel.pictures["teacher"].plane
    np.testing.assert_allclose(plane.image.image, np.exp(log_prob), rtol=1e-6)
    x, y = plane.points.getData()
    np.testing.assert_allclose(np.stack([x, y], 1), points)
    assert panel._scale.isVisible()
    assert panel._scale.bar.levels()[1] == pytest.approx(1 / (2 * np.pi), rel=0.05)


def test_live_paths_are_one_row_a_pair(show: Any, fake_run: Any) -> None:
    run = fake_run()
    run.begin("teacher")
    images = np.linspace(0, 1, 3, dtype=np.float32)[None, :, None, None, None] * np.ones((2, 3, 1, 8, 8), np.float32)
    run.path("teacher", images)
    panel = show(InterpolationPanel, run)
    mosaic = panel.pictures["teacher"].mosaic
    scale = mosaic.target().width() / (3 * 9 - 1)
    for place, value in enumerate((0.0, 0.5, 1.0)):
        assert pixel(mosaic, (int((9 * place + 4) * scale), 3)) == pytest.approx(value, abs=0.01)
    assert panel.pictures["teacher"].caption.text() == "step 5"
    run.path("teacher", images, step=4, final=True)
    panel.refresh()
    assert panel.pictures["teacher"].caption.text() == "final weights (step 4)"


def test_a_pair_of_ones_own_is_asked_for(show: Any, fake_run: Any, fake_studio: Any) -> None:
    run = fake_run()
    run.begin("teacher")
    run.path("teacher", np.zeros((2, 3, 1, 8, 8), np.float32))
    panel = show(InterpolationPanel, run)
    first = fake_studio.asked[-1]
    path = np.ones((4, 1, 8, 8), np.float32)
    reply = ask.Interpolations(
        run=RUN, seed=1, mode="spherical", alpha=np.linspace(0, 1, 4), paths={"teacher": path}, count=270,
        thumbnails=np.zeros((64, 1, 8, 8), np.float32),
    )  # fmt: skip
    first[1](reply)
    panel.refresh()
    panel._first.setValue(200)
    panel._mode.setCurrentIndex(1)
    panel._steps.setValue(4)
    request = fake_studio.asked[-1][0]
    assert (request.first, request.second, request.mode, request.steps) == (200, 1, "spherical", 4)
    fake_studio.asked[-1][1](reply)
    panel.refresh()
    assert pixel(panel.pictures["teacher"].mosaic, (3, 3)) == pytest.approx(1.0, abs=0.01)
    assert "spherical" in panel.pictures["teacher"].caption.text()


def test_paths_in_the_plane_are_lines(show: Any, fake_run: Any) -> None:
    run = fake_run(shape=(2,))
    run.begin("student")
    paths = np.random.default_rng(0).normal(size=(2, 5, 2)).astype(np.float32)
    run.path("student", paths)
    panel = show(InterpolationPanel, run)
    lines = panel.pictures["student"].plane.paths
    for line, path in zip(lines, paths, strict=True):
        np.testing.assert_allclose(np.stack(line.getOriginalDataset(), 1), path)


def test_matching_is_a_line_a_pair_and_a_map(show: Any, fake_run: Any) -> None:
    run = fake_run()
    run.begin("student")
    for step, error in ((1, [2.0, 1.0]), (100, [0.5, 0.01]), (200, [0.25, 0.001])):
        run.matching(step, error)
    panel = show(MatchingPanel, run)
    np.testing.assert_allclose(panel.lines[1].getOriginalDataset()[1], [1.0, 0.01, 0.001])
    np.testing.assert_allclose(panel.lines[0].getOriginalDataset()[0], [1, 100, 200])
    assert panel.image.image.shape[0] == 2
    assert panel.image.image[0, 0] == pytest.approx(np.log10(2.0))
    assert panel.image.image[1, -1] == pytest.approx(-3.0)
    assert panel.bar.levels() == pytest.approx((-3.0, np.log10(2.0)))
    assert "student level 2 step 2 ↔ teacher level 2 step 8" in panel._legend.text()
    run.matching(300, [0.1, 0.0001])
    panel.refresh()
    assert len(panel.lines) == 2
    assert len(panel.lines[0].getOriginalDataset()[0]) == 4


def test_a_run_that_has_not_come_so_far_says_what_will_be_shown(show: Any, fake_run: Any) -> None:
    run = fake_run()
    run.begin("teacher")
    for kind in (SamplesPanel, InterpolationPanel, MatchingPanel):
        panel = show(kind, run)
        words = [label.text() for label in panel.findChildren(QLabel) if label.isVisible()]
        assert words == [f"{panel.placeholder} will be shown here."]


@pytest.mark.parametrize("kind", [SamplesPanel, InterpolationPanel])
def test_a_panel_goes_from_the_plane_to_images_and_back(kind: Any, show: Any, fake_run: Any, fake_studio: Any) -> None:
    plane, images = fake_run(shape=(2,)), fake_run()
    for run in (plane, images):
        run.begin("teacher")
    plane.samples("teacher", 5, np.zeros((5, 2), np.float32))
    plane.path("teacher", np.zeros((1, 3, 2), np.float32))
    images.samples("teacher", 5, grey(0.5))
    images.path("teacher", np.full((2, 3, 1, 8, 8), 0.5, np.float32))
    panel = show(kind, plane)
    for run, pictures in ((images, True), (plane, False), (images, True)):
        fake_studio.view = run.view
        panel.show_run(run.view)
        panel.refresh()
        picture = panel.pictures["teacher"]
        assert picture.mosaic.isVisible() == pictures
        assert picture.plane.isVisible() != pictures


def test_a_matching_without_error_is_drawn_too(show: Any, fake_run: Any) -> None:
    run = fake_run()
    run.begin("student")
    run.matching(1, [0.0, 0.0])
    panel = show(MatchingPanel, run)
    assert np.isfinite(panel.image.image).all()


def test_the_dark_theme_works_without_a_desktop_theme(
    show: Any, fake_run: Any, qapp: QApplication, fake_studio: Any
) -> None:
    run = fake_run()
    run.begin("student")
    run.matching(1, [2.0, 1.0])
    panel = show(MatchingPanel, run)
    try:
        apply_theme(qapp, "dark")
        fake_studio.theme_changed.emit()
        qapp.processEvents()
        assert is_dark()
        panel.refresh()
        corner = panel.plot.grab().toImage().pixelColor(3, 3)
        assert corner == QColor(plot_colours().background)
        assert corner.lightness() < 80
    finally:
        apply_theme(qapp, "light")
    assert not is_dark()


def test_vectors_are_shown_by_the_two_features_that_are_chosen(show: Any, fake_run: Any) -> None:
    run = fake_run(shape=(5,))
    run.begin("teacher")
    samples = np.random.default_rng(0).normal(size=(50, 5)).astype(np.float32)
    run.samples("teacher", 5, samples)
    panel = show(SamplesPanel, run)
    plane = panel.pictures["teacher"].plane
    assert panel._features.isVisible()
    for first, second in ((0, 1), (3, 2)):
        panel.findChild(QComboBox, "samples.feature_x").setCurrentIndex(first)
        panel.findChild(QComboBox, "samples.feature_y").setCurrentIndex(second)
        panel.refresh()
        x, y = plane.points.getData()
        np.testing.assert_allclose(x, samples[:, first])
        np.testing.assert_allclose(y, samples[:, second])
    assert plane.canvas.getAxis("bottom").labelText == "x₄"
    assert plane.canvas.getAxis("left").labelText == "x₃"


def test_paths_of_vectors_are_shown_by_the_same_choice(show: Any, fake_run: Any) -> None:
    run = fake_run(shape=(5,))
    run.begin("teacher")
    paths = np.random.default_rng(0).normal(size=(2, 4, 5)).astype(np.float32)
    run.path("teacher", paths)
    panel = show(InterpolationPanel, run)
    panel.findChild(QComboBox, "interpolation.feature_y").setCurrentIndex(4)
    panel.refresh()
    for line, path in zip(panel.pictures["teacher"].plane.paths, paths, strict=True):
        np.testing.assert_allclose(np.stack(line.getData(), axis=1), path[:, [0, 4]])


def test_paths_of_all_flows_are_seen_in_the_same_part_of_the_plane(show: Any, fake_run: Any) -> None:
    run = fake_run(shape=(5,))
    small = np.random.default_rng(1).normal(size=(2, 4, 5))
    large = 3 * np.random.default_rng(2).normal(size=(2, 4, 5))
    for role, drawn in (("teacher", small), ("student", large)):
        run.begin(role)
        run.path(role, drawn.astype(np.float32))
    panel = show(InterpolationPanel, run)
    teacher, student = (panel.pictures[role].plane.canvas.viewRange() for role in ("teacher", "student"))
    np.testing.assert_allclose(teacher, student)
    for axis in (0, 1):
        assert teacher[axis][0] < large[..., axis].min()
        assert teacher[axis][1] > large[..., axis].max()


def test_one_feature_is_shown_as_its_histogram(show: Any, fake_run: Any) -> None:
    run = fake_run(shape=(1,))
    run.begin("teacher")
    samples = np.random.default_rng(0).normal(size=(4000, 1)).astype(np.float32)
    run.samples("teacher", 5, samples)
    panel = show(SamplesPanel, run)
    assert panel._features.isHidden()
    plane = panel.pictures["teacher"].plane
    edges, heights = plane.bars.getOriginalDataset()
    assert (heights * np.diff(edges)).sum() == pytest.approx(1.0)
    middles = (edges[1:] + edges[:-1]) / 2
    assert heights[np.abs(middles).argmin()] == pytest.approx(1 / np.sqrt(2 * np.pi), abs=0.08)
    run.path("teacher", np.linspace(0, 1, 6, dtype=np.float32).reshape(1, 6, 1))
    paths = show(InterpolationPanel, run)
    x, y = paths.pictures["teacher"].plane.paths[0].getData()
    np.testing.assert_allclose(x, y, atol=1e-6)


@pytest.mark.parametrize("kind", [SamplesPanel, InterpolationPanel])
def test_controls_go_below_each_other_where_a_panel_is_narrow(kind: Any, show: Any, fake_run: Any) -> None:
    run = fake_run()
    run.begin("teacher")
    run.samples("teacher", 100, grey(0.25))
    run.path("teacher", grey(0.5, 36).reshape(4, 9, 1, 8, 8))
    panel = show(kind, run, size=(1200, 400))
    one_line = panel.findChild(ControlBar).height()
    panel.resize(320, 400)
    assert panel.minimumSizeHint().width() <= 320, "it would have to be scrolled sideways"
    QApplication.processEvents()
    bar = panel.findChild(ControlBar)
    assert bar.height() > one_line
    shown = [child for child in bar.findChildren(QWidget) if child.isVisible() and child.parent() is bar]
    assert len(shown) > 1
    for child in shown:
        assert bar.rect().contains(child.geometry()), child
    for one, other in itertools.combinations(shown, 2):
        assert not one.geometry().intersects(other.geometry())


@pytest.mark.parametrize("size", [(900, 800), (330, 500)])
def test_paths_of_all_flows_follow_each_other_without_gaps(size: tuple[int, int], show: Any, fake_run: Any) -> None:
    run = fake_run()
    for role in ("teacher", "student", "baseline"):
        run.begin(role)
        run.path(role, grey(0.5, 9).reshape(1, 9, 1, 8, 8))
    panel = show(InterpolationPanel, run, size=size)
    QApplication.processEvents()
    panel.mark()
    panel.refresh()
    QApplication.processEvents()
    mosaics = [panel.pictures[role].mosaic for role in ("teacher", "student", "baseline")]
    for above, below in itertools.pairwise(mosaics):
        step = below.mapTo(panel, below.target().topLeft()).y() - above.mapTo(panel, above.target().topLeft()).y()
        names = 64  # a row is at least as high as its flow's name and caption
        assert above.target().height() < step <= max(names, above.target().height() + 24)


@pytest.mark.parametrize("kind", [SamplesPanel, InterpolationPanel, MatchingPanel])
def test_a_panel_asks_for_no_more_height_than_it_needs(kind: Any, show: Any, fake_run: Any) -> None:
    run = fake_run()
    run.begin("student")
    run.samples("student", 100, grey(0.25))
    run.path("student", grey(0.5, 36).reshape(4, 9, 1, 8, 8))
    run.matching(1, [0.1, 0.2])
    panel = show(kind, run, size=(340, 400))
    scroll = QScrollArea()
    scroll.setWidgetResizable(True)
    scroll.setWidget(panel)
    scroll.resize(350, panel.minimumSizeHint().height() + 10)
    scroll.show()
    QApplication.processEvents()
    assert scroll.verticalScrollBar().maximum() == 0
    assert scroll.horizontalScrollBar().maximum() == 0
    scroll.takeWidget()
    scroll.deleteLater()


def test_a_run_without_a_baseline_has_no_place_for_one(show: Any, fake_run: Any, fake_studio: Any) -> None:
    alone = fake_run(roles=("teacher", "student"))
    for role in ("teacher", "student"):
        alone.begin(role)
        alone.samples(role, 10, grey(0.5))
        alone.path(role, grey(0.5, 9).reshape(1, 9, 1, 8, 8))
    samples, paths = show(SamplesPanel, alone), show(InterpolationPanel, alone)
    shown = {role for role, column in samples._cells.items() if column.isVisible()}
    assert shown == {"data", "teacher", "student"}
    for kind in ("title", "caption", "mosaic"):
        visible = {role for role, picture in paths.pictures.items() if getattr(picture, kind).isVisible()}
        assert visible == {"teacher", "student"}
    QApplication.processEvents()
    assert paths.pictures["student"].mosaic.geometry().height() == pytest.approx(
        paths.pictures["teacher"].mosaic.height(), abs=1
    )
    usual = fake_run()
    usual.begin("teacher")
    usual.samples("teacher", 10, grey(0.5))
    usual.path("teacher", grey(0.5, 9).reshape(1, 9, 1, 8, 8))
    fake_studio.view = usual.view
    for panel in (samples, paths):
        panel.show_run(usual.view)
        panel.refresh()
    assert samples._cells["baseline"].isVisible()
    assert paths.pictures["baseline"].mosaic.isVisible()


@pytest.mark.parametrize(("size", "across"), [((1200, 300), 3), ((500, 500), 2), ((300, 900), 2)])
def test_samples_are_laid_out_as_large_as_the_panel_lets_them(size: Any, across: int, show: Any, fake_run: Any) -> None:
    run = fake_run(roles=("teacher", "student"))
    run.begin("teacher")
    run.samples("teacher", 10, grey(0.5))
    panel = show(SamplesPanel, run, size=size)
    QApplication.processEvents()
    columns = [panel._cells[role] for role in ("data", "teacher", "student")]
    places = [(column.x(), column.y()) for column in columns]
    assert len({x for x, _ in places}) == across
    assert len(set(places)) == 3


HELPED = ("teacher", "assistant-1", "assistant-2", "student", "baseline")


@pytest.mark.parametrize("size", [(1200, 700), (340, 700)])
def test_assistants_are_shown_where_the_run_has_them(size: tuple[int, int], show: Any, fake_run: Any) -> None:
    run = fake_run(roles=HELPED)
    for place, role in enumerate(HELPED):
        run.begin(role)
        run.samples(role, 10, grey(0.1 + 0.15 * place))
        run.path(role, grey(0.1 + 0.15 * place, 9).reshape(1, 9, 1, 8, 8))
    samples, paths = show(SamplesPanel, run, size=size), show(InterpolationPanel, run, size=size)
    shown = [role for role, column in samples._cells.items() if column.isVisible()]
    assert shown == ["data", *HELPED]
    assert samples.pictures["assistant-1"].title.text() == paths.pictures["assistant-1"].title.text() == "Assistant 1"
    for place, role in enumerate(HELPED):
        assert pixel(samples.pictures[role].mosaic, (3, 3)) == pytest.approx(0.1 + 0.15 * place, abs=0.01)
        assert pixel(paths.pictures[role].mosaic, (3, 3)) == pytest.approx(0.1 + 0.15 * place, abs=0.01)
    places = {(column.x(), column.y()) for column in samples._cells.values() if column.isVisible()}
    assert len(places) == 6
    assert not paths.pictures["assistant-3"].mosaic.isVisible()


def test_the_matching_of_each_flow_that_learns_can_be_chosen(show: Any, fake_run: Any) -> None:
    run = fake_run(roles=HELPED)
    run.begin("assistant-1")
    run.matching(10, [4.0, 5.0], "assistant-1")
    panel = show(MatchingPanel, run)
    choice = panel.findChild(QComboBox, "matching.stage")
    assert not choice.isVisible()
    assert panel.plot.canvas.getAxis("bottom").labelText == "Step of assistant 1"
    run.begin("student")
    run.matching(20, [1.0, 2.0])
    panel.refresh()
    assert [choice.itemText(place) for place in range(choice.count())] == ["Assistant 1", "Student"]
    assert choice.isVisible()
    assert panel.lines[0].getOriginalDataset()[1].tolist() == [1.0]  # the newest is followed
    choice.setCurrentIndex(0)
    choice.activated.emit(0)
    panel.refresh()
    assert panel.lines[1].getOriginalDataset()[1].tolist() == [5.0]
    run.matching(30, [0.5, 0.5])
    panel.refresh()
    assert panel.lines[0].getOriginalDataset()[1].tolist() == [4.0]  # what was chosen stays


def test_another_seeds_assistants_are_those_of_the_first(show: Any, fake_run: Any, fake_studio: Any) -> None:
    run = fake_run(roles=HELPED, seeds=2)
    run.begin("assistant-1")
    run.samples("assistant-1", 10, grey(0.5))
    run.matching(10, [4.0, 5.0], "assistant-1")
    fake_studio.seed = 2
    samples, matching = show(SamplesPanel, run), show(MatchingPanel, run)
    assert pixel(samples.pictures["assistant-1"].mosaic, (3, 3)) == pytest.approx(0.5, abs=0.01)
    assert matching.lines[0].getOriginalDataset()[1].tolist() == [4.0]
