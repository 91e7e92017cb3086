"""Runs of other processes: their rows, their events, and folders that do not answer."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import psutil
import pytest

import nfkd
from nfkd.engine.limits import Limits
from nfkd.protocol import events
from nfkd.protocol import requests as ask
from nfkd.protocol.view import RunView
from nfkd.runs.layout import create_run_at
from nfkd.runs.log import append_log
from tests.core.engine.watched import Watched, refusal, run_engine
from tests.core.tiny import digits, moons

LIMITS = Limits(watch_seconds=0.02, overtake_seconds=0.05, close_seconds=0.05)
LONG = {"training": {"teacher_steps": 100_000, "student_steps": 100_000}}


@contextmanager
def training(run: Path, config: nfkd.ExperimentConfig | None) -> Iterator[subprocess.Popen[bytes]]:
    """Run an experiment with ``nfkd run`` in a process of its own; None resumes the run. Kill it at the end."""
    experiment = run / "experiment.toml"
    if config is not None:
        experiment = run.parent.parent / "experiment.toml"
        config.save(experiment)
    command = [sys.executable, "-m", "nfkd", "run", str(experiment), "--out", str(run)]
    more = [] if config is not None else ["--resume"]
    with subprocess.Popen([*command, *more], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


def new_run(path: Path) -> None:
    create_run_at(path, moons(), teacher="", student="")


def set_state(run: Path, row: dict[str, Any], **changes: Any) -> None:
    """Replace the state file, as the process of the run does."""
    content = json.loads((run / "state.json").read_text())
    content = content | changes | {"row": content["row"] | row}
    (run / "state.new").write_text(json.dumps(content))
    (run / "state.new").replace(run / "state.json")


class Client:
    """The state of one run, as a client of the engine has it; opened again after a gap."""

    def __init__(self, watched: Watched, run: Path) -> None:
        self._watched, self._run = watched, str(run)
        self._opening: asyncio.Task[RunView] | None = None
        self.view: RunView | None = None
        watched.engine.subscribe(self._apply)

    def _apply(self, event: events.Event) -> None:
        if isinstance(event, events.Gap):
            self._opening = asyncio.ensure_future(self.open())
        elif self.view is not None and getattr(event, "run", "") == self._run:
            self.view.apply(event)  # type: ignore[arg-type]

    async def open(self) -> RunView:
        snapshot = await self._watched.engine.answer(ask.OpenRun(run=self._run))
        assert isinstance(snapshot, ask.Snapshot)
        self.view = RunView.from_snapshot(snapshot)
        return self.view


async def listed(watched: Watched, folder: Path) -> dict[str, events.RunRow]:
    reply = await watched.engine.answer(ask.ListRuns(folder=str(folder)))
    assert isinstance(reply, ask.RunList)
    return {row.name: row for row in reply.rows}


async def changed(watched: Watched, run: Path, found: Callable[[events.RunRow], bool]) -> None:
    await watched.until(
        lambda event: isinstance(event, events.RunChanged) and event.run == str(run) and found(event.row)
    )


async def removed(watched: Watched, run: Path) -> None:
    await watched.until(lambda event: isinstance(event, events.RunRemoved) and event.run == str(run))


async def pointed(watched: Watched, stage: str) -> None:
    await watched.until(lambda event: isinstance(event, events.CurvePoints) and event.stage == stage)


def assert_equals_files(view: RunView, run: Path, seeds: dict[int, Path]) -> None:
    """Compare a view with the files of an ended run, read without this project's reader."""
    assert list(view.seeds) == list(seeds)
    for seed, directory in seeds.items():
        with h5py.File(directory / "run.h5") as opened:
            file: Any = opened
            stages = [stage for stage in file if stage != "summary" and len(file[stage]["curves/train/nll/step"])]
            assert {stage for number, stage in view.stages if number == seed} == set(stages)
            for stage in stages:
                _assert_stage(view, seed, stage, file[stage])
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert [line.text for line in view.log] == [line["text"] for line in lines]
    row = json.loads((run / "state.json").read_text())["row"]
    assert "elsewhere" not in row
    assert not view.row.elsewhere
    assert row.pop("type") == "RunRow"
    assert {name: getattr(view.row, name) for name in row} == row | {"run": str(run)}


def _assert_stage(view: RunView, seed: int, stage: str, group: Any) -> None:
    seen = view.stages[seed, stage]  # type: ignore[index]
    for name, curve in seen.curves.items():
        for key, values in (("step", curve.steps), ("value", curve.values), ("time", curve.times)):
            np.testing.assert_array_equal(values, group[f"curves/{name}/{key}"][...])
    if "matching" in group:
        np.testing.assert_array_equal(seen.matching_steps, group["matching/step"][...])
    pictures = group["final/samples"] if len(group["final/samples/step"]) else group["samples"]
    assert seen.samples is not None
    assert seen.samples.step == pictures["step"][-1]
    np.testing.assert_array_equal(seen.samples.samples, pictures["images"][-1])


def test_a_run_of_another_process_appears_and_is_shown_live(tmp_path: Path) -> None:
    folder, config = tmp_path / "runs", moons(seeds={"count": 2})
    run = folder / "other"

    async def scenario(watched: Watched) -> None:
        client = Client(watched, run)
        assert await listed(watched, folder) == {}
        with training(run, config) as process:
            await changed(watched, run, lambda row: row.elsewhere)
            view = await client.open()
            assert view.row.elsewhere
            assert view.row.state in {"queued", "running"}
            end = await watched.ended(str(run))
            assert process.wait(60) == 0
        assert isinstance(end, events.RunFinished)
        assert end.verdict is not None
        assert end.verdict.summary == json.loads((run / "verdict.json").read_text())["words"]
        assert view.row.state == "finished"
        assert {key for key, stage in view.stages.items() if stage.summary is not None} == view.stages.keys()
        assert_equals_files(view, run, {seed: run / f"seed-{seed}" for seed in (1, 2)})
        rows = [event.row for event in watched.seen if isinstance(event, events.RunChanged)]
        assert {row.seeds_done for row in rows} >= {0, 2}
        assert sum(isinstance(event, events.RunFinished) for event in watched.seen) == 1

    run_engine(scenario, LIMITS)


async def assert_cannot_be_controlled(watched: Watched, run: Path, process: subprocess.Popen[bytes]) -> None:
    """Check that all requests that would change the run of another process are refused."""
    path = str(run)
    for request in (
        ask.Pause(run=path),
        ask.Resume(run=path),
        ask.Stop(run=path, scope="run"),
        ask.Stop(run=path, scope="stage"),
        ask.ResumeFromDisk(run=path),
    ):
        error = (await refusal(watched.engine, request)).error
        assert error.title == "The run belongs to another process"
        assert error.cause == f"Process {process.pid} trains other."
        assert "Ctrl-C" in error.action
    assert (await refusal(watched.engine, ask.RenameRun(run=path, name="x"))).error.action == "Stop it first."
    assert process.poll() is None


def test_a_run_of_another_process_cannot_be_controlled_and_is_interrupted_resumed_and_removed(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "other"

    async def scenario(watched: Watched) -> None:
        client = Client(watched, run)
        await listed(watched, run.parent)
        with training(run, moons(**LONG)) as process:
            await changed(watched, run, lambda row: row.state == "running")
            await client.open()
            await pointed(watched, "teacher")
            await assert_cannot_be_controlled(watched, run, process)
            process.kill()
            process.wait()
            await changed(watched, run, lambda row: row.state == "interrupted" and "Resume" in row.cause)
        watched.seen.clear()
        with training(run, None) as process:  # the file is replaced by a copy up to the checkpoint
            await watched.until(lambda event: isinstance(event, events.Gap))
            await pointed(watched, "teacher")
            process.send_signal(signal.SIGINT)
            end = await watched.ended(str(run))
            process.wait(60)
        assert isinstance(end, events.RunFinished)
        assert end.state == "stopped"
        assert client.view is not None
        assert client.view.row.state == "stopped"
        assert_equals_files(client.view, run, {1: run})
        shutil.rmtree(run)
        await removed(watched, run)
        assert await listed(watched, run.parent) == {}

    run_engine(scenario, LIMITS)


def test_a_run_that_fails_in_another_process_reports_its_error_once(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "other"
    new_run(run)
    parent = psutil.Process(os.getppid())
    set_state(run, {"state": "running"}, pid=parent.pid, born=parent.create_time())
    error = {"type": "ErrorInfo", "title": "Out of memory", "cause": "Too little memory."}

    async def scenario(watched: Watched) -> None:
        client = Client(watched, run)
        await listed(watched, run.parent)
        assert (await client.open()).row.elsewhere
        for text in ("one", "two"):
            append_log(run, events.LogLine(run="/an/older/name", level="info", text=text, time=1.0))
            await watched.until(lambda event, text=text: isinstance(event, events.LogLine) and event.text == text)
        set_state(run, {"state": "failed"}, error=error)
        last = await watched.ended(str(run))
        assert isinstance(last, events.RunFailed)
        assert (last.error.title, last.error.cause) == ("Out of memory", "Too little memory.")
        new_run(run.parent / "later")
        await changed(watched, run.parent / "later", lambda row: row.state == "queued")
        assert client.view is not None
        assert client.view.error is last.error
        assert [(line.run, line.text) for line in client.view.log] == [(str(run), "one"), (str(run), "two")]
        failed = [event for event in watched.seen if isinstance(event, events.RunFailed)]
        assert len(failed) == 1

    run_engine(scenario, LIMITS)


# --- folders ----------------------------------------------------------------------------------------------------------


def test_a_removed_folder_and_one_that_is_made_again(tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    new_run(folder / "a")

    async def scenario(watched: Watched) -> None:
        assert list(await listed(watched, folder)) == ["a"]
        folder.rename(tmp_path / "elsewhere")
        await removed(watched, folder / "a")
        (tmp_path / "elsewhere").rename(folder)
        await changed(watched, folder / "a", lambda row: row.name == "a")

    run_engine(scenario, LIMITS)


def test_rows_stay_while_their_folder_cannot_be_read(tmp_path: Path) -> None:
    folder, moved = tmp_path / "runs", tmp_path / "moved"
    new_run(folder / "a")
    new_run(tmp_path / "second" / "x")

    async def scenario(watched: Watched) -> None:
        await listed(watched, folder)
        await listed(watched, tmp_path / "second")
        folder.rename(moved)
        folder.write_text("not a folder")
        for name in ("y", "z"):  # several scans
            new_run(tmp_path / "second" / name)
            await changed(watched, tmp_path / "second" / name, lambda row: row.state == "queued")
        folder.unlink()
        new_run(moved / "b")
        moved.rename(folder)
        await changed(watched, folder / "b", lambda row: row.state == "queued")
        gone = [event for event in watched.seen if isinstance(event, events.RunRemoved)]
        assert len(gone) <= 1  # a scan may have come between the first two lines

    run_engine(scenario, LIMITS)


def test_a_folder_that_does_not_answer_delays_no_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hanging, fine = tmp_path / "hanging", tmp_path / "fine"
    new_run(hanging / "a")
    new_run(fine / "a")
    hung, released = threading.Semaphore(0), threading.Event()
    list_directory = os.scandir

    def scandir(path: Any = ".") -> Any:
        if path == str(hanging):  # as text: by a scan
            hung.release()
            assert released.wait(60)
        return list_directory(path)

    async def scenario(watched: Watched) -> None:
        await listed(watched, hanging)
        monkeypatch.setattr(os, "scandir", scandir)
        await asyncio.to_thread(hung.acquire)
        for _ in range(20):
            assert list(await listed(watched, fine)) == ["a"]
        assert isinstance(await watched.engine.answer(ask.Describe(config=digits().to_toml())), ask.Description)
        new_run(fine / "b")
        await changed(watched, fine / "b", lambda row: row.name == "b")
        assert watched.engine.running.count(str(hanging)) == 1  # one thread, however long it takes
        new_run(hanging / "b")
        released.set()
        await changed(watched, hanging / "b", lambda row: row.name == "b")

    run_engine(scenario, LIMITS)


def test_events_of_the_engines_own_runs_come_once(tmp_path: Path) -> None:
    async def scenario(watched: Watched) -> None:
        await listed(watched, tmp_path)
        run = await watched.start(moons(), tmp_path)
        await watched.ended(run)
        await watched.engine.wait_until_idle()
        new_run(tmp_path / "later")
        await changed(watched, tmp_path / "later", lambda row: row.name == "later")  # a scan after the end
        states = [event.row.state for event in watched.seen if isinstance(event, events.RunChanged)]
        assert states.index("finished") == len(states) - 2
        assert not any(event.row.elsewhere for event in watched.seen if isinstance(event, events.RunChanged))

    run_engine(scenario, LIMITS)
