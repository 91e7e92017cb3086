"""The message of a training that diverges."""

from __future__ import annotations

import math

import pytest
import torch

import nfkd
from nfkd.config import Glow1DConfig
from nfkd.data import Batch
from nfkd.training.diagnosis import divergence


@pytest.mark.parametrize(
    ("values", "sampled", "cause"),
    [
        (
            {"train/total": 1.0, "gradient_norm": math.inf},
            (),
            "Not finite: the norm of the gradient; the gradient of each layer alone is finite.",
        ),
        (
            {"train/total": math.nan, "train/skd": math.nan, "train/nll": 1.0, "gradient_norm": 1.0},
            ("skd",),
            "Not finite: the loss, the term skd; it began in the samples.",
        ),
    ],
)
def test_the_message_names_what_is_not_finite(values: dict[str, float], sampled: tuple[str, ...], cause: str) -> None:
    flow = nfkd.build_flow(Glow1DConfig(steps=2, hidden=4), event_shape=(2,))
    error = divergence("teacher", 2, flow, Batch(torch.randn(8, 2)), values, sampled)
    assert error.info.title == "The teacher diverged at step 2"
    assert error.info.cause == cause


def test_the_message_names_the_first_bad_layer() -> None:
    flow = nfkd.build_flow(Glow1DConfig(steps=2, hidden=4), event_shape=(2,))
    with torch.no_grad():
        next(iter(flow.layers[0].parameters())).fill_(math.nan)
    values = {"train/total": math.nan, "train/nll": math.nan}
    cause = divergence("student", 3, flow, Batch(torch.randn(8, 2)), values).info.cause
    assert cause.startswith("Not finite: the loss, the term nll; it began at step 1")
