"""Which flows can be built for which data, and their size."""

from __future__ import annotations

import pytest
import torch

from nfkd.config import Glow1DConfig, GlowConfig
from nfkd.config.flows import FlowConfig, IAFConfig, JetConfig, MAFConfig, NSFConfig, TarFlowConfig
from nfkd.flows.architectures import FlowError, build_flow, flow_problems
from nfkd.flows.cost import flow_cost


@pytest.mark.parametrize(
    ("config", "shape", "path", "message"),
    [
        (GlowConfig(levels=3), (1, 4, 4), "levels", "level 3 cannot squeeze"),
        (GlowConfig(levels=2), (1, 6, 6), "levels", "level 2 cannot squeeze 2×3×3: use at most 1 levels"),
        (GlowConfig(levels=1), (1, 7, 8), "levels", "sides must be even"),
        (GlowConfig(), (2,), "kind", "choose glow1d"),
        (Glow1DConfig(), (1, 8, 8), "kind", "choose glow"),
        (Glow1DConfig(), (1,), "kind", "two features"),
        (TarFlowConfig(patch=3), (1, 8, 8), "patch", "1×8×8 cannot be divided into patches of 3: use 1, 2 or 4"),
        (
            TarFlowConfig(patch=8),
            (1, 8, 8),
            "patch",
            "an example is one token, and a block needs at least two: use 1, 2 or 4",
        ),
        (TarFlowConfig(token=4), (6,), "token", "6 features cannot be divided into tokens of 4: use 1, 2 or 3"),
        (TarFlowConfig(), (1,), "token", "an example is one token, and a block needs at least two: choose another"),
        (TarFlowConfig(hidden=100), (1, 8, 8), "hidden", "heads of 64: use 64, 128 or at most 64"),
        (JetConfig(), (4,), "kind", "Jet takes images"),
        (JetConfig(hidden=70), (1, 8, 8), "hidden", "heads of 64: use 64, 128 or at most 64"),
        (JetConfig(patch=3), (1, 8, 8), "patch", "1×8×8 cannot be divided into patches of 3: use 1, 2 or 4"),
        (JetConfig(patch=8), (1, 8, 8), "patch", "an example is one token, and a coupling needs at least two"),
        (JetConfig(patch=1), (1, 8, 8), "spatial", "a patch is one number, which cannot be split: use patches of 2"),
        (JetConfig(split="rows"), (1, 2, 8), "split", "one of the rows of patches, which cannot be split: choose"),
    ],
)
def test_wrong_shapes_are_refused(config: FlowConfig, shape: tuple[int, ...], path: str, message: str) -> None:
    with pytest.raises(FlowError) as refused:
        build_flow(config, shape)
    [problem] = refused.value.problems
    assert problem.path == path
    assert message in problem.message
    assert flow_problems(config, shape) == [problem]


def test_multiply_adds_of_a_vector_flow_by_hand() -> None:
    cost = flow_cost(Glow1DConfig(steps=1, hidden=16, depth=1), (6,), 1)
    composing = 2 * 6**3  # P·L·U, once a call
    assert cost.multiply_adds == 6 * 6 + 3 * 16 + 16 * 6 + composing


def test_multiply_adds_of_an_image_flow_by_hand() -> None:
    cost = flow_cost(GlowConfig(levels=2, steps=1, hidden=10), (1, 4, 4), 1)

    def step(channels: int, pixels: int) -> int:
        network = 9 * (channels // 2) * 10 + 10 * 10 + 9 * 10 * channels
        return pixels * (channels**2 + network) + 2 * channels**3  # P·L·U, once a call

    split = 4 * 9 * 2 * 4
    assert cost.multiply_adds == step(4, 4) + split + step(8, 1)


def test_multiply_adds_of_a_transformer_by_hand() -> None:
    config = TarFlowConfig(steps=3, hidden=128, depth=2)
    cost = flow_cost(config, (3, 8, 8), 1, 5)
    tokens, numbers, channels = 15, 12, 128  # the last of 16 tokens needs no parameters from it
    attention = 4 * channels**2 + 2 * tokens * channels  # queries, keys, values, outputs; logits and their product
    layer = tokens * (attention + 2 * 4 * channels**2)
    ends = tokens * (numbers * channels + channels * 2 * numbers) + 5 * channels
    assert cost.multiply_adds == 3 * (2 * layer + ends)
    assert flow_cost(config, (3, 8, 8), 1).multiply_adds == 3 * (2 * layer + ends - 5 * channels)


def test_multiply_adds_of_couplings_with_transformers_by_hand() -> None:
    config = JetConfig(steps=3, hidden=128, depth=2)
    cost = flow_cost(config, (3, 8, 8), 1, 5)
    tokens, numbers, channels = 16, 12, 128
    attention = 4 * channels**2 + 2 * tokens * channels
    layer = tokens * (attention + 2 * 4 * channels**2)
    ends = tokens * (numbers * channels + channels * 2 * numbers) + 5 * channels
    assert cost.multiply_adds == 3 * (2 * layer + ends)


def test_parameters_of_every_layer_by_hand() -> None:
    flow = build_flow(GlowConfig(levels=2, steps=1, hidden=10), (1, 4, 4))

    def step(channels: int) -> int:
        mixing = 2 * channels + 2 * channels**2 + channels  # bias and scale; two triangles kept as squares; diagonal
        hidden = 9 * (channels // 2) * 10 + 10 * 10 + 2 * 2 * 10
        return mixing + hidden + 9 * 10 * channels + 2 * channels

    found = [(info.name, info.label, info.kind, info.shape, info.parameters) for info in flow.layer_info()]
    assert found == [
        ("level1.squeeze", "level 1 squeeze", "squeeze", [4, 2, 2], 0),
        ("level1.step1", "level 1 step 1", "step", [4, 2, 2], step(4)),
        ("level1.split", "level 1 split", "split", [2, 2, 2], 9 * 2 * 4 + 2 * 4),
        ("level2.squeeze", "level 2 squeeze", "squeeze", [8, 1, 1], 0),
        ("level2.step1", "level 2 step 1", "step", [8, 1, 1], step(8)),
    ]
    assert flow.latent_shapes == [(2, 2, 2), (8, 1, 1)]


@pytest.mark.parametrize(
    ("config", "shape", "context"),
    [
        (GlowConfig(levels=2, steps=2, hidden=7), (1, 8, 8), 0),
        (GlowConfig(levels=2, steps=1, permutation="dense", checkerboard=1, learned_prior=True), (1, 8, 8), 0),
        (Glow1DConfig(steps=2), (2,), 0),
        (Glow1DConfig(steps=2, permutation="shuffle", coupling="additive", network="residual", actnorm=False), (3,), 2),
        (Glow1DConfig(steps=2, permutation="reverse", scale="tanh"), (3,), 0),
        (MAFConfig(steps=2), (4,), 0),
        (MAFConfig(steps=2), (1,), 0),
        (IAFConfig(steps=2, batch_norm=True), (4,), 3),
        (TarFlowConfig(steps=2, hidden=128), (3, 4, 4), 2),
        (TarFlowConfig(steps=2, token=2), (4,), 0),
        (JetConfig(steps=3, hidden=128), (3, 4, 4), 2),
        (NSFConfig(steps=1, bins=3), (4,), 0),
        (NSFConfig(steps=1, bins=3, transform="autoregressive"), (4,), 3),
        (NSFConfig(steps=1, bins=3, transform="autoregressive"), (1,), 3),
    ],
)
def test_a_flow_on_the_meta_device_has_no_storage(config: FlowConfig, shape: tuple[int, ...], context: int) -> None:
    flow = build_flow(config, shape, context_features=context, device="meta")
    assert all(tensor.is_meta for tensor in [*flow.state_dict().values(), *flow.buffers()])
    c = torch.empty(3, context, device="meta") if context else None
    assert flow.log_prob(torch.empty(3, *shape, device="meta"), c).shape == (3,)
    real = build_flow(config, shape, context_features=context)
    assert {name: value.shape for name, value in flow.state_dict().items()} == {
        name: value.shape for name, value in real.state_dict().items()
    }
    assert flow_problems(config, shape) == []
    cost = flow_cost(config, shape, 8, context)
    assert cost.parameters == sum(parameter.numel() for parameter in real.parameters())
    assert cost.training_memory > 0


def test_a_huge_flow_is_measured_without_being_built() -> None:
    import psutil

    before = psutil.Process().memory_info().rss
    cost = flow_cost(GlowConfig(levels=3, steps=2, hidden=2048), (3, 32, 32), 16_384)
    assert cost.training_memory > 100 * 2**30
    assert psutil.Process().memory_info().rss - before < 2**29
