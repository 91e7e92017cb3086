"""The cost of a run's events, of opening a run and of listing runs."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from nfkd.config import ExperimentConfig
from nfkd.engine.outbox import Outbox
from nfkd.protocol.codec import from_engine, to_wire
from nfkd.protocol.events import CurvePoints, SeedStarted
from nfkd.protocol.frames import FrameDecoder
from nfkd.protocol.records import CurveBatch, CurveInfo, StagePlan
from nfkd.protocol.requests import Answer, Snapshot
from nfkd.protocol.thinning import thinned
from nfkd.protocol.view import RunView
from nfkd.runs.folder_scan import rows_of, scan_runs
from nfkd.runs.layout import create_run
from nfkd.runs.reader import open_run
from nfkd.runs.state import read_row
from nfkd.runs.writer import RunWriter
from nfkd.training.curves import CurveLog
from tests.benchmarks.growth.axis import Axis
from tests.benchmarks.peers.timing import Action

CURVES, POINTS = 10, 100
"""Curves of a run where their number does not change; points of each curve in an event."""


class Recording:
    """A run on disk whose curves grow."""

    def __init__(self, folder: Path, curves: int) -> None:
        config = ExperimentConfig.load("two_moons")
        self.path = create_run(folder, config, teacher="MAF 8", student="MAF 2")
        self.names = [f"train/{number}" for number in range(curves)]
        infos = [CurveInfo(name=name, label=name, unit="nats") for name in self.names]
        plan = StagePlan(stage="student", steps=1, curves=infos)
        started = SeedStarted(run=str(self.path), seed=1, stages=[plan], event_shape=[2])
        self.writer = RunWriter(self.path, config, started, device="cpu", threads=1)
        self.view = RunView(read_row(self.path), "")
        self.outbox = Outbox()
        self.view.apply(started)
        self.log = CurveLog(str(self.path), 1, "student", self.receive, elapsed=0.0, paused_seconds=float)
        self.steps = 0

    def receive(self, event: CurvePoints) -> None:
        """Do what the engine does with an event of the training thread: file, view, and the frame for a client."""
        self.writer.handle(event)
        self.view.apply(event)
        self.outbox.put_event(event)
        self.outbox.clear()  # as if sent

    def train(self, steps: int = POINTS) -> None:
        """Add a value of each curve at every step, as the training loop does, and flush the log once."""
        for _ in range(steps):
            self.steps += 1
            self.log.add(self.steps, dict.fromkeys(self.names, 0.5))
        self.log.flush()

    def lengthen(self, points: int) -> None:
        """Add points to each curve at once."""
        steps = np.arange(self.steps + 1, self.steps + points + 1)
        batch = CurveBatch(steps=steps, values=np.sin(steps), times=steps / 100)
        self.steps += points
        event = CurvePoints(run=str(self.path), seed=1, stage="student", curves=dict.fromkeys(self.names, batch))
        self.writer.handle(event)
        self.view.apply(event)

    def open(self) -> None:
        """Do what engine and studio do when a run is opened: read it, send it, and make the studio's view of it."""
        frame = to_wire(Answer(id=1, reply=thinned(open_run(self.path).snapshot())))
        body = b"".join(FrameDecoder().feed(frame))
        answer = from_engine(body)
        assert isinstance(answer, Answer)
        assert isinstance(answer.reply, Snapshot)
        view = RunView.from_snapshot(answer.reply)
        curve = view.stages[1, "student"].curves[self.names[0]]
        assert curve.steps[-1] == self.steps
        assert len(curve) >= self.steps / view.stride


@contextmanager
def _by_curves(sizes: Sequence[int]) -> Iterator[dict[int, Action]]:
    with tempfile.TemporaryDirectory() as folder:
        recordings = {size: Recording(Path(folder), size) for size in sizes}
        yield {size: recording.train for size, recording in recordings.items()}
        for recording in recordings.values():
            recording.writer.close()


@contextmanager
def _by_length(sizes: Sequence[int]) -> Iterator[dict[int, Recording]]:
    with tempfile.TemporaryDirectory() as folder:
        recordings = {size: Recording(Path(folder), CURVES) for size in sizes}
        for size, recording in recordings.items():
            recording.lengthen(size)
            recording.writer.flush()
        yield recordings
        for recording in recordings.values():
            recording.writer.close()


@contextmanager
def _training(sizes: Sequence[int]) -> Iterator[dict[int, Action]]:
    with _by_length(sizes) as recordings:
        yield {size: recording.train for size, recording in recordings.items()}


@contextmanager
def _opening(sizes: Sequence[int]) -> Iterator[dict[int, Action]]:
    with _by_length(sizes) as recordings:
        for recording in recordings.values():
            recording.writer.close()
        yield {size: recording.open for size, recording in recordings.items()}


@contextmanager
def _listing(sizes: Sequence[int]) -> Iterator[dict[int, Action]]:
    """Folders of runs; each run has its settings and its state."""
    config = ExperimentConfig.load("two_moons")
    with tempfile.TemporaryDirectory() as folder:
        actions: dict[int, Action] = {}
        for size in sizes:
            runs = Path(folder) / str(size)
            for number in range(size):
                create_run(runs, config.replace(name=f"run-{number}"), teacher="MAF 8", student="MAF 2")

            def scan(runs: Path = runs, size: int = size) -> None:
                assert len(rows_of(scan_runs(runs, {}).values())[0]) == size

            actions[size] = scan
        yield actions


AXES = (
    Axis(
        f"events of {POINTS} steps",
        f"{POINTS} steps of a run: events, run.h5, the engine's view and the frames",
        "curves",
        (4, 8, 16, 32, 64, 128),
        _by_curves,
        float,
    ),
    Axis(
        f"events of {POINTS} steps",
        f"the same, {CURVES} curves",
        "steps before",
        (1000, 10_000, 100_000, 1_000_000),
        _training,
        lambda _: 1.0,
    ),
    Axis(
        "opening a run",
        f"opening a run of {CURVES} curves, until the studio has it",
        "length in steps",
        (100, 1000, 10_000, 100_000, 300_000, 1_000_000),
        _opening,
        float,
    ),
    Axis("listing a folder", "listing a folder of runs", "runs", (50, 100, 200, 400, 800, 1600), _listing, float),
)
