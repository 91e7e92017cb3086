"""Runs on data that stays on disk: the same figures as in memory, to the bit, and what happens when files change."""

from __future__ import annotations

import math
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import nfkd
from nfkd.config import ExperimentConfig
from nfkd.data import loading
from nfkd.protocol import events
from nfkd.runs.reader import open_run
from nfkd.training.api import prepare
from nfkd.training.control import Control
from nfkd.training.generators import Batches
from nfkd.training.job import execute_run
from nfkd.training.read_ahead import reading_ahead
from tests.core.data.table_files import table, write
from tests.core.tiny import digits, moons
from tests.core.training.runs import assert_same, progress_at_every_step, stop_run

SHORT = {"teacher_steps": 6, "student_steps": 10, "baseline": False}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NFKD_DATA", str(tmp_path / "cache"))


def on(config: ExperimentConfig, **data: Any) -> ExperimentConfig:
    return ExperimentConfig.from_dict(config.model_dump(mode="json") | {"data": data})


def rows(folder: Path, ending: str) -> ExperimentConfig:
    values = table(400)
    values[:, 4] = np.abs(values[:, 4])
    path = write(folder / f"t.{ending}", values)
    roles = {"context": ["3"], "weight": "4"} if ending in ("npy", "h5") else {"context": ["eta"], "weight": "w"}
    return on(moons(training=SHORT), kind="table", path=path, **roles)


def pictures(folder: Path) -> ExperimentConfig:
    rng = np.random.default_rng(0)
    (folder / "p").mkdir()
    for number in range(100):
        Image.fromarray(rng.integers(0, 256, (8, 8), np.uint8)).save(folder / "p" / f"{number:03}.png")
    return on(digits(training=SHORT), kind="image_folder", path=str(folder / "p"), size=8, colour=False, shift=1)


def keep_on_disk(patch: pytest.MonkeyPatch) -> None:
    """Let *auto* keep everything on disk."""
    patch.setattr("nfkd.data.files._COPIES", 10**15)
    loading._cache.clear()


@pytest.mark.parametrize("ending", ["csv", "parquet", "h5", "npy", "pictures"])
def test_a_run_on_disk_is_that_in_memory(tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = pictures(tmp_path) if ending == "pictures" else rows(tmp_path, ending)
    nfkd.run(config, tmp_path / "memory")
    if ending in ("csv", "pictures"):
        stop_run(tmp_path / "both", config, "student", 5)
    keep_on_disk(monkeypatch)
    nfkd.run(config, tmp_path / "disk")
    assert_same(tmp_path / "disk", tmp_path / "memory", config)
    if ending in ("csv", "pictures"):
        nfkd.run(config, tmp_path / "both", resume=True)
        assert_same(tmp_path / "both", tmp_path / "memory", config)
    log = (tmp_path / "disk" / "log.jsonl").read_text()
    assert "The examples are read from disk, batch by batch." in log
    assert "read from disk" not in (tmp_path / "memory" / "log.jsonl").read_text()


def test_tables_without_noise_are_read_ahead_also_with_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only draws of noise are in memory."""
    keep_on_disk(monkeypatch)
    for config, ahead in ((rows(tmp_path, "csv"), True), (pictures(tmp_path), False)):
        dataset = replace(loading.load_dataset(config.data), noise_draws=2)
        index = np.arange(8)
        expected = dataset.training_batch(index, *[torch.Generator().manual_seed(1)] * 2)
        with reading_ahead(dataset, Batches(len(dataset.train), 8, torch.Generator())) as found:
            assert (found is not dataset) is ahead
            assert found.training_batch(index, *[torch.Generator().manual_seed(1)] * 2).x.equal(expected.x)


class Watched:
    """Examples that note which threads read them."""

    def __init__(self, whole: Any) -> None:
        self.whole, self.shape, self.threads = whole, whole.shape, list[str]()

    def __len__(self) -> int:
        return len(self.whole)

    def __getitem__(self, index: Any) -> np.ndarray:
        self.threads.append(threading.current_thread().name)
        return np.asarray(self.whole[index])


@pytest.mark.parametrize(("slow", "in_step"), [(math.inf, 8), (-1.0, 6)], ids=["fast", "slow"])
def test_rows_are_read_ahead_only_where_reading_is_slow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slow: float, in_step: int
) -> None:
    """After five slow reads, the sixth starts the reader, which has read the next two batches."""
    keep_on_disk(monkeypatch)
    monkeypatch.setattr("nfkd.training.read_ahead._SLOW", slow)
    dataset = loading.load_dataset(rows(tmp_path, "npy").data)
    watched: Any = Watched(dataset.train.values)
    dataset = replace(dataset, train=replace(dataset.train, values=watched))
    batches = Batches(len(dataset.train), 16, torch.Generator().manual_seed(1))
    with reading_ahead(dataset, batches) as found:
        for _ in range(8):
            index = batches.next().numpy()
            assert np.array_equal(np.asarray(found.train.take(index).values), watched.whole[index])
    assert sum(not name.startswith("reader") for name in watched.threads) == in_step


def test_a_file_that_changes_in_a_run_ends_it_resumably(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = rows(tmp_path, "npy")
    nfkd.run(config, tmp_path / "whole")
    keep_on_disk(monkeypatch)
    path, seen = Path(config.data.path), list[events.RunEvent]()  # type: ignore[union-attr]
    content = path.read_bytes()

    def watch(event: events.RunEvent) -> None:
        seen.append(event)
        if isinstance(event, events.Progress) and (event.stage, event.step) == ("student", 7):
            path.write_bytes(content[:-800])

    run = prepare(config, tmp_path / "changed")
    with progress_at_every_step():
        assert execute_run(run, config, watch, Control()) == "failed"
    error = open_run(run).row.cause
    assert "t.npy: has changed while it was in use: restore it and resume the run" in error
    path.write_bytes(content)
    loading._cache.clear()
    nfkd.run(config, run, resume=True)
    assert_same(run, tmp_path / "whole", config)


def test_a_stop_ends_the_preparation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = rows(tmp_path, "csv")
    keep_on_disk(monkeypatch)
    control = Control()
    control.stop("run")
    run = prepare(config, tmp_path / "run")
    keep_on_disk(monkeypatch)
    (tmp_path / "t.csv").touch()  # prepared again
    assert execute_run(run, config, lambda _: None, control) == "stopped"
    assert "Preparing t.csv" in (run / "log.jsonl").read_text()
    assert not list((tmp_path / "cache" / "indexes").glob("*.part"))
    nfkd.run(config, run, resume=True)
