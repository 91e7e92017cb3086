"""The caller's torch settings do not influence runs and flows, and are restored."""

from __future__ import annotations

import random
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import nfkd
from nfkd.engine.explore import Explorer
from nfkd.flows.flow import Flow
from nfkd.flows.isolation import plain_torch
from nfkd.planning.describe import describe
from nfkd.protocol.events import Progress, RunEvent
from nfkd.protocol.requests import Sample
from nfkd.runs.reader import RunRecord
from nfkd.training.api import prepare
from nfkd.training.job import TrainingJob
from tests.core.tiny import digits, moons

Mode = Callable[[], AbstractContextManager[Any]]
FEW = {"teacher_steps": 2, "student_steps": 2, "baseline": False}


@contextmanager
def dtype(chosen: torch.dtype) -> Iterator[None]:
    torch.set_default_dtype(chosen)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextmanager
def device(chosen: str) -> Iterator[None]:
    torch.set_default_device(chosen)
    try:
        yield
    finally:
        torch.set_default_device(None)


MODES: dict[str, Mode] = {
    "float64": lambda: dtype(torch.float64),
    "bfloat16": lambda: dtype(torch.bfloat16),
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "default device": lambda: device("meta"),
    "device as a context": lambda: torch.device("meta"),
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
}
each_mode = pytest.mark.parametrize("mode", MODES.values(), ids=MODES.keys())


def state() -> dict[str, Any]:
    """Return all settings of the process and the thread that a call might change."""
    return {
        "dtype": torch.get_default_dtype(),
        "device": torch.get_default_device(),
        "gradients": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "matmul": torch.get_float32_matmul_precision(),
        "torch": torch.get_rng_state().tolist(),
        "numpy": [np.asarray(part).tolist() for part in np.random.mtrand._rand.get_state()],
        "random": random.getstate(),
        "warnings": list(warnings.filters),
    }


def weights(run: Path) -> dict[str, torch.Tensor]:
    files = sorted(path for path in run.glob("*.safetensors") if "checkpoint" not in path.name)
    return {f"{path.name} {name}": value for path in files for name, value in load_file(path).items()}


def assert_same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, value in found.items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=0, msg=name)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    """Return a run under default settings."""
    return nfkd.run(moons(training=FEW), tmp_path_factory.mktemp("plain") / "run")


@pytest.fixture(scope="module")
def image_run(tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    """Return a run of images under default settings."""
    return nfkd.run(digits(training=FEW), tmp_path_factory.mktemp("images") / "run")


@pytest.fixture(scope="module")
def taught_in_no_mode(tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    """Return the weights of a run with the teacher of `teach` under default settings."""
    return teach(tmp_path_factory.mktemp("taught") / "run")


@each_mode
def test_a_run_is_the_same_in_every_mode_and_restores_it(mode: Mode, plain: RunRecord, tmp_path: Path) -> None:
    with mode():
        before = state()
        record = nfkd.run(moons(training=FEW), tmp_path / "run")
        assert state() == before
        student = record.load_student()
        assert state() == before
    assert_same(weights(tmp_path / "run"), weights(plain.path))
    for value in student.state_dict().values():
        assert value.dtype in (torch.float32, torch.int64, torch.uint8)
        assert value.device.type == "cpu"
        assert not value.is_inference()
    x = torch.rand(3, 2)
    (gradient,) = torch.autograd.grad(student.log_prob(x).sum(), next(student.parameters()))
    assert gradient.isfinite().all()


@each_mode
def test_a_built_flow_is_the_same_in_every_mode(mode: Mode) -> None:
    config = digits().student

    def built() -> Flow:
        return nfkd.build_flow(config, (1, 8, 8), generator=torch.Generator("cpu").manual_seed(3))

    expected = built()
    with mode():
        flow = built()
    assert_same(flow.state_dict(), expected.state_dict())
    assert {value.device.type for value in flow.state_dict().values()} == {"cpu"}
    assert all(parameter.requires_grad and not parameter.is_inference() for parameter in flow.parameters())


@pytest.mark.parametrize("mode", [MODES["float64"], MODES["default device"]], ids=["float64", "default device"])
def test_a_loaded_flow_is_the_same_for_every_default(mode: Mode, plain: RunRecord, image_run: RunRecord) -> None:
    images = image_run.load_student()
    rows, levels = torch.rand(3, 2), torch.randint(0, 17, (3, 1, 8, 8))
    student = plain.load_student()

    def results() -> dict[str, torch.Tensor]:
        return {
            "samples": student.sample(5, generator=torch.Generator("cpu").manual_seed(1)),
            "log_prob": student.log_prob(rows),
            "nll": student.nll(rows),
            "image samples": images.sample(2, generator=torch.Generator("cpu").manual_seed(1)),
            "image log_prob": images.log_prob(levels),
            "image nll": images.nll(levels),
        }

    expected = results()
    with mode():
        found = results()
    assert_same(found, expected)


def test_a_flow_built_without_a_generator_uses_the_global_random_numbers() -> None:
    def first() -> dict[str, torch.Tensor]:
        return nfkd.build_flow(digits().student, (1, 8, 8)).state_dict()

    torch.manual_seed(5)
    one, two = first(), first()
    torch.manual_seed(5)
    assert_same(first(), one)
    assert any(not torch.equal(one[name], two[name]) for name in one)


def teach(run: Path) -> dict[str, torch.Tensor]:
    """Create a teacher and run an experiment with it; return the weights of the run."""
    zuko = pytest.importorskip("zuko")
    torch.manual_seed(0)
    module = zuko.flows.MAF(2, transforms=2, hidden_features=(8,))
    before = state()
    nfkd.run(moons(training=FEW), run, teacher=nfkd.wrap_teacher(module))
    assert state() == before
    return weights(run)


@pytest.mark.parametrize("mode", [MODES["inference_mode"], MODES["no_grad"]], ids=["inference_mode", "no_grad"])
def test_a_teacher_created_in_a_mode_teaches_the_same(
    mode: Mode, taught_in_no_mode: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    with mode():
        found = teach(tmp_path / "run")
    assert_same(found, taught_in_no_mode)


def test_a_float64_teacher_teaches_a_float32_student(tmp_path: Path) -> None:
    zuko = pytest.importorskip("zuko")
    with dtype(torch.float64):
        teacher = nfkd.wrap_teacher(zuko.flows.MAF(2, transforms=2, hidden_features=(8,)))
        student = nfkd.run(moons(training=FEW), tmp_path / "run", teacher=teacher).load_student()
    assert {parameter.dtype for parameter in student.parameters()} == {torch.float32}


def test_a_teacher_on_the_meta_device_is_refused() -> None:
    zuko = pytest.importorskip("zuko")
    module = zuko.flows.MAF(2, transforms=2, hidden_features=(8,)).to("meta")
    with pytest.raises(ValueError, match="meta"):
        nfkd.wrap_teacher(module)


def test_the_number_of_threads_is_restored_even_after_a_failed_run(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    seen: set[int] = set()
    torch.set_num_threads(3)
    try:
        record = nfkd.run(
            moons(training=FEW),  # with one thread
            tmp_path / "run",
            on_event=lambda event: seen.add(torch.get_num_threads()) if isinstance(event, Progress) else None,
        )
        assert seen == {1}
        assert torch.get_num_threads() == 3

        def fail(event: RunEvent) -> None:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            nfkd.run(record.config, tmp_path / "failed", on_event=fail)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_the_threads_of_the_engine_use_float32(plain: RunRecord, tmp_path: Path) -> None:
    """The default dtype belongs to the process, so a separate thread alone does not isolate it."""
    with dtype(torch.float64):
        job = TrainingJob(tmp_path / "run", moons(training=FEW), lambda event: None)
        prepare(moons(training=FEW), tmp_path / "run")
        job.start()
        job.join()
        assert job.state == "finished"
        assert describe(moons()).problems == []
        request = Sample(str(plain.path), 1, 4, 1.0)
        found = plain_torch()(Explorer().answer)(request, None)
        assert torch.get_default_dtype() == torch.float64
    assert_same(weights(tmp_path / "run"), weights(plain.path))
    np.testing.assert_array_equal(found.samples["student"], Explorer().answer(request).samples["student"])


def test_float32_stays_the_default_until_the_last_thread_leaves() -> None:
    inside, leave = threading.Event(), threading.Event()

    def stay() -> None:
        with plain_torch():
            inside.set()
            leave.wait()

    with dtype(torch.float64):
        other = threading.Thread(target=stay)
        with plain_torch():
            other.start()
            inside.wait()
        assert torch.get_default_dtype() == torch.float32  # the other thread computes
        leave.set()
        other.join()
        assert torch.get_default_dtype() == torch.float64
