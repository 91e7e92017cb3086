"""Flows of zuko and normflows as NFKD flows, compared with the library's own density."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import nfkd
from nfkd.distillation.objectives import unsupported_terms
from nfkd.flows.flow import Flow
from nfkd.flows.foreign import ForeignFlow

zuko = pytest.importorskip("zuko")
nf = pytest.importorskip("normflows")

pytestmark = pytest.mark.filterwarnings("ignore:torch.lu is deprecated")  # normflows' own


def moved(module: Any) -> Any:
    """Add noise to every parameter, because zero-initialised networks do nothing."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    return module


def zuko_maf() -> Any:
    return zuko.flows.MAF(3, 0, transforms=3, hidden_features=(16, 16))


def zuko_nsf() -> Any:
    return zuko.flows.NSF(3, 0, transforms=2, hidden_features=(16,))


def zuko_nice() -> Any:
    return zuko.flows.NICE(4, 0, transforms=3, hidden_features=(16,))


def zuko_realnvp() -> Any:
    return zuko.flows.RealNVP(5, 0, transforms=3, hidden_features=(16,), randmask=True)


def zuko_rotated() -> Any:
    return zuko.flows.GF(2, 0, transforms=2)


def zuko_conditional() -> Any:
    return zuko.flows.MAF(3, 4, transforms=2, hidden_features=(16,))


def zuko_trained_base() -> Any:
    """With a diagonal Gaussian base that is not standard, and a single transform."""
    lazy = zuko.lazy
    base = lazy.UnconditionalDistribution(
        zuko.distributions.DiagNormal, loc=torch.tensor([1.0, -2.0]), scale=torch.tensor([0.5, 3.0])
    )
    return lazy.Flow(zuko.flows.MaskedAutoregressiveTransform(2, hidden_features=(16,)), base)


def block() -> Any:
    return nf.flows.AffineCouplingBlock(nf.nets.MLP([1, 16, 2]))


def nf_glow1d() -> Any:
    flows = [part for _ in range(3) for part in (block(), nf.flows.Permute(2, mode="swap"), nf.flows.ActNorm(2))]
    module = nf.NormalizingFlow(nf.distributions.DiagGaussian(2), flows)
    module.log_prob(1 + 2 * torch.randn(50, 2))  # initialises ActNorm
    return module


def nf_conditional() -> Any:
    flows = [
        nf.flows.MaskedAffineAutoregressive(2, 16, context_features=3),
        nf.flows.LULinearPermute(2),
        nf.flows.CoupledRationalQuadraticSpline(2, 1, 16, num_context_channels=3),
    ]
    return nf.ConditionalNormalizingFlow(nf.distributions.DiagGaussian(2), flows)


def nf_conditional_base() -> Any:
    base = nf.distributions.base.ConditionalDiagGaussian(2, nn.Linear(3, 4))
    return nf.ConditionalNormalizingFlow(base, [nf.flows.MaskedAffineAutoregressive(2, 16, context_features=3)])


def nf_image_glow(transform: Any = None, classes: int | None = None) -> Any:
    """As in normflows' example of Glow, on 3×8×8."""
    levels, bases, flows, merges = 2, [], [], []
    for level in range(levels):
        channels = 3 * 2 ** (levels + 1 - level)
        flows.append([*(nf.flows.GlowBlock(channels, 8) for _ in range(2)), nf.flows.Squeeze()])
        if level:
            merges.append(nf.flows.Merge())
        shape = (channels // (2 if level else 1), 8 // 2 ** (levels - level), 8 // 2 ** (levels - level))
        bases.append(nf.distributions.GlowBase(shape, classes))
    module = nf.MultiscaleFlow(bases, flows, merges, transform, class_cond=classes is not None)
    if classes is None:
        module.log_prob(torch.rand(20, 3, 8, 8), None)
    return module


@dataclass(frozen=True)
class Case:
    make: Callable[[], Any]
    shape: tuple[int, ...]
    context: int = 0
    exact: bool = True
    """Whether its inverse is exact everywhere; some are found by bisection within bounds."""


CASES = {
    "zuko MAF": Case(zuko_maf, (3,)),
    "zuko NSF": Case(zuko_nsf, (3,)),
    "zuko NICE": Case(zuko_nice, (4,)),
    "zuko RealNVP": Case(zuko_realnvp, (5,)),
    "zuko GF": Case(zuko_rotated, (2,), exact=False),
    "zuko MAF, conditional": Case(zuko_conditional, (3,), 4),
    "zuko, another Gaussian": Case(zuko_trained_base, (2,)),
    "normflows Glow-1D": Case(nf_glow1d, (2,)),
    "normflows, conditional": Case(nf_conditional, (2,), 3),
    "normflows, conditional base": Case(nf_conditional_base, (2,), 3),
    "normflows Glow": Case(nf_image_glow, (3, 8, 8)),
    "normflows Glow, shifted": Case(lambda: nf_image_glow(nf.transforms.Shift(-0.5)), (3, 8, 8)),
}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


def made(case: Case) -> Any:
    torch.manual_seed(3)
    return moved(case.make()).eval()


@cache
def wrapped(case: Case) -> tuple[Any, ForeignFlow]:
    """A case's module and teacher, for tests that change neither."""
    module = made(case)
    return module, nfkd.wrap_teacher(module)


def own_log_prob(module: Any, x: Tensor, context: Tensor | None) -> Tensor:
    if isinstance(module, zuko.lazy.LazyDistribution):
        return module(context).log_prob(x)
    if isinstance(module, nf.MultiscaleFlow):
        return module.log_prob(x.clone(), None)
    return module.log_prob(x, context=context) if context is not None else module.log_prob(x)


def batch(case: Case, count: int = 6) -> tuple[Tensor, Tensor | None]:
    torch.manual_seed(5)
    return torch.rand(count, *case.shape), torch.randn(count, case.context) if case.context else None


@every_case
def test_the_density_is_the_modules_own_and_latents_decode_to_the_examples(case: Case) -> None:
    module, teacher = wrapped(case)
    x, context = batch(case)
    assert not teacher.training
    assert (teacher.event_shape, teacher.context_features, teacher.unsupported) == (case.shape, case.context, {})
    with torch.no_grad():
        found = teacher(x, context, trace=True)
        torch.testing.assert_close(found.log_prob, own_log_prob(module, x, context), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(teacher.decode(found.latents, context), x, rtol=1e-4, atol=1e-4)
        assert [tuple(part.shape[1:]) for part in found.latents.parts] == teacher.latent_shapes
        for info in teacher.layer_info():
            assert tuple(found.trace[info.name][0].shape[1:]) == tuple(info.shape)
        if not case.exact:
            return
        # Change of variables: the density of a sample is that of its noise plus the log-determinant.
        noise = teacher.draw_noise(4, torch.Generator().manual_seed(0))
        given = None if context is None else context[:4]
        made_x = teacher.synthesize(noise, 1.0, given)
        back = teacher(made_x, given)
        deviations = [p.flatten(1) for p in split_deviations(teacher, back.latents.parts[:-1])]
        normal = sum(-0.5 * (part.square() + torch.tensor(2 * torch.pi).log()).flatten(1).sum(1) for part in noise)
        expected = normal - sum((d.sum(1) for d in deviations), torch.zeros(4)) + back.latents.log_det
        torch.testing.assert_close(back.log_prob, expected, rtol=1e-4, atol=1e-3)


def split_deviations(teacher: Flow, left: tuple[Tensor, ...]) -> list[Tensor]:
    """The log-deviations of the split-off latents, which are constants here."""
    splits: list[Any] = [layer for layer in teacher.layers if hasattr(layer, "prior")]
    return [split.prior(part)[1] for split, part in zip(splits, left, strict=True)]


@every_case
def test_the_log_determinant_is_autograds(case: Case) -> None:
    teacher = nfkd.wrap_teacher(made(case).double())
    x, context = batch(case, 2)
    x, context = x.double(), None if context is None else context.double()
    found = teacher.encode(x, context).log_det
    for number in range(len(x)):
        given = None if context is None else context[number : number + 1]

        def latents(value: Tensor, given: Tensor | None = given) -> Tensor:
            return teacher.encode(value[None], given).flat()[0]

        jacobian: Any = torch.autograd.functional.jacobian(latents, x[number])
        expected = torch.linalg.slogdet(jacobian.reshape(len(jacobian), -1))[1]
        torch.testing.assert_close(found[number].detach(), expected, rtol=1e-6, atol=1e-6)


def digest(module: Any) -> str:
    found = hashlib.sha256()
    for name, value in module.state_dict().items():
        found.update(name.encode() + value.numpy().tobytes())
    return found.hexdigest()


def test_the_module_is_not_changed_and_the_copy_is_frozen() -> None:
    module = made(CASES["normflows Glow-1D"]).train()
    before, state = digest(module), torch.get_rng_state()
    teacher = nfkd.wrap_teacher(module)
    assert torch.equal(torch.get_rng_state(), state)
    assert digest(module) == before
    assert module.training
    assert all(parameter.requires_grad for parameter in module.parameters())
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    x, _ = batch(CASES["normflows Glow-1D"])
    x.requires_grad_()
    teacher.log_prob(x).sum().backward()  # gradients reach its input
    assert x.grad is not None
    assert x.grad.abs().sum() > 0
    for parameter in module.parameters():
        parameter.data += 1
    assert teacher.fingerprint() == nfkd.wrap_teacher(made(CASES["normflows Glow-1D"])).fingerprint()
    assert teacher.fingerprint() != nfkd.wrap_teacher(module).fingerprint()


def test_layers_are_named_by_level_and_kind() -> None:
    names = [info.name for info in wrapped(CASES["normflows Glow"])[1].layer_info()]
    levels = [[f"level{n}.squeeze", f"level{n}.step1", f"level{n}.step2"] for n in (1, 2)]
    assert names == [*levels[0], "level1.split", *levels[1], "base"]
    kinds = [info.kind for info in nfkd.wrap_teacher(made(CASES["normflows Glow-1D"])).layer_info()]
    assert kinds == ["transform", "transform", "step"] * 3 + ["base"]
    steps = nfkd.wrap_teacher(made(CASES["zuko GF"])).layer_info()
    assert [info.kind for info in steps] == ["step", "transform", "step"]


# --- unsupported flows ------------------------------------------------------------------------------------------------


def test_a_flow_without_an_inverse_supports_only_samples() -> None:
    teacher = nfkd.wrap_teacher(nf.NormalizingFlow(nf.distributions.DiagGaussian(2), [nf.flows.Planar((2,))]))
    assert teacher.unsupported.keys() == {"log_prob", "latents"}
    assert "no algebraic inverse" in teacher.unsupported["latents"]
    latents = {"lkd", "ilkd", "log_det", "jacobian", "relational", "noisy_reverse"}
    assert unsupported_terms(teacher).keys() == latents | {"density", "score", "reverse_kl"}
    assert teacher.sample(3).shape == (3, 2)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: zuko.flows.NCSF(2, 0, transforms=1, hidden_features=(8,)), "BoxUniform"),
        (lambda: nf.NormalizingFlow(nf.distributions.GaussianMixture(2, 2), [block()]), "GaussianMixture"),
        (lambda: nf.NormalizingFlow(nf.distributions.UniformGaussian(2, [0]), [block()]), "UniformGaussian"),
    ],
)
def test_another_base_than_a_gaussian_supports_only_a_density(make: Callable[[], Any], name: str) -> None:
    torch.manual_seed(0)
    module = moved(make())
    teacher = nfkd.wrap_teacher(module)
    assert teacher.unsupported.keys() == {"latents", "synthesis"}
    assert all(name in reason for reason in teacher.unsupported.values())
    latents = {"lkd", "ilkd", "log_det", "jacobian", "relational", "noisy_reverse"}
    assert unsupported_terms(teacher).keys() == latents | {"skd", "forward_kl"}
    x = torch.rand(5, 2)
    with torch.no_grad():
        expected = own_log_prob(module, x, None).float()
        torch.testing.assert_close(teacher.log_prob(x), expected, rtol=1e-5, atol=1e-5)


class WrongWay(nn.Module):
    """Both directions add one, so they are not inverse."""

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return z + 1, torch.zeros(len(z))

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return z + 1, torch.zeros(len(z))


def test_directions_that_are_not_inverse_are_detected() -> None:
    teacher = nfkd.wrap_teacher(nf.NormalizingFlow(nf.distributions.DiagGaussian(2), [WrongWay()]))
    assert "not inverse" in teacher.unsupported["synthesis"]
    with pytest.warns(DeprecationWarning, match="unsupported"):
        assert teacher.unservable is teacher.unsupported


def test_other_modules_are_refused() -> None:
    with pytest.raises(TypeError, match="neither a flow of zuko"):
        nfkd.wrap_teacher(nn.Linear(2, 2))
    with pytest.raises(TypeError, match="dict"):
        nfkd.wrap_teacher({})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="conditional on a class"):
        nfkd.wrap_teacher(nf_image_glow(classes=3))
    with pytest.raises(ValueError, match="seen no data"):
        nfkd.wrap_teacher(nf.NormalizingFlow(nf.distributions.DiagGaussian(2), [nf.flows.ActNorm(2)]))
    with pytest.raises(ValueError, match="Give event_shape"):
        nfkd.wrap_teacher(zuko_maf(), event_shape=(7,))
