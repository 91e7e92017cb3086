"""``nfkd evaluate``: adds metrics to finished runs."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from nfkd.config import ConfigError, ConfigProblem
from nfkd.config.run_filter import Value
from nfkd.protocol.comparing import METRIC_GROUPS
from nfkd.table_formats import WRITERS, Row, write_table
from nfkd.terminal import say, terminal

if TYPE_CHECKING:
    import torch

    from nfkd.config import ExperimentConfig
    from nfkd.evaluation.evaluate_run import EvaluatedRun


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("runs", metavar="RUN", nargs="+", help="finished runs")
    parser.add_argument(
        "--metrics",
        metavar="NAMES",
        default="",
        help=f"metrics, or groups of them ({', '.join(METRIC_GROUPS)}), separated by commas; default: all but jacobi",
    )
    parser.add_argument(
        "--data",
        metavar="NAME|PATH",
        default="",
        help="validation, or another data set of the same shape: a name, a kind, a preset, a file; default: the run's "
        "test data",
    )
    parser.add_argument(
        "--samples", metavar="N", type=int, default=0, help="samples of each flow; default: as many as test examples"
    )
    parser.add_argument(
        "--inception",
        metavar="FILE",
        default="",
        help="TorchScript file of the Inception network for fid; it holds code: use one from a source that you trust",
    )
    parser.add_argument("--device", metavar="DEVICE", help="auto, cpu, mps, cuda or cuda:1; default: that of the run")
    parser.add_argument("--format", choices=["table", *WRITERS], default="table")


def evaluate_in_terminal(options: argparse.Namespace) -> int:
    """Evaluate runs, and print what was added to each.

    Raises
    ------
    ConfigError
        When an option cannot be used, or the runs have different data and ``--data`` is given.
    RunError
        When a run cannot be evaluated.
    """
    from nfkd.evaluation.evaluate_run import evaluate_run
    from nfkd.evaluation.evaluated_metrics import choose_metrics
    from nfkd.planning.devices import thread_count
    from nfkd.runs.layout import read_config

    names = [name for name in options.metrics.split(",") if name.strip()]
    choose_metrics(names)  # reports an unknown name at once
    configs = {run: read_config(Path(run)) for run in options.runs}
    if options.data:
        _require_same_data(configs)
    rows, notes = list[Row](), list[str]()
    for run, config in configs.items():
        _set_threads(thread_count(config.compute))
        with _bar() as bar:
            task = bar.add_task(Path(run).name, total=1.0, what="")
            found = evaluate_run(
                run,
                names,
                data=options.data,
                inception=options.inception,
                samples=options.samples,
                device=_device(config, options.device),
                on_progress=lambda share, text, bar=bar, task=task: bar.update(task, completed=share, what=text),
            )
        rows += [{"run": Path(run).name, **row} for row in evaluation_rows(found)]
        notes += found.notes
    columns = list(dict.fromkeys(name for row in rows for name in row))
    write_table(options.format, [name for name in columns if name != "run" or len(configs) > 1], rows)
    for note in dict.fromkeys(notes):
        say(f"nfkd: {note}", stderr=True)
    return 0


def evaluation_rows(found: EvaluatedRun) -> Iterator[Row]:
    """Yield a row for each metric and flow, those of one metric together.

    The share of the gap to the teacher stands in the rows of students.
    """
    from nfkd.evaluation.evaluate_run import evaluated_gap

    order = {name: number for number, name in enumerate(dict.fromkeys(each.metric for each in found.evaluation.values))}
    for value in sorted(found.evaluation.values, key=lambda value: order[value.metric]):
        gap = evaluated_gap(found.evaluation.values, value.metric) if value.stage == "student" else None
        row: dict[str, Value] = {"metric": value.metric, "flow": value.stage, "seed": value.seed}
        numbers = {"value": value.value, "low": value.low, "high": value.high}
        row |= {name: _number(number) for name, number in numbers.items()}
        row |= {"N": value.count, "train vs test": _number(value.reference), "unit": value.unit}
        yield row | {"gap closed": None if gap is None else _number(gap.closed)}


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _device(config: ExperimentConfig, chosen: str | None) -> torch.device:
    from nfkd.planning.devices import device_problems, resolve_device

    compute = config.compute
    try:
        compute = compute if chosen is None else config.replace(compute={"device": chosen}).compute
        problems = device_problems(compute)
    except ConfigError as error:
        problems = error.problems
    if problems:
        raise ConfigError([ConfigProblem("--device", problem.message) for problem in problems])
    return resolve_device(compute)


def _set_threads(count: int) -> None:
    import torch

    torch.set_num_threads(count)


def _require_same_data(configs: dict[str, ExperimentConfig]) -> None:
    from nfkd.evaluation.comparison import ComparedRun, DifferentDataError, require_same_data
    from nfkd.runs.run_values import settings_of

    try:
        require_same_data([ComparedRun(Path(run).name, settings_of(config), []) for run, config in configs.items()])
    except DifferentDataError as error:
        raise ConfigError([ConfigProblem("--data", f"{error}; evaluate them one by one")]) from error


def _bar() -> Progress:
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(markup=False),
        TextColumn("{task.fields[what]}", markup=False),
    )
    console = terminal(stderr=True)
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
