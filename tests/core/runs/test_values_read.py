"""How many values are read from a run's file: those of a curve once, and later only new ones."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from nfkd.protocol.requests import Snapshot
from nfkd.protocol.view import RunView
from nfkd.runs.layout import create_run
from nfkd.runs.reader import SeedRecord, open_run
from nfkd.runs.run_curves import read_run_curve
from nfkd.runs.writer import RunWriter
from tests.core.runs.written import points, started
from tests.core.tiny import moons


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count the numbers that are read from the datasets of curves, by the dataset's path."""
    counts = Counter[str]()
    plain = h5py.Dataset.__getitem__

    def counted(self: h5py.Dataset, *args: Any, **named: Any) -> Any:
        values = plain(self, *args, **named)
        if "/curves/" in str(self.name):
            counts[str(self.name)] += np.size(values)
        return values

    monkeypatch.setattr(h5py.Dataset, "__getitem__", counted)
    return counts


@pytest.fixture
def run(tmp_path: Path) -> Path:
    path = create_run(tmp_path, moons(), teacher="MAF 2", student="MAF 1")
    writer = RunWriter(path, moons(), started(str(path)), device="cpu", threads=1)
    writer.handle(points("student", 1, 500))
    writer.close()
    return path


def test_opening_reads_every_value_once(run: Path, read: Counter[str]) -> None:
    assert len(open_run(run).curves["student"]["train/total"].steps) == 500
    assert {name: count for name, count in read.items() if count} == {
        f"/student/curves/train/total/{column}": 500 for column in ("step", "value", "time")
    }


def test_comparing_reads_steps_and_values_once(run: Path, read: Counter[str]) -> None:
    assert read_run_curve(run, "train/total", "student", 100) is not None
    assert read == {f"/student/curves/train/total/{column}": 500 for column in ("step", "value")}


def test_following_a_run_reads_only_new_values(run: Path, read: Counter[str]) -> None:
    snapshot = open_run(run).snapshot()
    assert isinstance(snapshot, Snapshot)
    view = RunView.from_snapshot(snapshot)
    writer = RunWriter.reopen(run, {"student": 500, "teacher": None, "baseline": None})
    writer.handle(points("student", 501, 7))
    writer.close()
    read.clear()
    record = SeedRecord(run, run, {"student": view.stages[1, "student"]})
    assert record.stages["student"].curves["train/total"].steps.tolist() == list(range(501, 508))
    assert {name: count for name, count in read.items() if count} == {
        f"/student/curves/train/total/{column}": 7 for column in ("step", "value", "time")
    }
