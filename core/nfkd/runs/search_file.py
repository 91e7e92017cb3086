"""The file of the weight decays that a run has tried."""

from __future__ import annotations

from pathlib import Path

import msgspec

from nfkd.files import read_limited, replace_file
from nfkd.runs.errors import RunError, describe_read_error
from nfkd.runs.state import MAX_JSON_BYTES

SEARCH = "baseline_search.json"


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """A baseline that was trained with a weight decay.

    Attributes
    ----------
    validation
        Its best NLL on validation data, in the data's unit; None if it diverged.
    """

    weight_decay: float
    validation: float | None


class Search(msgspec.Struct, frozen=True, kw_only=True):
    """The trials of a run so far.

    Attributes
    ----------
    data
        The SHA-256 of the fingerprint of their data.
    ended
        Whether the user ended the search: the run keeps the configured weight decay, also when it is resumed.
    """

    data: str
    trials: list[Trial]
    ended: bool = False


def write_search(run: Path, search: Search) -> None:
    """Write the trials of a run so far."""
    replace_file(run / SEARCH, msgspec.json.format(msgspec.json.encode(search), indent=2))


def read_search(run: Path) -> Search | None:
    """Return the trials of a run; None if there are none.

    Raises
    ------
    RunError
        When the file cannot be read.
    """
    path = run / SEARCH
    try:
        return msgspec.json.decode(read_limited(path, MAX_JSON_BYTES), type=Search)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, ArithmeticError, RecursionError) as error:  # msgspec's errors are ValueErrors
        raise RunError(
            title="The search for the weight decay cannot be read",
            cause=describe_read_error(path, error),
            action="Delete it and resume the run: the search is then repeated, with the same results.",
        ) from error
