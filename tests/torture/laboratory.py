"""A folder for each case, saved results, and undisturbed runs to compare with."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import traceback
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import nfkd
from tests.torture.compare import differences
from tests.torture.experiments import EXPERIMENTS
from tests.torture.processes import Process
from tests.torture.training import STARTING, Board, train

Result = dict[str, Any]


def code_fingerprint() -> str:
    """Return a hash of NFKD's code, so that results of other code do not count."""
    root, digest = Path(nfkd.__file__).parent, hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


class Laboratory:
    """A directory of results.

    Parameters
    ----------
    root
        Has ``results.jsonl``, and a folder for each version of the code with its undisturbed runs.
    """

    def __init__(self, root: Path) -> None:
        self.code = code_fingerprint()
        self._results = root / "results.jsonl"
        self._folder = root / self.code
        self._folder.mkdir(parents=True, exist_ok=True)

    def results(self, kind: str) -> dict[str, Result]:
        """Return this code's results of a kind of case, by key."""
        try:
            lines = self._results.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return {}
        found = [json.loads(line) for line in lines]
        return {result["key"]: result for result in found if (result["code"], result["kind"]) == (self.code, kind)}

    def keep(self, kind: str, key: str, **result: Any) -> Result:
        """Append a result; several processes may do so at the same time."""
        whole = {**result, "kind": kind, "key": key, "code": self.code}
        with self._results.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write(json.dumps(whole, ensure_ascii=True).encode() + b"\n")
        return whole

    def new_folder(self, key: str) -> Path:
        """Return a new empty directory for a case."""
        path = self._folder / "cases" / key
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        return path

    def case_paths(self, pattern: str) -> list[Path]:
        """Return the paths in the cases' directories that match a pattern."""
        return sorted((self._folder / "cases").glob(pattern))

    def reference(self, name: str) -> Path:
        """Return the directory of an experiment's undisturbed run, which `prepare` makes."""
        return self._folder / "undisturbed" / name.replace(" ", "-") / "run"

    def experiment_file(self, name: str) -> Path:
        """Return the file of an experiment."""
        return self.reference(name).with_name("experiment.toml")

    def prepare(self, names: Iterable[str]) -> dict[str, Result]:
        """Make the undisturbed runs that are missing; return the duration and file operations of each.

        Each is made by ``python -m nfkd run`` in its own process, and again by a forked one. If they differ, forked
        processes are not a valid test, and the result says so.
        """
        known = self.results("undisturbed")
        for name in names:
            if name not in known:
                known[name] = self._undisturbed(name)
                print(f"undisturbed {name}: {known[name]['seconds']:.1f} s", flush=True)
        return known

    def _undisturbed(self, name: str) -> Result:
        run, config = self.reference(name), EXPERIMENTS[name]
        shutil.rmtree(run.parent, ignore_errors=True)
        run.parent.mkdir(parents=True)
        config.save(self.experiment_file(name))
        command = [sys.executable, "-m", "nfkd", "run", str(self.experiment_file(name)), "--out", str(run)]
        subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL)
        folder, board = self.new_folder(f"undisturbed-{name.replace(' ', '-')}"), Board(STARTING)
        ended = Process(partial(train, config, folder / "run", board=board), folder).wait()
        if ended.code:
            msg = f"the undisturbed run of {name} failed: {ended.message}"
            raise RuntimeError(msg)
        found = differences(run, folder / "run")
        shutil.rmtree(folder)
        return self.keep("undisturbed", name, seconds=ended.seconds, operations=board.operations, differences=found)


def in_workers(jobs: int, cases: list[Any], perform: Any) -> None:
    """Perform cases in this process, or in several forked ones at the same time.

    Raises
    ------
    RuntimeError
        When a worker failed.
    """
    if jobs < 2:
        for case in cases:
            perform(case)
        return
    workers = [_fork_worker(cases[first::jobs], perform) for first in range(min(jobs, len(cases)))]
    codes = [os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1]) for worker in workers]
    if any(codes):
        msg = "a worker of the program failed; its output is above"
        raise RuntimeError(msg)


def _fork_worker(cases: list[Any], perform: Any) -> int:
    sys.stdout.flush()
    worker = os.fork()
    if worker:
        return worker
    code = 1
    try:
        for case in cases:
            perform(case)
        code = 0
    finally:
        if code:
            traceback.print_exc()
        sys.stdout.flush()
        os._exit(code)
