"""Scalers and units: their maps, and their JSON."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.preprocessing import QuantileTransformer

from nfkd.data.column_statistics import RowSource
from nfkd.data.scaling import AffineScaler, QuantileScaler, Scaler, fit_scaler, scaler_from_dict
from nfkd.data.units import DataUnits, evaluation_noise, units_from_json

RNG = np.random.default_rng(0)
ROWS = np.stack(  # a smooth column, whole numbers, and columns with many equal values at an end
    [
        1e6 + 300 * RNG.normal(size=3000),
        RNG.integers(0, 4, 3000).astype(float),
        np.r_[np.zeros(2000), RNG.random(1000)],
        np.r_[np.ones(2000), RNG.random(1000)],
    ],
    axis=1,
)
KINDS = ("standard", "robust", "quantile")


def fitted(kind: Any) -> Scaler:
    scaler = fit_scaler(kind, RowSource(ROWS))
    assert scaler is not None
    return scaler


def test_quantiles_and_their_inverse_are_those_of_scikit_learn() -> None:
    reference: Any = QuantileTransformer(n_quantiles=1000, output_distribution="normal", random_state=0).fit(ROWS)
    scaler = fitted("quantile")
    beyond = np.vstack([ROWS, ROWS + RNG.normal(size=ROWS.shape), 10 * ROWS, -ROWS])
    np.testing.assert_allclose(scaler(beyond), reference.transform(beyond), rtol=1e-6, atol=1e-6)
    scaled = 3 * RNG.normal(size=(2000, 4))
    np.testing.assert_allclose(scaler.undo(scaled), reference.inverse_transform(scaled), rtol=1e-6)


@pytest.mark.parametrize(
    "scaler",
    [AffineScaler(np.array([1.0, -3.0]), np.array([0.5, 20.0])), QuantileScaler(np.array([[0.0, 3, 7], [-2.0, 1, 9]]))],
)
def test_scalers_and_their_inverses_have_gradients(scaler: Scaler) -> None:
    x = torch.tensor([[1.0, 0.5], [2.5, 3.0], [6.0, 8.0]], dtype=torch.float64, requires_grad=True)
    torch.autograd.gradcheck(scaler.scale, x)
    torch.autograd.gradcheck(scaler.unscale, scaler.scale(x).detach().requires_grad_())
    torch.testing.assert_close(scaler.unscale(scaler.scale(x)), x)


@pytest.mark.parametrize("kind", KINDS)
def test_json_gives_the_same_scaler_bit_for_bit(kind: str) -> None:
    scaler = fitted(kind)
    again = scaler_from_dict(json.loads(json.dumps(scaler.to_dict())), 4)
    x = torch.from_numpy(ROWS)
    assert torch.equal(again.scale(x), scaler.scale(x))
    assert torch.equal(again.unscale(scaler.scale(x)), scaler.unscale(scaler.scale(x)))
    assert again.log_volume == scaler.log_volume
    units = DataUnits(None, scaler, fit_scaler("robust", RowSource(ROWS[:, :2])), standardised=True)
    back = units_from_json(units.to_json(), (4,), 2)
    assert back.to_json() == units.to_json()
    assert (back.unit, back.standardised) == ("nats (scaled)", True)


def test_vectors_are_scaled_in_double_precision() -> None:
    """A column far from zero: single precision would lose its second decimal."""
    units = DataUnits(scaler=AffineScaler(np.array([1e9]), np.array([1e-2])))
    x = torch.tensor([[1e9 + 0.01], [1e9 - 0.03]], dtype=torch.float64)
    torch.testing.assert_close(
        units.to_scaled(x), torch.tensor([[1.0], [-3.0]], dtype=torch.float64), rtol=1e-4, atol=0
    )
    assert units.log_volume((1,)) == pytest.approx(math.log(100))
    assert units.to_data(torch.tensor([[2.0]])).item() == pytest.approx(1e9 + 0.02, abs=1e-6)


def test_only_whole_levels_are_dequantized() -> None:
    units = DataUnits(levels=17)
    whole = torch.from_numpy(RNG.integers(0, 17, (5, 1, 3, 3)))
    expected = (whole.float() + torch.rand(whole.shape, generator=evaluation_noise())) / 17
    for dtype in (torch.uint8, torch.int64, torch.float32, torch.float64):
        assert torch.equal(units.to_scaled(whole.to(dtype)), expected)
    torch.testing.assert_close(units.to_scaled(whole + 0.25), (whole + 0.25) / 17)
    torch.testing.assert_close(units.to_data(units.to_scaled(whole + 0.25)), whole + 0.25)
    assert units.log_volume((1, 3, 3)) == pytest.approx(-9 * math.log(17))
    assert units.nll(torch.tensor([2.0]), (1, 3, 3)).item() == pytest.approx(-2 / 9 / math.log(2) + math.log2(17))


def test_dequantized_levels_may_be_rounded_slightly_out_of_range() -> None:
    edge = torch.tensor([[[[0.5, 17.0], [-1e-6, 3.0]]]])
    torch.testing.assert_close(DataUnits(levels=17).to_scaled(edge), edge / 17)


def test_values_that_are_no_levels_are_refused() -> None:
    images = torch.full((2, 1, 2, 2), 3.0)
    for value in (-1.0, -0.5, 17.0, 17.5, 300.0, math.nan, math.inf):
        images[1, 0, 1, 0] = value
        with pytest.raises(ValueError, match=r"whole ones from 0 to 16.*these go from"):
            DataUnits(levels=17).to_scaled(images)


def test_images_that_look_scaled_give_a_warning() -> None:
    with pytest.warns(UserWarning, match="from 0 to 255: are they scaled"):
        DataUnits(levels=256).to_scaled(torch.rand(2, 1, 2, 2))


AFFINE = {"kind": "affine", "centre": [0.0, 1.0], "width": [1.0, 2.0]}
IMAGES = {"levels": 17, "values": None, "context": None, "standardised": False}
GOOD = {"levels": None, "values": AFFINE, "context": None, "standardised": False}


DAMAGED: list[tuple[dict[str, Any], str]] = [
    ({"values": AFFINE | {"width": [1.0, 0.0]}}, "not positive"),
    ({"values": AFFINE | {"width": [1.0, -2.0]}}, "not positive"),
    ({"values": AFFINE | {"width": [1.0, math.inf]}}, "not finite"),
    ({"values": AFFINE | {"centre": [math.nan, 0.0]}}, "not finite"),
    ({"values": AFFINE | {"centre": [0.0]}}, "2 numbers each"),
    ({"values": AFFINE | {"width": 2.0}}, "2 numbers each"),
    ({"values": AFFINE | {"centre": [[0.0], [0.0, 1.0]]}}, "values that are not numbers"),
    ({"values": AFFINE | {"centre": ["a", "b"]}}, "values that are not numbers"),
    ({"values": AFFINE | {"centre": {"a": 1}}}, "values that are not numbers"),
    ({"values": AFFINE | {"centre": [10**400, 0]}}, "values that are not numbers"),
    ({"values": AFFINE | {"kind": "cubic"}}, "neither affine nor quantile"),
    ({"values": [1, 2]}, "neither affine nor quantile"),
    ({"values": {"kind": "quantile", "knots": [[0.0, 1.0]]}}, "for 2 columns"),
    ({"values": {"kind": "quantile", "knots": [[0.0], [1.0]]}}, "do not ascend"),
    ({"values": {"kind": "quantile", "knots": [[0.0, 1.0], [1.0, 0.5]]}}, "do not ascend"),
    ({"context": AFFINE}, "3 numbers each"),
    ({"levels": 17}, "not those of images"),
    ({"gaussian": 0.1}, "Gaussian noise"),
    ({"standardised": 1}, "fields"),
    ({"more": 1}, "fields"),
]


def test_json_keeps_gaussian_noise_and_leaves_it_out_otherwise() -> None:
    noisy, plain = DataUnits(levels=17, gaussian_noise=0.025), DataUnits(levels=17)
    again = units_from_json(noisy.to_json(), (1, 8, 8), 0)
    assert (again.gaussian_noise, again.unit) == (0.025, "bits/dim (noisy)")
    assert json.loads(plain.to_json()) == IMAGES


def test_damaged_json_is_refused_with_the_reason() -> None:
    for changes, expected in DAMAGED:
        with pytest.raises(ValueError, match=expected):
            units_from_json(json.dumps(GOOD | changes), (2,), 3)
    for levels in (0, 1, -3, 2**40, 17.0, True, "17", None):
        with pytest.raises(ValueError, match="levels"):
            units_from_json(json.dumps(GOOD | {"levels": levels, "values": None}), (1, 8, 8), 0)
    for gaussian in (-0.1, 2.0, math.nan, "0.1", True):
        with pytest.raises(ValueError, match="Gaussian noise"):
            units_from_json(json.dumps(IMAGES | {"gaussian": gaussian}), (1, 8, 8), 0)
    for text in ("", "{", "[" * 100_000, "[]", "null", '{"levels": 1}'):
        with pytest.raises(ValueError, match=r"JSON|fields"):
            units_from_json(text, (2,), 0)


def test_a_gaussian_in_data_units_has_scipys_density() -> None:
    mean, deviation = np.array([3.0, -40.0]), np.array([0.02, 500.0])
    units = DataUnits(scaler=AffineScaler(mean, deviation))
    x = RNG.normal(size=(50, 2)) * deviation + mean
    z = units.to_scaled(torch.from_numpy(x)).numpy()
    log_prob = torch.from_numpy(stats.norm.logpdf(z).sum(axis=1))
    np.testing.assert_allclose(-units.nll(log_prob, (2,)), stats.norm.logpdf(x, mean, deviation).sum(axis=1))
