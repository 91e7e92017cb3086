"""The common ground of every configuration model."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict
from pydantic_core import PydanticUndefined


class Config(BaseModel, frozen=True):
    """A frozen model that refuses unknown keys.

    Every field carries a title, a help sentence and, where it has one, a unit: the experiment form, the
    command line's messages and the documentation are all made from them.
    """

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


def field(  # noqa: PLR0913 - all by name: what a form must know of a field
    default: Any = PydanticUndefined,
    *,
    title: str,
    help: str,  # noqa: A002 - the word that form authors expect
    unit: str = "",
    advanced: bool = False,
    multiline: bool = False,
    format: Literal["", "file", "folder", "run"] = "",  # noqa: A002 - JSON Schema's word
    label: str = "",
    group: str = "",
    each: str = "",
    between: tuple[str, ...] = (),
    **constraints: Any,
) -> Any:
    """Describe one field: its bounds for pydantic, its words for people.

    Parameters
    ----------
    default
        The default value; left out, the field is required.
    title
        The label beside the editor, in sentence case.
    help
        One sentence: what the field does.
    unit
        Shown behind the number, such as ``steps``.
    advanced
        Whether a form may fold it away; a section, only while all in it is as it is by default.
    multiline
        Whether a text wants more than one line.
    format
        What a text names on the engine's machine, if anything: a form may then browse for it. A ``run`` is the folder
        of a run, or a file of weights.
    label, group
        Of the field that tells a model from its alternatives: the model's name for people, such as ``Fashion-MNIST``,
        and what it is listed under where there are many. Of an advanced section, what it is one of, such as ``terms``:
        they are folded away together.
    each, between
        Of a list of models: what one of them is called, and the two fields of the root that it lies between: a new one
        begins halfway.
    **constraints
        Passed to `pydantic.Field` (``ge``, ``le``, ``gt``, ``lt``, ``default_factory`` …).
    """
    extra: JsonDict = {
        "unit": unit,
        "advanced": advanced,
        "multiline": multiline,
        "format": format,
        "label": label,
        "group": group,
        "each": each,
        "between": list(between),
    }
    describe: Any = Field  # its overloads cannot see through the constraints
    return describe(default, title=title, description=help, json_schema_extra=extra, **constraints)
