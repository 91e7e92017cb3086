"""Where the keyboard goes in the drawing."""

from __future__ import annotations

from collections.abc import Sequence

from nfkd.protocol.requests import LayerInfo
from nfkd_gui.model.layer_choice import LayerChoice, Names, Side
from nfkd_gui.plotting.architecture.blocks import BlockItem
from nfkd_gui.plotting.architecture.pairs import PairItem
from nfkd_gui.plotting.architecture.scene import ArchitectureScene


def neighbour(
    scene: ArchitectureScene, current: BlockItem | PairItem | None, across: int, down: int
) -> BlockItem | PairItem | None:
    """Return the next block of the row, the nearest block of the next row, or the next pair."""
    if current is None:
        return scene.blocks[0] if scene.blocks else None
    if isinstance(current, PairItem):
        index = scene.pairs.index(current) + (across or down)
        return scene.pairs[min(max(index, 0), len(scene.pairs) - 1)]
    roles = list(scene.subject.backing.flows)
    row = [block for block in scene.blocks if block.box.role == current.box.role]
    if across:
        index = _index(row, current) + across
        return row[min(max(index, 0), len(row) - 1)]
    number = roles.index(current.box.role) + down
    if not 0 <= number < len(roles):
        return current
    others = [block for block in scene.blocks if block.box.role == roles[number]]
    middle = current.box.rect.middle[0]
    return min(others, key=lambda block: abs(block.box.rect.middle[0] - middle), default=current)


def next_target(choice: LayerChoice, rows: Sequence[Names], number: int, side: Side, step: int) -> LayerInfo | None:
    """Return the next layer, before (−1) or after (1), at which one side of a pair can be; None if there is none."""
    layers = choice.student if side == "student" else choice.teacher
    name = rows[number][0 if side == "student" else 1]
    index = next((place for place, layer in enumerate(layers) if layer.name == name), -1)
    ahead = layers[index + 1 :] if step > 0 else layers[: max(index, 0)][::-1]
    return next((layer for layer in ahead if not choice.refusal(rows, number, side, layer)), None)


def _index(row: Sequence[BlockItem], block: BlockItem) -> int:
    return next(number for number, other in enumerate(row) if other is block)
