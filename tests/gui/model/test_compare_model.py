"""Runs in groups: means and deviations over seeds, filter, order, folders, and the choice."""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
import shiboken6
from pytestqt.qtbot import QtBot

from nfkd.protocol.comparing import ReadRunValues, SeedValues
from nfkd.protocol.events import ErrorInfo, RunChanged, RunRemoved
from nfkd.protocol.view import RunView
from nfkd_gui.model.compare import CompareModel, is_condition
from nfkd_gui.model.studio import Studio
from tests.gui.scripted_engine import row_of

Do = Callable[[Any], Any]
TESTS = [2.40, 2.46, 2.55]


def add(script: Any, run: str, values: dict[str, Any] | None = None, seed: float | None = None, **row: Any) -> None:
    """Add a finished run to the script, with its values and the test of its one seed."""
    created = 1e9 + len(script.views)
    script.views[run] = RunView(row_of(run, "finished", **{"created": created, "seeds_done": 1} | row), "")
    script.runs.values[run] = values or {}
    if seed is not None:
        script.runs.seeds[run] = [SeedValues(seed=1, values={"student_test": seed})]


async def settled(studio: Studio) -> None:
    await studio.clients[-1].settled()  # type: ignore[attr-defined]


@pytest.fixture
def model(studio: Studio, script: Any, do: Do, until: Do) -> CompareModel:
    """Three runs that differ by their seeds, one with other settings in another folder, and one of another data set."""
    for number, test in enumerate(TESTS):
        values = {"student.hidden": 64.0, "student_test": test}
        add(script, f"/runs/deep/a{number}", values, test, digest="one", student_test=test, data="digits")
    add(script, "/runs/b", {"student.hidden": 32.0, "student_test": 2.7}, 2.7, digest="two", student_test=2.7)
    add(script, "/runs/c", {"student.hidden": 16.0}, digest="three", data="pinwheel", tags=["paper draft"], note="odd")
    model = CompareModel(studio)

    async def start() -> None:
        studio.start()
        await until(studio.rows_changed)
        await settled(studio)

    do(start())
    return model


def names(model: CompareModel) -> list[str]:
    return [group.name for group in model.groups]


def test_runs_that_differ_by_their_seeds_are_one_group_with_mean_and_deviation(model: CompareModel) -> None:
    model.sort_by("name", descending=False)
    assert names(model) == ["a2", "b", "c"]  # a group is called like its newest run
    group = model.groups[0]
    assert group.runs == ["/runs/deep/a2", "/runs/deep/a1", "/runs/deep/a0"]
    assert group.values["student_test"] == pytest.approx(statistics.fmean(TESTS))
    assert group.deviations["student_test"] == pytest.approx(statistics.stdev(TESTS))
    assert group.values["seeds_done"] == 3
    assert [child for child, _ in group.children] == list(group.rows)
    assert model.groups[1].deviations == {}
    assert model.total == 3
    model.group_seeds(grouped=False)
    assert names(model) == ["a0", "a1", "a2", "b", "c"]


def test_runs_of_equal_settings_in_two_folders_are_two_groups(
    model: CompareModel, script: Any, studio: Studio, do: Do
) -> None:
    add(script, "/runs/elsewhere/a9", digest="one")
    studio.list_runs()
    do(settled(studio))
    assert len(model.groups) == 4
    assert model.folders() == {"": 2, "deep": 3, "elsewhere": 1}
    model.show_folder("deep")
    assert names(model) == ["a2"]
    model.show_folder("")
    assert sorted(names(model)) == ["b", "c"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("student.hidden < 64", ["b", "c"]),
        ('student.hidden >= 32 and data == "digits"', ["a2", "b"]),
        ('tags ~ "paper"', ["c"]),
        ('not state == "finished"', []),
        ("student.hidden in [16, 32]", ["b", "c"]),
        ("PINWHEEL draft", ["c"]),
        ("odd", ["c"]),
        ("digits finished", ["a2", "b"]),
        ("  ", ["a2", "b", "c"]),
    ],
)
def test_a_filter_is_a_condition_if_it_compares_and_words_otherwise(
    model: CompareModel, text: str, found: list[str]
) -> None:
    model.sort_by("name", descending=False)
    model.filter_by(text)
    assert (names(model), model.problem) == (found, "")
    assert model.total == 3


def test_the_beginning_of_a_condition_filters_nothing_yet(model: CompareModel) -> None:
    every = [group.name for group in model.groups]
    for text in ("student.h", "student.hidden", "student.hidden ", "student.hidden <"):
        model.filter_by(text)
        assert [group.name for group in model.groups] == every, text
    model.filter_by("no such word")
    assert model.groups == []


def test_only_a_comparison_makes_a_condition() -> None:
    assert not any(map(is_condition, ("", "digits", "in the pool", "better or worse", "a-b")))
    assert all(map(is_condition, ("a<1", "a == 1", "a ~ 'b'", "a in [1]", "not a != 2")))


def test_a_wrong_filter_says_why_and_the_last_usable_one_stays(model: CompareModel) -> None:
    model.filter_by("student.hidden == 16")
    model.filter_by("student.hiden == 64")
    assert "do you mean student.hidden" in model.problem
    assert names(model) == ["c"]
    model.filter_by("student.hidden ==")
    assert model.problem
    model.filter_by('student.hidden < "a"')
    assert "cannot be ordered" in model.problem
    model.filter_by("")
    assert model.problem == ""
    assert len(names(model)) == 3


def test_groups_without_a_value_come_last_in_both_orders(model: CompareModel) -> None:
    for descending, found in ((False, ["a2", "b", "c"]), (True, ["b", "a2", "c"])):
        model.sort_by("student_test", descending=descending)
        assert names(model) == found


def test_known_values_are_sorted_without_empty_ones(model: CompareModel) -> None:
    assert model.known_values("student.hidden") == [16.0, 32.0, 64.0]
    assert model.known_values("tags") == ["paper draft"]
    assert model.known_values("nothing") == []


def test_chosen_groups_keep_their_colours_until_they_are_taken_out(model: CompareModel) -> None:
    told: list[int] = []
    model.chosen_changed.connect(lambda: told.append(1))
    for key in ("/runs/b", "/runs/deep/a2"):
        model.toggle(key)
    model.choose(["/runs/c", "/runs/deep/a2", "/runs/b"])
    assert [group.name for group in model.chosen_groups()] == ["b", "a2", "c"]
    assert [model.colour_of(key) for key in ("/runs/b", "/runs/deep/a2", "/runs/c")] == [0, 1, 2]
    model.toggle("/runs/b")
    assert model.colour_of("/runs/b") is None
    assert len(told) == 4
    model.filter_by("pinwheel")
    assert model.chosen == ["/runs/c"]  # what is not listed is not compared


def test_a_group_stays_chosen_when_it_gets_a_newer_run_and_when_it_is_renamed(
    model: CompareModel, studio: Studio, script: Any, do: Do
) -> None:
    model.choose(["/runs/b", "/runs/deep/a2"])
    add(script, "/runs/deep/a3", {}, 2.5, digest="one")
    studio.list_runs()
    do(settled(studio))
    assert model.chosen == ["/runs/b", "/runs/deep/a3"]
    group = model.group_of("/runs/deep/a3")
    assert group is not None
    assert group.values["student_test"] == pytest.approx(np.mean([*TESTS, 2.5]))
    view = script.views.pop("/runs/b")
    view.row = msgspec.structs.replace(view.row, run="/runs/new", name="new")
    script.views["/runs/new"] = view
    script.emit(RunRemoved(run="/runs/b", new="/runs/new"))
    do(settled(studio))
    assert model.chosen == ["/runs/new", "/runs/deep/a3"]


def test_a_changed_run_is_read_again_and_its_group_changes(
    model: CompareModel, studio: Studio, script: Any, do: Do
) -> None:
    script.asked.clear()
    script.runs.seeds["/runs/deep/a0"] = [SeedValues(seed=1, values={"student_test": 3.0})]
    row = msgspec.structs.replace(script.views["/runs/deep/a0"].row, tags=["new"])
    script.emit(RunChanged(run="/runs/deep/a0", row=row))
    do(settled(studio))
    assert [request.runs for request in script.asked if isinstance(request, ReadRunValues)] == [["/runs/deep/a0"]]
    [group] = [group for group in model.groups if len(group.rows) == 3]
    assert group.values["student_test"] == pytest.approx(np.mean([3.0, *TESTS[1:]]))
    assert group.rows[-1].tags == ["new"]
    before = {group.key: group for group in model.groups}
    studio.list_runs()  # equal rows: nothing is made anew
    do(settled(studio))
    assert {group.key: group for group in model.groups} == before


def test_a_run_that_changes_while_a_filter_hides_others_of_its_group_is_shown_as_it_is(
    model: CompareModel, studio: Studio, script: Any, do: Do
) -> None:
    model.filter_by("student_test < 2.5")
    assert [group.runs for group in model.groups] == [["/runs/deep/a1", "/runs/deep/a0"]]
    row = msgspec.structs.replace(script.views["/runs/deep/a1"].row, tags=["new"])
    script.emit(RunChanged(run="/runs/deep/a1", row=row))
    do(settled(studio))
    model.filter_by("")
    [group] = [group for group in model.groups if len(group.rows) == 3]
    assert group.rows[1].tags == ["new"]


def test_a_run_knows_the_run_in_whose_folder_its_teacher_is(
    model: CompareModel, studio: Studio, script: Any, do: Do
) -> None:
    weights = {"d": "/runs/b", "e": "/runs/deep/a0/seed-1/teacher.safetensors", "f": "/other/x", "g": "/runs/g/t"}
    for name, path in weights.items():
        add(script, f"/runs/{name}", {"training.teacher_weights": path}, digest=name)
    studio.list_runs()
    do(settled(studio))
    found = {name: model.teacher_run(f"/runs/{name}") for name in weights}
    assert {name: row.name if row else None for name, row in found.items()} == {
        "d": "b", "e": "a0", "f": None, "g": None,
    }  # fmt: skip
    model.filter_by('teacher_from == "a0"')
    assert names(model) == ["e"]


def test_values_that_a_lost_engine_did_not_send_are_read_from_the_next_one(
    model: CompareModel, studio: Studio, script: Any, do: Do, until: Do
) -> None:
    shown: list[ErrorInfo] = []
    studio.failed.connect(shown.append)
    client: Any = studio.clients[-1]  # type: ignore[attr-defined]
    client.slow = (ReadRunValues,)
    script.runs.values["/runs/b"] = {"student.hidden": 8.0}
    script.emit(RunChanged(run="/runs/b", row=msgspec.structs.replace(script.views["/runs/b"].row, note="x")))
    do(settled(studio))
    client.lose(ErrorInfo(title="The engine stopped", cause="killed"))

    async def again() -> None:
        studio.start()
        await until(studio.rows_changed)
        await settled(studio)

    do(again())
    model.filter_by("student.hidden == 8")
    assert names(model) == ["b"]
    assert {error.title for error in shown} == {"The engine stopped"}


def test_values_of_many_runs_are_read_in_parts(studio: Studio, script: Any, do: Do, until: Do) -> None:
    for number in range(1200):
        add(script, f"/runs/r{number:04}", {"student.hidden": float(number // 2)}, digest=str(number // 2))
    model = CompareModel(studio)

    async def start() -> None:
        studio.start()
        await until(studio.rows_changed)
        await until(model.groups_changed)
        assert len(model.groups) == 600  # before any value has arrived
        await settled(studio)

    do(start())
    parts = [len(request.runs) for request in script.asked if isinstance(request, ReadRunValues)]
    assert parts == [50] * 24
    model.filter_by("student.hidden >= 595")
    assert len(model.groups) == 5
    model.filter_by("")

    async def group(*, grouped: bool) -> None:
        model.group_seeds(grouped=grouped)
        while len(model.groups) != (600 if grouped else 1200):
            await until(model.groups_changed)

    for grouped in (False, True):
        do(group(grouped=grouped))
    assert {group.values["student.hidden"] for group in model.groups} == set(map(float, range(600)))


def test_what_the_user_chooses_while_runs_arrive_holds(studio: Studio, script: Any, do: Do, until: Do) -> None:
    for number in range(1200):
        add(script, f"/runs/r{number:04}", {"student.hidden": float(number % 7)}, digest=str(number), seeds=3)
    model, prepared = CompareModel(studio), list[int]()

    def prepare(groups: Any) -> Any:
        prepared.append(len(groups))
        model.sort_by("name", descending=False)  # as the user may, in the middle of the work
        yield

    model.preparations.append(prepare)

    async def start() -> None:
        studio.start()
        await until(studio.rows_changed)
        while not (prepared and model.groups and "student.hidden" in model.groups[-1].values):
            await until(model.groups_changed)
        await settled(studio)

    do(start())
    assert names(model) == [f"r{number:04}" for number in range(1200)]
    assert model.settings() == ["student.hidden"]
    model.filter_by("student.hidden == 3")
    assert {group.values["student.hidden"] for group in model.groups} == {3.0}


@pytest.mark.parametrize("end", ["values", "silence", "refusal", "loss", "no runs", "closed"])
def test_garbage_is_collected_again_however_the_loading_of_many_runs_ends(
    end: str, studio: Studio, script: Any, do: Do, until: Do, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nfkd_gui.model.compare._PATIENCE", 500)
    for number in range(1100):
        add(script, f"/runs/{number}", {"student.hidden": float(number)})
    model = CompareModel(studio)
    error = ErrorInfo(title="The folder does not answer", cause="The drive is gone.")

    async def scenario() -> None:
        studio.start()
        clients: Any = studio.clients  # type: ignore[attr-defined]
        while not clients:
            await until(studio.engine_changed)
        [client] = clients
        client.slow = (ReadRunValues,)
        await until(studio.rows_changed)
        assert not gc.isenabled()
        match end:
            case "values":
                client.slow = ()
                client.release()
            case "refusal":
                for _, refuse in client.waiting:
                    refuse(error)
            case "loss":
                client.lose(error)
            case "no runs":
                script.views.clear()
                studio.list_runs()
            case "closed":
                shiboken6.delete(model)
                assert gc.isenabled()

    do(scenario())
    qtbot.waitUntil(gc.isenabled)
    if end == "values":
        assert len(model.groups) == 1100
