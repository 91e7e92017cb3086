"""Tests on a CUDA device: the numbers of the CPU, no waiting in steps, requests of the studio, and a full memory.

They need only this repository, torch and the engine's packages: ``make test-gpu PYTHON=python3``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

import nfkd
from nfkd.config import ConfigError, DistillationConfig, ExperimentConfig
from nfkd.data import load_dataset
from nfkd.protocol import events
from nfkd.protocol import requests as ask
from nfkd.training.api import prepare
from nfkd.training.control import Control
from nfkd.training.job import execute_run
from nfkd.training.resident import ResidentDataset, on_device
from tests.core.engine.watched import Watched, run_engine
from tests.core.training.stepping import damage, small, stepper

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]

CUDA = torch.device("cuda", 0)
SHORT = ["training.teacher_steps=20", "training.student_steps=10", "monitor.evaluate_every=5"]


def digits(device: str, *overrides: str) -> ExperimentConfig:
    return ExperimentConfig.load("digits", [*SHORT, f"compute.device={device}", *overrides])


def test_digits_on_cuda_agrees_with_the_cpu(tmp_path: Path) -> None:
    curves = {device: nfkd.run(digits(device), tmp_path / device).curves for device in ("cpu", "cuda")}
    for stage in ("teacher", "student", "baseline"):
        cuda, cpu = (curves[device][stage]["train/nll"].values for device in ("cuda", "cpu"))
        np.testing.assert_allclose(cuda[:5], cpu[:5], rtol=1e-3)  # rounding differences grow with the steps
        np.testing.assert_allclose(cuda, cpu, rtol=5e-2)


def test_log_prob_of_the_same_weights_is_the_same(tmp_path: Path) -> None:
    record = nfkd.run(digits("cuda"), tmp_path / "run")
    flow = record.load_student().scaled
    x = torch.rand(64, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = flow.log_prob(x)
        torch.testing.assert_close(flow.cuda().log_prob(x.cuda()).cpu(), expected, rtol=1e-4, atol=1e-2)


def test_every_term_on_cuda_agrees_with_the_cpu(tmp_path: Path) -> None:
    weights = [f"distillation.{name}.weight=0.1" for name in DistillationConfig().terms()]
    curves = {
        device: nfkd.run(digits(device, *weights), tmp_path / device).curves["student"] for device in ("cpu", "cuda")
    }
    for name in DistillationConfig().terms():
        cuda, cpu = (curves[device][f"train/{name}"].values for device in ("cuda", "cpu"))
        np.testing.assert_allclose(cuda[:3], cpu[:3], rtol=5e-2, err_msg=name)  # the teachers differ by rounding


def test_running_out_of_memory_is_a_clear_error(tmp_path: Path) -> None:
    config = digits("cuda", "training.batch_size=1024")
    run = prepare(config, tmp_path / "run")
    hog: list[torch.Tensor] = []
    seen: list[events.RunEvent] = []

    def take_all(event: events.RunEvent) -> None:
        seen.append(event)
        if isinstance(event, events.StageStarted) and not hog:  # after the estimate, which would refuse the run
            torch.cuda.empty_cache()
            free = torch.cuda.mem_get_info()[0]
            hog.append(torch.empty(max(0, free - 2**24), dtype=torch.uint8, device="cuda"))

    assert execute_run(run, config, take_all, Control()) == "failed"
    hog.clear()
    [failed] = [event for event in seen if isinstance(event, events.RunFailed)]
    assert failed.error.title == "Out of memory"
    assert failed.error.action
    assert execute_run(run, config, seen.append, Control(), resume=True) == "finished"


def test_a_run_whose_estimate_exceeds_the_memory_is_refused_before_it_starts(tmp_path: Path) -> None:
    hog = torch.empty(max(0, torch.cuda.mem_get_info()[0] - 2**24), dtype=torch.uint8, device="cuda")
    try:
        with pytest.raises(ConfigError, match=r"teacher\.hidden: training the teacher takes about"):
            prepare(digits("cuda", "training.batch_size=1024"), tmp_path / "run")
    finally:
        del hog
        torch.cuda.empty_cache()
    assert not (tmp_path / "run").exists()


# --- steps that do not wait -------------------------------------------------------------------------------------------


@contextmanager
def waiting_raises() -> Iterator[None]:
    """Let torch raise where a call waits for the device."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize(("accumulate", "rows", "optimizer"), [(1, 0, "adam"), (3, 40, "adamw"), (1, 0, "adamax")])
def test_no_step_between_two_reads_waits(accumulate: int, rows: int, optimizer: str) -> None:
    config = small(
        training={"accumulate": accumulate, "optimizer": optimizer}, loss={"pool": {"share": 0.5}} if rows else {}
    )
    steps, state, reported = stepper(config, CUDA, every=100, pool_rows=rows)
    steps.step()  # the optimizer makes its state
    steps.settle()
    with waiting_raises():
        for _ in range(12):
            steps.step()
    steps.settle()
    assert (state.step, len(reported)) == (14, 13)


@pytest.mark.parametrize(
    "changes", [[], ["training.precision=bf16"], ["compute.cuda_graphs=true", "distillation.cache=0"]]
)
def test_values_that_are_read_together_are_those_of_single_steps(changes: list[str], tmp_path: Path) -> None:
    lines: list[str] = []

    def watch(event: events.RunEvent) -> None:
        lines.extend([event.text] if isinstance(event, events.LogLine) and event.level == "warning" else [])

    curves = {}
    for name, overrides in (("single", ["compute.check_every=1"]), ("together", ["compute.check_every=16", *changes])):
        kept = [change for change in changes if "precision" in change]
        curves[name] = nfkd.run(digits("cuda", *kept, *overrides), tmp_path / name, on_event=watch).curves
    for stage in ("teacher", "student", "baseline"):
        first, second = (curves[name][stage]["train/nll"].values for name in ("single", "together"))
        np.testing.assert_allclose(first, second, rtol=5e-2)
    assert not [line for line in lines if "computed as usual" in line]  # graphs were recorded


def test_examples_that_are_not_finite_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damage(monkeypatch, 17, 200)
    monkeypatch.setattr("nfkd.training.loop.on_device", lambda dataset, _: dataset)  # batches are made on the CPU
    steps = ["training.teacher_steps=40", "training.student_steps=40", "training.batch_size=128"]
    masked = nfkd.run(digits("cuda", *steps), tmp_path / "run").curves["student"]["masked"].values
    assert set(masked) >= {0, 3}  # of NLL, LKD and ILKD


def test_training_examples_on_the_device_are_those_of_the_cpu() -> None:
    dataset, index = load_dataset(digits("cuda").data), np.array([3, 0, 7, 3])
    resident = on_device(dataset, CUDA)
    assert isinstance(resident, ResidentDataset)
    here, there = (
        each.training_batch(index, torch.Generator().manual_seed(1), torch.Generator()) for each in (dataset, resident)
    )
    assert there.x.device == CUDA
    torch.testing.assert_close(there.x.cpu(), here.x)


@pytest.mark.parametrize("activations", ["keep", "recompute"])
@pytest.mark.parametrize("precision", ["float32", "tf32", "bf16"])
def test_a_numbered_device_trains_in_each_precision(precision: str, activations: str, tmp_path: Path) -> None:
    changes = [f"training.precision={precision}", f"training.activations={activations}"]
    record = nfkd.run(digits("cuda:0", *changes), tmp_path / "run")
    assert record.row.device == "cuda:0"
    assert np.isfinite(record.curves["student"]["train/nll"].values).all()


# --- requests of the studio -------------------------------------------------------------------------------------------


def test_pause_stop_and_resume_from_the_studio(tmp_path: Path) -> None:
    pause_stop_and_resume(digits("cuda", "training.teacher_steps=3000", "training.early_stop=0"), tmp_path)


def pause_stop_and_resume(config: ExperimentConfig, folder: Path) -> None:
    """Send the requests of the studio's buttons, and draw samples meanwhile; the run then ends as it would alone."""

    async def scenario(watched: Watched) -> None:
        run = await watched.start(config, folder)
        await watched.until(lambda event: isinstance(event, events.Progress) and event.step > 20)
        await watched.engine.answer(ask.Pause(run=run))
        await watched.state(run, "paused")
        draw = ask.Sample(run=run, seed=1, count=4, temperature=0.7, noise_seed=3)
        first, second = [await watched.engine.answer(draw) for _ in range(2)]
        assert isinstance(first, ask.Samples)
        assert isinstance(second, ask.Samples)
        np.testing.assert_array_equal(first.samples["teacher"], second.samples["teacher"])  # nothing trains
        await watched.engine.answer(ask.Resume(run=run))
        await watched.engine.answer(draw)
        await watched.engine.answer(ask.Stop(run=run, scope="run"))
        last = await watched.ended(run)
        assert isinstance(last, events.RunFinished)
        assert last.state == "stopped"
        await watched.engine.wait_until_idle()
        watched.seen.clear()
        await watched.engine.answer(ask.ResumeFromDisk(run=run))
        last = await watched.ended(run)
        assert isinstance(last, events.RunFinished)
        assert last.state == "finished"

    run_engine(scenario)
    curve = nfkd.open_run(folder / config.name).curves["teacher"]["train/nll"]
    assert list(curve.steps) == list(range(1, config.training.teacher_steps + 1))


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="fewer than two CUDA devices")
def test_two_gpus_agree_with_one(tmp_path: Path) -> None:
    curves = {
        count: nfkd.run(digits("cuda", f"compute.devices={count}"), tmp_path / str(count)).curves for count in (1, 2)
    }
    for stage in ("teacher", "student", "baseline"):
        two, one = (curves[count][stage]["train/nll"].values for count in (2, 1))
        np.testing.assert_allclose(two[:5], one[:5], rtol=1e-3)  # rounding differences grow with the steps
        np.testing.assert_allclose(two, one, rtol=5e-2)
