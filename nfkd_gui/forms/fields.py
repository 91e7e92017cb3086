"""A description of the configuration's fields for the form, without widgets.

Everything comes from the pydantic field: the title and help from its title and description, the bounds from its
annotations. The unit, ``advanced``, ``group``, ``needs``, ``multiline``, ``format``, ``each`` and ``between`` come from
its metadata (``json_schema_extra``), which `nfkd.config.base.field` sets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import chain
from types import UnionType
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from nfkd.config import ExperimentConfig, MatchedPair

PathKind = Literal["file", "folder", "run"]
"""What a path names; ``run`` is a run's folder or a file of weights."""
Kind = Literal["integer", "number", "share", "text", PathKind, "switch", "choice", "names", "points", "pairs"]
LISTS = frozenset[Kind]({"names", "points", "pairs"})
"""Kinds whose value is a list; problems of its items are shown at the field."""
_MAX_ITEMS = 16
"""Longest list, unless the field has its own bound."""


@dataclass(frozen=True)
class Choice:
    """One value of a choice.

    Attributes
    ----------
    value, label
        The value in a file, and its text in the form.
    help
        One sentence for the tooltip; may be empty.
    group
        The heading above it in the list; may be empty.
    """

    value: str
    label: str
    help: str = ""
    group: str = ""


@dataclass(frozen=True, kw_only=True)
class Field:
    """What all fields have in common.

    Attributes
    ----------
    name, path
        The key, and the dotted path from the root.
    title, help
        The label, and one sentence for the tooltip.
    label
        A shorter title, such as ``LKD``; may be empty.
    advanced
        Whether the field is hidden until the user asks for advanced settings.
    group
        The table that a section is a row of, such as ``terms``; may be empty.
    needs
        When the field has an effect: `nfkd.config.base.Needs` with whole paths; one rule is enough, none means always.
    """

    name: str
    path: str
    title: str
    help: str
    label: str = ""
    advanced: bool = False
    group: str = ""
    needs: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Value(Field):
    """A single value.

    Attributes
    ----------
    unit
        The unit shown beside the editor, from the configuration field's metadata; may be empty.
    zero
        What zero means, shown in place of the unit; may be empty.
    choices
        The values of a choice, in order.
    bounds
        The allowed range as text, such as ``1 to 64``; empty if there is none.
    """

    kind: Kind
    default: Any
    unit: str = ""
    zero: str = ""
    multiline: bool = False
    choices: tuple[Choice, ...] = ()
    bounds: str = ""


@dataclass(frozen=True, kw_only=True)
class Section(Field):
    """A nested model: fields under a heading."""

    fields: tuple[Field, ...]


@dataclass(frozen=True, kw_only=True)
class Variants(Field):
    """One of several models, selected by a choice.

    Attributes
    ----------
    choice
        The field that selects the model.
    members
        The other fields of each model, by the value of the choice.
    """

    choice: Value
    members: dict[str, tuple[Field, ...]]


@dataclass(frozen=True, kw_only=True)
class SectionList(Field):
    """A list of models, to which the user adds and from which the user removes items.

    Attributes
    ----------
    each
        What one item is called, such as ``assistant``.
    between
        The two top-level fields that the items interpolate: a new item starts halfway between them. May be empty.
    max_items
        The largest number of items.
    item
        Describes the item at an index.
    """

    each: str
    between: tuple[str, ...]
    max_items: int
    item: Callable[[int], Field]


@dataclass(frozen=True)
class FoundField:
    """A field of the experiment, for lists and searches.

    Attributes
    ----------
    path
        The dotted path.
    title
        Its title after those of its sections, such as ``Loss › LKD › Weight``.
    help
        One sentence.
    """

    path: str
    title: str
    help: str


def all_fields(document: Mapping[str, Any] | None = None) -> list[FoundField]:
    """Return every field of an experiment, in the order of the form.

    A list of sections, such as the assistants, is one field. Fields of different kinds of a flow or of the data that
    have the same path and title are one field.

    Parameters
    ----------
    document
        An experiment: only the fields of its own kinds of flows and data are returned.
    """
    found: dict[tuple[str, str], FoundField] = {}
    for field in describe_model(ExperimentConfig):
        for each in _found(field, () if not isinstance(field, Value) else ("Experiment",), document):
            found.setdefault((each.path, each.title), each)
    return list(found.values())


def _kind_in(document: Mapping[str, Any], path: str) -> Any:
    value: Any = document
    for key in path.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _found(field: Field, above: tuple[str, ...], document: Mapping[str, Any] | None) -> Iterator[FoundField]:
    names = (*above, field.label or field.title)
    match field:
        case Section():
            inside: Iterable[Field] = field.fields
        case Variants():
            kind = None if document is None else _kind_in(document, field.choice.path)
            members = field.members.values() if kind not in field.members else [field.members[kind]]
            inside = (field.choice, *chain.from_iterable(members))
        case _:
            yield FoundField(field.path, " › ".join(names), field.help)
            return
    for child in inside:
        yield from _found(child, names, document)


@cache
def describe_model(model: type[BaseModel], path: str = "") -> tuple[Field, ...]:
    """Return the fields of a model, in order.

    Raises
    ------
    TypeError
        When no editor supports the type of a field.
    """
    return tuple(_describe(name, info, f"{path}.{name}" if path else name) for name, info in model.model_fields.items())


def _describe(name: str, info: FieldInfo, path: str) -> Field:
    extra = _metadata(info)
    common = {
        "name": name,
        "path": path,
        "title": _title(name, info),
        "help": info.description or "",
        "label": str(extra.get("label", "")),
        "advanced": bool(extra.get("advanced", False)),
        "group": str(extra.get("group", "")),
        "needs": tuple(_whole_paths(rule, path) for rule in cast("list[Any]", extra.get("needs", []))),
    }
    models = _models(info.annotation)
    if models:
        return _describe_section(common, models, str(info.discriminator), path)
    listed = _listed_models(info.annotation)
    if listed is not None:
        return _describe_list(common, info, listed, path)
    choices = _choices(info.annotation, extra)
    return Value(
        **common,
        kind="choice" if choices else _kind(info.annotation, str(extra.get("format", "")), path),
        default=None if info.default is PydanticUndefined else _tuples_to_lists(info.default),
        unit=str(extra.get("unit", "")),
        zero=str(extra.get("zero", "")),
        multiline=bool(extra.get("multiline", False)),
        choices=choices,
        bounds=_bounds(info),
    )


def _whole_paths(rule: dict[str, Any], path: str) -> dict[str, Any]:
    section = path.rpartition(".")[0]
    return {f"{section}{other}" if other.startswith(".") else other: wanted for other, wanted in rule.items()}


def _metadata(info: FieldInfo) -> dict[str, Any]:
    return info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}


def _title(name: str, info: FieldInfo) -> str:
    return info.title or name.replace("_", " ").capitalize()


def _describe_section(common: dict[str, Any], models: list[type[BaseModel]], key: str, path: str) -> Field:
    if len(models) == 1:
        return Section(**common, fields=describe_model(models[0], path))
    return _describe_variants(common, models, key, path)


def _describe_list(
    common: dict[str, Any], info: FieldInfo, listed: tuple[list[type[BaseModel]], str], path: str
) -> SectionList:
    models, key = listed
    extra = _metadata(info)
    each = str(extra.get("each", "")) or "item"
    max_items = next((item.max_length for item in info.metadata if hasattr(item, "max_length")), _MAX_ITEMS)

    def item(index: int) -> Field:
        own = {"name": str(index), "path": f"{path}.{index}", "title": f"{each.capitalize()} {index + 1}"}
        return _describe_section(common | own, models, key, own["path"])

    between = tuple(map(str, _tuples_to_lists(extra.get("between", ()))))
    return SectionList(**common, each=each, between=between, max_items=max_items, item=item)


def _listed_models(annotation: Any) -> tuple[list[type[BaseModel]], str] | None:
    """Return the models of a list's items and the field that selects one of them; None for other lists."""
    item, *rest = get_args(annotation) if get_origin(annotation) is tuple else (None,)
    if rest != [Ellipsis] or item is MatchedPair:  # `PairsBox` edits those
        return None
    union, *about = get_args(item) if get_origin(item) is Annotated else (item,)
    models = _models(union)
    return (
        (models, next((str(one.discriminator) for one in about if isinstance(one, FieldInfo)), "")) if models else None
    )


def _describe_variants(common: dict[str, Any], models: list[type[BaseModel]], key: str, path: str) -> Variants:
    members: dict[str, tuple[Field, ...]] = {}
    choices: list[Choice] = []
    for model in models:
        info = model.model_fields[key]
        (tag,) = get_args(info.annotation)
        members[tag] = tuple(field for field in describe_model(model, path) if field.name != key)
        extra = _metadata(info)
        label = str(extra.get("label", "")) or _label(tag)
        choices.append(Choice(tag, label, info.description or "", str(extra.get("group", ""))))
    choice = Value(
        name=key,
        path=f"{path}.{key}",
        title=_title(key, models[0].model_fields[key]),
        help=common["help"],
        kind="choice",
        default=choices[0].value,
        choices=tuple(choices),
    )
    return Variants(**common, choice=choice, members=members)


def _models(annotation: Any) -> list[type[BaseModel]]:
    candidates = get_args(annotation) if get_origin(annotation) in {Union, UnionType} else (annotation,)
    return [item for item in candidates if isinstance(item, type) and issubclass(item, BaseModel)]


def _choices(annotation: Any, extra: dict[str, Any]) -> tuple[Choice, ...]:
    values = get_args(annotation) if get_origin(annotation) is Literal else extra.get("choices", ())
    return tuple(Choice(str(value), _label(str(value))) for value in values)


_LABELS = {
    "l1": "L1", "l2": "L2", "cpu": "CPU", "cuda": "CUDA", "mps": "MPS", "lu": "LU", "mlp": "MLP", "c2st": "C2ST",
    "tf32": "TF32", "adamw": "AdamW", "fd": "FD-local", "sw": "Sliced Wasserstein", "mmd": "MMD",
    "same_noise": "Distance to the teacher",
}  # fmt: skip


def _label(value: str) -> str:
    if value.startswith("cuda:"):
        return value.upper()
    return _LABELS.get(value, value.replace("_", " ").capitalize())


def _tuples_to_lists(value: Any) -> Any:
    """Return a value as a file has it, with lists instead of tuples."""
    return [_tuples_to_lists(item) for item in value] if isinstance(value, tuple) else value


def _kind(annotation: Any, form: str, path: str) -> Kind:
    if get_origin(annotation) is Literal:
        return "choice"
    if get_origin(annotation) is tuple:
        return _list_kind(annotation, path)
    if annotation is str and form in get_args(PathKind):
        return cast("PathKind", form)
    if annotation is float and form == "share":
        return "share"
    kinds: dict[Any, Kind] = {bool: "switch", int: "integer", float: "number", str: "text"}
    if annotation not in kinds:
        msg = f"{path}: no editor supports {annotation!r}"
        raise TypeError(msg)
    return kinds[annotation]


def _list_kind(annotation: Any, path: str) -> Kind:
    item, *rest = get_args(annotation)
    item = get_args(item)[0] if get_origin(item) is Annotated else item
    if rest == [Ellipsis] and item is str:
        return "names"
    if rest == [Ellipsis] and item == tuple[float, float]:
        return "points"
    if rest == [Ellipsis] and item is MatchedPair:
        return "pairs"
    msg = f"{path}: no editor supports {annotation!r}"
    raise TypeError(msg)


def _bounds(info: FieldInfo) -> str:
    limits = {
        name: getattr(item, name) for item in info.metadata for name in ("ge", "gt", "le", "lt") if hasattr(item, name)
    }
    low = _limit(limits, ge="at least", gt="above")
    high = _limit(limits, le="at most", lt="below")
    if "ge" in limits and "le" in limits:
        return f"{limits['ge']:,.10g} to {limits['le']:,.10g}"
    return ", ".join(limit for limit in (low, high) if limit)


def _limit(limits: dict[str, Any], **labels: str) -> str:
    return "".join(f"{label} {limits[name]:,.10g}" for name, label in labels.items() if limits.get(name) is not None)
