"""The strategies of matching: from the layers of two flows to the pairs that face each other.

Each takes the steps of student and teacher, in order, and returns pairs of layers in order. They fit or not: that is
looked at afterwards, in one place (`nfkd.distillation.matching.check_pairs`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from nfkd.protocol.requests import LayerInfo

Layers = Sequence[LayerInfo]
Pair = tuple[LayerInfo, LayerInfo]


class LevelsError(ValueError):
    """Flows of different numbers of levels, matched level by level; it says how many each has."""


def steps_of(layers: Layers) -> list[LayerInfo]:
    """Return the layers that a matching may pair."""
    return [layer for layer in layers if layer.kind == "step"]


def paper(student: Layers, teacher: Layers) -> list[Pair]:
    """Pair the end of every level, the last one included; vectors, which have no levels, by depth.

    The squeeze of the raw input is no matched layer: it is the same in both flows.
    """
    if not _levels(student) and not _levels(teacher):
        return by_depth(student, teacher)
    return [(ours[-1], theirs[-1]) for ours, theirs in _level_by_level(student, teacher)]


def by_depth(student: Layers, teacher: Layers) -> list[Pair]:
    """Pair as many steps as the shallower flow has, spread over the depth of both, at each level and size apart.

    So the authors' earlier code matches vectors (vklyukin/nf_distillation). Steps of a size that the other flow has
    not, such as checkerboard steps, face none.
    """
    pairs = []
    for ours, theirs in _level_by_level(student, teacher):
        faced = _by_shape(theirs)
        for shape, steps in _by_shape(ours).items():
            pairs += _spread(steps, faced.get(shape, []))
    return pairs


def by_resolution(student: Layers, teacher: Layers) -> list[Pair]:
    """Pair the last steps of every shape that both flows have."""
    ours, theirs = ({tuple(layer.shape): layer for layer in steps_of(layers)} for layers in (student, teacher))
    return [(layer, theirs[shape]) for shape, layer in ours.items() if shape in theirs]


def last_only(student: Layers, teacher: Layers) -> list[Pair]:
    """Pair the last layers."""
    return [(student[-1], teacher[-1])]


STRATEGIES: dict[str, Callable[[Layers, Layers], list[Pair]]] = {
    "paper": paper,
    "by_depth": by_depth,
    "by_resolution": by_resolution,
    "last_only": last_only,
}
"""All but *auto*, which chooses among them, and *pairs*, which the user gives."""


def choose(student: Layers, teacher: Layers, *, alike: bool) -> str:
    """Return the name of the strategy that suits two flows.

    Parameters
    ----------
    student, teacher
        Their layers.
    alike
        Whether both are of one architecture: steps of different ones need not do the same on the way.

    Returns
    -------
    str
        *paper* for flows with levels, as many in both; *by_resolution* for other flows that change the shape on the
        way; *by_depth* for vectors and two flows of one architecture; else *last_only*.
    """
    levels = [_levels(layers) for layers in (student, teacher)]
    if levels[0] and len(levels[0]) == len(levels[1]):
        return "paper"
    shared = len(by_resolution(student, teacher))
    if shared > 1:
        return "by_resolution"
    same_size = len({tuple(layer.shape) for layer in (*steps_of(student), *steps_of(teacher))}) == 1
    return "by_depth" if alike and same_size else "last_only"


def _level_by_level(student: Layers, teacher: Layers) -> list[tuple[list[LayerInfo], list[LayerInfo]]]:
    """Return the steps of each level of both; vectors are one level."""
    ours, theirs = (_levels(layers) or [steps_of(layers)] for layers in (student, teacher))
    if len(ours) != len(theirs):
        msg = (
            f"the student has {len(ours)} levels and the teacher {len(theirs)}: give both the same number, "
            "or match by resolution"
        )
        raise LevelsError(msg)
    return list(zip(ours, theirs, strict=True))


def _levels(layers: Layers) -> list[list[LayerInfo]]:
    levels: dict[str, list[LayerInfo]] = {}
    for layer in steps_of(layers):
        level, dot, _ = layer.name.partition(".")
        if dot:
            levels.setdefault(level, []).append(layer)
    return list(levels.values())


def _by_shape(layers: Layers) -> dict[tuple[int, ...], list[LayerInfo]]:
    groups: dict[tuple[int, ...], list[LayerInfo]] = {}
    for layer in layers:
        groups.setdefault(tuple(layer.shape), []).append(layer)
    return groups


def _spread(ours: Layers, theirs: Layers) -> list[Pair]:
    count = min(len(ours), len(theirs))
    return [(ours[place_of(m, count, len(ours))], theirs[place_of(m, count, len(theirs))]) for m in range(count)]


def place_of(m: int, count: int, depth: int) -> int:
    """Return the m-th of `count` places that end at the last of `depth` layers, in whole numbers."""
    return -(-(m + 1) * depth // count) - 1
