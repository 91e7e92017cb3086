"""The recorded run that comes with the lessons: its file, and what the lessons say about it."""

from __future__ import annotations

import json
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

from nfkd_gui.model import lesson_runs
from nfkd_gui.model.lesson_runs import unpack_run
from nfkd_gui.model.lessons import Lesson, load_lessons
from nfkd_gui.resources import resource_path

LESSONS = {lesson.name: lesson for lesson in load_lessons()[0]}
PACKED = resource_path("lessons", "digits.zip")
WORDS = {2: "two", 4: "four", 6: "six", 8: "eight"}


def content(name: str) -> bytes:
    with zipfile.ZipFile(PACKED) as archive:
        return archive.read(f"digits/{name}")


def text_of(lesson: Lesson) -> str:
    return Path(resource_path("lessons", f"{lesson.name}.md")).read_text(encoding="utf-8")


@pytest.fixture
def row() -> dict[str, Any]:
    """What the run says about itself."""
    return json.loads(content("state.json"))["row"]


def test_the_file_is_small_and_knows_nothing_of_the_machine_that_made_it():
    with zipfile.ZipFile(PACKED) as archive:
        names = [Path(name).name for name in archive.namelist()]
        held = b"".join(archive.read(name) for name in archive.namelist())
    assert PACKED.stat().st_size <= 2_000_000
    assert not [name for name in names if name.startswith(("checkpoint", ".")) or name.endswith(".lock")]
    assert b"/tmp/" not in held
    assert b"/home/" not in held
    assert b'"run":"/' not in held
    state = json.loads(content("state.json"))
    assert (state["row"]["run"], state["pid"], state["born"]) == ("digits", 0, 0.0)


def test_the_student_of_the_run_gains(row: dict[str, Any]):
    assert row["teacher_test"] < row["student_test"] < row["baseline_test"]
    assert row["gap_closed"] > 0.1


def test_lessons_describe_the_flows_of_the_run():
    flows = tomllib.loads(content("experiment.toml").decode())
    teacher, student = flows["teacher"], flows["student"]
    said = text_of(LESSONS["06-multi-scale"])
    words = {role: (WORDS[flow["levels"]], WORDS[flow["steps"]]) for role, flow in flows.items() if role in flows and
             role in {"teacher", "student"}}  # fmt: skip
    assert "The teacher of the run *digits* has {} levels of {} steps.".format(*words["teacher"]) in said
    assert "Its student has {} levels of {} steps.".format(*words["student"]) in said
    assert f"Its teacher has {teacher['levels'] * teacher['steps']}." in said
    answers = [task.answer for page in LESSONS["06-multi-scale"].pages for task in page.tasks if task.unit == "steps"]
    assert answers == [student["levels"] * student["steps"]]


def test_lessons_quote_the_figures_of_the_run(row: dict[str, Any]):
    likelihood, distilling = text_of(LESSONS["07-likelihood"]), text_of(LESSONS["09-distilling"])
    teacher, student, alone = (f"{row[name]:.2f}" for name in ("teacher_test", "student_test", "baseline_test"))
    assert f"The teacher of the run *digits* needs {teacher} for new images." in likelihood
    assert f"[student](student) {student}, [student alone](alone) {alone}, [teacher](teacher) {teacher}" in distilling
    assert f"closes {row['gap_closed']:.0%} of the gap".replace("%", " %") in distilling


def test_another_version_of_the_run_is_unpacked_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(lesson_runs.platformdirs, "user_cache_path", lambda _name: tmp_path / "cache")
    monkeypatch.setattr(lesson_runs, "resource_path", lambda *names: tmp_path / names[-1])

    def unpacked(state: str) -> Path:
        with zipfile.ZipFile(tmp_path / "digits.zip", "w") as archive:
            archive.writestr("digits/state.json", state)
        return unpack_run("digits")

    first = unpacked("1")
    assert first.name == "digits"
    assert (first / "state.json").read_text() == "1"
    (first / "kept").touch()
    assert (unpacked("1") / "kept").exists()
    assert (unpacked("2") / "state.json").read_text() == "2"
