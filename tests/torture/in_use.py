"""Hostile cases with a run in progress: its file is replaced, or its data changes before it is resumed."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from nfkd.config import ExperimentConfig
from nfkd.protocol import events
from tests import hostile
from tests.core.tiny import moons
from tests.hostile import Build
from tests.torture.cases import Case, Command, Scene
from tests.torture.experiments import often
from tests.torture.processes import Process
from tests.torture.training import train

IN_USE, CHANGED = "files changed while a run writes", "data changed before a run is resumed"
_AFTER = ("show", "list", "recover", "resume", "inspect")


def in_use_cases(template: Path) -> Iterator[Case]:
    """Yield the cases; `template` is a finished run."""
    copies: dict[str, Build] = {"another run's": lambda path: path.write_bytes((template / path.name).read_bytes())}
    for file in ("run.h5", "state.json", "checkpoint.safetensors", "experiment.toml"):
        for kind, build in (hostile.KINDS | copies).items():
            yield Case(IN_USE, f"{file}: {kind}", partial(_while_written, file, build), ("run", *_AFTER))
    arrays: dict[str, Build] = {
        "other numbers": hostile.content(hostile.array(seed=1)),
        "more rows": hostile.content(hostile.array(rows=401)),
        "text": hostile.text("a,b\n"),
    }
    for kind, build in (hostile.KINDS | arrays).items():
        yield Case(CHANGED, kind, partial(_data_changed, build), ("resume", "show", "engine open"))


def _commands(run: Path, experiment: Path) -> dict[str, Command]:
    return {
        "show": ["show", run],
        "list": ["list", run.parent],
        "recover": ["recover", run],
        "resume": ["run", experiment, "--out", run, "--resume"],
        "inspect": ["inspect", run],
        "engine open": ["engine", "open", run],
    }


def _at_student(act: Callable[[], None]) -> Callable[[events.RunEvent], None]:
    """Return an event handler that calls a function when the student's stage starts."""

    def watch(event: events.RunEvent) -> None:
        if isinstance(event, events.StageStarted) and event.stage == "student":
            act()

    return watch


def _saved(config: ExperimentConfig, folder: Path) -> Path:
    config.save(folder / "experiment.toml")
    return folder / "experiment.toml"


def _while_written(name: str, build: Build, folder: Path) -> Scene:
    config, run = often(moons()), folder / "runs" / "victim"

    def replace() -> None:
        (run / name).unlink(missing_ok=True)
        build(run / name)

    task = partial(train, config, run, watch=_at_student(replace))
    after = folder / "runs" / "after"
    Process(task, folder / "first").wait()
    if run.exists():
        run.rename(after)
    commands = _commands(after, _saved(config, folder)) | {"run": task}
    return Scene(commands, (name,))


def _data_changed(build: Build, folder: Path) -> Scene:
    data, run = folder / "numbers.npy", folder / "runs" / "victim"
    data.write_bytes(hostile.array())
    config = often(moons()).replace(data={"kind": "table", "path": str(data)})
    die = _at_student(lambda: os.kill(os.getpid(), signal.SIGKILL))
    Process(partial(train, config, run, watch=die), folder / "first").wait()
    data.unlink()
    build(data)
    return Scene(_commands(run, _saved(config, folder)), (data.name,), refused=("resume",))


def remove(folder: Path) -> None:
    """Remove a case's directory."""
    shutil.rmtree(folder, ignore_errors=True)
