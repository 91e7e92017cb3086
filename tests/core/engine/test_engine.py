"""The engine in this process: queue, pause, stop, and interactive requests that do not change a run."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import msgspec
import numpy as np
import pytest
import torch

import nfkd
from nfkd.engine.core import Refused
from nfkd.protocol import events, thinning
from nfkd.protocol import requests as ask
from nfkd.protocol.inspection import (
    CompareColumns,
    FlowStates,
    InspectSample,
    LayerStates,
    Origin,
    ReadLayers,
    ReadLikelihood,
    ReadPlane,
    ReadTable,
)
from nfkd.protocol.times import EstimateTime, TimeEstimate
from nfkd.protocol.view import RunView
from tests.core.engine.watched import Watched, refusal, run_engine
from tests.core.tiny import digits, moons
from tests.core.training.runs import assert_same

LONG = {"training": {"teacher_steps": 100_000, "student_steps": 100_000}}
FEW = {"training": {"teacher_steps": 2, "student_steps": 2, "baseline": False}}


@dataclass(frozen=True)
class EndedRun:
    """A run that an engine has executed, with its events, and its figures as they were read while it trained."""

    path: str
    events: list[events.Event]
    early: ask.Snapshot


@pytest.fixture(scope="module")
def ended_run(tmp_path_factory: pytest.TempPathFactory) -> EndedRun:
    found: list[EndedRun] = []

    async def scenario(watched: Watched) -> None:
        run = await watched.start(moons(), tmp_path_factory.mktemp("ended"))
        early = await watched.engine.answer(ask.ReadFigures(run=run))
        assert isinstance(early, ask.Snapshot)
        assert isinstance(await watched.ended(run), events.RunFinished)
        found.append(EndedRun(run, list(watched.seen), early))

    run_engine(scenario)
    return found[0]


def test_the_events_of_a_run_give_the_same_state_as_its_file(ended_run: EndedRun) -> None:
    async def scenario(watched: Watched) -> None:
        seen = [event for event in ended_run.events if isinstance(event, events.RunEvent)]
        view = RunView(seen[0].row, moons().to_toml())  # type: ignore[union-attr]
        for event in seen:
            view.apply(event)
        snapshot = await watched.engine.answer(ask.OpenRun(run=ended_run.path))
        assert isinstance(snapshot, ask.Snapshot)
        disk = RunView.from_snapshot(snapshot)
        assert disk.stages.keys() == view.stages.keys()
        for key, stage in disk.stages.items():
            for name, curve in stage.curves.items():
                np.testing.assert_array_equal(curve.values, view.stages[key].curves[name].values)
            np.testing.assert_allclose(stage.samples.samples, view.stages[key].samples.samples)  # type: ignore[union-attr]
        assert msgspec.structs.asdict(disk.row) == msgspec.structs.asdict(view.row)
        assert [line.text for line in disk.log] == [line.text for line in view.log]
        assert view.row.progress == 1.0

    run_engine(scenario)


def test_a_long_run_is_opened_with_fewer_points(ended_run: EndedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(watched: Watched) -> None:
        whole = await watched.engine.answer(ask.OpenRun(run=ended_run.path))
        monkeypatch.setattr(thinning, "POINTS", 2 * sum(len(stage.curves) for stage in whole.stages))  # type: ignore[union-attr]
        fewer = await watched.engine.answer(ask.OpenRun(run=ended_run.path))
        assert isinstance(whole, ask.Snapshot)
        assert isinstance(fewer, ask.Snapshot)
        assert whole.stride == 1
        assert fewer.stride > 1
        for stage, shorter in zip(whole.stages, fewer.stages, strict=True):
            for name, curve in stage.curves.items():
                assert len(shorter.curves[name].steps) <= 3
                assert set(shorter.curves[name].steps[-1:]) == set(curve.steps[-1:])
                assert set(shorter.curves[name].values) <= set(curve.values)

    run_engine(scenario)


def test_figures_of_a_run_are_read_without_curves_while_it_trains_and_afterwards(ended_run: EndedRun) -> None:
    async def scenario(watched: Watched) -> None:
        run = ended_run.path
        assert ended_run.early.config == moons().to_toml()
        figures, whole = [await watched.engine.answer(kind(run=run)) for kind in (ask.ReadFigures, ask.OpenRun)]
        assert isinstance(figures, ask.Snapshot)
        assert isinstance(whole, ask.Snapshot)
        assert [msgspec.json.encode(stage.summary) for stage in figures.stages] == [
            msgspec.json.encode(stage.summary) for stage in whole.stages
        ]
        assert len(figures.stages) == 3
        assert not any(stage.curves or stage.samples for stage in figures.stages)
        assert [line.text for line in figures.log] == [line.text for line in whole.log]
        assert msgspec.json.encode(figures.verdict) == msgspec.json.encode(whole.verdict)
        with h5py.File(Path(run, "run.h5")) as file:
            attribute: Any = file.attrs["versions"]
            stored = json.loads(bytes(attribute))
        assert figures.seeds[0].versions == stored
        assert stored["torch"] == torch.__version__

    run_engine(scenario)


def test_interactive_requests_do_not_change_a_run(tmp_path: Path) -> None:
    config = moons(training={"teacher_steps": 50, "student_steps": 40})

    async def scenario(watched: Watched) -> None:
        run = await watched.start(config, tmp_path)
        answered = 0
        for number in itertools.cycle(range(60)):
            if answered == 24:  # three of each kind
                break
            requests = (
                ask.Sample(run=run, seed=1, count=2, temperature=0.5 + number / 60, noise_seed=number),
                ask.Interpolate(run, 1, Origin("validation", number % 50), Origin("validation", 1), "spherical", 3),
                ReadLayers(run, seed=1, origin=Origin("validation", number % 50)),
                ReadPlane(run, seed=1, count=20, noise_seed=number),
                InspectSample(run, seed=1, origin=Origin("sample", number % 50)),
                ReadLikelihood(run, seed=1, count=40),
                ReadTable(run, seed=1, count=40, noise_seed=number),
                CompareColumns(run, seed=1, columns=[number % 2], count=40),
            )
            try:
                await watched.engine.answer(requests[number % len(requests)])
                answered += 1
            except Refused as refused:
                if refused.error.title not in {"There are no weights yet", "There is no teacher yet"}:
                    raise
        await watched.ended(run)

    run_engine(scenario)
    nfkd.run(config, tmp_path / "alone")
    assert_same(tmp_path / config.name, tmp_path / "alone", config)


def test_samples_use_the_live_weights(tmp_path: Path) -> None:
    async def scenario(watched: Watched) -> None:
        run = await watched.start(digits(**LONG), tmp_path)
        await watched.until(lambda event: isinstance(event, events.Progress) and event.step > 3)
        reply = await watched.engine.answer(ask.Sample(run=run, seed=1, count=4, temperature=0.7, noise_seed=3))
        assert isinstance(reply, ask.Samples)
        assert list(reply.samples) == ["teacher"]
        assert reply.samples["teacher"].shape == reply.real.shape == (4, 1, 8, 8)
        assert reply.samples["teacher"].min() >= 0
        assert reply.samples["teacher"].max() <= 1
        await watched.engine.answer(ask.Stop(run=run, scope="run"))
        await watched.ended(run)

    run_engine(scenario)


async def _trace_teacher(watched: Watched, run: str) -> FlowStates:
    reply = await watched.engine.answer(ReadLayers(run, seed=1, origin=Origin("validation", 0)))
    assert isinstance(reply, LayerStates)
    return reply.flows["teacher"]


def test_pause_then_stop_a_stage_then_stop_the_run(tmp_path: Path) -> None:
    async def scenario(watched: Watched) -> None:
        run = await watched.start(moons(**LONG), tmp_path)
        await watched.until(lambda event: isinstance(event, events.Progress) and event.step > 3)
        await watched.engine.answer(ask.Pause(run=run))
        await watched.state(run, "paused")
        trace = await _trace_teacher(watched, run)
        assert [layer.name for layer in trace.layers] == ["step1", "step2", "step3"]
        points = len([event for event in watched.seen if isinstance(event, events.CurvePoints)])
        again = await _trace_teacher(watched, run)
        assert again.log_prob == trace.log_prob  # the weights have not changed
        assert len([event for event in watched.seen if isinstance(event, events.CurvePoints)]) == points
        await watched.engine.answer(ask.Resume(run=run))
        await watched.engine.answer(ask.Stop(run=run, scope="stage"))
        await watched.until(lambda event: isinstance(event, events.StageStarted) and event.stage == "student")
        await watched.until(
            lambda event: isinstance(event, events.Progress) and event.stage == "student" and event.step > 3
        )
        await watched.engine.answer(ask.Stop(run=run, scope="run"))
        last = await watched.ended(run)
        assert isinstance(last, events.RunFinished)
        assert last.state == "stopped"

    run_engine(scenario)


def test_runs_are_queued_and_a_queued_run_can_be_stopped(tmp_path: Path) -> None:
    async def scenario(watched: Watched) -> None:
        first = await watched.start(moons(**LONG), tmp_path)
        second, third = [await watched.start(moons(**FEW), tmp_path) for _ in range(2)]
        assert len({first, second, third}) == 3
        status = await watched.engine.answer(ask.Status())
        assert isinstance(status, ask.EngineStatus)
        assert (status.active, status.queue.runs) == (first, [second, third])
        await watched.engine.answer(ask.Stop(run=second, scope="run"))
        await watched.state(second, "stopped")
        await watched.engine.answer(ask.Stop(run=first, scope="run"))
        await watched.ended(third)
        rows = await watched.engine.answer(ask.ListRuns(folder=str(tmp_path)))
        assert isinstance(rows, ask.RunList)
        assert {row.run: row.state for row in rows.rows} == {first: "stopped", second: "stopped", third: "finished"}

    run_engine(scenario)


def test_queued_runs_are_put_in_another_order_and_wait_while_the_queue_is_paused(tmp_path: Path) -> None:
    async def scenario(watched: Watched) -> None:
        first = await watched.start(moons(**LONG), tmp_path)
        second, third, fourth = [await watched.start(moons(**FEW), tmp_path) for _ in range(3)]
        await watched.engine.answer(ask.OrderQueue(runs=[fourth, "gone", third, fourth]))
        assert watched.queue.runs == [fourth, third, second]
        await watched.engine.answer(ask.PauseQueue(paused=True))
        await watched.engine.answer(ask.Stop(run=first, scope="run"))
        await watched.ended(first)
        status = await watched.engine.answer(ask.Status())
        assert isinstance(status, ask.EngineStatus)
        assert (status.queue.runs, status.queue.paused) == ([fourth, third, second], True)
        assert not watched.engine.idle
        await watched.engine.answer(ask.Stop(run=third, scope="run"))
        assert watched.queue.runs == [fourth, second]
        await watched.engine.answer(ask.PauseQueue(paused=False))
        await watched.ended(second)
        ends = [event.run for event in watched.seen if isinstance(event, events.RunFinished)]
        assert ends == [first, fourth, second]
        assert watched.queue.runs == []

    run_engine(scenario)


def test_the_expected_time_of_a_queued_run_is_known_once_it_was_measured(tmp_path: Path) -> None:
    async def scenario(watched: Watched) -> None:
        estimate = await watched.engine.answer(EstimateTime(config=moons().to_toml()))
        assert isinstance(estimate, TimeEstimate)
        first = await watched.start(moons(**LONG), tmp_path)
        second = await watched.start(moons(), tmp_path)
        third = await watched.start(moons(student={"hidden": 5}), tmp_path)
        known, unknown = watched.queue.seconds
        assert known == pytest.approx(estimate.seconds)
        assert math.isnan(unknown)
        for run in (third, second, first):
            await watched.engine.answer(ask.Stop(run=run, scope="run"))
        await watched.engine.wait_until_idle()

    run_engine(scenario)


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    config = moons(training={"teacher_steps": 60})

    async def scenario(watched: Watched) -> None:
        run = await watched.start(config, tmp_path)
        await watched.until(lambda event: isinstance(event, events.Progress) and event.step > 3)
        await watched.engine.answer(ask.Stop(run=run, scope="run"))
        await watched.ended(run)
        await watched.engine.wait_until_idle()
        watched.seen.clear()
        await watched.engine.answer(ask.ResumeFromDisk(run=run))
        assert isinstance(await watched.ended(run), events.RunFinished)
        started = next(event for event in watched.seen if isinstance(event, events.SeedStarted))
        assert started.resumed

    run_engine(scenario)
    nfkd.run(config, tmp_path / "alone")
    assert_same(tmp_path / config.name, tmp_path / "alone", config)


def test_an_ended_run_can_be_renamed_but_not_an_active_one(tmp_path: Path) -> None:
    async def scenario(watched: Watched) -> None:
        run = await watched.start(moons(**LONG), tmp_path)
        for request in (ask.RenameRun(run=run, name="x"), ask.ResumeFromDisk(run=run)):
            assert (await refusal(watched.engine, request)).error.action == "Stop it first."
        await watched.engine.answer(ask.Stop(run=run, scope="run"))
        await watched.ended(run)
        await watched.engine.wait_until_idle()
        reply = await watched.engine.answer(ask.RenameRun(run=run, name="a better name"))
        assert isinstance(reply, ask.RunAccepted)
        opened = await watched.engine.answer(ask.OpenRun(run=reply.run))
        assert isinstance(opened, ask.Snapshot)
        assert opened.row.name == "a better name"
        assert (await refusal(watched.engine, ask.OpenRun(run=run))).error.title == "This is not a run"

    run_engine(scenario)


def test_a_refusal_names_the_problem(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "file").write_text("")

    async def scenario(watched: Watched) -> None:
        broken = "[data]\nkind = 'digits'\n[teacher]\nkind = 'glow'\nlevels = 9\n"
        refused = await refusal(watched.engine, ask.Describe(config=broken))
        assert {problem.path for problem in refused.problems} == {"teacher.levels", "student"}
        misfit = digits(student={"levels": 1}).to_toml()
        description = await watched.engine.answer(ask.Describe(config=misfit))
        assert isinstance(description, ask.Description)
        assert [problem.path for problem in description.problems] == ["student.levels"]
        refused = await refusal(watched.engine, ask.Run(config=misfit, folder=str(tmp_path / "runs")))
        assert [problem.path for problem in refused.problems] == ["student.levels"]
        assert _names(tmp_path / "runs") == []
        refused = await refusal(watched.engine, ask.Run(config=moons().to_toml(), folder=str(tmp_path / "file")))
        assert refused.error.title == "The run cannot be created"
        for request in (
            ask.Pause(run="/nowhere"),
            ask.OpenRun(run="/nowhere"),
            ask.Sample(run="/nowhere", seed=1, count=1, temperature=1.0),
        ):
            refused = await refusal(watched.engine, request)
            assert refused.error.title
            assert refused.error.cause

    run_engine(scenario)


def test_an_example_index_out_of_range_is_refused(ended_run: EndedRun) -> None:
    async def scenario(watched: Watched) -> None:
        request = ask.Interpolate(ended_run.path, 1, Origin("validation", 0), Origin("validation", 60), "linear", 3)
        refused = await refusal(watched.engine, request)
        assert "60" in refused.error.cause
        assert "0 to 59" in refused.error.action

    run_engine(scenario)


def test_a_description_matches_the_built_flow() -> None:
    async def scenario(watched: Watched) -> None:
        config = digits()
        description = await watched.engine.answer(ask.Describe(config=config.to_toml()))
        assert isinstance(description, ask.Description)
        assert description.problems == []
        flow = nfkd.build_flow(config.student, (1, 8, 8))
        assert description.student is not None
        assert description.student.parameters == sum(parameter.numel() for parameter in flow.parameters())
        assert [layer.name for layer in description.student.layers] == list(flow.trace(_zeros()))
        assert [pair.summary for pair in description.pairs] == [
            "student level 1 step 1 ↔ teacher level 1 step 2",
            "student level 2 step 1 ↔ teacher level 2 step 2",
        ]

    run_engine(scenario)


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def _zeros():
    import torch

    return torch.zeros(1, 1, 8, 8)


def test_shutdown_stops_the_run_and_keeps_its_checkpoint(tmp_path: Path) -> None:
    async def scenario(watched: Watched) -> None:
        run = await watched.start(moons(**LONG), tmp_path)
        await watched.start(moons(), tmp_path)
        await watched.until(lambda event: isinstance(event, events.Progress) and event.step > 3)
        await watched.engine.answer(ask.Shutdown())
        assert "checkpoint.safetensors" in _names(Path(run))

    run_engine(scenario)
