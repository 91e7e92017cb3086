"""Runs with a pool: the rows of every batch, the baseline, resumed runs, and teachers whose samples are useless."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import nfkd
from nfkd.config import ExperimentConfig
from nfkd.data import DataSplit, load_dataset
from nfkd.distillation.distiller import Distiller
from nfkd.flows.flow import Flow
from nfkd.protocol import events
from nfkd.runs.errors import RunError
from nfkd.runs.log import read_log
from nfkd.runs.reader import open_run
from nfkd.runs.recovery import recover
from nfkd.training.api import prepare
from nfkd.training.control import Control
from nfkd.training.generators import named_generator
from nfkd.training.job import execute_run
from nfkd.training.pool_file import PoolFile
from tests.core.tiny import digits, moons
from tests.core.training.runs import KillPoint, TrainedRun, assert_same, run_with_copies, stop_run, with_assistants

Trained = Callable[[ExperimentConfig], TrainedRun]
Watched = Callable[[ExperimentConfig], "WatchedRun"]
TERMS = {"skd": {"weight": 0.0}}
FEW = {"teacher_steps": 4, "assistant_steps": 6, "student_steps": 6, "checkpoint_every": 4}


def pooled(share: float = 0.5, **changes: Any) -> ExperimentConfig:
    """Return digits with a pool of 300 samples."""
    pool = {"share": share, "size": 300}
    return digits(distillation=TERMS | {"pool": pool}, training=FEW | changes.pop("training", {}), **changes)


class Seen(NamedTuple):
    """What flows saw in a run, by stage: the batch of each step, the first batch of ActNorm, and the stage's pool."""

    batches: dict[str, list[Tensor]]
    initial: dict[str, Tensor]
    pool: dict[str, Tensor]


class WatchedRun(NamedTuple):
    """A finished run and what its flows saw."""

    path: Path
    seen: Seen


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Callable[[ExperimentConfig], WatchedRun]:
    """Return a function that runs an experiment, each only once, and returns what its flows saw."""
    runs: dict[str, WatchedRun] = {}

    def run(config: ExperimentConfig) -> WatchedRun:
        text = config.to_toml()
        if text not in runs:
            path = tmp_path_factory.mktemp("watched") / "run"
            runs[text] = WatchedRun(path, watch_flows(config, path))
        return runs[text]

    return run


def watch_flows(config: ExperimentConfig, directory: Path) -> Seen:
    """Run an experiment and return what its flows saw."""
    batches, initial, pool, stage = defaultdict[str, list[Tensor]](list), dict[str, Tensor](), dict[str, Tensor](), [""]
    backward, initialize = Distiller.backward, Flow.initialize

    def seen_backward(self, flow, batch, *rest, **named):
        batches[stage[0]].append(batch.x.clone())
        return backward(self, flow, batch, *rest, **named)

    def seen_initialize(self, x, context=None):
        initial[stage[0]] = x.clone()
        return initialize(self, x, context)

    def watch(event: events.RunEvent) -> None:
        if isinstance(event, events.StageStarted):
            stage[0] = event.stage
        if isinstance(event, events.SamplesDrawn) and event.step == 1 and (directory / "pool.safetensors").exists():
            pool.update(load_file(directory / "pool.safetensors"))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Distiller, "backward", seen_backward)
        patch.setattr(Flow, "initialize", seen_initialize)
        nfkd.run(config, directory, watch)
    return Seen(batches, initial, pool)


def plain_pool(run: Path) -> tuple[Tensor, Tensor]:
    """Return the samples of a run's teacher from plain noise that a pool keeps, and their last noise."""
    teacher = open_run(run).load_teacher().scaled
    generator = named_generator(1, "student", "pool")
    noise = [torch.randn(300, *shape, generator=generator) for shape in teacher.latent_shapes]
    with torch.no_grad():
        x = teacher.synthesize(noise)
        small = x.flatten(1).abs().amax(1) < 2
        x, last = x[small], noise[-1][small]
        kept = teacher.log_prob(x).topk(len(x) - len(x) // 100).indices.sort().values
    return x[kept], last[kept]


@pytest.mark.parametrize(("share", "rows"), [(0.5, 16), (0.8, 26), (1.0, 32)])
def test_every_batch_has_its_share_of_the_pool(share: float, rows: int, watched: Watched) -> None:
    run, seen = watched(pooled(share))
    x, noise = plain_pool(run)
    torch.testing.assert_close(seen.pool["x"], x, rtol=1e-4, atol=1e-5)
    assert torch.equal(seen.pool["noise/1"], noise)
    generator = named_generator(1, "student", "pool rows")
    assert len(seen.batches["student"]) == len(seen.batches["baseline"]) == 6
    for mixed, real in zip(seen.batches["student"], seen.batches["baseline"], strict=True):
        index = torch.randint(len(x), (rows,), generator=generator)
        assert torch.equal(mixed, torch.cat([real[: 32 - rows], seen.pool["x"][index]]))
    first = seen.batches["student" if share == 1 else "baseline"][0]
    assert torch.equal(seen.initial["student"], first)
    assert torch.equal(seen.initial["baseline"], seen.batches["baseline"][0])
    assert not (run / "pool.safetensors").exists()


def test_a_pool_does_not_change_teacher_and_baseline(watched: Watched) -> None:
    without, with_pool = (watched(config) for config in (digits(distillation=TERMS, training=FEW), pooled()))
    for role in ("teacher", "baseline"):
        for first, second in zip(without.seen.batches[role], with_pool.seen.batches[role], strict=True):
            assert torch.equal(first, second)
        first, second = (load_file(run.path / f"{role}.safetensors") for run in (without, with_pool))
        assert first.keys() == second.keys()
        assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(without.seen.batches["student"][0], with_pool.seen.batches["student"][0])


def test_a_run_can_be_paused_while_its_pool_is_drawn(watched: Watched, tmp_path: Path, monkeypatch) -> None:
    """The first chunk of samples pauses the run; the run resumes as soon as it says that it is paused."""
    config, control, states = pooled(), Control(), list[str]()
    synthesize = Flow.synthesize

    def pausing(self, *rest, **named):
        if not states:
            control.pause()
        return synthesize(self, *rest, **named)

    def watch(event: events.RunEvent) -> None:
        if isinstance(event, events.StageStarted) and event.stage == "student":
            monkeypatch.setattr(Flow, "synthesize", pausing)
        if isinstance(event, events.RunChanged) and event.row.state in {"paused", "running"} and control.paused:
            states.append(event.row.state)
            control.resume()

    assert execute_run(prepare(config, tmp_path / "run"), config, watch, control) == "finished"
    assert states == ["paused"]
    assert_same(tmp_path / "run", watched(config).path, config)


def test_the_log_says_what_was_dropped(watched: Watched) -> None:
    run = watched(pooled()).path
    [line] = [line for line in read_log(run) if "the pool has" in line.text]
    left = len(plain_pool(run)[0])
    large = 300 - left - 2
    assert 0 < large < 28
    assert line.level == "info"
    assert line.text == (
        f"Seed 1, student: the pool has {left} samples; {300 - left} of 300 samples of the teacher were dropped: 0 not "
        f"finite, {large} too large, 2 with the lowest log p"
    )


# --- several stages, contexts, weights --------------------------------------------------------------------------------


def test_every_flow_that_learns_has_a_pool_of_the_flow_that_it_learns_from(tmp_path: Path) -> None:
    pools: dict[str, Tensor] = {}

    def watch(event: events.RunEvent) -> None:
        if isinstance(event, events.SamplesDrawn) and event.step == 1:
            path = tmp_path / "run" / "pool.safetensors"
            pools[event.stage] = load_file(path)["x"] if path.exists() else torch.zeros(0)

    config = with_assistants(distillation=TERMS | {"pool": {"share": 0.5, "size": 100}}, training=FEW)
    nfkd.run(config, tmp_path / "run", watch)
    assert {stage: len(pool) for stage, pool in pools.items()} == {
        "teacher": 0,
        "assistant-1": 99,
        "assistant-2": 99,
        "student": 99,
        "baseline": 0,
    }
    record = open_run(tmp_path / "run")
    sources = {"assistant-1": record.load_teacher(), "assistant-2": record.load_assistant(1)}
    sources["student"] = record.load_assistant(2)
    for stage, source in sources.items():
        generator = named_generator(1, stage, "pool")
        with torch.no_grad():
            x = source.scaled.synthesize([torch.randn(100, 2, generator=generator)])
            expected = x[source.scaled.log_prob(x).topk(99).indices.sort().values]
        torch.testing.assert_close(pools[stage], expected, rtol=1e-4, atol=1e-5)


def test_a_pool_of_a_conditional_teacher_has_the_contexts_of_the_training_data(tmp_path: Path) -> None:
    pool: dict[str, Tensor] = {}

    def watch(event: events.RunEvent) -> None:
        if isinstance(event, events.SamplesDrawn) and (event.stage, event.step) == ("student", 1):
            pool.update(load_file(tmp_path / "run" / "pool.safetensors"))

    nfkd.run(pooled(data={"class_labels": True}), tmp_path / "run", watch)
    assert pool["context"].shape == (len(pool["x"]), 10)
    assert torch.equal(pool["context"].sum(1), torch.ones(len(pool["x"])))
    assert (pool["context"].sum(0) > 10).all()


# --- resumed ----------------------------------------------------------------------------------------------------------


def pooled_assistants() -> ExperimentConfig:
    """Return two moons with two assistants and a pool."""
    return with_assistants(distillation=TERMS | {"pool": {"share": 0.5, "size": 100}}, training=FEW)


@pytest.mark.parametrize(
    ("config", "points"),
    [
        (pooled(), [KillPoint(1, "student", 3), KillPoint(1, "student", 5), KillPoint(1, "student")]),
        (pooled_assistants(), [KillPoint(1, "assistant-2", 5)]),
        (
            pooled(1.0, training={"accumulate": 3, "baseline": False}, seeds={"count": 2}),
            [KillPoint(2, "student", 5)],
        ),
    ],
)
def test_a_killed_run_with_a_pool_is_resumed_exactly(config, points: list[KillPoint], tmp_path: Path) -> None:
    whole, killed = run_with_copies(config, tmp_path, points)
    for run in killed:
        recover(run)
        nfkd.run(config, run, resume=True)
        assert_same(run, whole, config)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was stopped in its student's stage, to be copied."""
    run = tmp_path_factory.mktemp("stopped") / "run"
    stop_run(run, pooled(training={"baseline": False}), "student", 3)
    return run


@pytest.mark.parametrize("what", ["kept", "missing", "damaged", "of another seed"])
def test_a_stopped_run_keeps_its_pool_or_draws_it_again(
    what: str, stopped: Path, trained: Trained, tmp_path: Path
) -> None:
    config, run = pooled(training={"baseline": False}), tmp_path / "run"
    shutil.copytree(stopped, run)
    path = run / "pool.safetensors"
    first = load_file(path)["x"]
    if what == "missing":
        path.unlink()
    elif what == "damaged":
        path.write_bytes(path.read_bytes()[:-100])
    elif what == "of another seed":
        stop_run(tmp_path / "other", config.replace(seeds={"first": 2}), "student", 1)
        shutil.copy(tmp_path / "other" / "pool.safetensors", path)
        assert not torch.equal(load_file(path)["x"], first)
    nfkd.run(config, run, resume=True)
    assert_same(run, trained(config).record.path, config)
    warned = [line.text for line in read_log(run) if "drawn again" in line.text]
    assert len(warned) == (what != "kept")
    assert all(str(path) in text for text in warned)


def test_a_resumed_run_uses_the_rows_of_its_file(tmp_path: Path, monkeypatch) -> None:
    config, run = pooled(1.0, training={"baseline": False}), tmp_path / "run"
    stop_run(run, config, "student", 3)
    file = PoolFile(run, "student", 1)
    pool = file.load(open_run(run).load_teacher().scaled)
    pool.x.fill_(0.25)
    file.save(pool)
    batches: list[Tensor] = []
    backward = Distiller.backward

    def seen(self, flow, batch, *rest, **named):
        batches.append(batch.x.clone())
        return backward(self, flow, batch, *rest, **named)

    monkeypatch.setattr(Distiller, "backward", seen)
    nfkd.run(config, run, resume=True)
    assert len(batches) == 3
    assert all((x == 0.25).all() for x in batches)


# --- refused ----------------------------------------------------------------------------------------------------------


def test_a_teacher_whose_samples_are_useless_ends_the_run_with_a_message(tmp_path: Path, monkeypatch) -> None:
    synthesize = Flow.synthesize

    def nan(self, noise, *rest, **named):
        return synthesize(self, noise, *rest, **named) * torch.nan

    with monkeypatch.context() as patch:
        patch.setattr(Flow, "synthesize", nan)
        with pytest.raises(RunError, match="300 of 300 samples of the teacher were dropped: 300 not finite") as refused:
            nfkd.run(pooled(), tmp_path / "run")
    assert refused.value.title == "The pool of the student cannot be made"
    assert "set distillation.pool.share to 0" in refused.value.action
    assert open_run(tmp_path / "run").row.state == "failed"
    assert not (tmp_path / "run" / "pool.safetensors").exists()


def test_old_experiments_have_no_pool() -> None:
    text = moons().to_toml()
    start = text.index("[distillation.pool]")
    end = text.index("[", start + 1)
    assert ExperimentConfig.from_toml(text[:start] + text[end:]) == moons()
    assert moons().distillation.pool.share == 0


@pytest.mark.parametrize("inherit", ["none", "blocks"])
def test_a_student_of_share_one_sees_no_real_data(
    inherit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With NaN in every training row its weights are the same bit for bit."""
    steps = {"teacher_steps": 6, "student_steps": 4, "baseline": False}
    teacher = nfkd.run(moons(training=steps), tmp_path / "teacher")
    config = moons(
        training=steps | {"teacher_weights": str(teacher.path / "teacher.safetensors")},
        distillation={"inherit": inherit, "pool": {"share": 1.0, "size": 200}},
    )
    plain = nfkd.run(config, tmp_path / "plain")
    dataset = load_dataset(config.data)
    damaged = replace(dataset, train=DataSplit(np.full_like(dataset.train.values[:], np.nan)))
    monkeypatch.setattr("nfkd.training.experiment.load_dataset", lambda _: damaged)
    other = nfkd.run(config, tmp_path / "damaged")
    expected, found = (load_file(run.path / "student.safetensors") for run in (plain, other))
    assert all(torch.equal(found[key], value) for key, value in expected.items())
