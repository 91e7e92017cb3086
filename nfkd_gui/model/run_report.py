"""What the inspector says of a run: its gap, settings, versions, events, and how to repeat it. No widgets."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable, Sequence
from pathlib import PurePath

import msgspec

from nfkd.config import ConfigError, ExperimentConfig
from nfkd.protocol.events import LogLine, StageSummary
from nfkd.protocol.gap import Gap
from nfkd.protocol.records import Verdict, with_fd_floor
from nfkd.protocol.roles import Role
from nfkd.protocol.view import RunView
from nfkd_gui.model.headline import ENOUGH_SEEDS
from nfkd_gui.model.summaries import flow_label, summary_of
from nfkd_gui.numbers import format_percent

_NO_BREAK = "\u00a0"
_MOST_EVENTS = 5
_NOT_AVERAGED = {"stage", "seed", "unit", "ended"}


def gap_interval(gap: Gap, verdict: Verdict | None) -> tuple[float, float]:
    """Return the 95 % interval of the share of the gap in test likelihood; NaN below two seeds."""
    if verdict is None or verdict.metric != "test likelihood":
        return math.nan, math.nan
    return verdict.low / gap.size, verdict.high / gap.size


def gap_caption(interval: tuple[float, float], seeds: int) -> str:
    """Return what stands beside the share: its interval, or how many seeds it rests on."""
    if 0 < seeds < ENOUGH_SEEDS:
        return f"of the gap closed · {seeds} of {ENOUGH_SEEDS} seeds"
    low, high = interval
    if math.isfinite(low):
        text = f"of the gap closed, 95 % interval {100 * low:.0f} to {format_percent(high)}"
        return text.replace("-", "−").replace(" %", _NO_BREAK + "%")
    return "of the gap closed"


def seeds_of(view: RunView) -> int:
    """Return the number of seeds whose student has ended."""
    return len({summary.seed for summary in view.summaries() if summary.stage == "student"})


def mean_figures(summaries: Iterable[StageSummary]) -> dict[Role, dict[str, float]]:
    """Return each flow's figures as means over its seeds; `over_seeds` is the standard deviation of the test figure."""
    by_role: dict[Role, list[StageSummary]] = {}
    for summary in summaries:
        by_role.setdefault(summary.stage, []).append(summary)
    names = [name for name in StageSummary.__struct_fields__ if name not in _NOT_AVERAGED]
    found: dict[Role, dict[str, float]] = {}
    for role, own in by_role.items():
        found[role] = {name: _mean([float(getattr(summary, name)) for summary in own]) for name in names}
        found[role]["over_seeds"] = _deviation([summary.test for summary in own])
    return found


def mean_floors(view: RunView) -> dict[str, float]:
    """Return the noise floor of each measure of samples, as a mean over seeds."""
    values: dict[str, list[float]] = {}
    for seed, started in view.seeds.items():
        own = [summary for summary in view.summaries() if summary.seed == seed]
        for name, floor in with_fd_floor(started.floors, own).items():
            values.setdefault(name, []).append(floor)
    return {name: _mean(own) for name, own in values.items()}


def _mean(values: Sequence[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else math.nan


def _deviation(values: Sequence[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    if len(finite) < 2:
        return math.nan
    mean = sum(finite) / len(finite)
    return math.sqrt(sum((value - mean) ** 2 for value in finite) / (len(finite) - 1))


def settings_of(view: RunView) -> list[tuple[str, str]]:
    """Return the main settings as names and values; empty if the stored experiment cannot be read."""
    try:
        config = ExperimentConfig.from_toml(view.config)
    except ConfigError:
        return []
    training = config.training
    flows = [flow_label(flow) for flow in (config.teacher, *config.assistants, config.student)]
    return [
        ("Data", view.row.data or config.data.kind),
        ("Flows", " → ".join(flows)),
        ("Loss", summary_of("distillation", config.distillation.model_dump(), None)),
        ("Training", summary_of("training", training.model_dump(), None)),
        ("Batch", f"{training.batch_size:,} examples"),
        ("Seeds", summary_of("seeds", config.seeds.model_dump(), None)),
    ]


def versions_of(view: RunView) -> str:
    """Return the versions, the device and the start of a run; versions are known once its first seed has started."""
    started = next(iter(view.seeds.values()), None)
    versions = started.versions if started is not None else {}
    names = {"nfkd": "NFKD", "torch": "torch", "python": "Python"}
    parts = [f"{title} {versions[name]}" for name, title in names.items() if name in versions]
    row = view.row
    how = row.start.describe() if row.start is not None else ""
    return " · ".join(filter(None, [*parts, row.device, how]))


def repeat_command(view: RunView) -> str:
    """Return the command that runs the stored experiment again."""
    return f"nfkd run {shlex.quote(str(PurePath(view.row.run) / 'experiment.toml'))}"


def events_of(view: RunView) -> list[LogLine]:
    """Return the newest lines of the log that the inspector does not show elsewhere."""
    shown = set(view.verdict.sentences()) if view.verdict is not None else set()
    alone = "Seed 1: " if view.row.seeds == 1 else ""
    lines = [msgspec.structs.replace(line, text=_sentence(line.text.removeprefix(alone)))
             for line in view.log if line.text not in shown]  # fmt: skip
    return lines[-_MOST_EVENTS:]


def _sentence(text: str) -> str:
    """Return a line with a capital letter, unless it begins with the path of a setting."""
    return text if "." in text.partition(" ")[0] else text[:1].upper() + text[1:]
