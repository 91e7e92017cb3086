"""What callers may give to a flow: tensors, arrays, lists and tables; anything else is refused with what to write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

import nfkd
from nfkd.config.flows import GlowConfig, MAFConfig
from nfkd.data.scaling import AffineScaler
from nfkd.data.units import DataUnits
from nfkd.flows.flow import Flow, Latents
from nfkd.runs.data_space import DataSpaceFlow

CENTRE, WIDTH = np.array([10.0, -3.0, 0.5]), np.array([2.0, 0.1, 5.0])
ROWS = np.random.default_rng(2).normal(size=(5, 3)) * WIDTH + CENTRE


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def perturbed(flow: Flow) -> Flow:
    generator = seeded()
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return flow.eval()


def vectors(context: int = 0) -> DataSpaceFlow:
    flow = nfkd.build_flow(MAFConfig(steps=2, hidden=8), (3,), context_features=context, generator=seeded())
    conditions = AffineScaler(np.full(context, 7.0), np.full(context, 2.0)) if context else None
    return DataSpaceFlow(perturbed(flow), DataUnits(None, AffineScaler(CENTRE, WIDTH), conditions))


def images() -> DataSpaceFlow:
    flow = nfkd.build_flow(GlowConfig(levels=1, steps=1, hidden=4), (3, 4, 4), generator=seeded())
    return DataSpaceFlow(perturbed(flow), DataUnits(256))


FORMS: dict[str, Callable[[np.ndarray], Any]] = {
    "float64 array": lambda rows: rows,
    "list of lists": lambda rows: rows.tolist(),
    "list of arrays": list,
    "list of tensors": lambda rows: list(torch.from_numpy(rows)),
    "Fortran order": np.asfortranarray,
    "read only": lambda rows: np.frombuffer(rows.tobytes()).reshape(rows.shape),
    "reversed view": lambda rows: rows[::-1][::-1],
    "big endian": lambda rows: rows.astype(">f8"),
    "data frame": pl.DataFrame,
    "masked array without a mask": np.ma.asarray,
    "tensor": torch.from_numpy,
}


@pytest.mark.parametrize("form", FORMS)
def test_rows_in_any_form_have_the_same_density(form: str) -> None:
    flow, convert = vectors(), FORMS[form]
    expected = flow.log_prob(torch.from_numpy(ROWS))
    torch.testing.assert_close(flow.log_prob(convert(ROWS)), expected, rtol=0, atol=0)
    torch.testing.assert_close(flow.nll(convert(ROWS)).float(), -expected, rtol=1e-6, atol=1e-6)
    assert flow.encode(convert(ROWS)).parts[0].shape == (5, 3)


@pytest.mark.parametrize("dtype", ["float16", "float32", "longdouble", "int8", "int64", "uint8", "uint16", "bool"])
def test_any_type_of_numbers_is_taken(dtype: str) -> None:
    rows = np.array([[1, 0, 1], [0, 1, 1]])
    expected = vectors().log_prob(torch.from_numpy(rows).double())
    torch.testing.assert_close(vectors().log_prob(rows.astype(dtype)), expected, rtol=0, atol=0)


def test_zeros_of_float32_and_a_list_of_integers() -> None:
    flow = vectors()
    expected = flow.log_prob(torch.zeros(2, 3))
    torch.testing.assert_close(flow.log_prob(np.zeros((2, 3), np.float32)), expected)
    torch.testing.assert_close(flow.log_prob([[0, 0, 0]]), expected[:1])


def test_contexts_are_taken_in_any_form() -> None:
    flow, contexts = vectors(2), np.arange(10.0).reshape(5, 2)
    expected = flow.log_prob(torch.from_numpy(ROWS), torch.from_numpy(contexts))
    torch.testing.assert_close(flow.log_prob(ROWS.tolist(), contexts.tolist()), expected)
    torch.testing.assert_close(flow.nll(ROWS, contexts).float(), -expected, rtol=1e-6, atol=1e-6)
    first, second = (
        flow.sample(5, generator=torch.Generator().manual_seed(1), context=form)
        for form in (contexts, torch.from_numpy(contexts))
    )
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    back = flow.decode(flow.encode(ROWS, contexts), contexts.tolist())
    torch.testing.assert_close(back, torch.from_numpy(ROWS).float(), rtol=1e-3, atol=1e-3)


def test_images_as_arrays_are_levels() -> None:
    flow, levels = images(), np.random.default_rng(0).integers(0, 256, (4, 3, 4, 4))
    expected = flow.nll(torch.from_numpy(levels))
    for form in (levels.astype(np.uint8), levels.astype(np.float64), levels.tolist()):
        torch.testing.assert_close(flow.nll(form), expected, rtol=0, atol=0)
    with pytest.raises(ValueError, match=r"channels come first, give x\.permute\(0, 3, 1, 2\)"):
        flow.log_prob(np.moveaxis(levels, 1, 3))
    with pytest.raises(ValueError, match=r"for one example, give x\[None\]"):
        flow.log_prob(levels[0])
    with pytest.raises(ValueError, match=r"give x\.reshape\(-1, 3, 4, 4\)"):
        flow.log_prob(levels.reshape(4, -1))


REFUSED: dict[str, tuple[Any, str]] = {
    "text": (np.array([["a", "b", "c"]]), "x is a NumPy array of <U1: give a tensor, array or list of real numbers"),
    "objects": ([[None, 1, 2]], "x is a list of object"),
    "dates": (np.array([["2020", "2021", "2022"]], "M8[D]"), "real numbers"),
    "complex array": (np.zeros((2, 3), complex), "real numbers"),
    "complex tensor": (torch.zeros(2, 3, dtype=torch.complex64), "x holds complex numbers: give x.real"),
    "ragged": ([[1, 2, 3], [1, 2]], "x cannot be read as an array of numbers: give rows of equal length"),
    "masked": (np.ma.masked_less(np.zeros((2, 3)), 1), "x has masked values"),
    "one row": ([0.0, 0.0, 0.0], r"x has shape (3,); this flow takes (B, 3): for one example, give x[None]"),
    "a number": (0.5, "x has shape (); this flow takes (B, 3)"),
    "wide": (np.zeros((2, 4)), "x has shape (2, 4); this flow takes (B, 3)"),
    "nothing": (None, "x is a NoneType of object"),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("method", ["log_prob", "nll", "encode", "trace"])
def test_anything_else_is_refused_with_one_message(case: str, method: str) -> None:
    value, message = REFUSED[case]
    with pytest.raises((TypeError, ValueError)) as refused:
        getattr(vectors(), method)(value)
    assert message in str(refused.value)


def test_a_flow_on_scaled_values_says_what_to_write() -> None:
    flow, zeros = vectors().scaled, np.zeros((2, 3), np.float32)
    with pytest.raises(TypeError, match=r"^x is a NumPy array: give torch\.from_numpy\(x\)\.float\(\)$"):
        flow.log_prob(zeros)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"^x is a list: give torch\.tensor\(x\)\.float\(\)$"):
        flow.encode([[0, 0, 0]])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"x is torch\.float64; this flow computes in torch\.float32: give x\.to"):
        flow.log_prob(torch.zeros(2, 3, dtype=torch.float64))
    with pytest.raises(ValueError, match=r"x is on meta, and this flow on cpu: give x\.to\('cpu'\)"):
        flow.log_prob(torch.zeros(2, 3, device="meta"))
    with pytest.raises(TypeError, match=r"context is a NumPy array"):
        vectors(2).scaled.log_prob(torch.zeros(2, 3), np.zeros((2, 2)))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"for one context for all, give context\.expand\(2, -1\)"):
        vectors(2).log_prob(np.zeros((2, 3)), np.zeros(2))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 2.0}, "n is 2.0 (float): give a whole number"),
        ({"n": "2"}, "n is '2' (str)"),
        ({"n": True}, "n is True (bool)"),
        ({"n": -1}, "n is -1"),
        ({"n": 2, "temperature": "hot"}, "temperature is 'hot' (str): give a number"),
        ({"n": 2, "generator": 5}, "give torch.Generator().manual_seed(5)"),
        ({"n": 2, "generator": np.random.default_rng(0)}, "generator is a Generator"),
        ({"n": 2, "context": [[1.0]]}, "takes no context: leave it out"),
    ],
)
def test_arguments_of_sample(arguments: dict[str, Any], message: str) -> None:
    for flow in (vectors(), vectors().scaled):
        with pytest.raises((TypeError, ValueError)) as refused:
            flow.sample(**arguments)
        assert message in str(refused.value)
    assert vectors().sample(np.int64(2)).shape == (2, 3)  # type: ignore[arg-type]


def test_latents_of_the_wrong_type_or_shape() -> None:
    flow = vectors()
    with pytest.raises(TypeError, match="latents is a Tensor: give Latents, as encode returns them"):
        flow.decode(torch.zeros(2, 3))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a tensor of latents"):
        flow.decode(Latents((np.zeros((2, 3)),), torch.zeros(2)))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"has tensors of the shapes \(2, 4\); this flow takes \(B, 3\)"):
        flow.decode(Latents((torch.zeros(2, 4),), torch.zeros(2)))
    with pytest.raises(TypeError, match=r"noise is a Tensor: give a list of tensors of the shapes \(B, 3\)"):
        flow.scaled.synthesize(torch.zeros(2, 3))  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [None, 3, object()])
def test_load_flow_takes_a_path(value: Any) -> None:
    with pytest.raises(TypeError, match=r"give the path of a \.safetensors file; of a run, run\.load_student\(\)"):
        nfkd.load_flow(value)
