"""Levels, layout and differences of the drawing, without Qt."""

from __future__ import annotations

from itertools import pairwise

import pytest

from nfkd.config.flows import GlowConfig, MAFConfig, TarFlowConfig
from nfkd.protocol.requests import FlowDescription, LayerInfo
from nfkd.protocol.roles import Role
from nfkd_gui.plotting.architecture.layout import Layout, lay_out
from nfkd_gui.plotting.architecture.levels import FlowLevel, bands_of, compare_flows, levels_of
from tests.gui.glow_layers import glow


def flow(layers: list[LayerInfo]) -> FlowDescription:
    return FlowDescription(summary="", parameters=0, multiply_adds=0, memory=0, layers=layers)


def layout_of(steps: dict[Role, int], size: tuple[float, float] = (1000, 500), **options: object) -> Layout:
    flows: dict[Role, list[FlowLevel]] = {role: levels_of(flow(glow(count))) for role, count in steps.items()}
    return lay_out(flows, size, **options)  # type: ignore[arg-type]


def test_splits_end_levels_and_leave_half_of_the_channels() -> None:
    first, second = levels_of(flow(glow(3)))
    assert [layer.name for layer in first.layers] == ["level1.squeeze", *(f"level1.step{n}" for n in (1, 2, 3))]
    assert first.split is not None
    assert (first.latent, second.latent) == ((2, 4, 4), (8, 2, 2))
    assert second.split is None


def test_a_flow_without_splits_has_one_level_and_norms_stand_before_their_step() -> None:
    layers = [
        LayerInfo(name=name, label=name, kind=kind, shape=[2], parameters=1)
        for name, kind in (("step1", "step"), ("batch_norm1", "batch_norm"), ("step2", "step"), ("flip", "flip"))
    ]
    [level] = levels_of(flow(layers))
    assert [layer.name for layer in level.layers] == ["step1", "batch_norm1", "step2", "flip"]
    assert [[layer.name for layer in cell.small] for cell in level.cells] == [[], ["batch_norm1"], ["flip"]]
    layout = lay_out({"teacher": [level]}, (800, 400))
    lefts = [box.rect.x for box in layout.boxes]
    drawn = dict(zip((box.layers[0].name for box in layout.boxes), lefts, strict=True))
    assert drawn["step1"] < drawn["batch_norm1"] < drawn["step2"] < drawn["flip"]


@pytest.mark.parametrize("steps", [{"teacher": 8, "student": 2}, {"teacher": 3, "assistant-1": 5, "student": 4}])
@pytest.mark.parametrize("size", [(400, 300), (1000, 500), (2400, 1200)])
def test_blocks_stand_in_their_level_without_overlap(steps: dict[Role, int], size: tuple[float, float]) -> None:
    layout = layout_of(steps, size)
    bands = {band.level: band.rect for band in layout.bands}
    for role, count in steps.items():
        boxes = layout.row_of(role)
        assert len(boxes) == 2 * (1 + count)
        for box, after in pairwise(boxes):
            assert box.rect.x + box.rect.width < after.rect.x
        for box in boxes:
            band = bands[box.level]
            assert band.x < box.rect.x
            assert box.rect.x + box.rect.width < band.x + band.width
            assert band.y < box.rect.y
            assert box.rect.y + box.rect.height < band.y + band.height
    middles = [row.y for row in layout.rows]
    assert middles == sorted(middles)
    assert layout.size[0] >= bands[1].x + bands[1].width


def test_a_student_step_ends_below_the_last_step_that_it_faces() -> None:
    layout = layout_of({"teacher": 8, "student": 2})

    def end(role: Role, name: str) -> float:
        box = layout.box_of(role, name)
        assert box is not None
        return box.rect.x + box.rect.width

    for level in (1, 2):
        for own, faced in ((1, 4), (2, 8)):
            assert end("student", f"level{level}.step{own}") == pytest.approx(
                end("teacher", f"level{level}.step{faced}")
            )


def test_folded_steps_share_a_block_and_keep_their_order() -> None:
    layout = layout_of({"teacher": 32, "student": 32})
    box = layout.box_of("teacher", "level2.step5")
    assert box is not None
    assert (box.kind, len(box.layers)) == ("group", 32)
    anchors = [box.anchor(layer.name) for layer in box.layers]
    assert anchors == sorted(anchors)
    assert [box.layer_at(anchor).name for anchor in anchors] == [layer.name for layer in box.layers]
    unfolded = layout_of({"teacher": 32, "student": 32}, unfolded={1})
    kinds = {box.level: {each.kind for each in unfolded.boxes if each.level == box.level} for box in unfolded.boxes}
    assert kinds == {0: {"small", "group"}, 1: {"small", "step"}}


def test_it_fits_where_the_room_is_large_enough_and_scales_with_the_interface() -> None:
    steps: dict[Role, int] = {"teacher": 8, "student": 2}
    width, height = layout_of(steps, (1000, 500)).size
    assert (width <= 1000, height) == (True, pytest.approx(500))
    small, large = layout_of(steps, (0, 0)), layout_of(steps, (0, 0), unit=2)
    assert large.size == pytest.approx([2 * side for side in small.size])


def test_no_flows_make_an_empty_layout() -> None:
    assert lay_out({}, (100, 100)) == Layout()


def test_differences_name_steps_widths_and_parameters() -> None:
    teacher, student = levels_of(flow(glow(8, 90))), levels_of(flow(glow(3, 60)))
    configs = GlowConfig(steps=8, hidden=64), GlowConfig(steps=3, hidden=32)
    found = compare_flows(teacher, student, configs)
    kept = {step.name for level in teacher for step in level.steps} - found.lacking
    assert kept == {f"level{level}.step{number}" for level in (1, 2) for number in (3, 6, 8)}
    assert found.notes[0] == ["3 of 8 steps", "32 of 64 hidden channels", "180 of 720 parameters"]
    same = compare_flows(teacher, teacher, (configs[0], configs[0]))
    assert (same.lacking, same.notes) == (frozenset(), [[], []])
    other = compare_flows(teacher, student, (configs[0], MAFConfig(hidden=64)))
    assert "MAF, not Glow" in other.notes[0]
    wider = compare_flows(teacher, student, (TarFlowConfig(hidden=128), TarFlowConfig()))
    assert "64 of 128 hidden channels" in wider.notes[0]


def test_levels_that_the_student_lacks_are_lacking_as_a_whole() -> None:
    teacher, student = levels_of(flow(glow(2))), levels_of(flow(glow(2)))[:1]
    assert compare_flows(teacher, student).lacking == {"level2.step1", "level2.step2"}


def test_the_parts_of_a_step_depend_on_the_settings() -> None:
    assert bands_of(GlowConfig()) == ["ActNorm", "1×1 convolution", "coupling"]
    assert bands_of(GlowConfig(actnorm=False, permutation="reverse")) == ["reversed order", "coupling"]
    assert bands_of(TarFlowConfig(depth=3)) == ["transformer", "affine map"]
    assert bands_of(None) == []
