"""States of an example between layers: they can be mapped back to the data."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nfkd.inspect import OpenedRun, Origin, layers
from nfkd.runs.errors import RunError


def test_a_state_after_a_layer_is_mapped_back_to_its_example(points: OpenedRun, images: OpenedRun) -> None:
    for run in (points, images):
        known = layers(run, Origin(kind="validation", index=5))
        for role, flow in known.flows.items():
            before = [layer for layer in flow.layers if not layer.splits]
            for layer in before:
                origin = Origin(kind="values", role=role, layer=layer.name, values=layer.value)
                found = layers(run, origin)
                np.testing.assert_allclose(found.flows[role].state, flow.state, atol=1e-4)
                assert all(np.array_equal(other.state, found.flows[role].state) for other in found.flows.values())


def test_the_likely_example_has_the_highest_density_of_many_samples(points: OpenedRun) -> None:
    for role in ("teacher", "student"):
        found = layers(points, Origin(kind="likely", role=role)).flows[role]
        others = points.flows[role].sample(500, 1.0, torch.Generator().manual_seed(8))
        assert found.log_prob > float(points.flows[role].log_prob(others).max()) - 0.05
    assert layers(points, Origin(kind="likely")).flows["teacher"].log_prob == pytest.approx(
        layers(points, Origin(kind="likely", role="teacher")).flows["teacher"].log_prob
    )


def test_a_state_that_cannot_be_inverted_is_refused(points: OpenedRun, images: OpenedRun) -> None:
    flow = layers(images, Origin(kind="validation")).flows["teacher"]
    after_split = next(layer for layer in flow.layers if layer.splits)
    for run, layer, values in (
        (images, after_split.name, after_split.value),
        (images, flow.layers[0].name, np.zeros(3)),
        (points, "step99", np.zeros(2)),
        (points, "step1", None),
    ):
        with pytest.raises(RunError, match="cannot be mapped back"):
            layers(run, Origin(kind="values", role="teacher", layer=layer, values=values))
    with pytest.raises(RunError, match="no assistant 1 yet"):
        layers(points, Origin(kind="values", role="assistant-1", layer="step1", values=np.zeros(2)))
