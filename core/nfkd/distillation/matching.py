"""Which student layer faces which teacher layer.

A matching is data: a list of `LayerPair`, checked before anything runs. Nothing is ever shortened to make it fit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from nfkd.config import Fault, MatchingConfig
from nfkd.protocol.events import LayerPair
from nfkd.protocol.requests import LayerInfo

_PATH = "distillation.matching.strategy"


class MatchingError(ValueError):
    """Layers that cannot be matched.

    Attributes
    ----------
    faults
        What does not fit, each with the path of its field.
    """

    def __init__(self, faults: list[Fault]) -> None:
        self.faults = faults
        super().__init__("; ".join(str(fault) for fault in faults))


def match_layers(config: MatchingConfig, student: Sequence[LayerInfo], teacher: Sequence[LayerInfo]) -> list[LayerPair]:
    """Return the pairs of a strategy, in the order of the student's layers.

    Parameters
    ----------
    config
        Names the strategy. *paper*: for images the end of every level, the last one included (the squeeze of the
        raw input is no matched layer); for vectors as many pairs as the shallower flow has steps, spread over the
        depth of both, as in the authors' earlier code (vklyukin/nf_distillation). *last only*: the last layer.
    student, teacher
        The layers of the two flows, as `Flow.layer_info` gives them.

    Raises
    ------
    MatchingError
        When the flows have different numbers of levels, or paired layers have different shapes.
    """
    pairs = _STRATEGIES[config.strategy](student, teacher)
    faults = check_pairs(pairs, student, teacher)
    if faults:
        raise MatchingError(faults)
    return pairs


def check_pairs(pairs: Sequence[LayerPair], student: Sequence[LayerInfo], teacher: Sequence[LayerInfo]) -> list[Fault]:
    """Return what is wrong with a matching: unknown layers, duplicates, crossings, unequal shapes, or nothing."""
    ours = {layer.name: (place, layer) for place, layer in enumerate(student)}
    theirs = {layer.name: (place, layer) for place, layer in enumerate(teacher)}
    if not pairs:
        return [Fault(_PATH, "matches no layer: choose another strategy")]
    faults = []
    places = []
    for pair in pairs:
        if pair.student not in ours or pair.teacher not in theirs:
            faults.append(Fault(_PATH, f"names a layer that is not there: {pair.student} ↔ {pair.teacher}"))
            continue
        place, layer = ours[pair.student]
        other_place, other = theirs[pair.teacher]
        places.append((place, other_place))
        if list(layer.shape) != list(other.shape):
            faults.append(Fault(_PATH, f"{pair.words}: shapes {_shape(layer)} and {_shape(other)} differ"))
    for (first, first_other), (second, second_other) in pairwise(places):
        if second <= first or second_other <= first_other:
            faults.append(Fault(_PATH, "pairs a layer twice or crosswise: both sides must go on from pair to pair"))
            break
    return faults


def _paper(student: Sequence[LayerInfo], teacher: Sequence[LayerInfo]) -> list[LayerPair]:
    ours, theirs = _level_ends(student), _level_ends(teacher)
    if not ours and not theirs:
        return _by_depth(_steps(student), _steps(teacher))
    if len(ours) != len(theirs):
        message = (
            f"the student has {len(ours)} levels and the teacher {len(theirs)}: give both the same number, "
            "or match the last layer only"
        )
        raise MatchingError([Fault(_PATH, message)])
    return [_pair(mine, other) for mine, other in zip(ours, theirs, strict=True)]


def _last_only(student: Sequence[LayerInfo], teacher: Sequence[LayerInfo]) -> list[LayerPair]:
    return [_pair(student[-1], teacher[-1])]


def _by_depth(ours: Sequence[LayerInfo], theirs: Sequence[LayerInfo]) -> list[LayerPair]:
    count = min(len(ours), len(theirs))
    return [_pair(ours[_spread(m, count, len(ours))], theirs[_spread(m, count, len(theirs))]) for m in range(count)]


def _spread(m: int, count: int, depth: int) -> int:
    # The m-th of `count` places that end at the last of `depth` layers, in whole numbers.
    return -(-(m + 1) * depth // count) - 1


def _steps(layers: Sequence[LayerInfo]) -> list[LayerInfo]:
    return [layer for layer in layers if layer.kind == "step"]


def _level_ends(layers: Sequence[LayerInfo]) -> list[LayerInfo]:
    ends: dict[str, LayerInfo] = {}
    for layer in _steps(layers):
        level, dot, _ = layer.name.partition(".")
        if dot:
            ends[level] = layer
    return list(ends.values())


def _pair(ours: LayerInfo, theirs: LayerInfo) -> LayerPair:
    return LayerPair(student=ours.name, teacher=theirs.name, words=f"student {ours.words} ↔ teacher {theirs.words}")


def _shape(layer: LayerInfo) -> str:
    return "×".join(str(size) for size in layer.shape)


_STRATEGIES: dict[str, Callable[[Sequence[LayerInfo], Sequence[LayerInfo]], list[LayerPair]]] = {
    "paper": _paper,
    "last_only": _last_only,
}
