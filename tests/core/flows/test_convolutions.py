"""Networks of convolutions as matrix products over pixels, compared with torch's convolutions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from nfkd.flows import convolutions
from nfkd.flows.convolutions import Convolve
from nfkd.flows.windows import Windows, parts_of_images

FACTORS = (1.0, 1.0, 3.0)
SIZES = [(2, 3, 4, 5, 4), (1, 1, 1, 1, 2), (3, 2, 2, 3, 1), (5, 3, 1, 4, 6)]
every_size = pytest.mark.parametrize("size", SIZES, ids=lambda size: "x".join(map(str, size)))


def drawn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def inputs(size: tuple[int, ...], hidden: int = 3, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """Images, and weight, bias and logarithmic scale of each convolution."""
    batch, channels, height, width, outputs = size
    shapes = [(hidden, channels, 3, 3), (hidden, hidden, 1, 1), (outputs, hidden, 3, 3)]
    values = [drawn(batch, channels, height, width, dtype=dtype)]
    for number, shape in enumerate(shapes, 1):
        values += [0.5 * drawn(*each, seed=number, dtype=dtype) for each in (shape, shape[:1], shape[:1])]
    return [value.requires_grad_() for value in values]


def expected(x: Tensor, *parameters: Tensor) -> Tensor:
    for number, factor in enumerate(FACTORS):
        weight, bias, log_scale = parameters[3 * number : 3 * number + 3]
        h = functional.conv2d(x, weight, bias, padding="same") * (factor * log_scale).exp()[:, None, None]
        x = h if number == 2 else functional.relu(h)
    return x


def found(*values: Tensor, narrow: bool = False) -> Tensor:
    return Convolve(FACTORS, narrow=narrow)(values)[0]


@every_size
@pytest.mark.parametrize("chunk", [1, 27, 1 << 17])
def test_outputs_and_gradients_are_those_of_torchs_convolutions(
    size: tuple[int, ...], chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(convolutions, "CHUNK", chunk)
    values = inputs(size)
    results = []
    for function in (found, expected):
        out = function(*values)
        direction = drawn(*out.shape, seed=9)
        results.append([out, *torch.autograd.grad(out, values, direction)])
    torch.testing.assert_close(*results, rtol=1e-10, atol=1e-12)
    with torch.no_grad():
        torch.testing.assert_close(found(*values), results[1][0], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("height", "width", "pixels"), [(14, 14, 13 * 14), (4, 5, 3 * 5), (1, 14, 13)])
def test_only_the_hidden_layers_are_kept(height: int, width: int, pixels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a part may have nearly all rows, or nearly all columns."""
    batch, hidden = 11, 32
    monkeypatch.setattr(convolutions, "CHUNK", -(-pixels * batch * hidden // torch.get_num_threads()))
    values, kept = inputs((batch, 1, height, width, 1), hidden), dict[int, int]()

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        found(*values)
    layers = 2 * hidden * batch * height * width * values[0].itemsize
    assert sum(kept.values()) < 1.25 * layers + 3 * sum(each.nbytes for each in values)


def test_second_derivatives_agree_with_finite_differences() -> None:
    values = inputs((2, 1, 2, 3, 2), hidden=2)
    assert torch.autograd.gradcheck(found, values)
    assert torch.autograd.gradgradcheck(found, values)


def test_a_frozen_network_gives_the_gradient_by_its_input() -> None:
    x, *parameters = inputs(SIZES[0])
    frozen = [parameter.detach() for parameter in parameters]
    [gradient] = torch.autograd.grad(found(x, *frozen).square().sum(), x)
    [reference] = torch.autograd.grad(expected(x, *parameters).square().sum(), x)
    torch.testing.assert_close(gradient, reference, rtol=1e-10, atol=1e-12)


def test_a_pass_backwards_can_be_repeated() -> None:
    values = inputs(SIZES[0])
    out = found(*values).square().sum()
    first = torch.autograd.grad(out, values, retain_graph=True)
    torch.testing.assert_close(torch.autograd.grad(out, values), first, rtol=0, atol=0)


def test_rounded_operands_give_almost_the_same() -> None:
    values = inputs((4, 3, 6, 6, 4), hidden=16, dtype=torch.float32)
    results = []
    for narrow in (True, False):
        out = found(*values, narrow=narrow)
        assert out.dtype == torch.float32
        results.append([out, *torch.autograd.grad(out.square().mean(), values)])
    for rounded, exact in zip(*results, strict=True):
        assert 0 < (rounded - exact).norm() / exact.norm() < 0.03


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("pixels", [1, 7, 24, 1000])
def test_scattering_is_the_transpose_of_gathering(pixels: int, *, reverse: bool) -> None:
    channels, size = 2, (4, 5, 3)
    parts = parts_of_images(size, pixels)
    counts = [part.height * part.width * size[2] for part in parts]
    assert sum(counts) == 4 * 5 * 3
    for sizes in ({part.height for part in parts}, {part.width for part in parts}):
        assert max(sizes) - min(sizes) <= 1
    gathered, added = (
        Windows(torch.zeros(9 * channels, max(counts)).double(), size, parts, reverse=reverse) for _ in range(2)
    )
    x = drawn(channels, *size)
    gathered.image.copy_(x)
    product = 0.0
    for part, count in enumerate(counts):
        rows = drawn(9 * channels, count, seed=part + 1)
        product += float((gathered.gather(part) * rows).sum())
        added.rows[part].copy_(rows)
        added.scatter(part)
    torch.testing.assert_close(product, float((x * added.image).sum()), rtol=1e-12, atol=1e-12)
