"""TOML files with a single flow, for weights from other programs and for inspecting a flow."""

from __future__ import annotations

import os
from typing import Annotated, Any, cast

from pydantic import Field, ValidationError

from nfkd.config.base import Config, field
from nfkd.config.flows import FlowConfig
from nfkd.config.problems import ConfigError, ConfigProblem, problems_of
from nfkd.config.toml import read_toml

_TABLES = ("flow", "teacher")
_Size = Annotated[int, Field(ge=1, le=65_536)]


class FlowFile(Config, frozen=True):
    """A flow and, optionally, the shape of its examples.

    Examples
    --------
    The flow's fields are at the top level, or in a table ``[flow]`` or ``[teacher]``::

        event_shape = [3, 32, 32]
        [flow]
        kind = "glow"
        levels = 3
        steps = 32
        hidden = 512
    """

    flow: FlowConfig = field(title="Flow", help="The architecture.")
    event_shape: list[_Size] = field(
        title="Event shape",
        help="Channels, height and width of an image, or the number of features; empty if unknown.",
        default_factory=list,
        max_length=3,
    )
    context_features: int = field(0, title="Context", help="Length of each example's context.", ge=0, le=65_536)


def read_flow_file(path: str | os.PathLike[str], *, kind: str = "") -> FlowFile:
    """Read a flow file, or the teacher of an experiment file.

    Parameters
    ----------
    path
        The TOML file.
    kind
        The kind of the flow, if the file has none.

    Raises
    ------
    ConfigError
        With every problem, each with its path.
    """
    document = read_toml(path)
    table = next((name for name in _TABLES if isinstance(document.get(name), dict)), "")
    flow, rest = _split_document(document, table)
    if kind:
        flow = {"kind": kind} | flow
    try:
        return FlowFile.model_validate(rest | {"flow": flow})
    except ValidationError as error:
        problems = [ConfigProblem(_in_file(problem.path, table), problem.message) for problem in problems_of(error)]
        raise ConfigError(problems, str(path)) from error


def _split_document(document: dict[str, Any], table: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the flow's fields and the others."""
    shapes = {name: document[name] for name in ("event_shape", "context_features") if name in document}
    if not table:
        return {name: value for name, value in document.items() if name not in shapes}, shapes
    others = {} if table == "teacher" else {name: value for name, value in document.items() if name != table}
    return cast("dict[str, Any]", document[table]), others | shapes


def _in_file(path: str, table: str) -> str:
    """Return the path of a problem in the file, where the flow's fields may be at the top level."""
    first, _, rest = path.partition(".")
    if first != "flow":
        return path
    return f"{table}.{rest}" if table and rest else table or rest
