"""Which layers an experiment's flows are matched at, and what is to be said about it before anything runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from nfkd.config import ConfigProblem, ExperimentConfig, MatchingConfig
from nfkd.distillation.inheritance import PATH as INHERIT
from nfkd.distillation.inheritance import inheritance_problems
from nfkd.distillation.matching import PAIRS, MatchingError, match_layers, strategy_of
from nfkd.distillation.objectives import OBJECTIVES
from nfkd.distillation.strategies import steps_of
from nfkd.flows.architecture import format_shape
from nfkd.flows.flow import Flow
from nfkd.flows.foreign import ForeignFlow
from nfkd.planning.plans import flow_config, flow_path, stage_terms, teacher_of
from nfkd.protocol.records import LayerPair
from nfkd.protocol.requests import LayerInfo
from nfkd.protocol.roles import Role, role_name, the_role


@dataclass(frozen=True)
class Matched:
    """The matching of a flow and the one it learns from.

    Attributes
    ----------
    strategy
        What made the pairs: where *auto* is asked for, what it chose.
    pairs
        The matched layers; none where something does not fit.
    problems
        What does not fit.
    warnings
        What the user should know and may run all the same.
    """

    strategy: str = ""
    pairs: list[LayerPair] = field(default_factory=list[LayerPair])
    problems: list[ConfigProblem] = field(default_factory=list[ConfigProblem])
    warnings: list[ConfigProblem] = field(default_factory=list[ConfigProblem])


def matched(config: ExperimentConfig, role: Role, student: Flow, teacher: Flow) -> Matched:
    """Return the matching of two flows; both may be without storage.

    Parameters
    ----------
    config
        The experiment.
    role
        Of the flow that learns, the student or an assistant. Pairs that the user gives are the student's alone: an
        assistant is then matched by *auto*.
    student, teacher
        That flow, and the one that it learns from.
    """
    matching, before = config.distillation.matching, teacher_of(config, role) or "teacher"
    own = matching.strategy == "pairs" and role != "student"
    if own:
        matching = matching.model_copy(update={"strategy": "auto", "pairs": ()})
    if "latents" in teacher.unsupported:
        words = f"the teacher cannot serve it: {teacher.unsupported['latents']}"  # it has no layers to look at
        return Matched(problems=[ConfigProblem(INHERIT, words)] if matching.inherit_permutation else [])
    ours, theirs = student.layer_info(), teacher.layer_info()
    alike = not isinstance(teacher, ForeignFlow) and flow_config(config, role).kind == flow_config(config, before).kind
    strategy = strategy_of(matching, ours, theirs, alike=alike)
    warnings = _warnings(matching, role, ours, theirs)
    if own:
        message = f"{the_role(role)} is matched by 'auto': the pairs of the table are the student's"
        warnings.append(ConfigProblem(PAIRS, message))
    problems = _latent_problems(config, role, before, student, teacher)
    if problems:
        return Matched(strategy, [], problems, warnings)
    names = role_name(role), role_name(before)
    try:
        pairs = match_layers(matching, ours, theirs, alike=alike, names=names)
    except MatchingError as error:
        pairs, unfit = [], _of_link(config, role, before, error.problems)
        if strategy == "pairs" or any(OBJECTIVES[name].matches for name in stage_terms(config, role)):
            return Matched(strategy, [], unfit, warnings)
        warnings += unfit  # no term reads the pairs: there is no matching error to see, and that is all
    unfit = inheritance_problems(student, teacher, pairs) if matching.inherit_permutation else []
    return Matched(strategy, pairs, _of_link(config, role, before, unfit), warnings)


def _of_link(config: ExperimentConfig, role: Role, before: Role, problems: list[ConfigProblem]) -> list[ConfigProblem]:
    """Say which two flows problems are about, where there are more than two."""
    if not config.assistants:
        return problems
    about = f"{the_role(role)} as the student of {the_role(before)}"
    return [ConfigProblem(problem.path, f"{about}: {problem.message}") for problem in problems]


def _latent_problems(
    config: ExperimentConfig, role: Role, before: Role, student: Flow, teacher: Flow
) -> list[ConfigProblem]:
    ours, theirs = student.latent_shapes, teacher.latent_shapes
    terms = [OBJECTIVES[name].label for name in stage_terms(config, role) if OBJECTIVES[name].same_latents]
    if ours == theirs or not terms:
        return []
    message = (
        f"latents of shapes {_shapes(ours)}, but {the_role(before)}'s are {_shapes(theirs)}: "
        f"give both flows the same number of levels, or the weight 0 to {', '.join(terms)}"
    )
    return [ConfigProblem(f"{flow_path(role)}.levels", message)]


def _shapes(shapes: Sequence[Sequence[int]]) -> str:
    return ", ".join(format_shape(shape) for shape in shapes)


def _warnings(
    matching: MatchingConfig, role: Role, student: Sequence[LayerInfo], teacher: Sequence[LayerInfo]
) -> list[ConfigProblem]:
    warnings = []
    ours, theirs = len(steps_of(student)), len(steps_of(teacher))
    if ours > theirs:
        message = f"{the_role(role)} ({ours:,} steps) is deeper than its teacher ({theirs:,} steps)"
        warnings.append(ConfigProblem(f"{flow_path(role)}.steps", message))
    if role == "student" and matching.pairs and matching.strategy != "pairs":
        count = "the pair of the table is" if len(matching.pairs) == 1 else "the pairs of the table are"
        message = f"{count} not used: the strategy is {matching.strategy!r}, not 'pairs'"
        warnings.append(ConfigProblem(PAIRS, message))
    return warnings
