"""The lab shows parts of itself for a lesson or an audience, and names nothing that is hidden."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QAbstractButton, QApplication, QLabel, QWidget

from nfkd.protocol.lab import LAB_ROLES as ROLES
from tests.gui.lab.lab_driver import Driven
from tests.gui.pixels import colour_names


def test_only_the_wanted_parts_are_shown(lab: Driven) -> None:
    lab.view.show_parts(["student", "scrubber"])
    assert not lab.plane("teacher").isVisible()
    assert lab.plane("student").isVisible()
    assert lab.find("lab.position").isVisible()
    for name in ("lab.play", "lab.gap", "lab.reset"):
        assert not lab.find(name).isVisible(), name
    lab.view.show_parts(["probe"])
    assert lab.find("lab.probe_x").isVisible()
    assert not lab.find("lab.gap").isVisible()
    lab.view.show_parts([])
    assert all(lab.plane(role).isVisible() for role in ROLES)
    assert lab.find("lab.play").isVisible()


def words(lab: Driven) -> str:
    """Return what the lab says now: texts, tooltips and names for screen readers."""
    found = [widget for widget in lab.view.findChildren(QWidget) if widget.isVisible()]
    texts = [widget.text() for widget in found if isinstance(widget, QLabel | QAbstractButton)]
    return "\n".join([*texts, *(f"{widget.toolTip()} {widget.accessibleName()}" for widget in found)]).lower()


@pytest.mark.parametrize("page", ["buys", "probe"])
def test_flows_that_are_not_shown_are_not_named(lab: Driven, page: str) -> None:
    lab.lab.set_values({"lab.probe": (0.5, 0.5), "lab.position": 0.5})
    lab.studio.answer()
    lab.view.show_parts(["teacher", "scrubber", page])
    assert "student" not in words(lab)
    assert lab.text("lab.layer_text") == "layer 1.5 of 3"
    assert set(lab.find("lab.gain").curves) == {"teacher"}
    assert {mark.role for mark in lab.find("lab.position").marks} == {"teacher"}
    lab.view.show_parts(["student", "scrubber", page])
    assert "teacher" not in words(lab)
    assert "alone" not in words(lab)
    assert lab.text("lab.layer_text") == "layer 1 of 2"
    lab.press(Qt.Key.Key_Right)
    assert lab.text("lab.layer_text") == "layer 2 of 2"


def test_a_flow_alone_has_the_room_of_all(lab: Driven) -> None:
    lab.view.show_parts([*ROLES, "buys"])
    lab.qtbot.waitUntil(lambda: lab.plane("student").width() < lab.view.width() / 2)
    height = lab.plane("student").height()
    lab.view.show_parts(["student", "buys"])
    lab.qtbot.waitUntil(lambda: lab.plane("student").height() > 1.25 * height)


def test_the_planes_keep_their_room_while_there_are_no_pictures(lab: Driven) -> None:
    height = lab.view.planes.height()
    lab.lab.set_values({"seeds.first": 7})  # there is no trained teacher for this seed
    lab.studio.answer()
    assert not any(lab.plane(role).isVisible() for role in ROLES)
    QApplication.processEvents()
    assert lab.view.planes.height() == height


def test_unknown_parts_show_nothing(lab: Driven) -> None:
    lab.view.show_parts(["none"])
    picture = lab.view.grab().toImage()
    assert len(colour_names(picture)) == 1


def test_a_file_that_does_not_fit_is_explained_where_the_settings_are_hidden(lab: Driven, tmp_path: Path) -> None:
    file = tmp_path / "few.csv"
    file.write_text("a,b\n1,2\n3,5\n")
    for parts in (["student"], ["none"]):
        lab.view.show_parts(parts)
        assert "rows" not in lab.text("lab.message")
        lab.view.settings.data.read(str(file))
        lab.studio.answer()
        assert lab.find("lab.message").isVisible()
        assert lab.text("lab.message").startswith("few.csv: has only 2 rows")


def test_for_an_audience_the_settings_are_left_out_and_the_table_stays(lab: Driven) -> None:
    lab.view.present(True)
    assert not lab.find("lab.reset").isVisible()
    assert lab.find("lab.table.student.0").isVisible()
    assert lab.find("lab.gap").isVisible()
    lab.view.present(False)
    assert lab.find("lab.reset").isVisible()
