"""The optimizers, compared with formulas, and restored from checkpoints."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from nfkd.config import TrainingConfig
from nfkd.flows.memory import joined, zeros_alike
from nfkd.training.checkpoint import (
    Checkpoint,
    Position,
    load_checkpoint,
    optimizer_tensors,
    restore_optimizer,
    save_checkpoint,
)
from nfkd.training.optimizers import make_optimizer

TARGET = torch.tensor([[1.0, -2.0], [0.5, 3.0]], dtype=torch.float64)


class Tiny(nn.Module):
    """A matrix and a bias with a quadratic loss."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.matrix = nn.Parameter(torch.randn(2, 2, generator=generator, dtype=torch.float64))
        self.bias = nn.Parameter(torch.randn(2, generator=generator, dtype=torch.float64))

    def loss(self) -> Tensor:
        return (self.matrix + self.bias - TARGET).square().sum()


def config(optimizer: str = "adamw", decay: float = 0.1) -> TrainingConfig:
    return TrainingConfig.model_validate({"optimizer": optimizer, "learning_rate": 0.05, "weight_decay": decay})


def step(module: Tiny, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    module.loss().backward()
    optimizer.step()


def adamw_by_hand(steps: int, rate: float, decay: float) -> tuple[Tensor, Tensor]:
    """Compute algorithm 2 of arXiv 1711.05101 with an explicit gradient and without decay of the bias."""
    module = Tiny()
    values = [module.matrix.detach().clone(), module.bias.detach().clone()]
    first, second = [[torch.zeros_like(value) for value in values] for _ in range(2)]
    for number in range(1, steps + 1):
        slope = 2 * (values[0] + values[1] - TARGET)
        for index, gradient in enumerate((slope, slope.sum(0))):
            first[index] = 0.9 * first[index] + 0.1 * gradient
            second[index] = 0.999 * second[index] + 0.001 * gradient**2
            mean, square = first[index] / (1 - 0.9**number), second[index] / (1 - 0.999**number)
            shrunk = values[index] * (1 - rate * decay) if index == 0 else values[index]
            values[index] = shrunk - rate * mean / (square.sqrt() + 1e-8)
    return values[0], values[1]


@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_weights_are_those_of_torchs_own_optimizer(optimizer: str, tmp_path: Path) -> None:
    """Bit for bit; in some steps a parameter has no gradient, and the state is restored once."""
    modules = [Tiny(), Tiny()]
    own = make_optimizer(config(optimizer), modules[0].parameters())
    settings = {"lr": 0.05, "betas": (0.9, 0.999), "fused": True}
    groups = [{"params": [modules[1].matrix], "weight_decay": 0.1}, {"params": [modules[1].bias], "weight_decay": 0.0}]
    theirs = (
        torch.optim.Adam(modules[1].parameters(), **settings)
        if optimizer == "adam"
        else torch.optim.AdamW(groups, **settings)
    )
    for number in range(12):
        for module, each in zip(modules, (own, theirs), strict=True):
            each.zero_grad()
            module.loss().backward()
            if number in {0, 5}:
                module.bias.grad = None
            each.step()
        if number == 7:
            tensors = {f"optimizer/{name}": value for name, value in optimizer_tensors(own).items()}
            save_checkpoint(tmp_path, Checkpoint(Position(stage="teacher", step=5), tensors))
            loaded = load_checkpoint(tmp_path)
            assert loaded is not None
            own = make_optimizer(config(optimizer), modules[0].parameters())
            restore_optimizer(own, loaded.group("optimizer"))
    assert all(map(torch.equal, modules[0].parameters(), modules[1].parameters()))
    steps = [each["step"].item() for each in own.state_dict()["state"].values()]
    assert steps == [12, 10]


@pytest.mark.parametrize("decay", [0.0, 0.1, 1.0])
def test_adamw_follows_the_paper(decay: float) -> None:
    module = Tiny()
    optimizer = make_optimizer(config(decay=decay), module.parameters())
    for _ in range(12):
        step(module, optimizer)
    matrix, bias = adamw_by_hand(12, 0.05, decay)
    torch.testing.assert_close(module.matrix.detach(), matrix, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(module.bias.detach(), bias, rtol=1e-10, atol=1e-12)


def test_adamw_equals_that_of_torch() -> None:
    module, expected = Tiny(), Tiny()
    optimizer = make_optimizer(config(), module.parameters())
    reference = torch.optim.AdamW([expected.matrix], lr=0.05, weight_decay=0.1)
    plain = torch.optim.Adam([expected.bias], lr=0.05)
    for _ in range(12):
        step(module, optimizer)
        reference.zero_grad()
        plain.zero_grad()
        expected.loss().backward()
        reference.step()
        plain.step()
    for name, value in module.state_dict().items():
        torch.testing.assert_close(value, expected.state_dict()[name], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("optimizer", ["adam", "adamax", "adamw"])
def test_the_decay_of_the_second_moment_is_torchs_second_beta(optimizer: str) -> None:
    module, expected = Tiny(), Tiny()
    settings = config(optimizer, 0.0).model_copy(update={"second_moment_decay": 0.95})
    kinds = {"adam": torch.optim.Adam, "adamax": torch.optim.Adamax, "adamw": torch.optim.Adam}  # without decay
    made, reference = (
        make_optimizer(settings, module.parameters()),
        kinds[optimizer](expected.parameters(), lr=0.05, betas=(0.9, 0.95)),
    )
    for _ in range(12):
        step(module, made)
        step(expected, reference)
    for name, value in module.state_dict().items():
        torch.testing.assert_close(value, expected.state_dict()[name], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("optimizer", ["adam", "adamax"])
def test_only_adamw_has_weight_decay(optimizer: str) -> None:
    flat = []
    for decay in (0.0, 1.0):
        module = Tiny()
        made = make_optimizer(config(optimizer, decay), module.parameters())
        for _ in range(3):
            step(module, made)
        flat.append(module.matrix.detach())
    torch.testing.assert_close(flat[0], flat[1], rtol=0, atol=0)


@pytest.mark.parametrize("optimizer", ["adam", "adamax", "adamw"])
def test_an_optimizer_is_restored_from_a_checkpoint(optimizer: str, tmp_path: Path) -> None:
    module = Tiny()
    made = make_optimizer(config(optimizer), module.parameters())
    for _ in range(5):
        step(module, made)
    tensors = {f"optimizer/{name}": value for name, value in optimizer_tensors(made).items()}
    save_checkpoint(tmp_path, Checkpoint(Position(stage="teacher", step=5), tensors))
    other = Tiny()
    other.load_state_dict(module.state_dict())
    again = make_optimizer(config(optimizer), other.parameters())
    loaded = load_checkpoint(tmp_path)
    assert loaded is not None
    restore_optimizer(again, loaded.group("optimizer"))
    for _ in range(5):
        step(module, made)
        step(other, again)
    for name, value in module.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], value, rtol=0, atol=0)


@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_parameters_that_lie_together_are_updated_as_by_torch(optimizer: str) -> None:
    """Bit for bit wherever the gradients lie; and up to rounding as by torch, which updates each parameter alone."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(5, 7), (3, 11), (1, 2)]
    values = [torch.randn(shape, generator=generator) for shape in shapes]
    together, apart, theirs = ([nn.Parameter(value.clone()) for value in values] for _ in range(3))
    made = [make_optimizer(config(optimizer), own) for own in (together, apart)]
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[optimizer]
    reference = kind(theirs, 0.05, weight_decay={"adam": 0.0, "adamw": 0.1}[optimizer])
    assert joined(together) is not None
    for _ in range(5):
        for own, other, twin, gradient in zip(together, apart, theirs, zeros_alike(together), strict=True):
            own.grad = gradient.copy_(torch.randn(gradient.shape, generator=generator))
            other.grad, twin.grad = gradient.clone(), gradient.clone()
        for each in (*made, reference):
            each.step()
        assert all(map(torch.equal, together, apart))
        torch.testing.assert_close(together, theirs, rtol=1e-6, atol=1e-6)
