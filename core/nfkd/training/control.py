"""Requests of other threads to the training thread: pause, resume, stop, and copies of the weights."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import count
from typing import Any, Literal

from torch import Tensor

from nfkd.protocol.roles import Role

Request = tuple[Any, ...]
"""A request on its way to another process: its name and its values."""


class StopStage(Exception):  # noqa: N818 - a request, not an error
    """The user ended this stage; the run continues with the next."""


class StopRun(Exception):  # noqa: N818 - a request, not an error
    """The user ended the run."""


class NotTraining(Exception):  # noqa: N818 - a reply, not an error
    """There are no weights to copy: the run has ended or is between two stages."""


@dataclass(frozen=True)
class LiveWeights:
    """A copy of the weights in training, taken between two steps."""

    seed: int
    stage: Role
    step: int
    weights: dict[str, Tensor]


class Control:
    """Thread-safe handle to pause, resume or stop a run, and to copy its weights.

    Attributes
    ----------
    on_pause
        Called in the training thread when the run pauses (True) and continues (False).
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.on_pause: Callable[[bool], None] = lambda _: None
        self._paused = False
        self._paused_seconds = 0.0
        self._stop: Literal["stage", "run"] | None = None
        self._requests: deque[Future[LiveWeights]] = deque()
        self._closed = False
        self._send: Callable[[Request], None] | None = None
        self._asked: dict[int, Future[LiveWeights]] = {}
        self._numbers = count()

    @property
    def paused(self) -> bool:
        """Whether a pause was requested."""
        return self._paused

    @property
    def stopping(self) -> bool:
        """Whether the end of the run was requested."""
        return self._stop == "run"

    def pause(self) -> None:
        """Pause at the next step."""
        with self._changed:
            self._paused = True
            self._forward("pause")

    def resume(self) -> None:
        """Continue after a pause."""
        with self._changed:
            self._paused = False
            self._forward("resume")
            self._changed.notify_all()

    def stop(self, scope: Literal["stage", "run"]) -> None:
        """End the stage or the run at the next step, also while paused; ``"run"`` overrides ``"stage"``."""
        with self._changed:
            self._stop = "run" if "run" in (scope, self._stop) else "stage"
            self._paused = False
            self._forward("stop", self._stop)
            self._changed.notify_all()

    def begin_stage(self) -> None:
        """Forget a request to end the previous stage."""
        with self._changed:
            if self._stop == "stage":
                self._stop = None

    @property
    def paused_seconds(self) -> float:
        """Total time of all pauses so far, in seconds."""
        return self._paused_seconds

    def live_weights(self) -> Future[LiveWeights]:
        """Request a copy of the weights between two steps; the future fails with `NotTraining` if there are none."""
        future: Future[LiveWeights] = Future()
        with self._changed:
            if self._closed:
                future.set_exception(NotTraining())
            elif self._send is not None:
                self._ask(future)
            else:
                self._requests.append(future)
                self._changed.notify_all()
        return future

    def forward(self, send: Callable[[Request], None]) -> None:
        """Send every request on, those before included: another process trains. It handles them by `receive`."""
        with self._changed:
            self._send = send
            if self._paused:
                self._forward("pause")
            if self._stop is not None:
                self._forward("stop", self._stop)
            while self._requests:
                self._ask(self._requests.popleft())

    def _forward(self, *request: Any) -> None:
        if self._send is not None:
            self._send(request)

    def _ask(self, future: Future[LiveWeights]) -> None:
        number = next(self._numbers)
        self._asked[number] = future
        self._forward("weights", number)

    def receive(self, request: Request, reply: Callable[[int, LiveWeights | None], None]) -> None:
        """Handle a request that another process has sent on; `reply` gets its number and the weights, if any."""
        match request:
            case ("pause",):
                self.pause()
            case ("resume",):
                self.resume()
            case ("stop", scope):
                self.stop(scope)
            case ("weights", number):
                self.live_weights().add_done_callback(lambda done: reply(number, _result(done)))
            case _:
                pass

    def receive_weights(self, number: int, weights: LiveWeights | None) -> None:
        """Answer a request for weights that was sent on."""
        with self._changed:
            future = self._asked.pop(number, None)
        if future is None or not future.set_running_or_notify_cancel():
            return
        if weights is None:
            future.set_exception(NotTraining())
        else:
            future.set_result(weights)

    def poll(self, copy: Callable[[], LiveWeights], settle: Callable[[], None] = lambda: None) -> None:
        """Handle the requests; the training thread calls this between two steps.

        Parameters
        ----------
        copy
            Returns the weights.
        settle
            Called first where there is a request.

        Raises
        ------
        StopStage, StopRun
            When the user ended the stage or the run.
        """
        if not (self._paused or self._requests or self._stop):
            return
        settle()
        self._hold(copy)
        with self._changed:
            if self._stop == "run":
                raise StopRun
            if self._stop == "stage":
                self._stop = None
                raise StopStage

    def poll_outside_training(self, copy: Callable[[], LiveWeights] | None = None) -> None:
        """Handle the requests during long work without steps: wait while paused.

        A request to end the stage takes effect at its first step.

        Parameters
        ----------
        copy
            Returns the weights; None where there are none.

        Raises
        ------
        StopRun
            When the user ended the run.
        """
        self._hold(copy or _no_weights)
        if self.stopping:
            raise StopRun

    def _hold(self, copy: Callable[[], LiveWeights]) -> None:
        """Answer requests for weights, and wait while the run is paused."""
        self._answer(copy)
        if self._paused:
            began = time.perf_counter()
            self.on_pause(True)
            while self._wait():
                self._answer(copy)
            self._paused_seconds += time.perf_counter() - began
            self.on_pause(False)

    def _wait(self) -> bool:
        """Wait for the end of the pause or a request; return whether the run is still paused."""
        with self._changed:
            self._changed.wait_for(lambda: not self._paused or bool(self._requests))
            return self._paused

    def between_stages(self) -> None:
        """Let all waiting requests for weights fail: there are none at this moment."""
        self._answer(_no_weights)

    def close(self) -> None:
        """Let all waiting and later requests for weights fail."""
        with self._changed:
            self._closed, asked = True, list(self._asked)
        self.between_stages()
        for number in asked:
            self.receive_weights(number, None)

    def _answer(self, copy: Callable[[], LiveWeights]) -> None:
        if not self._requests:
            return
        with self._changed:
            requests, self._requests = self._requests, deque()
        for future in requests:
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(copy())
            except Exception as error:  # noqa: BLE001 - the requester gets the error; training continues
                future.set_exception(error)


def _result(done: Future[LiveWeights]) -> LiveWeights | None:
    return None if done.cancelled() or done.exception() is not None else done.result()


def _no_weights() -> LiveWeights:
    raise NotTraining
