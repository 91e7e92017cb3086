"""Runs that are killed by SIGKILL at random moments, resumed, and compared with undisturbed ones."""

from __future__ import annotations

import random
import shutil
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from nfkd.runs.state import STATE
from tests.torture.compare import differences
from tests.torture.experiments import EXPERIMENTS
from tests.torture.laboratory import Laboratory, Result, in_workers
from tests.torture.processes import Ended, Process
from tests.torture.training import RESUMING, STARTING, Board, train

_AT_ONCE = (1, 1, 1, 2, 2, 3)
_FIRST = 12  # operations in which a run's directory is made
_START = 0.15  # the fraction of a run that resuming takes
_TRIES = 20
NOTHING, NO_STATE = "before the directory", "before state.json"


@dataclass(frozen=True)
class Case:
    """One run, and how many times it is killed."""

    number: int
    experiment: str
    kills: int
    seed: int

    @property
    def key(self) -> str:
        """Its name among the results."""
        return f"{self.seed}-{self.number}"


@dataclass(frozen=True)
class Moment:
    """When a process is killed: after some seconds, or before one of its file operations."""

    seconds: float = 0.0
    operation: int = 0


@dataclass(frozen=True)
class Undisturbed:
    """The duration and number of file operations of an undisturbed run."""

    seconds: float
    operations: int

    def moment(self, chance: random.Random, rest: float) -> Moment:
        """Draw a moment in the remaining fraction `rest` of a run.

        Most are uniform over that time. A quarter are right before a file operation, half of these before one of the
        first ones, because uniform moments almost never fall there.
        """
        kind = chance.random()
        if kind < 0.25:
            last = _FIRST if kind < 0.125 else max(_FIRST, round(self.operations * rest))
            return Moment(operation=chance.randint(1, last))
        return Moment(seconds=chance.uniform(0, self.seconds * max(rest, _START)))


def plan(kills: int, seed: int) -> list[Case]:
    """Return cases with this total of kills; the same for the same seed."""
    chance, cases, names = random.Random(seed), [], list(EXPERIMENTS)
    while kills > 0:
        count = min(kills, chance.choice(_AT_ONCE))
        cases.append(Case(len(cases), names[len(cases) % len(names)], count, seed))
        kills -= count
    return cases


def run_kills(laboratory: Laboratory, kills: int, seed: int, jobs: int) -> None:
    """Try the cases without a result."""
    cases = plan(kills, seed)
    known = laboratory.prepare(dict.fromkeys(case.experiment for case in cases))
    undisturbed = {name: Undisturbed(result["seconds"], result["operations"]) for name, result in known.items()}
    done = laboratory.results("kills")
    waiting = [case for case in cases if done.get(case.key, {}).get("planned") != case.kills]
    print(f"kills: {len(cases) - len(waiting)} of {len(cases)} runs are done", flush=True)
    in_workers(jobs, waiting, partial(_perform, laboratory, undisturbed))


def _perform(laboratory: Laboratory, undisturbed: Mapping[str, Undisturbed], case: Case) -> None:
    folder = laboratory.new_folder(f"kills-{case.key}")
    result = _try_until_killed(laboratory, undisturbed[case.experiment], case, folder)
    kept = laboratory.keep("kills", case.key, experiment=case.experiment, planned=case.kills, **result)
    if kept.get("equal"):
        shutil.rmtree(folder)
    outcome = "equal" if kept.get("equal") else kept["error"] or f"{len(kept['differences'])} differences"
    print(f"kill {case.key} ({case.experiment}): {', '.join(map(_describe, kept['strikes']))}: {outcome}", flush=True)


def _try_until_killed(laboratory: Laboratory, undisturbed: Undisturbed, case: Case, folder: Path) -> Result:
    """Try until every planned kill has hit a running process."""
    chance = random.Random(f"{case.seed} {case.number}")
    for _ in range(_TRIES):
        shutil.rmtree(folder)
        result = _try(laboratory, undisturbed, case, chance, folder)
        if result is not None:
            return result
    return {"strikes": [], "error": f"no kill struck in {_TRIES} tries", "equal": False, "differences": {}}


def _describe(strike: Result) -> str:
    return f"{strike['phase']} at {strike['seconds']:.2f} s"


def _try(
    laboratory: Laboratory, undisturbed: Undisturbed, case: Case, chance: random.Random, folder: Path
) -> Result | None:
    """Kill a new run as often as planned and resume it; None if it ended before a kill."""
    config, run, strikes = EXPERIMENTS[case.experiment], folder / "run", list[Result]()
    spent = 0.0
    for number in range(case.kills):
        board = Board(RESUMING if number else STARTING)
        moment = undisturbed.moment(chance, max(0.0, 1 - spent / undisturbed.seconds))
        task = partial(train, config, run, resume=number > 0, board=board, last=moment.operation)
        ended = _kill_at(Process(task, folder), moment)
        if ended.code == 0:
            return None
        if ended.code != -signal.SIGKILL or ended.hung:
            return {"strikes": strikes, "error": _failure(ended), "equal": False, "differences": {}}
        spent += ended.seconds
        phase = NOTHING if not run.exists() else board.phase if (run / STATE).exists() else NO_STATE
        how = "file operation" if moment.operation else "time"
        strikes.append({"phase": phase, "resumed": number > 0, "how": how, "seconds": ended.seconds})
    return _resume(laboratory, case, folder, strikes)


def _kill_at(process: Process, moment: Moment) -> Ended:
    if not moment.operation and not process.ends_within(moment.seconds):
        process.kill()
    return process.wait()


def _resume(laboratory: Laboratory, case: Case, folder: Path, strikes: list[Result]) -> Result:
    config, run = EXPERIMENTS[case.experiment], folder / "run"
    ended = Process(partial(train, config, run, resume=True), folder).wait()
    result: Result = {"strikes": strikes, "error": "", "seconds": ended.seconds}
    if ended.code:
        return result | {"error": _failure(ended), "equal": False, "differences": {}}
    found = differences(laboratory.reference(case.experiment), run)
    return result | {"equal": not found, "differences": found}


def _failure(ended: Ended) -> str:
    return "hung" if ended.hung else f"exit code {ended.code}: {ended.message}"
