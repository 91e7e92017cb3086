"""Experiments that two processes train as one does; run by torchrun, this executes them and says what it wrote.

``torchrun … ranked.py FOLDER PORT STEP ARGUMENTS`` executes every case in FOLDER. Then it is the command line with the
given arguments, whose rank 1 kills itself after a step of the student.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nfkd.cli import main
from nfkd.config import ComputeConfig, ExperimentConfig
from nfkd.data import Batch, Dataset
from nfkd.training.api import prepare
from nfkd.training.control import Control
from nfkd.training.job import execute_run
from nfkd.training.rank_process import be_follower, leading
from nfkd.training.ranks import world_of
from nfkd.training.state import StageState
from tests.core.tiny import moons
from tests.core.training.runs import every_term

EXAMPLES = 420
"""Of the case with an example that is spoiled."""
SPOILED = 0
"""The number of that example."""


def all_terms(**changes: Any) -> ExperimentConfig:
    """Return an experiment with all terms that two devices can train, balanced, in batches of an odd size.

    On images Adam would turn rounding errors into steps: the gradients of dark pixels are nothing else.
    """
    training = {"teacher_steps": 4, "student_steps": 9, "batch_size": 33, "accumulate": 3, "ema_decay": 0.9}
    training |= {"learning_rate": 1e-4}  # as in `from_disk`
    terms = every_term().distillation.model_dump() | {"relational": {"weight": 0.0}}
    config = moons(distillation=terms, training=training, monitor={"shares_every": 4}, **changes)
    return config.replace(distillation={"lkd": {"normalize": True}, "ilkd": {"normalize": True}})


def from_a_pool(**changes: Any) -> ExperimentConfig:
    """Return an experiment with a pool, gradient shares and early stopping; one of its examples is spoiled.

    With this seed no two validations are so close that rounding decides when the teacher stops.
    """
    training = {"early_stop": 1, "teacher_steps": 40, "student_steps": 7, "learning_rate": 0.002, "warmup_steps": 20}
    return moons(
        data={"count": EXAMPLES},
        seeds={"first": 8},
        training=training,
        monitor={"evaluate_every": 1, "shares_every": 3},
        distillation={"pool": {"share": 0.25, "size": 200}},
        **changes,
    )


def killed(**changes: Any) -> ExperimentConfig:
    """Return an experiment with everything that a checkpoint has to keep."""
    balance = {
        "balance": "gradient_norm",
        "balance_every": 2,
        "cache": 0,
    }  # paused in the stage
    return moons(training={"ema_decay": 0.9, "teacher_steps": 10, "student_steps": 20}, distillation=balance).replace(
        **changes
    )


def from_disk(table: Path, storage: str = "disk", **changes: Any) -> ExperimentConfig:
    """Return an experiment with a table that is read from disk, several batches ahead and over several epochs.

    Its activations are recomputed. The rate is low: Adam would turn the rounding errors of small gradients into steps.
    """
    training = {"teacher_steps": 4, "student_steps": 6, "batch_size": 48, "learning_rate": 1e-4}
    training |= {"activations": "recompute"}
    return moons(training=training, **changes).replace(
        data={"kind": "table", "path": str(table), "storage": storage, "scaling": "standard"}
    )


CASES = {"all terms": all_terms, "pool": from_a_pool, "killed": killed}


@contextmanager
def spoiled() -> Iterator[None]:
    """Give one example of a case values whose loss is not finite, from the fourth batch on."""
    original, calls = Dataset.training_batch, 0

    def batch(dataset: Dataset, index: np.ndarray, *generators: torch.Generator) -> Batch:
        nonlocal calls
        made = original(dataset, index, *generators)
        if len(dataset.train) + len(dataset.validation) + len(dataset.test) == EXAMPLES:
            calls += 1
            made.x[torch.from_numpy((index == SPOILED) & (calls > 3))] = 1e30
        return made

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Dataset, "training_batch", batch)
        yield


def execute_all(folder: Path) -> None:
    """Execute every case, as one of the ranks."""
    world = world_of(os.environ)
    assert world is not None
    compute = ComputeConfig(device="cpu")
    with spoiled():
        if world.rank:
            opened: list[str] = []
            sys.addaudithook(lambda event, values: opened.append(str(values[0])) if _writes(event, values) else None)
            code, files = be_follower(world, compute, "torchrun"), [*opened]
            (folder / "follower.json").write_text(json.dumps({"code": code, "opened": files}))
            return
        with leading(world, compute, "torchrun") as ranks:
            for name, make in (CASES | {"disk": partial(from_disk, folder / "rows.csv")}).items():
                config = make(compute={"devices": 2})
                state = execute_run(prepare(config, folder / name), config, lambda _: None, Control(), ranks=ranks)
                assert state == "finished"


def _writes(event: str, values: tuple[Any, ...]) -> bool:
    if event != "open":
        return False
    _, mode, flags = values
    return bool(set(mode or "") & set("wax+")) or bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


def kill_itself(step: int) -> None:
    """Let rank 1 kill itself after a step of the student."""
    original = StageState.count_step

    def count(self: StageState) -> None:
        original(self)
        if (self.stage, self.step) == ("student", step):
            os.kill(os.getpid(), signal.SIGKILL)

    if os.environ["RANK"] == "1":
        StageState.count_step = count


if __name__ == "__main__":
    execute_all(Path(sys.argv[1]))
    # The processes meet a second time, at another port: the first store has the addresses of the first time.
    os.environ |= {"MASTER_PORT": sys.argv[2], "TORCHELASTIC_USE_AGENT_STORE": "False"}
    kill_itself(int(sys.argv[3]))
    sys.exit(main(sys.argv[4:]))
