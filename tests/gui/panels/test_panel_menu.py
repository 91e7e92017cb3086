"""The menu of a panel: pictures, numbers and moving pictures, read back from the files."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from PIL import Image, ImageSequence
from PySide6.QtGui import QAction, QColor, QGuiApplication
from PySide6.QtWidgets import QFileDialog, QMainWindow, QProgressDialog, QWidget

from nfkd.protocol.events import ErrorInfo
from nfkd.protocol.pictures import ReadSampleSeries, SampleSeries
from nfkd_gui.model.export_files import Progress, exporting, file_stem
from nfkd_gui.panels.interpolation import InterpolationPanel
from nfkd_gui.panels.matching import MatchingPanel
from nfkd_gui.panels.samples import SamplesPanel
from nfkd_gui.theme import apply_theme, role_colour, tokens
from nfkd_gui.widgets.error_dialog import ErrorDialog
from nfkd_gui.widgets.panel_dock import PanelDock
from nfkd_gui.widgets.panel_menu import PanelMenu
from nfkd_gui.widgets.saving import SaveJob

SVG = "{http://www.w3.org/2000/svg}"
RANDOM = np.random.default_rng(0)
Menu = Callable[[Any], PanelMenu]


@pytest.fixture
def menu_of(qtbot: Any, tmp_path: Path) -> Iterator[Menu]:
    """Puts a panel into a dock and returns its menu."""
    windows: list[QMainWindow] = []

    def make(panel: Any) -> PanelMenu:
        windows.append(window := QMainWindow())
        size = panel.size()
        dock = PanelDock(panel.name, panel.title, panel, window)
        window.setCentralWidget(dock)
        panel.setMinimumSize(size)
        window.resize(size)
        with qtbot.waitExposed(window):
            window.show()
        PanelMenu.folder = str(tmp_path)
        assert dock.head.menu is not None
        dock.head.menu.refill()
        return dock.head.menu

    yield make
    for window in windows:
        window.close()
        window.deleteLater()


def window_of(menu: PanelMenu) -> QWidget:
    dock = menu.parentWidget()
    assert dock is not None
    return dock.window()


def file_dialog(menu: PanelMenu) -> QFileDialog:
    dialog = window_of(menu).findChild(QFileDialog, "save")
    assert isinstance(dialog, QFileDialog)
    return dialog


def action(menu: PanelMenu, name: str) -> QAction:
    found = menu.findChild(QAction, f"panel.{name}")
    assert isinstance(found, QAction), name
    return found


def choose(menu: PanelMenu, name: str, path: Path) -> SaveJob | None:
    """Press an entry, choose a file and return the job."""
    jobs: list[SaveJob] = []
    menu.job_started.connect(jobs.append)
    action(menu, name).trigger()
    dialog = file_dialog(menu)
    dialog.selectFile(str(path))
    dialog.accept()
    menu.job_started.disconnect(jobs.append)
    return jobs[0] if jobs else None


def save(qtbot: Any, menu: PanelMenu, name: str, path: Path) -> None:
    ended: list[str] = []
    menu.saved.connect(ended.append)
    choose(menu, name, path)
    qtbot.waitUntil(lambda: bool(ended))
    assert ended == [str(path)]
    menu.saved.disconnect(ended.append)


@pytest.fixture
def pinwheel(recorded: Any) -> Any:
    run = recorded("pinwheel")
    run.play()
    return run


def digits(fake_run: Any) -> Any:
    run = fake_run()
    run.begin("teacher")
    run.samples("teacher", 300, RANDOM.random((4, 1, 8, 8)).astype(np.float32))
    run.path("teacher", RANDOM.random((2, 5, 1, 8, 8)).astype(np.float32))
    return run


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_png_has_twice_the_size_and_the_colours_of_the_theme(
    theme: str, show: Any, fake_run: Any, menu_of: Menu, qtbot: Any, qapp: Any, tmp_path: Path
) -> None:
    apply_theme(qapp, theme)
    panel = show(SamplesPanel, digits(fake_run))
    save(qtbot, menu_of(panel), "samples.picture", tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        pixels = np.array(image.convert("RGB"))
    canvas = panel.figure()
    assert pixels.shape[:2] == (2 * (canvas.height() + 24), 2 * (canvas.width() + 24))
    ground, teacher = QColor(tokens().panel), QColor(role_colour("teacher"))
    assert pixels[0, 0].tolist() == [ground.red(), ground.green(), ground.blue()]
    assert (pixels == [teacher.red(), teacher.green(), teacher.blue()]).all(axis=-1).any(), "its name"
    rect = panel.grid.cell_rect(0, 0, 0)
    place = panel.grid.mapTo(canvas, rect.topLeft())
    x, y = (round(2 * (12 + each + rect.width() / 16)) for each in (place.x(), place.y()))
    shown = panel.shown_pictures()["teacher"]
    assert pixels[y, x, 0] == pytest.approx(255 * shown[0, 0, 0, 0], abs=1)


def test_an_svg_has_texts_and_lines_and_is_clipped_to_the_plot(
    show: Any, fake_run: Any, menu_of: Menu, qtbot: Any, tmp_path: Path
) -> None:
    run = fake_run()
    run.begin("student")
    for step in range(1, 6):
        run.matching(step, [1.0 / step, 2.0 / step])
    panel = show(MatchingPanel, run)
    save(qtbot, menu_of(panel), "matching.picture", tmp_path / "a.svg")
    root = ET.parse(tmp_path / "a.svg").getroot()
    canvas = panel.figure()
    assert root.attrib["viewBox"] == f"0 0 {canvas.width() + 24} {canvas.height() + 24}"
    texts = {(text.text or "").strip() for text in root.iter(f"{SVG}text")}
    assert {"Mean squared error", "Step of the student"} <= texts
    assert any("level 1 step 2" in (text or "") for text in texts), "the legend"
    for line in panel.lines:
        colour = line.opts["pen"].color().name()
        groups = [group for group in root.iter(f"{SVG}g") if group.attrib.get("stroke") == colour]
        assert sum(len(group.findall(f"{SVG}polyline")) for group in groups) == 4, "five points joined by lines"
    assert list(root.iter(f"{SVG}clipPath"))
    clips = {clip.attrib["id"] for clip in root.iter(f"{SVG}clipPath")}
    used = {match for each in root.iter() for match in re.findall(r"#(\w+)\)", each.attrib.get("clip-path", ""))}
    assert used
    assert used <= clips
    assert not any(text and "Flow whose layers" in text for text in texts), "no controls"


def test_a_copied_picture_is_in_the_clipboard(show: Any, pinwheel: Any, menu_of: Menu) -> None:
    panel = show(SamplesPanel, pinwheel)
    menu = menu_of(panel)
    action(menu, "samples.copy").trigger()
    image = QGuiApplication.clipboard().image()
    assert (image.width(), image.height()) == (2 * (panel.figure().width() + 24), 2 * (panel.figure().height() + 24))
    assert image.pixelColor(2, 2) == QColor(tokens().panel)
    plane = panel.planes.cells["teacher"].plane
    middle = plane.mapTo(panel.figure(), plane.rect().center())
    colours = {image.pixel(2 * (12 + x), 2 * (12 + middle.y())) for x in range(middle.x() - 40, middle.x() + 40)}
    assert len(colours) > 10, "the density"


def test_frames_of_a_path_become_a_gif(show: Any, fake_run: Any, menu_of: Menu, qtbot: Any, tmp_path: Path) -> None:
    run = digits(fake_run)
    save(qtbot, menu_of(show(InterpolationPanel, run)), "interpolation.animation", tmp_path / "a.gif")
    with Image.open(tmp_path / "a.gif") as image:
        frames = [np.array(frame.convert("L")) for frame in ImageSequence.Iterator(image)]
    path = run.view.stages[1, "teacher"].interpolation.images
    assert len(frames) == 8  # five there, three back
    unit = 480 / 17
    for frame, step in zip(frames, (0, 1, 2, 3, 4, 3, 2, 1), strict=True):
        for pair in (0, 1):
            pixel = frame[int(unit / 2), int(unit * (9 * pair + 0.5))]
            assert pixel == pytest.approx(255 * path[pair, step, 0, 0, 0], abs=2)


def test_the_samples_of_all_steps_are_read_from_the_run(
    show: Any, pinwheel: Any, fake_studio: Any, menu_of: Menu, qtbot: Any, tmp_path: Path
) -> None:
    menu = menu_of(show(SamplesPanel, pinwheel))
    job = choose(menu, "samples.animation.Student", tmp_path / "a.gif")
    assert job is not None
    request, on_reply, _, _ = fake_studio.asked[-1]
    assert isinstance(request, ReadSampleSeries)
    assert (request.stage, request.seed) == ("student", 1)
    samples = RANDOM.normal(size=(6, 20, 2)).astype(np.float32)
    with qtbot.waitSignal(job.saved):
        on_reply(SampleSeries(run=request.run, seed=1, stage="student", steps=list(range(6)), samples=samples))
    with Image.open(tmp_path / "a.gif") as image:
        assert len(list(ImageSequence.Iterator(image))) == 6


def test_a_save_that_takes_long_shows_progress_and_can_be_cancelled(
    show: Any, pinwheel: Any, fake_studio: Any, menu_of: Menu, qtbot: Any, tmp_path: Path
) -> None:
    menu = menu_of(show(SamplesPanel, pinwheel))
    job = choose(menu, "samples.animation.Student", tmp_path / "a.gif")
    assert job is not None
    dialog: QProgressDialog = job.dialog
    assert not dialog.isVisible(), "at first"
    qtbot.waitUntil(dialog.isVisible)
    assert "a.gif" in dialog.labelText()
    with qtbot.waitSignal(job.ended):
        dialog.canceled.emit()
    fake_studio.asked[-1][1](
        SampleSeries(run="/runs/fake", seed=1, stage="student", steps=[0], samples=np.zeros((1, 2, 2), np.float32))
    )  # the engine's reply comes too late
    assert not list(tmp_path.iterdir())


def test_a_cancelled_writer_leaves_the_former_file(qtbot: Any, tmp_path: Path) -> None:
    window = QMainWindow()
    qtbot.addWidget(window)
    path = tmp_path / "a.txt"
    path.write_text("before")
    job = SaveJob(path, window)
    fractions: list[float] = []

    def write(target: Path, progress: Progress) -> None:
        with exporting(target) as temporary:
            while True:  # until it is cancelled
                temporary.write_text("half")
                progress.advance(0.5)
                fractions.append(0.5)

    job.write(write)
    qtbot.waitUntil(lambda: job.dialog.value() == 50)
    assert fractions
    with qtbot.waitSignal(job.ended):
        job.cancel()
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("name", "path", "parts"),
    [
        ("samples.picture", "missing/a.png", ("missing/a.png", "Choose a folder")),
        ("samples.picture", "a.jpg", ("a.jpg", ".png or .svg")),
        ("samples.numbers.Samples", "missing/a.csv", ("missing/a.csv", "Choose a folder")),
    ],
)
def test_an_error_names_the_file_and_what_to_do(
    name: str, path: str, parts: tuple[str, str], show: Any, pinwheel: Any, menu_of: Menu, qtbot: Any, tmp_path: Path
) -> None:
    menu = menu_of(show(SamplesPanel, pinwheel))
    action(menu, name).trigger()
    dialog = file_dialog(menu)
    errors: list[ErrorInfo] = []
    menu.failed.connect(errors.append)
    dialog.fileSelected.emit(str(tmp_path / path))  # the dialog itself accepts no missing folder
    dialog.reject()
    qtbot.waitUntil(lambda: bool(errors))
    assert parts[0] in errors[0].cause
    assert parts[1] in errors[0].action
    shown = window_of(menu).findChild(ErrorDialog)
    assert isinstance(shown, ErrorDialog)
    shown.reject()
    assert not list(tmp_path.iterdir())


def test_entries_of_an_empty_panel_are_disabled_and_say_why(show: Any, fake_run: Any, menu_of: Menu) -> None:
    menu = menu_of(show(SamplesPanel))
    assert [each.objectName() for each in menu.actions()] == [
        f"panel.samples.{name}" for name in ("copy", "picture", "numbers", "animation")
    ]
    for each in menu.actions():
        assert not each.isEnabled()
        assert each.toolTip() == "The panel shows nothing yet."


def test_the_file_name_has_run_panel_and_step(show: Any, pinwheel: Any, menu_of: Menu, tmp_path: Path) -> None:
    menu = menu_of(show(SamplesPanel, pinwheel))
    action(menu, "samples.numbers.Densities").trigger()
    dialog = file_dialog(menu)
    assert [Path(each).name for each in dialog.selectedFiles()] == ["pinwheel-samples-step-100-densities.csv"]
    dialog.reject()
    assert file_stem("../a b/:*", "…") == "a-b"
