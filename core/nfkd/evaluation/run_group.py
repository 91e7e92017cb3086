"""Runs that are reported together: found in folders, with unusable ones noted, and grouped by their data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nfkd.config.run_filter import Value
from nfkd.evaluation.comparison import ComparedRun
from nfkd.evaluation.report_parts import without_folders
from nfkd.protocol.records import RunRow
from nfkd.runs.errors import RunError
from nfkd.runs.layout import is_run, run_paths
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
    """

    label: str
    record: RunRecord
    settings: dict[str, Value]

    @property
    def compared(self) -> ComparedRun:
        """The run for `compare_runs`."""
        return ComparedRun(self.label, self.settings, self.record.summary)


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
        Name of each run that is left out, and why; without paths of folders.
    """

    title: str
    groups: list[DataGroup]
    notes: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])


def find_run_paths(paths: Sequence[Path]) -> list[Path]:
    """Return the directories of runs: those that are named, and those inside named folders, each once, by name.

    Raises
    ------
    RunError
        When a path is neither a run nor a folder with runs.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        inside = [path] if is_run(path) else sorted(run_paths(path))
        if not inside:
            title, cause = "There is no run to report", f"{path} is not a run, and no folder with runs."
            raise RunError(title, cause, "Name the directories of runs, or a folder that contains them.")
        found |= {run.resolve(): run.absolute() for run in inside}
    return list(found.values())


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
            runs.append(GroupedRun(label, record, settings_of(record.config)))
        else:
            notes.append((label, without_folders(reason, folders)))
    title = paths[0].absolute().name if len(paths) == 1 else f"{len(found)} runs"
    return RunGroup(plain(title), _by_data(runs), notes)


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
        settings = sorted((name, str(value)) for name, value in run.settings.items() if name.startswith("data."))
        fingerprint = next((seed.data for seed in run.record.seeds.values()), "")
        groups.setdefault((*settings, fingerprint), []).append(run)
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
