"""The matching: pairs of a student layer and a teacher layer.

A matching is a list of `LayerPair`, checked before anything runs. It is never shortened to make it fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor

from nfkd.config import ConfigProblem, MatchingConfig
from nfkd.distillation.strategies import STRATEGIES, Layers, LevelsError, choose_strategy, steps_of
from nfkd.flows.architecture import format_shape
from nfkd.protocol.records import LayerPair
from nfkd.protocol.requests import LayerInfo, pairable

_STRATEGY = "distillation.matching.strategy"
PAIRS = "distillation.matching.pairs"
"""Path of the user's pairs; the index of a pair follows."""


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
    """Return the strategy of a matching, or the one that *auto* chooses; arguments as `match_layers`."""
    return choose_strategy(student, teacher, alike=alike) if config.strategy == "auto" else config.strategy


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
        The strategy (`nfkd.distillation.strategies`), or the user's pairs.
    student, teacher
        The layers of the two flows, from `Flow.layer_info`.
    alike
        Whether both have the same architecture; *auto* depends on it.
    names
        The names of the two flows in the summary of a pair.

    Raises
    ------
    MatchingError
        When the flows have different numbers of levels, paired layers have different shapes, or the user's pairs name
        unknown layers, repeat a layer or are out of order.
    """
    name = strategy_of(config, student, teacher, alike=alike)
    if name == "pairs":
        pairs = _user_pairs(config, student, teacher, names)
        problems = check_pairs(pairs, student, teacher, own=True)
    else:
        try:
            pairs = [_pair(layer, target, names) for layer, target in STRATEGIES[name](student, teacher)]
        except LevelsError as error:
            raise MatchingError([ConfigProblem(_STRATEGY, str(error))]) from error
        problems = check_pairs(pairs, student, teacher)
    if problems:
        raise MatchingError(problems)
    return pairs


def check_pairs(
    pairs: Sequence[LayerPair], student: Layers, teacher: Layers, *, own: bool = False
) -> list[ConfigProblem]:
    """Return the problems of a matching: unknown or repeated layers, crossings, different shapes.

    Parameters
    ----------
    pairs
        The matching.
    student, teacher
        The layers of the two flows.
    own
        Whether the user set the pairs: each problem then has the path of its pair, else that of the strategy.
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
    """Return the mean of one value for each matched pair, (…, M), by the pairs' weights: Σ wₘ·vₘ / Σ wₘ, (…)."""
    total = sum(weights)  # divide in double precision: the values' precision would lose small weights
    return (values.new_tensor([weight / total for weight in weights]) * values).sum(-1)


def _user_pairs(config: MatchingConfig, student: Layers, teacher: Layers, names: tuple[str, str]) -> list[LayerPair]:
    student_layers, teacher_layers = ({layer.name: layer for layer in layers} for layers in (student, teacher))
    pairs = []
    for pair in config.pairs:
        layer, target = student_layers.get(pair.student), teacher_layers.get(pair.teacher)
        if layer is not None and target is not None:
            pairs.append(_pair(layer, target, names, pair.weight))
        else:
            summary = f"{names[0]} {pair.student} ↔ {names[1]} {pair.teacher}"
            pairs.append(LayerPair(student=pair.student, teacher=pair.teacher, summary=summary, weight=pair.weight))
    return pairs


def _layer_problems(path: str, pair: LayerPair, student: Layers, teacher: Layers, *, own: bool) -> list[ConfigProblem]:
    problems, found = [], list[LayerInfo]()
    for role, name, layers in (("student", pair.student, student), ("teacher", pair.teacher, teacher)):
        side = f"{path}.{role}" if own else path
        layer = next((layer for layer in layers if layer.name == name), None)
        if layer is None:
            steps = steps_of(layers)
            known = f" ({steps[0].name} to {steps[-1].name})" if steps else ""
            problems.append(ConfigProblem(side, f"the {role} has no layer {name!r}{known}"))
            continue
        found.append(layer)
        if own and layer not in pairable(layers):
            message = f"{layer.label} of the {role} is a {layer.kind}, and only steps can be matched"
            problems.append(ConfigProblem(side, message))
    if len(found) == 2 and list(found[0].shape) != list(found[1].shape):
        shapes = " and ".join(format_shape(layer.shape) for layer in found)
        problems.append(ConfigProblem(path, f"{pair.summary}: shapes {shapes} differ"))
    return problems


def _order_problems(pairs: Sequence[LayerPair], student: Layers, teacher: Layers, *, own: bool) -> list[ConfigProblem]:
    student_index, teacher_index = ({layer.name: n for n, layer in enumerate(layers)} for layers in (student, teacher))
    known = [
        (n, pair) for n, pair in enumerate(pairs) if pair.student in student_index and pair.teacher in teacher_index
    ]
    problems = []
    for (_, before), (number, pair) in pairwise(known):
        if (
            student_index[pair.student] > student_index[before.student]
            and teacher_index[pair.teacher] > teacher_index[before.teacher]
        ):
            continue
        repeats = pair.student == before.student or pair.teacher == before.teacher
        problem = "pairs a layer twice" if repeats else "is out of order or crosses the pair before it"
        path = f"{PAIRS}.{number}" if own else _STRATEGY
        problems.append(ConfigProblem(path, f"{pair.summary} {problem}: each pair needs later layers than the last"))
    return problems


def _pair(student: LayerInfo, teacher: LayerInfo, names: tuple[str, str], weight: float = 1.0) -> LayerPair:
    weight_note = "" if weight == 1.0 else f" (weight {weight:g})"
    summary = f"{names[0]} {student.label} ↔ {names[1]} {teacher.label}{weight_note}"
    return LayerPair(student=student.name, teacher=teacher.name, summary=summary, weight=weight)
