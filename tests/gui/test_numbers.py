"""Numbers as text, compared with texts written by hand."""

from __future__ import annotations

import math

import pytest

from nfkd_gui.numbers import format_bytes, format_count, format_together


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (7, "7"),
        (999, "999"),
        (1000, "1.00 k"),
        (9996, "10.0 k"),
        (17_000, "17.0 k"),
        (154_321, "154 k"),
        (2e6, "2.00 M"),
    ],
)
def test_counts_have_three_digits(value: float, text: str) -> None:
    assert format_count(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(512, "512 B"), (1 << 20, "1.0 MiB"), (21 << 20, "21 MiB"), (3 << 39, "1.5 TiB")]
)
def test_bytes_have_two_digits(value: float, text: str) -> None:
    assert format_bytes(value) == text


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ((11.62, 1.6, -0.0005), ["11.62", "1.60", "−0.00"]),
        ((98.0, 117.9), ["98.0", "117.9"]),
        ((0.1, 0.9), ["0.1000", "0.9000"]),
        ((12345.6, 1.0), ["12346", "1"]),
        ((0.0, 0.0), ["0", "0"]),
        ((1.0, math.nan), ["1.000", "–"]),
        ((1e-9, 2e-9), ["1e−09", "2e−09"]),
    ],
)
def test_values_that_stand_together_have_equal_decimals(values: tuple[float, ...], texts: list[str]) -> None:
    assert format_together(values) == texts
