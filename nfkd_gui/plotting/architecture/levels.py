"""The layers of a flow by level, the parts of a step, and what student and teacher do not share. No Qt."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from nfkd.config import ExperimentConfig
from nfkd.config.flows import FlowConfig, GlowConfig, JetConfig, TarFlowConfig
from nfkd.protocol.requests import FlowDescription, LayerInfo
from nfkd.protocol.roles import ASSISTANTS, Role
from nfkd_gui.numbers import format_count

_ENDS_IN_NUMBER = re.compile(r"(\d+)$")
_MIXING = {"lu": "1×1 convolution", "dense": "1×1 convolution", "shuffle": "shuffle", "reverse": "reversed order"}
_VECTOR_MIXING = {"lu": "mixing matrix", "dense": "mixing matrix", "shuffle": "shuffle", "reverse": "reversed order"}
_NAMES = {
    "glow": "Glow",
    "glow1d": "Glow-1D",
    "maf": "MAF",
    "iaf": "IAF",
    "nsf": "NSF",
    "tarflow": "TarFlow",
    "jet": "Jet",
}


@dataclass(frozen=True)
class Cell:
    """A step of a flow, with the small layers right before it, such as a batch norm."""

    step: LayerInfo | None
    small: tuple[LayerInfo, ...] = ()


@dataclass
class FlowLevel:
    """A level of a flow: what is before its squeeze, the squeeze, what follows, and the latent that leaves.

    A flow without splits has one level.
    """

    early: list[Cell] = field(default_factory=list[Cell])
    squeeze: LayerInfo | None = None
    cells: list[Cell] = field(default_factory=list[Cell])
    split: LayerInfo | None = None
    latent: tuple[int, ...] = ()

    @property
    def layers(self) -> list[LayerInfo]:
        """The layers that are drawn, in order."""
        squeeze = [self.squeeze] if self.squeeze is not None else []
        return [*_layers_of(self.early), *squeeze, *_layers_of(self.cells)]

    @property
    def steps(self) -> list[LayerInfo]:
        """The steps."""
        return [cell.step for cell in (*self.early, *self.cells) if cell.step is not None]

    @property
    def parameters(self) -> int:
        """The parameters of all layers."""
        split = self.split.parameters if self.split is not None else 0
        return split + sum(layer.parameters for layer in self.layers)


def levels_of(flow: FlowDescription) -> list[FlowLevel]:
    """Return the levels of a flow; each split ends one."""
    levels, level, small, shape = list[FlowLevel](), FlowLevel(), list[LayerInfo](), tuple[int, ...]()
    for layer in flow.layers:
        if layer.kind == "split":
            level.split = layer
            level.latent = (shape[0] - layer.shape[0], *layer.shape[1:]) if shape else tuple(layer.shape)
            _end(level, small, levels)
            level, small = FlowLevel(), []
        elif layer.kind == "squeeze" and level.squeeze is None:
            level.early, level.cells, level.squeeze = level.cells, [], layer
        elif layer.kind == "step":
            level.cells.append(Cell(layer, tuple(small)))
            small = []
        else:
            small.append(layer)
        shape = tuple(layer.shape)
    level.latent = shape
    _end(level, small, levels)
    return levels


def flow_facts(flow: FlowDescription) -> tuple[object, ...]:
    """Return everything that is drawn of a flow, to compare two descriptions."""
    layers = [(layer.name, layer.label, layer.kind, tuple(layer.shape), layer.parameters) for layer in flow.layers]
    return flow.summary, flow.parameters, tuple(layers)


def step_number(layer: LayerInfo) -> str:
    """Return the number at the end of a layer's label; empty if there is none."""
    found = _ENDS_IN_NUMBER.search(layer.label)
    return found[1] if found else ""


def flow_configs(config: ExperimentConfig | None) -> dict[Role, FlowConfig]:
    """Return the settings of teacher, assistants and student; empty while the experiment is not valid."""
    if config is None:
        return {}
    assistants = dict(zip(ASSISTANTS, config.assistants, strict=False))
    return {"teacher": config.teacher, **assistants, "student": config.student}


def bands_of(config: FlowConfig | None) -> list[str]:
    """Return the parts of a step, from data to latents."""
    if config is None:
        return []
    match config.kind:
        case "glow" | "glow1d":
            mixing = (_MIXING if config.kind == "glow" else _VECTOR_MIXING)[config.permutation]
            return [*(["ActNorm"] if config.actnorm else []), mixing, "coupling"]
        case "nsf":
            spline = "spline coupling" if config.transform == "coupling" else "autoregressive spline"
            return [_VECTOR_MIXING[config.permutation], spline]
        case "tarflow" | "jet":
            return ["transformer", "affine map"]
        case _:
            return [f"{config.order} order", "autoregressive layer"]


@dataclass(frozen=True)
class Difference:
    """What student and teacher do not share.

    Attributes
    ----------
    lacking
        Names of the teacher's steps that the student has no step for: it has fewer, spread evenly over the level.
    notes
        Lines for each level of the student; empty for a level that is the same.
    """

    lacking: frozenset[str]
    notes: list[list[str]]


def compare_flows(
    teacher: Sequence[FlowLevel],
    student: Sequence[FlowLevel],
    configs: tuple[FlowConfig | None, FlowConfig | None] = (None, None),
) -> Difference:
    """Compare the flows level by level; the settings are those of teacher and student."""
    lacking, notes = set[str](), list[list[str]]()
    for number, own in enumerate(student):
        other = teacher[number] if number < len(teacher) else FlowLevel()
        for mine, theirs in ((own.early, other.early), (own.cells, other.cells)):
            lacking |= _lacking(theirs, len(mine))
        notes.append(_notes(other, own, *configs))
    for level in teacher[len(student) :]:
        lacking |= {step.name for step in level.steps}
    return Difference(frozenset(lacking), notes)


def _lacking(cells: Sequence[Cell], kept: int) -> set[str]:
    faced = {-(-number * len(cells) // kept) - 1 for number in range(1, kept + 1)} if kept else set[int]()
    return {cell.step.name for index, cell in enumerate(cells) if index not in faced and cell.step is not None}


def _notes(
    teacher: FlowLevel, student: FlowLevel, config: FlowConfig | None, student_config: FlowConfig | None
) -> list[str]:
    notes = []
    if config is not None and student_config is not None:
        if config.kind != student_config.kind:
            notes.append(f"{_NAMES[student_config.kind]}, not {_NAMES[config.kind]}")
        if config.hidden != student_config.hidden:
            unit = "channels" if isinstance(student_config, (GlowConfig, TarFlowConfig, JetConfig)) else "units"
            notes.append(f"{student_config.hidden:,} of {config.hidden:,} hidden {unit}")
    counts = len(student.steps), len(teacher.steps)
    if counts[0] != counts[1]:
        notes.insert(0, f"{counts[0]} of {counts[1]} steps")
    if student.parameters != teacher.parameters:
        notes.append(f"{format_count(student.parameters)} of {format_count(teacher.parameters)} parameters")
    return notes


def _layers_of(cells: Sequence[Cell]) -> list[LayerInfo]:
    return [layer for cell in cells for layer in (*cell.small, *([cell.step] if cell.step is not None else []))]


def _end(level: FlowLevel, small: Sequence[LayerInfo], levels: list[FlowLevel]) -> None:
    if small:
        level.cells.append(Cell(None, tuple(small)))
    levels.append(level)
