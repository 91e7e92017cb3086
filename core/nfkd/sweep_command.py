"""``nfkd sweep``: runs an experiment with many values of its fields."""

from __future__ import annotations

import argparse
import math
import os
import signal
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from nfkd.config.sweep import SweepConfig, format_value
from nfkd.terminal import INTERRUPTED, say, terminal
from nfkd.text import format_number, format_span, plain

if TYPE_CHECKING:
    from nfkd.protocol.queue import RayCluster
    from nfkd.sweeps import Sweep, SweepEstimate, SweptRun
    from nfkd.sweeps.executors import Executor
    from nfkd.sweeps.shard import Shard

_MAX_CELL = 60  # characters of a text in a table
_MOST_JOBS, _WAIT_SECONDS = 256, 60.0
_SHOWN = 20  # problems of runs
_ENDED = {"finished", "pruned", "failed"}
_METRICS = {"likelihood": "validation NLL", "samples_per_second": "samples/s"}


def add_arguments(sweep: argparse.ArgumentParser) -> None:
    """Add the arguments of ``nfkd sweep``."""
    sweep.add_argument("file", metavar="FILE", help="TOML file of an experiment with a section [sweep]")
    sweep.add_argument("--out", metavar="DIR", required=True, help="folder of the sweep; the same one continues it")
    sweep.add_argument(
        "--jobs", metavar="N", type=_jobs, help="runs at the same time (default: 1; with --ray, as many as fit)"
    )
    sweep.add_argument("--dry-run", action="store_true", help="print the runs, their time and disk space, and end")
    sweep.add_argument("--retry", action="store_true", help="run failed runs again, from their checkpoints")
    sweep.add_argument(
        "--shard", metavar="I/N", type=_shard, help="run only every N-th run, from the I-th on, beside other processes"
    )
    cluster = sweep.add_argument_group("on a Ray cluster (pip install 'nfkd[cluster]')")
    cluster.add_argument(
        "--ray", metavar="ADDRESS", default="", help="local, auto, HOST:6379 or ray://HOST:10001: run there"
    )
    cluster.add_argument(
        "--gpus-per-run", metavar="X", type=_share, default=0.0, help="GPUs of a run, such as 0.5 (default: 0)"
    )
    cluster.add_argument("--cpus-per-run", metavar="X", type=_some, default=1.0, help="CPUs of a run (default: 1)")
    cluster.add_argument(
        "--retries", metavar="N", type=_retries, default=2, help="new starts of a run whose worker died (default: 2)"
    )


def _jobs(text: str) -> int:
    count = int(text)
    if not 1 <= count <= _MOST_JOBS:
        msg = f"{count} is not between 1 and {_MOST_JOBS}"
        raise argparse.ArgumentTypeError(msg)
    return count


def _shard(text: str) -> Shard:
    from nfkd.sweeps.shard import Shard

    try:
        return Shard.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _share(text: str) -> float:
    share = float(text)
    if not 0 <= share <= 1024 or (share > 1 and share != int(share)):
        msg = f"{text} is neither between 0 and 1 nor a whole number up to 1024"
        raise argparse.ArgumentTypeError(msg)
    return share


def _some(text: str) -> float:
    share = _share(text)
    if not share:
        msg = "a run needs a part of a CPU"
        raise argparse.ArgumentTypeError(msg)
    return share


def _retries(text: str) -> int:
    count = int(text)
    if not 0 <= count <= 100:
        msg = f"{count} is not between 0 and 100"
        raise argparse.ArgumentTypeError(msg)
    return count


def sweep_in_terminal(options: argparse.Namespace) -> int:
    """Run a sweep, with a line for each run that has ended.

    Ctrl-C stops the active runs with a checkpoint; a second Ctrl-C ends the process at once.

    Returns
    -------
    int
        0 when all runs are done or Ctrl-C stopped them, 1 when a run failed.

    Raises
    ------
    ConfigError, RunError
        When the sweep or its folder is refused.
    """
    config = SweepConfig.open(options.file)
    from nfkd.protocol.queue import RayCluster, public_address
    from nfkd.sweeps.executors import EVENTS_OF_SWEEPS
    from nfkd.sweeps.ray_cluster import connected
    from nfkd.sweeps.ray_executor import ray_executors

    if not options.ray:
        return _sweep(options, config, options.jobs or 1)
    cluster = RayCluster(
        address=options.ray, cpus=options.cpus_per_run, gpus=options.gpus_per_run, retries=options.retries
    )
    with connected(cluster) as slots:
        jobs = options.jobs or min(slots, _MOST_JOBS)
        say(f"Ray at {public_address(cluster.address)}: {_count(jobs, 'run')} at the same time.")
        return _sweep(options, config, jobs, ray_executors(cluster, jobs, EVENTS_OF_SWEEPS), cluster)


def _sweep(
    options: argparse.Namespace,
    config: SweepConfig,
    jobs: int,
    executors: Sequence[Executor] = (),
    cluster: RayCluster | None = None,
) -> int:
    """Run or continue a sweep in its folder; arguments as for `SweepLoop`, and the cluster that executes the runs."""
    from nfkd.config import ComputeConfig
    from nfkd.planning.devices import thread_count
    from nfkd.runs.lock import NAME as LOCK
    from nfkd.runs.lock import run_lock
    from nfkd.sweeps import Sweep, estimate_sweep
    from nfkd.sweeps.folder import make_folder

    threads = max(1, thread_count(ComputeConfig()) // jobs) if jobs > 1 else 0
    threads = threads if cluster is None else max(1, int(cluster.cpus))
    shard: Shard | None = options.shard

    def prepared() -> Sweep:
        own: dict[str, Any] = {"retry": options.retry, "cluster": cluster, "shard": shard}
        return Sweep(config, Path(options.out), threads=threads, parallel=jobs > 1, **own)

    sweep = prepared()
    if options.dry_run:
        _print_runs(sweep)
        _print_estimate(estimate_sweep(sweep, jobs), jobs)
        return 0
    make_folder(sweep.directory)
    with run_lock(sweep.directory, LOCK if shard is None else shard.lock_file):
        if shard is None:
            sweep.begin()
            _print_estimate(estimate_sweep(sweep, jobs), jobs)
        else:
            with run_lock(sweep.directory, wait=_WAIT_SECONDS):  # another shard may write the folder now
                sweep = prepared()
                sweep.begin()
            say(f"Part {shard} of the sweep: {_count(len(sweep.runs), 'run')}.")
        stopped = _execute(sweep, jobs, executors)
    _print_results(sweep)
    if stopped:
        say("Stopped. The same command continues the sweep.")
        return INTERRUPTED
    return 1 if any(run.state == "failed" for run in sweep.runs) else 0


def _execute(sweep: Sweep, jobs: int, executors: Sequence[Executor]) -> bool:
    """Execute the runs that are left; return whether Ctrl-C ended the sweep."""
    from nfkd.sweeps import SweepLoop

    search = sweep.config.sweep.search
    total = len(sweep.runs) if search is None else search.runs
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=terminal(stderr=True), transient=True) as bars:
        task = bars.add_task("runs", total=total, completed=_ended(sweep))

        def show(run: SweptRun) -> None:
            if run.state in _ENDED:
                terminal().print(_line(sweep, run, total), highlight=False, soft_wrap=True)
            names = ", ".join(active.name for active in sweep.active) or "runs"
            bars.update(task, description=plain(names, _MAX_CELL), completed=_ended(sweep))

        loop = SweepLoop(sweep, jobs, executors=executors, on_start=show, on_end=show)
        stopped = threading.Event()

        def interrupt(number: int, frame: FrameType | None) -> None:
            del number, frame
            if stopped.is_set():
                os._exit(INTERRUPTED)
            stopped.set()
            say("\nStopping; checkpoints are saved. Press Ctrl-C again to end at once.", stderr=True)
            loop.stop()

        before = signal.signal(signal.SIGINT, interrupt)
        try:
            loop.execute()
        finally:
            signal.signal(signal.SIGINT, before)
        return stopped.is_set()


def _ended(sweep: Sweep) -> int:
    return sum(run.state in _ENDED for run in sweep.runs)


def _line(sweep: Sweep, run: SweptRun, total: int) -> str:
    if run.state == "finished":
        metric = _METRICS[sweep.config.sweep.metric]
        result = f"{metric} {_number(run.objective)}  {run.seconds:.1f} s"
    else:
        result = f"{run.state}: {plain(run.cause)}"
    return f"[{_ended(sweep)}/{total}] {plain(run.name)}  {result}"


def _metric(sweep: Sweep, run: SweptRun) -> str:
    """Return the name of the objective with the unit of a finished run."""
    from nfkd.runs.errors import RunError
    from nfkd.runs.state import read_row

    metric = _METRICS[sweep.config.sweep.metric]
    if sweep.config.sweep.metric == "likelihood":
        with suppress(RunError):
            return f"{metric}, {plain(read_row(sweep.path(run)).unit)}"
    return metric


def _number(value: float | None) -> str:
    return "not finite" if value is None else format_number(value)


def _print_runs(sweep: Sweep) -> None:
    search = sweep.config.sweep.search
    if search is not None:
        say(f"Search ({search.method}) over {', '.join(map(plain, search.space))}")
    for run in sweep.runs:
        state = "" if run.state == "waiting" else f"  ({run.state})"
        values = "  ".join(f"{plain(path)}={format_value(value)}" for path, value in run.values.items())
        say(f"{plain(run.name)}  {values}{state}")


def _print_estimate(estimate: SweepEstimate, jobs: int) -> None:
    """Print the number of runs, the time and the disk space."""
    parts = [_count(estimate.runs, "run")]
    if estimate.done or estimate.failed:
        parts.append(f"left ({estimate.done} done, {estimate.failed} failed)")
    if estimate.teachers:
        parts.append(f"with {_count(estimate.teachers, 'teacher')}")
    at_once = f", {jobs} at a time" if jobs > 1 else ""
    if not estimate.runs:
        say(f"{' '.join(parts)}.")
        return
    say(f"{' '.join(parts)}{at_once}. Expected time: {_time(estimate.seconds)}. Disk space: {_size(estimate.size)}.")
    if estimate.size > estimate.free:
        say(f"nfkd: the disk has only {_size(estimate.free)} of free space", stderr=True)
    for number, (name, cause) in enumerate(estimate.problems.items()):
        if number == _SHOWN:
            say(f"nfkd: and {len(estimate.problems) - _SHOWN} more runs will fail", stderr=True)
            break
        say(f"nfkd: {plain(name)} will fail: {plain(cause)}", stderr=True)


def _count(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _time(seconds: float) -> str:
    if math.isnan(seconds):
        return "not known"
    return f"about {format_span(seconds)}"


def _size(count: float) -> str:
    if math.isnan(count):
        return "not known"
    for unit in ("KiB", "MiB", "GiB"):
        count /= 1024
        if count < 1024:
            return f"about {count:.1f} {unit}"
    return f"about {count / 1024:.1f} TiB"


def _print_results(sweep: Sweep) -> None:
    """Print the finished runs, the best first, then the failed ones."""
    ranking, failed = sweep.ranking(), [run for run in sweep.runs if run.state == "failed"]
    if ranking:
        table = Table(box=None, pad_edge=False)
        paths = list(dict.fromkeys(path for run in ranking for path in run.values))
        for name in ("run", *(plain(path, _MAX_CELL) for path in paths)):
            table.add_column(name)
        for name in (_metric(sweep, ranking[0]), "seconds"):
            table.add_column(name, justify="right")
        for run in ranking:
            values = (format_value(run.values[path]) if path in run.values else "" for path in paths)
            table.add_row(plain(run.name), *values, _number(run.objective), f"{run.seconds:.1f}")
        terminal().print(table)
    pruned = sum(run.state == "pruned" for run in sweep.runs)
    if pruned:
        say(f"{_count(pruned, 'run')} ended early: worse than the median")
    if ranking and not sweep.comparable:
        say("The runs have different data, so their likelihoods cannot be compared.")
    elif ranking and ranking[0].objective is not None:
        say(f"Best: {plain(str(sweep.path(ranking[0])))}")
    for run in failed:
        say(f"nfkd: {plain(str(sweep.path(run)))} failed: {plain(run.cause)}", stderr=True)
    if failed:
        say("nfkd: --retry runs the failed ones again", stderr=True)
