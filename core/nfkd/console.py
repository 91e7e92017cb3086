"""Terminal output of the command line: progress of a run, tables of runs, figures and inspections."""

from __future__ import annotations

import math
import os
import shlex
import signal
from collections.abc import Iterable, Sequence
from pathlib import Path
from queue import SimpleQueue
from types import FrameType
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from nfkd.config import ConfigError, ConfigProblem, ExperimentConfig
from nfkd.evaluation.comparison import Mean
from nfkd.evaluation.evaluated_metrics import metric_of
from nfkd.evaluation.inspection import Inspection
from nfkd.evaluation.iterations import describe_iterations
from nfkd.flows.architectures import flow_summary
from nfkd.flows.cost import FlowCost, LayerCost
from nfkd.flows.foreign.glow_checkpoint import Imported
from nfkd.planning.describe import check
from nfkd.planning.plans import teacher_label
from nfkd.protocol import events
from nfkd.protocol.records import MEASURES, with_fd_floor
from nfkd.protocol.requests import Snapshot
from nfkd.protocol.roles import ROLES, role_name
from nfkd.run_bars import run_bars
from nfkd.runs.evaluation_file import EvaluatedMetric, Evaluation
from nfkd.runs.layout import EXPERIMENT, create_run, is_run
from nfkd.runs.reader import open_run
from nfkd.terminal import INTERRUPTED, say, terminal
from nfkd.text import format_number, plain
from nfkd.training.api import prepare, require_resumable
from nfkd.training.job import TrainingJob
from nfkd.training.rank_process import stop_at_signals

if TYPE_CHECKING:
    from nfkd.training.ranks import GroupRanks

_RUNS = Path("runs")
_MAX_CELL = 120  # characters of a text in a table


def run_in_terminal(
    config: ExperimentConfig, directory: Path | None, *, resume: bool, ranks: GroupRanks | None = None
) -> int:
    """Run an experiment in a worker thread of this process, with a live progress bar.

    Ctrl-C stops the run like the studio's Stop; a second Ctrl-C ends the process at once. With `ranks`, torchrun has
    started this process and the others; it passes Ctrl-C on, and ends them all if they do not end by themselves.

    Returns
    -------
    int
        0 when the run is done, 1 when it failed, 130 when it was stopped.

    Raises
    ------
    ConfigError, RunError
        When the experiment or the directory is refused.
    """
    path, resumes = _directory(config, directory, resume=resume)
    queue: SimpleQueue[events.RunEvent | None] = SimpleQueue()
    job = TrainingJob(path, config, queue.put, resume=resumes, ranks=ranks, on_end=lambda: queue.put(None))

    def interrupt(number: int, frame: FrameType | None) -> None:
        del number, frame
        if job.control.stopping:
            os._exit(INTERRUPTED)
        say("\nStopping; the best weights are saved. Press Ctrl-C again to end at once.", stderr=True)
        job.control.stop("run")

    before = signal.signal(signal.SIGINT, interrupt)
    if ranks is not None:
        stop_at_signals(ranks, job.control, path)
    try:
        job.start()
        error = _follow(queue)
        job.join()
    finally:
        signal.signal(signal.SIGINT, before)
    if error is not None:
        say(f"nfkd: {error.title}: {error.cause} {error.action}".rstrip(), stderr=True)
        return 1
    print_summary(open_run(path).snapshot())
    say(f"The run is in {plain(str(path))}")
    if job.state != "stopped":
        return 0
    file, out = (shlex.quote(str(each)) for each in (path / EXPERIMENT, path))
    say(f"nfkd: stopped; to continue: nfkd run {file} --out {out} --resume", stderr=True)
    return INTERRUPTED


def _directory(config: ExperimentConfig, directory: Path | None, *, resume: bool) -> tuple[Path, bool]:
    if directory is None:
        if resume:
            raise ConfigError([ConfigProblem("--resume", "needs --out with the run's directory")])
        check(config)
        teacher, student = teacher_label(config), flow_summary(config.student)
        return create_run(_RUNS.absolute(), config, teacher=teacher, student=student), False
    if resume and is_run(directory):
        require_resumable(config, directory)
        check(config, run=directory)
        return directory, True
    path = prepare(config, directory)
    if resume:
        say(f"nfkd: {path} has no run to resume: a new run starts.", stderr=True)
    return path, False


def _follow(queue: SimpleQueue[events.RunEvent | None]) -> events.ErrorInfo | None:
    """Show the events until the worker ends; return the run's error, if it failed."""
    error = None
    with run_bars() as stages:
        while (event := queue.get()) is not None:
            if isinstance(event, events.RunFailed):
                error = event.error
            stages.handle(event)
    return error


def print_summary(snapshot: Snapshot) -> None:
    """Print the figures of each seed's flows, and the verdict."""
    summaries = [stage.summary for stage in snapshot.stages if stage.summary is not None]
    unit = next((summary.unit for summary in summaries), "")
    console = terminal()
    row = snapshot.row
    console.print(_title(row.name).append(f"  {plain(row.data)}  {row.state}", ""), soft_wrap=True)
    table = Table(box=None, pad_edge=False)
    for name in ("seed", "flow"):
        table.add_column(name)
    for name in ("parameters", f"test {plain(unit, _MAX_CELL)}", "±", "C2ST", "samples/s", "steps", "seconds"):
        table.add_column(name, justify="right")
    for summary in summaries:
        table.add_row(
            str(summary.seed),
            role_name(summary.stage),
            f"{summary.parameters:,}",
            _figure(summary.test),
            _figure(summary.test_error),
            _figure(summary.c2st),
            f"{summary.samples_per_second:,.0f}",
            f"{summary.steps:,}",
            f"{summary.seconds:.1f}",
        )
    console.print(table)
    if row.start is not None:
        say(f"Trained by: {plain(row.start.describe())}")
    _print_measures(snapshot, summaries, unit)
    if snapshot.verdict is not None:
        verdict, others = snapshot.verdict, [f"  {other.summary}" for other in snapshot.verdict.others]
        header = ["Other measures, without a verdict:"] if others else []
        for line in (*verdict.sentences(), *header, *others):
            console.print(line, highlight=False, soft_wrap=True)
    if snapshot.error is not None:
        console.print(f"{snapshot.error.title}: {snapshot.error.cause}", highlight=False, soft_wrap=True)


def _print_measures(snapshot: Snapshot, summaries: Sequence[events.StageSummary], unit: str) -> None:
    """Print the measures of samples with their noise floor, and the train-test gap; nothing for older runs."""
    shown = {name: title for name, title in MEASURES.items() if any(map(math.isfinite, _values(summaries, name)))}
    if not shown:
        return
    table = Table(box=None, pad_edge=False)
    for name in ("seed", "flow"):
        table.add_column(name)
    for name, title in shown.items():
        table.add_column(f"{title} {plain(unit, _MAX_CELL)}" if name == "train_test_gap" else title, justify="right")
    for summary in summaries:
        values = (getattr(summary, name) for name in shown)
        table.add_row(str(summary.seed), role_name(summary.stage), *map(_figure, values))
    measured = next((started.floors for started in snapshot.seeds if started.floors), {})
    floors = with_fd_floor(measured, summaries)
    if floors:
        table.add_row("", "floor", *(_figure(floors.get(name)) for name in shown))
    terminal().print(table)
    for note in [note for started in snapshot.seeds if (note := started.measures_note())][:1]:
        say(note)


def _values(summaries: Iterable[events.StageSummary], name: str) -> list[float]:
    return [getattr(summary, name) for summary in summaries]


def print_evaluation(evaluation: Evaluation) -> None:
    """Print the metrics that were evaluated: with the stored interval for one seed, with Student's t for several."""
    found: dict[str, list[EvaluatedMetric]] = {}
    for value in evaluation.values:
        found.setdefault(value.metric, []).append(value)
    stages = {value.stage for value in evaluation.values}
    roles = [role for role in ROLES if role in stages]
    table = Table(box=None, pad_edge=False)
    table.add_column(f"evaluated on {plain(evaluation.data, _MAX_CELL)}")
    for name in (*map(role_name, roles), "train vs test", "N"):
        table.add_column(name, justify="right")
    for name, values in found.items():
        metric = metric_of(name)
        if metric is not None:
            title = " ".join(filter(None, (metric.name, plain(values[0].unit, _MAX_CELL))))
            compared = [value for value in values if value.stage == "student"] or values
            reference = Mean.of([value.reference for value in compared]).value
            cells = [_evaluated([value for value in values if value.stage == role], metric.form) for role in roles]
            count = f"{max(value.count for value in values):,}"
            shown = format_number(reference, metric.form) if math.isfinite(reference) else ""
            table.add_row(title, *cells, shown, count)
    terminal().print(table)
    if evaluation.features:
        say(f"FD-local compares features of the classifier {plain(evaluation.features[:12])}.")
    for sha256, name in evaluation.networks.items():
        say(f"FID ({plain(sha256[:12])}) compares features of {plain(name)}, SHA-256 {plain(sha256)}.")


def _evaluated(values: Sequence[EvaluatedMetric], form: str) -> str:
    """Return a flow's metric: the value and the ends of its interval, or the mean over seeds and its half width."""
    values = [value for value in values if math.isfinite(value.value)]
    if not values:
        return ""
    if len(values) > 1:
        mean = Mean.of([value.value for value in values])
        return f"{format_number(mean.value, form)} ± {format_number(mean.half, form)}"
    value = values[0]
    ends = [format_number(end, form) if math.isfinite(end) else "?" for end in (value.low, value.high)]
    return format_number(value.value, form) + ("" if ends[0] == ends[1] else f" ({ends[0]} … {ends[1]})")


def _title(name: str) -> Text:
    return Text.assemble((plain(name), "bold"))


def print_inspection(inspection: Inspection) -> None:
    """Print a flow's layers, its tests and the verdict."""
    console, cost = terminal(), inspection.cost
    console.print(_title(inspection.name), soft_wrap=True)
    table = Table(box=None, pad_edge=False, show_footer=True)
    for name, total in (("layer", "total"), ("kind", ""), ("output", "")):
        table.add_column(name, footer=total)
    for name, total in zip(
        ("parameters", "multiply-adds", f"memory, batch {inspection.batch_size}"), _figures(cost), strict=True
    ):
        table.add_column(name, footer=total, justify="right")
    shapes = {info.name: (info.kind, "×".join(map(str, info.shape))) for info in inspection.layers}
    for layer in cost.layers:
        table.add_row(layer.name, *shapes.get(layer.name, ("prior", "")), *_figures(layer))
    console.print(table)
    trials = Table(box=None, pad_edge=False)
    for name in ("encoded and decoded", "error, float32", "float64", ""):
        trials.add_column(name, justify="left" if name in {"encoded and decoded", ""} else "right")
    for trial in inspection.trials:
        trials.add_row(trial.name, f"{trial.float32:.1e}", f"{trial.float64:.1e}", trial.judgement)
    console.print(trials)
    error = inspection.log_det_error
    result = (
        "too many dimensions to compare with autograd" if error is None else f"differs from autograd's by {error:.1e}"
    )
    console.print(f"log-determinant: {result}", highlight=False)
    if inspection.iterations:
        console.print(describe_iterations(list(inspection.iterations)), highlight=False, soft_wrap=True)
    console.print(f"{inspection.verdict}\n", highlight=False, soft_wrap=True)


def _figures(cost: FlowCost | LayerCost) -> tuple[str, str, str]:
    return f"{cost.parameters:,}", f"{cost.multiply_adds:,}", f"{cost.training_memory / 2**20:,.2f} MiB"


def print_imported(imported: Imported, target: Path) -> None:
    """Print what was imported, and how to use it as a teacher."""
    shape = "×".join(map(str, imported.flow.event_shape))
    parameters = sum(parameter.numel() for parameter in imported.flow.parameters())
    origin = f"from the tensors under {imported.prefix}" if imported.prefix else "from tensors without a prefix"
    say(f"{flow_summary(imported.config)} for {shape}, {parameters:,} parameters, {origin}")
    if imported.left:
        say(f"Ignored: {len(imported.left)} tensors of other modules, such as {plain(imported.left[0])}")
    say(f"Saved to {target}. To use it as a teacher: nfkd run … --set training.teacher_weights={target}")


def _figure(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else format_number(value)
