"""States of an example between layers: they can be mapped back to the data."""

from __future__ import annotations

import numpy as np
import pytest

import nfkd
from nfkd.inspect import OpenedRun, Origin, layers, open_run
from nfkd.runs.errors import RunError
from tests.core.tiny import digits, moons


@pytest.fixture(scope="module")
def points(tmp_path_factory: pytest.TempPathFactory) -> OpenedRun:
    path = tmp_path_factory.mktemp("runs") / "points"
    nfkd.run(moons(training={"teacher_steps": 3, "student_steps": 3}), path)
    return open_run(path)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> OpenedRun:
    path = tmp_path_factory.mktemp("runs") / "images"
    nfkd.run(digits(training={"teacher_steps": 2, "student_steps": 2}), path)
    return open_run(path)


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
