"""The verdict file of a run."""

from __future__ import annotations

from pathlib import Path

import msgspec

from nfkd.files import read_limited, replace_file
from nfkd.protocol.events import Verdict
from nfkd.runs.errors import RunError, describe_read_error
from nfkd.runs.state import MAX_JSON_BYTES, nulls_as_nan

VERDICT = "verdict.json"


def write_verdict(run: Path, verdict: Verdict) -> None:
    """Write a run's verdict; NaN becomes null."""
    replace_file(run / VERDICT, msgspec.json.format(msgspec.json.encode(verdict), indent=2))


def read_verdict(run: Path) -> Verdict | None:
    """Return a run's verdict, or None while it has none.

    Raises
    ------
    RunError
        When the file cannot be read.
    """
    path = run / VERDICT
    try:
        verdict = msgspec.convert(nulls_as_nan(msgspec.json.decode(read_limited(path, MAX_JSON_BYTES))), Verdict)
        msgspec.msgpack.encode(verdict)  # raises OverflowError for a number that is too large
    except FileNotFoundError:
        return None
    except (OSError, ValueError, ArithmeticError, RecursionError) as error:
        raise RunError(
            title="The verdict cannot be read",
            cause=describe_read_error(path, error),
            action="Delete it and resume the run: the verdict is then computed again.",
        ) from error
    return verdict
