"""What the engine's main thread may ask of the worker thread: pause, go on, stop, and a copy of the weights."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from nfkd.protocol.roles import Role


class StopStage(Exception):  # noqa: N818 - a request, not an error
    """The user ended this stage; the run goes on with the next."""


class StopRun(Exception):  # noqa: N818 - a request, not an error
    """The user ended the run."""


class NotTraining(Exception):  # noqa: N818 - an answer, not an error
    """There are no living weights to copy: the run has ended or is between two stages."""


@dataclass(frozen=True)
class LiveWeights:
    """A copy of the weights in training, taken between two steps."""

    seed: int
    stage: Role
    step: int
    weights: dict[str, Tensor]


class Control:
    """The strings that a run is led by; every method is safe from any thread.

    Attributes
    ----------
    on_pause
        Told, in the worker thread, when the run holds (True) and goes on (False).
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.on_pause: Callable[[bool], None] = lambda _: None
        self._paused = False
        self._held = 0.0
        self._stop: Literal["stage", "run"] | None = None
        self._wanted: deque[Future[LiveWeights]] = deque()
        self._closed = False

    @property
    def paused(self) -> bool:
        """Whether a pause was asked for."""
        return self._paused

    @property
    def stopping(self) -> bool:
        """Whether the end of the run was asked for."""
        return self._stop == "run"

    def pause(self) -> None:
        """Hold at the next step."""
        with self._changed:
            self._paused = True

    def resume(self) -> None:
        """Go on."""
        with self._changed:
            self._paused = False
            self._changed.notify_all()

    def stop(self, scope: Literal["stage", "run"]) -> None:
        """End the stage or the run at the next step; the run outdoes the stage. Ends a pause."""
        with self._changed:
            self._stop = "run" if "run" in (scope, self._stop) else "stage"
            self._paused = False
            self._changed.notify_all()

    def begin_stage(self) -> None:
        """Forget a wish to end the stage before: it was meant for that one alone."""
        with self._changed:
            if self._stop == "stage":
                self._stop = None

    @property
    def held(self) -> float:
        """Seconds that the run has been held so far."""
        return self._held

    def live_weights(self) -> Future[LiveWeights]:
        """Ask for a copy of the weights at the next step boundary; fails with `NotTraining` when there is none."""
        future: Future[LiveWeights] = Future()
        with self._changed:
            if self._closed:
                future.set_exception(NotTraining())
            else:
                self._wanted.append(future)
                self._changed.notify_all()
        return future

    def poll(self, copy: Callable[[], LiveWeights]) -> None:
        """Let the worker hear what was asked; called between two steps.

        Raises
        ------
        StopStage, StopRun
            When the user asked for it.
        """
        self._serve(copy)
        if self._paused:
            began = time.perf_counter()
            self.on_pause(True)
            while self._wait():
                self._serve(copy)
            self._held += time.perf_counter() - began
            self.on_pause(False)
        with self._changed:
            if self._stop == "run":
                raise StopRun
            if self._stop == "stage":
                self._stop = None
                raise StopStage

    def _wait(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: not self._paused or bool(self._wanted))
            return self._paused

    def _serve(self, copy: Callable[[], LiveWeights]) -> None:
        if self._wanted:
            self._settle(copy)

    def between_stages(self) -> None:
        """Tell everyone who waits for weights that there are none at this moment."""
        self._settle(_no_weights)

    def close(self) -> None:
        """As `between_stages`, for good."""
        with self._changed:
            self._closed = True
        self.between_stages()

    def _settle(self, answer: Callable[[], LiveWeights]) -> None:
        with self._changed:
            wanted, self._wanted = self._wanted, deque()
        for future in wanted:
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(answer())
            except Exception as error:  # noqa: BLE001 - whoever asked is told; training goes on
                future.set_exception(error)


def _no_weights() -> LiveWeights:
    raise NotTraining
