"""A fake engine with scripted replies: in memory, or as a process on stdin and stdout.

The first argument of the process sets its behaviour: ``normal``, ``old`` (another protocol version), ``noisy`` (prints
to stdout), ``dead`` (ends at once), ``mute`` (never greets) or ``farewell`` (ends the connection with a reason).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Any

import msgspec
import numpy as np

from nfkd.config import ExperimentConfig
from nfkd.config.datasets import dataset_names, parse_data, parse_data_toml
from nfkd.config.problems import ConfigProblem
from nfkd.config.sweep import SweepConfig
from nfkd.config.toml import toml_text
from nfkd.protocol import comparing
from nfkd.protocol import requests as ask
from nfkd.protocol.codec import PROTOCOL, from_client, to_wire
from nfkd.protocol.comparing import ReadRunValues, RunValues
from nfkd.protocol.data import NamedData
from nfkd.protocol.events import (
    CurveBatch,
    CurvePoints,
    ErrorInfo,
    Event,
    Progress,
    RunChanged,
    RunFinished,
    RunRemoved,
    RunRow,
    SeedStarted,
    StageFinished,
    StagePlan,
    StageStarted,
    StageSummary,
    Verdict,
)
from nfkd.protocol.frames import FrameDecoder
from nfkd.protocol.inspection import ReadPlane
from nfkd.protocol.queue import (
    ContinueSweep,
    EstimateSweep,
    OrderQueue,
    PauseQueue,
    QueueChanged,
    QueueState,
    RunSweep,
    StopSweep,
    SweepAccepted,
    SweepDescription,
)
from nfkd.protocol.records import CurveInfo, MetricInterval
from nfkd.protocol.roles import USUAL, Role
from nfkd.protocol.times import EstimateTime, TimeEstimate
from nfkd.protocol.view import RunView
from tests.gui.scripted_runs import ScriptedRuns
from tests.gui.stored_pictures import StoredPictures

CRASH_MESSAGE = "Killed: out of memory"
STEPS = 100
TESTS = {"teacher": 2.5, "assistant-1": 2.7, "student": 3.0, "baseline": 3.2}


class ScriptRefusal(Exception):  # noqa: N818 - named like the engine's `Refused`
    """A request that the script refuses."""

    def __init__(self, error: ErrorInfo) -> None:
        self.error = error
        super().__init__(error.title)


def row_of(run: str, state: str, **changes: Any) -> RunRow:
    """Return the row of a run."""
    base = RunRow(
        run=run,
        name=PurePosixPath(run).name,
        state=state,  # type: ignore[arg-type]
        data="digits",
        teacher="Glow 8×2",
        student="Glow 2×2",
        created=time.time(),
        seeds=1,
        seeds_done=0,
        progress=0.0,
        device="cpu",
        unit="bits/dim",
    )
    return msgspec.structs.replace(base, **changes)


def summary_of(stage: str, seed: int, test: float) -> StageSummary:
    """Return the results of a stage."""
    return StageSummary(
        stage=stage,  # type: ignore[arg-type]
        seed=seed,
        parameters=12_345,
        multiply_adds=4_000_000,
        steps=STEPS,
        best_step=STEPS,
        validation=test,
        test=test,
        test_error=0.01,
        unit="bits/dim",
        samples_per_second=1000.0,
        seconds=12.0,
        sw=test / 100,
        same_noise=float("nan") if stage == "teacher" else 0.125,
    )


class Script:
    """The engine's state, its replies and its events."""

    def __init__(self, on_event: Callable[[Event], None]) -> None:
        self._on_event = on_event
        self.views: dict[str, RunView] = {}
        self.asked: list[ask.Request] = []
        self.active = ""
        self.queue = QueueState()
        self.ray = False
        self.roles: tuple[Role, ...] = USUAL
        self.floors = {"sw": 0.0212}
        self.previews: dict[str, ask.DataPreview] = {}
        self.named: list[NamedData] | None = None  # None: what is in the folder of named data sets
        self.stored = StoredPictures()
        self.runs = ScriptedRuns(self)
        self.estimate: TimeEstimate | None = None
        self.fetch_error: ErrorInfo | None = None
        self.layers: dict[str, list[ask.LayerInfo]] = {"teacher": [], "student": []}
        self.pairs = [ask.LayerPair(student="level1.split", teacher="level1.split", summary="level 1 ↔ level 1")]
        self.warnings: list[ConfigProblem] = []
        self.find_problems: Callable[[ExperimentConfig], list[ConfigProblem]] = lambda _config: []
        self.data_problems: list[ConfigProblem] = []

    def answer(self, request: ask.Request) -> ask.Reply:
        """Return the reply, or raise `ScriptRefusal`."""
        self.asked.append(request)
        if isinstance(request, comparing.ComparingRequest):
            return self.runs.answer(request)
        handler = getattr(self, f"_{type(request).__name__.lower()}", None)
        if handler is None:
            raise ScriptRefusal(ErrorInfo(title="Not in the script", cause=type(request).__name__))
        return handler(request)

    def begin(self, run: str, text: str, seeds: int = 1) -> None:
        """Start a run with its first seed and stage."""
        self.views[run] = RunView(row_of(run, "running", seeds=seeds), text)
        self.active = run
        self.emit(RunChanged(run=run, row=self.views[run].row))
        self.begin_seed(run, 1)

    def wait(self, runs: Mapping[str, float], *, paused: bool = False) -> None:
        """Queue runs with their expected seconds, after all others."""
        for run in runs:
            self.views.setdefault(run, RunView(row_of(run, "queued"), ""))
            self.set_state(run, "queued")
        self.set_queue([*self.queue.runs, *runs], [*self.queue.seconds, *runs.values()], paused=paused)

    def set_queue(self, runs: list[str], seconds: list[float], *, paused: bool) -> None:
        """Change the queue."""
        self.queue = QueueState(runs=runs, seconds=seconds, paused=paused)
        self.emit(QueueChanged(queue=self.queue))

    def begin_seed(self, run: str, seed: int) -> None:
        """Start a seed with its teacher stage."""
        info = [
            CurveInfo(name="train/total", label="Total"),
            CurveInfo(name="validation/nll", label="NLL", unit="bits/dim"),
        ]
        plans = [StagePlan(stage=role, steps=STEPS, curves=info) for role in self.roles]
        self.emit(
            SeedStarted(run=run, seed=seed, stages=plans, event_shape=[1, 8, 8], floors=self.floors, compared=270)
        )
        self.emit(StageStarted(run=run, seed=seed, stage="teacher"))

    def train(self, run: str, stage: str, step: int, seed: int = 1, *, search: bool = False) -> None:
        """Train one step: send a curve point and the progress."""
        batch = CurveBatch(steps=np.array([step]), values=np.array([1.0 / (step + 1)]), times=np.array([0.1 * step]))
        self.emit(CurvePoints(run=run, seed=seed, stage=stage, curves={"train/total": batch}))  # type: ignore[arg-type]
        fraction = (self.roles.index(stage) * STEPS + step) / (len(self.roles) * STEPS)  # type: ignore[arg-type]
        self.emit(
            Progress(
                run=run,
                seed=seed,
                stage=stage,  # type: ignore[arg-type]
                step=step,
                steps=STEPS,
                steps_per_second=10.0,
                seconds_left=42.0,
                fraction=fraction,
                search=search,
            )
        )

    def finish(self, run: str, state: str = "finished") -> None:
        """End a run with results and a verdict."""
        for stage in self.roles:
            self.emit(StageFinished(run=run, seed=1, stage=stage, summary=summary_of(stage, 1, TESTS[stage])))
        verdict = Verdict(
            verdict="inconclusive",
            metric="test likelihood",
            unit="bits/dim",
            difference=0.2,
            low=float("nan"),
            high=float("nan"),
            seeds=[1],
            differences=[0.2],
            summary="Inconclusive: one seed says nothing about chance.",
            others=[
                MetricInterval(
                    metric="C2ST",
                    unit="",
                    difference=-0.01,
                    low=float("nan"),
                    high=float("nan"),
                    seeds=[1],
                    summary="C2ST: the student loses 0.0100 (one seed, no interval)",
                )
            ],
        )
        self.emit(RunFinished(run=run, state=state, verdict=verdict))  # type: ignore[arg-type]
        self.set_state(run, state, progress=1.0, student_test=3.0, baseline_test=3.2)
        self.active = ""

    def set_state(self, run: str, state: str, **changes: Any) -> None:
        """Change a run's state."""
        row = msgspec.structs.replace(self.views[run].row, state=state, **changes)
        self.emit(RunChanged(run=run, row=row))

    def emit(self, event: Event) -> None:
        """Apply an event to its run, then send it."""
        view = self.views.get(getattr(event, "run", ""))
        if view is not None:
            view.apply(event)  # type: ignore[arg-type]
        self.stored.keep(event)
        self._on_event(event)

    # --- replies --------------------------------------------------------------------------------------------------

    def _status(self, _request: ask.Status) -> ask.EngineStatus:
        return ask.EngineStatus(
            version="0.1.0",
            torch="2.13.0",
            device="cpu",
            device_name="processor",
            threads=1,
            pid=1,
            clients=1,
            active=self.active,
            queue=self.queue,
            machine="box",
        )

    def _describe(self, request: ask.Describe) -> ask.Description:
        config = ExperimentConfig.from_toml(request.config)
        problems = list(self.data_problems)
        if config.student.hidden > 1000:
            problems.append(ConfigProblem(path="student.hidden", message="needs more memory than there is"))
        problems += self.find_problems(config)
        flow = ask.FlowDescription(
            summary="Glow 8×2",
            parameters=120_000,
            multiply_adds=4_000_000,
            memory=30 << 20,
            layers=self.layers["teacher"],
        )
        small = ask.FlowDescription(
            summary="Glow 2×2",
            parameters=12_000,
            multiply_adds=1_000_000,
            memory=10 << 20,
            layers=self.layers["student"],
        )
        return ask.Description(
            problems=problems,
            warnings=self.warnings,
            data="digits: 1,259 train, 269 validation, 269 test, 1×8×8",
            event_shape=[1, 8, 8],
            teacher=flow,
            student=small,
            pairs=self.pairs,
            assistants=[
                msgspec.structs.replace(flow, parameters=34_000, layers=self.layers.get(f"assistant-{number}", []))
                for number, _ in enumerate(config.assistants, start=1)
            ],
            assistant_pairs=[self.pairs for _ in config.assistants],
            device="cpu",
            memory_available=8 << 30,
            strategy="paper",
        )

    def _previewdata(self, request: ask.PreviewData) -> ask.DataPreview:
        return self.previews.get(parse_data_toml(request.config).kind) or ask.DataPreview(
            summary="digits", counts=[1259, 269, 269], event_shape=[1, 8, 8], unit="bits/dim", levels=17
        )

    def _estimatetime(self, _request: EstimateTime) -> TimeEstimate:
        if self.estimate is None:
            raise ScriptRefusal(ErrorInfo(title="Not measured", cause="A run is in training."))
        return self.estimate

    def _listdata(self, _request: ask.ListData) -> ask.DataList:
        stored = [NamedData(name, toml_text(parse_data(name))) for name in dataset_names()]
        return ask.DataList(named=stored if self.named is None else self.named)

    def _fetchdata(self, request: ask.FetchData) -> ask.Done:
        if self.fetch_error is not None:
            raise ScriptRefusal(self.fetch_error)
        self.data_problems = []
        del self.previews[parse_data_toml(request.config).kind]
        return ask.Done()

    def _cancelfetch(self, _request: ask.CancelFetch) -> ask.Done:
        return ask.Done()

    def _cancelreading(self, _request: ask.CancelReading) -> ask.Done:
        return ask.Done()

    def _listruns(self, request: ask.ListRuns) -> ask.RunList:
        return ask.RunList(folder=request.folder, rows=[view.row for view in self.views.values()])

    def _readrunvalues(self, request: ReadRunValues) -> RunValues:
        return RunValues(values={run: {"name": self.views[run].row.name} for run in request.runs if run in self.views})

    def _run(self, request: ask.Run) -> ask.RunAccepted:
        run = f"{request.folder}/{ExperimentConfig.from_toml(request.config).name}"
        self.begin(run, request.config)
        return ask.RunAccepted(run=run)

    def _openrun(self, request: ask.OpenRun) -> ask.Snapshot:
        return self._view(request.run).snapshot()

    def _readfigures(self, request: ask.ReadFigures) -> ask.Snapshot:
        return self._view(request.run).snapshot(figures_only=True)

    def _pause(self, request: ask.Pause) -> ask.Done:
        self._view(request.run)
        self.set_state(request.run, "paused")
        return ask.Done()

    def _resume(self, request: ask.Resume) -> ask.Done:
        self._view(request.run)
        self.set_state(request.run, "running")
        return ask.Done()

    def _stop(self, request: ask.Stop) -> ask.Done:
        self._view(request.run)
        if request.scope == "run":
            self.finish(request.run, "stopped")
        else:
            self.emit(StageStarted(run=request.run, seed=1, stage="student"))
        return ask.Done()

    def _estimatesweep(self, request: EstimateSweep) -> SweepDescription:
        runs = len(SweepConfig.from_toml(request.config).combinations())
        return SweepDescription(
            runs=runs, teachers=1, seconds=60.0 * runs, size=float(runs << 20), free=1 << 30, names=[], ray=self.ray
        )

    def _runsweep(self, request: RunSweep) -> SweepAccepted:
        return SweepAccepted(folder=f"{request.folder}/{SweepConfig.from_toml(request.config).name}")

    def _continuesweep(self, request: ContinueSweep) -> SweepAccepted:
        return SweepAccepted(folder=request.folder)

    def _stopsweep(self, request: StopSweep) -> ask.Done:
        left = [sweep for sweep in self.queue.sweeps if sweep.folder != request.folder]
        self.queue = msgspec.structs.replace(self.queue, sweeps=left)
        self.emit(QueueChanged(queue=self.queue))
        return ask.Done()

    def _orderqueue(self, request: OrderQueue) -> ask.Done:
        seconds = dict(zip(self.queue.runs, self.queue.seconds, strict=True))
        self.set_queue(request.runs, [seconds[run] for run in request.runs], paused=self.queue.paused)
        return ask.Done()

    def _pausequeue(self, request: PauseQueue) -> ask.Done:
        self.set_queue(self.queue.runs, self.queue.seconds, paused=request.paused)
        return ask.Done()

    def _resumefromdisk(self, request: ask.ResumeFromDisk) -> ask.RunAccepted:
        self._view(request.run)
        self.set_state(request.run, "running")
        return ask.RunAccepted(run=request.run)

    def _renamerun(self, request: ask.RenameRun) -> ask.RunAccepted:
        view = self._view(request.run)
        new = str(PurePosixPath(request.run).with_name(request.name))
        del self.views[request.run]
        view.row = msgspec.structs.replace(view.row, run=new, name=request.name)
        self.views[new] = view
        self.emit(RunRemoved(run=request.run, new=new))
        return ask.RunAccepted(run=new)

    def _trashruns(self, request: comparing.TrashRuns) -> comparing.RunsMoved:
        for run in request.runs:
            self._view(run)
            del self.views[run]
            self.emit(RunRemoved(run=run))
        return comparing.RunsMoved(moved={run: f"{request.folder}/.trash/{run}" for run in request.runs})

    def _listpictures(self, request: ask.ListPictures) -> ask.PictureList:
        return self.stored.list(request)

    def _readpictures(self, request: ask.ReadPictures) -> ask.StagePictures:
        return self.stored.read(request)

    def _shutdown(self, _request: ask.Shutdown) -> ask.Done:
        return ask.Done()

    def _view(self, run: str) -> RunView:
        if run not in self.views:
            raise ScriptRefusal(ErrorInfo(title="No such run", cause=f"{run} is not a run.", action="Choose another."))
        return self.views[run]


def _write(message: ask.FromEngine) -> None:
    sys.stdout.buffer.write(to_wire(message))
    sys.stdout.buffer.flush()


def _serve(behaviour: str) -> int:
    script = Script(lambda event: _write(ask.Notice(event=event)))
    decoder = FrameDecoder()
    while data := sys.stdin.buffer.raw.read(1 << 16):  # type: ignore[attr-defined]
        for body in decoder.feed(data):
            message = from_client(body)
            if isinstance(message, ask.Hello):
                if behaviour != "mute":
                    _write(ask.Hello(protocol=PROTOCOL + (behaviour == "old"), version="9.9.9"))
                if behaviour == "farewell":
                    _write(ask.Refusal(id=0, error=ErrorInfo(title="The client does not read", cause="too much waits")))
                    return 0
                if behaviour == "noisy":
                    sys.stdout.buffer.write(b"training started!\n")
                    sys.stdout.buffer.flush()
            if not isinstance(message, ask.Call):
                continue
            if isinstance(message.request, ReadPlane):  # the request that makes it crash
                sys.stderr.write(f"Traceback (most recent call last):\n{CRASH_MESSAGE}\n")
                return 137
            try:
                _write(ask.Answer(id=message.id, reply=script.answer(message.request)))
            except ScriptRefusal as refusal:
                _write(ask.Refusal(id=message.id, error=refusal.error))
    return 0


def main() -> int:
    """Run as a process."""
    behaviour = sys.argv[1] if len(sys.argv) > 1 else "normal"
    if behaviour == "dead":
        sys.stderr.write("No module named torch\n")
        return 1
    return _serve(behaviour)


if __name__ == "__main__":
    sys.exit(main())
