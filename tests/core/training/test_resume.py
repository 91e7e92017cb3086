"""Killed and stopped runs are resumed as if nothing had happened, or refused."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import nfkd
from nfkd.config import ExperimentConfig
from nfkd.protocol import events
from nfkd.runs.errors import RunError
from nfkd.runs.lock import run_lock
from nfkd.runs.reader import open_run
from nfkd.runs.recovery import recover
from nfkd.training.checkpoint import load_checkpoint
from tests.core.tiny import digits, moons
from tests.core.training.runs import (
    KillPoint,
    Maker,
    TrainedRun,
    assert_same,
    every_term,
    run_with_copies,
    stop_run,
    with_assistants,
    without_baseline,
)

Trained = Callable[[ExperimentConfig], TrainedRun]
EACH: dict[str, dict[str, Any]] = {
    "adamw": {"optimizer": "adamw", "weight_decay": 0.1},
    "average": {"ema_decay": 0.95},
    "bf16": {"precision": "bf16"},
    "micro-batches": {"accumulate": 3},
    "recompute": {"activations": "recompute"},
}
ALL: dict[str, Any] = {key: value for options in EACH.values() for key, value in options.items()}
SHORT: dict[str, Any] = {"teacher_steps": 5, "assistant_steps": 5, "student_steps": 8, "checkpoint_every": 4}
OFTEN = {"evaluate_every": 3, "pictures_every": 3}  # so that a stage has pictures before and after its checkpoint
ALL_SHORT = digits(training=ALL | SHORT, monitor=OFTEN)


def test_a_run_repeats_bit_for_bit(trained: Trained, tmp_path: Path) -> None:
    nfkd.run(moons(), tmp_path / "again")
    assert_same(tmp_path / "again", trained(moons()).record.path, moons())


@pytest.mark.parametrize(
    ("make", "seeds", "points"),
    [
        (
            moons,
            1,
            [
                KillPoint(1, "teacher", 1),  # before the first checkpoint
                KillPoint(1, "teacher"),  # between two stages
                KillPoint(1, "student", 3),  # in a stage, before its first checkpoint
                KillPoint(1, "baseline"),
            ],
        ),
        (every_term, 1, [KillPoint(1, "student", 7)]),
        (with_assistants, 2, [KillPoint(1, "assistant-2"), KillPoint(2, "student", 7)]),
        (without_baseline, 2, [KillPoint(1, "student")]),  # between the last stage of a seed and the next seed
    ],
)
def test_a_killed_run_is_recovered_and_resumed_exactly(
    make: Maker, seeds: int, points: list[KillPoint], tmp_path: Path
) -> None:
    config = make(seeds={"count": seeds}, training=SHORT, monitor=OFTEN)
    whole, killed = run_with_copies(config, tmp_path, points)
    for run in killed:
        assert open_run(run).row.state == "interrupted"
        recover(run)
        nfkd.run(config, run, resume=True)
        assert_same(run, whole, config)
        row = open_run(run).row
        assert (row.state, row.seeds_done, row.progress) == ("finished", seeds, 1.0)


KILLER = """
import os, signal, sys
import nfkd
from nfkd.config import ExperimentConfig
from nfkd.protocol import events
def watch(event):
    if isinstance(event, events.CurvePoints) and event.stage == "student":
        if "train/total" in event.curves and event.curves["train/total"].steps[-1] >= 6:
            os.kill(os.getpid(), signal.SIGKILL)
nfkd.run(ExperimentConfig.from_toml(sys.argv[1]), sys.argv[2], on_event=watch)
"""


def test_a_run_in_a_killed_process_is_resumed_exactly(trained: Trained, tmp_path: Path) -> None:
    config, killed = ALL_SHORT, tmp_path / "killed"
    arguments = [sys.executable, "-c", KILLER, config.to_toml(), str(killed)]
    done = subprocess.run(arguments, check=False, capture_output=True, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert open_run(killed).row.state == "interrupted"
    recover(killed)
    nfkd.run(config, killed, resume=True)
    assert_same(killed, trained(config).record.path, config)


@pytest.mark.parametrize("name", EACH)
def test_a_stopped_run_with_a_training_option_is_resumed_exactly(name: str, tmp_path: Path) -> None:
    config = moons(training=EACH[name] | {"teacher_steps": 4, "student_steps": 10, "baseline": False})
    stop_run(tmp_path / "stopped", config, "student", 5)
    checkpoint = load_checkpoint(tmp_path / "stopped")
    assert checkpoint is not None
    assert (checkpoint.position.stage, checkpoint.position.step) == ("student", 5)
    assert bool(checkpoint.group("average")) == ("ema_decay" in EACH[name])
    nfkd.run(config, tmp_path / "stopped", resume=True)
    nfkd.run(config, tmp_path / "whole")
    assert_same(tmp_path / "stopped", tmp_path / "whole", config)


def test_a_stopped_run_keeps_its_weights_and_is_resumed_exactly(trained: Trained, tmp_path: Path) -> None:
    config, run = ALL_SHORT, tmp_path / "stopped"
    seen = stop_run(run, config, "student", 1)
    assert isinstance(seen[-1], events.RunFinished)
    assert seen[-1].state == "stopped"
    record = open_run(run)
    assert record.row.state == "stopped"
    assert record.load_student().scaled.initialized
    stop_run(run, config, "student", 7, resume=True)
    nfkd.run(config, run, resume=True)
    assert_same(run, trained(config).record.path, config)


def test_a_run_from_before_the_training_options_is_resumed(trained: Trained, tmp_path: Path) -> None:
    config, run = moons(), tmp_path / "old"
    stop_run(run, config, "student", 3)
    text = (run / "experiment.toml").read_text()
    newer = {"weight_decay", "ema_decay", "precision", "accumulate"}
    lines = [line for line in text.splitlines() if line.partition(" ")[0] not in newer]
    assert len(lines) == len(text.splitlines()) - len(newer)
    (run / "experiment.toml").write_text("\n".join(lines) + "\n")
    nfkd.run(nfkd.open_run(run).config, run, resume=True)
    assert_same(run, trained(config).record.path, config)


# --- refused ----------------------------------------------------------------------------------------------------------


def test_another_experiment_is_refused(trained: Trained) -> None:
    folder = trained(moons()).record.path
    with pytest.raises(nfkd.ConfigError, match="another experiment") as refused:
        nfkd.run(moons(training={"batch_size": 16}), folder, resume=True)
    [problem] = refused.value.problems
    assert problem.path == "training.batch_size"
    assert f"nfkd run {folder / 'experiment.toml'} --out {folder} --resume" in problem.message
    described = moons(description="the same experiment, described in other terms")
    assert nfkd.run(described, folder, resume=True).row.state == "finished"


def test_a_second_writer_is_refused(trained: Trained) -> None:
    folder = trained(moons()).record.path
    with run_lock(folder), pytest.raises(RunError, match="The run is in use"):
        nfkd.run(moons(), folder, resume=True)
    assert open_run(folder).row.state == "finished"


def test_damaged_checkpoints_do_not_restart_the_run(tmp_path: Path) -> None:
    config = moons(training={"teacher_steps": 2, "student_steps": 2, "baseline": False})
    nfkd.run(config, tmp_path / "run")
    before = (tmp_path / "run" / "run.h5").read_bytes()
    for path in (tmp_path / "run").glob("checkpoint*"):
        path.write_bytes(b"torn")
    with pytest.raises(RunError, match="checkpoints cannot be read"):
        nfkd.run(config, tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "run.h5").read_bytes() == before


def test_a_directory_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(RunError, match="is not empty"):
        nfkd.run(moons(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
