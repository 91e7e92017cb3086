"""``nfkd data``: list, show, add, rename, remove and fetch data sets, and clear their copies."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn
from rich.table import Table

from nfkd.config import ConfigError, ConfigProblem, DataConfig, ExperimentConfig
from nfkd.config.datasets import (
    DATA_KINDS,
    add_dataset,
    dataset_name_problems,
    dataset_names,
    parse_data,
    remove_dataset,
    rename_dataset,
)
from nfkd.data import DataError, Dataset, NotFetchedError, fetch_dataset, load_dataset
from nfkd.data.cached_copies import cached_copies, remove_copies
from nfkd.data.index_cache import indexes_folder
from nfkd.data.preview import preview_dataset, suggest_settings
from nfkd.data.progress import reporting
from nfkd.data.sources import SOURCES
from nfkd.planning.describe import describe
from nfkd.protocol.data import ColumnStatistics, DataPreview
from nfkd.terminal import say, terminal
from nfkd.text import plain

_MAX_CELL = 120  # characters of a text in a table
_NOT_FETCHED = "data.kind"  # path of the problem of data that is not downloaded yet


def perform(options: argparse.Namespace) -> None:
    """Run an ``nfkd data`` command.

    Raises
    ------
    ConfigError
        With all problems of a data set that is refused.
    """
    match options.action:
        case "list":
            _list()
        case "show":
            _show(parse_data(options.target, overrides=options.set), options.picture)
        case "add":
            _add(options)
        case "rename":
            path = rename_dataset(options.name, options.new, replace=options.force)
            say(f"Renamed to {_quoted(options.new)} ({path}). {_old_name_note(options.name)}")
        case "remove":
            path = remove_dataset(options.name)
            say(f"Removed {path}; the files of the data set stay. {_old_name_note(options.name)}")
        case "clear":
            count, freed = remove_copies()
            copies = "1 copy" if count == 1 else f"{count:,} copies"
            say(f"Removed {copies} of your data, {freed / 1e6:,.0f} MB; your files stay.")
        case _:
            for config in [parse_data(target) for target in options.targets]:
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
    say(
        "\nYour data sets:"
        if dataset_names()
        else "\nNo data sets of your own yet; add one with: nfkd data add NAME PATH"
    )
    added = Table(box=None, pad_edge=False, show_header=False)
    for name in dataset_names():
        added.add_row(*(plain(text, _MAX_CELL) for text in (f"  {name}", *_added(name))))
    if dataset_names():
        terminal().print(added)
    if copies := cached_copies():
        size = sum(copy.size for copy in copies) / 1e6
        say(f"\nCopies of your data, to read it from disk: {size:,.0f} MB in {indexes_folder()}")
        say("To remove them: nfkd data clear")
        for copy in copies:
            say(f"  {copy.size / 1e6:>9,.1f} MB  {plain(copy.source, _MAX_CELL)}")


def _state(config: DataConfig) -> str:
    """Describe whether the files of a kind are present."""
    try:
        SOURCES[config.kind].find(config)
    except NotFetchedError as error:
        return f"to download{_megabytes(error)}"
    except DataError:
        return "give its path"
    return "present"


def _megabytes(error: NotFetchedError) -> str:
    return f", {error.size / 1e6:,.0f} MB" if error.size else ""


def _added(name: str) -> tuple[str, str]:
    """Return the kind of a data set, and the path of its files or its problems."""
    kind = ""
    try:
        config = parse_data(name)
        kind = config.kind
        SOURCES[kind].find(config)
    except NotFetchedError as error:
        return kind, f"to download{_megabytes(error)}"
    except (ConfigError, DataError) as error:
        return kind, "; ".join(problem.message for problem in error.problems)
    return kind, getattr(config, "path", "") or getattr(config, "folder", "") or "present"


# --- show -------------------------------------------------------------------------------------------------------------


def _show(config: DataConfig, picture: str | None) -> None:
    _loaded(config)
    preview = preview_dataset(config)
    target = None if picture is None else _picture_path(preview, picture)
    say(preview.summary)
    levels = f", {preview.levels} levels" if preview.levels else ""
    say(f"likelihood in {preview.unit}{levels}")
    if preview.reading:
        say(f"read as: {preview.reading}")
    if preview.columns:
        terminal().print(_columns(preview.columns))
    for line in _notes(preview):
        say(plain(line))
    if target is not None:
        from nfkd.runs.figures import export_preview  # loads matplotlib

        say(plain(str(export_preview(preview, target))))


def _notes(preview: DataPreview) -> Iterator[str]:
    """Yield a line for each column that is not used, and for each warning."""
    for column in preview.unused:
        yield f"not used: {plain(column.name, _MAX_CELL)}: {column.reason}"
    if preview.more_unused:
        yield f"not used: {preview.more_unused:,} more columns"
    for warning in preview.warnings:
        yield f"warning: {warning}"


def _columns(columns: list[ColumnStatistics]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("column")
    figures = ("min", "mean", "deviation", "max")
    has_missing = any(column.missing for column in columns)
    for name in (*figures, "missing") if has_missing else figures:
        table.add_column(name, justify="right")
    for column in columns:
        row = [f"{value:.6g}" for value in (column.low, column.mean, column.deviation, column.high)]
        table.add_row(plain(column.name, _MAX_CELL), *row, *([f"{column.missing:,}"] if has_missing else []))
    return table


def _picture_path(preview: DataPreview, picture: str) -> Path:
    path = Path(picture)
    message = ""
    if preview.images is None and preview.points is None:
        message = "a table has no picture; only images and points in the plane have one"
    elif path.suffix.lower() != ".png":
        message = f"{picture} does not end with .png"
    elif not path.absolute().parent.is_dir():
        message = f"there is no folder {path.absolute().parent}"
    if message:
        raise ConfigError([ConfigProblem("--picture", message)])
    return path


# --- the user's names, and fetch --------------------------------------------------------------------------------------


def _add(options: argparse.Namespace) -> None:
    problems = dataset_name_problems(options.name, replace=options.force)
    config, dataset = None, None
    try:
        config = _with_suggestion(parse_data(options.target, overrides=options.set))
        dataset = _loaded(config)
    except ConfigError as error:
        problems += error.problems
    if problems or config is None or dataset is None:
        raise ConfigError(problems)
    path = add_dataset(options.name, config, replace=options.force)
    say(f"{dataset.summary}\nSaved as {path}. To use it: nfkd run … --set data={_quoted(options.name)}")


def _with_suggestion(config: DataConfig) -> DataConfig:
    """Return a config with settings that fit its files, such as the size of images, where none were given."""
    fitting = {name: value for name, value in suggest_settings(config).items() if name not in config.model_fields_set}
    return config.model_copy(update=fitting)


def _old_name_note(name: str) -> str:
    return f"Experiments with data = {name!r} must be changed; runs keep their own copy of the settings."


def _loaded(config: DataConfig) -> Dataset:
    try:
        with reporting(lambda message: say(plain(message), stderr=True)):
            return load_dataset(config)
    except DataError as error:
        raise with_manual_download(ConfigError(error.problems), config) from error


def with_manual_download(error: ConfigError, config: DataConfig) -> ConfigError:
    """Add to the problem of missing data how to download it by hand."""
    try:
        SOURCES[config.kind].find(config)
    except NotFetchedError as missing:
        hint = f", or by hand {missing.by_hand}"
        problems = [ConfigProblem(p.path, p.message + hint) if p.path == _NOT_FETCHED else p for p in error.problems]
        return ConfigError(problems, error.source)
    except DataError:
        pass  # already among the problems
    return error


def _quoted(name: str) -> str:
    return f"'{name}'" if " " in name else name


def fetch(config: DataConfig) -> str:
    """Download the missing files of a data set, with a progress bar; return a message for the user.

    Raises
    ------
    ConfigError
        When the files cannot be downloaded, or a path in the config leads to no file.
    """
    try:
        with _DownloadBars() as bars:
            fetch_dataset(config, bars)
        SOURCES[config.kind].find(config)
    except DataError as error:
        raise ConfigError(error.problems) from error
    return f"{config.kind}: downloaded." if bars.used else f"{config.kind}: already present."


def fetch_missing(config: ExperimentConfig) -> None:
    """Download the data of an experiment if it is missing.

    Raises
    ------
    ConfigError
        When the experiment has other problems (nothing is downloaded then), or as in `fetch`.
    """
    try:
        SOURCES[config.data.kind].find(config.data)
    except NotFetchedError:
        problems = [
            ConfigProblem(problem.path, problem.message)
            for problem in describe(config).problems
            if problem.path != _NOT_FETCHED
        ]
        if problems:
            raise ConfigError(problems, config.name) from None
        fetch(config.data)
    except DataError:
        return  # a download does not help; the run reports the problem


class _DownloadBars:
    """A progress bar for each downloaded file; shows nothing before the first."""

    def __init__(self) -> None:
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        self._bars = Progress(*columns, console=terminal(stderr=True))
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.used:
            self._bars.stop()

    @property
    def used(self) -> bool:
        """Whether anything was downloaded or unpacked."""
        return bool(self._tasks)

    def __call__(self, name: str, done: int, total: int) -> None:
        if not self.used:
            self._bars.start()
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name, total=None)
        self._bars.update(self._tasks[name], completed=done, total=total or None)
