"""Requests about flows in the engine: the numbers of `nfkd.inspect`, progress, cancelling and limits."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from threading import Event

import numpy as np
import pytest

import nfkd
from nfkd.engine.core import Refused
from nfkd.engine.limits import Limits
from nfkd.inspect.opened import RunCache, open_run
from nfkd.inspect.work import Work
from nfkd.protocol import requests as ask
from nfkd.protocol.codec import to_wire
from nfkd.protocol.events import InspectionProgress, Progress
from nfkd.protocol.inspection import (
    CancelInspection,
    CompareColumns,
    InspectionReply,
    InspectionRequest,
    InspectSample,
    LikelihoodReport,
    Origin,
    ReadLayers,
    ReadLikelihood,
    ReadPlane,
    ReadTable,
    TableRows,
)
from nfkd.runs.errors import RunError
from nfkd.training.control import LiveWeights
from tests.core.engine.watched import Watched, refusal, run_engine
from tests.core.tiny import moons


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "run"
    nfkd.run(moons(training={"teacher_steps": 3, "student_steps": 3}), path)
    return path


def test_replies_are_those_of_the_public_module(run: Path) -> None:
    origin, text = Origin("sample", 3, noise_seed=2), str(run)
    requests: list[tuple[InspectionRequest, InspectionReply]] = [
        (ReadLayers(text, seed=1, origin=origin), nfkd.inspect.layers(run, origin)),
        (ReadPlane(text, seed=1, count=30, grid="data"), nfkd.inspect.plane(run, count=30, grid="data")),
        (InspectSample(text, seed=1, origin=origin), nfkd.inspect.sample(run, origin)),
        (ReadLikelihood(text, seed=1, count=50), nfkd.inspect.likelihood(run, count=50)),
        (ReadTable(text, seed=1, count=40, noise_seed=1), nfkd.inspect.table(run, count=40, noise_seed=1)),
        (CompareColumns(text, seed=1, columns=[1], count=40), nfkd.inspect.column_tests(run, [1], count=40)),
    ]

    async def scenario(watched: Watched) -> None:
        for request, expected in requests:
            reply = await watched.engine.answer(request)
            assert to_wire(ask.Answer(id=1, reply=reply)) == to_wire(ask.Answer(id=1, reply=expected))

    run_engine(scenario)


def test_a_cancelled_request_is_refused_and_others_are_not(run: Path) -> None:
    async def scenario(watched: Watched) -> None:
        first = asyncio.create_task(watched.engine.answer(ReadLikelihood(str(run), seed=1, ticket="a")))
        other = asyncio.create_task(watched.engine.answer(ReadTable(str(run), seed=1, ticket="b")))
        await asyncio.sleep(0)
        await watched.engine.answer(CancelInspection(ticket="a"))
        with pytest.raises(Refused, match="was cancelled"):
            await first
        assert isinstance(await other, TableRows)
        await watched.engine.answer(CancelInspection(ticket="a"))  # it has ended: nothing happens
        again = await watched.engine.answer(ReadLikelihood(str(run), seed=1, ticket="a"))
        assert isinstance(again, LikelihoodReport)

    run_engine(scenario)


def test_a_newer_request_with_the_same_ticket_replaces_the_older_one(run: Path) -> None:
    async def scenario(watched: Watched) -> None:
        older = asyncio.create_task(watched.engine.answer(ReadLikelihood(str(run), seed=1, count=10, ticket="a")))
        await asyncio.sleep(0)
        newer = await watched.engine.answer(ReadLikelihood(str(run), seed=1, count=20, ticket="a"))
        with pytest.raises(Refused, match="was cancelled"):
            await older
        assert len(newer.log_prob["teacher"]["test"]) == 20  # type: ignore[union-attr]

    run_engine(scenario)


def test_a_request_that_takes_too_long_is_refused(run: Path) -> None:
    async def scenario(watched: Watched) -> None:
        refused = await refusal(watched.engine, ReadLikelihood(str(run), seed=1))
        assert refused.error.title == "The request takes too long"
        assert refused.error.action

    run_engine(scenario, Limits(inspect_seconds=0.0))


def test_work_reports_its_share_and_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    shares: list[float] = []
    work = Work(limit=10, on_progress=shares.append)
    second = work.part(0.5, 1.0)
    for _ in second.batches(4, 1):
        now += 1.0
    np.testing.assert_allclose(shares, [0.625, 0.75, 0.875])
    now = 11.0
    with pytest.raises(RunError, match="too long"):
        second.check()
    work.start()
    second.check()
    work.cancel()
    with pytest.raises(RunError, match="cancelled"):
        second.check(0.1)


def test_progress_reaches_the_clients(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nfkd.inspect.work._REPORT_SECONDS", 0.0)

    async def scenario(watched: Watched) -> None:
        await watched.engine.answer(ReadLikelihood(str(run), seed=1, ticket="t"))
        shares = [event.share for event in watched.seen if isinstance(event, InspectionProgress)]
        assert shares == sorted(shares)
        assert shares
        assert 0 <= min(shares) <= max(shares) < 1
        await watched.engine.answer(ReadLikelihood(str(run), seed=1, count=7))
        assert all(event.ticket == "t" for event in watched.seen if isinstance(event, InspectionProgress))

    run_engine(scenario)


def test_a_live_flow_takes_the_weights_of_each_step(run: Path) -> None:
    cache, flow = RunCache(), open_run(run).flows["teacher"]
    weights = {name: value.clone() for name, value in flow.state_dict().items()}
    first = cache.open(run, 1, LiveWeights(1, "teacher", 5, weights))
    known = first.split_log_prob("teacher", "test", 20)
    changed = {name: 0.9 * value if value.is_floating_point() else value for name, value in weights.items()}
    second = cache.open(run, 1, LiveWeights(1, "teacher", 6, changed))
    assert second.flows["teacher"] is first.flows["teacher"], "one copy for all steps"
    again = second.split_log_prob("teacher", "test", 20)
    assert not np.allclose(again, known)
    back = cache.open(run, 1, LiveWeights(1, "teacher", 7, weights))
    np.testing.assert_array_equal(back.split_log_prob("teacher", "test", 20), known)


def test_a_long_request_delays_neither_pause_nor_quick_requests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, let_go = Event(), Event()

    def stuck(**_: object) -> None:
        entered.set()
        let_go.wait(60)

    monkeypatch.setattr("nfkd.inspect.log_probs.Extremes", stuck)

    async def scenario(watched: Watched) -> None:
        path = await watched.start(moons(training={"teacher_steps": 100_000, "student_steps": 10}), tmp_path)
        await watched.until(lambda event: isinstance(event, Progress) and event.step > 3)
        long = asyncio.create_task(watched.engine.answer(ReadLikelihood(path, seed=1, ticket="long")))
        await asyncio.to_thread(entered.wait, 60)
        await watched.engine.answer(ReadPlane(path, seed=1, count=10))
        await watched.engine.answer(ask.Pause(run=path))
        await watched.state(path, "paused")
        assert not long.done()
        let_go.set()
        await asyncio.gather(long, return_exceptions=True)
        await watched.engine.answer(ask.Stop(run=path, scope="run"))
        await watched.ended(path)

    run_engine(scenario)
