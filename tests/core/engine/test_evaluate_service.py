"""The engine adds metrics to runs: progress, cancellation, runs that cannot be evaluated, and new columns."""

from __future__ import annotations

import asyncio
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

import nfkd
from nfkd.evaluation.evaluated_metrics import GROUPS
from nfkd.protocol import events
from nfkd.protocol.comparing import (
    METRIC_GROUPS,
    CancelEvaluation,
    EvaluateRuns,
    ReadRunValues,
    RunsEvaluated,
    RunValues,
)
from tests.core.engine.watched import Watched, run_engine
from tests.core.tiny import moons


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return nfkd.run(moons(), tmp_path_factory.mktemp("runs") / "run").path


def test_the_groups_of_the_protocol_are_those_of_the_evaluation() -> None:
    assert list(METRIC_GROUPS) == list(GROUPS)


def test_metrics_become_values_of_a_run_and_a_missing_run_is_named(trained: Path) -> None:
    async def scenario(watched: Watched) -> None:
        missing = str(trained.with_name("missing"))
        request = EvaluateRuns(runs=[str(trained), missing], groups=["calibration", "cost"], ticket="one")
        reply = await watched.engine.answer(request)
        assert isinstance(reply, RunsEvaluated)
        assert list(reply.failed) == [missing]
        shares = [event.share for event in watched.seen if isinstance(event, events.InspectionProgress)]
        assert shares == sorted(shares)
        assert shares[-1] == 1.0
        assert [event.run for event in watched.seen if isinstance(event, events.RunChanged)] == [str(trained)]
        stored = json.loads((trained / "evaluation.json").read_text())["evaluations"][0]["values"]
        [chi2] = [value["value"] for value in stored if (value["metric"], value["stage"]) == ("chi2", "student")]
        values = await watched.engine.answer(ReadRunValues(runs=[str(trained)]))
        assert isinstance(values, RunValues)
        assert values.values[str(trained)]["student_chi2"] == pytest.approx(chi2)

    run_engine(scenario)


def test_a_file_without_a_network_is_refused_without_options_of_the_command_line(tmp_path: Path) -> None:
    with zipfile.ZipFile(Path(__file__).parents[2] / "data" / "digits.zip") as archive:
        archive.extractall(tmp_path)
    run, file = str(tmp_path / "digits"), tmp_path / "weights.pt"
    file.write_text("weights")

    async def scenario(watched: Watched) -> None:
        request = EvaluateRuns(runs=[run], groups=["fid"], ticket="three", inception=str(file))
        reply = await watched.engine.answer(request)
        assert isinstance(reply, RunsEvaluated)
        assert reply.failed[run].startswith("weights.pt cannot be used for FID: it is not a TorchScript file")

    run_engine(scenario)


def test_an_evaluation_is_cancelled_between_two_flows(trained: Path) -> None:
    async def scenario(watched: Watched) -> None:
        request = EvaluateRuns(runs=[str(trained), str(trained)], groups=["samples"], ticket="two")

        def cancel(event: events.Event) -> None:
            if isinstance(event, events.InspectionProgress) and not cancelled:
                cancelled.append(asyncio.ensure_future(watched.engine.answer(CancelEvaluation(ticket=event.ticket))))

        cancelled: list[asyncio.Future[Any]] = []
        watched.engine.subscribe(cancel)
        reply = await watched.engine.answer(request)
        assert isinstance(reply, RunsEvaluated)
        assert "cancelled" in reply.failed[str(trained)]
        await watched.engine.answer(CancelEvaluation(ticket="two"))  # it has ended: nothing happens

    run_engine(scenario)
