"""Steps computed as one operation give what their modules give, with all derivatives."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.utils.parametrize import register_parametrization

from nfkd.config import Glow1DConfig, GlowConfig
from nfkd.config.flows import FlowConfig, MAFConfig, NSFConfig
from nfkd.flows.architectures import build_flow
from nfkd.flows.autoregressive import MaskedAutoregressive
from nfkd.flows.bijections import LUMixing
from nfkd.flows.coupling import Coupling, FlowStep
from nfkd.flows.flow import Entry, Flow
from nfkd.flows.fused import gradients_by_backward, plain_operations
from nfkd.flows.fused_steps import StepRun, grouped
from nfkd.flows.networks import CouplingNetwork, ZeroLast
from nfkd.flows.precision import Precision, networks_in
from nfkd.flows.transforms import ShiftScale
from tests.core.flows.flow_cases import CASES, Shape, _name, batch, context_of, generator, shared
from tests.core.flows.living_bytes import LivingBytes


def _runs(flow: Flow) -> list[StepRun]:
    return [layer for layer in grouped(list(flow.layers)) if isinstance(layer, StepRun)]  # type: ignore[arg-type]


FUSED = [case for case in CASES if _runs(shared(*case))]
every_fused = pytest.mark.parametrize(("config", "shape", "features"), FUSED, ids=_name)

Results = tuple[list[Tensor], list[Tensor]]


def both(compute: Callable[[], Results]) -> tuple[Results, Results]:
    """The results of the fused and of the plain form."""
    fused = compute()
    with plain_operations():
        return fused, compute()


def results(flow: Flow, x: Tensor, context: Tensor | None, *, trace: bool) -> Results:
    """Outputs of a pass, and the gradients of a random function of them."""
    x = x.clone().requires_grad_()
    context = None if context is None else context.clone().requires_grad_()
    passed = flow(x, context, trace=trace)
    outputs = [passed.log_prob, *passed.latents.parts, *(each for pair in passed.trace.values() for each in pair)]
    rng = generator(5)
    total = sum((torch.randn(each.shape, generator=rng, dtype=each.dtype) * each.sin()).sum() for each in outputs)
    inputs = [x, *([] if context is None else [context]), *flow.parameters()]
    return outputs, list(torch.autograd.grad(total, inputs))  # type: ignore[arg-type]


def examples(shape: Shape, count: int, width: float) -> Tensor:
    """Vectors within ± width, wider than the data; images as the data, since further out they grow without bound."""
    x = batch(shape, count)
    return x if len(shape) == 3 else width * (2 * x - 1)


@every_fused
def test_values_and_gradients_are_those_of_the_modules(config: FlowConfig, shape: Shape, features: int) -> None:
    flow, x, c = shared(config, shape, features), examples(shape, 40, 4), context_of(features, 40)
    for trace in (False, True):
        fused, plain = both(lambda trace=trace: results(flow, x, c, trace=trace))
        torch.testing.assert_close(fused, plain, rtol=1e-9, atol=1e-9)


@every_fused
def test_gradients_agree_with_finite_differences(config: FlowConfig, shape: Shape, features: int) -> None:
    flow, c = shared(config, shape, features), context_of(features, 3)
    [run, *_] = _runs(flow)
    before = list(flow.layers)[: list(flow.layers).index(run.steps[0])]
    x, fast = examples(shape, 3, 2), len(shape) == 3  # else an image's gradient takes a pass for each pixel
    for layer in before:
        x = layer(x, c)[0]
    x.requires_grad_()

    def outputs(v: Tensor) -> tuple[Tensor, ...]:
        return tuple(each for each in run.with_density(v, c) if each is not None)

    assert torch.autograd.gradcheck(outputs, (x,), atol=1e-6, fast_mode=fast)
    parameters = [parameter for parameter in run.steps[0].parameters() if parameter.numel() <= 16]
    for parameter in parameters[:3]:
        assert torch.autograd.gradcheck(lambda _: outputs(x.detach()), (parameter,), atol=1e-6, fast_mode=fast)


@every_fused
def test_second_derivatives_are_those_of_the_modules(config: FlowConfig, shape: Shape, features: int) -> None:
    flow, x, c = shared(config, shape, features), examples(shape, 5, 2), context_of(features, 5)

    def penalty() -> Results:
        v = x.clone().requires_grad_()
        [score] = torch.autograd.grad(flow.log_prob(v, c).sum(), v, create_graph=True)
        return [score], list(torch.autograd.grad(score.square().sum(), list(flow.parameters()), allow_unused=True))

    torch.testing.assert_close(*both(penalty), rtol=1e-8, atol=1e-8)


SEQUENTIAL = [case for case in CASES if shared(*case).iterated and len(case[1]) == 1]


@pytest.mark.parametrize(("config", "shape", "features"), SEQUENTIAL, ids=_name)
def test_passes_feature_by_feature_are_the_same_without_a_graph(
    config: FlowConfig, shape: Shape, features: int
) -> None:
    flow, x, c = shared(config, shape, features), 4 * batch(shape, 20) - 2, context_of(features, 20)
    latents = flow.encode(x, c)
    back = flow.decode(latents, c)
    with torch.no_grad():
        torch.testing.assert_close(flow.encode(x, c).flat(), latents.flat(), rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(flow.decode(latents, c), back, rtol=1e-10, atol=1e-10)


# --- flows that change ------------------------------------------------------------------------------------------------


def score(flow: Flow, shape: Shape, features: int) -> Results:
    return results(flow, examples(shape, 6, 2), context_of(features), trace=False)


def check(flow: Flow, shape: Shape, features: int, *, changed_from: Results | None = None) -> None:
    """The fused form is the plain one, and differs from what the flow gave before."""
    fused, plain = both(lambda: score(flow, shape, features))
    torch.testing.assert_close(fused, plain, rtol=1e-8, atol=1e-8)
    assert changed_from is None or not torch.allclose(fused[0][0], changed_from[0][0])


@every_fused
def test_batches_of_any_size_and_layout(config: FlowConfig, shape: Shape, features: int) -> None:
    flow = shared(config, shape, features)
    for count in (0, 1, 2):
        x, c = examples(shape, 4, 4)[: 2 * count : 2], context_of(features, 2)
        x, c = x.movedim(0, -1).contiguous().movedim(-1, 0), None if c is None else c[:count]
        fused, plain = both(lambda x=x, c=c: results(flow, x, c, trace=True))
        torch.testing.assert_close(fused, plain, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_samples_values_and_gradients_of_no_images(precision: Precision) -> None:
    flow = copy.deepcopy(shared(GlowConfig(levels=2, steps=2, hidden=5), (1, 8, 8), 0)).float()
    x = torch.zeros(0, 1, 8, 8, requires_grad=True)
    with networks_in(precision):
        assert flow.sample(0).shape == x.shape
        value = flow.log_prob(x)
    assert value.shape == (0,)
    grad_x, *grad_parameters = torch.autograd.grad(value.sum(), [x, *flow.parameters()])
    assert grad_x.shape == x.shape
    assert not any(each.any() for each in grad_parameters)


@every_fused
def test_copies_are_computed_with_their_own_parameters(config: FlowConfig, shape: Shape, features: int) -> None:
    flow = shared(config, shape, features)
    before = score(flow, shape, features)
    for copied in (copy.deepcopy(flow), pickle.loads(pickle.dumps(flow))):
        with torch.no_grad():
            for parameter in copied.parameters():
                parameter *= 1.1
        check(copied, shape, features, changed_from=before)
    torch.testing.assert_close(score(flow, shape, features), before, rtol=0, atol=0)


def networks_of(flow: Flow) -> list[nn.Module]:
    """The module with the network of each step."""
    return [getattr(step, "coupling", step) for run in _runs(flow) for step in run.steps]


@every_fused
def test_modules_and_parameters_can_be_replaced(config: FlowConfig, shape: Shape, features: int) -> None:
    flow = copy.deepcopy(shared(config, shape, features))
    before = score(flow, shape, features)
    for module in list(flow.modules()):
        for name, parameter in module.named_parameters(recurse=False):
            setattr(module, name, nn.Parameter(1.05 * parameter.detach()))
    check(flow, shape, features, changed_from=before)
    before = score(flow, shape, features)
    owner = networks_of(flow)[0]
    replaced = copy.deepcopy(owner).network
    with torch.no_grad():
        for parameter in replaced.parameters():  # type: ignore[union-attr]
            parameter *= 1.1
    owner.network = replaced
    check(flow, shape, features, changed_from=before)


class Doubled(nn.Module):
    def forward(self, value: Tensor) -> Tensor:
        return 2 * value

    def right_inverse(self, value: Tensor) -> Tensor:
        return value


@every_fused
def test_parametrizations_are_applied(config: FlowConfig, shape: Shape, features: int) -> None:
    flow = copy.deepcopy(shared(config, shape, features))
    before = score(flow, shape, features)
    [(path, _), *_] = networks_of(flow)[0].network.named_parameters()  # type: ignore[union-attr,operator]
    module, _, name = path.rpartition(".")
    register_parametrization(networks_of(flow)[0].network.get_submodule(module), name, Doubled())  # type: ignore[union-attr,operator]
    check(flow, shape, features, changed_from=before)
    check(copy.deepcopy(flow), shape, features)


@every_fused
def test_frozen_parameters_beside_trained_ones(config: FlowConfig, shape: Shape, features: int) -> None:
    flow, x, c = copy.deepcopy(shared(config, shape, features)), examples(shape, 6, 2), context_of(features)
    for number, parameter in enumerate(flow.parameters()):
        parameter.requires_grad_(number % 3 == 1)
    trained = [parameter for parameter in flow.parameters() if parameter.requires_grad]
    fused, plain = both(lambda: ([], list(torch.autograd.grad(flow.log_prob(x, c).sum(), trained))))
    torch.testing.assert_close(fused, plain, rtol=1e-9, atol=1e-9)


@every_fused
def test_hooks_are_called(config: FlowConfig, shape: Shape, features: int) -> None:
    flow, x, c, calls = copy.deepcopy(shared(config, shape, features)), batch(shape), context_of(features), []
    flow.log_prob(x, c)
    handles = [owner.network.register_forward_hook(lambda *_: calls.append(1)) for owner in networks_of(flow)]  # type: ignore[operator,union-attr]
    flow.log_prob(x, c)
    assert len(calls) == len(handles)


def test_a_subclass_computes_what_it_defines() -> None:
    class Shifted(ShiftScale):
        def forward(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
            y, slopes = super().forward(x, parameters)
            return y + 1, slopes

    class Halved(CouplingNetwork):
        def forward(self, x: Tensor) -> Tensor:
            return 0.5 * super().forward(x)

    def network(kind: type[CouplingNetwork]) -> CouplingNetwork:
        return kind(2, 5, 4, kernels=(None,), last_kernel=None, generator=generator()).double()

    x = batch((4,))
    for inner, transform in ((Halved, ShiftScale("tanh")), (CouplingNetwork, Shifted("tanh"))):
        step = FlowStep(LUMixing(torch.eye(4).flip(0)), Coupling(4, network(inner), transform)).double()
        with torch.no_grad():
            for parameter in step.parameters():
                parameter += 0.1
        flow = Flow((4,), [Entry("step", "Step", "step", (4,))], [step])
        torch.testing.assert_close(flow.encode(x).parts[0], step(x)[0])


@pytest.mark.parametrize("bound", ["sigmoid", "tanh"])
def test_autoregressive_layers_with_the_transform_of_couplings(bound: Literal["sigmoid", "tanh"]) -> None:
    settings: Any = {"hidden": 8, "depth": 1, "context_features": 0, "generator": generator()}
    steps = [MaskedAutoregressive(torch.arange(4), ShiftScale(bound), **settings).double() for _ in range(2)]
    flow = Flow((4,), [Entry(f"step {number}", "Step", "step", (4,)) for number in range(2)], steps)
    check(flow, (4,), 0)


# --- where the modules are called -------------------------------------------------------------------------------------


def test_the_steps_of_a_flow_are_not_called(monkeypatch: pytest.MonkeyPatch) -> None:
    flow, shape, features = shared(*FUSED[0]), *FUSED[0][1:]
    step, calls = type(_runs(flow)[0].steps[0]), []
    forward = step.forward
    monkeypatch.setattr(step, "forward", lambda *arguments: calls.append(1) or forward(*arguments))
    flow.log_prob(batch(shape), context_of(features))
    assert not calls
    with plain_operations():
        flow.log_prob(batch(shape), context_of(features))
    assert calls


@every_fused
def test_ensembles_of_networks_by_vmap(config: FlowConfig, shape: Shape, features: int) -> None:
    flow, x, c = shared(config, shape, features), batch(shape), context_of(features)
    own = {name: value.detach() for name, value in flow.named_parameters() if "network" in name}
    members = {name: torch.stack([value, 1.1 * value]) for name, value in own.items()}

    def encoded(parameters: dict[str, Tensor]) -> Tensor:
        return functional_call(flow, parameters, (x, c)).log_prob

    with torch.no_grad():
        found = vmap(encoded)(members)
        expected = [encoded({name: value[member] for name, value in members.items()}) for member in range(2)]
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-9, atol=1e-9)


def test_second_derivatives_have_the_precision_of_the_pass() -> None:
    flow = copy.deepcopy(shared(GlowConfig(levels=2, steps=2, hidden=5), (1, 8, 8), 0)).float()
    x, found = batch((1, 8, 8)).float().requires_grad_(), []
    for outside in (nullcontext(), networks_in("bf16")):
        with networks_in("bf16"):
            value = flow.log_prob(x).sum()
        with outside:
            found.append(torch.autograd.grad(value, x, create_graph=True)[0])
    torch.testing.assert_close(*found, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("config", "shape"),
    [
        (Glow1DConfig(hidden=8), (4,)),
        (MAFConfig(hidden=8), (4,)),
        (NSFConfig(hidden=8), (4,)),
        (GlowConfig(hidden=8, levels=1), (1, 8, 8)),
    ],
    ids=_name,
)
def test_a_pass_without_gradients_keeps_nothing_of_a_step(config: FlowConfig, shape: Shape) -> None:
    peaks = []
    for steps in (2, 16):
        flow = build_flow(config.model_copy(update={"steps": steps}), shape, generator=generator())
        with torch.no_grad(), LivingBytes() as counted:
            flow.log_prob(torch.rand(2048, *shape, generator=generator()))
        peaks.append(counted.peak)
    assert peaks[1] < 1.3 * peaks[0]


@pytest.mark.parametrize("trained", [False, True])
def test_nothing_of_a_pass_backwards_lives_as_long_as_the_loss(*, trained: bool) -> None:
    flow = build_flow(GlowConfig(levels=1, steps=2, hidden=64), (1, 16, 16), generator=generator())
    flow.requires_grad_(trained)
    x, kept = torch.rand(16, 1, 16, 16, generator=generator()).requires_grad_(), []
    for form in (nullcontext, plain_operations):
        with form(), LivingBytes() as counted:
            loss = flow.log_prob(x).sum()
            gradients = torch.autograd.grad(loss, [x, *(flow.parameters() if trained else [])])
        kept.append(counted.now)
        del loss, gradients
    assert kept[0] < 1.5 * kept[1]


# --- gradients by backward --------------------------------------------------------------------------------------------

ADDED = pytest.mark.parametrize(
    ("config", "shape"),
    [
        (Glow1DConfig(hidden=8, steps=2), (4,)),
        (MAFConfig(hidden=8, steps=2), (4,)),
        (NSFConfig(hidden=8, steps=2), (4,)),
        (GlowConfig(hidden=8, levels=1, steps=2), (1, 8, 8)),
    ],
    ids=_name,
)


def by_backward(flow: Flow, x: Tensor) -> list[Tensor | None]:
    with gradients_by_backward():
        loss = flow.log_prob(x).sin().sum()
    loss.backward()
    return [parameter.grad for parameter in flow.parameters()]


@ADDED
def test_gradients_by_backward_are_those_of_torch_and_add_up(config: FlowConfig, shape: Shape) -> None:
    flow, x = shared(config, shape, 0), examples(shape, 10, 2)
    flow.zero_grad()
    expected = torch.autograd.grad(flow.log_prob(x).sin().sum(), list(flow.parameters()))
    torch.testing.assert_close(by_backward(flow, x), list(expected), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(by_backward(flow, x), [2 * each for each in expected], rtol=1e-12, atol=1e-12)
    flow.zero_grad()


def test_gradients_by_backward_call_hooks_and_leave_out_frozen_parameters() -> None:
    flow, x = shared(Glow1DConfig(hidden=8, steps=2), (4,), 0), examples((4,), 10, 2)
    first, second, *_ = flow.parameters()
    first.requires_grad_(False)
    frozen = by_backward(flow, x)
    assert frozen[0] is None
    flow.zero_grad()
    hook = second.register_hook(lambda gradient: 3 * gradient)
    try:
        torch.testing.assert_close(by_backward(flow, x)[1], 3 * frozen[1])  # type: ignore[operator]
    finally:
        hook.remove()
        first.requires_grad_()
        flow.zero_grad()


@ADDED
def test_a_result_that_is_changed_in_place_does_not_change_the_gradient_silently(
    config: FlowConfig, shape: Shape
) -> None:
    flow = shared(config, shape, 0)
    [z] = flow.encode(examples(shape, 10, 2)).parts
    with pytest.raises(RuntimeError, match="inplace"):
        z.add_(1)


@pytest.mark.parametrize("raw", [-200.0, -88.0, -60.0, 60.0])
def test_scales_near_zero_and_one_have_the_logarithms_of_the_modules(raw: float) -> None:
    flow = build_flow(Glow1DConfig(hidden=8, steps=1), (4,), generator=generator())
    for module in flow.modules():
        if isinstance(module, ZeroLast):
            nn.init.constant_(module.bias, raw)
    fused, plain = both(lambda: ([flow.encode(torch.zeros(3, 4)).log_det], []))
    torch.testing.assert_close(fused, plain, rtol=1e-6, atol=1e-6)
