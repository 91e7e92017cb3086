"""A teacher that several runs share: their numbers are those of runs that train it themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from safetensors.torch import load_file

import nfkd
from nfkd.config import ExperimentConfig
from nfkd.runs.reader import open_run
from nfkd.sweeps import Sweep
from nfkd.training.shared_teacher import find_teacher, teacher_key
from tests.core.sweeps.sweeping import quick, run_all, sweep_of
from tests.core.tiny import moons

TIMES = {"seconds", "samples_per_second"}


def same_weights(first: Path, second: Path) -> bool:
    one, other = load_file(first), load_file(second)
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def figures(path: Path) -> dict[str, dict[str, float]]:
    """Return all figures of a run file but times, read without NFKD."""
    with h5py.File(path / "run.h5") as file:
        groups: Any = file["summary"]
        return {
            stage: {name: float(node[0]) for name, node in groups[stage].items() if name not in TIMES}
            for stage in groups
        }


def curves(path: Path) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    with h5py.File(path / "run.h5") as file:
        file.visititems(
            lambda name, node: (
                found.update({name: node[...]})
                if isinstance(node, h5py.Dataset) and "system" not in name and not name.endswith(("/time", *TIMES))
                else None
            )
        )
    return found


def test_runs_with_a_shared_teacher_are_bit_for_bit_those_that_train_it(tmp_path: Path) -> None:
    config = sweep_of({"grid": {"student.hidden": [4, 6]}}, training={"baseline": True})
    sweep = Sweep(config, tmp_path / "sweep")
    run_all(sweep)
    alone = nfkd.run(sweep.configs[1], tmp_path / "alone").path
    shared = sweep.path(sweep.runs[1])
    assert "the teacher is that of hidden-4" in (shared / "log.jsonl").read_text()
    assert open_run(shared).config == open_run(alone).config
    for stage in ("teacher", "student", "baseline"):
        assert same_weights(shared / f"{stage}.safetensors", alone / f"{stage}.safetensors")
    np.testing.assert_equal(figures(shared), figures(alone))
    np.testing.assert_equal(curves(shared), curves(alone))
    verdicts = [open_run(path).verdict for path in (shared, alone)]
    assert verdicts[0] is not None
    assert verdicts[1] is not None
    assert verdicts[0].summary == verdicts[1].summary


def test_each_seed_has_its_own_shared_teacher(tmp_path: Path) -> None:
    seeds = {"count": 2, "retrain_teacher": True}
    sweep = Sweep(sweep_of({"grid": {"student.hidden": [4, 6]}}, seeds=seeds), tmp_path / "sweep")
    run_all(sweep)
    first, second = map(sweep.path, sweep.runs)
    log = (second / "log.jsonl").read_text()
    for seed in (1, 2):
        assert f"Seed {seed}: the teacher is that of hidden-4" in log
        assert same_weights(first / f"seed-{seed}/teacher.safetensors", second / f"seed-{seed}/teacher.safetensors")
    alone = nfkd.run(sweep.configs[1], tmp_path / "alone").path
    assert same_weights(second / "seed-2/student.safetensors", alone / "seed-2/student.safetensors")


def test_only_what_changes_the_teacher_keeps_it_from_being_shared() -> None:
    def key(**changes: object) -> str:
        return teacher_key(moons(**changes))

    same: list[dict[str, object]] = [
        {"student": {"hidden": 16}},
        {"training": {"student_steps": 99, "baseline": False}},
        {"distillation": {"nll": {"weight": 0.5}}},
        {"seeds": {"count": 3}},
        {"name": "other"},
    ]
    other: list[dict[str, object]] = [
        {"teacher": {"hidden": 16}},
        {"data": {"count": 500}},
        {"training": {"teacher_steps": 99}},
        {"training": {"learning_rate": 0.1}},
        {"training": {"batch_size": 16}},
        {"compute": {"threads": 2}},
    ]
    assert {key(**changes) for changes in same} == {key()}
    assert len({key(), *(key(**changes) for changes in other)}) == len(other) + 1
    own_rate = {"teacher_learning_rate": 0.01}
    assert key(training=own_rate) == key(training=own_rate | {"learning_rate": 0.1})


def test_a_run_without_the_teacher_or_with_other_data_is_passed_over(tmp_path: Path) -> None:
    config: ExperimentConfig = quick()
    path = nfkd.run(config, tmp_path / "run").path
    found = find_teacher([tmp_path / "missing", path], config, 1, saved_data(path))
    assert found is not None
    assert found.summary.stage == "teacher"
    assert find_teacher([path], config, 1, '{"other": "data"}') is None
    assert find_teacher([path], config, 2, saved_data(path)) is None
    (path / "teacher.safetensors").unlink()
    assert find_teacher([path], config, 1, saved_data(path)) is None
    (path / "run.h5").write_bytes(b"damaged")
    assert find_teacher([path], config, 1, saved_data(path)) is None


def saved_data(path: Path) -> str:
    from nfkd.training.checkpoint import saved_fingerprint

    return saved_fingerprint(path) or ""
