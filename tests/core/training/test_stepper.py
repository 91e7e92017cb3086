"""Steps whose values are read together: nothing waits for the device, and results are those of single steps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import nfkd
from nfkd.config import DistillationConfig, ExperimentConfig
from nfkd.protocol import events
from nfkd.runs.errors import RunError
from nfkd.runs.reader import open_run
from tests.core.tiny import moons
from tests.core.training.runs import every_term, only, stop_run, without_baseline
from tests.core.training.stepping import damage, small, stepper
from tests.torture.compare import differences

META = torch.device("meta")
WAITS = ("item", "cpu", "nonzero", "tolist", "numpy", "__bool__", "__float__", "__int__", "__index__")
"""What reads a tensor from its device."""


class Copies(TorchDispatchMode):
    """Collects the copies from the CPU to meta tensors that wait."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.waiting: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, name = kwargs or {}, str(func)
        if name.startswith("aten._to_copy") and kwargs.get("device") == META and args[0].device.type == "cpu":
            self.count += 1
            self.waiting += [] if kwargs.get("non_blocking") else [name]
        if any(each.device.type == "cpu" and each.dim() for each in args if isinstance(each, Tensor)):
            mixed = any(each.device == META for each in args if isinstance(each, Tensor))
            self.waiting += [name] if mixed and "_to_copy" not in name else []
        return func(*args, **kwargs)


@pytest.mark.parametrize(("accumulate", "pool"), [(1, False), (3, True)])
def test_no_step_between_two_reads_waits_for_the_device(accumulate: int, pool: bool) -> None:
    """A tensor on meta has no values: reading one raises, and so does a mask as an index."""
    loss = {"pool": {"share": 0.5}} if pool else {}
    steps, state, reported = stepper(
        small(training={"accumulate": accumulate}, loss=loss), META, every=100, pool_rows=40 if pool else 0
    )
    with Copies() as copies:
        for _ in range(4):
            steps.step()
    assert (state.step, reported) == (5, [])
    assert copies.count >= 4
    assert copies.waiting == []
    with pytest.raises((NotImplementedError, RuntimeError)):  # the read itself does wait
        steps.settle()


TERM_NAMES = list(DistillationConfig().terms())


@pytest.mark.parametrize("name", TERM_NAMES)
def test_no_term_waits_for_the_device(name: str) -> None:
    loss = {each: {"weight": float(each in {"nll", name})} for each in TERM_NAMES}
    steps, state, _ = stepper(small(loss=loss), META, every=100)
    steps.step()
    assert state.step == 2


def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Count every read of a tensor that depends on parameters: all others are on the CPU on any device."""
    calls: list[str] = []
    for name in WAITS:
        original = getattr(Tensor, name)

        def read(self: Tensor, *rest: Any, _name: str = name, _original: Any = original, **named: Any) -> Any:
            if self.is_floating_point() or self.dtype == torch.bool:
                calls.append(_name)
            return _original(self, *rest, **named)

        monkeypatch.setattr(Tensor, name, read)
    return calls


def test_the_values_of_several_steps_are_read_in_one_transfer(monkeypatch: pytest.MonkeyPatch) -> None:
    steps, state, reported = stepper(
        small(training={"accumulate": 2, "optimizer": "adam"}), torch.device("cpu"), every=100
    )
    calls = counted(monkeypatch)
    for _ in range(8):
        steps.step()
    assert calls == []
    steps.settle()
    assert calls
    assert set(calls) == {"tolist"}
    assert [result.step for result in reported] == list(range(2, 10))
    assert all(isinstance(norm, float) for norm in state.norms.values())


def result_differences(first: Path, second: Path) -> dict[str, str]:
    """Return what differs between two runs, except for the text of their experiments."""
    found = differences(first, second)
    return {
        name: text
        for name, text in found.items()
        if text != "attribute config" and not name.endswith(("metadata/config", "experiment.toml"))
    }


@pytest.mark.parametrize("make", [moons, every_term])
def test_a_run_does_not_depend_on_how_often_values_are_read(
    make: Callable[..., ExperimentConfig], tmp_path: Path
) -> None:
    options = {"ema_decay": 0.9, "accumulate": 1 if make is every_term else 2, "optimizer": "adamw", "baseline": False}
    steps = {"teacher_steps": 5, "student_steps": 9}  # more than the four between two reads, and a checkpoint
    for every in (1, 4):
        nfkd.run(make(training=options | steps, compute={"check_every": every}), tmp_path / str(every))
    assert result_differences(tmp_path / "1", tmp_path / "4") == {}


def test_a_run_that_is_stopped_between_two_reads_resumes_as_if_nothing_had_happened(tmp_path: Path) -> None:
    config = moons(compute={"check_every": 7}, distillation={"balance": "gradient_norm"} | only("nll", "lkd"))
    nfkd.run(config, tmp_path / "whole")
    stop_run(tmp_path / "stopped", config, "student", 11)
    nfkd.run(config, tmp_path / "stopped", resume=True)
    assert differences(tmp_path / "whole", tmp_path / "stopped") == {}


@pytest.mark.parametrize("factor", [0.5, 1.0, 1.0005, 2.0])
def test_a_gradient_is_clipped_as_torch_clips_it(factor: float) -> None:
    """Steps that do not read their values leave clipping to torch; the others skip it where it changes nothing."""
    cpu = torch.device("cpu")
    first, _, reported = stepper(small(), cpu, every=1)
    first.step()
    config = small(training={"gradient_clip": factor * reported[0].loss.gradient_norm})
    weights: list[list[Tensor]] = []
    for every in (1, 100):
        steps, state, _ = stepper(config, cpu, every=every)
        for _ in range(3):
            steps.step()
        weights.append(list(state.flow.parameters()))
    assert all(map(torch.equal, *weights))


# --- values that are not finite ---------------------------------------------------------------------------------------


def test_examples_that_are_not_finite_are_left_out_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[int, list[str]] = {}
    damage(monkeypatch, 17, 200)
    for every in (1, 7):
        logs: list[str] = []

        def watch(event: events.RunEvent, logs: list[str] = logs) -> None:
            logs += [event.text] if isinstance(event, events.LogLine) and "not finite" in event.text else []

        config = without_baseline(compute={"check_every": every}, training={"ema_decay": 0.9})
        nfkd.run(config, tmp_path / str(every), on_event=watch)
        seen[every] = logs
    assert result_differences(tmp_path / "1", tmp_path / "7") == {}
    assert seen[1] == seen[7] != []
    masked = open_run(tmp_path / "7").curves["student"]["masked"].values
    assert 0 < np.count_nonzero(masked) < len(masked)


def test_training_that_diverges_keeps_the_last_weights(tmp_path: Path) -> None:
    wild = {"learning_rate": 1.0, "gradient_clip": 0.0, "warmup_steps": 0, "schedule": "constant"}
    titles: set[str] = set()
    for every in (1, 7):
        config = moons(
            training=wild | {"teacher_steps": 2000},
            teacher={"steps": 12, "hidden": 64},
            compute={"check_every": every},
        )
        with pytest.raises(RunError) as failed:
            nfkd.run(config, tmp_path / str(every))
        titles.add(f"{failed.value.title} {failed.value.cause}")
    assert len(titles) == 1
    first, second = (open_run(tmp_path / str(every)).load_teacher().scaled.state_dict() for every in (1, 7))
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert all(torch.isfinite(value).all() for value in first.values())
