"""The start page: its cards, its filter, and recent runs."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QLabel, QMessageBox, QPushButton, QToolButton

from nfkd.config import ExperimentConfig, preset_names
from nfkd.config.toml import toml_text
from nfkd.protocol.data import PreviewData
from nfkd.protocol.requests import Run
from nfkd_gui.model.studio import Studio
from nfkd_gui.window.main_window import MainWindow
from tests.gui.window.conftest import may_run
from tests.gui.window.steps import Do, click, settled


def test_a_card_runs_its_preset_and_a_recent_run_is_opened(window: MainWindow, script: Any, do: Do) -> None:
    async def scenario() -> None:
        window.open_workspace("")
        await settled(window.studio)
        assert window.start_page.isVisible()
        card = window.start_page.cards["two_moons"]
        card.setFocus()
        await settled(window.studio)
        click(window, QPushButton, "start.preset.two_moons.run")
        await may_run(window.studio)
        await settled(window.studio)
        started = [request for request in script.asked if isinstance(request, Run)]
        assert [ExperimentConfig.from_toml(request.config).name for request in started] == ["two moons"]
        assert window.workspace == "train"
        script.finish(window.studio.view.row.run)  # type: ignore[union-attr]
        window.studio.close_run()
        window.open_workspace("")
        await settled(window.studio)
        recent = [each for each in window.start_page.findChildren(QPushButton) if each.text() == "two moons"]
        QTest.mouseClick(recent[0], Qt.MouseButton.LeftButton)
        await settled(window.studio)
        assert window.studio.view is not None
        assert window.workspace == "train"

    do(scenario())


def test_a_card_opens_its_preset_by_the_keyboard(window: MainWindow, do: Do) -> None:
    window.open_workspace("")
    QTest.keyClick(window.start_page.cards["pinwheel_few"], Qt.Key.Key_Return)
    assert window.workspace == "design"
    assert window.studio.experiment.name == "pinwheel, 100 points"


def test_the_cards_get_their_pictures_once_the_engine_is_ready(
    studio: Studio, script: Any, do: Do, until: Do, qtbot: Any
) -> None:
    window = MainWindow(studio)
    window.open_workspace("")
    window.show()
    qtbot.waitExposed(window)
    assert not any(isinstance(request, PreviewData) for request in script.asked)

    async def scenario() -> None:
        studio.start()
        await until(studio.rows_changed)
        await settled(studio)
        asked = {request.config for request in script.asked if isinstance(request, PreviewData)}
        assert asked == {toml_text(ExperimentConfig.load(name).data) for name in preset_names()}

    do(scenario())
    window.close()
    window.deleteLater()


def shown_cards(window: MainWindow) -> set[str]:
    return {name for name, card in window.start_page.cards.items() if card.isVisible()}


def test_the_filter_of_the_start_page_shows_a_group_of_presets(window: MainWindow) -> None:
    window.open_workspace("")
    assert shown_cards(window) == set(preset_names())
    click(window, QToolButton, "start.filter.plane")
    planes = {"checkerboard", "iaf_moons", "maf_moons", "nsf_moons", "pinwheel_few", "realnvp_moons", "two_moons"}
    assert shown_cards(window) == planes
    click(window, QToolButton, "start.filter.paper")
    papers = {"cifar10_paper", "digits_paper", "natural_patches_paper", "tarflow_imagenet64_paper"}
    assert shown_cards(window) == papers
    cards = [window.start_page.cards[name] for name in shown_cards(window)]
    assert len({(card.x(), card.y()) for card in cards}) == len(cards)
    assert all(card.geometry().right() <= window.start_page.width() for card in cards)


def test_a_finished_run_of_a_preset_changes_its_card(window: MainWindow, script: Any, do: Do) -> None:
    async def scenario() -> None:
        window.open_workspace("")
        card = window.start_page.cards["two_moons"]
        script.begin("/runs/moons", ExperimentConfig.load("two_moons").to_toml())
        script.finish("/runs/moons")
        digest = ExperimentConfig.load("two_moons").digest()
        script.set_state("/runs/moons", "finished", digest=digest, seconds=21.0, seeds=1, gap_closed=0.4)
        await settled(window.studio)
        texts = [label.text() for label in card.findChildren(QLabel)]
        assert "21 s, measured" in texts

    do(scenario())


def test_the_keyboard_reaches_the_buttons_of_a_card(window: MainWindow, qtbot: Any) -> None:
    window.open_workspace("")
    card = window.start_page.cards["digits"]
    run = card.findChild(QPushButton, "start.preset.digits.run")
    assert isinstance(run, QPushButton)
    card.setFocus()
    qtbot.waitUntil(run.isVisible)
    QTest.keyClick(card, Qt.Key.Key_Tab)
    qtbot.waitUntil(run.hasFocus)
    QApplication.processEvents()
    assert run.isVisible()
    window.start_page.cards["two_moons"].setFocus()
    qtbot.waitUntil(lambda: not run.isVisible())


def test_run_on_a_card_waits_for_the_question_about_unsaved_changes(window: MainWindow, script: Any, do: Do) -> None:
    async def scenario() -> None:
        window.studio.experiment.edit(window.studio.experiment.document | {"description": "changed"})
        window.open_preset("two_moons", start=True)
        await settled(window.studio)
        assert not any(isinstance(request, Run) for request in script.asked)
        box = window.findChild(QMessageBox, "unsaved")
        assert isinstance(box, QMessageBox)
        box.button(QMessageBox.StandardButton.Discard).click()
        await may_run(window.studio)
        await settled(window.studio)
        started = [request for request in script.asked if isinstance(request, Run)]
        assert [ExperimentConfig.from_toml(request.config).name for request in started] == ["two moons"]

    do(scenario())
