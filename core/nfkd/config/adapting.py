"""Fits an experiment to another data set: flows, levels, batch, pictures, name and description."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from nfkd.config.datasets import DATA_KINDS, kind_label
from nfkd.config.experiment import ExperimentConfig
from nfkd.config.flows import FLOWS, TarFlowConfig
from nfkd.config.presets import preset_names
from nfkd.config.toml import is_table
from nfkd.text import name_problem

_RECIPES = {"images": "digits", "plane": "two_moons", "vectors": "power", "number": "maf_moons"}
"""For each sort of examples, the preset whose flows and pictures are used. A coupling needs two features or more."""
_MAX_LEVELS, _FEWEST_LEVELS = 6, 2
_VALUES, _SMALLEST_BATCH = 100_000, 16
"""Values of the images in a batch: with more, training is slow and takes much memory."""
_GROUPS = {True: ("For images", "For images and vectors"), False: ("For vectors", "For images and vectors")}


@dataclass(frozen=True)
class DataFacts:
    """What an experiment depends on in its data.

    Attributes
    ----------
    event_shape
        The shape of an example.
    context_features
        Features of the context.
    examples
        Training examples; 0 if unknown.
    """

    event_shape: tuple[int, ...]
    context_features: int = 0
    examples: int = 0

    @property
    def sort(self) -> str:
        """One of ``images``, ``plane``, ``vectors`` and ``number`` (one feature)."""
        if len(self.event_shape) == 3:
            return "images"
        return {1: "number", 2: "plane"}.get(self.event_shape[0], "vectors")

    def describe(self) -> str:
        """Return a short description, such as ``3×16×16 images``."""
        size = "×".join(map(str, self.event_shape))
        words = {"images": f"{size} images", "plane": "points in the plane", "number": "one feature"}
        text = words.get(self.sort, f"{size} features")
        return f"{text}, conditioned on {self.context_features}" if self.context_features else text


@dataclass
class Adapted:
    """An adapted experiment.

    Attributes
    ----------
    document
        All values.
    changes
        What was changed, such as ``levels 2``; empty if everything fits.
    """

    document: dict[str, Any]
    changes: list[str] = field(default_factory=list[str])


def adapt(document: dict[str, Any], before: dict[str, Any], old: DataFacts | None, new: DataFacts) -> Adapted:
    """Return an experiment that fits its data, and what was changed; what fits stays as it is.

    Parameters
    ----------
    document
        The experiment with its new ``[data]`` table, valid or not.
    before
        The former ``[data]`` table.
    old, new
        The former data and the new; `old` is None if it is unknown.
    """
    found = Adapted(copy.deepcopy(document))
    if old is None or (old.event_shape, old.context_features) != (new.event_shape, new.context_features):
        _adapt_flows(found, new)
        _adapt_levels(found, old, new)
        _adapt_tokens(found, new)
        _adapt_training(found, old, new)
        _adapt_loss(found, document, new)
        if old is not None and old.sort != new.sort:
            _adapt_pictures(found, new)
    _adapt_names(found, before)
    return found


# --- flows ------------------------------------------------------------------------------------------------------------


@cache
def _recipe(sort: str) -> ExperimentConfig:
    return ExperimentConfig.load(_RECIPES[sort])


def _labels() -> dict[str, tuple[str, str]]:
    """Return label and group of every kind of flow."""
    extras = {model.model_fields["kind"].default: model.model_fields["kind"].json_schema_extra for model in FLOWS}
    return {kind: (str(extra["label"]), str(extra["group"])) for kind, extra in extras.items() if is_table(extra)}


def _flows(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the tables of teacher, assistants and student that are tables."""
    flows = (document.get("teacher"), *_assistants(document), document.get("student"))
    return [flow for flow in flows if is_table(flow)]


def _assistants(document: dict[str, Any]) -> list[Any]:
    found: Any = document.get("assistants")
    return list(found) if isinstance(found, (list, tuple)) else []  # type: ignore[reportUnknownArgumentType]


def _fits(flow: dict[str, Any], sort: str) -> bool:
    """Return whether a kind of flow takes examples of this sort."""
    kind = flow.get("kind")
    if _labels().get(str(kind), ("", ""))[1] not in _GROUPS[sort == "images"]:
        return False
    couples = kind in {"glow1d", "tarflow"} or (kind == "nsf" and flow.get("transform", "coupling") == "coupling")
    return not (sort == "number" and couples)


def _adapt_flows(found: Adapted, new: DataFacts) -> None:
    """Replace flows for other data by those of a preset for such data; assistants are between them."""
    document = found.document
    ends = [document.get(name) for name in ("teacher", "student")]
    if all(is_table(flow) and _fits(flow, new.sort) for flow in (*ends, *_flows(document))):
        return
    recipe = _recipe(new.sort)
    teacher, student = recipe.teacher.model_dump(), recipe.student.model_dump()
    count = len(_assistants(document))
    document |= {"teacher": teacher, "student": student}
    if count:
        document["assistants"] = [_between(teacher, student, number / (count + 1)) for number in range(1, count + 1)]
    label = _labels()[recipe.teacher.kind][0]
    found.changes.append(f"{label} with {teacher['steps']} and {student['steps']} steps")


def _between(teacher: dict[str, Any], student: dict[str, Any], share: float) -> dict[str, Any]:
    """Return a flow of a size between two, at a share of the way from the first to the second."""
    sizes = {
        name: round(teacher[name] ** (1 - share) * student[name] ** share) for name in ("steps", "hidden")
    }  # the geometric mean, for one half
    return teacher | sizes


def _adapt_levels(found: Adapted, old: DataFacts | None, new: DataFacts) -> None:
    """Set the levels of flows for images where the sides of the images have changed, or cannot be halved so often."""
    if new.sort != "images":
        return
    sides = new.event_shape[1:]
    possible = min(_MAX_LEVELS, *((side & -side).bit_length() - 1 for side in sides))
    levels = min(possible, max(_FEWEST_LEVELS, int(math.log2(min(sides))) - 2))
    flows = [flow for flow in _flows(found.document) if flow.get("kind") == "glow"]
    same_sides = old is None or old.event_shape[1:] == sides
    written = [flow.get("levels", 2) for flow in flows]
    if levels < 1 or (same_sides and all(isinstance(each, int) and each <= possible for each in written)):
        return
    for flow in flows:
        flow["levels"] = levels
    if written != [levels] * len(flows):
        found.changes.append(f"{levels} {'level' if levels == 1 else 'levels'}")


def _adapt_tokens(found: Adapted, new: DataFacts) -> None:
    """Set the size of tokens that do not divide the examples into at least two: the next smaller one that does."""
    images = new.sort == "images"
    name, sides = ("patch", new.event_shape[1:]) if images else ("token", new.event_shape)
    for flow in (flow for flow in _flows(found.document) if flow.get("kind") in {"tarflow", "jet"}):
        size = flow.get(name, TarFlowConfig.model_fields[name].default)
        if not isinstance(size, int) or (size < max(sides) and not any(side % size for side in sides)):
            continue
        flow[name] = max(other for other in range(1, max(2, size)) if not any(side % other for side in sides))
        found.changes.append(f"{'patches' if images else 'tokens'} of {flow[name]}")


# --- training, loss, pictures -----------------------------------------------------------------------------------------


def _table(document: dict[str, Any], *names: str) -> dict[str, Any]:
    """Return a nested table; what is missing or no table becomes one."""
    for name in names:
        if not is_table(document.get(name)):
            document[name] = {}
        document = document[name]
    return document


def _default(section: str, name: str) -> Any:
    return getattr(getattr(_recipe("images"), section), name)


def _adapt_training(found: Adapted, old: DataFacts | None, new: DataFacts) -> None:
    training = _table(found.document, "training")
    if training.get("teacher_weights"):
        training["teacher_weights"] = ""
        found.changes.append("the teacher is trained anew")
    examples = training.get("student_examples", 0)
    if isinstance(examples, int) and 0 < new.examples < examples:
        training["student_examples"] = 0
        found.changes.append("the student sees all examples")
    grown = old is None or math.prod(new.event_shape) > math.prod(old.event_shape)
    batch = training.get("batch_size", _default("training", "batch_size"))
    most = max(_SMALLEST_BATCH, 1 << int(math.log2(max(1, _VALUES // math.prod(new.event_shape)))))
    if new.sort == "images" and grown and isinstance(batch, int) and batch > most:
        training["batch_size"] = most
        found.changes.append(f"batches of {most}")


def _adapt_loss(found: Adapted, document: dict[str, Any], new: DataFacts) -> None:
    """Remove matched pairs of layers that have changed, and the distance of VGG features where there are no images."""
    loss = _table(found.document, "distillation")
    matching = loss.get("matching")
    if is_table(matching) and matching.get("pairs") and _flows(document) != _flows(found.document):
        loss["matching"] = matching | {"strategy": "auto", "pairs": []}
        found.changes.append("layers matched automatically")
    skd = loss.get("skd")
    if (
        is_table(skd)
        and skd.get("distance") == "perceptual"
        and (new.sort != "images" or new.event_shape[0] not in {1, 3})
    ):
        loss["skd"] = skd | {"distance": "l1"}
        found.changes.append("L1 distance of samples")


def _adapt_pictures(found: Adapted, new: DataFacts) -> None:
    monitor, wanted = _table(found.document, "monitor"), _recipe(new.sort).monitor
    values = {"sample_count": wanted.sample_count, "temperature": wanted.temperature}
    if {name: monitor.get(name, _default("monitor", name)) for name in values} != values:
        monitor.update(values)
        found.changes.append(f"{wanted.sample_count:,} samples at temperature {wanted.temperature:g}")


# --- name and description ---------------------------------------------------------------------------------------------


@cache
def _presets() -> tuple[frozenset[str], frozenset[str]]:
    """Return the names and the descriptions of the presets."""
    configs = [ExperimentConfig.load(name) for name in preset_names()]
    return frozenset(config.name for config in configs), frozenset(config.description for config in configs)


def data_name(data: Any) -> str:
    """Return a name for a ``[data]`` table, such as ``two moons``, or the name of its file."""
    if not is_table(data) or data.get("kind") not in DATA_KINDS:
        return ""
    path = data.get("path")
    name = Path(str(path)).stem if path else kind_label(data["kind"])
    if not path and name[1:] == name[1:].lower():  # no acronym
        name = name.lower()
    return "" if name_problem(name) else name


def _descriptions(name: str) -> set[str]:
    return {f"{label} on {name}." for label, _ in _labels().values()}


def _adapt_names(found: Adapted, before: dict[str, Any]) -> None:
    """Let name and description follow the data, unless the user wrote them."""
    document = found.document
    old, new = data_name(before), data_name(document.get("data"))
    if not new or old == new:
        return
    names, descriptions = _presets()
    if document.get("name", "untitled") in {"untitled", "", old, *names}:
        document["name"] = new
        found.changes.append("name")
    if document.get("description", "") in {"", *descriptions, *_descriptions(old)}:
        teacher = document.get("teacher")
        label = _labels().get(str(teacher.get("kind")) if is_table(teacher) else "", ("A flow", ""))[0]
        document["description"] = f"{label} on {new}."
