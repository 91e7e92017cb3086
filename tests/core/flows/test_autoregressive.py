"""Masked autoregressive flows and their inverse against autograd, plain loops, and the formulas of their papers."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import nfkd
from nfkd.config import ConfigProblem, DistillationConfig, MatchingConfig
from nfkd.config.flows import FlowConfig, IAFConfig, MAFConfig, NSFConfig
from nfkd.data import Batch, load_dataset
from nfkd.distillation.distiller import Distiller, freeze
from nfkd.distillation.matching import match_layers
from nfkd.flows.architectures import FlowError, build_flow
from nfkd.flows.autoregressive import BatchNorm, MaskedAutoregressive
from nfkd.flows.cost import flow_cost
from nfkd.flows.flow import Flow, Latents
from nfkd.training import seed_run
from tests.core.flows.flow_cases import batch, generator, given, initialised, perturbed
from tests.core.tiny import moons

SPLINES = {"transform": "autoregressive", "bins": 3}


def digest(flow: Flow) -> str:
    parts = [name.encode() + value.numpy().tobytes() for name, value in flow.state_dict().items()]
    return hashlib.sha256(b"".join(parts)).hexdigest()


def latents(z: Tensor) -> Latents:
    return Latents((z,), torch.zeros(len(z)))


def layers(flow: Flow) -> list[MaskedAutoregressive]:
    found = [layer for layer in flow.modules() if isinstance(layer, MaskedAutoregressive)]
    assert found
    return found


# --- what depends on what --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hidden", [3, 4, 17])
@pytest.mark.parametrize("features", [0, 3])
@pytest.mark.parametrize("make", [MAFConfig, IAFConfig])
def test_the_jacobian_of_a_layer_is_triangular_in_its_order(make: type, features: int, hidden: int) -> None:
    flow = perturbed(make(steps=3, hidden=hidden, order="permuted"), (5,), features)
    x, c = 6 * batch((5,), 64) - 3, given(features, 64)
    for layer in layers(flow):
        # The sum's derivatives by one example are that example's alone.
        jacobians = torch.func.jacrev(lambda v, layer=layer: layer(v, c)[0].sum(0))(x).transpose(0, 1)
        ordered = jacobians[:, layer.order][:, :, layer.order]
        assert torch.equal(ordered, ordered.tril())
        assert (ordered.diagonal(dim1=1, dim2=2) > 0).all()
        if hidden == 17:
            assert ((ordered != 0).any(0) == torch.ones(5, 5).tril().bool()).all()


@pytest.mark.parametrize("config", [MAFConfig(steps=1, hidden=40), NSFConfig(steps=1, hidden=40, **SPLINES)])
def test_every_place_depends_on_all_before_it_and_on_the_context(config: FlowConfig) -> None:
    flow, c = perturbed(config, (5,), 3), given(3, 64)
    x = batch((5,), 64)
    [layer] = layers(flow)
    parameters = layer.network(x, c)
    for place in range(5):
        x_seen = torch.func.jacrev(lambda v, n=place: layer.network(v, c)[:, n].sum(0))(x).abs().sum((0, 1))
        c_seen = torch.func.jacrev(lambda v, n=place: layer.network(x, v)[:, n].sum(0))(c).abs().sum((0, 1))
        assert (x_seen > 0).tolist() == [before < place for before in range(5)]
        assert (c_seen > 0).all()
    assert parameters.shape == (64, 5, 2 if isinstance(config, MAFConfig) else 8)


def test_reversed_orders_alternate_and_permuted_ones_are_drawn_and_kept() -> None:
    flow = build_flow(MAFConfig(steps=3), (4,), generator=generator())
    assert [layer.order.tolist() for layer in layers(flow)] == [[0, 1, 2, 3], [3, 2, 1, 0], [0, 1, 2, 3]]
    first, again, other = (
        build_flow(IAFConfig(steps=3, order="permuted"), (9,), generator=generator(seed)) for seed in (1, 1, 2)
    )
    orders = [[layer.order.tolist() for layer in layers(flow)] for flow in (first, again, other)]
    assert all(sorted(order) == list(range(9)) for order in orders[0])
    assert orders[0] == orders[1] != orders[2]
    assert len({tuple(order) for order in orders[0]}) == 3
    other.load_state_dict(first.state_dict())
    assert [layer.order.tolist() for layer in layers(other)] == orders[0]


@pytest.mark.parametrize("features", [1, 5])
def test_a_new_spline_flow_is_the_identity(features: int) -> None:
    flow = build_flow(NSFConfig(permutation="reverse", steps=2, **SPLINES), (features,), generator=generator())
    x = batch((features,)).float()
    torch.testing.assert_close(flow.encode(x).parts[0], x, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(flow.encode(x).log_det, torch.zeros(len(x)), rtol=0, atol=1e-5)


@pytest.mark.parametrize("make", [MAFConfig, IAFConfig])
def test_a_new_affine_layer_is_near_the_identity(make: type) -> None:
    """The network's first parameters are small, and not zero but at the first place, before which there is nothing."""
    flow, x = build_flow(make(steps=1, hidden=64), (6,), generator=generator()), batch((6,), 200).float()
    parameters = layers(flow)[0].network(x)
    assert torch.equal(parameters[:, 0], torch.zeros(200, 2))
    assert 0.01 < parameters[:, 1:].std() < 0.1
    assert (flow.encode(x).parts[0] - x).abs().max() < 0.5


# --- formulas --------------------------------------------------------------------------------------------------------


def made_in_loops(state: dict[str, np.ndarray], x: np.ndarray, c: np.ndarray) -> np.ndarray:
    """The masked network unit by unit: shift and raw log-scale of every place."""
    places, depth = len(x), sum(name.startswith("weights.") for name in state) - 1
    values, degrees = [*x, *c], [*range(1, places + 1), *[0] * len(c)]
    lowest = 0 if len(c) else 1
    for layer in range(depth):
        weight, bias = state[f"weights.{layer}"], state[f"biases.{layer}"]
        kinds = places - lowest
        own = [lowest + unit * kinds // len(weight) for unit in range(len(weight))]
        new = []
        for unit, degree in enumerate(own):
            total = bias[unit]
            for n, value in enumerate(values):
                if degrees[n] <= degree:
                    total += weight[unit, n] * value
            new.append(max(total, 0.0))
        values, degrees = new, own
    weight, bias = state[f"weights.{depth}"], state[f"biases.{depth}"]
    found = np.array(bias)
    for row in range(len(bias)):
        for n, value in enumerate(values):
            if degrees[n] <= row // 2:
                found[row] += weight[row, n] * value
    return found.reshape(places, 2)


@pytest.mark.parametrize("features", [0, 3])
@pytest.mark.parametrize("make", [MAFConfig, IAFConfig])
def test_a_step_is_what_its_formulas_say(make: type, features: int) -> None:
    """MAF: z = x·exp(α(x)) + β(x); IAF: x = z·exp(α(z)) + β(z), solved for z. Both read what comes before alone."""
    flow = perturbed(make(steps=1, hidden=9, order="permuted"), (5,), features)
    x, c = batch((5,), 3), given(features, 3)
    state = {name.removeprefix("layers.0.network."): value.numpy() for name, value in flow.state_dict().items()}
    order, bound = layers(flow)[0].order.tolist(), math.log(1000)
    found = flow.encode(x, c)
    for n in range(3):
        z = np.zeros(5)
        log_det = 0.0
        for place, feature in enumerate(order):
            read = x[n].numpy() if make is MAFConfig else z  # places not known yet are hidden from what follows
            parameters = made_in_loops(state, read[order], c[n].numpy() if c is not None else np.zeros(0))
            shift, raw = parameters[place]
            log_scale = bound * math.tanh(raw / bound)
            if make is MAFConfig:
                z[feature] = x[n, feature].item() * math.exp(log_scale) + shift
                log_det += log_scale
            else:
                z[feature] = (x[n, feature].item() - shift) * math.exp(-log_scale)
                log_det -= log_scale
        np.testing.assert_allclose(found.parts[0][n].detach(), z, rtol=1e-10, atol=1e-12)
        assert found.log_det[n].item() == pytest.approx(log_det, rel=1e-10)


@pytest.mark.parametrize("features", [0, 3])
@pytest.mark.parametrize(
    "config", [MAFConfig(steps=3, hidden=9, order="permuted"), MAFConfig(steps=2, hidden=9, batch_norm=True)]
)
def test_sampling_in_as_many_passes_as_features_equals_a_plain_loop(config: FlowConfig, features: int) -> None:
    """Each feature from the affine function that `forward` is in it, one full pass after the other."""
    flow, z, c = perturbed(config, (5,), features), batch((5,), seed=7), given(features)
    x = z
    for layer in reversed(list(flow.layers)):
        if isinstance(layer, BatchNorm):
            at_zero, at_one = (layer(torch.full_like(x, end))[0] for end in (0.0, 1.0))
            x = (x - at_zero) / (at_one - at_zero)
            continue
        assert isinstance(layer, MaskedAutoregressive)
        known = torch.zeros_like(x)
        for feature in layer.order.tolist():
            at_zero = layer(known, c)[0][:, feature]
            there = known.clone()
            there[:, feature] = 1.0
            known[:, feature] = (x[:, feature] - at_zero) / (layer(there, c)[0][:, feature] - at_zero)
        x = known
    torch.testing.assert_close(flow.decode(latents(z), c), x, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    "config",
    [
        MAFConfig(steps=2, hidden=12),
        IAFConfig(steps=2, hidden=12, batch_norm=True),
        NSFConfig(steps=2, hidden=12, **SPLINES),
        NSFConfig(steps=2, hidden=3, depth=1, tail_bound=1.5),
    ],
    ids=["maf", "iaf", "nsf autoregressive", "nsf coupling"],
)
def test_the_density_in_the_plane_integrates_to_one(config: FlowConfig) -> None:
    flow = perturbed(config, (2,))
    axis = torch.linspace(-6, 7, 700, dtype=torch.float64)
    with torch.no_grad():
        mass = flow.log_prob(torch.cartesian_prod(axis, axis)).exp().sum() * (axis[1] - axis[0]) ** 2
    assert mass.item() == pytest.approx(1.0, abs=1e-3)


def test_scales_are_bounded_however_large_the_network_s_answer() -> None:
    for config, sign in ((MAFConfig(steps=1), 1), (IAFConfig(steps=1), -1)):
        flow = perturbed(config, (3,))
        with torch.no_grad():
            layers(flow)[0].network.biases[-1][1::2] = torch.tensor([1e30, -1e30, 1e5], dtype=torch.float64)
        expected = torch.tensor([sign * math.log(1000)] * 6, dtype=torch.float64)
        torch.testing.assert_close(flow.encode(batch((3,))).log_det, expected)


# --- batch norm ------------------------------------------------------------------------------------------------------


def test_batch_norm_in_training_is_the_batch_s_and_its_running_means_follow() -> None:
    layer, batches = BatchNorm(3).double().train(), [5 + 2 * batch((3,), 40, seed=seed) for seed in range(3)]
    layer.initialize(batches[0])
    mean, variance = batches[0].numpy().mean(0), batches[0].numpy().var(0)
    mean, variance = 0.9 * mean + 0.1 * mean, 0.9 * variance + 0.1 * variance  # initialize maps the batch, too
    for x in batches[1:]:
        y, log_det = layer(x)
        np.testing.assert_allclose(y.detach().mean(0), 0, atol=1e-12)
        np.testing.assert_allclose(y.detach().var(0, unbiased=False), 1, rtol=1e-4)
        assert log_det[0].item() == pytest.approx(-0.5 * np.log(x.numpy().var(0) + 1e-5).sum())
        mean = 0.9 * mean + 0.1 * x.numpy().mean(0)
        variance = 0.9 * variance + 0.1 * x.numpy().var(0)
    np.testing.assert_allclose(layer.mean, mean)
    np.testing.assert_allclose(layer.variance, variance)
    expected = (batches[0].numpy() - mean) / np.sqrt(variance + 1e-5)
    for mode in (True, False):
        layer.train(mode)
        torch.testing.assert_close(layer.inverse(torch.from_numpy(expected)), batches[0])
        one, _ = layer(batches[0][:1])  # one example has no variance
        np.testing.assert_allclose(one.detach(), expected[:1])
    np.testing.assert_allclose(layer(batches[0])[0].detach(), expected)


@pytest.mark.parametrize("make", [MAFConfig, IAFConfig])
def test_a_flow_with_batch_norm_has_all_derivatives_in_training(make: type) -> None:
    flow, x = perturbed(make(steps=3, hidden=9, batch_norm=True), (3,)).train(), batch((3,), 8)
    assert [info.kind for info in flow.layer_info()] == ["step", "batch_norm", "step", "batch_norm", "step"]
    forward = torch.func.jvp(lambda v: flow.encode(v).flat(), (x,), (torch.ones_like(x),))[1]
    ahead, behind = (flow.encode(x + sign * 1e-6).flat() for sign in (1, -1))
    torch.testing.assert_close(forward, (ahead - behind) / 2e-6, rtol=1e-5, atol=1e-6)
    x.requires_grad_()
    [score] = torch.autograd.grad(flow.log_prob(x).sum(), x, create_graph=True)
    score.square().sum().backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()


def distilled(teacher: Flow, student: Flow) -> None:
    """Ten steps with every term of the loss that there is."""
    dataset = load_dataset(moons().data)
    pairs = match_layers(MatchingConfig(), student.layer_info(), teacher.layer_info())
    weights = {name: {"weight": 0.25} for name in DistillationConfig().terms()}
    loss = Distiller(DistillationConfig.model_validate(weights), teacher, pairs, dataset)
    optimizer = torch.optim.Adam(student.parameters(), 1e-2)
    for step in range(10):
        loss.backward(student, Batch(batch((2,), 32, seed=step)), lambda _, step=step: generator(step))
        optimizer.step()


def test_distillation_changes_nothing_in_a_teacher_with_batch_norm() -> None:
    config = MAFConfig(steps=3, hidden=8, batch_norm=True)
    teacher, student = (
        freeze(perturbed(config, (2,)).train()),
        perturbed(config.model_copy(update={"steps": 2}), (2,)).train(),
    )
    before, students = digest(teacher), digest(student)
    distilled(teacher, student)
    assert digest(teacher) == before
    assert not teacher.training
    assert digest(student) != students


def test_a_whole_run_leaves_its_teacher_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Flow, str]] = []

    def spy(flow: Flow) -> Flow:
        frozen = freeze(flow)
        seen.append((frozen, digest(frozen)))
        return frozen

    monkeypatch.setattr(seed_run, "freeze", spy)
    flow: dict[str, Any] = {"kind": "maf", "hidden": 8, "batch_norm": True}
    record = nfkd.run(moons(teacher=flow | {"steps": 3}, student=flow | {"steps": 2}), tmp_path / "run")
    [(teacher, before)] = seen
    assert digest(teacher) == before
    assert not teacher.training
    assert record.row.state == "finished"
    stored = record.load_teacher().scaled
    assert digest(stored) == before
    mean = stored.state_dict()["layers.1.mean"]
    assert mean.abs().max() > 0  # the running means came along


# --- building --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "config", [MAFConfig(steps=2), IAFConfig(steps=2, batch_norm=True), NSFConfig(steps=1, **SPLINES)]
)
@pytest.mark.parametrize("context", [0, 3])
@pytest.mark.parametrize("features", [1, 4])
def test_on_the_meta_device_nothing_has_storage(config: FlowConfig, context: int, features: int) -> None:
    flow = build_flow(config, (features,), context_features=context, device="meta")
    assert all(tensor.is_meta for tensor in [*flow.state_dict().values(), *flow.buffers()])
    real = build_flow(config, (features,), context_features=context)
    assert {n: v.shape for n, v in flow.state_dict().items()} == {n: v.shape for n, v in real.state_dict().items()}
    cost = flow_cost(config, (features,), 8, context)
    assert cost.parameters == sum(parameter.numel() for parameter in real.parameters())
    assert cost.training_memory > 0


def test_multiply_adds_by_hand() -> None:
    dense = 6 * 16 + 16 * 16 + 16 * 12
    assert flow_cost(MAFConfig(steps=3, hidden=16), (6,), 1).multiply_adds == 3 * dense
    # Feature by feature only what a unit may see is computed: with one unit a degree, half of it.
    one = flow_cost(IAFConfig(steps=1, hidden=5, depth=2), (6,), 1).multiply_adds
    assert one == sum(range(1, 6)) + sum(range(1, 6)) + 2 * sum(range(1, 6))


@pytest.mark.parametrize(
    ("config", "shape", "problem"),
    [
        (MAFConfig(), (1, 8, 8), ConfigProblem("kind", "MAF takes features, not examples of shape 1×8×8: choose glow")),
        (IAFConfig(), (1, 8, 8), ConfigProblem("kind", "IAF takes features, not examples of shape 1×8×8: choose glow")),
        (
            NSFConfig(transform="coupling"),
            (1,),
            ConfigProblem(
                "transform", "a coupling needs at least two features, and the data has one: choose autoregressive"
            ),
        ),
    ],
)
def test_what_does_not_fit_is_named(config: FlowConfig, shape: tuple[int, ...], problem: ConfigProblem) -> None:
    with pytest.raises(FlowError) as refused:
        build_flow(config, shape)
    assert refused.value.problems == [problem]


def test_one_feature_without_context_is_an_affine_map() -> None:
    flow = initialised(MAFConfig(steps=1), (1,))
    assert [tuple(parameter.shape) for parameter in flow.parameters()] == [(2,)]
