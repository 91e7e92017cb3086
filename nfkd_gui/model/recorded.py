"""What a preset achieves and how long it takes: from a run in the studio's folder, else as recorded."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import msgspec

from nfkd.config import ExperimentConfig
from nfkd.protocol.events import RunRow
from nfkd_gui.resources import resource_path


class Figures(msgspec.Struct, frozen=True):
    """Figures of an experiment.

    Attributes
    ----------
    digest
        `ExperimentConfig.digest` of the experiment.
    seconds
        Time of a run, for the seeds of the experiment; 0 where it is not known.
    gap
        Share of the gap between baseline and teacher that the student closes; None where it is not known.
    seeds
        Number of seeds of the gap.
    verdict
        *better*, *worse* or *inconclusive*; empty without one.
    here
        Whether the time was measured on this machine.
    """

    digest: str
    seconds: float = 0.0
    gap: float | None = None
    seeds: int = 0
    verdict: str = ""
    here: bool = False


@cache
def recorded() -> dict[str, Figures]:
    """Return the figures of presets that come with NFKD (``tests/benchmarks/presets.py`` makes them), by name."""
    return msgspec.json.decode(resource_path("recorded.json").read_bytes(), type=dict[str, Figures])


def figures_of(preset: str, config: ExperimentConfig, rows: Iterable[RunRow]) -> Figures:
    """Return the figures of a preset: the newest finished run of it, where there is one, before what was recorded.

    The recorded gap stays if the run has fewer seeds.
    """
    digest = config.digest()
    known = recorded().get(preset, Figures(digest))
    if known.digest != digest:
        known = Figures(digest)
    runs = [row for row in rows if row.digest == digest and row.state == "finished"]
    for row in sorted(runs, key=lambda row: row.created):
        if row.seeds == config.seeds.count:
            known = msgspec.structs.replace(known, seconds=row.seconds, here=True)
        if row.gap_closed is not None and row.seeds >= known.seeds:
            known = msgspec.structs.replace(known, gap=row.gap_closed, seeds=row.seeds, verdict=row.verdict)
    return known
