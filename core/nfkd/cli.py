"""The command line: ``nfkd``. Exit codes: 0 done, 1 the run failed, 2 the input was refused."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from nfkd.config import ConfigError, ExperimentConfig, preset_names
from nfkd.engine import commands as engine_commands
from nfkd.terminal import Parser, say, standard_streams
from nfkd.text import plain

DONE, FAILED, REFUSED = 0, 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    try:
        with standard_streams():
            return _perform(_parser().parse_args(arguments))
    except OSError as error:
        say(f"nfkd: the output cannot be written: {error.strerror}", stderr=True)
        return FAILED
    return DONE  # its reader has gone: `nfkd list | head`


def _perform(options: argparse.Namespace) -> int:
    # torch takes seconds to load: the light parts of the program come first, the rest where it is needed.
    try:
        return options.command(options)
    except ConfigError as error:
        say(f"nfkd: {error}", stderr=True)
        return REFUSED
    except BrokenPipeError:
        raise
    except KeyboardInterrupt:
        say("nfkd: interrupted", stderr=True)
        return FAILED
    except Exception as error:
        from nfkd.runs.errors import RunError

        if not isinstance(error, (RunError, OSError)):
            raise
        say(f"nfkd: {error}", stderr=True)
        return REFUSED


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="nfkd", description="Distil normalizing flows.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, words: str, function: Callable[[argparse.Namespace], int]) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=words, description=words)
        sub.set_defaults(command=function)
        return sub

    run = command("run", "Run an experiment: teacher, student, baseline, verdict.", _run)
    run.add_argument("experiment", metavar="EXPERIMENT|PRESET", help="a TOML file, or a preset's name")
    run.add_argument("--out", metavar="DIR", help="the run's directory (default: a new one under ./runs)")
    run.add_argument("--set", metavar="PATH=VALUE", action="append", default=[], help="such as student.hidden=32")
    run.add_argument("--fetch", action="store_true", help="download the data first where it is not here yet")
    run.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    listing = command("list", "List the runs in a directory.", _list)
    listing.add_argument("directory", metavar="DIR", nargs="?", default="runs")
    show = command("show", "Show a run: teacher, student and baseline side by side.", _show)
    show.add_argument("run", metavar="RUN")
    command("presets", "List the experiments that are shipped.", _presets)
    _data_arguments(command("data", "List, show, add and download data sets.", _data))
    recover = command("recover", "Make a run whose process was killed readable again.", _recover)
    recover.add_argument("run", metavar="RUN")
    export = command("export", "Write a run's curves as CSV or its pictures as PNG.", _export)
    export.add_argument("run", metavar="RUN")
    export.add_argument("--csv", action="store_true", help="every curve as a CSV file")
    export.add_argument("--figures", action="store_true", help="curves, samples, interpolation, matching as PNG")
    export.add_argument("--out", metavar="DIR", help="where to (default: inside the run)")
    inspect = command("inspect", "Show a flow layer by layer, and test its inverse and log-determinant.", _inspect)
    inspect.add_argument(
        "target", metavar="FLOW|RUN", help="a flow's or experiment's TOML, a preset, weights, or a run"
    )
    inspect.add_argument(
        "--shape", metavar="SIZES", type=_sizes, default=(), help="of an example, such as 3,32,32 or 6"
    )
    inspect.add_argument("--context", metavar="N", type=int, default=0, help="context features of each example")
    importing = command("import-weights", "Make a teacher of a Glow checkpoint of the authors' earlier code.", _import)
    importing.add_argument("file", metavar="FILE", help="written by torch.save, or .safetensors")
    importing.add_argument("--flow", metavar="TOML", required=True, help="levels, steps and hidden of that Glow")
    importing.add_argument("--out", metavar="FILE", default="teacher.safetensors", help="default: %(default)s")
    engine_commands.add_arguments(command("engine", "Speak to the studio's engine.", _engine))
    return parser


def _run(options: argparse.Namespace) -> int:
    config = ExperimentConfig.load(options.experiment, options.set)
    from nfkd.console import run_in_terminal
    from nfkd.data_commands import fetch_missing, in_full

    if options.fetch:
        fetch_missing(config)
    directory = Path(options.out).absolute() if options.out else None
    try:
        return run_in_terminal(config, directory, resume=options.resume)
    except ConfigError as error:
        raise in_full(error, config.data) from error


def _list(options: argparse.Namespace) -> int:
    from nfkd.console import print_runs
    from nfkd.runs.layout import list_runs

    rows, unreadable = list_runs(Path(options.directory))
    print_runs(rows)
    for words in unreadable:
        say(f"nfkd: {words}", stderr=True)
    return DONE


def _show(options: argparse.Namespace) -> int:
    from nfkd.console import print_summary
    from nfkd.runs.reader import open_run

    print_summary(open_run(options.run).snapshot())
    return DONE


def _presets(options: argparse.Namespace) -> int:
    del options
    for name in preset_names():
        say(f"{name:16}{ExperimentConfig.load(name).description}")
    return DONE


def _data_arguments(data: argparse.ArgumentParser) -> None:
    actions = data.add_subparsers(required=True, metavar="ACTION", dest="action")

    def action(name: str, words: str) -> argparse.ArgumentParser:
        return actions.add_parser(name, help=words, description=words)

    action("list", "List every kind of data, whether its files are there, and the data sets that were added.")
    show = action("show", "Show what is in a data set: counts, shapes, columns, and a picture where asked.")
    show.add_argument("word", metavar="NAME|KIND|PATH")
    show.add_argument("--picture", metavar="FILE.png", help="draw some examples: images, or points in the plane")
    add = action("add", "Give a data set a name, after a look whether it can be used.")
    add.add_argument("name", metavar="NAME", help="for `data = NAME` in an experiment")
    add.add_argument("word", metavar="PATH|KIND")
    add.add_argument("--force", action="store_true", help="take the name from another data set")
    for sub in (show, add):
        sub.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], help="such as scaling=robust")
    fetch = action("fetch", "Download what a data set lacks on this machine.")
    fetch.add_argument("words", metavar="KIND|NAME", nargs="+")


def _data(options: argparse.Namespace) -> int:
    from nfkd.data_commands import perform

    perform(options)
    return DONE


def _recover(options: argparse.Namespace) -> int:
    from nfkd.runs.recovery import recover

    say(recover(Path(options.run)))
    return DONE


def _export(options: argparse.Namespace) -> int:
    if not (options.csv or options.figures):
        say("nfkd: export what? Give --csv, --figures or both", stderr=True)
        return REFUSED
    from nfkd.runs.export import export_csv
    from nfkd.runs.figures import export_figures
    from nfkd.runs.reader import open_run

    record = open_run(options.run)
    written: list[Path] = []
    if options.csv:
        written += export_csv(record, Path(options.out or Path(options.run) / "csv"))
    if options.figures:
        written += export_figures(record, Path(options.out or Path(options.run) / "figures"))
    for path in written:
        say(plain(str(path)))
    return DONE


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(int(size) for size in text.split(","))


def _inspect(options: argparse.Namespace) -> int:
    from nfkd.console import print_inspection
    from nfkd.evaluation.inspect_target import inspect_target

    for inspection in inspect_target(options.target, options.shape, options.context):
        print_inspection(inspection)
    return DONE


def _import(options: argparse.Namespace) -> int:
    from nfkd.config.flow_file import read_flow_file
    from nfkd.console import print_imported
    from nfkd.runs.importing import import_weights, save_imported

    source, target = Path(options.file), Path(options.out).absolute()
    imported = import_weights(source, read_flow_file(options.flow, kind="glow"))
    save_imported(imported, target, source)
    print_imported(imported, target)
    return DONE


def _engine(options: argparse.Namespace) -> int:
    return engine_commands.perform(options.action)
