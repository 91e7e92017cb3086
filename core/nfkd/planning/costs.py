"""What the terms of the loss cost: samples beside the batch, and passes, slow ones told in words."""

from __future__ import annotations

import math
from dataclasses import dataclass

from nfkd.config import ConfigProblem, DistillationConfig, ExperimentConfig
from nfkd.distillation.objectives import OBJECTIVES
from nfkd.distillation.passes import Data, Needs, Synthesis, TeacherSamples, TermInput, combined
from nfkd.flows.autoregressive import InverseAutoregressive, MaskedAutoregressive
from nfkd.flows.flow import Flow

_TRAINED = 3
"""Passes that a trained one counts: forward, and two for its way back."""
_SLOW = 2.0
"""A term that makes a step this many times as long, because a flow goes feature by feature, is told of."""


@dataclass(frozen=True)
class PassCost:
    """What a pass of one example costs in each direction, in any unit.

    Attributes
    ----------
    encode, decode
        From data to latents, and back.
    places
        Features that the slower direction finds one after another; 1 where both take them at once.
    """

    encode: float
    decode: float
    places: int = 1

    @property
    def at_once(self) -> PassCost:
        """What they would cost if both directions took all features at once."""
        least = min(self.encode, self.decode)
        return PassCost(least, least)


def pass_cost(flow: Flow) -> PassCost:
    """Return the cost of a flow's passes, in passes of one layer; the flow may be on the meta device.

    An autoregressive layer goes one way feature by feature: about as much arithmetic as the other way, but in so many
    small pieces. Measured on a processor, D features take 3D times as long as the other way where networks are narrow
    (64 units) and D/4 times where they are wide (512): about D is said.
    """
    depth = float(len(flow.layers))
    layers = [module for module in flow.modules() if isinstance(module, MaskedAutoregressive)]
    if not layers:
        return PassCost(depth, depth)
    places = max(len(layer.order) for layer in layers)
    if any(isinstance(layer, InverseAutoregressive) for layer in layers):
        return PassCost(places * depth, depth, places)
    return PassCost(depth, places * depth, places)


def term_needs(config: DistillationConfig, alone: str = "") -> dict[TermInput, Needs]:
    """Return what the terms that have a weight need of a step, or one of them alone, by source."""
    weights = config.weights()
    names = [alone] if alone else [name for name, weight in weights.items() if weight > 0]
    return combined(OBJECTIVES[name](config.terms()[name]).needs() for name in names)


def sample_counts(config: DistillationConfig) -> dict[str, int]:
    """Return how many samples each term that draws some draws at a step, by its name."""
    terms = {name: term for name, term in config.terms().items() if config.weights()[name] > 0}
    sources = {name: OBJECTIVES[name](term).needs().source for name, term in terms.items()}
    return {name: source.count for name, source in sources.items() if not isinstance(source, Data)}


def extra_examples(config: DistillationConfig, batch_size: int, pieces: int = 1) -> int:
    """Return how many examples the student keeps at most for its backward pass beside a piece of the batch.

    Parameters
    ----------
    config
        The terms.
    batch_size
        Examples of data in a step.
    pieces
        In how many a step is taken.
    """
    count = 0
    for source, needs in term_needs(config).items():
        own = (needs.own[0] + needs.extra_decodes) / _TRAINED
        match source:
            case Synthesis():
                count += math.ceil(source.count / pieces) * (needs.student + needs.densities)
            case TeacherSamples():
                count += math.ceil(source.count / pieces)
            case Data():
                count += math.ceil(math.ceil(batch_size / pieces) * own)
    return count


def teacher_examples(config: DistillationConfig, batch_size: int, pieces: int = 1) -> int:
    """Return of how many examples the teacher keeps what gradients through it need; arguments as `extra_examples`."""
    count = 0
    for source, needs in term_needs(config).items():
        match source:
            case Synthesis():
                count += math.ceil(source.count / pieces) * needs.densities
            case TeacherSamples():
                pass
            case Data():
                count += math.ceil(batch_size / pieces) * needs.input_gradient
    return count


def step_cost(
    config: DistillationConfig, batch_size: int, student: PassCost, teacher: PassCost, alone: str = ""
) -> float:
    """Return what a step of the student costs for each example of its batch, in the unit of the passes.

    A pass that is trained counts three, one of the frozen teacher one, or three where gradients flow through it.

    Parameters
    ----------
    config
        The terms.
    batch_size
        Examples of data in a step.
    student, teacher
        What their passes cost.
    alone
        The only term; all that have a weight where none is named.
    """
    cost = 0.0
    for source, needs in term_needs(config, alone).items():
        match source:
            case Data():
                through = 3 if needs.input_gradient else 1
                cost += 3 * student.encode * needs.student + through * teacher.encode * needs.teacher
                part = 1.0
            case Synthesis():
                part = source.count / batch_size
                cost += part * (3 * student.decode * needs.student + teacher.decode * needs.teacher)
                cost += part * 3 * (student.encode + teacher.encode) * needs.densities
            case TeacherSamples():
                part = source.count / batch_size
                cost += part * (teacher.decode + 3 * student.encode)
        cost += part * (
            needs.own[0] * student.encode + needs.own[1] * teacher.encode + needs.extra_decodes * student.decode
        )
    return cost


def slow_terms(
    config: ExperimentConfig, student: PassCost, teacher: PassCost, name_of_student: str = "the student"
) -> list[ConfigProblem]:
    """Return a warning for each term that a flow serves feature by feature, with what all of them do to a step.

    Terms that share a slow pass, or are as slow as each other, are told of together: without one of them the step
    would take as long.

    Parameters
    ----------
    config
        The experiment.
    student, teacher
        What the passes cost of a flow that learns, and of the one that it learns from.
    name_of_student
        What the former is called.
    """
    terms, batch_size = config.distillation, config.training.batch_size
    places = max(student.places, teacher.places)
    if places == 1:
        return []

    def times(alone: str = "") -> float:
        at_once = step_cost(terms, batch_size, student.at_once, teacher.at_once, alone)
        return step_cost(terms, batch_size, student, teacher, alone) / at_once

    if times() < _SLOW:
        return []
    names = [name for name, weight in terms.weights().items() if weight > 0 and times(name) >= _SLOW]
    labels = {name: OBJECTIVES[name].label for name in names}
    found = []
    for name in names:
        others = [label for other, label in labels.items() if other != name]
        beside = f", with {', '.join(others)}," if others else ""
        words = (
            f"an autoregressive flow serves it feature by feature, {places} one after another: a step of "
            f"{name_of_student} takes about {times():.0f} times as long{beside} as if all came at once"
        )
        found.append(ConfigProblem(f"distillation.{name}.weight", words))
    return found
