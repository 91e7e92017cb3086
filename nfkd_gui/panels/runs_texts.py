"""Texts of the table of runs: verdicts, states and tooltips."""

from __future__ import annotations

from PySide6.QtCore import Qt

from nfkd.protocol.run_rows import RunRow
from nfkd.text import plain
from nfkd_gui.model.headline import ENOUGH_SEEDS
from nfkd_gui.model.run_columns import ColumnFormat, RunColumn
from nfkd_gui.model.run_groups import RunGroup
from nfkd_gui.widgets.chip import ChipTone, verdict_tone
from nfkd_gui.widgets.labels import tip

LONGEST = 200
"""Characters of a name, tag or verdict that are shown."""


def verdict_chip(group: RunGroup) -> tuple[str, ChipTone] | None:
    """Return text and tone of the verdict's chip; below three seeds it says so in place of a verdict."""
    row = group.rows[0]
    if not row.verdict:
        return None
    if row.seeds_done < ENOUGH_SEEDS:
        return f"{row.seeds_done} of {max(row.seeds, ENOUGH_SEEDS)} seeds", "neutral"
    return plain(row.verdict, LONGEST).capitalize(), verdict_tone(row.verdict)


def state_label(row: RunRow, progress: float) -> str:
    """Return the state of a run with how much is done."""
    state = f"{row.state} {100 * progress:.0f} %" if row.state in {"running", "paused"} else row.state
    return f"{state}, another process" if row.elsewhere else state


def alignment(shown: ColumnFormat) -> Qt.AlignmentFlag:
    """Return the alignment of a column: numbers to the right."""
    side = Qt.AlignmentFlag.AlignRight if shown.numeric else Qt.AlignmentFlag.AlignLeft
    return side | Qt.AlignmentFlag.AlignVCenter


def head_tip(column: RunColumn) -> str:
    """Return the tooltip of a column's head."""
    title = column.long_title if column.long_title != column.title else ""
    return "\n".join(text for text in (title, column.tip, f"In a filter: {column.name}") if text)


def cell_tip(row: RunRow, text: str, name: str) -> str:
    """Return the tooltip of a cell with a text; that of a run's name tells more of it."""
    if name != "name":
        return tip(text)
    seeds = f"{row.seeds_done} of {row.seeds} seeds" if row.seeds > 1 else "one seed"
    lines = [f"{row.data} · {row.teacher} → {row.student} · {seeds}", row.device, row.cause, row.verdict, row.note,
             row.run]  # fmt: skip
    return tip("\n".join(line for line in lines if line))
