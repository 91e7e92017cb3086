"""The stored pictures of the shown seed over its stages and steps, and the position in them. No widgets."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Literal, NamedTuple, cast

import msgspec
import numpy as np
from PySide6.QtCore import QObject, Signal

from nfkd.protocol.events import ErrorInfo, Picture, RunEvent, StageFinished, StageStarted
from nfkd.protocol.pictures import ListPictures, PictureList, ReadPictures, StagePictures
from nfkd.protocol.requests import Reply
from nfkd.protocol.roles import Role
from nfkd.protocol.view import RunView, StageView

if TYPE_CHECKING:
    from nfkd_gui.model.studio import Studio

Kind = Literal["samples", "interpolation", "density"]
"""A kind of picture."""


class Position(NamedTuple):
    """A place on the time axis: a stage and a step, or the final weights of the stage, which are those of `step`."""

    stage: Role
    step: int
    final: bool = False


class Timeline(QObject):
    """Lets all panels show the pictures of an earlier step of the shown run and seed.

    Panels ask for `picture` and redraw on `changed`. While `live`, that is the newest picture of each stage.

    Parameters
    ----------
    studio
        Knows the shown run and seed, and sends requests.
    cache_bytes
        Size of the pictures that are kept.

    Attributes
    ----------
    positions
        Every position with pictures: the stages of the seed in their order, and the steps of each.
    error
        Why the positions or the pictures of the chosen one cannot be read.
    """

    positions_changed = Signal()
    changed = Signal()
    """The chosen position, its pictures or the error changed."""

    def __init__(self, studio: Studio, parent: QObject | None = None, *, cache_bytes: int = 64 << 20) -> None:
        super().__init__(parent)
        self._studio = studio
        self._cache_bytes = cache_bytes
        self._cache: OrderedDict[Position, StagePictures] = OrderedDict()
        self._source: tuple[str, int] | None = None
        self._version = 0  # replies to requests of an earlier version are dropped
        self._stored: set[Position] = set()
        self._chosen: Position | None = None
        self._shown: tuple[Position, StagePictures] | None = None
        self.positions: list[Position] = []
        self.error: ErrorInfo | None = None
        studio.view_changed.connect(self._follow)
        studio.seed_changed.connect(self._follow)
        studio.event_applied.connect(self._on_event)

    # --- the position -------------------------------------------------------------------------------------------

    @property
    def is_live(self) -> bool:
        """Whether the newest pictures are shown."""
        return self._chosen is None

    @property
    def position(self) -> Position | None:
        """The chosen position; None while live."""
        return self._chosen

    @property
    def index(self) -> int | None:
        """The index of the chosen position in `positions`; None while live."""
        return None if self._chosen is None else self.positions.index(self._chosen)

    @property
    def loading(self) -> bool:
        """Whether the pictures of the chosen position are awaited; until then the ones before are shown."""
        shown = self._shown[0] if self._shown is not None else None
        return self.error is None and shown != self._chosen

    def choose(self, index: int) -> None:
        """Show the pictures of a position, as soon as the engine has sent them.

        Raises
        ------
        IndexError
            When there is no such position.
        """
        position = self.positions[index]
        if position != self._chosen or self.error is not None:
            self._chosen, self.error = position, None
            self._load()
            self.changed.emit()

    def live(self) -> None:
        """Show the newest pictures again."""
        if self._chosen is not None or self.error is not None:
            self._chosen = self._shown = self.error = None
            self.changed.emit()

    # --- what is shown ------------------------------------------------------------------------------------------

    def picture(self, stage: Role, kind: Kind) -> Picture | None:
        """Return a stage's picture at the shown position; None for later stages.

        Stages that had ended at that position show their last picture. So does a teacher of another seed that this
        seed shares.
        """
        if self._shown is None or self._is_before(stage, self._shown[0].stage):
            view = self._stage_view(stage)
            return None if view is None else getattr(view, kind)
        position, pictures = self._shown
        return getattr(pictures, kind) if stage == position.stage else None

    def matching(self, stage: Role) -> tuple[int, np.ndarray] | None:
        """Return the step and the errors, (pairs,), of a stage's last measurement of the matching at the position."""
        view, last = self._stage_view(stage), None
        if view is None:
            return None
        if self._shown is not None and not self._is_before(stage, self._shown[0].stage):
            if stage != self._shown[0].stage:
                return None
            last = self._shown[0].step
        size = len(view.matching_steps) if last is None else np.searchsorted(view.matching_steps, last, side="right")
        return (view.matching_steps[size - 1], view.matching_errors[size - 1]) if size else None

    def _is_before(self, stage: Role, other: Role) -> bool:
        """Return whether a stage has ended when another one begins; a shared teacher is not among the seed's stages."""
        order = self._order()
        return stage not in order or order.index(stage) < order.index(other)

    def _order(self) -> list[Role]:
        view = self._studio.view
        started = view.seeds.get(self._studio.seed) if view is not None else None
        return [plan.stage for plan in started.stages] if started is not None else []

    def _stage_view(self, stage: Role) -> StageView | None:
        view = self._studio.view
        return view.find_stage(self._studio.seed, stage) if view is not None else None

    # --- following the run --------------------------------------------------------------------------------------

    def _follow(self, _seed: int | None = None) -> None:
        """Turn to the shown run and seed; the position stays if they are the same as before."""
        view = self._studio.view
        source = (view.row.run, self._studio.seed) if view is not None else None
        if source != self._source:
            self._source = source
            self._chosen = self._shown = self.error = None
            self._forget(set())
            self.changed.emit()
        self._refresh()

    def _refresh(self) -> None:
        """Ask for the positions, and for the pictures of the chosen one if they have not come."""
        self._list()
        if self._chosen is not None and self.loading:
            self._load()

    def _forget(self, kept: set[Position]) -> None:
        """Drop all pictures, all positions but the given ones, and replies to earlier requests."""
        self._version += 1
        self._cache.clear()
        self._stored = kept
        self._arrange()

    def _on_event(self, event: RunEvent) -> None:
        if getattr(event, "seed", None) != self._studio.seed:
            return
        match event:
            case Picture():
                self._stored.add(Position(event.stage, event.step, event.final))
                self._arrange()
            case StageStarted():
                self._forget({position for position in self._stored if self._survives(position, event)})
                self._refresh()
            case StageFinished():
                self._list()
            case _:
                pass

    def _survives(self, position: Position, start: StageStarted) -> bool:
        """Return whether a position stays when a stage starts; a resumed one makes everything later again."""
        if position.stage == start.stage:
            return position.step <= start.step and not position.final
        return self._is_before(position.stage, start.stage)

    def _arrange(self) -> None:
        order = {stage: index for index, stage in enumerate(self._order())}
        known = [position for position in self._stored if position.stage in order]
        positions = sorted(known, key=lambda at: (order[at.stage], at.final, at.step))
        if positions != self.positions:
            self.positions = positions
            if self._chosen is not None and self._chosen not in positions:
                self.live()
            self.positions_changed.emit()

    # --- requests -----------------------------------------------------------------------------------------------

    def _list(self) -> None:
        """Ask for the positions; pictures that were drawn since belong to them, too."""
        view, seed, version = self._studio.view, self._studio.seed, self._version
        if view is None or not _has_begun(view, seed):
            return

        def replied(reply: Reply) -> None:
            if isinstance(reply, PictureList) and version == self._version:
                self._stored |= _positions_of(reply)
                self._arrange()

        def failed(error: ErrorInfo) -> None:
            if version == self._version:
                self._fail(error)

        self._studio.ask(ListPictures(run=view.row.run, seed=seed), replied, failed, key="timeline.positions")

    def _load(self) -> None:
        """Show the chosen position from the cache, or ask for its pictures."""
        position, view, version = self._chosen, self._studio.view, self._version
        if position is None or view is None:
            return
        if position in self._cache:
            self._cache.move_to_end(position)
            self._shown = position, self._cache[position]
            return

        def replied(reply: Reply) -> None:
            if isinstance(reply, StagePictures) and version == self._version:
                self._keep(position, reply)

        def failed(error: ErrorInfo) -> None:
            if version == self._version and position == self._chosen:
                self._fail(error)

        step = None if position.final else position.step
        request = ReadPictures(run=view.row.run, seed=self._studio.seed, stage=position.stage, step=step)
        self._studio.ask(request, replied, failed, key="timeline.pictures")

    def _keep(self, position: Position, pictures: StagePictures) -> None:
        self._cache[position] = pictures
        self._cache.move_to_end(position)
        size = sum(map(_bytes_of, self._cache.values()))
        while size > self._cache_bytes and len(self._cache) > 1:
            size -= _bytes_of(self._cache.popitem(last=False)[1])
        if position == self._chosen:
            self._shown, self.error = (position, pictures), None
            self.changed.emit()

    def _fail(self, error: ErrorInfo) -> None:
        self.error = error
        self.changed.emit()


def _has_begun(view: RunView, seed: int) -> bool:
    """Return whether a stage of a seed has started, so that there is a file to read."""
    return any(key[0] == seed for key in view.stages)


def _positions_of(listed: PictureList) -> set[Position]:
    series = {Position(stage.stage, step) for stage in listed.stages for step in stage.steps}
    return series | {Position(stage.stage, stage.final, True) for stage in listed.stages if stage.final is not None}


def _bytes_of(pictures: StagePictures) -> int:
    found = [
        msgspec.structs.astuple(each) for each in (pictures.samples, pictures.interpolation, pictures.density) if each
    ]
    values = [value for fields in found for value in cast("tuple[object, ...]", fields)]
    return sum(value.nbytes for value in values if isinstance(value, np.ndarray))
