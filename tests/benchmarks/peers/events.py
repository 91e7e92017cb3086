"""The share of an engine's CPU time that events, files and pictures of a run take, beside the training itself.

Events are sent so often a second. Other load makes each second hold fewer steps, so the run's clock is its CPU time.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import wraps
from pathlib import Path
from typing import Any
from unittest.mock import patch

from nfkd.config import ExperimentConfig
from nfkd.engine.core import Engine
from nfkd.engine.limits import Limits
from nfkd.engine.outbox import Outbox
from nfkd.protocol import requests as ask
from nfkd.protocol.events import RunFailed, RunFinished
from nfkd.runs.writer import RunWriter
from nfkd.training.curves import CurveLog
from nfkd.training.experiment import Experiment
from nfkd.training.monitor import Monitor
from nfkd.training.progress import RunProgress
from nfkd.training.system_usage import SystemUsage
from tests.benchmarks.peers.case import Case
from tests.benchmarks.peers.timing import Figure

STEPS = 200
PARTS = {
    "HDF5": [(RunWriter, "handle"), (RunWriter, "flush")],
    "pictures": [(Monitor, "publish")],
    "curves": [(CurveLog, "add"), (CurveLog, "flush")],
    "progress": [(RunProgress, "step"), (SystemUsage, "measure")],
}
"""What runs in the thread of the training; the rest of the engine is another thread, that of its loop."""


class Shares:
    """CPU seconds of the parts, each without those that it calls."""

    def __init__(self) -> None:
        self.seconds = defaultdict[str, float](float)
        self._inside: list[float] = []

    def measured(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function whose CPU time is added to a part."""

        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            began = time.thread_time()
            self._inside.append(0.0)
            try:
                return function(*args, **kwargs)
            finally:
                seconds = time.thread_time() - began
                self.seconds[part] += seconds - self._inside.pop()
                if self._inside:
                    self._inside[-1] += seconds

        return call

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Measure all parts, of a run whose clock is the CPU time of this process."""
        with ExitStack() as stack:
            for name in ("perf_counter", "monotonic"):
                stack.enter_context(patch.object(time, name, time.process_time))
            stack.enter_context(patch.dict(RunProgress.__init__.__kwdefaults__, clock=time.process_time))
            for part, functions in PARTS.items():
                for owner, name in functions:
                    stack.enter_context(patch.object(owner, name, self.measured(part, getattr(owner, name))))
            yield


async def run_in_engine(config: ExperimentConfig, folder: Path, clients: int) -> float:
    """Run an experiment in an engine with clients that read all events; return the CPU seconds of its loop."""
    engine, ended = Engine(Limits()), asyncio.Event()
    boxes = [Outbox() for _ in range(clients)]
    for box in boxes:
        engine.subscribe(box.put_event)
    engine.subscribe(lambda event: ended.set() if isinstance(event, RunFinished | RunFailed) else None)

    async def read(box: Outbox) -> None:
        while True:
            await box.pop()

    readers = [asyncio.create_task(read(box)) for box in boxes]
    await engine.answer(ask.Run(config=config.to_toml(), folder=str(folder)))
    began = time.thread_time()
    await ended.wait()
    seconds = time.thread_time() - began
    await engine.close()  # the training's thread has then ended
    for reader in readers:
        reader.cancel()
    return seconds


def event_shares(config: ExperimentConfig, clients: int = 1) -> Mapping[str, float]:
    """Return the share of the engine's CPU time of each part of a run, 0 to 1, without evaluations after a stage."""
    shares = Shares()
    execute, total = Experiment.execute, [0.0]

    def timed(self: Experiment) -> None:
        began = time.thread_time()
        execute(self)
        total[0] = time.thread_time() - began

    with (
        tempfile.TemporaryDirectory() as folder,
        shares.watching(),
        patch.object(Experiment, "execute", timed),
    ):
        loop = asyncio.run(run_in_engine(config, Path(folder), clients))
    everything = total[0] + loop
    return {"the engine's loop": loop / everything} | {
        part: seconds / everything for part, seconds in shares.seconds.items()
    }


def digits() -> ExperimentConfig:
    """Return the preset of digits with fewer steps."""
    return ExperimentConfig.load("digits").replace(
        training={"teacher_steps": STEPS, "student_steps": STEPS},
        seeds={"count": 1},
        compute={"device": "cpu", "threads": 1},
    )


def _percent() -> dict[str, Figure]:
    """Return the shares of the engine's CPU time, in percent; one run, so there are no quartiles."""
    shares = event_shares(digits())
    each = ", ".join(f"{part} {share:.2%}" for part, share in shares.items())
    print(f"    {each}", flush=True)
    pictures = shares.get("pictures", 0.0)
    parts = {WITHOUT_PICTURES: sum(shares.values()) - pictures, "the engine's CPU time, live pictures": pictures}
    return {part: Figure.of([100 * share]) for part, share in parts.items()}


WITHOUT_PICTURES = "the engine's CPU time, without live pictures"

CASES = (Case("events, HDF5 and curves of a run, digits", {WITHOUT_PICTURES: 2}, _percent, unit="%"),)
