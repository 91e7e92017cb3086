"""Base class of the panels that show a picture of each flow: live from the run, or requested from the engine."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Generic, TypeVar

import numpy as np
from msgspec.structs import astuple
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QPushButton, QStackedWidget, QVBoxLayout, QWidget

from nfkd.protocol.events import ErrorInfo, InterpolationDrawn, Picture, SamplesDrawn
from nfkd.protocol.requests import Interpolations, Reply, Request, Samples
from nfkd.protocol.roles import Role, role_label
from nfkd_gui.model.studio import Studio
from nfkd_gui.model.timeline import Kind
from nfkd_gui.panels.base import SPACE, Panel, heading
from nfkd_gui.plotting.mosaic import Mosaic
from nfkd_gui.plotting.plane import Plane
from nfkd_gui.theme import role_colour
from nfkd_gui.widgets.feature_picker import FeaturePicker
from nfkd_gui.widgets.labels import ToneLabel

DrawnT = TypeVar("DrawnT", SamplesDrawn, InterpolationDrawn)
ReplyT = TypeVar("ReplyT", Samples, Interpolations)


class FlowPicture(QStackedWidget):
    """A mosaic for images or a plane for vectors. The panel lays out its `title` and `caption`."""

    def __init__(self, role: str, caption: type[ToneLabel], parent: QWidget) -> None:
        super().__init__(parent)
        self.role = role
        self.title = heading(role_label(role), parent)
        self.caption = caption(parent=parent)
        self.mosaic = Mosaic(parent=self)
        self.plane: Plane | None = None
        self.addWidget(self.mosaic)
        self.restyle()

    def restyle(self) -> None:
        """Apply the current theme."""
        self.title.setStyleSheet(f"color: {role_colour(self.role)};")
        if self.plane is not None:
            self.plane.restyle()

    def show_images(self, images: np.ndarray, columns: int | None = None) -> None:
        """Show a mosaic; the arguments are those of `Mosaic.show_images`."""
        self.setCurrentWidget(self.mosaic)
        self.mosaic.show_images(images, columns)

    def show_plane(self) -> Plane:
        """Show the plane, which the first call creates, and return it."""
        if self.plane is None:
            self.plane = Plane(self)
            self.addWidget(self.plane)
        self.setCurrentWidget(self.plane)
        return self.plane

    def clear(self) -> None:
        """Show nothing."""
        self.setCurrentWidget(self.mosaic)
        self.mosaic.clear()


class PicturePanel(Panel, Generic[DrawnT, ReplyT]):
    """Shows the run's live pictures; after the user changes a control, pictures requested with these settings.

    Subclasses put the live button, the feature picker and the message into their layout.
    """

    reply_type: ClassVar[type[Reply]]

    def __init__(
        self, studio: Studio, roles: Iterable[str], caption: type[ToneLabel], parent: QWidget | None = None
    ) -> None:
        super().__init__(studio, parent)
        self._reply: ReplyT | None = None
        self._own = False  # whether the user's settings are shown instead of the live pictures
        self._last_request: tuple[object, ...] | None = None
        self._message = ToneLabel(parent=self.content)
        self._live = QPushButton("Live", self.content)
        self._live.setObjectName(f"{self.name}.live")
        self._live.setToolTip("Follow the pictures that the run draws as it trains.")
        self._live.setEnabled(False)
        self._live.clicked.connect(lambda: self._set_own(False))
        self._features = FeaturePicker(self.name, self.content)
        self._features.changed.connect(self.mark_dirty)
        studio.timeline.changed.connect(self._on_time)
        self.canvas = QWidget(self.content)
        """Holds the pictures with their titles and captions."""
        self.pictures = {role: FlowPicture(role, caption, self.canvas) for role in roles}
        self._column = QVBoxLayout(self.content)
        self._column.setContentsMargins(SPACE, SPACE, SPACE, SPACE)
        self._column.setSpacing(SPACE)

    # --- for subclasses -------------------------------------------------------------------------------------------

    def drawn(self, role: Role) -> DrawnT | None:
        """Return the newest live picture of a flow."""
        raise NotImplementedError

    def live_picture(self, drawn: DrawnT) -> tuple[np.ndarray, str]:
        """Return the array and the caption of a live picture."""
        raise NotImplementedError

    def requested_picture(self, reply: ReplyT, role: Role) -> tuple[np.ndarray | None, str]:
        """Return a flow's array and caption from the engine's reply."""
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

    def arrange(self) -> None:
        """Lay out the pictures of the run's flows."""
        raise NotImplementedError

    def _on_time(self) -> None:
        """Show the pictures of the time slider's position, also in place of requested ones."""
        if self._own and not self.studio.timeline.is_live:
            self._set_own(False)
        self.mark_dirty()

    def stored(self, role: Role, kind: Kind) -> Picture | None:
        """Return a flow's newest picture of a kind, or the one at the time slider's position."""
        if not self.studio.timeline.is_live:
            return self.studio.timeline.picture(role, kind)
        stage = self.stage(role)
        return getattr(stage, kind) if stage is not None else None

    def current_picture(self, role: Role) -> tuple[np.ndarray | None, str]:
        """Return the array and the caption that a flow shows now."""
        drawn = self.drawn(role)
        array, caption = None, ""
        if self._own and self._reply is not None:
            array, caption = self.requested_picture(self._reply, role)
        elif drawn is not None:
            array, caption = self.live_picture(drawn)
        return array, caption if array is not None else "not trained yet"

    def _set_own(self, own: bool) -> None:
        self._own = own
        self._live.setText("Back to &live" if own else "Live")
        self._live.setEnabled(own)
        self._last_request = None
        self._ask()
        self.mark_dirty()

    # --- the panel ------------------------------------------------------------------------------------------------

    def run_changed(self) -> None:
        self.arrange()
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
        return {role: array for role in self.roles() if (array := self.current_picture(role)[0]) is not None}

    def has_content(self) -> bool:
        return any(self.drawn(role) is not None for role in self.roles())

    def draw(self) -> None:
        self._features.offer(self.features())
        live = next((drawn for role in self.roles() if (drawn := self.drawn(role)) is not None), None)
        if live is not None and not self._own:
            self.follow(live)
        self._ask()
        self.draw_pictures()
        self.arrange()

    def restyle(self) -> None:
        for picture in self.pictures.values():
            picture.restyle()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self.arrange()

    # --- the engine -----------------------------------------------------------------------------------------------

    def _ask(self) -> None:
        """Send the request if it or the run's pictures changed; live pictures need the reply's data examples, too."""
        if self.view is None or not self.has_content():
            return
        steps = [drawn.step if (drawn := self.drawn(role)) is not None else -1 for role in self.roles()]
        request = self.request(self.view.row.run)
        key = (astuple(request), steps if self._own else steps.count(-1))
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
