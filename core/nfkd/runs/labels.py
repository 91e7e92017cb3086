"""The labels of a run: tags and a note of its user, in a file that only labels are written to.

It is separate from the state, so that runs in training in any process can be labelled.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from nfkd.files import read_limited, replace_file
from nfkd.runs.errors import RunError, describe_error, describe_read_error
from nfkd.text import plain

LABELS = "labels.json"
MAX_TAGS, MAX_TAG, MAX_NOTE = 20, 40, 4000
"""Tags of a run, characters of a tag, and characters of the note."""
_MAX_BYTES = 64 << 10
_TITLE = "The labels cannot be saved"


class Labels(msgspec.Struct, frozen=True, kw_only=True):
    """Content of the file."""

    tags: list[str] = []
    note: str = ""


NO_LABELS = Labels()
_DECODER = msgspec.json.Decoder(Labels)


def read_labels(run: Path | str) -> Labels:
    """Return a run's labels; none if it has no file of them.

    Raises
    ------
    RunError
        When the file cannot be read, or has more than labels may have.
    """
    path = f"{run}{os.sep}{LABELS}"
    try:
        labels = _DECODER.decode(read_limited(path, _MAX_BYTES))
        _require_valid(labels)
    except FileNotFoundError:
        return NO_LABELS
    except (OSError, ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        title, cause = "The labels cannot be read", describe_read_error(Path(path), error)
        raise RunError(title, cause, "Correct or delete the file.") from error
    return labels


def change_labels(run: Path, add: Sequence[str], remove: Sequence[str], note: str | None) -> Labels:
    """Add and remove tags of a run, and replace its note if one is given; return the new labels.

    Raises
    ------
    RunError
        When the labels cannot be read or written, or are not valid.
    """
    old = read_labels(run)
    added = [tag.strip() for tag in add]
    tags = [tag for tag in dict.fromkeys([*old.tags, *added]) if tag not in {tag.strip() for tag in remove}]
    labels = Labels(tags=tags, note=old.note if note is None else note.strip())
    problem = next(filter(None, map(_tag_problem, added)), "") or _problem(labels)
    if problem:
        raise RunError(_TITLE, f"{run.name}: {problem}.", "Change the labels.")
    path = run / LABELS
    try:
        if labels.tags or labels.note:
            replace_file(path, msgspec.json.format(msgspec.json.encode(labels), indent=2))
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise RunError(_TITLE, f"{path}: {describe_error(error)}.", "Check whether you may write there.") from error
    return labels


def _tag_problem(tag: str) -> str:
    """Return what is wrong with a new tag; empty if valid."""
    if not tag:
        return "a tag may not be empty"
    if "," in tag or plain(tag) != tag:
        return f"the tag {plain(tag, MAX_TAG)} may not contain commas, control characters or direction marks"
    return ""


def _require_valid(labels: Labels) -> None:
    if problem := _problem(labels):
        raise ValueError(problem)


def _problem(labels: Labels) -> str:
    """Return which limit the labels exceed; empty if none."""
    if len(labels.tags) > MAX_TAGS:
        return f"it would have {len(labels.tags):,} tags; at most {MAX_TAGS} are possible"
    longest = max(labels.tags, key=len, default="")
    if len(longest) > MAX_TAG:
        return f"the tag {plain(longest, MAX_TAG)} has {len(longest):,} characters; at most {MAX_TAG} are possible"
    if len(labels.note) > MAX_NOTE:
        return f"the note has {len(labels.note):,} characters; at most {MAX_NOTE:,} are possible"
    return ""
