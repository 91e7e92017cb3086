"""Every panel shows a real run: what it draws and exports is compared with the run's files, read by h5py."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QLineEdit, QMenu, QPlainTextEdit, QSlider, QWidget

from nfkd.protocol.events import CurvePoints, MatchingMeasured, SamplesDrawn, StageFinished
from nfkd_gui.model.csv_files import write_csv
from nfkd_gui.panels.curves import CurvesPanel
from nfkd_gui.panels.inspector import InspectorPanel
from nfkd_gui.panels.interpolation import InterpolationPanel
from nfkd_gui.panels.log import LogPanel
from nfkd_gui.panels.matching import MatchingPanel
from nfkd_gui.panels.samples import SamplesPanel

ROLES = ("teacher", "student", "baseline")
LOSS = "validation/nll"


@pytest.fixture
def stored(recorded_folder: Path) -> Callable[[str], Any]:
    """Reads a dataset of a run's first seed by its path."""

    def read(path: str) -> Any:
        name, _, inside = path.partition("/")
        [file, *_] = [each for each in (f"{name}/run.h5", f"{name}/seed-1/run.h5") if (recorded_folder / each).exists()]
        node: Any
        with h5py.File(recorded_folder / file, "r") as node:
            return node[inside][...]

    return read


def exported(panel: Any, name: str, folder: Path) -> list[dict[str, str]]:
    """Return the rows of a table that a panel saves as CSV."""
    write_csv(folder / "table.csv", panel.numbers()[name])
    with (folder / "table.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def part(panel: QWidget, kind: Any, name: str) -> Any:
    found = panel.findChild(kind, name)
    assert isinstance(found, kind), name
    return found


def line(panel: CurvesPanel, role: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the points of a flow's validation loss."""
    return panel.plots["likelihood"].lines[1, role, LOSS].getData()  # type: ignore[index]


# --- curves -----------------------------------------------------------------------------------------------------------


def test_curves_grow_with_the_run_and_are_those_of_its_file(
    show: Any, recorded: Any, stored: Any, tmp_path: Path
) -> None:
    run = recorded("pinwheel")
    run.play(
        lambda event: isinstance(event, CurvePoints) and event.stage == "student" and len(event.curves[LOSS].steps)
    )
    panel = show(CurvesPanel, run)
    whole = {role: stored(f"pinwheel/{role}/curves/{LOSS}/value") for role in ROLES}
    np.testing.assert_array_equal(line(panel, "teacher")[1], whole["teacher"])
    assert len(line(panel, "student")[1]) < len(whole["student"])
    run.play()
    panel.refresh()
    for role in ROLES:
        steps, values = line(panel, role)
        np.testing.assert_array_equal(steps, stored(f"pinwheel/{role}/curves/{LOSS}/step"))
        np.testing.assert_array_equal(values, whole[role])
    rows = [row for row in exported(panel, "Curves", tmp_path) if row["curve"] == LOSS]
    for role in ROLES:
        np.testing.assert_array_equal([float(row["value"]) for row in rows if row["flow"] == role], whole[role])


def test_the_pointer_reads_the_values_of_the_file_and_the_keyboard_hides_a_flow(
    show: Any, recorded: Any, stored: Any
) -> None:
    run = recorded("pinwheel")
    run.play()
    panel = show(CurvesPanel, run)
    plot, step = panel.plots["likelihood"], 200
    place = plot.mapFromScene(plot.canvas.getViewBox().mapViewToScene(QPointF(step, plot.canvas.viewRange()[1][1])))
    QTest.mouseMove(plot.viewport(), place + QPoint(0, 20))
    QApplication.processEvents()
    assert plot.readout.heading == f"Step {step}"
    for role in ROLES:
        steps, values = (stored(f"pinwheel/{role}/curves/{LOSS}/{name}") for name in ("step", "value"))
        [reading] = [each for each in plot.readout.readings if each.role == role and each.main]
        assert float(reading.value.replace("−", "-")) == pytest.approx(values[steps == step].item(), rel=5e-3)
    flow = panel.choices.roles["student"]
    [menu] = [each for each in flow.associatedObjects() if isinstance(each, QMenu)]
    menu.popup(panel.mapToGlobal(QPoint(0, 0)))
    menu.setActiveAction(panel.choices.roles["teacher"])
    while menu.activeAction() is not flow:
        QTest.keyClick(menu, Qt.Key.Key_Down)
    QTest.keyClick(menu, Qt.Key.Key_Return)
    panel.refresh()
    assert not len(line(panel, "student")[0])
    assert len(line(panel, "teacher")[0])


# --- samples and interpolation ----------------------------------------------------------------------------------------


def grey_levels(grid: Any, group: int, row: int, column: int) -> np.ndarray:
    """Return the grey levels in the middle of each of the 8×8 pixels of a drawn image, 0 to 1."""
    image, rect = grid.grab().toImage(), grid.cell_rect(group, row, column)
    places = [(index + 0.5) / 8 for index in range(8)]
    return np.array([[image.pixelColor(int(rect.x() + x * rect.width()), int(rect.y() + y * rect.height())).redF()
                      for x in places] for y in places])  # fmt: skip


def test_drawn_samples_have_the_pixels_of_the_file(show: Any, recorded: Any, stored: Any, tmp_path: Path) -> None:
    run, shown = recorded("digits"), []
    run.play(lambda event: isinstance(event, SamplesDrawn) and event.step == 150)
    panel = show(SamplesPanel, run)
    panel.studio.prefer(images_as_stored=True)
    series = "digits/teacher/samples"
    for last in (lambda event: isinstance(event, SamplesDrawn) and event.step == 300, lambda _event: False):
        panel.refresh()
        caption = panel.current_picture("teacher").captions[0]
        shown.append((caption, grey_levels(panel.grid, 0, panel.roles().index("teacher"), 0)))
        run.play(last)
    panel.refresh()
    for (caption, levels), row in zip(shown, (1, 2), strict=True):
        assert caption.startswith(f"step {stored(f'{series}/step')[row]}, temperature")
        np.testing.assert_allclose(levels, stored(f"{series}/images")[row, 0, 0], atol=0.01)
    for role in ROLES:
        final = stored(f"digits/{role}/final/samples/images")[0]
        row = panel.roles().index(role)
        for column in (0, 1, 2):
            np.testing.assert_allclose(grey_levels(panel.grid, 0, row, column), final[column, 0], atol=0.01)
        rows = [each for each in exported(panel, "Samples", tmp_path) if each["flow"] == role]
        values = np.array([list(each.values())[2:] for each in rows], np.float32)
        np.testing.assert_array_equal(values, final.reshape(len(final), -1))
    assert panel.current_picture("teacher").captions[0].startswith("final weights (step 500)")


def test_drawn_paths_have_the_pixels_of_the_file_and_a_press_marks_a_frame(
    show: Any, recorded: Any, stored: Any, qtbot: Any, tmp_path: Path
) -> None:
    run = recorded("digits")
    run.play()
    panel = show(InterpolationPanel, run)
    panel.studio.prefer(images_as_stored=True)
    panel.refresh()
    images = stored("digits/student/final/interpolation/images")[0]
    row = panel.roles().index("student")
    for frame in (0, 4, images.shape[1] - 1):
        np.testing.assert_allclose(grey_levels(panel.grid, 0, row, frame), images[0, frame, 0], atol=0.01)
    rows = [each for each in exported(panel, "Paths", tmp_path) if each["flow"] == "student"]
    values = np.array([list(each.values())[3:] for each in rows], np.float32)
    np.testing.assert_array_equal(values, images.reshape(len(values), -1))
    slider = part(panel, QSlider, "interpolation.position")
    qtbot.mouseClick(panel.grid, Qt.MouseButton.LeftButton, pos=panel.grid.cell_rect(0, row, 4).center())
    assert slider.value() == 4
    QTest.keyClick(slider, Qt.Key.Key_End)
    assert slider.value() == images.shape[1] - 1


def test_points_paths_and_densities_are_those_of_the_file(
    show: Any, recorded: Any, stored: Any, tmp_path: Path
) -> None:
    run = recorded("pinwheel")
    run.play()
    panel, paths = show(SamplesPanel, run), show(InterpolationPanel, run)
    slider = part(paths, QSlider, "interpolation.position")
    slider.setFocus()
    for _ in range(3):
        QTest.keyClick(slider, Qt.Key.Key_Right)
    log_prob = {role: stored(f"pinwheel/{role}/final/density/log_prob")[0].astype(float) for role in ROLES}
    highest = max(np.quantile(np.exp(each), 0.995) for each in log_prob.values())
    for role in ROLES:
        plane = panel.planes.cells[role].plane
        samples = stored(f"pinwheel/{role}/final/samples/images")[0]
        drawn = np.stack(plane.points.getData(), 1)
        assert len(drawn)
        np.testing.assert_array_equal(drawn, samples[: len(drawn)])
        share = np.minimum(np.exp(log_prob[role]) / highest, 1) ** 0.6
        np.testing.assert_allclose(plane.image.image, share, rtol=1e-3, atol=1e-6)
        found = [float(row["log p (nats)"]) for row in exported(panel, "Densities", tmp_path) if row["flow"] == role]
        np.testing.assert_allclose(found, log_prob[role].ravel(), rtol=1e-6)
        walks = stored(f"pinwheel/{role}/final/interpolation/images")[0]
        own = paths.planes.cells[role].plane
        for shown, walk in zip(own.paths, walks, strict=True):
            np.testing.assert_array_equal(np.stack(shown.getOriginalDataset(), 1), walk)
        np.testing.assert_array_equal(np.stack(own.marks.getData(), 1), walks[:, 3])
    assert part(panel, QWidget, "samples.scale").text().startswith(f"Shade: density from 0 to {highest:.3g}")


# --- matching ---------------------------------------------------------------------------------------------------------


def test_matching_errors_grow_with_the_run_and_are_those_of_the_file(
    show: Any, recorded: Any, stored: Any, tmp_path: Path
) -> None:
    run = recorded("digits")
    steps, errors = stored("digits/student/matching/step"), stored("digits/student/matching/error")
    run.play(lambda event: isinstance(event, MatchingMeasured) and event.step == steps[1])
    panel = show(MatchingPanel, run)
    for count, last in ((2, None), (len(steps), lambda event: isinstance(event, StageFinished))):
        if last is not None:
            run.play(last)
            panel.refresh()
        assert len(panel.lines) == errors.shape[1]
        for pair, drawn in enumerate(panel.lines):
            np.testing.assert_array_equal(drawn.getOriginalDataset()[0], steps[:count])
            np.testing.assert_allclose(drawn.getOriginalDataset()[1], errors[:count, pair])
    np.testing.assert_allclose(panel.image.image[:, 0], np.log10(errors[0]), rtol=1e-6)
    np.testing.assert_allclose(panel.image.image[:, -1], np.log10(errors[-1]), rtol=1e-6)
    assert panel.bar.levels() == pytest.approx((np.log10(errors.min()), np.log10(errors.max())))
    rows = exported(panel, "Student", tmp_path)
    assert [int(row["step"]) for row in rows] == [step for step in steps for _ in range(errors.shape[1])]
    np.testing.assert_allclose([float(row["mean squared error"]) for row in rows], errors.ravel())


# --- log and inspector ------------------------------------------------------------------------------------------------


def test_the_log_has_the_lines_of_the_file_and_is_filtered_by_words(
    qtbot: Any, fake_studio: Any, recorded: Any, recorded_folder: Path
) -> None:
    run = recorded("digits")
    run.play()
    panel = LogPanel(fake_studio)
    qtbot.addWidget(panel)
    panel.resize(900, 400)
    panel.show()
    fake_studio.view = run.view
    fake_studio.view_changed.emit()
    lines = [json.loads(each) for each in (recorded_folder / "digits" / "log.jsonl").read_text().splitlines()]
    text, words = part(panel, QPlainTextEdit, "log.text"), part(panel, QLineEdit, "log.filter")
    shown = text.toPlainText().splitlines()
    assert [each["text"] in line for each, line in zip(lines, shown, strict=True)] == [True] * len(lines)
    words.setFocus()
    QTest.keyClicks(words, "student ended")
    expected = [each["text"] for each in lines if "student" in each["text"] and "ended" in each["text"]]
    shown = text.toPlainText().splitlines()
    assert 0 < len(expected) < len(lines)
    assert all(each in line for each, line in zip(expected, shown, strict=True))


def test_the_inspector_has_the_means_of_the_files(
    qtbot: Any, fake_studio: Any, recorded: Any, recorded_folder: Path, tmp_path: Path
) -> None:
    run = recorded("digits")
    panel = InspectorPanel(fake_studio, fake_studio)
    qtbot.addWidget(panel)
    panel.show()
    fake_studio.view = run.view
    run.play()
    fake_studio.view_changed.emit()
    panel.refresh()
    rows = {row["flow"]: row for row in exported(panel, "Figures", tmp_path)}
    verdict = json.loads((recorded_folder / "digits" / "verdict.json").read_text())
    assert verdict["words"] in part(panel, QWidget, "inspector.verdict").text()
    for role in ("student", "baseline"):
        for name in ("test", "c2st", "fd", "steps"):
            values = []
            for seed in (1, 2, 3):
                node: Any
                with h5py.File(recorded_folder / f"digits/seed-{seed}/run.h5", "r") as node:
                    values.append(float(np.ravel(node[f"summary/{role}/{name}"][...])[-1]))
            assert float(rows[role][name]) == pytest.approx(np.mean(values), rel=1e-6), (role, name)
