"""How the flow panel draws one state: strips and grids, latents, and what decoding gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QWidget

import nfkd
from nfkd.config import ExperimentConfig
from nfkd.protocol.inspection import FlowStates, LayerState, Origin
from nfkd_gui.panels.flow_detail import DetailBlock
from nfkd_gui.plotting.state_pictures import state_image, tiled
from tests.core.tiny import moons
from tests.gui.panels.flow_driver import Driven, greys, known


def test_vectors_are_strips_and_channels_full_grids() -> None:
    assert tiled(np.arange(5.0)).shape == (5, 1)
    assert tiled(np.zeros((4, 4, 4))).shape == (8, 8)
    assert tiled(np.zeros((12, 4, 4))).size == 12 * 16
    assert tiled(np.zeros((2, 32, 2))).shape == (32, 4), "tall channels stand beside each other"
    assert tiled(np.zeros((1, 16, 4))).shape == (16, 4)
    values = np.array([0.0, 1.0, np.nan, 0.5])
    assert len({QColor(state_image(values).pixel(0, row)).name() for row in range(4)}) == 4


def detail(qtbot: Any, decoded: list[np.ndarray], levels: int) -> DetailBlock:
    """Return the detail of the noise of an image under a flow with some levels."""
    example = np.zeros((1, 64, 64))
    layers = [LayerState(f"level{n}.step1", f"level {n} step 1", "step", np.zeros((2, 4, 4)), 0.0, n - 1)
              for n in range(1, levels + 1)]  # fmt: skip
    flow = FlowStates(example, example, layers, [np.full((1, 4, 4), n) for n in range(levels)], decoded, 0.0, 0.0)
    parent = QWidget()
    block = DetailBlock("detail", parent)
    block.setParent(None)
    qtbot.addWidget(block)
    block.show_state("teacher", flow, levels, ink=False, rest="mean")
    return block


def test_all_latents_of_a_deep_flow_are_shown(qtbot: Any) -> None:
    block = detail(qtbot, [np.zeros((1, 64, 64))] * 6, 6)
    assert [picture.accessibleName() for picture, _ in block.latents] == [f"Latents z{n}" for n in "₁₂₃₄₅₆"]
    assert not any(picture.isHidden() for picture, _ in block.latents)


def test_a_flow_that_cannot_decode_says_so(qtbot: Any) -> None:
    block = detail(qtbot, [], 2)
    assert block.decoded.isHidden()
    assert block.names[1].text() == "This flow cannot decode."


def test_rows_of_a_table_are_strips_of_scaled_values(show: Any, fake_studio: Any, tmp_path: Path, qtbot: Any) -> None:
    rows = np.random.default_rng(0).normal(size=(200, 3)) * [1000.0, 1e-3, 1.0]
    np.savetxt(tmp_path / "rows.csv", rows, "%.9g", ",", header="a,b,c", comments="")
    config = moons(training={"teacher_steps": 3, "student_steps": 2}).model_dump(mode="json")
    config["data"] = {"kind": "table", "path": str(tmp_path / "rows.csv")}
    nfkd.run(ExperimentConfig.from_dict(config), tmp_path / "table")
    driven = Driven(show, fake_studio, tmp_path / "table")
    states = known(driven, Origin(kind="validation", index=0))
    row = driven.panel.layers.chain.rows[0]
    expected = [states.flows["teacher"].state, *(layer.value for layer in states.flows["teacher"].layers)]
    for picture, values in zip(row.pictures, expected, strict=True):
        np.testing.assert_array_equal(greys(picture), greys(state_image(values)))
        assert (picture.width(), picture.height()) == (1, 3)
    block = driven.panel.layers.detail.blocks[0]
    qtbot.waitUntil(block.isVisible)
    assert not block.decoded.isVisible(), "no latents leave, so that decoding gives the example"
    assert not driven.panel.layers.detail.rest.isVisible()
