"""Labs of the engine's clients: requests go to the thread of a lab, frames come back."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec

from nfkd.config.datasets import parse_data_toml
from nfkd.config.lab import LabConfig
from nfkd.config.paths import config_paths
from nfkd.engine.file_probe import probe_files
from nfkd.engine.limits import Limits
from nfkd.engine.threads import RequestThreads
from nfkd.lab.own_points import read_points
from nfkd.lab.session import LabSession, lab_not_open
from nfkd.lab.teacher_cache import TeacherCache
from nfkd.protocol.lab import (
    ChangeLab,
    CloseLab,
    ControlLab,
    LabFrame,
    LabOpened,
    LabPoints,
    LabProbe,
    OpenLab,
    ProbeLab,
    ReadLab,
    ReadLabPoints,
)
from nfkd.protocol.requests import Done

_MOST = 4
"""Labs that are kept."""
_PATIENCE = 1.0
"""Seconds for which a reader waits for a newer frame."""
_CLOSE_SECONDS = 2.0


class _Open:
    """A lab and the frame that is shown of it; belongs to the loop."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.get_running_loop()
        self.session = LabSession(name, TeacherCache(), self._take)
        self._frame: LabFrame | None = None
        self._pictured: dict[Any, int] = {}
        self._newer = asyncio.Event()
        self._closed = False

    def close(self) -> None:
        """Refuse the readers that wait for a frame."""
        self._closed = True
        self._newer.set()

    def _take(self, frame: LabFrame) -> None:
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._show, frame)

    def _show(self, frame: LabFrame) -> None:
        old = self._frame.pictures if self._frame else {}
        new = [role for role, shown in frame.pictures.items() if shown is not old.get(role)]
        self._pictured |= dict.fromkeys(new, frame.number)
        self._frame = frame
        self._newer.set()
        self._newer = asyncio.Event()

    async def read(self, after: int) -> LabFrame:
        """Return the newest frame, with the pictures that are newer than frame `after`."""
        self.session.want_frame()
        while self._frame is None or self._frame.number <= after:
            newer = self._newer
            with suppress(TimeoutError):
                await asyncio.wait_for(newer.wait(), _PATIENCE)
            if self._closed:
                raise lab_not_open()
            if not newer.is_set() and self._frame is not None:
                break
        frame = self._frame
        pictures = {role: shown for role, shown in frame.pictures.items() if self._pictured[role] > after}
        return msgspec.structs.replace(frame, pictures=pictures)


class LabService:
    """Opens labs and answers requests about them; belongs to the running loop."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._labs: OrderedDict[str, _Open] = OrderedDict()
        self._files = RequestThreads("points", 1, limits)
        self._count = 0

    @property
    def handlers(self) -> dict[type, Callable[[Any], Any]]:
        """What answers each type of request."""
        return {
            OpenLab: self._open,
            ChangeLab: self._change,
            ControlLab: self._control,
            ReadLab: self._read,
            ProbeLab: self._probe,
            ReadLabPoints: self._points,
            CloseLab: self._close_one,
        }

    @property
    def running(self) -> list[str]:
        """The files that running threads use."""
        return self._files.running

    async def close(self) -> None:
        """End every lab."""
        for name in list(self._labs):
            await self._end(name)
        await self._files.close(self._limits.close_seconds)

    def _lab(self, name: str) -> _Open:
        if name not in self._labs:
            raise lab_not_open()
        self._labs.move_to_end(name)
        return self._labs[name]

    async def _open(self, request: OpenLab) -> LabOpened:
        config = LabConfig.from_toml(request.state)
        while len(self._labs) >= _MOST:
            await self._end(next(iter(self._labs)))
        self._count += 1
        name = f"lab {self._count}"
        lab = self._labs[name] = _Open(name)
        try:
            return await asyncio.wrap_future(lab.session.open(config))
        except BaseException:
            await self._end(name)
            raise

    async def _change(self, request: ChangeLab) -> LabOpened:
        config = LabConfig.from_toml(request.state)
        return await asyncio.wrap_future(self._lab(request.lab).session.change(config))

    async def _control(self, request: ControlLab) -> Done:
        await asyncio.wrap_future(self._lab(request.lab).session.control(request.action, request.steps))
        return Done()

    async def _read(self, request: ReadLab) -> LabFrame:
        return await self._lab(request.lab).read(request.after)

    async def _probe(self, request: ProbeLab) -> LabProbe:
        return await asyncio.wrap_future(self._lab(request.lab).session.probe(request.point))

    async def _points(self, request: ReadLabPoints) -> LabPoints:
        about, limits = "the file of points", self._limits
        config = await self._files.run(parse_data_toml, request.data, about=about, limit=limits.answer_seconds)
        await probe_files(self._files, config_paths(config), limits.probe_seconds)
        return await self._files.run(read_points, config, about=about, limit=limits.work_seconds)

    async def _close_one(self, request: CloseLab) -> Done:
        if request.lab in self._labs:
            await self._end(request.lab)
        return Done()

    async def _end(self, name: str) -> None:
        lab = self._labs.pop(name, None)
        if lab is not None:
            lab.close()
            await asyncio.to_thread(lab.session.close, _CLOSE_SECONDS)
