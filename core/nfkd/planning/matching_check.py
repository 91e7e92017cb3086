"""Matches the layers of an experiment's flows, and finds problems with it before the run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from nfkd.config import TERMS, ConfigProblem, ExperimentConfig, GlowConfig, MatchingConfig
from nfkd.distillation.inheritance import PATH as INHERIT
from nfkd.distillation.inheritance import Inheritance
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

_UNMATCHED = "no matching error"


@dataclass(frozen=True)
class MatchingCheck:
    """The matched layers of a flow and its teacher.

    Attributes
    ----------
    strategy
        The matching strategy; for *auto* the one that it selected.
    pairs
        The matched layers; empty if there are problems.
    problems, warnings
        What prevents the run, and what the user should know.
    """

    strategy: str = ""
    pairs: list[LayerPair] = field(default_factory=list[LayerPair])
    problems: list[ConfigProblem] = field(default_factory=list[ConfigProblem])
    warnings: list[ConfigProblem] = field(default_factory=list[ConfigProblem])


def check_matching(config: ExperimentConfig, role: Role, student: Flow, teacher: Flow) -> MatchingCheck:
    """Match the layers of a flow and its teacher; both may be on the meta device.

    Parameters
    ----------
    config
        The experiment.
    role
        The role of the flow that learns. The user's pairs are only for the student: assistants are then matched by
        *auto*.
    student, teacher
        The flow that learns, and its teacher.
    """
    matching, before = config.distillation.matching, teacher_of(config, role) or "teacher"
    pairs_for_student = matching.strategy == "pairs" and role != "student"
    if pairs_for_student:
        matching = matching.model_copy(update={"strategy": "auto", "pairs": ()})
    if "latents" in teacher.unsupported:
        if config.distillation.inherit == "none":
            return MatchingCheck()  # it has no layers either
        message = f"the teacher does not support it: {teacher.unsupported['latents']}"
        return MatchingCheck(problems=[ConfigProblem(INHERIT, message)])
    layers, teacher_layers = student.layer_info(), teacher.layer_info()
    alike = not isinstance(teacher, ForeignFlow) and flow_config(config, role).kind == flow_config(config, before).kind
    strategy = strategy_of(matching, layers, teacher_layers, alike=alike)
    warnings = _depth_warnings(role, layers, teacher_layers) if alike else []  # steps of two kinds are not compared
    warnings += _pair_warnings(matching, role)
    if pairs_for_student:
        message = f"{the_role(role)} is matched by 'auto': the pairs of the table are the student's"
        warnings.append(ConfigProblem(PAIRS, message))
    problems = _latent_problems(config, role, before, student, teacher)
    if problems:
        return MatchingCheck(strategy, [], problems, warnings)
    names = role_name(role), role_name(before)
    try:
        pairs = match_layers(matching, layers, teacher_layers, alike=alike, names=names)
    except MatchingError as error:
        pairs, mismatches = [], _name_flows(config, role, before, error.problems)
        if strategy == "pairs" or any(TERMS[name].matches for name in stage_terms(config, role)):
            return MatchingCheck(strategy, [], mismatches, warnings)
        # no term uses the pairs, so only the matching error is missing
        warnings += [ConfigProblem(found.path, f"{_UNMATCHED}: {found.message}") for found in mismatches]
    foreign = isinstance(teacher, ForeignFlow)
    inherits = stage_inheritance(config, role, pairs, foreign=foreign).problems(student, teacher)
    return MatchingCheck(strategy, pairs, _name_flows(config, role, before, inherits), warnings)


def stage_inheritance(
    config: ExperimentConfig, role: Role, pairs: Sequence[LayerPair], *, foreign: bool
) -> Inheritance:
    """Return what a flow inherits from its teacher; `foreign` is whether that is a flow of another library."""
    before = teacher_of(config, role)
    if before is None:
        return Inheritance("none")
    configs = None if foreign else (flow_config(config, role), flow_config(config, before))
    return Inheritance(config.distillation.inherit, pairs, configs)


def _name_flows(
    config: ExperimentConfig, role: Role, before: Role, problems: list[ConfigProblem]
) -> list[ConfigProblem]:
    """Add the names of the two flows to the messages if the experiment has assistants."""
    if not config.assistants:
        return problems
    flows = f"{the_role(role)} as the student of {the_role(before)}"
    return [ConfigProblem(problem.path, f"{flows}: {problem.message}") for problem in problems]


def _latent_problems(
    config: ExperimentConfig, role: Role, before: Role, student: Flow, teacher: Flow
) -> list[ConfigProblem]:
    shapes, teacher_shapes = student.latent_shapes, teacher.latent_shapes
    terms = [TERMS[name].label for name in stage_terms(config, role) if OBJECTIVES[name].same_latents]
    if shapes == teacher_shapes or not terms:
        return []
    found = f"latents of shapes {_shapes(shapes)}, but {the_role(before)}'s are {_shapes(teacher_shapes)}"
    levels = all(isinstance(flow_config(config, stage), GlowConfig) for stage in (role, before))
    advice = "give both flows the same number of levels" if levels else "choose another kind of flow"
    message = f"{found}: {advice}, or {'' if levels else 'give '}the weight 0 to {', '.join(terms)}"
    return [ConfigProblem(f"{flow_path(role)}.{'levels' if levels else 'kind'}", message)]


def _shapes(shapes: Sequence[Sequence[int]]) -> str:
    return ", ".join(format_shape(shape) for shape in shapes)


def _depth_warnings(role: Role, student: Sequence[LayerInfo], teacher: Sequence[LayerInfo]) -> list[ConfigProblem]:
    steps, teacher_steps = len(steps_of(student)), len(steps_of(teacher))
    if steps <= teacher_steps:
        return []
    message = f"{the_role(role)} ({steps:,} steps) is deeper than its teacher ({teacher_steps:,} steps)"
    return [ConfigProblem(f"{flow_path(role)}.steps", message)]


def _pair_warnings(matching: MatchingConfig, role: Role) -> list[ConfigProblem]:
    warnings = list[ConfigProblem]()
    if role == "student" and matching.pairs and matching.strategy != "pairs":
        count = "the pair of the table is" if len(matching.pairs) == 1 else "the pairs of the table are"
        message = f"{count} not used: the strategy is {matching.strategy!r}, not 'pairs'"
        warnings.append(ConfigProblem(PAIRS, message))
    return warnings
