"""The samples and interpolation panels: their requests to the engine and the pictures they show."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QFontMetrics
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QComboBox, QLabel, QMainWindow, QScrollArea, QSlider, QSpinBox, QWidget

from nfkd.protocol.events import ErrorInfo
from nfkd.protocol.flags import NOT_FINITE, OUT_OF_RANGE, USABLE
from nfkd.protocol.pictures import ListPictures, PictureList, StagePictureSteps
from nfkd.protocol.requests import Interpolations, Sample, Samples
from nfkd_gui.panels.interpolation import InterpolationPanel
from nfkd_gui.panels.matching import MatchingPanel
from nfkd_gui.panels.samples import SamplesPanel
from nfkd_gui.plotting.plane import has_numbers
from nfkd_gui.theme import apply_theme, tokens
from nfkd_gui.widgets.panel_dock import PanelDock

RUN = "/runs/fake"
WITH_ASSISTANTS = ("teacher", "assistant-1", "assistant-2", "student", "baseline")


def grey(value: float, count: int = 4) -> np.ndarray:
    return np.full((count, 1, 8, 8), value, np.float32)


def grey_path(value: float, pairs: int = 1) -> np.ndarray:
    return grey(value, 9 * pairs).reshape(pairs, 9, 1, 8, 8)


def level(panel: Any, role: str, number: int = 0) -> float:
    """Return the grey level in the middle of an image in the grid, 0 to 1."""
    grid = panel.grid
    row = -1 if role == "data" else panel.roles().index(role)
    group, column = divmod(number, grid.shape.columns)
    assert group < grid.shape.groups, "there is no room for this image"
    return grid.grab().toImage().pixelColor(grid.cell_rect(group, row, column).center()).redF()


def shown_roles(panel: Any) -> list[str]:
    """Return the flows whose planes are visible."""
    return [role for role, cell in panel.planes.cells.items() if cell.isVisible()]


def test_a_caption_becomes_shorter_by_words(show: Any, fake_run: Any) -> None:
    run = fake_run(shape=(2,))
    run.begin("teacher")
    run.samples("teacher", 1150, np.zeros((5, 2), np.float32), final=True)
    panel = show(SamplesPanel, run)
    caption = panel.planes.cells["teacher"].caption
    seen = set()
    for width in range(900, 200, -10):
        panel.resize(width, 500)
        QApplication.processEvents()
        text = caption.visible_text()
        assert caption.fontMetrics().horizontalAdvance(text) <= max(caption.width(), 0)
        assert caption.toolTip() == "final weights (step 1,150), temperature 0.70"
        seen.add(text)
    assert {"final weights (step 1,150), temperature 0.70", "final, step 1,150"} <= seen
    assert not any("…" in text for text in seen)


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


def test_a_table_has_its_own_units_at_the_axes_and_in_the_csv(show: Any, fake_run: Any) -> None:
    run, names = fake_run(shape=(3,)), ["energy [GeV]", "angle [rad]", "mass"]
    run.add(msgspec.structs.replace(run.view.seeds[1], columns=names))
    run.begin("teacher")
    rng = np.random.default_rng(0)
    samples = rng.normal((5000, -0.02, 12), (300, 0.001, 1), size=(50, 3)).astype(np.float32)
    run.samples("teacher", 5, samples)
    panel = show(SamplesPanel, run)
    plane = panel.planes.cells["teacher"].plane
    for first, second in ((0, 1), (1, 2)):
        panel.findChild(QComboBox, "samples.feature_x").setCurrentIndex(first)
        panel.findChild(QComboBox, "samples.feature_y").setCurrentIndex(second)
        panel.refresh()
        QApplication.processEvents()
        axes = [plane.canvas.getAxis(side) for side in ("bottom", "left")]
        assert [axis.labelText for axis in axes] == [names[first], names[second]]
        for axis, feature, shown in zip(axes, (first, second), plane.canvas.viewRange(), strict=True):
            low, high = samples[:, feature].min(), samples[:, feature].max()
            assert shown[0] <= np.quantile(samples[:, feature], 0.01)
            assert shown[1] - shown[0] < 1.5 * (high - low)  # not stretched to the scale of the other feature
            numbers = [float(text.replace("−", "-").replace(",", "")) for text in texts_of(axis)]
            assert len(numbers) > 1
            assert shown[0] - 1e-9 <= min(numbers) < max(numbers) <= shown[1] + 1e-9
        metrics = QFontMetrics(axes[1].style["tickFont"])
        assert axes[1].width() > max(metrics.horizontalAdvance(text) for text in texts_of(axes[1]))
    table = panel.numbers()["Samples"]
    assert table.header == ["flow", "sample", *names]
    np.testing.assert_array_equal(np.array([row[2:] for row in table.rows]), samples)


def texts_of(axis: Any) -> list[str]:
    """Return the numbers at an axis."""
    low, high = axis.range
    length = axis.height() if axis.orientation == "left" else axis.width()
    return [text for _, values in axis.tickValues(low, high, length) for text in axis.tickStrings(values, 1.0, 0.0)]


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
    plane = panel.planes.cells["teacher"].plane
    assert panel._features.isVisible()
    for first, second in ((0, 1), (3, 2)):
        for each in (panel, paths):
            each.findChild(QComboBox, f"{each.name}.feature_x").setCurrentIndex(first)
            each.findChild(QComboBox, f"{each.name}.feature_y").setCurrentIndex(second)
            each.refresh()
        np.testing.assert_allclose(np.stack(plane.points.getData(), 1), samples[:, [first, second]])
        for line, path in zip(paths.planes.cells["teacher"].plane.paths, small, strict=True):
            np.testing.assert_allclose(np.stack(line.getData(), axis=1), path[:, [first, second]])
        teacher, student = (paths.planes.cells[role].plane.canvas.viewRange() for role in ("teacher", "student"))
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
    edges, heights = panel.planes.cells["teacher"].plane.bars.getOriginalDataset()
    assert (heights * np.diff(edges)).sum() == pytest.approx(1.0)
    middles = (edges[1:] + edges[:-1]) / 2
    assert heights[np.abs(middles).argmin()] == pytest.approx(1 / np.sqrt(2 * np.pi), abs=0.08)
    x, y = show(InterpolationPanel, run).planes.cells["teacher"].plane.paths[0].getData()
    np.testing.assert_allclose(x, y, atol=1e-6)


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


def test_flows_without_a_picture_have_no_axes_and_say_so_in_their_place(
    show: Any, fake_run: Any, fake_studio: Any
) -> None:
    """Runs of other data one after the other: an untrained flow kept the axes of the run before."""
    full, begun, images = fake_run(shape=(2,)), fake_run(shape=(2,)), fake_run()
    for run in (full, begun, images):
        run.begin("teacher")
    for role in ("teacher", "student", "baseline"):
        full.samples(role, 5, np.zeros((5, 2), np.float32))
    begun.samples("teacher", 5, np.zeros((5, 2), np.float32))
    images.samples("teacher", 5, grey(0.5))
    panel = show(SamplesPanel, full)
    for run in (begun, images, begun, full, images, full, begun):
        fake_studio.view = run.view
        panel.show_run(run.view)
        panel.refresh()
        QApplication.processEvents()
        axes = [role for role, cell in panel.planes.cells.items() if cell.plane.isVisible()]
        assert axes == {id(full): ["teacher", "student", "baseline"], id(begun): ["teacher"]}.get(id(run), [])
        if run is begun:
            cell = panel.planes.cells["student"]
            text = next(label for label in cell.pages.findChildren(QLabel) if label.isVisible())
            assert text.text() == "not trained yet"
            assert cell.rect().contains(text.geometry())
            assert not cell.caption.visible_text()
        if run is images:
            image, rect = panel.grid.grab().toImage(), panel.grid.cell_rect(0, 1, 0)
            last = panel.grid.cell_rect(0, 1, panel.grid.shape.columns - 1).united(rect)
            seen = {image.pixelColor(x, last.center().y()).name() for x in range(last.left() + 4, last.right())}
            assert len(seen) > 1, "its text"


def test_controls_fit_the_head_of_a_narrow_panel(show: Any, fake_run: Any, qtbot: Any) -> None:
    run = fake_run()
    run.begin("teacher")
    run.samples("teacher", 100, grey(0.25))
    run.path("teacher", grey_path(0.5, 4))
    for kind in (SamplesPanel, InterpolationPanel):
        panel = show(kind, run, size=(700, 400))
        window = QMainWindow()
        dock = PanelDock(panel.name, panel.title, panel, window)
        dock.head.add(*panel.tools)
        dock.add_expand_button()
        window.setCentralWidget(dock)
        window.resize(700, 400)
        with qtbot.waitExposed(window):
            window.show()
        wide = [tool for tool in panel.tools if tool.isVisible()]
        window.resize(345, 300)
        qtbot.waitUntil(lambda window=window: window.width() <= 345)
        QApplication.processEvents()
        narrow = [tool for tool in panel.tools if tool.isVisible()]
        assert 0 < len(narrow) < len(wide)
        shown = [
            child for child in dock.head.findChildren(QWidget) if child.isVisible() and child.parent() is dock.head
        ]
        for child in shown:
            assert dock.head.rect().contains(child.geometry()), child
        for one, other in itertools.combinations(shown, 2):
            assert not one.geometry().intersects(other.geometry())
        window.close()
        for widget in (panel, *panel.tools):
            widget.setParent(None)  # qtbot deletes the panel
        window.deleteLater()


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


def test_planes_are_as_large_as_possible_with_equal_scales(show: Any, fake_run: Any) -> None:
    run = fake_run(shape=(2,), roles=("teacher", "student"))
    for role in ("teacher", "student"):
        run.begin(role)
        run.samples(role, 10, np.random.default_rng(0).normal(size=(300, 2)).astype(np.float32))
        run.density(role)
    for size, across in (((1100, 330), 3), ((560, 560), 2), ((300, 900), 1), ((345, 235), 3)):
        panel = show(SamplesPanel, run, size=size)
        QApplication.processEvents()
        cells = [panel.planes.cells[role] for role in ("data", "teacher", "student")]
        assert len({cell.x() for cell in cells}) == across
        assert len({(cell.x(), cell.y()) for cell in cells}) == 3
        box = cells[1].plane.canvas.getViewBox()
        across_unit, up_unit = box.viewPixelSize()
        assert across_unit == pytest.approx(up_unit, rel=0.02)
        assert min(box.width(), box.height()) >= 0.6 * min(size[0] / across, size[1] / 3) - 32
        for cell in cells[1:]:
            plane = cell.plane
            shown = bool(plane.canvas.getAxis("left").style["showValues"])
            assert shown == has_numbers(plane.width(), plane.height())


def test_points_leave_room_for_the_density(show: Any, fake_run: Any) -> None:
    run = fake_run(shape=(2,))
    samples = np.random.default_rng(0).normal(size=(5000, 2)).astype(np.float32)
    run.begin("teacher")
    run.samples("teacher", 10, samples)
    run.density("teacher")
    for size in ((345, 235), (900, 700)):
        plane = show(SamplesPanel, run, size=size).planes.cells["teacher"].plane
        QApplication.processEvents()
        x, y = plane.points.getData()
        assert len(x) == min(5000, plane.width() * plane.height() // 60)
        np.testing.assert_allclose(np.stack([x, y], 1), samples[: len(x)])
        assert all(brush.color().alphaF() < 0.7 for brush in plane.points.data["brush"][:5] if brush is not None)


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


def test_planes_are_those_of_the_flows(show: Any, fake_run: Any) -> None:
    run = fake_run(shape=(2,), roles=("teacher", "student"))
    run.begin("teacher")
    run.samples("teacher", 1, np.zeros((3, 2), np.float32))
    run.path("teacher", np.zeros((1, 3, 2), np.float32))
    assert shown_roles(show(SamplesPanel, run)) == ["data", "teacher", "student"]
    assert shown_roles(show(InterpolationPanel, run)) == ["teacher", "student"]


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
        seen = [
            image.pixelColor(x, y) for x in range(rect.left(), rect.right()) for y in range(rect.top(), rect.bottom())
        ]
        marked.append(warn in seen)
        black = sum(colour.lightness() == 0 for colour in seen) / len(seen)
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
        try:
            apply_theme(qapp, "dark")
            fake_studio.theme_changed.emit()
            qapp.processEvents()
            panel.refresh()
            assert level(panel, "teacher") == pytest.approx(0.9, abs=0.01)
        finally:
            apply_theme(qapp, "light")


def test_another_seed_shows_the_first_seeds_assistants(show: Any, fake_run: Any, fake_studio: Any) -> None:
    run = fake_run(roles=WITH_ASSISTANTS, seeds=2)
    run.begin("assistant-1")
    run.samples("assistant-1", 10, grey(0.5))
    run.matching(10, [4.0, 5.0], "assistant-1")
    fake_studio.seed = 2
    samples, matching = show(SamplesPanel, run), show(MatchingPanel, run)
    assert level(samples, "assistant-1") == pytest.approx(0.5, abs=0.01)
    assert matching.lines[0].getOriginalDataset()[1].tolist() == [4.0]


def test_points_have_the_colour_of_their_noise_in_every_flow(show: Any, fake_run: Any, fake_studio: Any) -> None:
    run = fake_run(shape=(2,))
    points = np.random.default_rng(0).normal(size=(4, 2)).astype(np.float32)
    for role in ("teacher", "student"):
        run.begin(role)
        run.samples(role, 5, points)
    panel = show(SamplesPanel, run)
    request, on_reply, _, _ = fake_studio.asked[-1]
    assert (request.noise_seed, request.count) == (None, 4)
    noise = np.array([[1.0, 0.0], [0.0, 2.0], [-1.0, 0.0], [0.0, -0.5]])
    reply = Samples(
        run=RUN, seed=1, temperature=0.7, samples={"teacher": points, "student": points}, real=points, densities={},
        noise=noise,
    )  # fmt: skip
    on_reply(reply)
    panel.refresh()
    hues = {}
    for role in ("teacher", "student", "data"):
        brushes = panel.planes.cells[role].plane.points.data["brush"]
        hues[role] = [brush.color().hslHue() if brush is not None else None for brush in brushes]
    assert hues["teacher"] == hues["student"] == pytest.approx([0, 90, 180, 270], abs=1)
    assert len(set(hues["data"])) == 1
    on_reply(msgspec.structs.replace(reply, noise_seed=3))  # a late reply to an earlier choice
    panel.refresh()
    brushes = panel.planes.cells["teacher"].plane.points.data["brush"]
    assert len({brush.color().name() if brush is not None else "" for brush in brushes}) == 1


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
