"""What the studio asks the engine about a lab, and in which order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nfkd.config.lab import LabConfig
from nfkd.lab.teacher_cache import TeacherCache
from nfkd.protocol.events import ErrorInfo
from nfkd.protocol.lab import ChangeLab, CloseLab, ControlLab, OpenLab, ReadLab
from nfkd_gui.model.lab import LabModel
from tests.gui.lab.lab_driver import LabStudio, small_state


@pytest.fixture
def studio(qapp: Any, tmp_path: Path, cache: TeacherCache) -> LabStudio:
    del qapp
    return LabStudio(tmp_path, cache)


@pytest.fixture
def lab(studio: LabStudio) -> Iterator[LabModel]:
    """A lab that is opening."""
    lab = LabModel(studio)
    lab.state = small_state()
    lab.watch(watched=True)
    yield lab
    lab.deleteLater()


def commands(studio: LabStudio) -> list[str]:
    """Return what the engine was asked to do, without readings and probes."""
    names: list[str] = []
    for request in studio.asked:
        if isinstance(request, ControlLab):
            names.append(request.action)
        elif isinstance(request, (OpenLab, ChangeLab, CloseLab)):
            names.append(type(request).__name__)
    return names


def rate(request: Any) -> float:
    return LabConfig.from_toml(request.state).training.learning_rate


def test_a_state_that_is_chosen_while_the_lab_opens_is_not_lost(lab: LabModel, studio: LabStudio) -> None:
    other = small_state().with_values({"training.learning_rate": 0.01})
    lab.open_state(other)
    lab.control("play")
    studio.answer()
    assert commands(studio) == ["OpenLab", "ChangeLab", "play"]
    assert rate(studio.asked[0]) == 0.002
    assert studio.flows.config == other


def test_changes_and_controls_reach_the_engine_in_their_order(lab: LabModel, studio: LabStudio) -> None:
    studio.answer()
    lab.set_values({"training.learning_rate": 0.01})
    lab.set_values({"training.learning_rate": 0.02})
    lab.set_values({"training.learning_rate": 0.03})
    lab.control("restart")
    lab.control("play")
    lab.set_values({"training.learning_rate": 0.04})
    studio.answer()
    assert commands(studio) == ["OpenLab", "ChangeLab", "ChangeLab", "restart", "play", "ChangeLab"]
    changes = [rate(request) for request in studio.asked if isinstance(request, ChangeLab)]
    assert changes == [0.01, 0.03, 0.04], "only the newest of waiting changes is sent"


def test_what_is_only_shown_is_not_sent(lab: LabModel, studio: LabStudio) -> None:
    studio.answer()
    lab.set_values({"lab.position": 0.5, "lab.grid": False})
    studio.answer()
    assert commands(studio) == ["OpenLab"]
    assert lab.state.lab.position == 0.5


def test_a_change_that_the_engine_refuses_is_taken_back(lab: LabModel, studio: LabStudio) -> None:
    studio.answer()
    failures: list[ErrorInfo] = []
    lab.failed.connect(failures.append)
    lab.set_values({"lab.probe": (0.5, 0.25)})
    lab.set_values({"training.student_examples": 100_000})
    studio.answer()
    assert "student_examples" in failures[0].cause
    assert lab.state.training.student_examples == small_state().training.student_examples
    assert lab.state.lab.probe == (0.5, 0.25), "what is only shown stays"
    assert lab.set_values({"training.learning_rate": 0.01})
    studio.answer()
    assert studio.flows.config.training.learning_rate == 0.01


def test_wrong_values_are_not_sent(lab: LabModel, studio: LabStudio) -> None:
    studio.answer()
    assert not lab.set_values({"training.learning_rate": -1.0})
    assert lab.error is not None
    assert "training.learning_rate: must be greater than 0" in lab.error.cause
    assert commands(studio) == ["OpenLab"]


def test_frames_from_before_a_change_are_left_out(lab: LabModel, studio: LabStudio) -> None:
    studio.answer()
    assert lab.frame is not None
    old = studio.frame(number=lab.frame.number)
    lab.set_values({"student.steps": 1})
    entry = next(entry for entry in studio.waiting if isinstance(entry[0], ReadLab))
    studio.waiting.remove(entry)
    entry[1](old)  # the reply was on its way
    assert lab.frame.number == old.number
    seen: list[int] = []
    lab.frame_changed.connect(lambda: seen.append(lab.frame.number if lab.frame else -1))
    studio.answer()
    assert seen == [studio.number]
    assert len(lab.pictures["teacher"].plane.names) == 3


def test_a_lab_that_the_engine_has_closed_is_opened_again(lab: LabModel, studio: LabStudio) -> None:
    studio.answer()
    failures: list[ErrorInfo] = []
    lab.failed.connect(failures.append)
    entry = next(entry for entry in studio.waiting if isinstance(entry[0], ReadLab))
    studio.waiting.remove(entry)
    entry[2](ErrorInfo(title="The lab is not open", cause="It was closed.", action=""))
    studio.answer()
    assert commands(studio) == ["OpenLab", "CloseLab", "OpenLab"]
    assert failures[0].title == "The lab was opened again"
    assert lab.info is not None


def test_a_lab_that_is_closed_while_it_opens_is_closed_in_the_engine(lab: LabModel, studio: LabStudio) -> None:
    lab.close()
    studio.answer()
    assert commands(studio) == ["OpenLab", "CloseLab"]
    assert lab.info is None


def test_commands_wait_for_an_engine_that_starts(lab: LabModel, studio: LabStudio) -> None:
    studio.waiting.clear()
    studio.ready = False  # type: ignore[misc]
    studio.engine_changed.emit()
    lab.control("play")
    studio.engine_changed.emit()
    studio.ready = True  # type: ignore[misc]
    studio.engine_changed.emit()
    studio.answer()
    assert commands(studio) == ["OpenLab", "play"]
