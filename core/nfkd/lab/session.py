"""A lab in a thread of its own: steps at a chosen speed, frames for whoever reads them, requests between two steps."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Literal, TypeVar

import msgspec
import torch

from nfkd.config.lab import LabConfig
from nfkd.distillation.pool import PoolError
from nfkd.flows.isolation import plain_torch
from nfkd.lab.teacher_cache import TeacherCache
from nfkd.lab.training import LabTraining
from nfkd.protocol.lab import LabFrame, LabOpened, LabPicture, LabProbe
from nfkd.protocol.roles import Role
from nfkd.runs.errors import RunError
from nfkd.training.diagnosis import DivergedError

Result = TypeVar("Result")
_Request = tuple[Future[Any], Callable[[], Any]]
FRAME_SECONDS, _PICTURES_SHARE = 0.15, 0.5
"""Seconds from one frame to the next, at least; and the largest share of the time that pictures take."""
UNREAD_SECONDS = 5.0
"""A lab whose frames nobody reads for so long makes no steps."""
_STEPS_PER_SECOND = {"slow": 2.0, "normal": 20.0, "quick": 80.0, "full": float("inf")}


class LabSession:
    """A lab in a thread of its own.

    Every method returns at once, with a future where there is a result; futures are set in the lab's thread.

    Parameters
    ----------
    name
        Names the lab in replies.
    cache
        Keeps trained teachers.
    on_frame
        Called in the lab's thread with every frame, which has the pictures of all flows.
    """

    def __init__(self, name: str, cache: TeacherCache | None, on_frame: Callable[[LabFrame], None]) -> None:
        self.name, self._cache, self._on_frame = name, cache, on_frame
        self._requests: SimpleQueue[_Request | None] = SimpleQueue()
        self._ended = False
        self._training: LabTraining | None = None
        self._playing, self._wanted_steps = False, 0
        self._message = ""
        self._number = 0
        self._pictures: dict[Role, LabPicture] = {}
        self._frame_due = self._step_due = 0.0
        self._read_at = time.monotonic()
        self._wanted = True
        self._changed = False
        self._thread = Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    # --- requests -----------------------------------------------------------------------------------------------------

    def open(self, config: LabConfig) -> Future[LabOpened]:
        """Build the flows of a state."""
        return self._ask(lambda: self._open(config))

    def change(self, config: LabConfig) -> Future[LabOpened]:
        """Take another state; refused with a `ConfigError` if it has problems, and the lab stays as it is."""
        return self._ask(lambda: self._change(config))

    def control(self, action: Literal["play", "pause", "step", "restart"], steps: int = 1) -> Future[None]:
        """Play, pause, make some steps, or start the flows anew."""
        return self._ask(lambda: self._control(action, steps))

    def probe(self, point: tuple[float, float]) -> Future[LabProbe]:
        """Follow a point through the layers."""
        return self._ask(lambda: self._ready.probe(self.name, point))

    def want_frame(self) -> Future[None]:
        """Ask for a frame as soon as there is something new."""
        return self._ask(self._want)

    def close(self, seconds: float) -> bool:
        """End the thread; return whether it ended within some seconds."""
        self._requests.put(None)
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _ask(self, function: Callable[[], Result]) -> Future[Result]:
        future: Future[Result] = Future()
        self._requests.put((future, function))
        if self._ended:
            self._refuse_waiting()
        return future

    def _refuse_waiting(self) -> None:
        """Refuse the requests that the lab's thread will not answer any more."""
        with suppress(Empty):
            while True:
                request = self._requests.get_nowait()
                if request is not None and request[0].set_running_or_notify_cancel():
                    request[0].set_exception(lab_not_open())

    # --- in the lab's thread ------------------------------------------------------------------------------------------

    @property
    def _ready(self) -> LabTraining:
        if self._training is None:
            msg = "the lab has no flows yet"
            raise RuntimeError(msg)
        return self._training

    def _work(self) -> None:
        with plain_torch():
            torch.set_num_threads(1)
            while self._answer_requests():
                self._step_if_due()
                self._show_if_due()
        self._ended = True
        self._refuse_waiting()

    def _answer_requests(self) -> bool:
        """Answer what waits, or wait until something is due; return False at the end."""
        timeout = self._seconds_to_wait()
        try:
            while True:
                request = self._requests.get(timeout=timeout) if timeout != 0 else self._requests.get_nowait()
                if request is None:
                    return False
                _answer(*request)
                timeout = 0.0
        except Empty:
            return True

    def _seconds_to_wait(self) -> float | None:
        """Return how long nothing has to be done; None for until the next request."""
        due: list[float] = []
        if self._steps_on:
            due.append(self._step_due)
        if self._wanted and self._changed:
            due.append(self._frame_due)
        return max(0.0, min(due) - time.monotonic()) if due else None

    @property
    def _steps_on(self) -> bool:
        """Whether steps are being made."""
        training = self._training
        if training is None or training.phase == "done" or not (self._playing or self._wanted_steps):
            return False
        return bool(self._wanted_steps) or time.monotonic() - self._read_at < UNREAD_SECONDS

    def _step_if_due(self) -> None:
        now = time.monotonic()
        if not self._steps_on or now < self._step_due:
            return
        training = self._ready
        speed = "full" if self._wanted_steps or training.phase == "teacher" else training.config.lab.speed
        self._step_due = max(self._step_due + 1 / _STEPS_PER_SECOND[speed], now)
        try:
            training.step()
        except DivergedError as error:
            self._halt(error.info.cause)
        except PoolError as error:
            self._halt(f"The teacher's samples cannot be used: {error}.")
        except Exception as error:  # noqa: BLE001 - the thread must go on
            self._fail(error)
        self._wanted_steps = max(0, self._wanted_steps - 1)
        if training.phase == "done":
            self._playing, self._wanted_steps = False, 0
        self._changed = True

    def _fail(self, error: Exception) -> None:
        """Stop after an error that nobody expected; the engine's log has the details."""
        traceback.print_exception(error)
        self._halt(f"Training stopped ({type(error).__name__}): restart the lab, or change its settings.")

    def _halt(self, message: str) -> None:
        self._playing, self._wanted_steps, self._message = False, 0, message

    def _show_if_due(self) -> None:
        now = time.monotonic()
        if self._training is None or not (self._wanted and self._changed) or now < self._frame_due:
            return
        self._wanted = self._changed = False
        self._number += 1
        training = self._ready
        try:
            self._pictures |= training.pictures({role: shown.step for role, shown in self._pictures.items()})
        except Exception as error:  # noqa: BLE001 - the thread must go on
            self._fail(error)
        frame = LabFrame(
            lab=self.name,
            number=self._number,
            phase=training.phase,
            step=training.step_number,
            playing=self._playing,
            shown=list(self._pictures),
            pictures=dict(self._pictures),
            curves=training.curves,
            noise=training.noise.numpy(),
            message=self._message,
        )
        self._frame_due = now + max(FRAME_SECONDS, (time.monotonic() - now) / _PICTURES_SHARE)
        self._on_frame(frame)

    def _want(self) -> None:
        self._wanted, self._read_at = True, time.monotonic()

    def _open(self, config: LabConfig) -> LabOpened:
        self._training = LabTraining(config, self._cache)
        return self._described(redraw=True)

    def _change(self, config: LabConfig) -> LabOpened:
        training = self._ready
        before = training.config
        restarted = training.change(config)
        self._step_due = 0.0
        return self._described(redraw=restarted or _look(before) != _look(config))

    def _described(self, *, redraw: bool) -> LabOpened:
        """Return what is open; if wanted, all pictures are made anew."""
        opened = self._ready.opened(self.name)
        self._message, self._changed = "", True
        if redraw:
            self._pictures, self._frame_due = {}, 0.0
            opened = msgspec.structs.replace(opened, since=self._number)
        return opened

    def _control(self, action: Literal["play", "pause", "step", "restart"], steps: int) -> None:
        self._message = ""
        match action:
            case "play":
                self._playing = self._ready.phase != "done"
            case "pause":
                self._playing, self._wanted_steps = False, 0
            case "step":
                self._playing, self._wanted_steps = False, self._wanted_steps + steps
            case "restart":
                self._ready.restart()
                self._pictures = {}
        self._step_due, self._changed = time.monotonic(), True


def _answer(future: Future[Any], function: Callable[[], Any]) -> None:
    """Set a future to the result of a function, or to its error."""
    if future.set_running_or_notify_cancel():
        try:
            future.set_result(function())
        except Exception as error:  # noqa: BLE001 - the caller gets it
            future.set_exception(error)


def _look(config: LabConfig) -> tuple[Any, ...]:
    """Return what the pictures of unchanged flows depend on."""
    return config.monitor.temperature, config.lab.off, config.data, config.lab.points, config.lab.choice


def lab_not_open() -> RunError:
    """Return the error for a lab that was closed."""
    return RunError("The lab is not open", "It was closed, or the engine was started again.", "Open it again.")
