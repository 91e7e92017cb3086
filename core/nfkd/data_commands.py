"""What ``nfkd data`` does: list, show, add and fetch data sets."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Self

from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn
from rich.table import Table

from nfkd.config import ConfigError, ConfigProblem, DataConfig, ExperimentConfig
from nfkd.config.datasets import DATA_KINDS, add_dataset, dataset_name_problems, dataset_names, parse_data
from nfkd.data import DataError, Dataset, NotFetchedError, fetch_dataset, load_dataset
from nfkd.data.preview import preview_dataset
from nfkd.data.sources import SOURCES
from nfkd.planning.describe import describe
from nfkd.protocol.data import ColumnStatistics, DataPreview
from nfkd.runs.figures import export_look
from nfkd.terminal import say, terminal
from nfkd.text import plain

_LONGEST = 120
"""Characters of a name in a table."""
_MISSING = "data.kind"
"""Where a problem of data that is not downloaded yet is told."""


def perform(options: argparse.Namespace) -> None:
    """Run the command of the arguments.

    Raises
    ------
    ConfigError
        When a data set is refused, with every problem.
    """
    match options.action:
        case "list":
            _list()
        case "show":
            _show(parse_data(options.word, overrides=options.set), options.picture)
        case "add":
            _add(options)
        case _:
            for config in [parse_data(word) for word in options.words]:
                say(fetch(config))


# --- list -------------------------------------------------------------------------------------------------------------


def _list() -> None:
    table = Table(box=None, pad_edge=False)
    for name in ("kind", "what it is", "example", "files"):
        table.add_column(name, no_wrap=name != "what it is")
    for kind in DATA_KINDS:
        source = SOURCES[kind]
        what = (source.config.model_fields["kind"].description or "").rstrip(".")
        table.add_row(kind, what, source.shape, _state(source.config()))  # type: ignore[arg-type]
    terminal().print(table)
    say("\nAdded by you:" if dataset_names() else "\nNone added yet: nfkd data add NAME PATH")
    added = Table(box=None, pad_edge=False, show_header=False)
    for name in dataset_names():
        added.add_row(*(plain(text, _LONGEST) for text in (f"  {name}", *_added(name))))
    if dataset_names():
        terminal().print(added)


def _state(config: DataConfig) -> str:
    """Say whether the files of a kind are there."""
    try:
        SOURCES[config.kind].find(config)
    except NotFetchedError as error:
        return f"to download{_megabytes(error)}"
    except DataError:
        return "give its path"  # nothing is wrong with a kind that wants one
    return "there"


def _megabytes(error: NotFetchedError) -> str:
    return f", {error.size / 1e6:,.0f} MB" if error.size else ""


def _added(name: str) -> tuple[str, str]:
    """Return a data set's kind, and where its files are or what is wrong."""
    kind = ""
    try:
        config = parse_data(name)
        kind = config.kind
        SOURCES[kind].find(config)
    except NotFetchedError as error:
        return kind, f"to download{_megabytes(error)}"
    except (ConfigError, DataError) as error:
        return kind, "; ".join(problem.message for problem in error.problems)
    return kind, getattr(config, "path", "") or getattr(config, "folder", "") or "there"


# --- show -------------------------------------------------------------------------------------------------------------


def _show(config: DataConfig, picture: str | None) -> None:
    _loaded(config)
    look = preview_dataset(config)
    target = None if picture is None else _target(look, picture)
    say(look.summary)
    levels = f", {look.levels} levels" if look.levels else ""
    say(f"likelihood in {look.unit}{levels}")
    if look.columns:
        terminal().print(_columns(look.columns))
    if target is not None:
        say(plain(str(export_look(look, target))))


def _columns(columns: list[ColumnStatistics]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("column")
    figures = ("least", "mean", "deviation", "greatest")
    lacking = any(column.missing for column in columns)
    for name in (*figures, "missing") if lacking else figures:
        table.add_column(name, justify="right")
    for column in columns:
        row = [f"{value:.6g}" for value in (column.low, column.mean, column.deviation, column.high)]
        table.add_row(plain(column.name, _LONGEST), *row, *([f"{column.missing:,}"] if lacking else []))
    return table


def _target(look: DataPreview, picture: str) -> Path:
    path = Path(picture)
    message = ""
    if look.images is None and look.points is None:
        message = "there is no picture of a table: images and points in the plane have one"
    elif path.suffix.lower() != ".png":
        message = f"{picture} does not end with .png"
    elif not path.absolute().parent.is_dir():
        message = f"there is no folder {path.absolute().parent}"
    if message:
        raise ConfigError([ConfigProblem("--picture", message)])
    return path


# --- add and fetch ----------------------------------------------------------------------------------------------------


def _add(options: argparse.Namespace) -> None:
    problems = dataset_name_problems(options.name, replace=options.force)
    config, dataset = None, None
    try:
        config = parse_data(options.word, overrides=options.set)
        dataset = _loaded(config)
    except ConfigError as error:
        problems += error.problems
    if problems or config is None or dataset is None:
        raise ConfigError(problems)
    path = add_dataset(options.name, config, replace=options.force)
    say(f"{dataset.summary}\nIt is in {path}. To use it: nfkd run … --set data={_quoted(options.name)}")


def _loaded(config: DataConfig) -> Dataset:
    try:
        return load_dataset(config)
    except DataError as error:
        raise in_full(ConfigError(error.problems), config) from error


def in_full(error: ConfigError, config: DataConfig) -> ConfigError:
    """Return a refusal as a terminal tells it: where data can be downloaded, also how to get it by hand."""
    try:
        SOURCES[config.kind].find(config)
    except NotFetchedError as missing:
        more = f", or by hand {missing.by_hand}"
        problems = [ConfigProblem(f.path, f.message + more) if f.path == _MISSING else f for f in error.problems]
        return ConfigError(problems, error.source)
    except DataError:
        pass  # it is among the problems already
    return error


def _quoted(name: str) -> str:
    return f"'{name}'" if " " in name else name


def fetch(config: DataConfig) -> str:
    """Download what a data set lacks, with a progress bar; return where it is now, in a sentence.

    Raises
    ------
    ConfigError
        When it cannot be downloaded, or names no files that are there.
    """
    try:
        with _Bars() as shown:
            fetch_dataset(config, shown)
        SOURCES[config.kind].find(config)
    except DataError as error:
        raise ConfigError(error.problems) from error
    return f"{config.kind} is there" + ("." if shown.came else " already.")


def fetch_missing(config: ExperimentConfig) -> None:
    """Download the data of an experiment where it is missing.

    Raises
    ------
    ConfigError
        When anything else is wrong with the experiment, so that nothing is downloaded for nothing; or as `fetch`.
    """
    try:
        SOURCES[config.data.kind].find(config.data)
    except NotFetchedError:
        problems = [
            ConfigProblem(problem.path, problem.message)
            for problem in describe(config).problems
            if problem.path != _MISSING
        ]
        if problems:
            raise ConfigError(problems, config.name) from None
        fetch(config.data)
    except DataError:
        return  # nothing that a download could mend: the run refuses it with all else


class _Bars:
    """One bar a file, fed by a download; nothing is shown before the first."""

    def __init__(self) -> None:
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        self._bars = Progress(*columns, console=terminal(stderr=True))
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.came:
            self._bars.stop()

    @property
    def came(self) -> bool:
        """Whether anything was downloaded or unpacked."""
        return bool(self._tasks)

    def __call__(self, name: str, done: int, total: int) -> None:
        if not self.came:
            self._bars.start()
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name, total=None)
        self._bars.update(self._tasks[name], completed=done, total=total or None)
