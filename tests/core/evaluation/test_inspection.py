"""`nfkd inspect`: the tests of a flow, and the targets of the command."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import Tensor

import nfkd
from nfkd.cli import main
from nfkd.config import Glow1DConfig, GlowConfig, preset_path
from nfkd.config.flows import FlowConfig, MAFConfig
from nfkd.evaluation.inspection import inspect_flow
from nfkd.evaluation.iterations import describe_iterations
from nfkd.flows.architectures import build_flow
from nfkd.flows.flow import Flow
from nfkd.flows.layer import Layer
from nfkd.protocol.records import BlockSolve
from tests.core.tiny import moons

GLOW, VECTORS = GlowConfig(levels=2, steps=2, hidden=8), Glow1DConfig(steps=3, hidden=8)
CASES: list[tuple[FlowConfig, tuple[int, ...], int]] = [
    (GLOW, (1, 8, 8), 0),
    (GlowConfig(levels=2, steps=1, hidden=8, learned_prior=True), (1, 8, 8), 3),
    (VECTORS, (5,), 0),
    (MAFConfig(steps=2, hidden=16), (4,), 2),
]


def inputs(shape: tuple[int, ...], count: int = 16) -> Tensor:
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(1))


def build(config: FlowConfig, shape: tuple[int, ...], features: int = 0) -> tuple[Flow, Tensor | None]:
    flow = build_flow(config, shape, context_features=features, generator=torch.Generator().manual_seed(2))
    context = torch.eye(features)[torch.arange(16) % features] if features else None
    flow.initialize(inputs(shape), context)
    return flow, context


def append(flow: Flow, layer: Layer) -> Flow:
    """Add a layer after the last one."""
    flow.layers[-1] = Both(flow.layers[-1], layer)  # type: ignore[arg-type]
    return flow


class Both(Layer):
    def __init__(self, first: Layer, second: Layer) -> None:
        super().__init__()
        self.first, self.second = first, second

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        middle, before = self.first(x, context)
        out, after = self.second(middle, context)
        return out, before + after

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        return self.first.inverse(self.second.inverse(y, context), context)


class Doubled(Layer):
    """Doubles its input, but reports a log-determinant of 0."""

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        del context
        return 2 * x, x.new_zeros(len(x))

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        del context
        return y / 2


class Shifted(Layer):
    """Adds a number so large that single precision loses its input."""

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        del context
        return x + 1e9, x.new_zeros(len(x))

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        del context
        return y - 1e9


class FarSplit(Layer):
    """Identity near zero; infinity far from it, so that it has no inverse there."""

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        del context
        return torch.where(x.abs() < 20, x, torch.full_like(x, torch.inf)), x.new_zeros(len(x))

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        del context
        return y


@pytest.mark.parametrize(("config", "shape", "features"), CASES)
def test_a_correct_flow_is_sound_and_its_layers_add_up(
    config: FlowConfig, shape: tuple[int, ...], features: int
) -> None:
    flow, context = build(config, shape, features)
    before = {name: value.clone() for name, value in flow.state_dict().items()}
    found = inspect_flow(flow, config, inputs(shape), context, batch_size=8)
    assert found.verdict.startswith("Sound on data")
    assert found.log_det_error is not None
    assert found.log_det_error < 1e-9
    assert [layer.name for layer in found.layers] == list(flow.trace(inputs(shape), context))
    assert sum(layer.parameters for layer in found.cost.layers) == sum(p.numel() for p in flow.parameters())
    assert all(torch.equal(before[name], value) for name, value in flow.state_dict().items())


def test_a_wrong_log_determinant_is_found() -> None:
    flow = append(build(VECTORS, (5,))[0], Doubled())
    found = inspect_flow(flow, VECTORS, inputs((5,)))
    assert found.verdict.startswith("Unsound")
    assert "log-determinant" in found.verdict
    assert found.trials[0].judgement == "exact"


def test_an_inverse_that_fails_by_rounding_is_found() -> None:
    flow = append(build(VECTORS, (5,))[0], Shifted())
    found = inspect_flow(flow, VECTORS, inputs((5,)), source="tables")
    assert found.verdict.startswith("Unsound: the inverse explodes on tables")
    assert "it is exact in double" in found.verdict
    assert found.trials[0].float64 < 1e-3 < found.trials[0].float32


def test_an_inverse_that_fails_far_from_the_data_is_reported() -> None:
    flow = append(build(VECTORS, (5,))[0], FarSplit())
    found = inspect_flow(flow, VECTORS, inputs((5,)))
    assert found.verdict.startswith("Sound on data; the inverse explodes on")
    assert "far outliers" in found.verdict


def test_a_large_flow_is_not_compared_with_autograd(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = flow_file(tmp_path, 'kind = "glow"\nlevels = 2\nsteps = 1\nhidden = 4\n', [3, 16, 16])
    assert main(["inspect", path]) == 0
    assert "too many dimensions" in capsys.readouterr().out


def flow_file(folder: Path, text: str, shape: list[int] | None = None) -> str:
    path = folder / "flow.toml"
    path.write_text((f"event_shape = {shape}\n" if shape else "") + f"[flow]\n{text}", encoding="utf-8")
    return str(path)


def layer_names(out: str) -> list[str]:
    return [line.split()[0] for line in out.splitlines() if re.match(r"(level\d|step\d)", line)]


def test_a_preset_lists_the_layers_of_both_flows(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "two_moons"]) == 0
    out = capsys.readouterr().out
    config = nfkd.ExperimentConfig.load(preset_path("two_moons"))
    assert isinstance(config.teacher, Glow1DConfig)
    assert isinstance(config.student, Glow1DConfig)
    steps = [f"step{n}" for flow in (config.teacher, config.student) for n in range(1, flow.steps + 1)]
    assert layer_names(out) == steps
    assert out.count("Sound on validation data of two moons") == 2
    assert "untrained" in out


@pytest.mark.parametrize("kind", ["maf", "iaf"])
def test_jacobi_iterations_of_autoregressive_blocks(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, kind: str
) -> None:
    path = flow_file(tmp_path, f'kind = "{kind}"\nsteps = 2\nhidden = 8\n')
    assert main(["inspect", path, "--shape", "4"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    order = "step2: [1-4], step1: [1-4]" if kind == "maf" else "step1: [1-4], step2: [1-4]"
    assert re.search(f"Jacobi iteration at tolerance 0.001, 16 examples – {order} iterations; 4 always", printed)


def test_a_flow_file_needs_a_shape_where_it_names_none(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = flow_file(tmp_path, 'kind = "nsf"\nsteps = 2\nhidden = 8\n')
    assert main(["inspect", path]) == 2
    assert "--shape" in capsys.readouterr().err
    assert main(["inspect", path, "--shape", "7", "--context", "3"]) == 0
    assert "Sound on noise" in capsys.readouterr().out


def test_a_run_is_inspected_with_its_trained_flows_and_its_data(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    nfkd.run(moons(), directory=tmp_path / "one")
    assert main(["inspect", str(tmp_path / "one")]) == 0
    out = capsys.readouterr().out
    assert [line.split(":")[0] for line in out.splitlines() if re.match("teacher|student|baseline", line)] == [
        "teacher",
        "student",
        "baseline",
    ]
    assert "untrained" not in out
    assert main(["inspect", str(tmp_path / "one" / "student.safetensors")]) == 0
    assert "student.safetensors: Glow-1D 2" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["nothing"], ["nothing", "digits"]),
        (["digits", "--shape", "3,7,7"], ["levels"]),
        (["digits", "--shape", "3,8"], ["--shape 3,32,32"]),
        (["digits", "--shape", "0"], ["--shape 3,32,32"]),
        (["mnist"], ["MNIST", "--shape"]),
    ],
)
def test_bad_targets_are_refused(
    arguments: list[str],
    expected: list[str],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NFKD_DATA", str(tmp_path))
    assert main(["inspect", *arguments]) == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    assert all(text in error for text in expected)


def test_an_empty_folder_and_a_broken_file_are_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["inspect", str(tmp_path)]) == 2
    (tmp_path / "weights.safetensors").write_bytes(b"\x00" * 20)
    assert main(["inspect", str(tmp_path / "weights.safetensors")]) == 2
    (tmp_path / "flow.toml").write_text("[flow]\nkind = 'glow'\nhiden = 3\n")
    assert main(["inspect", str(tmp_path / "flow.toml"), "--shape", "3,8,8"]) == 2
    error = capsys.readouterr().err
    assert "weights.safetensors" in error
    assert "hiden" in error
    assert "Traceback" not in error


def test_a_tolerance_that_is_never_reached_is_said_with_the_block() -> None:
    blocks = [BlockSolve("block 2", 64, 32, 16, 3), BlockSolve("block 1", 64, 9, 16, 0)]
    said = describe_iterations(blocks)
    assert (
        "block 2: 32 (3 did not converge and were finished exactly), block 1: 9 iterations; 64 always suffice" in said
    )
