"""What is said of a whole run: its verdict."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, cast

import msgspec

from nfkd.files import read_limited, replace_file
from nfkd.protocol.events import Verdict
from nfkd.runs.errors import RunError
from nfkd.runs.layout import STATE_LIMIT, describe_trouble

VERDICT = "verdict.json"


def write_verdict(run: Path, verdict: Verdict) -> None:
    """Write a run's verdict; figures that are not known become null."""
    replace_file(run / VERDICT, msgspec.json.format(msgspec.json.encode(verdict), indent=2))


def read_verdict(run: Path) -> Verdict | None:
    """Return a run's verdict; None where it has none yet.

    Raises
    ------
    RunError
        When there is one that cannot be read.
    """
    path = run / VERDICT
    try:
        verdict = msgspec.convert(_with_nan(msgspec.json.decode(read_limited(path, STATE_LIMIT))), Verdict)
        msgspec.msgpack.encode(verdict)  # no number that the wire cannot carry
    except FileNotFoundError:
        return None
    except (OSError, ValueError, ArithmeticError, RecursionError) as error:
        raise RunError(
            title="The verdict cannot be read",
            cause=describe_trouble(path, error),
            action="Delete it and resume the run: the verdict is then computed again from the figures of its seeds.",
        ) from error
    return verdict


def _with_nan(value: Any) -> Any:
    """Return what was read with NaN where a figure is not known."""
    if isinstance(value, dict):
        return {key: _with_nan(item) for key, item in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [_with_nan(item) for item in cast("list[Any]", value)]
    return math.nan if value is None else value
