"""The colours of matching errors."""

from __future__ import annotations

import numpy as np
import pytest
from PySide6.QtWidgets import QApplication

from nfkd_gui.plotting.match_colours import ErrorScale
from nfkd_gui.theme import apply_theme, tokens


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_scale_is_logarithmic_and_has_the_colours_of_the_theme(qapp: QApplication, theme: str) -> None:
    apply_theme(qapp, theme)
    scale = ErrorScale.of([np.array([[0.01, 1.0]]), np.array([[0.5]])])
    assert scale is not None
    stops = [colour.lower() for colour in tokens().match]
    for share, stop in zip((0, 0.25, 0.5, 0.75, 1), stops, strict=True):
        assert scale.colour(10 ** (-2 + 2 * share)).name() == stop
    assert scale.colour(1e-9).name() == stops[0]
    assert scale.colour(1e9).name() == stops[-1]
    apply_theme(qapp, "light")


def test_values_that_are_not_finite_do_not_count() -> None:
    assert ErrorScale.of([]) is None
    assert ErrorScale.of([np.array([[np.nan, np.inf]])]) is None
    scale = ErrorScale.of([np.array([[np.nan, 0.1]])])
    assert scale is not None
    assert scale.low == pytest.approx(-1)
    assert scale.high > scale.low
