"""Which student layer faces which teacher layer.

A matching is data: a list of `LayerPair`, checked before anything runs. Nothing is ever shortened to make it fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor

from nfkd.config import ConfigProblem, MatchingConfig
from nfkd.distillation.strategies import STRATEGIES, Layers, LevelsError, choose, steps_of
from nfkd.protocol.records import LayerPair
from nfkd.protocol.requests import LayerInfo, pairable

_STRATEGY = "distillation.matching.strategy"
PAIRS = "distillation.matching.pairs"
"""Where the pairs are that the user gives; the number of one follows, counted from zero."""


class MatchingError(ValueError):
    """Layers that cannot be matched.

    Attributes
    ----------
    problems
        What does not fit, each with the path of its field.
    """

    def __init__(self, problems: list[ConfigProblem]) -> None:
        self.problems = problems
        super().__init__("; ".join(str(problem) for problem in problems))


def strategy_of(config: MatchingConfig, student: Layers, teacher: Layers, *, alike: bool = True) -> str:
    """Return the strategy of a matching: where *auto* is asked for, what it chooses; arguments as `match_layers`."""
    return choose(student, teacher, alike=alike) if config.strategy == "auto" else config.strategy


def match_layers(
    config: MatchingConfig,
    student: Layers,
    teacher: Layers,
    *,
    alike: bool = True,
    names: tuple[str, str] = ("student", "teacher"),
) -> list[LayerPair]:
    """Return the pairs of a matching, in the order of the student's layers.

    Parameters
    ----------
    config
        Names the strategy (`nfkd.distillation.strategies`), or the pairs themselves.
    student, teacher
        The layers of the two flows, as `Flow.layer_info` gives them.
    alike
        Whether both are of one architecture; *auto* asks.
    names
        What the words of a pair call the two flows.

    Raises
    ------
    MatchingError
        When the flows have different numbers of levels, paired layers have different shapes, or the user's pairs name
        layers that are not there, twice or out of order; each pair's problem has the path of that pair.
    """
    name = strategy_of(config, student, teacher, alike=alike)
    if name == "pairs":
        pairs = _given(config, student, teacher, names)
        problems = check_pairs(pairs, student, teacher, own=True)
    else:
        try:
            pairs = [_pair(mine, other, names) for mine, other in STRATEGIES[name](student, teacher)]
        except LevelsError as error:
            raise MatchingError([ConfigProblem(_STRATEGY, str(error))]) from error
        problems = check_pairs(pairs, student, teacher)
    if problems:
        raise MatchingError(problems)
    return pairs


def check_pairs(
    pairs: Sequence[LayerPair], student: Layers, teacher: Layers, *, own: bool = False
) -> list[ConfigProblem]:
    """Return what is wrong with a matching: unknown layers, duplicates, crossings, unequal shapes, or nothing.

    Parameters
    ----------
    pairs
        The matching.
    student, teacher
        The layers of the two flows.
    own
        Whether the user gave the pairs: each problem then has the path of its pair, else that of the strategy.
    """
    if not pairs:
        action = "add a pair, or choose another strategy" if own else "choose another strategy"
        return [ConfigProblem(PAIRS if own else _STRATEGY, f"matches no layer: {action}")]
    problems = []
    for number, pair in enumerate(pairs):
        path = f"{PAIRS}.{number}" if own else _STRATEGY
        problems += _layer_problems(path, pair, student, teacher, own=own)
    problems += _order_problems(pairs, student, teacher, own=own)
    if own and not any(pair.weight for pair in pairs):
        problems.append(ConfigProblem(PAIRS, "all pairs have the weight zero: give at least one a positive weight"))
    return problems


def weighted_mean(values: Tensor, weights: Sequence[float]) -> Tensor:
    """Return the mean of one value for each matched pair, (…, M), by the pairs' weights: Σ wₘ·vₘ / Σ wₘ, (…).

    What any term of the loss makes of the matched layers goes through here, so that all count a pair alike.
    """
    total = sum(weights)  # shares in double precision: small weights would add up to nothing in the values' own
    return (values.new_tensor([weight / total for weight in weights]) * values).sum(-1)


def _given(config: MatchingConfig, student: Layers, teacher: Layers, names: tuple[str, str]) -> list[LayerPair]:
    ours, theirs = ({layer.name: layer for layer in layers} for layers in (student, teacher))
    pairs = []
    for pair in config.pairs:
        mine, other = ours.get(pair.student), theirs.get(pair.teacher)
        if mine is not None and other is not None:
            pairs.append(_pair(mine, other, names, pair.weight))
        else:
            words = f"{names[0]} {pair.student} ↔ {names[1]} {pair.teacher}"
            pairs.append(LayerPair(student=pair.student, teacher=pair.teacher, summary=words, weight=pair.weight))
    return pairs


def _layer_problems(path: str, pair: LayerPair, student: Layers, teacher: Layers, *, own: bool) -> list[ConfigProblem]:
    sides = (("student", pair.student, student), ("teacher", pair.teacher, teacher))
    layers = {role: next((layer for layer in there if layer.name == name), None) for role, name, there in sides}
    problems = []
    for role, name, there in sides:
        layer = layers[role]
        if layer is None:
            steps = steps_of(there)
            known = f" ({steps[0].name} to {steps[-1].name})" if steps else ""
            problems.append(ConfigProblem(_side(path, role, own=own), f"the {role} has no layer {name!r}{known}"))
        elif own and layer not in pairable(there):
            words = f"{layer.label} of the {role} is a {layer.kind}, and only steps can be matched"
            problems.append(ConfigProblem(_side(path, role, own=own), words))
    mine, other = layers["student"], layers["teacher"]
    if mine is not None and other is not None and list(mine.shape) != list(other.shape):
        problems.append(ConfigProblem(path, f"{pair.summary}: shapes {_shape(mine)} and {_shape(other)} differ"))
    return problems


def _side(path: str, role: str, *, own: bool) -> str:
    return f"{path}.{role}" if own else path


def _order_problems(pairs: Sequence[LayerPair], student: Layers, teacher: Layers, *, own: bool) -> list[ConfigProblem]:
    ours, theirs = ({layer.name: place for place, layer in enumerate(layers)} for layers in (student, teacher))
    known = [(n, pair) for n, pair in enumerate(pairs) if pair.student in ours and pair.teacher in theirs]
    problems = []
    for (_, before), (number, pair) in pairwise(known):
        if ours[pair.student] > ours[before.student] and theirs[pair.teacher] > theirs[before.teacher]:
            continue
        twice = pair.student == before.student or pair.teacher == before.teacher
        words = "pairs a layer twice" if twice else "is out of order or crosses the pair before it"
        path = f"{PAIRS}.{number}" if own else _STRATEGY
        problems.append(ConfigProblem(path, f"{pair.summary} {words}: both sides must go on from pair to pair"))
    return problems


def _pair(ours: LayerInfo, theirs: LayerInfo, names: tuple[str, str], weight: float = 1.0) -> LayerPair:
    counts = "" if weight == 1.0 else f" (weight {weight:g})"
    words = f"{names[0]} {ours.label} ↔ {names[1]} {theirs.label}{counts}"
    return LayerPair(student=ours.name, teacher=theirs.name, summary=words, weight=weight)


def _shape(layer: LayerInfo) -> str:
    return "×".join(str(size) for size in layer.shape)
