"""What the header says about a run."""

from __future__ import annotations

import pytest

from nfkd.protocol.records import Verdict
from nfkd.protocol.view import RunView
from nfkd_gui.model.headline import headline_of
from tests.gui.scripted_engine import row_of


@pytest.mark.parametrize(
    ("gap_closed", "chip"),
    [
        (0.706, "closes 71 % · 1 of 3 seeds"),
        (-0.2, "closes −20 % · 1 of 3 seeds"),
        (float("nan"), "no gap known · 1 of 3 seeds"),
    ],
)
def test_the_gap_is_named_with_the_signs_of_all_panels(gap_closed: float, chip: str) -> None:
    view = RunView(row_of("/runs/a", "finished"), "")
    view.verdict = Verdict(
        verdict="inconclusive",
        metric="test likelihood",
        unit="nats",
        difference=0.1,
        low=float("nan"),
        high=float("nan"),
        seeds=[1],
        differences=[0.1],
        summary="One seed.",
        gap_closed=gap_closed,
    )
    assert headline_of(view.row, view, None).chip == chip
