"""What is said of a whole run: its verdict."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec

from nfkd.protocol.events import Verdict
from nfkd.runs.layout import write_file

VERDICT = "verdict.json"


def write_verdict(run: Path, verdict: Verdict) -> None:
    """Write a run's verdict; figures that are not known become null."""
    write_file(run / VERDICT, msgspec.json.format(msgspec.json.encode(verdict), indent=2))


def read_verdict(run: Path) -> Verdict | None:
    """Return a run's verdict, or None where there is none that can be read."""
    try:
        values = msgspec.json.decode((run / VERDICT).read_bytes())
        return msgspec.convert({key: math.nan if value is None else value for key, value in values.items()}, Verdict)
    except (OSError, ValueError, AttributeError):
        return None
