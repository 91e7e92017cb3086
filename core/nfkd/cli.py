"""The ``nfkd`` command. Exit codes: 0 done, 1 failed, 2 input refused, 130 interrupted."""

from __future__ import annotations

import argparse
import os
import textwrap
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from nfkd import evaluate_command, list_command, remote_command, sweep_command
from nfkd.config import ConfigError, ConfigProblem, ExperimentConfig, preset_names
from nfkd.engine import commands as engine_commands
from nfkd.terminal import INTERRUPTED, Parser, say, standard_streams, terminal
from nfkd.text import plain

DONE, FAILED, REFUSED = 0, 1, 2
_EXPORTS = {
    "csv": ("nfkd.runs.export", "export_csv"),
    "figures": ("nfkd.runs.figures", "export_figures"),
    "tensorboard": ("nfkd.runs.tensorboard", "export_tensorboard"),
    "weights": ("nfkd.runs.weights_export", "export_weights"),
}
"""Module and function of each kind of export."""
_NARROW = 40  # characters for a description; with less, it is below the name


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    try:
        with standard_streams():
            return _perform(_parser().parse_args(arguments))
    except OSError as error:
        say(f"nfkd: the output cannot be written: {error.strerror}", stderr=True)
        return FAILED
    return DONE  # the reader closed the pipe, as in `nfkd list | head`


def _perform(options: argparse.Namespace) -> int:
    # torch takes seconds to import: commands import what they need when they run.
    try:
        if options.engine is not None:
            if options.name == "export":
                _export_kinds(options)
            return remote_command.perform_remotely(options, _export_run)
        remote_command.refuse_remote_options(options)
        return options.command(options)
    except ConfigError as error:
        if os.environ.get("RANK", "0") == "0":  # of the processes of torchrun, one says it
            say(f"nfkd: {error}", stderr=True)
        return REFUSED
    except BrokenPipeError:
        raise
    except KeyboardInterrupt:
        say("nfkd: interrupted", stderr=True)
        return INTERRUPTED
    except Exception as error:
        from nfkd.runs.errors import RunError

        if not isinstance(error, (RunError, OSError)):
            raise
        say(f"nfkd: {error}", stderr=True)
        return REFUSED


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="nfkd", description="Distil normalizing flows.")
    remote_command.add_arguments(parser)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, text: str, function: Callable[[argparse.Namespace], int]) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(command=function, name=name)
        return sub

    _run_arguments(command("run", "Run an experiment: teacher, student, baseline, verdict.", _run))
    sweep_command.add_arguments(
        command("sweep", "Run an experiment with many values of its fields.", sweep_command.sweep_in_terminal)
    )
    list_command.add_arguments(command("list", "List the runs in a directory.", list_command.list_in_terminal))
    list_command.add_compare_arguments(
        command("compare", "Compare the students of runs of the same data.", list_command.compare_in_terminal)
    )
    evaluate_command.add_arguments(
        command("evaluate", "Add metrics to finished runs, with intervals.", evaluate_command.evaluate_in_terminal)
    )
    show = command("show", "Show a run: teacher, student and baseline side by side.", _show)
    show.add_argument("run", metavar="RUN")
    report = command("report", "Write a report of runs as one HTML or PDF file.", _report)
    report.add_argument("runs", metavar="RUN|FOLDER", nargs="+", help="a run, several runs, or a folder with runs")
    report.add_argument(
        "--out",
        metavar="FILE",
        help=".html or .pdf (default: report.html in the run or folder)",
    )
    command("presets", "List the presets (built-in experiments).", _presets)
    _data_arguments(command("data", "List, show, add and download data sets.", _data))
    recover = command("recover", "Repair the files of a run whose process was killed.", _recover)
    recover.add_argument("run", metavar="RUN")
    _export_arguments(command("export", "Export a run: CSV, PNG, TensorBoard, or weights.", _export))
    remote_command.add_copy_arguments(
        command("copy", "Copy a run of another machine to this one; needs --engine.", _copy)
    )
    _inspect_arguments(
        command("inspect", "Show a flow layer by layer, and test its inverse and log-determinant.", _inspect)
    )
    _import_arguments(
        command("import-weights", "Convert a Glow checkpoint of the authors' earlier code into a teacher.", _import)
    )
    engine_commands.add_arguments(command("engine", "Show or stop the engine process of the studio.", _engine))
    return parser


def _run_arguments(run: argparse.ArgumentParser) -> None:
    run.add_argument("experiment", metavar="EXPERIMENT|PRESET", help="a TOML file or the name of a preset")
    run.add_argument("--out", metavar="DIR", help="the run's directory (default: a new one under ./runs)")
    run.add_argument(
        "--set", metavar="PATH=VALUE", action="append", default=[], help="change a setting, such as student.hidden=32"
    )
    run.add_argument("--fetch", action="store_true", help="download missing data first")
    run.add_argument("--resume", action="store_true", help="continue the run in --out from its last checkpoint")


def _export_arguments(export: argparse.ArgumentParser) -> None:
    export.add_argument("run", metavar="RUN")
    export.add_argument("--csv", action="store_true", help="every curve as a CSV file")
    export.add_argument("--figures", action="store_true", help="curves, samples, interpolation, matching as PNG")
    export.add_argument("--tensorboard", action="store_true", help="curves, pictures and settings for TensorBoard")
    export.add_argument("--weights", action="store_true", help="every flow with its scaling and the experiment")
    export.add_argument("--out", metavar="DIR", help="output directory (default: one for each kind, inside the run)")


def _inspect_arguments(inspect: argparse.ArgumentParser) -> None:
    inspect.add_argument(
        "target", metavar="FLOW|RUN", help="TOML file of a flow or an experiment, preset, weights file, or run"
    )
    inspect.add_argument(
        "--shape", metavar="SIZES", type=_sizes, default=(), help="shape of an example, such as 3,32,32 or 6"
    )
    inspect.add_argument("--context", metavar="N", type=int, default=0, help="number of context features")


def _import_arguments(importing: argparse.ArgumentParser) -> None:
    importing.add_argument("file", metavar="FILE", help="checkpoint, written by torch.save or as .safetensors")
    importing.add_argument(
        "--flow", metavar="TOML", required=True, help="TOML file with levels, steps and hidden of that Glow"
    )
    importing.add_argument(
        "--out", metavar="FILE", default="teacher.safetensors", help="output file (default: %(default)s)"
    )


def _run(options: argparse.Namespace) -> int:
    config = ExperimentConfig.load(options.experiment, options.set)
    from nfkd.training.ranks import with_world, world_of

    world = world_of(os.environ)
    if world is not None:
        config = with_world(config, world)
    if world is None or world.size == 1:
        return _run_here(options, config)
    from nfkd.training.rank_process import follow_torchrun, leading

    if world.rank:
        return follow_torchrun(world, config.compute)
    with leading(world, config.compute, "torchrun") as ranks:
        return _run_here(options, config, ranks=ranks)


def _run_here(options: argparse.Namespace, config: ExperimentConfig, **ranks: Any) -> int:
    from nfkd.console import run_in_terminal
    from nfkd.data_commands import fetch_missing, with_manual_download

    if options.fetch:
        fetch_missing(config)
    directory = Path(options.out).absolute() if options.out else None
    try:
        return run_in_terminal(config, directory, resume=options.resume, **ranks)
    except ConfigError as error:
        raise with_manual_download(error, config.data) from error


def _show(options: argparse.Namespace) -> int:
    from nfkd.console import print_evaluation, print_summary
    from nfkd.runs.evaluation_file import read_evaluations
    from nfkd.runs.reader import open_run

    print_summary(open_run(options.run).snapshot())
    for evaluation in read_evaluations(Path(options.run)):
        print_evaluation(evaluation)
    return DONE


def _report(options: argparse.Namespace) -> int:
    from nfkd.evaluation.report_file import write_report

    out = Path(options.out) if options.out else None
    say(plain(str(write_report([Path(run) for run in options.runs], out))))
    return DONE


def _presets(options: argparse.Namespace) -> int:
    del options
    say(format_presets({name: ExperimentConfig.load(name).description for name in preset_names()}, terminal().width))
    return DONE


def format_presets(descriptions: Mapping[str, str], width: int) -> str:
    """Return presets and their descriptions in two columns or, in a narrow terminal, below each other."""
    column = max(map(len, descriptions)) + 2
    beside = width - column >= _NARROW
    indent = " " * (column if beside else 4)
    lines = []
    for name, description in descriptions.items():
        first = f"{name:{column}}" if beside else indent
        lines += [] if beside else [name]
        lines.append(textwrap.fill(description, width, initial_indent=first, subsequent_indent=indent))
    return "\n".join(lines)


def _data_arguments(data: argparse.ArgumentParser) -> None:
    actions = data.add_subparsers(required=True, metavar="ACTION", dest="action")

    def action(name: str, text: str) -> argparse.ArgumentParser:
        return actions.add_parser(name, help=text, description=text)

    action("list", "List all kinds of data, whether their files are present, and your own data sets.")
    show = action("show", "Show a data set: counts, shapes, columns and, with --picture, some examples.")
    show.add_argument("target", metavar="NAME|KIND|PATH")
    show.add_argument(
        "--picture", metavar="FILE.png", help="draw some examples (images or points in the plane) to a file"
    )
    add = action("add", "Register a data set under a name, after checking that it loads.")
    add.add_argument("name", metavar="NAME", help="name for `data = NAME` in an experiment")
    add.add_argument("target", metavar="PATH|KIND")
    rename = action("rename", "Give a data set of yours another name; experiments are not changed.")
    rename.add_argument("name", metavar="OLD")
    rename.add_argument("new", metavar="NEW")
    for sub in (add, rename):
        sub.add_argument("--force", action="store_true", help="replace the data set that has this name")
    remove = action("remove", "Remove the name of a data set of yours; its files stay.")
    remove.add_argument("name", metavar="NAME")
    for sub in (show, add):
        sub.add_argument(
            "--set", metavar="KEY=VALUE", action="append", default=[], help="change a setting, such as scaling=robust"
        )
    action("clear", "Remove the copies of your data that were made to read it from disk; your files stay.")
    fetch = action("fetch", "Download the missing files of data sets.")
    fetch.add_argument("targets", metavar="KIND|NAME", nargs="+")


def _data(options: argparse.Namespace) -> int:
    from nfkd.data_commands import perform

    perform(options)
    return DONE


def _recover(options: argparse.Namespace) -> int:
    from nfkd.runs.recovery import recover

    say(recover(Path(options.run)))
    return DONE


def _export(options: argparse.Namespace) -> int:
    return _export_run(options, Path(options.run), Path(options.run))


def _export_run(options: argparse.Namespace, run: Path, results: Path) -> int:
    """Export a run as the options say; without ``--out`` into a folder of `results` for each kind."""
    from nfkd.runs.reader import open_run

    kinds = _export_kinds(options)
    record = open_run(run)
    for kind in kinds:
        module, function = _EXPORTS[kind]
        export = getattr(import_module(module), function)
        for path in export(record, Path(options.out or results / kind)):
            say(plain(str(path)))
    return DONE


def _export_kinds(options: argparse.Namespace) -> list[str]:
    kinds = [kind for kind in _EXPORTS if getattr(options, kind)]
    if not kinds:
        message = f"nothing to export: give one or more of {', '.join(f'--{kind}' for kind in _EXPORTS)}"
        raise ConfigError([ConfigProblem("", message)])
    return kinds


def _copy(options: argparse.Namespace) -> int:
    raise ConfigError([ConfigProblem("copy", f"needs a machine to copy from: nfkd --engine HOST copy {options.run}")])


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
