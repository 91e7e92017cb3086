"""Flows in the units of their data, and the scaling in files."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import nfkd
from nfkd.config import ExperimentConfig
from nfkd.config.flows import MAFConfig
from nfkd.data.scaling import AffineScaler
from nfkd.data.units import DataUnits
from nfkd.runs.data_space import DataSpaceFlow
from nfkd.runs.errors import RunError
from nfkd.runs.recovery import copy_cut
from tests.core.tiny import moons

FLAT = {"kind": "affine", "centre": [0, 0], "width": [1, 0]}
CENTRE, WIDTH = np.array([100.0, -3.0]), np.array([5.0, 0.01])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("units")
    rows = np.random.default_rng(0).normal(size=(300, 2)) * WIDTH + CENTRE
    np.save(folder / "rows.npy", rows)
    config = moons(training={"teacher_steps": 3, "student_steps": 3, "baseline": False})
    values = config.model_dump(mode="json") | {"data": {"kind": "table", "path": str(folder / "rows.npy")}}
    return nfkd.run(ExperimentConfig.from_dict(values), folder / "run")


def metadata(path: Path) -> dict[str, str]:
    with safe_open(path, framework="pt") as file:
        return file.metadata()


def rewrite(source: Path, target: Path, **changes: str | None) -> Path:
    meta = {name: value for name, value in (metadata(source) | changes).items() if value is not None}
    save_file(load_file(source), target, meta)
    return target


def flow_in_units(context: int = 0) -> DataSpaceFlow:
    """A flow with perturbed weights and the scaling of this module's rows."""
    generator = torch.Generator().manual_seed(0)
    flow = nfkd.build_flow(MAFConfig(steps=2, hidden=8), (2,), context_features=context, generator=generator)
    conditions = torch.randn(32, context, generator=generator) if context else None
    flow.initialize(torch.randn(32, 2, generator=generator), conditions)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    scaler = AffineScaler(np.full(context, 7.0), np.full(context, 2.0)) if context else None
    return DataSpaceFlow(flow.eval(), DataUnits(None, AffineScaler(CENTRE, WIDTH), scaler))


def rows_of(count: int = 6) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(1).normal(size=(count, 2)) * WIDTH + CENTRE)


# --- files ------------------------------------------------------------------------------------------------------------


def test_weights_and_run_file_contain_the_exact_scaling(run: Any, tmp_path: Path) -> None:
    train = np.load(run.config.data.path)[np.random.default_rng(0).permutation(300)[90:]]
    scaling = json.loads(metadata(run.path / "student.safetensors")["units"])
    centre = [math.fsum(column) / len(column) for column in train.T]
    width = [math.sqrt(math.fsum((x - c) ** 2) / len(x)) for x, c in zip(train.T, centre, strict=True)]
    assert scaling["values"] == {"kind": "affine", "centre": centre, "width": width}
    copy_cut(run.path / "run.h5", tmp_path / "recovered.h5", None)
    for path in (run.path / "run.h5", tmp_path / "recovered.h5"):
        with h5py.File(path) as file:
            attributes: Any = file.attrs
            assert json.loads(bytes(attributes["units"])) == scaling


def test_load_flow_gives_the_same_flow_as_the_run(run: Any) -> None:
    for path in (run.path / "student.safetensors", str(run.path / "student.safetensors")):
        torch.testing.assert_close(nfkd.load_flow(path).log_prob(rows_of()), run.load_student().log_prob(rows_of()))


def test_a_file_without_scaling_loads_with_a_warning(run: Any, tmp_path: Path) -> None:
    path = rewrite(run.path / "student.safetensors", tmp_path / "old.safetensors", units=None)
    with pytest.warns(UserWarning, match=r"old\.safetensors has no scaling.*uses scaled values.*to_scaled"):
        flow = nfkd.load_flow(path)
    z = torch.randn(5, 2)
    torch.testing.assert_close(flow.log_prob(z), run.load_student().scaled.log_prob(z))
    assert flow.unit == "nats (scaled)"


@pytest.mark.parametrize(
    "units",
    [
        "{}",
        "[" * 100_000,
        json.dumps({"levels": None, "values": FLAT, "context": None, "standardised": False}),
        '{"levels": 256, "values": null, "context": null, "standardised": false}',
    ],
)
def test_a_damaged_scaling_is_refused(units: str, run: Any, tmp_path: Path) -> None:
    path = rewrite(run.path / "student.safetensors", tmp_path / "bad.safetensors", units=units)
    with pytest.raises(RunError, match=r"scaling of the data in .*bad\.safetensors is damaged: "):
        nfkd.load_flow(path)


# --- the flow ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("context", [0, 3])
def test_the_log_determinant_equals_autograds(context: int) -> None:
    flow = flow_in_units(context).double()
    x, conditions = rows_of(), 7 + 2 * torch.randn(6, context) if context else None
    latents = flow.encode(x, conditions)

    def encoded(row: torch.Tensor) -> torch.Tensor:
        return flow.encode(row[None], None if conditions is None else conditions[:1]).flat()[0]

    jacobian = torch.autograd.functional.jacobian(encoded, x[0])
    assert isinstance(jacobian, torch.Tensor)
    torch.testing.assert_close(torch.linalg.slogdet(jacobian).logabsdet, latents.log_det[0])
    normal = -0.5 * (latents.flat().square().sum(1) + 2 * math.log(2 * math.pi))
    torch.testing.assert_close(flow.log_prob(x, conditions), normal + latents.log_det)
    torch.testing.assert_close(flow.decode(latents, conditions), x)
    last = list(flow.trace(x, conditions).values())[-1]
    torch.testing.assert_close(last, (latents.parts[-1], latents.log_det))


def test_samples_are_those_of_the_scaled_flow_in_data_units() -> None:
    flow = flow_in_units(3)
    conditions = torch.randn(9, 3)
    samples = flow.sample(9, 0.5, torch.Generator().manual_seed(3), 7 + 2 * conditions)
    scaled = flow.scaled.sample(9, 0.5, torch.Generator().manual_seed(3), conditions)
    torch.testing.assert_close(samples, (scaled * torch.from_numpy(WIDTH) + torch.from_numpy(CENTRE)).float())


def test_it_behaves_like_any_module() -> None:
    flow, x = flow_in_units(), rows_of()
    before = flow.log_prob(x)
    assert [parameter.shape for parameter in flow.parameters()] == [each.shape for each in flow.scaled.parameters()]
    assert not flow.eval().training
    assert not flow.scaled.training
    torch.testing.assert_close(copy.deepcopy(flow).to("cpu").log_prob(x), before)
    torch.testing.assert_close(flow.double().log_prob(x), before.double(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(flow.half().float().units.to_scaled(x), flow.units.to_scaled(x), rtol=0, atol=0)
    assert (flow.event_shape, flow.context_features, flow.latent_shapes) == ((2,), 0, [(2,)])
    assert [layer.name for layer in flow.layer_info()] == ["step1", "step2"]


def test_the_score_in_data_units_equals_finite_differences() -> None:
    flow = flow_in_units().double()
    x = rows_of().requires_grad_()
    torch.autograd.gradcheck(flow.log_prob, x, eps=1e-7)


def test_gradients_reach_all_weights() -> None:
    flow = flow_in_units()
    flow.log_prob(rows_of()).sum().backward()
    assert all(parameter.grad is not None for parameter in flow.parameters())


def test_wrong_shapes_are_refused_with_the_expected_shape() -> None:
    flow = flow_in_units(3)
    with pytest.raises(ValueError, match=r"this flow takes \(B, 2\)"):
        flow.log_prob(torch.zeros(4, 3), torch.zeros(4, 3))
    with pytest.raises(ValueError, match="the context has shape"):
        flow.log_prob(torch.zeros(4, 2), torch.zeros(4, 2))
    with pytest.raises(ValueError, match="this flow is conditional"):
        flow.sample(3)
    with pytest.raises(ValueError, match="takes no context"):
        flow_in_units().log_prob(torch.zeros(4, 2), torch.zeros(4, 2))
