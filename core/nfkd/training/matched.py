"""Which layers an experiment's flows are matched at, and what is to be said about it before anything runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from nfkd.config import ExperimentConfig, Fault
from nfkd.distillation.inheritance import PATH as INHERIT
from nfkd.distillation.inheritance import inheritance_faults
from nfkd.distillation.matching import PAIRS, MatchingError, match_layers, strategy_of
from nfkd.distillation.strategies import steps_of
from nfkd.flows.architecture import shape_words
from nfkd.flows.flow import Flow
from nfkd.flows.foreign import ForeignFlow
from nfkd.protocol.events import LayerPair
from nfkd.protocol.requests import LayerInfo


@dataclass(frozen=True)
class Matched:
    """The matching of an experiment.

    Attributes
    ----------
    strategy
        What made the pairs: where *auto* is asked for, what it chose.
    pairs
        The matched layers; none where something does not fit.
    faults
        What does not fit.
    warnings
        What the user should know and may run all the same.
    """

    strategy: str = ""
    pairs: list[LayerPair] = field(default_factory=list[LayerPair])
    faults: list[Fault] = field(default_factory=list[Fault])
    warnings: list[Fault] = field(default_factory=list[Fault])


def matched(config: ExperimentConfig, student: Flow, teacher: Flow) -> Matched:
    """Return the matching of two flows; both may be without storage."""
    if "latents" in teacher.unservable:
        words = f"the teacher cannot serve it: {teacher.unservable['latents']}"  # it has no layers to look at
        return Matched(faults=[Fault(INHERIT, words)] if config.distillation.matching.inherit_permutation else [])
    matching = config.distillation.matching
    ours, theirs = student.layer_info(), teacher.layer_info()
    alike = not isinstance(teacher, ForeignFlow) and config.student.kind == config.teacher.kind
    strategy = strategy_of(matching, ours, theirs, alike=alike)
    warnings = _warnings(config, ours, theirs)
    faults = _latent_faults(student, teacher)
    if faults:
        return Matched(strategy, [], faults, warnings)
    try:
        pairs = match_layers(matching, ours, theirs, alike=alike)
    except MatchingError as error:
        return Matched(strategy, [], error.faults, warnings)
    unfit = inheritance_faults(student, teacher, pairs) if matching.inherit_permutation else []
    return Matched(strategy, pairs, unfit, warnings)


def _latent_faults(student: Flow, teacher: Flow) -> list[Fault]:
    ours, theirs = student.latent_shapes, teacher.latent_shapes
    if ours == theirs:
        return []
    message = (
        f"latents of shapes {_shapes(ours)}, but the teacher's are {_shapes(theirs)}: "
        "give both flows the same number of levels"
    )
    return [Fault("student.levels", message)]


def _shapes(shapes: Sequence[Sequence[int]]) -> str:
    return ", ".join(shape_words(shape) for shape in shapes)


def _warnings(config: ExperimentConfig, student: Sequence[LayerInfo], teacher: Sequence[LayerInfo]) -> list[Fault]:
    warnings = []
    ours, theirs = len(steps_of(student)), len(steps_of(teacher))
    if ours > theirs:
        message = f"the student ({ours:,} steps) is deeper than its teacher ({theirs:,} steps)"
        warnings.append(Fault("student.steps", message))
    matching = config.distillation.matching
    if matching.pairs and matching.strategy != "pairs":
        count = "the pair of the table is" if len(matching.pairs) == 1 else "the pairs of the table are"
        message = f"{count} not used: the strategy is {matching.strategy!r}, not 'pairs'"
        warnings.append(Fault(PAIRS, message))
    return warnings
