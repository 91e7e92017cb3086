"""Which runs a process trains, which can continue, and which this studio controls."""

from __future__ import annotations

from nfkd.protocol.run_rows import RunRow

LIVE = frozenset({"queued", "running", "paused"})
"""States of a run that a process trains or will train."""
RESUMABLE = frozenset({"interrupted", "stopped", "failed"})
"""States of a run that can continue from its checkpoint."""


def is_controllable(row: RunRow) -> bool:
    """Return whether the engine trains a run or will train it, so that it can be paused and stopped."""
    return row.state in LIVE and not row.elsewhere
