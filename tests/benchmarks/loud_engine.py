"""An engine that sends a given number of events when it is asked to: ``python -m tests.benchmarks.loud_engine``.

A `PauseQueue` request starts `EVENTS` curve points as fast as they are read; a `StageBurst`, named by the request
`Resume`, draws pictures and progress ten times a second, as a quick run does.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

import numpy as np

from nfkd.engine import core
from nfkd.engine.commands import serve
from nfkd.engine.limits import Limits
from nfkd.protocol import events, queue
from nfkd.protocol import requests as ask
from nfkd.protocol.records import CurveBatch

EVENTS = 5000
BURST_SECONDS, EVERY = 20.0, 0.1
PICTURE = (64, 1, 28, 28)
"""float32: 200 kB."""


class LoudEngine(core.Engine):
    """Sends events on request."""

    async def answer(self, request: Any) -> Any:
        if isinstance(request, queue.PauseQueue):
            for number in range(EVENTS):
                self._emit(points(number))
            return ask.Done()
        if isinstance(request, ask.Resume):
            self._burst = asyncio.create_task(self._draw())
            return ask.Done()
        return await super().answer(request)

    async def _draw(self) -> None:
        end = time.monotonic() + BURST_SECONDS
        picture = np.random.default_rng(1).random(PICTURE, np.float32)
        step = 0
        while time.monotonic() < end:
            step += 1
            where: Any = {"run": "run", "seed": 1, "stage": "teacher", "step": step}
            self._emit(events.SamplesDrawn(**where, temperature=1.0, samples=picture))
            self._emit(events.Progress(**where, steps=0, steps_per_second=0.0, seconds_left=time.time(), fraction=0.0))
            await asyncio.sleep(EVERY)


def points(number: int) -> events.CurvePoints:
    """Return the points of ten curves at one step."""
    batch = CurveBatch(steps=np.array([number]), values=np.array([1.5]), times=np.array([0.1]))
    curves = {f"train/term {index}": batch for index in range(10)}
    return events.CurvePoints(run="run", seed=1, stage="teacher", curves=curves)


if __name__ == "__main__":
    core.Engine = LoudEngine  # type: ignore[misc]
    sys.exit(serve(Limits(events=1_000_000, event_bytes=1 << 30)))
