"""Runs that are reported together: found in folders, with unusable ones noted, and grouped by their data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nfkd.config import ConfigError
from nfkd.config.run_filter import Value
from nfkd.config.sweep import SweepConfig
from nfkd.evaluation.comparison import ComparedRun
from nfkd.evaluation.report_parts import without_folders
from nfkd.evaluation.report_sweep import read_sweep
from nfkd.protocol.run_rows import RunRow
from nfkd.runs.errors import RunError, describe_error
from nfkd.runs.evaluation_file import EvaluatedMetric, own_test_values, read_evaluations
from nfkd.runs.finding import find_runs
from nfkd.runs.layout import is_run
from nfkd.runs.reader import RunRecord
from nfkd.runs.run_values import settings_of
from nfkd.text import is_utf8_name, plain


@dataclass(frozen=True)
class GroupedRun:
    """A finished run of a group.

    Attributes
    ----------
    label
        Its name; with that of its folder, if another run of the group has the same.
    record
        The run, without curves and pictures.
    settings
        Every setting by its dotted path.
    evaluated
        Metrics that ``nfkd evaluate`` has added, on its own test data.
    """

    label: str
    record: RunRecord
    settings: dict[str, Value]
    evaluated: Sequence[EvaluatedMetric] = ()

    @property
    def compared(self) -> ComparedRun:
        """The run for `compare_runs`."""
        record = self.record
        verdict = record.verdict.verdict if record.verdict is not None else ""
        fingerprint = next((seed.data for seed in record.seeds.values()), "")
        return ComparedRun(self.label, self.settings, record.summary, verdict, self.evaluated, fingerprint)


@dataclass(frozen=True)
class DataGroup:
    """The runs of one data set."""

    title: str
    runs: list[GroupedRun]


@dataclass(frozen=True)
class RunGroup:
    """Runs that are reported together.

    Attributes
    ----------
    title
        Name of the folder, or of the runs.
    groups
        Finished runs by data set.
    notes
        Name of each run or file that is left out, and why; without paths of folders.
    sweep
        The sweep of the folder; None without one.
    """

    title: str
    groups: list[DataGroup]
    notes: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    sweep: SweepConfig | None = None


def find_run_paths(paths: Sequence[Path]) -> list[Path]:
    """Return the directories of runs: those that are named, and those inside named folders, each once, by name.

    Raises
    ------
    RunError
        When a path is neither a run nor a folder with runs, or cannot be read.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        inside = [path] if is_run(path) else _runs_in(path)
        if not inside:
            title, cause = "There is no run to report", f"{path} is not a run, and no folder with runs."
            raise RunError(title, cause, "Name the directories of runs, or a folder that contains them.")
        found |= {run.resolve(): run.absolute() for run in inside}
    return list(found.values())


def _runs_in(folder: Path) -> list[Path]:
    try:
        return sorted(Path(found.path) for found in find_runs(str(folder)))
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        title, cause = "The runs cannot be listed", f"{folder}: {describe_error(error)}."
        raise RunError(title, cause, "Choose another folder.") from error


def read_group(paths: Sequence[Path]) -> RunGroup:
    """Return some runs, grouped by data; those that cannot be read or have not finished are in its notes.

    Parameters
    ----------
    paths
        As for `find_run_paths`.

    Raises
    ------
    RunError
        As `find_run_paths`.
    """
    found = find_run_paths(paths)
    folders = list({folder for path in found for folder in (path.parent, path.parent.resolve())})
    names = Counter(path.name for path in found)
    runs: list[GroupedRun] = []
    notes: list[tuple[str, str]] = []
    for path in found:
        label = plain(path.name if names[path.name] == 1 else f"{path.parent.name}/{path.name}")
        reason, record = "", None
        try:
            record = _read(path)
            reason = _unfinished(record)
        except RunError as error:
            reason = f"{error.title}: {error.cause}"
        if record is not None and not reason:
            evaluated, reason = _evaluated(path)
            runs.append(GroupedRun(label, record, settings_of(record.config), evaluated))
        if reason:
            notes.append((label, without_folders(reason, folders)))
    title = paths[0].absolute().name if len(paths) == 1 else f"{len(found)} runs"
    sweep = None
    try:
        sweep = read_sweep(paths[0]) if len(paths) == 1 else None
    except ConfigError as error:
        reason = f"The sweep's file cannot be read: {'; '.join(map(str, error.problems))}."
        notes.append(("sweep.toml", without_folders(reason, folders)))
    return RunGroup(plain(title), _by_data(runs), notes, sweep)


def _evaluated(path: Path) -> tuple[Sequence[EvaluatedMetric], str]:
    """Return what ``nfkd evaluate`` has added to a run, and why it cannot be read."""
    try:
        return own_test_values(read_evaluations(path)), ""
    except RunError as error:
        return (), f"Only its evaluated metrics are left out: {error.cause}"


def _read(path: Path) -> RunRecord:
    if not is_utf8_name(path.name):
        title = "The run cannot be read"
        raise RunError(title, "Its name is not valid UTF-8.")
    return RunRecord(path, figures_only=True)


def _unfinished(record: RunRecord) -> str:
    """Return why a run is not compared; empty if it has finished."""
    row: RunRow = record.row
    if row.state == "finished":
        return ""
    if row.state in {"running", "paused", "queued"}:
        return f"It is {row.state}: {100 * row.progress:.0f} % done."
    if row.state == "stopped":
        return f"It was stopped after {100 * row.progress:.0f} %."
    error = record.error
    cause = f"{error.title}. {error.cause}" if error is not None else row.cause
    return f"It {'failed' if row.state == 'failed' else 'was interrupted'}{f': {cause}' if cause else '.'}"


def _by_data(runs: Iterable[GroupedRun]) -> list[DataGroup]:
    """Group runs by the settings and the fingerprint of their data."""
    groups: dict[tuple[object, ...], list[GroupedRun]] = {}
    for run in runs:
        compared = run.compared
        settings = sorted((name, str(value)) for name, value in compared.data.items())
        groups.setdefault((*settings, compared.fingerprint), []).append(run)
    labels = Counter(members[0].record.row.data for members in groups.values())
    varied = _varied([members[0] for members in groups.values()])
    found: list[DataGroup] = []
    for members in groups.values():
        label = members[0].record.row.data
        if labels[label] > 1:
            shown = [f"{name.removeprefix('data.')} = {members[0].settings.get(name)}" for name in varied]
            label = f"{label} ({without_folders(', '.join(shown)) or f'version {len(found) + 1}'})"
        found.append(DataGroup(plain(label), members))
    return found


def _varied(runs: Sequence[GroupedRun]) -> list[str]:
    names = sorted({name for run in runs for name in run.settings if name.startswith("data.")})
    return [name for name in names if len({str(run.settings.get(name)) for run in runs}) > 1]
