"""The strategies of matching: which student layer is paired with which teacher layer.

Each takes the layers of student and teacher, in order, and returns pairs of layers in order. Whether their shapes fit
is checked afterwards, by `nfkd.distillation.matching.check_pairs`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from nfkd.protocol.requests import LayerInfo

Layers = Sequence[LayerInfo]
Pair = tuple[LayerInfo, LayerInfo]


class LevelsError(ValueError):
    """Flows with different numbers of levels cannot be matched level by level."""


def steps_of(layers: Layers) -> list[LayerInfo]:
    """Return the layers that can be matched."""
    return [layer for layer in layers if layer.kind == "step"]


def paper(student: Layers, teacher: Layers) -> list[Pair]:
    """Pair the last steps of every level; for vectors, which have no levels, pair by depth."""
    if not _levels(student) and not _levels(teacher):
        return by_depth(student, teacher)
    return [(steps[-1], targets[-1]) for steps, targets in _level_by_level(student, teacher)]


def by_depth(student: Layers, teacher: Layers) -> list[Pair]:
    """Pair as many steps as the shallower flow has, spread over the depth of both, for each level and shape.

    As the authors' earlier code does for vectors (vklyukin/nf_distillation). Steps of a shape that the other flow
    lacks, such as checkerboard steps, are not paired.
    """
    pairs = []
    for steps, targets in _level_by_level(student, teacher):
        targets_by_shape = _by_shape(targets)
        for shape, same_shape in _by_shape(steps).items():
            pairs += _spread(same_shape, targets_by_shape.get(shape, []))
    return pairs


def by_resolution(student: Layers, teacher: Layers) -> list[Pair]:
    """Pair the last steps of every shape that both flows have."""
    last = [{tuple(layer.shape): layer for layer in steps_of(layers)} for layers in (student, teacher)]
    return [(layer, last[1][shape]) for shape, layer in last[0].items() if shape in last[1]]


def last_only(student: Layers, teacher: Layers) -> list[Pair]:
    """Pair the last layers."""
    return [(student[-1], teacher[-1])]


STRATEGIES: dict[str, Callable[[Layers, Layers], list[Pair]]] = {
    "paper": paper,
    "by_depth": by_depth,
    "by_resolution": by_resolution,
    "last_only": last_only,
}
"""All but *auto*, which chooses among them, and *pairs*, which the user sets."""


def choose_strategy(student: Layers, teacher: Layers, *, alike: bool) -> str:
    """Return the name of the strategy that suits two flows: what *auto* means.

    Parameters
    ----------
    student, teacher
        Their layers.
    alike
        Whether both have the same architecture; steps of different ones may have different roles.

    Returns
    -------
    str
        *paper* for flows with the same number of levels; *by_resolution* for other flows whose steps share several
        shapes; *by_depth* for flows of one architecture whose steps all have one shape; else *last_only*.
    """
    levels = [_levels(layers) for layers in (student, teacher)]
    if levels[0] and len(levels[0]) == len(levels[1]):
        return "paper"
    if len(by_resolution(student, teacher)) > 1:
        return "by_resolution"
    one_shape = len({tuple(layer.shape) for layer in (*steps_of(student), *steps_of(teacher))}) == 1
    return "by_depth" if alike and one_shape else "last_only"


def _level_by_level(student: Layers, teacher: Layers) -> list[tuple[list[LayerInfo], list[LayerInfo]]]:
    """Return the steps of each level of both; vectors are one level."""
    student_levels, teacher_levels = (_levels(layers) or [steps_of(layers)] for layers in (student, teacher))
    if len(student_levels) != len(teacher_levels):
        other = ", or match by resolution" if by_resolution(student, teacher) else ""
        msg = (
            f"the student has {len(student_levels)} levels and the teacher {len(teacher_levels)}: give both the same "
            f"number{other}"
        )
        raise LevelsError(msg)
    return list(zip(student_levels, teacher_levels, strict=True))


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


def _spread(student: Layers, teacher: Layers) -> list[Pair]:
    count = min(len(student), len(teacher))
    return [
        (student[spread_index(m, count, len(student))], teacher[spread_index(m, count, len(teacher))])
        for m in range(count)
    ]


def spread_index(m: int, count: int, depth: int) -> int:
    """Return the m-th of `count` indices that are evenly spread over `depth` layers and end at the last one."""
    return -(-(m + 1) * depth // count) - 1
