"""A device whose memory is full: the message says what to do, and the run can be resumed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import nfkd
from nfkd.distillation.distiller import Distiller
from nfkd.runs.errors import RunError
from nfkd.runs.reader import open_run
from nfkd.training.job import out_of_memory
from tests.core.tiny import moons
from tests.torture.compare import differences

CONFIG = moons(training={"baseline": False})


def fail_at(step: int, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the gradient of a student's step raise, as an allocation does."""
    original = Distiller._sum_terms

    def sum_terms(self: Distiller, *arguments: object, **named: object) -> object:
        failing = self.teacher is not None
        count[0] += failing
        if failing and count[0] == step:
            raise error
        return original(self, *arguments, **named)  # pyright: ignore[reportArgumentType]

    count = [0]
    monkeypatch.setattr(Distiller, "_sum_terms", sum_terms)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has …"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
)
@pytest.mark.parametrize("step", [3, 13])  # before and after the first checkpoint of the student
def test_a_run_out_of_memory_is_resumed_as_if_nothing_had_happened(
    error: Exception, step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nfkd.run(CONFIG, tmp_path / "whole")
    with monkeypatch.context() as patch:
        fail_at(step, error, patch)
        with pytest.raises(RunError, match="Out of memory") as failed:
            nfkd.run(CONFIG, tmp_path / "full")
    assert all(hint in failed.value.action for hint in ("accumulate", "bf16", "batch_size", "resume"))
    assert "Tried to allocate" not in failed.value.cause
    assert open_run(tmp_path / "full").row.state == "failed"
    nfkd.run(CONFIG, tmp_path / "full", resume=True)
    assert differences(tmp_path / "whole", tmp_path / "full") == {}


def test_other_errors_are_not_taken_for_it() -> None:
    assert out_of_memory(MemoryError())
    assert not out_of_memory(RuntimeError("The size of tensor a (3) must match the size of tensor b (4)"))
    assert not out_of_memory(ValueError("out of memory"))
