"""The figures of a run's finished stages, in a file of their own: opening HDF5 takes too long for thousands of runs."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from nfkd.files import read_limited, replace_file
from nfkd.protocol.events import StageSummary
from nfkd.runs.errors import RunError
from nfkd.runs.layout import RUN_FILE
from nfkd.runs.state import nulls_as_nan

FIGURES = "figures.json"
_MAX_BYTES = 4 << 20
_SEED = re.compile(r"seed-(\d{1,9})")
_DECODER = msgspec.json.Decoder(list[dict[str, float | str | None]])


def write_summaries(run: Path, summaries: Iterable[StageSummary]) -> None:
    """Write the figures of the stages that have ended; NaN becomes null."""
    replace_file(run / FIGURES, msgspec.json.format(msgspec.json.encode(list(summaries)), indent=2))


def read_summaries(run: Path) -> list[StageSummary]:
    """Return the figures of the stages that have ended; from the seeds' files if they have no file of their own.

    Raises
    ------
    RunError
        When a seed's file cannot be read.
    """
    with suppress(OSError, ValueError, ArithmeticError, RecursionError):
        content = msgspec.json.decode(read_limited(run / FIGURES, _MAX_BYTES))
        return msgspec.convert(nulls_as_nan(content), list[StageSummary])
    return _stored_summaries(run)


def read_figures(run: str) -> list[dict[str, float | str | None]]:
    """Return the same as `read_summaries` as one table for each stage, with None for NaN; faster for many runs."""
    with suppress(OSError, ValueError, ArithmeticError, RecursionError):
        found = _DECODER.decode(read_limited(f"{run}{os.sep}{FIGURES}", _MAX_BYTES))
        if all(isinstance(table.get("stage"), str) and isinstance(table.get("seed"), float) for table in found):
            return found
    try:
        return _DECODER.decode(msgspec.json.encode(_stored_summaries(Path(run))))
    except RunError:
        return []


def seed_files(run: str) -> list[Path]:
    """Return the HDF5 files of a run's seeds, in the order of the seeds, without reading its experiment."""
    try:
        with os.scandir(run) as entries:
            names = {entry.name for entry in entries if entry.name == RUN_FILE or entry.is_dir(follow_symlinks=False)}
    except OSError:
        return []
    if RUN_FILE in names:
        return [Path(run, RUN_FILE)]
    seeds = {int(found[1]): name for name in names if (found := _SEED.fullmatch(name))}
    return [path for seed in sorted(seeds) if (path := Path(run, seeds[seed], RUN_FILE)).is_file()]


def read_fingerprint(run: Path) -> str:
    """Return the fingerprint of a run's data as JSON; empty before it began, and for older versions."""
    from nfkd.runs.opening import open_file
    from nfkd.runs.schema import read_data

    for path in seed_files(str(run)):
        with suppress(RunError, ValueError), open_file(path, []) as file:
            return read_data(file)
    return ""


def _stored_summaries(run: Path) -> list[StageSummary]:
    from nfkd.runs import schema
    from nfkd.runs.opening import open_file

    found: list[StageSummary] = []
    for path in seed_files(str(run)):
        with open_file(path, ["summary"]) as file:
            started = schema.read_started(file)
            found += _ended(schema.read_summary(file, plan.stage, started.seed, plan.unit) for plan in started.stages)
    return found


def _ended(summaries: Iterable[StageSummary | None]) -> Sequence[StageSummary]:
    return [summary for summary in summaries if summary is not None]
