"""A neutral description of a configuration's fields: what a form must know, without any widget."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from nfkd.config import MatchedPair

PathKind = Literal["file", "folder", "run"]
"""What a path names; a run is the folder of one, or a file of weights."""
Kind = Literal["integer", "number", "text", PathKind, "switch", "choice", "names", "points", "pairs"]
LISTS = frozenset[Kind]({"names", "points", "pairs"})
"""Kinds whose value is a list; a problem of one of its items belongs to the field."""


_MOST = 16
"""Items of a list without a bound of its own."""


@dataclass(frozen=True)
class Choice:
    """One of the values of a choice.

    Attributes
    ----------
    value, label
        As a file has it, and as people read it.
    help
        One sentence for the tooltip; may be empty.
    group
        What it is listed under; may be empty.
    """

    value: str
    label: str
    help: str = ""
    group: str = ""


@dataclass(frozen=True)
class Field:
    """What every field has.

    Attributes
    ----------
    name, path
        The key, and the dotted path from the root.
    title, help
        The label, and one sentence for the tooltip.
    advanced
        Whether it may be folded away.
    group
        Of a section that may be: what it is one of, such as ``terms``; may be empty.
    """

    name: str
    path: str
    title: str
    help: str
    advanced: bool
    group: str


@dataclass(frozen=True)
class Value(Field):
    """A single value.

    Attributes
    ----------
    choices
        For a choice: its values, in the order in which they are offered.
    bounds
        The allowed range in words, such as ``1 to 64``; empty when there is none.
    """

    kind: Kind
    default: Any
    unit: str
    multiline: bool
    choices: tuple[Choice, ...]
    bounds: str


@dataclass(frozen=True)
class Section(Field):
    """A nested model: fields under one heading."""

    fields: tuple[Field, ...]


@dataclass(frozen=True)
class Variants(Field):
    """One of several models, told apart by a choice.

    Attributes
    ----------
    choice
        The discriminating field.
    members
        The other fields of each model, by the choice's value.
    """

    choice: Value
    members: dict[str, tuple[Field, ...]]


@dataclass(frozen=True)
class Many(Field):
    """ListEditor models of one kind, in order, which the user adds and removes.

    Attributes
    ----------
    each
        What one of them is called, such as ``assistant``.
    between
        The two fields of the root that all of them lie between, in order: a new one begins halfway. May be empty.
    most
        How many there may be.
    item
        Describes the one at a place, counted from zero.
    """

    each: str
    between: tuple[str, ...]
    most: int
    item: Callable[[int], Field]


def describe_model(model: type[BaseModel], path: str = "") -> tuple[Field, ...]:
    """Return the fields of a model, in its order.

    Raises
    ------
    TypeError
        For an annotation that no editor could serve.
    """
    return tuple(_describe(name, info, f"{path}.{name}" if path else name) for name, info in model.model_fields.items())


def _describe(name: str, info: FieldInfo, path: str) -> Field:
    extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
    common = {
        "name": name,
        "path": path,
        "title": info.title or name.replace("_", " ").capitalize(),
        "help": info.description or "",
        "advanced": bool(extra.get("advanced", False)),
        "group": str(extra.get("group", "")),
    }
    models = _models(info.annotation)
    if models:
        return _one(common, models, str(info.discriminator), path)
    listed = _listed_models(info.annotation)
    if listed is not None:
        return _many(common, info, listed, path)
    return Value(
        **common,
        kind=_kind(info.annotation, str(extra.get("format", "")), path),
        default=None if info.default is PydanticUndefined else _listed(info.default),
        unit=str(extra.get("unit", "")),
        multiline=bool(extra.get("multiline", False)),
        choices=_choices(info.annotation),
        bounds=_bounds(info),
    )


def _one(common: dict[str, Any], models: list[type[BaseModel]], key: str, path: str) -> Field:
    if len(models) == 1:
        return Section(**common, fields=describe_model(models[0], path))
    return _variants(common, models, key, path)


def _many(common: dict[str, Any], info: FieldInfo, listed: tuple[list[type[BaseModel]], str], path: str) -> Many:
    models, key = listed
    extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
    each = str(extra.get("each", "")) or "item"
    most = next((item.max_length for item in info.metadata if hasattr(item, "max_length")), _MOST)

    def item(place: int) -> Field:
        own = {"name": str(place), "path": f"{path}.{place}", "title": f"{each.capitalize()} {place + 1}"}
        return _one(common | own, models, key, own["path"])

    between = tuple(map(str, _listed(extra.get("between", ()))))
    return Many(**common, each=each, between=between, most=most, item=item)


def _listed_models(annotation: Any) -> tuple[list[type[BaseModel]], str] | None:
    """Return the models that the items of a list may be, and the field that tells them apart; None for other lists."""
    item, *rest = get_args(annotation) if get_origin(annotation) is tuple else (None,)
    if rest != [Ellipsis] or item is MatchedPair:  # pairs have an editor of their own
        return None
    union, *about = get_args(item) if get_origin(item) is Annotated else (item,)
    models = _models(union)
    return (
        (models, next((str(one.discriminator) for one in about if isinstance(one, FieldInfo)), "")) if models else None
    )


def _variants(common: dict[str, Any], models: list[type[BaseModel]], key: str, path: str) -> Variants:
    members: dict[str, tuple[Field, ...]] = {}
    choices: list[Choice] = []
    for model in models:
        info = model.model_fields[key]
        (tag,) = get_args(info.annotation)
        members[tag] = tuple(field for field in describe_model(model, path) if field.name != key)
        extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
        label = str(extra.get("label", "")) or _words(tag)
        choices.append(Choice(tag, label, info.description or "", str(extra.get("group", ""))))
    first = _describe(key, models[0].model_fields[key], f"{path}.{key}")
    choice = Value(
        name=key,
        path=first.path,
        title=first.title,
        help=common["help"],
        advanced=False,
        group="",
        kind="choice",
        default=choices[0].value,
        unit="",
        multiline=False,
        choices=tuple(choices),
        bounds="",
    )
    return Variants(**common, choice=choice, members=members)


def _models(annotation: Any) -> list[type[BaseModel]]:
    candidates = get_args(annotation) if get_origin(annotation) in {Union, UnionType} else (annotation,)
    return [item for item in candidates if isinstance(item, type) and issubclass(item, BaseModel)]


def _choices(annotation: Any) -> tuple[Choice, ...]:
    values = get_args(annotation) if get_origin(annotation) is Literal else ()
    return tuple(Choice(str(value), _words(str(value))) for value in values)


_WORDS = {"l1": "L1", "l2": "L2", "cpu": "CPU", "cuda": "CUDA", "mps": "MPS", "lu": "LU", "mlp": "MLP", "c2st": "C2ST"}


def _words(value: str) -> str:
    return _WORDS.get(value, value.replace("_", " ").capitalize())


def _listed(value: Any) -> Any:
    """Return a value as a file has it: lists, where a model has tuples."""
    return [_listed(item) for item in value] if isinstance(value, tuple) else value


def _kind(annotation: Any, form: str, path: str) -> Kind:
    if get_origin(annotation) is Literal:
        return "choice"
    if get_origin(annotation) is tuple:
        return _list_kind(annotation, path)
    if annotation is str and form in get_args(PathKind):
        return cast("PathKind", form)
    kinds: dict[Any, Kind] = {bool: "switch", int: "integer", float: "number", str: "text"}
    if annotation not in kinds:
        msg = f"{path}: no editor serves {annotation!r}"
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
    msg = f"{path}: no editor serves {annotation!r}"
    raise TypeError(msg)


def _bounds(info: FieldInfo) -> str:
    limits = {
        name: getattr(item, name) for item in info.metadata for name in ("ge", "gt", "le", "lt") if hasattr(item, name)
    }
    low = _limit(limits, ge="at least", gt="above")
    high = _limit(limits, le="at most", lt="below")
    if "ge" in limits and "le" in limits:
        return f"{limits['ge']:,.10g} to {limits['le']:,.10g}"
    return ", ".join(words for words in (low, high) if words)


def _limit(limits: dict[str, Any], **words: str) -> str:
    return "".join(f"{word} {limits[name]:,.10g}" for name, word in words.items() if limits.get(name) is not None)
