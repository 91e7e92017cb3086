"""Base class of the panels that show a picture of each flow: live from the run, or requested from the engine."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Sequence
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

import numpy as np
from PySide6.QtGui import QAction, QResizeEvent
from PySide6.QtWidgets import QPushButton, QStackedWidget, QVBoxLayout, QWidget

from nfkd.protocol.codec import to_wire
from nfkd.protocol.events import ErrorInfo, InterpolationDrawn, Picture, SamplesDrawn
from nfkd.protocol.flags import describe_flags
from nfkd.protocol.inspection import Origin
from nfkd.protocol.requests import Call, Interpolations, Reply, Request, Samples
from nfkd.protocol.roles import Role, find_role, role_label
from nfkd.protocol.view import RunView
from nfkd_gui.model.studio import Studio
from nfkd_gui.model.timeline import Kind
from nfkd_gui.panels.base import Panel
from nfkd_gui.panels.plane_grid import PlaneGrid
from nfkd_gui.plotting.flow_grid import FlowGrid
from nfkd_gui.plotting.mosaic import INK
from nfkd_gui.theme import is_dark, set_space
from nfkd_gui.widgets.feature_picker import FeaturePicker
from nfkd_gui.widgets.flow_layout import ControlBar
from nfkd_gui.widgets.labels import ElidedLabel, ToneLabel

DrawnT = TypeVar("DrawnT", SamplesDrawn, InterpolationDrawn)
ReplyT = TypeVar("ReplyT", Samples, Interpolations)
MISSING = "not trained yet"


class Shown(NamedTuple):
    """What a flow shows: an array, its captions from long to short, and the flags of its samples."""

    array: np.ndarray | None
    captions: Sequence[str] = (MISSING,)
    flags: np.ndarray | None = None


def weights_captions(picture: Picture) -> list[str]:
    """Return which weights a picture shows, from long to short."""
    if picture.final:
        return [f"final weights (step {picture.step:,})", f"final, step {picture.step:,}", f"step {picture.step:,}", ""]
    return [f"step {picture.step:,}", ""]


class PicturePanel(Panel, Generic[DrawnT, ReplyT]):
    """Shows the run's live pictures; after the user changes a control, pictures requested with these settings.

    Images are in `grid`, vectors in `planes`. Subclasses put the feature picker and the message into `bar`, and the
    live button into the head.
    """

    reply_type: ClassVar[type[Reply]]

    def __init__(self, studio: Studio, item: str, parent: QWidget | None = None) -> None:
        super().__init__(studio, parent)
        self._reply: ReplyT | None = None
        self._own = False  # whether the user's settings are shown instead of the live pictures
        self._last_request: tuple[object, ...] | None = None
        self._message = ToneLabel(parent=self.content)
        self._live = QPushButton("&Live", self)
        self._live.setObjectName(f"{self.name}.live")
        self._live.setToolTip("Show the pictures that the run draws, in place of those with your settings.")
        self._live.hide()
        self._live.clicked.connect(self.go_live)
        self._features = FeaturePicker(self.name, self.content)
        self._features.changed.connect(self.mark_dirty)
        studio.timeline.changed.connect(self._on_time)
        studio.preferences_changed.connect(self.mark_dirty)
        self._stored = self.option("as_stored", "As stored", "Do not draw grey images of digits as ink on paper.")
        self._stored.triggered.connect(self._prefer_stored)
        self.canvas = QWidget(self.content)
        """Holds the pictures with their titles and captions."""
        self.pages = QStackedWidget(self.canvas)
        self.grid = FlowGrid(item, self.pages)
        self.grid.setObjectName(f"{self.name}.grid")
        self.planes = PlaneGrid(self.pages)
        self.notes = ElidedLabel(tone="warning", parent=self.canvas)
        self.notes.setObjectName(f"{self.name}.notes")
        self.grid.picked.connect(self._inspect)
        self.planes.picked.connect(self._inspect)
        self.pages.addWidget(self.grid)
        self.pages.addWidget(self.planes)
        self._picture_column = QVBoxLayout(self.canvas)
        set_space(self._picture_column, 8)
        self._picture_column.addWidget(self.pages, 1)
        self._picture_column.addWidget(self.notes)
        self._column = QVBoxLayout(self.content)
        set_space(self._column, 8, 8)
        self.bar = ControlBar(8, self.content)
        """Controls above the pictures; hidden while none of them is needed."""
        self._column.addWidget(self.bar)
        self._column.addWidget(self.canvas, 1)

    # --- for subclasses -------------------------------------------------------------------------------------------

    def drawn(self, role: Role) -> DrawnT | None:
        """Return the newest live picture of a flow."""
        raise NotImplementedError

    def live_picture(self, drawn: DrawnT) -> Shown:
        """Return what a live picture shows."""
        raise NotImplementedError

    def requested_picture(self, reply: ReplyT, role: Role) -> Shown:
        """Return what a flow shows from the engine's reply."""
        raise NotImplementedError

    def request(self, run: str) -> Request:
        """Return the request for pictures with the present settings."""
        raise NotImplementedError

    def follow(self, drawn: DrawnT) -> None:
        """Set the controls to the settings of a live picture."""
        raise NotImplementedError

    def draw_pictures(self) -> None:
        """Give every flow's picture its content."""
        raise NotImplementedError

    def origin_of(self, role: Role, number: int) -> Origin:
        """Return where a shown image or point of a flow comes from."""
        raise NotImplementedError

    def _inspect(self, name: str, number: int) -> None:
        role = find_role(name)
        origin = Origin(kind="validation", index=number) if role is None else self.origin_of(role, number)
        self.studio.example_chosen.emit(origin)

    def _on_time(self) -> None:
        """Show the pictures of the time slider's position, also in place of requested ones."""
        if self._own and not self.studio.timeline.is_live:
            self.go_live()
        self.mark_dirty()

    def stored(self, role: Role, kind: Kind) -> Picture | None:
        """Return a flow's newest picture of a kind, or the one at the time slider's position."""
        if not self.studio.timeline.is_live:
            return self.studio.timeline.picture(role, kind)
        stage = self.stage(role)
        return getattr(stage, kind) if stage is not None else None

    def current_picture(self, role: Role) -> Shown:
        """Return what a flow shows now."""
        drawn = self.drawn(role)
        if self._own and self._reply is not None:
            return self.requested_picture(self._reply, role)
        return self.live_picture(drawn) if drawn is not None else Shown(None)

    def current_pictures(self) -> dict[Role, Shown]:
        """Return what every flow of the run shows now."""
        return {role: self.current_picture(role) for role in self.roles()}

    def show_flags(self, pictures: dict[Role, Shown]) -> None:
        """Say below the pictures which samples a picture cannot show as they are."""
        texts = [
            f"{role_label(role)}: {problem}."
            for role, shown in pictures.items()
            if shown.flags is not None and (problem := describe_flags(shown.flags))
        ]
        self.notes.setText(" ".join(texts))
        self.notes.setVisible(bool(texts))

    def is_ink(self) -> bool:
        """Return whether grey images are drawn dark on light."""
        return draws_ink(self.studio, self.view)

    def _may_be_ink(self) -> bool:
        return self.view is not None and data_kind(self.view.config) in INK

    def _prefer_stored(self, stored: bool) -> None:
        self.studio.prefer(images_as_stored=stored)

    def option(self, name: str, text: str, help_: str) -> QAction:
        """Return a new entry of the panel's menu that can be checked."""
        action = QAction(text, self)
        action.setObjectName(f"{self.name}.{name}")
        action.setToolTip(help_)
        action.setCheckable(True)
        return action

    def options(self) -> list[QAction]:
        self._stored.setChecked(self.studio.preferences.images_as_stored)
        return [self._stored] if self._may_be_ink() else []

    def go_live(self) -> None:
        """Show the live pictures again."""
        self._set_own(False)

    def _set_own(self, own: bool) -> None:
        """Show pictures with the user's settings, which are of the newest weights, or the live ones."""
        if own:
            self.studio.timeline.live()
        self._own = own
        self._live.setVisible(own)
        self._last_request = None
        self._ask()
        self.mark_dirty()

    # --- the panel ------------------------------------------------------------------------------------------------

    def run_changed(self) -> None:
        self._reply = None
        self._last_request = None
        self._message.setText("")

    def drawing(self) -> QWidget:
        return self.canvas

    def shown_step(self) -> int | None:
        shown = [drawn.step for role in self.roles() if (drawn := self.drawn(role)) is not None]
        return shown[-1] if shown else None

    def shown_pictures(self) -> dict[Role, np.ndarray]:
        """Return the arrays that are shown, by flow."""
        return {role: array for role in self.roles() if (array := self.current_picture(role).array) is not None}

    def has_content(self) -> bool:
        return any(self.drawn(role) is not None for role in self.roles())

    def draw(self) -> None:
        self._features.offer(self.features())
        live = next((drawn for role in self.roles() if (drawn := self.drawn(role)) is not None), None)
        if live is not None and not self._own:
            self.follow(live)
        self._ask()
        self.draw_pictures()
        self.bar.setVisible(self.needs_bar())

    def needs_bar(self) -> bool:
        """Return whether a control above the pictures is needed."""
        return not self._features.isHidden() or bool(self._message.text())

    def fit_tools(self) -> None:
        """Adapt the controls in the head to the width of the panel."""

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self.fit_tools()

    def restyle(self) -> None:
        self.planes.restyle()
        self.fit_tools()

    # --- the engine -----------------------------------------------------------------------------------------------

    def follows_weights(self) -> bool:
        """Return whether live pictures need something from the engine that changes with the weights."""
        return False

    def ask_again(self) -> None:
        """Send the request if it changed, and draw again."""
        self._ask()
        self.mark_dirty()

    def _ask(self) -> None:
        """Send the request if it or the run's pictures changed; live pictures need the reply's data examples, too."""
        if self.view is None or not self.has_content():
            return
        steps = [drawn.step if (drawn := self.drawn(role)) is not None else -1 for role in self.roles()]
        stages = [self.stage(role) for role in self.roles()]
        ended = [stage is not None and stage.summary is not None for stage in stages]  # its weights are saved by then
        request = self.request(self.view.row.run)
        weights = (steps, ended) if self._own or self.follows_weights() else steps.count(-1)
        key = (to_wire(Call(id=0, request=request)), weights)
        if key != self._last_request:
            self._last_request = key
            self.studio.ask(request, self._on_reply, self._on_error, key=self.name)

    def _on_reply(self, reply: Reply) -> None:
        if self.view is None or not isinstance(reply, self.reply_type):
            return
        if (reply.run, reply.seed) == (self.view.row.run, self.studio.seed):  # type: ignore[union-attr]
            self._reply = reply  # type: ignore[assignment]
            self._message.setText("")
            self.mark_dirty()

    def _on_error(self, error: ErrorInfo) -> None:
        self._message.setText(f"{error.title}. {error.action}")
        self.bar.setVisible(self.needs_bar())


def draws_ink(studio: Studio, view: RunView | None) -> bool:
    """Return whether the grey images of a run are drawn dark on light."""
    return (
        view is not None and not is_dark() and data_kind(view.config) in INK and not studio.preferences.images_as_stored
    )


def data_kind(config: str) -> str:
    """Return the kind of data of an experiment given as TOML; empty if it has none."""
    kind = _data_of(config).get("kind", "")
    return kind if isinstance(kind, str) else ""


def has_context(config: str) -> bool:
    """Return whether columns of the data of an experiment given as TOML are the flows' context."""
    return bool(_data_of(config).get("context"))


@functools.lru_cache(maxsize=8)
def _data_of(config: str) -> dict[str, Any]:
    try:
        data = tomllib.loads(config).get("data", {})
    except tomllib.TOMLDecodeError:
        return {}
    return data if isinstance(data, dict) else {}
