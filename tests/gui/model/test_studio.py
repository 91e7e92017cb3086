"""The studio's state: requests, runs, seeds, a lost engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from nfkd.config import ExperimentConfig
from nfkd.protocol.comparing import TrashRuns
from nfkd.protocol.events import ErrorInfo, Gap, RunChanged, RunRemoved, StageStarted
from nfkd.protocol.requests import ListPictures, ListRuns, OpenRun, Sample, Status, Stop
from nfkd.protocol.view import RunView
from nfkd_gui.model.studio import Studio
from tests.gui.scripted_engine import row_of

DIGITS = ExperimentConfig.load("digits").to_toml()
Do = Callable[[Any], Any]


async def settled(studio: Studio) -> None:
    """Wait until the engine has answered everything and Qt has no events left."""
    await studio.clients[-1].settled()  # type: ignore[attr-defined]


def test_start_connects_and_lists_the_runs(ready: Studio, script: Any) -> None:
    assert ready.ready
    assert ready.engine.status is not None
    assert ready.engine.status.device == "cpu"
    assert [type(request) for request in script.asked[:2]] == [Status, ListRuns]
    assert script.asked[1].folder == "/runs"


def test_run_shows_the_new_run_and_its_events(ready: Studio, script: Any, do: Do) -> None:
    async def scenario() -> None:
        ready.run(DIGITS)
        await settled(ready)
        assert ready.view is not None
        assert ready.view.row.run == "/runs/digits"
        for step in range(5):
            script.train("/runs/digits", "teacher", step)
        curve = ready.view.stages[1, "teacher"].curves["train/total"]
        assert curve.steps.tolist() == [0, 1, 2, 3, 4]
        assert ready.controlled is not None
        assert ready.progress["/runs/digits"].step == 4

    do(scenario())


def test_an_active_run_is_shown_at_start(studio: Studio, script: Any, do: Do, until: Callable[[Any], Any]) -> None:
    script.begin("/runs/digits", DIGITS)
    script.train("/runs/digits", "teacher", 7)

    async def scenario() -> None:
        studio.start()
        await until(studio.view_changed)
        assert studio.view is not None
        assert studio.view.stages[1, "teacher"].curves["train/total"].steps.tolist() == [7]

    do(scenario())


def live_run(studio: Studio) -> str:
    assert studio.controlled is not None
    return studio.controlled.run


def test_pause_resume_and_stop_act_on_the_live_run(ready: Studio, script: Any, do: Do) -> None:
    async def scenario() -> None:
        ready.run(DIGITS)
        await settled(ready)
        for act, state in (
            (ready.pause, "paused"),
            (ready.resume, "running"),
            (lambda: ready.stop(live_run(ready), 1, "teacher", "run"), "stopped"),
        ):
            act()
            await settled(ready)
            assert ready.view is not None
            assert ready.view.row.state == state
        assert ready.controlled is None

    do(scenario())


def test_the_stage_that_the_user_confirmed_is_ended_and_no_other(ready: Studio, script: Any, do: Do) -> None:
    async def scenario() -> None:
        script.begin("/runs/digits", DIGITS, seeds=2)
        script.begin_seed("/runs/digits", 2)
        script.train("/runs/digits", "student", 3, seed=2)
        for seed, stage, sent in ((1, "student", 0), (2, "teacher", 0), (2, "student", 1)):
            ready.stop("/runs/digits", seed, stage, "stage")
            await settled(ready)
            assert sum(isinstance(request, Stop) for request in script.asked) == sent

    do(scenario())


def test_only_the_newest_waiting_request_of_a_key_is_sent(ready: Studio, script: Any, do: Do) -> None:
    async def scenario() -> None:
        client = ready.clients[0]  # type: ignore[attr-defined]
        client.held = []
        answered: list[str] = []
        for folder in "abcd":
            ready.ask(
                ListRuns(folder=folder),
                lambda reply: answered.append(reply.folder),  # type: ignore[union-attr]
                lambda error: pytest.fail(error.cause),
                key="k",
            )
        client.release()
        await settled(ready)
        assert answered == ["a", "d"]  # the first was already sent; b and c were replaced

    do(scenario())


def test_a_reply_about_an_outdated_run_is_dropped(ready: Studio, do: Do) -> None:
    async def scenario() -> None:
        client = ready.clients[0]  # type: ignore[attr-defined]
        client.held = []
        failures: list[str] = []
        for run in ("one", "two"):
            request = Sample(run=run, seed=1, count=1, temperature=1.0)
            ready.ask(request, lambda _reply: None, lambda _error, run=run: failures.append(run), key="samples")
        client.release()
        await settled(ready)
        assert failures == ["two"]

    do(scenario())


def test_the_seed_follows_training_until_one_is_chosen(ready: Studio, script: Any, do: Do) -> None:
    async def scenario() -> None:
        run = "/runs/three"
        script.begin(run, DIGITS, seeds=3)
        ready.open_run(run)
        await settled(ready)
        script.begin_seed(run, 2)
        assert ready.seed == 2
        ready.choose_seed(1)
        script.begin_seed(run, 3)
        assert ready.seed == 1
        ready.choose_seed(None)
        assert ready.seed == 3

    do(scenario())


def test_a_gap_requests_a_snapshot(ready: Studio, script: Any, do: Do) -> None:
    async def scenario() -> None:
        ready.run(DIGITS)
        await settled(ready)
        script.views["/runs/digits"].apply(StageStarted(run="/runs/digits", seed=1, stage="student"))
        script.asked.clear()
        script.emit(Gap())
        await settled(ready)
        assert [type(request) for request in script.asked] == [ListRuns, OpenRun, ListPictures]
        assert ready.view is not None
        assert (1, "student") in ready.view.stages

    do(scenario())


def test_after_a_lost_engine_start_reconnects_and_shows_the_run(
    ready: Studio, script: Any, do: Do, until: Callable[[Any], Any]
) -> None:
    async def scenario() -> None:
        ready.run(DIGITS)
        await settled(ready)
        reported: list[ErrorInfo] = []
        ready.failed.connect(reported.append)
        error = ErrorInfo(title="The engine has stopped", cause="Killed")
        ready.clients[0].lose(error)  # type: ignore[attr-defined]
        assert (ready.engine.phase, ready.engine.error, reported) == ("lost", error, [error])
        script.set_state("/runs/digits", "interrupted")
        script.active = ""
        ready.start()
        await until(ready.view_changed)
        assert ready.ready
        assert ready.view is not None
        assert ready.view.row.state == "interrupted"
        assert len(ready.clients) == 2  # type: ignore[attr-defined]

    do(scenario())


def test_a_restarted_engine_describes_the_experiment(ready: Studio, do: Do, until: Callable[[Any], Any]) -> None:
    async def scenario() -> None:
        client = ready.clients[0]  # type: ignore[attr-defined]
        client.held = []
        ready.experiment.open("two_moons")
        ready.experiment.describe()
        error = ErrorInfo(title="The engine has stopped", cause="Killed")
        client.lose(error)
        ready.experiment.error = error  # as after a failed request
        ready.start()
        await until(ready.engine_changed)
        assert ready.engine.phase == "starting"
        assert ready.experiment.error is None
        while ready.experiment.description is None:
            await until(ready.experiment.checked)

    do(scenario())


def test_renamed_and_removed_runs(ready: Studio, do: Do) -> None:
    async def scenario() -> None:
        ready.run(DIGITS)
        await settled(ready)
        ready.stop(live_run(ready), 1, "teacher", "run")
        await settled(ready)
        ready.rename_run("/runs/digits", "other")
        await settled(ready)
        assert list(ready.rows) == ["/runs/other"]
        assert ready.view is not None
        assert ready.view.row.run == "/runs/other"
        ready.ask(TrashRuns(folder="/runs", runs=["/runs/other"]), lambda _reply: None, ready.failed.emit)
        await settled(ready)
        assert ready.rows == {}
        assert ready.view is None

    do(scenario())


def test_run_the_open_experiment(ready: Studio, script: Any, do: Do) -> None:
    async def scenario() -> None:
        ready.experiment.open("two_moons")
        ready.run_experiment()
        await settled(ready)
        assert ready.view is not None
        assert ExperimentConfig.from_toml(ready.view.config) == ExperimentConfig.load("two_moons")

    do(scenario())


# --- runs of other processes ------------------------------------------------------------------------------------------


def change(script: Any, run: str, state: str, **fields: Any) -> None:
    """Send a row of a run that the script itself does not know."""
    script.emit(RunChanged(run=run, row=row_of(run, state, **fields)))


def test_a_run_of_another_process_is_listed_but_not_controlled(ready: Studio, script: Any, do: Do) -> None:
    reset: list[None] = []
    ready.rows_changed.connect(lambda: reset.append(None))
    change(script, "/runs/other", "running", elsewhere=True)
    assert ready.rows["/runs/other"].state == "running"
    assert len(reset) == 1
    assert ready.controlled is None
    script.asked.clear()
    ready.pause()
    ready.resume()
    do(settled(ready))
    assert script.asked == []
    change(script, "/runs/other", "finished", progress=1.0)
    assert ready.rows["/runs/other"].progress == 1.0
    assert ready.controlled is None


def test_a_run_that_appears_in_a_sub_folder_is_listed_and_one_elsewhere_is_not(ready: Studio, script: Any) -> None:
    for run in ("/runs/digits/two/new", "/other/new"):
        change(script, run, "finished")
    assert list(ready.rows) == ["/runs/digits/two/new"]


def test_a_run_of_another_process_is_shown_live(ready: Studio, script: Any, do: Do) -> None:
    async def scenario() -> None:
        script.begin("/runs/other", DIGITS)
        script.active = ""
        script.set_state("/runs/other", "running", elsewhere=True)
        ready.open_run("/runs/other")
        await settled(ready)
        assert ready.view is not None
        script.train("/runs/other", "teacher", 3)
        assert ready.view.stages[1, "teacher"].curves["train/total"].steps.tolist() == [3]
        assert ready.controlled is None
        assert not ready.ends_with_connection
        script.set_state("/runs/other", "finished", elsewhere=False)
        assert ready.view.row.state == "finished"
        assert ready.controlled is None

    do(scenario())


def test_the_engines_own_run_is_controlled_beside_one_of_another_process(ready: Studio, script: Any, do: Do) -> None:
    async def scenario() -> None:
        change(script, "/runs/other", "running", elsewhere=True)
        ready.run(DIGITS)
        await settled(ready)
        assert live_run(ready) == "/runs/digits"
        script.views["/runs/other"] = RunView(row_of("/runs/other", "running", elsewhere=True), DIGITS)
        ready.open_run("/runs/other")
        await settled(ready)
        assert live_run(ready) == "/runs/digits"

    do(scenario())


def test_a_started_run_is_shown_although_one_of_another_process_is_watched(ready: Studio, script: Any, do: Do) -> None:
    async def scenario() -> None:
        script.views["/runs/other"] = RunView(row_of("/runs/other", "running", elsewhere=True), DIGITS)
        ready.open_run("/runs/other")
        await settled(ready)
        messages: list[str] = []
        shown: list[bool] = []
        ready.message.connect(messages.append)
        ready.accepted.connect(shown.append)
        ready.run(DIGITS)
        await settled(ready)
        assert ready.view is not None
        assert (ready.view.row.run, shown, messages) == ("/runs/digits", [True], [])

    do(scenario())


def test_rows_of_another_clients_folder_are_not_added(ready: Studio, script: Any) -> None:
    for state in ("running", "finished"):
        change(script, "/elsewhere/other", state, elsewhere=state == "running")
    assert ready.rows == {}
    change(script, "/elsewhere/own", "running")  # the engine trains it: the buttons control it
    assert live_run(ready) == "/elsewhere/own"


def test_a_removed_run_of_another_process_leaves_the_table(ready: Studio, script: Any, do: Do) -> None:
    change(script, "/runs/other", "running", elsewhere=True)
    script.emit(RunRemoved(run="/runs/other"))
    do(settled(ready))
    assert ready.rows == {}


def test_a_vanished_run_of_another_process_is_not_kept_by_a_refresh(ready: Studio, script: Any, do: Do) -> None:
    change(script, "/runs/other", "running", elsewhere=True)
    ready.list_runs()
    do(settled(ready))
    assert ready.rows == {}
