"""Commands on hostile files, each in a process with limits of time and memory and its own directory."""

from __future__ import annotations

import asyncio
import os
import unicodedata
from collections.abc import Callable
from functools import partial
from pathlib import Path

from nfkd.config import ConfigError
from nfkd.config.datasets import parse_data
from nfkd.config.toml import toml_text
from nfkd.terminal import say
from tests.torture.cases import Case, Command, Scene, all_cases
from tests.torture.in_use import in_use_cases, remove
from tests.torture.laboratory import Laboratory, Result, in_workers
from tests.torture.processes import Ended, Process, nfkd

EXPERIMENT = "plane"
SECONDS, TRAINING_SECONDS = 20.0, 60.0
_TRAINING = {"run", "resume", "teacher"}
MEMORY = 1 << 30
"""Bytes of address space that a command may use beyond the loaded program."""
_SHOWN = 300


def run_files(laboratory: Laboratory, jobs: int) -> None:
    """Try every command of every case without a result."""
    laboratory.prepare([EXPERIMENT])
    template, experiment = laboratory.reference(EXPERIMENT), laboratory.experiment_file(EXPERIMENT)
    cases = [*all_cases(template, experiment), *in_use_cases(template)]
    pairs = [(case, command) for case in cases for command in case.commands]
    done = laboratory.results("files")
    waiting = [(case, command) for case, command in pairs if _key(case, command) not in done]
    print(f"files: {len(pairs) - len(waiting)} of {len(pairs)} commands are done", flush=True)
    in_workers(jobs, waiting, partial(_perform, laboratory))


def _key(case: Case, command: str) -> str:
    return f"{case.group} | {case.name} | {command}"


def _perform(laboratory: Laboratory, pair: tuple[Case, str]) -> None:
    case, command = pair
    folder = laboratory.new_folder(f"files-{os.getpid()}")
    scene = case.build(folder)
    task = _task(scene.commands[command], folder)
    limit = TRAINING_SECONDS if command in _TRAINING else SECONDS
    ended = Process(task, folder / "out", memory=MEMORY).wait(limit)
    result = laboratory.keep(
        "files", _key(case, command), group=case.group, command=command, **_found(ended, scene, command)
    )
    remove(folder)
    if found := problems(result):
        print(f"{result['key']}: {', '.join(found)}", flush=True)


def _found(ended: Ended, scene: Scene, command: str) -> Result:
    return {
        "exit": ended.code,
        "seconds": round(ended.seconds, 3),
        "mib": round(ended.mib, 1),
        "hung": ended.hung,
        "traceback": ended.traceback,
        "named": ended.code == 0 or any(name in ended.err for name in scene.named),
        "controls": any(_is_control(letter) for letter in ended.out + ended.err),
        "accepted": ended.code == 0 and command in scene.refused,
        "changed": scene.untouched is not None and _content(scene.untouched[0]) != scene.untouched[1],
        "message": ended.message[-_SHOWN:],
    }


def _is_control(letter: str) -> bool:
    """Return whether a character controls the terminal: C0, C1, or a mark of direction."""
    return unicodedata.category(letter) in {"Cc", "Cf"} and letter not in "\n\t\r"


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def problems(result: Result) -> list[str]:
    """Return what is wrong with the result of a command."""
    if result["hung"]:
        return ["took too long"]
    if result["exit"] < 0:
        return [f"ended by signal {-result['exit']}"]
    kinds = {
        "traceback": result["traceback"],
        "message does not name the file": not result["named"] and not result["traceback"],
        "control characters on the terminal": result["controls"],
        "file elsewhere was changed": result["changed"],
        "was not refused": result["accepted"],
    }
    return [problem for problem, found in kinds.items() if found]


def _task(command: Command, folder: Path) -> Callable[[], int]:
    """Return a command's task, with its own folders for data sets and the engine."""

    def task() -> int:
        os.environ["NFKD_DATASETS"], os.environ["NFKD_ENGINE_DIR"] = str(folder / "sets"), str(folder / "engine")
        os.chdir(folder)
        if callable(command):
            return command()
        return _ask(*map(str, command[1:])) if command[0] == "engine" else nfkd(*command)()

    return task


def _ask(action: str, path: str) -> int:
    """Send a request to an engine in this process, print an error, and return the exit status."""
    from nfkd.engine.core import Engine, Refused
    from nfkd.protocol.data import PreviewData
    from nfkd.protocol.requests import ListRuns, OpenRun, RunList

    async def go() -> int:
        engine = Engine()
        try:
            match action:
                case "list":
                    request = ListRuns(folder=path)
                case "open":
                    request = OpenRun(run=path)
                case _:
                    request = PreviewData(config=toml_text(parse_data(path)))
            reply = await engine.answer(request)
        except (Refused, ConfigError) as error:
            say(f"nfkd: {error} {getattr(error, 'problems', '')}", stderr=True)
            return 1
        finally:
            await engine.close()
        if isinstance(reply, RunList):
            say("\n".join(reply.unreadable), stderr=True)
        return 0

    return asyncio.run(go())
