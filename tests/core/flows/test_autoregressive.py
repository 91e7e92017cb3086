"""Autoregressive layers and batch norm: dependencies, inverses, densities, training; formulas are in test_formulas."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from nfkd.config import ConfigProblem, DistillationConfig, MatchingConfig
from nfkd.config.flows import FlowConfig, IAFConfig, MAFConfig, NSFConfig
from nfkd.data import Batch, load_dataset
from nfkd.distillation.distiller import Distiller, freeze
from nfkd.distillation.matching import match_layers
from nfkd.flows.architectures import FlowError, build_flow
from nfkd.flows.autoregressive import BatchNorm, MaskedAutoregressive
from nfkd.flows.cost import flow_cost
from nfkd.flows.flow import Flow, Latents
from tests.core.flows.flow_cases import batch, context_of, generator, initialised, perturbed
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


@pytest.mark.parametrize("features", [0, 3])
@pytest.mark.parametrize("make", [MAFConfig, IAFConfig])
def test_the_jacobian_of_a_layer_is_triangular_in_its_order(make: type, features: int) -> None:
    x, c = 6 * batch((5,), 64) - 3, context_of(features, 64)
    cases = [
        (hidden, layer)
        for hidden in (3, 4, 17)
        for layer in layers(perturbed(make(steps=3, hidden=hidden, order="permuted"), (5,), features))
    ]
    for hidden, layer in cases:
        # The sum's derivative by an example is the derivative of that example's output.
        jacobians = torch.func.jacrev(lambda v, layer=layer: layer(v, c)[0].sum(0))(x).transpose(0, 1)
        ordered = jacobians[:, layer.order][:, :, layer.order]
        assert torch.equal(ordered, ordered.tril())
        assert (ordered.diagonal(dim1=1, dim2=2) > 0).all()
        if hidden == 17:
            assert ((ordered != 0).any(0) == torch.ones(5, 5).tril().bool()).all()


@pytest.mark.parametrize("config", [MAFConfig(steps=1, hidden=40), NSFConfig(steps=1, hidden=40, **SPLINES)])
def test_every_element_depends_on_all_before_it_and_on_the_context(config: FlowConfig) -> None:
    flow, c = perturbed(config, (5,), 3), context_of(3, 64)
    x = batch((5,), 64)
    [layer] = layers(flow)
    parameters = layer.network(x, c)
    for index in range(5):
        by_x = torch.func.jacrev(lambda v, n=index: layer.network(v, c)[:, n].sum(0))(x).abs().sum((0, 1))
        by_context = torch.func.jacrev(lambda v, n=index: layer.network(x, v)[:, n].sum(0))(c).abs().sum((0, 1))
        assert (by_x > 0).tolist() == [before < index for before in range(5)]
        assert (by_context > 0).all()
    assert parameters.shape == (64, 5, 2 if isinstance(config, MAFConfig) else 8)


def test_reversed_orders_alternate_and_permuted_ones_are_random_and_saved() -> None:
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
    """The network's first outputs are small, and zero only for the first element, which has no inputs."""
    flow, x = build_flow(make(steps=1, hidden=64), (6,), generator=generator()), batch((6,), 200).float()
    parameters = layers(flow)[0].network(x)
    assert torch.equal(parameters[:, 0], torch.zeros(200, 2))
    assert 0.01 < parameters[:, 1:].std() < 0.1
    assert (flow.encode(x).parts[0] - x).abs().max() < 0.5


# --- inverses and densities -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("features", [0, 3])
@pytest.mark.parametrize(
    "config", [MAFConfig(steps=3, hidden=9, order="permuted"), MAFConfig(steps=2, hidden=9, batch_norm=True)]
)
def test_sampling_in_as_many_passes_as_features_equals_a_plain_loop(config: FlowConfig, features: int) -> None:
    """Solve for each feature with a full pass: `forward` is affine in it."""
    flow, z, c = perturbed(config, (5,), features), batch((5,), seed=7), context_of(features)
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
    axis = torch.linspace(-6, 7, 450, dtype=torch.float64)
    with torch.no_grad():
        mass = flow.log_prob(torch.cartesian_prod(axis, axis)).exp().sum() * (axis[1] - axis[0]) ** 2
    assert mass.item() == pytest.approx(1.0, abs=1e-3)


def test_scales_are_bounded_for_any_output_of_the_network() -> None:
    for config, sign in ((MAFConfig(steps=1), 1), (IAFConfig(steps=1), -1)):
        flow = perturbed(config, (3,))
        with torch.no_grad():
            layers(flow)[0].network.biases[-1][1::2] = torch.tensor([1e30, -1e30, 1e5], dtype=torch.float64)
        expected = torch.tensor([sign * math.log(1000)] * 6, dtype=torch.float64)
        torch.testing.assert_close(flow.encode(batch((3,))).log_det, expected)


# --- batch norm ------------------------------------------------------------------------------------------------------


def test_batch_norm_uses_the_batch_in_training_and_updates_its_running_means() -> None:
    layer, batches = BatchNorm(3).double().train(), [5 + 2 * batch((3,), 40, seed=seed) for seed in range(3)]
    layer.initialize(batches[0])
    mean, variance = batches[0].numpy().mean(0), batches[0].numpy().var(0)
    mean, variance = 0.9 * mean + 0.1 * mean, 0.9 * variance + 0.1 * variance  # initialize also maps the batch
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
    """Train for ten steps with every term of the loss."""
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


# --- building --------------------------------------------------------------------------------------------------------


def test_multiply_adds_by_hand() -> None:
    dense = 6 * 16 + 16 * 16 + 16 * 12
    assert flow_cost(MAFConfig(steps=3, hidden=16), (6,), 1).multiply_adds == 3 * dense
    # Feature by feature only the unmasked products are computed: with one unit for each degree, half of them.
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
def test_shapes_that_do_not_fit_are_refused(config: FlowConfig, shape: tuple[int, ...], problem: ConfigProblem) -> None:
    with pytest.raises(FlowError) as refused:
        build_flow(config, shape)
    assert refused.value.problems == [problem]


def test_one_feature_without_context_is_an_affine_map() -> None:
    flow = initialised(MAFConfig(steps=1), (1,))
    assert [tuple(parameter.shape) for parameter in flow.parameters()] == [(2,)]
