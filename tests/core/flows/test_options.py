"""The effect of each option of Glow."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from nfkd.config import Glow1DConfig, GlowConfig, MatchingConfig
from nfkd.config.flows import FlowConfig
from nfkd.distillation.matching import match_layers
from nfkd.flows.architectures import ARCHITECTURES, build_flow, flow_summary
from nfkd.flows.cost import flow_cost
from nfkd.flows.flow import Flow
from tests.core.flows.flow_cases import Shape, batch, context_of, generator, perturbed

every_kind = pytest.mark.parametrize(
    ("kind", "shape"), [(GlowConfig, (1, 2, 4)), (Glow1DConfig, (5,))], ids=["images", "vectors"]
)


def fresh(config: FlowConfig, shape: Shape, features: int = 0, seed: int = 0) -> Flow:
    return build_flow(config, shape, context_features=features, generator=generator(seed)).double()


def one_step(kind: type[Any], **options: Any) -> Any:
    return kind(steps=1, hidden=4, **({"levels": 1} if kind is GlowConfig else {}), **options)


def order_of(flow: Flow, shape: Shape) -> list[int]:
    """The order of channels in a fresh additive flow of one step without a norm, which only reorders them."""
    x = torch.arange(math.prod(shape), dtype=torch.float64).view(1, *shape)
    before = flow.trace(x)["level1.squeeze"][0] if len(shape) == 3 else x
    after, before = (values[0].view(values.shape[1], -1)[:, 0] for values in (flow.encode(x).parts[0], before))
    return [int((before == value).nonzero()) for value in after]


@every_kind
def test_reverse_reverses_the_channels(kind: type[Any], shape: Shape) -> None:
    flow = fresh(one_step(kind, permutation="reverse", coupling="additive", actnorm=False), shape)
    order = order_of(flow, shape)
    assert order == list(range(len(order)))[::-1]


@every_kind
def test_a_shuffle_is_drawn_from_the_generator_and_saved_with_the_weights(kind: type[Any], shape: Shape) -> None:
    config = one_step(kind, permutation="shuffle", coupling="additive", actnorm=False)
    orders = [order_of(fresh(config, shape, seed=seed), shape) for seed in range(5)]
    assert all(sorted(order) == list(range(len(order))) for order in orders)
    assert len({tuple(order) for order in orders}) > 2
    assert order_of(fresh(config, shape, seed=3), shape) == orders[3]
    other = fresh(config, shape, seed=8)
    other.load_state_dict(fresh(config, shape, seed=3).state_dict())
    assert order_of(other, shape) == orders[3]


@every_kind
def test_each_step_has_its_own_shuffle(kind: type[Any], shape: Shape) -> None:
    steps = one_step(kind, permutation="shuffle").model_copy(update={"steps": 6})
    orders = [value for name, value in fresh(steps, shape).state_dict().items() if name.endswith(".order")]
    assert len(orders) == 6
    assert len({tuple(order.tolist()) for order in orders}) > 2


@every_kind
@pytest.mark.parametrize("permutation", ["lu", "dense"])
def test_a_matrix_starts_as_a_rotation(kind: type[Any], shape: Shape, permutation: str) -> None:
    flow = fresh(one_step(kind, permutation=permutation, coupling="additive", actnorm=False), shape)
    x = batch(shape)
    latents = flow.encode(x)
    torch.testing.assert_close(latents.log_det, torch.zeros(6, dtype=torch.float64), rtol=0, atol=1e-5)
    torch.testing.assert_close(latents.flat().norm(dim=1), x.flatten(1).norm(dim=1), rtol=1e-5, atol=0)
    assert (latents.flat() - x.flatten(1)).abs().max() > 0.1


@every_kind
def test_additive_coupling_keeps_the_volume_and_needs_half_of_the_outputs(kind: type[Any], shape: Shape) -> None:
    additive = one_step(kind, permutation="shuffle", coupling="additive", actnorm=False)
    flow, x = perturbed(additive, shape), batch(shape)
    torch.testing.assert_close(flow.encode(x).log_det, torch.zeros(6, dtype=torch.float64), rtol=0, atol=0)
    assert (flow.encode(x).flat() - fresh(additive, shape).encode(x).flat()).abs().max() > 1e-4
    channels = flow.latent_shapes[0][0]
    changed, kernel = channels - channels // 2, 9 if len(shape) == 3 else 1
    affine = additive.model_copy(update={"coupling": "affine"})
    costs = [flow_cost(config, shape, 1).parameters for config in (affine, additive)]
    assert costs[0] - costs[1] == changed * (4 * kernel + 2)  # weights, bias and scale of each output


@every_kind
def test_additive_coupling_has_no_scale_to_bound(kind: type[Any], shape: Shape) -> None:
    x = batch(shape)
    flows = [perturbed(one_step(kind, coupling="additive", scale=scale), shape) for scale in ("sigmoid", "tanh")]
    torch.testing.assert_close(flows[0].log_prob(x), flows[1].log_prob(x), rtol=0, atol=0)


@every_kind
@pytest.mark.parametrize(("scale", "low", "high"), [("sigmoid", -math.inf, 0.0), ("tanh", -1.0, 1.0)])
def test_the_scale_is_bounded(kind: type[Any], shape: Shape, scale: str, low: float, high: float) -> None:
    flow = fresh(one_step(kind, permutation="reverse", scale=scale, actnorm=False), shape)
    channels = flow.latent_shapes[0][0]
    pixels = math.prod(shape) // channels
    found = []
    for push in (-50.0, 0.0, 50.0):
        with torch.no_grad():
            for name, parameter in flow.named_parameters():
                if name.endswith("network.last.bias"):
                    parameter.fill_(push)
        found.append(flow.encode(batch(shape)).log_det / (pixels * (channels - channels // 2)))
    assert all((value >= low).all() and (value <= high).all() for value in found)
    at_start = 0.0 if scale == "tanh" else -math.log1p(math.exp(-2))
    torch.testing.assert_close(found[1], torch.full((6,), at_start, dtype=torch.float64))
    assert (found[2] - found[0]).min() > 1.9


@every_kind
def test_without_actnorm_the_first_batch_is_not_normalised(kind: type[Any], shape: Shape) -> None:
    flow, x = fresh(one_step(kind, permutation="lu", coupling="additive", actnorm=False), shape), 5 + 3 * batch(shape)
    before = flow.encode(x).flat()
    flow.initialize(x)
    torch.testing.assert_close(flow.encode(x).flat(), before, rtol=0, atol=0)
    assert not any("mixing.norm" in name for name in flow.state_dict())
    assert any("coupling.network" in name and "norm" in name for name in flow.state_dict())  # the network keeps its own


@every_kind
@pytest.mark.parametrize("features", [0, 3])
def test_a_learned_prior_starts_as_the_standard_normal(kind: type[Any], shape: Shape, features: int) -> None:
    x, c = batch(shape), context_of(features)
    plain, learned = (fresh(one_step(kind, learned_prior=learned), shape, features) for learned in (False, True))
    torch.testing.assert_close(learned.log_prob(x, c), plain.log_prob(x, c), rtol=0, atol=0)


@every_kind
@pytest.mark.parametrize("features", [0, 3])
def test_a_learned_prior_is_one_gaussian_for_each_channel_and_context(
    kind: type[Any], shape: Shape, features: int
) -> None:
    flow = perturbed(one_step(kind, learned_prior=True), shape, features)
    assert flow.prior is not None
    z = torch.randn(6, *flow.latent_shapes[0], generator=generator(), dtype=torch.float64)
    for found in flow.prior(z, context_of(features)):
        assert found.shape == z.shape
        flat = found.flatten(2) if found.dim() > 2 else found[:, :, None]
        torch.testing.assert_close(flat, flat[:, :, :1].expand_as(flat), rtol=0, atol=0)  # the same at every pixel
        assert flat.std(dim=1).min() > 0  # but not for every channel
        assert bool(flat.std(dim=0).max() > 0) == bool(features)


def test_a_learned_prior_learns_the_classes_means() -> None:
    """Two Gaussians that differ by the context, and couplings that can only shift."""
    rng = generator(2)
    label = torch.randint(2, (512,), generator=rng)
    context = torch.nn.functional.one_hot(label, 2).double()
    x = torch.randn(512, 2, generator=rng, dtype=torch.float64) * 0.5 + (4.0 * label - 2.0)[:, None]
    config = Glow1DConfig(steps=1, hidden=2, permutation="reverse", coupling="additive", learned_prior=True)
    flow = fresh(config, (2,), 2)
    flow.initialize(x, context)
    assert flow.prior is not None
    optimizer = torch.optim.Adam(flow.prior.parameters(), 0.05)
    for _ in range(150):
        optimizer.zero_grad()
        (-flow.log_prob(x, context).mean()).backward()
        optimizer.step()
    z = flow.encode(x, context).parts[0]
    means, log_scales = (found.detach() for found in flow.prior(z, context))
    for number in (0, 1):
        chosen = label == number
        torch.testing.assert_close(means[chosen][0], z[chosen].mean(0).detach(), rtol=0, atol=0.02)
        torch.testing.assert_close(
            log_scales[chosen][0].exp(), z[chosen].std(0, correction=0).detach(), rtol=0.05, atol=0
        )


@pytest.mark.parametrize("number", [1, 2])
def test_a_checkerboard_step_changes_the_dark_squares_by_the_light_ones(number: int) -> None:
    config = GlowConfig(levels=1, steps=1, hidden=4, checkerboard=2, actnorm=False)
    flow = perturbed(config, (2, 4, 4))
    layer = flow.layers[number - 1]
    x = batch((2, 4, 4), 1)
    squares = (torch.arange(4)[:, None] + torch.arange(4)).expand(2, 4, 4)
    dark = (squares % 2 == (number - 1) % 2).flatten()

    def through(v: Tensor) -> Tensor:
        return layer(v.view(1, 2, 4, 4))[0].flatten()

    y, jacobian = through(x), torch.autograd.functional.jacobian(through, x.flatten())
    torch.testing.assert_close(y[~dark], x.flatten()[~dark], rtol=0, atol=0)
    assert isinstance(jacobian, Tensor)
    among_dark = jacobian[dark][:, dark]
    torch.testing.assert_close(among_dark, among_dark.diagonal().diag(), rtol=0, atol=0)
    by_light = jacobian[dark][:, ~dark]
    assert ((by_light != 0).sum(dim=1) > 0).all()


def test_checkerboard_steps_come_before_each_squeeze_and_do_not_end_a_level() -> None:
    teacher, student = (
        GlowConfig(levels=2, steps=steps, hidden=4, checkerboard=checkers) for steps, checkers in ((2, 3), (1, 1))
    )
    infos = build_flow(teacher, (1, 8, 8), device="meta").layer_info()
    assert [(info.name, info.label, info.kind, info.shape) for info in infos[:5]] == [
        ("level1.checker1", "level 1 checkerboard 1", "step", [1, 8, 8]),
        ("level1.checker2", "level 1 checkerboard 2", "step", [1, 8, 8]),
        ("level1.checker3", "level 1 checkerboard 3", "step", [1, 8, 8]),
        ("level1.squeeze", "level 1 squeeze", "squeeze", [4, 4, 4]),
        ("level1.step1", "level 1 step 1", "step", [4, 4, 4]),
    ]
    assert [info.name for info in infos[5:]] == [
        *("level1.step2", "level1.split"),
        *(f"level2.{name}" for name in ("checker1", "checker2", "checker3", "squeeze", "step1", "step2")),
    ]
    pairs = match_layers(MatchingConfig(), build_flow(student, (1, 8, 8)).layer_info(), infos)
    assert [(pair.student, pair.teacher) for pair in pairs] == [
        ("level1.step1", "level1.step2"),
        ("level2.step1", "level2.step2"),
    ]
    assert flow_summary(teacher) == "Glow 3+2×2"


@pytest.mark.parametrize("kind", ["glow", "glow1d"])
@pytest.mark.parametrize("conditional", [False, True])
def test_the_cases_have_every_value_of_every_option(kind: str, conditional: bool) -> None:
    architecture = ARCHITECTURES[kind]
    configs = [config for config, _, features in architecture.cases() if bool(features) == conditional]
    wanted = {
        "permutation": {"lu", "dense", "shuffle", "reverse"},
        "coupling": {"affine", "additive"},
        "scale": {"sigmoid", "tanh"},
        "actnorm": {False, True},
        "learned_prior": {False, True},
        **({"network": {"mlp", "residual"}} if kind == "glow1d" else {}),
    }
    for name, values in wanted.items():
        assert {getattr(config, name) for config in configs} == values, name
    if kind == "glow":
        assert {0, 1} <= {min(config.checkerboard, 1) for config in configs}
