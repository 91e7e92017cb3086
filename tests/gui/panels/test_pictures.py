"""The samples and interpolation panels: their requests to the engine and the pictures they show."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QColor
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QComboBox, QLabel, QSlider, QSpinBox, QWidget

from nfkd.protocol.events import ErrorInfo
from nfkd.protocol.flags import NOT_FINITE, OUT_OF_RANGE, USABLE
from nfkd.protocol.pictures import ListPictures, PictureList, StagePictureSteps
from nfkd.protocol.requests import Interpolations, Sample, Samples
from nfkd_gui.panels.interpolation import InterpolationPanel
from nfkd_gui.panels.matching import MatchingPanel
from nfkd_gui.panels.samples import SamplesPanel
from nfkd_gui.theme import apply_theme, tokens
from tests.gui.panels.picture_steps import RUN, WITH_ASSISTANTS, grey, grey_path, level
from tests.gui.pixels import count_of


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
    assert level(panel, "teacher") == pytest.approx(0.5, abs=0.01)
    assert level(panel, "data") == pytest.approx(1.0, abs=0.01)
    run.samples("teacher", 200, grey(0.25))
    panel.refresh()
    assert len(fake_studio.asked) == asked + 1  # the weights have changed
    panel._new_noise()
    assert request.noise_seed is None, "that of the live pictures"
    assert fake_studio.asked[-1][0].noise_seed == 0
    panel.findChild(QSpinBox, "samples.seed").setValue(41)
    assert fake_studio.asked[-1][0].noise_seed == 41
    on_error = fake_studio.asked[-1][2]
    on_error(ErrorInfo(title="There are no weights yet", cause="", action="Look again a little later."))
    assert "no weights yet" in panel._message.text()
    panel._live.click()
    panel.refresh()
    assert level(panel, "teacher") == pytest.approx(0.25, abs=0.01)


def test_a_chosen_path_is_requested_and_shown(show: Any, fake_run: Any, fake_studio: Any) -> None:
    run = fake_run()
    run.begin("teacher")
    run.path("teacher", np.zeros((2, 3, 1, 8, 8), np.float32))
    panel = show(InterpolationPanel, run)
    path = np.ones((4, 1, 8, 8), np.float32)
    reply = Interpolations(
        run=RUN, seed=1, mode="spherical", alpha=np.linspace(0, 1, 4), paths={"teacher": path}, count=270,
    )  # fmt: skip
    fake_studio.asked[-1][1](reply)
    panel.refresh()
    panel.findChild(QSpinBox, "interpolation.first").setValue(200)
    panel._mode.setCurrentIndex(1)
    panel._steps.setValue(4)
    request = fake_studio.asked[-1][0]
    assert (request.first.index, request.second.index, request.mode, request.steps) == (200, 1, "spherical", 4)
    fake_studio.asked[-1][1](reply)
    panel.refresh()
    assert level(panel, "teacher") == pytest.approx(1.0, abs=0.01)
    assert "spherical" in panel.current_picture("teacher").captions[0]


def test_a_run_without_pictures_yet_says_what_will_be_shown(show: Any, fake_run: Any) -> None:
    run = fake_run()
    run.begin("teacher")
    for kind in (SamplesPanel, InterpolationPanel, MatchingPanel):
        panel = show(kind, run)
        shown = [label for label in panel.findChildren(QLabel) if label.isVisible() and label not in panel.tools]
        assert [label.text() for label in shown] == [f"{panel.placeholder} will be shown here."]
        assert not any(tool.isEnabled() for tool in panel.tools)


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
        for run in (images, vectors, images):
            fake_studio.view = run.view
            panel.show_run(run.view)
            panel.refresh()
            assert panel.grid.isVisible() == (run is images)
            assert panel.planes.isVisible() == (run is vectors)


def test_the_panels_show_the_flows_of_the_run(show: Any, fake_run: Any, fake_studio: Any) -> None:
    alone, usual, assisted = fake_run(roles=("teacher", "student")), fake_run(), fake_run(roles=WITH_ASSISTANTS)
    for run, roles in ((alone, ("teacher", "student")), (usual, ("teacher",)), (assisted, WITH_ASSISTANTS)):
        for index, role in enumerate(roles):
            run.begin(role)
            run.samples(role, 10, grey(0.1 + 0.15 * index))
            run.path(role, grey_path(0.1 + 0.15 * index))
    for kind in (SamplesPanel, InterpolationPanel):
        for size in ((1200, 700), (340, 700)):
            panel = show(kind, alone, size=size)
            for run, roles in ((usual, ("teacher",)), (assisted, WITH_ASSISTANTS), (alone, ("teacher", "student"))):
                fake_studio.view = run.view
                panel.show_run(run.view)
                panel.refresh()
                for index, role in enumerate(roles):
                    assert level(panel, role) == pytest.approx(0.1 + 0.15 * index, abs=0.01)
                    assert panel.grid.describe_at(panel.grid.cell_rect(0, index, 0).center()).startswith(
                        "Assistant 1," if role == "assistant-1" else role.split("-")[0].capitalize()
                    )


def test_unusable_samples_are_marked_in_their_cell(show: Any, fake_run: Any) -> None:
    run = fake_run()
    run.begin("teacher")
    flags = np.array([USABLE, NOT_FINITE, OUT_OF_RANGE, USABLE], np.uint8)
    run.samples("teacher", 10, grey(0.0), flags=flags)
    panel = show(SamplesPanel, run)
    assert panel.notes.text() == "Teacher: 1 of 4 samples not finite, 1 far outside the range of the data."
    assert panel.notes.isVisible()
    image, warn = panel.grid.grab().toImage(), QColor(tokens().warn)
    marked = []
    for number in range(4):
        rect = panel.grid.cell_rect(0, 0, number)
        seen = image.copy(rect.adjusted(0, 0, -1, -1))
        marked.append(count_of(seen, warn) > 0)
        black = count_of(seen, "black") / (seen.width() * seen.height())
        assert (black == 1) == (flags[number] == USABLE)
        assert (black == 0) == (flags[number] == NOT_FINITE), "it has no image"
    assert marked == [False, True, True, False]
    tips = [panel.grid.describe_at(panel.grid.cell_rect(0, 0, number).center()) for number in range(4)]
    assert tips == [
        "Teacher, noise 1", "Teacher, noise 2\nnot finite", "Teacher, noise 3\nfar outside the range of the data",
        "Teacher, noise 4",
    ]  # fmt: skip
    run.samples("teacher", 20, grey(0.0), flags=np.zeros(4, np.uint8))
    panel.refresh()
    assert not panel.notes.isVisible()


def test_grey_images_of_digits_are_ink_on_paper_in_the_light(
    show: Any, fake_run: Any, fake_studio: Any, qapp: QApplication
) -> None:
    colour = np.stack([np.full((4, 8, 8), value, np.float32) for value in (0.9, 0.2, 0.2)], axis=1)
    for config, images, light in (
        ('[data]\nkind = "digits"', grey(0.9), 0.1),
        ('[data]\nkind = "natural_crops"', grey(0.9), 0.9),
        ('[data]\nkind = "digits"', colour, 0.9),
    ):
        run = fake_run()
        run.view.config = config
        run.begin("teacher")
        run.samples("teacher", 10, images)
        panel = show(SamplesPanel, run)
        assert level(panel, "teacher") == pytest.approx(light, abs=0.01)
        apply_theme(qapp, "dark")
        fake_studio.theme_changed.emit()
        qapp.processEvents()
        panel.refresh()
        assert level(panel, "teacher") == pytest.approx(0.9, abs=0.01)


def test_another_seed_shows_the_first_seeds_assistants(show: Any, fake_run: Any, fake_studio: Any) -> None:
    run = fake_run(roles=WITH_ASSISTANTS, seeds=2)
    run.begin("assistant-1")
    run.samples("assistant-1", 10, grey(0.5))
    run.matching(10, [4.0, 5.0], "assistant-1")
    fake_studio.seed = 2
    samples, matching = show(SamplesPanel, run), show(MatchingPanel, run)
    assert level(samples, "assistant-1") == pytest.approx(0.5, abs=0.01)
    assert matching.lines[0].getOriginalDataset()[1].tolist() == [4.0]


def test_columns_are_sorted_by_log_p_of_the_student(show: Any, fake_run: Any, fake_studio: Any) -> None:
    run = fake_run()
    images = np.linspace(0.1, 0.4, 4, dtype=np.float32)[:, None, None, None] * np.ones((4, 1, 8, 8), np.float32)
    for role, offset in (("teacher", 0.0), ("student", 0.5)):
        run.begin(role)
        run.samples(role, 5, images + np.float32(offset))
    panel = show(SamplesPanel, run)
    assert not fake_studio.asked[-1][0].log_prob
    sort = next(action for action in panel.options() if action.text() == "Sort by log p")
    sort.trigger()
    request, on_reply, _, _ = fake_studio.asked[-1]
    assert request.log_prob
    log_prob = {"teacher": np.array([4.0, 3, 2, 1]), "student": np.array([-20.0, -5, np.nan, -10])}
    on_reply(Samples(run=RUN, seed=1, temperature=0.7, samples={"teacher": images}, real=images, densities={},
                     log_prob=log_prob))  # fmt: skip
    panel.refresh()
    for role, offset in (("teacher", 0.0), ("student", 0.5)):
        shown = [level(panel, role, number) - offset for number in range(4)]
        assert shown == pytest.approx([0.2, 0.4, 0.1, 0.3], abs=0.01)
    asked = len(fake_studio.asked)
    run.samples("student", 6, images + np.float32(0.5))
    panel.refresh()
    assert len(fake_studio.asked) == asked + 1, "the weights have changed"
    sort.trigger()
    panel.refresh()
    assert level(panel, "teacher", 0) == pytest.approx(0.1, abs=0.01)


def test_images_can_be_shown_as_they_are_stored(show: Any, fake_run: Any) -> None:
    run = fake_run()
    run.view.config = '[data]\nkind = "mnist"'
    run.begin("teacher")
    run.samples("teacher", 10, grey(0.9))
    panel = show(SamplesPanel, run)
    stored = next(action for action in panel.options() if action.text() == "As stored")
    for expected in (0.9, 0.1):
        stored.trigger()
        panel.refresh()
        assert level(panel, "teacher") == pytest.approx(expected, abs=0.01)
        assert stored.isChecked() == (expected == 0.9)


def test_a_path_may_lead_from_a_sample_and_has_its_log_p(show: Any, fake_run: Any, fake_studio: Any) -> None:
    run = fake_run()
    run.begin("teacher")
    run.samples("teacher", 5, grey(0.5, 16))
    run.path("teacher", grey_path(0.5))
    panel = show(InterpolationPanel, run)
    assert not fake_studio.asked[-1][0].log_prob, "live paths have none"
    QTest.keyClick(panel.findChild(QComboBox, "interpolation.first.kind"), Qt.Key.Key_Down)
    request, on_reply, _, _ = fake_studio.asked[-1]
    assert (request.first.kind, request.second.kind, request.log_prob) == ("sample", "validation", True)
    assert (request.first.count, request.first.temperature, request.first.noise_seed) == (16, 0.7, None), (
        "as in Samples"
    )
    alpha, log_prob = np.linspace(0, 1, 9), {"teacher": np.linspace(-60, -20, 9)}
    on_reply(Interpolations(run=RUN, seed=1, mode="linear", alpha=alpha, paths={"teacher": grey_path(0.8)[0]},
                            count=270, log_prob=log_prob))  # fmt: skip
    panel.refresh()
    plot = panel.findChild(QWidget, "interpolation.log_prob")
    assert plot.isVisible()
    x, y = panel._position.lines["teacher"].getOriginalDataset()
    np.testing.assert_allclose(x, alpha)
    np.testing.assert_allclose(y, log_prob["teacher"])
    assert panel.findChild(QSpinBox, "interpolation.first").maximum() == 15
    panel.go_live()
    panel.refresh()
    assert not plot.isVisible()


def test_a_slider_and_a_press_mark_a_frame_of_every_path(show: Any, fake_run: Any, qtbot: Any) -> None:
    run = fake_run()
    for role in ("teacher", "student"):  # no baseline yet
        run.begin(role)
        run.path(role, grey_path(0.5, 1))
    panel = show(InterpolationPanel, run)
    slider, grid = panel.findChild(QSlider, "interpolation.position"), panel.grid
    assert (slider.minimum(), slider.maximum()) == (0, 8)
    slider.setValue(4)
    image, accent = grid.grab().toImage(), QColor(tokens().accent)
    for column in (0, 4):
        rect = grid.cell_rect(0, 1, column)
        edge = image.pixelColor(rect.left() - 1, rect.center().y())
        assert (edge == accent) == (column == 4)
        empty = grid.cell_rect(0, 2, column)
        assert image.pixelColor(empty.left() - 1, empty.center().y()) != accent, "there is no frame to mark"
    qtbot.mouseClick(grid, Qt.MouseButton.LeftButton, pos=grid.cell_rect(0, 1, 7).center())
    assert slider.value() == 7


def test_own_settings_return_the_time_slider_to_the_latest_weights(show: Any, fake_run: Any, fake_studio: Any) -> None:
    run = fake_run()
    run.begin("teacher")
    run.samples("teacher", 100, grey(0.25))
    panel, timeline = show(SamplesPanel, run), fake_studio.timeline
    fake_studio.view_changed.emit()
    reply = next(each[1] for each in fake_studio.asked if isinstance(each[0], ListPictures))
    reply(PictureList(run=RUN, seed=1, stages=[StagePictureSteps(stage="teacher", steps=[50, 100])]))
    for change in (lambda: panel._temperature.setValue(panel._temperature.value() + 10), panel._new_noise):
        timeline.choose(0)
        assert not timeline.is_live
        change()
        assert timeline.is_live, "the engine samples from the newest weights"
        panel.refresh()
        assert panel._live.isVisible(), "the settings stay"
        assert any(isinstance(each[0], Sample) for each in fake_studio.asked[-2:])
