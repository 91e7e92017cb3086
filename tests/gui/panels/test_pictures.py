"""The samples and interpolation panels: their requests to the engine and the pictures they show."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from PySide6.QtWidgets import QApplication, QComboBox, QLabel, QScrollArea, QWidget

from nfkd.protocol.events import ErrorInfo
from nfkd.protocol.requests import Interpolations, Samples
from nfkd_gui.panels.interpolation import InterpolationPanel
from nfkd_gui.panels.matching import MatchingPanel
from nfkd_gui.panels.samples import SamplesPanel
from nfkd_gui.plotting.mosaic import Mosaic
from nfkd_gui.widgets.flow_layout import ControlBar

RUN = "/runs/fake"
WITH_ASSISTANTS = ("teacher", "assistant-1", "assistant-2", "student", "baseline")


def grey(value: float, count: int = 4) -> np.ndarray:
    return np.full((count, 1, 8, 8), value, np.float32)


def grey_path(value: float, pairs: int = 1) -> np.ndarray:
    return grey(value, 9 * pairs).reshape(pairs, 9, 1, 8, 8)


def pixel(widget: Mosaic, x: int = 3, y: int = 3) -> float:
    """Return the grey level of a pixel of the mosaic, 0 to 1."""
    target = widget.target()
    return widget.grab().toImage().pixelColor(target.x() + x, target.y() + y).redF()


def visible_roles(widgets: dict[str, QWidget]) -> list[str]:
    return [role for role, widget in widgets.items() if widget.isVisible()]


def test_live_samples_replace_each_other(show: Any, fake_run: Any, fake_studio: Any) -> None:
    run = fake_run()
    run.begin("teacher")
    run.samples("teacher", 100, grey(0.25))
    panel = show(SamplesPanel, run)
    teacher = panel.pictures["teacher"]
    assert pixel(teacher.mosaic) == pytest.approx(0.25, abs=0.01)
    run.samples("teacher", 200, grey(0.75))
    panel.refresh()
    assert pixel(teacher.mosaic) == pytest.approx(0.75, abs=0.01)
    assert teacher.caption.visible_text() == teacher.caption.text() == "step 200, temperature 0.70"
    assert panel.pictures["student"].caption.text() == "not trained yet"
    assert len(fake_studio.asked) == 1  # once, for the examples of the data
    run.samples("teacher", 150, grey(0.5), final=True)
    panel.refresh()
    assert pixel(teacher.mosaic) == pytest.approx(0.5, abs=0.01)
    assert teacher.caption.text() == "final weights (step 150), temperature 0.70"
    panel.resize(260, 500)
    QApplication.processEvents()
    shown = teacher.caption.visible_text()
    assert shown.startswith("final")
    assert shown.endswith("…")
    assert teacher.caption.fontMetrics().horizontalAdvance(shown) <= teacher.caption.width()
    assert teacher.caption.toolTip() == "final weights (step 150), temperature 0.70"


def test_requested_samples_are_shown_until_the_panel_goes_back_to_live(
    show: Any, fake_run: Any, fake_studio: Any
) -> None:
    run = fake_run()
    run.begin("teacher")
    run.samples("teacher", 100, grey(0.25))
    panel = show(SamplesPanel, run)
    panel._temperature.setValue(120)
    request, on_reply, on_error, key = fake_studio.asked[-1]
    assert (request.run, request.temperature, key) == (RUN, 1.2, "samples")
    on_reply(Samples(run=RUN, seed=1, temperature=1.2, samples={"teacher": grey(0.5)}, real=grey(1.0), densities={}))
    asked = len(fake_studio.asked)
    panel.refresh()
    assert len(fake_studio.asked) == asked
    assert pixel(panel.pictures["teacher"].mosaic) == pytest.approx(0.5, abs=0.01)
    assert pixel(panel.pictures["data"].mosaic) == pytest.approx(1.0, abs=0.01)
    run.samples("teacher", 200, grey(0.25))
    panel.refresh()
    assert len(fake_studio.asked) == asked + 1  # the weights have changed
    panel._new_noise()
    assert fake_studio.asked[-1][0].noise_seed == request.noise_seed + 1
    on_error(ErrorInfo(title="There are no weights yet", cause="", action="Look again a little later."))
    assert "no weights yet" in panel._message.text()
    panel._live.click()
    panel.refresh()
    assert pixel(panel.pictures["teacher"].mosaic) == pytest.approx(0.25, abs=0.01)


def test_live_paths_are_one_row_per_pair(show: Any, fake_run: Any) -> None:
    run = fake_run()
    run.begin("teacher")
    images = np.linspace(0, 1, 3, dtype=np.float32)[None, :, None, None, None] * np.ones((2, 3, 1, 8, 8), np.float32)
    run.path("teacher", images)
    panel = show(InterpolationPanel, run)
    mosaic = panel.pictures["teacher"].mosaic
    scale = mosaic.target().width() / (3 * 9 - 1)
    for index, value in enumerate((0.0, 0.5, 1.0)):
        assert pixel(mosaic, int((9 * index + 4) * scale)) == pytest.approx(value, abs=0.01)
    assert panel.pictures["teacher"].caption.text() == "step 5"
    run.path("teacher", images, step=4, final=True)
    panel.refresh()
    assert panel.pictures["teacher"].caption.text() == "final weights (step 4)"


def test_a_chosen_path_is_requested_and_shown(show: Any, fake_run: Any, fake_studio: Any) -> None:
    run = fake_run()
    run.begin("teacher")
    run.path("teacher", np.zeros((2, 3, 1, 8, 8), np.float32))
    panel = show(InterpolationPanel, run)
    path = np.ones((4, 1, 8, 8), np.float32)
    reply = Interpolations(
        run=RUN, seed=1, mode="spherical", alpha=np.linspace(0, 1, 4), paths={"teacher": path}, count=270,
        thumbnails=np.zeros((64, 1, 8, 8), np.float32),
    )  # fmt: skip
    fake_studio.asked[-1][1](reply)
    panel.refresh()
    panel._first.setValue(200)
    panel._mode.setCurrentIndex(1)
    panel._steps.setValue(4)
    request = fake_studio.asked[-1][0]
    assert (request.first, request.second, request.mode, request.steps) == (200, 1, "spherical", 4)
    fake_studio.asked[-1][1](reply)
    panel.refresh()
    assert pixel(panel.pictures["teacher"].mosaic) == pytest.approx(1.0, abs=0.01)
    assert "spherical" in panel.pictures["teacher"].caption.text()


def test_two_features_are_shown_in_the_plane_with_their_density(show: Any, fake_run: Any) -> None:
    run = fake_run(shape=(2,))
    run.begin("teacher")
    rng = np.random.default_rng(0)
    samples = rng.normal(size=(50, 2)).astype(np.float32)
    paths = rng.normal(size=(2, 5, 2)).astype(np.float32)
    run.samples("teacher", 5, samples)
    run.path("teacher", paths)
    log_prob = run.density("teacher")
    panel = show(SamplesPanel, run)
    plane = panel.pictures["teacher"].plane
    np.testing.assert_allclose(plane.image.image, np.exp(log_prob), rtol=1e-6)
    np.testing.assert_allclose(np.stack(plane.points.getData(), 1), samples)
    assert panel._scale.isVisible()
    assert panel._scale.bar.levels()[1] == pytest.approx(1 / (2 * np.pi), rel=0.05)
    lines = show(InterpolationPanel, run).pictures["teacher"].plane.paths
    for line, path in zip(lines, paths, strict=True):
        np.testing.assert_allclose(np.stack(line.getOriginalDataset(), 1), path)


def test_two_chosen_features_of_vectors_are_shown_in_one_frame(show: Any, fake_run: Any) -> None:
    run = fake_run(shape=(5,))
    rng = np.random.default_rng(0)
    samples = rng.normal(size=(50, 5)).astype(np.float32)
    small, large = rng.normal(size=(2, 4, 5)).astype(np.float32), 3 * rng.normal(size=(2, 4, 5)).astype(np.float32)
    for role, path in (("teacher", small), ("student", large)):
        run.begin(role)
        run.path(role, path)
    run.samples("teacher", 5, samples)
    panel, paths = show(SamplesPanel, run), show(InterpolationPanel, run)
    plane = panel.pictures["teacher"].plane
    assert panel._features.isVisible()
    for first, second in ((0, 1), (3, 2)):
        for each in (panel, paths):
            each.findChild(QComboBox, f"{each.name}.feature_x").setCurrentIndex(first)
            each.findChild(QComboBox, f"{each.name}.feature_y").setCurrentIndex(second)
            each.refresh()
        np.testing.assert_allclose(np.stack(plane.points.getData(), 1), samples[:, [first, second]])
        for line, path in zip(paths.pictures["teacher"].plane.paths, small, strict=True):
            np.testing.assert_allclose(np.stack(line.getData(), axis=1), path[:, [first, second]])
        teacher, student = (paths.pictures[role].plane.canvas.viewRange() for role in ("teacher", "student"))
        np.testing.assert_allclose(teacher, student)
        for axis, feature in enumerate((first, second)):
            assert teacher[axis][0] < large[..., feature].min()
            assert teacher[axis][1] > large[..., feature].max()
    assert plane.canvas.getAxis("bottom").labelText == "x₄"
    assert plane.canvas.getAxis("left").labelText == "x₃"


def test_a_single_feature_is_shown_as_a_histogram_and_along_the_path(show: Any, fake_run: Any) -> None:
    run = fake_run(shape=(1,))
    run.begin("teacher")
    run.samples("teacher", 5, np.random.default_rng(0).normal(size=(4000, 1)).astype(np.float32))
    run.path("teacher", np.linspace(0, 1, 6, dtype=np.float32).reshape(1, 6, 1))
    panel = show(SamplesPanel, run)
    assert panel._features.isHidden()
    edges, heights = panel.pictures["teacher"].plane.bars.getOriginalDataset()
    assert (heights * np.diff(edges)).sum() == pytest.approx(1.0)
    middles = (edges[1:] + edges[:-1]) / 2
    assert heights[np.abs(middles).argmin()] == pytest.approx(1 / np.sqrt(2 * np.pi), abs=0.08)
    x, y = show(InterpolationPanel, run).pictures["teacher"].plane.paths[0].getData()
    np.testing.assert_allclose(x, y, atol=1e-6)


def test_a_run_without_pictures_yet_says_what_will_be_shown(show: Any, fake_run: Any) -> None:
    run = fake_run()
    run.begin("teacher")
    for kind in (SamplesPanel, InterpolationPanel, MatchingPanel):
        panel = show(kind, run)
        texts = [label.text() for label in panel.findChildren(QLabel) if label.isVisible()]
        assert texts == [f"{panel.placeholder} will be shown here."]


def test_a_panel_switches_between_vectors_and_images(show: Any, fake_run: Any, fake_studio: Any) -> None:
    vectors, images = fake_run(shape=(2,)), fake_run()
    for run in (vectors, images):
        run.begin("teacher")
    vectors.samples("teacher", 5, np.zeros((5, 2), np.float32))
    vectors.path("teacher", np.zeros((1, 3, 2), np.float32))
    images.samples("teacher", 5, grey(0.5))
    images.path("teacher", grey_path(0.5))
    for kind in (SamplesPanel, InterpolationPanel):
        panel = show(kind, vectors)
        picture = panel.pictures["teacher"]
        for run in (images, vectors, images):
            fake_studio.view = run.view
            panel.show_run(run.view)
            panel.refresh()
            assert picture.mosaic.isVisible() == (run is images)
            assert picture.plane.isVisible() == (run is vectors)


def test_controls_wrap_in_a_narrow_panel(show: Any, fake_run: Any) -> None:
    run = fake_run()
    run.begin("teacher")
    run.samples("teacher", 100, grey(0.25))
    run.path("teacher", grey_path(0.5, 4))
    for kind in (SamplesPanel, InterpolationPanel):
        panel = show(kind, run, size=(1200, 400))
        bar = panel.findChild(ControlBar)
        one_line = bar.height()
        panel.resize(320, 400)
        assert panel.minimumSizeHint().width() <= 320, "the panel would scroll sideways"
        QApplication.processEvents()
        assert bar.height() > one_line
        shown = [child for child in bar.findChildren(QWidget) if child.isVisible() and child.parent() is bar]
        assert len(shown) > 1
        for child in shown:
            assert bar.rect().contains(child.geometry()), child
        for one, other in itertools.combinations(shown, 2):
            assert not one.geometry().intersects(other.geometry())


def test_paths_of_all_flows_follow_each_other_without_gaps(show: Any, fake_run: Any) -> None:
    roles = ("teacher", "student", "baseline")
    run = fake_run()
    for role in roles:
        run.begin(role)
        run.path(role, grey_path(0.5))
    for size in ((900, 800), (330, 500)):
        panel = show(InterpolationPanel, run, size=size)
        QApplication.processEvents()
        panel.mark_dirty()
        panel.refresh()
        QApplication.processEvents()
        for above, below in itertools.pairwise(panel.pictures[role].mosaic for role in roles):
            step = below.mapTo(panel, below.target().topLeft()).y() - above.mapTo(panel, above.target().topLeft()).y()
            names = 64  # a row is at least as high as its flow's title and caption
            assert above.target().height() < step <= max(names, above.target().height() + 24)


def test_a_panel_needs_no_scroll_bar_at_its_minimum_height(show: Any, fake_run: Any) -> None:
    run = fake_run()
    run.begin("student")
    run.samples("student", 100, grey(0.25))
    run.path("student", grey_path(0.5, 4))
    run.matching(1, [0.1, 0.2])
    for kind in (SamplesPanel, InterpolationPanel, MatchingPanel):
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


def test_samples_are_laid_out_as_large_as_possible(show: Any, fake_run: Any) -> None:
    run = fake_run(roles=("teacher", "student"))
    run.begin("teacher")
    run.samples("teacher", 10, grey(0.5))
    for size, across in (((1200, 300), 3), ((500, 500), 2), ((300, 900), 2)):
        panel = show(SamplesPanel, run, size=size)
        QApplication.processEvents()
        corners = [(panel._cells[role].x(), panel._cells[role].y()) for role in ("data", "teacher", "student")]
        assert len({x for x, _ in corners}) == across
        assert len(set(corners)) == 3


def test_the_panels_show_the_flows_of_the_run(show: Any, fake_run: Any, fake_studio: Any) -> None:
    alone, usual, assisted = fake_run(roles=("teacher", "student")), fake_run(), fake_run(roles=WITH_ASSISTANTS)
    for run, roles in ((alone, ("teacher", "student")), (usual, ("teacher",)), (assisted, WITH_ASSISTANTS)):
        for index, role in enumerate(roles):
            run.begin(role)
            run.samples(role, 10, grey(0.1 + 0.15 * index))
            run.path(role, grey_path(0.1 + 0.15 * index))
    samples, paths = show(SamplesPanel, alone), show(InterpolationPanel, alone)
    QApplication.processEvents()
    heights = [paths.pictures[role].height() for role in ("teacher", "student")]
    assert heights[0] == pytest.approx(heights[1], abs=1)
    for run, roles in ((alone, ("teacher", "student")), (usual, ("teacher", "student", "baseline"))):
        fake_studio.view = run.view
        for panel in (samples, paths):
            panel.show_run(run.view)
            panel.refresh()
        assert visible_roles(samples._cells) == ["data", *roles]
        for kind in ("title", "caption", "mosaic"):
            widgets = {role: getattr(picture, kind) for role, picture in paths.pictures.items()}
            assert visible_roles(widgets) == list(roles)
    for size in ((1200, 700), (340, 700)):
        samples, paths = show(SamplesPanel, assisted, size=size), show(InterpolationPanel, assisted, size=size)
        assert visible_roles(samples._cells) == ["data", *WITH_ASSISTANTS]
        assert visible_roles(paths.pictures) == list(WITH_ASSISTANTS)
        for panel in (samples, paths):
            assert panel.pictures["assistant-1"].title.text() == "Assistant 1"
            for index, role in enumerate(WITH_ASSISTANTS):
                assert pixel(panel.pictures[role].mosaic) == pytest.approx(0.1 + 0.15 * index, abs=0.01)
        assert len({(cell.x(), cell.y()) for cell in samples._cells.values() if cell.isVisible()}) == 6


def test_another_seed_shows_the_first_seeds_assistants(show: Any, fake_run: Any, fake_studio: Any) -> None:
    run = fake_run(roles=WITH_ASSISTANTS, seeds=2)
    run.begin("assistant-1")
    run.samples("assistant-1", 10, grey(0.5))
    run.matching(10, [4.0, 5.0], "assistant-1")
    fake_studio.seed = 2
    samples, matching = show(SamplesPanel, run), show(MatchingPanel, run)
    assert pixel(samples.pictures["assistant-1"].mosaic) == pytest.approx(0.5, abs=0.01)
    assert matching.lines[0].getOriginalDataset()[1].tolist() == [4.0]
