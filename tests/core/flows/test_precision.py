"""Networks in bf16: compared with torch's autocast and with float32, and encode followed by decode."""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import pytest
import torch
from torch import Tensor, nn

from nfkd.config import Glow1DConfig, GlowConfig
from nfkd.config.flows import FlowConfig, IAFConfig, JetConfig, MAFConfig, NSFConfig, TarFlowConfig
from nfkd.flows.architectures import build_flow
from nfkd.flows.flow import Flow
from nfkd.flows.fused import plain_operations
from nfkd.flows.made import MADE
from nfkd.flows.networks import CouplingNetwork, Network, ResidualNetwork
from nfkd.flows.precision import networks_in

FLOWS: dict[str, tuple[FlowConfig, tuple[int, ...]]] = {
    "glow": (GlowConfig(levels=2, steps=3, hidden=24), (3, 8, 8)),
    "checkerboard": (GlowConfig(levels=1, steps=1, hidden=16, checkerboard=2), (1, 8, 8)),
    "glow1d": (Glow1DConfig(steps=4, hidden=24), (8,)),
    "maf": (MAFConfig(steps=3, hidden=24, batch_norm=True), (8,)),
    "iaf": (IAFConfig(steps=3, hidden=24), (8,)),
    "nsf": (NSFConfig(steps=3, hidden=24), (8,)),
    "tarflow": (TarFlowConfig(steps=3, hidden=64, depth=2), (1, 8, 8)),
    "jet": (JetConfig(steps=3, hidden=64, depth=2), (1, 8, 8)),
    "nsf autoregressive": (NSFConfig(steps=3, hidden=24, transform="autoregressive"), (8,)),
}
every_flow = pytest.mark.parametrize("name", FLOWS)


def drawn() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def perturb(module: nn.Module, generator: torch.Generator) -> None:
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.03 * torch.randn(parameter.shape, generator=generator)


@cache
def make(name: str, *, perturbed: bool = True) -> tuple[Flow, Tensor]:
    (config, shape), generator = FLOWS[name], drawn()
    flow = build_flow(config, shape, generator=generator)
    x = torch.rand(64, *shape, generator=generator)
    flow.initialize(x)
    if perturbed:
        perturb(flow, generator)
    return flow.eval(), x


def network(name: str) -> tuple[Network | MADE, Tensor]:
    generator = drawn()
    made: Network | MADE
    if name == "made":
        made = MADE(6, 3, hidden=32, depth=2, context_features=0, generator=generator)
    elif name == "residual":
        made = ResidualNetwork(6, 32, 10, blocks=2, generator=generator)
    elif name == "linear":
        made = CouplingNetwork(6, 32, 10, kernels=(None, None), last_kernel=None, generator=generator)
    else:
        made = CouplingNetwork(6, 32, 10, kernels=(3, 1), last_kernel=3, generator=generator)
    shape = (40, 6, 8, 8) if name == "convolutions" else (40, 6)
    perturb(made, generator)
    return made, torch.randn(shape, generator=generator)


@pytest.mark.parametrize("name", ["convolutions", "linear", "residual", "made"])
def test_a_network_computes_as_under_torchs_autocast(name: str) -> None:
    made, x = network(name)
    with torch.no_grad():
        plain = made(x)
        with torch.autocast("cpu", torch.bfloat16):
            expected = made(x).float()
        with networks_in("bf16"):
            found = made(x)
    assert found.dtype == torch.float32
    # Sums in another order may change one rounding of bfloat16, 2⁻⁸.
    torch.testing.assert_close(found, expected, rtol=2**-7, atol=2**-9 * float(expected.abs().max()))
    assert not torch.equal(found, plain)


@pytest.mark.parametrize("name", ["convolutions", "linear", "residual", "made"])
def test_gradients_are_float32_and_near_those_of_float32(name: str) -> None:
    made, x = network(name)
    found = {}
    for precision in ("float32", "bf16"):
        made.zero_grad()
        with networks_in(precision):
            made(x).square().mean().backward()
        found[precision] = torch.cat([value.grad.flatten() for value in made.parameters() if value.grad is not None])
    assert found["bf16"].dtype == torch.float32
    error = (found["bf16"] - found["float32"]).norm() / found["float32"].norm()
    assert 0 < error < 0.02


@every_flow
def test_the_density_is_close_to_float32s_and_log_determinants_are_float32(name: str) -> None:
    flow, x = make(name)
    with torch.no_grad():
        plain = flow(x, trace=True)
        with networks_in("bf16"):
            rounded = flow(x, trace=True)
    assert rounded.log_prob.dtype == rounded.latents.log_det.dtype == torch.float32
    assert {value.dtype for pair in rounded.trace.values() for value in pair} == {torch.float32}
    difference = (rounded.log_prob - plain.log_prob) / x[0].numel()
    assert 0 < difference.abs().max() < 0.01  # nats per dimension
    assert difference.mean().abs() < 0.001


@every_flow
def test_decode_inverts_encode_in_one_precision_but_not_across_two(name: str) -> None:
    flow, x = make(name)

    def error(forward: str, inverse: str) -> float:
        with torch.no_grad():
            with networks_in(forward):  # type: ignore[arg-type]
                latents = flow.encode(x)
            with networks_in(inverse):  # type: ignore[arg-type]
                return float((flow.decode(latents) - x).square().mean().sqrt())

    assert error("float32", "float32") < 1e-5
    assert error("bf16", "bf16") < 1e-3
    across = min(error("bf16", "float32"), error("float32", "bf16"))
    assert across > 2 * error("bf16", "bf16")
    assert across > 10 * error("float32", "float32")


@pytest.mark.parametrize("name", ["glow", "glow1d", "nsf"])
def test_only_the_networks_are_rounded(name: str) -> None:
    """The last layer of a fresh network is zero, and zero is exact in any precision.

    In float32 the steps of a flow for vectors are one operation, whose sums may round differently.
    """
    flow, x = make(name, perturbed=False)
    with torch.no_grad(), plain_operations():
        plain = flow(x)
        with networks_in("bf16"):
            rounded = flow(x)
    torch.testing.assert_close(rounded.log_prob, plain.log_prob, rtol=0, atol=0)
    torch.testing.assert_close(rounded.latents.flat(), plain.latents.flat(), rtol=0, atol=0)


@pytest.mark.parametrize("name", ["checkerboard", "glow1d", "iaf"])
def test_a_flow_in_float64_is_not_rounded(name: str) -> None:
    flow, x = make(name)
    flow, x = copy.deepcopy(flow).double(), x.double()
    with torch.no_grad():
        plain = flow.log_prob(x)
        with networks_in("bf16"):
            torch.testing.assert_close(flow.log_prob(x), plain, rtol=0, atol=0)
            noise = [torch.randn(4, *shape, generator=drawn()).double() for shape in flow.latent_shapes]
            samples = flow.synthesize(noise)
        torch.testing.assert_close(flow.synthesize(noise), samples, rtol=0, atol=0)


def test_the_precision_is_per_thread_and_ends_with_its_block() -> None:
    flow, x = make("glow1d")
    with torch.no_grad():
        plain = flow.log_prob(x)
        with ThreadPoolExecutor(1) as other, networks_in("bf16"):
            rounded = flow.log_prob(x)
            beside = other.submit(torch.no_grad()(flow.log_prob), x).result()
        with pytest.raises(ValueError, match="takes"), networks_in("bf16"):
            flow.log_prob(x[:, :3])
        after = flow.log_prob(x)
    assert not torch.equal(rounded, plain)
    torch.testing.assert_close(beside, plain, rtol=0, atol=0)
    torch.testing.assert_close(after, plain, rtol=0, atol=0)
