"""The base class of all configuration models, and their fields' descriptions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict
from pydantic_core import PydanticUndefined

Needs = Mapping[str, tuple[str, ...] | bool | int]
"""When a field has an effect: what the values of other fields must be, by their paths.

A path with a dot before it, such as ``.schedule``, is in the same section; others start from the experiment. The value
must be one of a tuple, set (True: not zero, empty or off) or not set (False), or above a number. All must hold.
"""


class Config(BaseModel, frozen=True):
    """A frozen model without unknown keys; forms, messages and documentation are made from its fields' descriptions."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


def field(  # noqa: PLR0913 - all by name
    default: Any = PydanticUndefined,
    *,
    title: str,
    help: str,  # noqa: A002 - the usual name in forms
    unit: str = "",
    zero: str = "",
    advanced: bool = False,
    multiline: bool = False,
    format: Literal["", "file", "folder", "run", "share"] = "",  # noqa: A002 - JSON Schema's name
    label: str = "",
    group: str = "",
    each: str = "",
    between: tuple[str, ...] = (),
    choices: tuple[str, ...] = (),
    needs: Needs | tuple[Needs, ...] = (),
    **constraints: Any,
) -> Any:
    """Return a pydantic field with a description for forms.

    Parameters
    ----------
    default
        The default value; without one, the field is required.
    title
        The label beside the editor, in sentence case.
    help
        One sentence: what the field does.
    unit
        Shown after the number, such as ``steps``.
    zero
        What zero means, such as ``all``; shown in place of the unit.
    advanced
        Whether a form hides the field until the user asks for advanced settings.
    multiline
        Whether a text needs more than one line.
    format
        The kind of path that a text is, so that a form can browse for it. A ``run`` is the folder of a run, or a file
        of weights. A ``share`` is a number from 0 to 1.
    label, group
        For the ``kind`` field of a union's member: its label, such as ``Fashion-MNIST``, and the heading it is listed
        under. For a section: its short name, such as ``LKD``, and the table that it is a row of, such as ``terms``.
    each, between
        For a list of models: the name of an item, and the two fields whose mean is the start value of a new item.
    choices
        The usual values of a text, which a form offers; it shows and keeps others.
    needs
        When the field has an effect; of several rules, one is enough. A form hides a field without effect.
    **constraints
        Passed to `pydantic.Field` (``ge``, ``le``, ``gt``, ``lt``, ``default_factory`` …).
    """
    extra: JsonDict = {
        "unit": unit,
        "zero": zero,
        "advanced": advanced,
        "multiline": multiline,
        "format": format,
        "label": label,
        "group": group,
        "each": each,
        "between": list(between),
        "choices": list(choices),
        "needs": [_to_json(rule) for rule in ((needs,) if isinstance(needs, Mapping) else needs)],
    }
    untyped_field: Any = Field  # its overloads do not accept **constraints
    return untyped_field(default, title=title, description=help, json_schema_extra=extra, **constraints)


def _to_json(rule: Needs) -> JsonDict:
    return {path: list(value) if isinstance(value, tuple) else value for path, value in rule.items()}
