"""The lab: three flows in the plane that train together, what they show, and what can be changed."""

from __future__ import annotations

from collections.abc import Collection

from PySide6.QtCore import Qt
from PySide6.QtGui import QHideEvent, QKeyEvent, QShowEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QSizePolicy, QStackedWidget, QVBoxLayout, QWidget

from nfkd.config.lab import LabConfig
from nfkd.protocol.lab import LAB_ROLES
from nfkd.protocol.roles import Role
from nfkd_gui.model.lab import LabModel
from nfkd_gui.model.lesson_parts import PARTS
from nfkd_gui.model.studio import Studio
from nfkd_gui.panels.lab_buys import LabBuys
from nfkd_gui.panels.lab_controls import LabControls
from nfkd_gui.panels.lab_planes import LabPlanes
from nfkd_gui.panels.lab_probe import LabProbePanel
from nfkd_gui.panels.lab_scrubber import LabScrubber
from nfkd_gui.panels.lab_settings import LabSettings
from nfkd_gui.panels.lab_status import LabStatus
from nfkd_gui.theme import limit_size, set_space
from nfkd_gui.widgets.labels import TypeLabel
from nfkd_gui.widgets.switch import Switch

_PAGES = {"buys": ("What distillation buys", ""), "probe": ("Probe", "")}
_NARROW, _SETTINGS, _LEAST = 340, 444, 210
"""Least and largest width of the settings, and least height of what is below the planes."""


class LabView(QWidget):
    """Shows a lab, or some parts of it."""

    def __init__(self, lab: LabModel, studio: Studio, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("lab")
        self.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        self._lab = lab
        self._parts: Collection[str] = PARTS
        self._large = False
        self._page = "buys"
        self.planes = LabPlanes(lab, self)
        self.status = LabStatus(lab, self.planes, self)
        self.controls = LabControls(lab, self)
        self.scrubber = LabScrubber(self)
        self.buys, self.probe = LabBuys(lab, self), LabProbePanel(lab, self)
        self.settings = LabSettings(lab, studio, self)
        self._switch = Switch("lab.page", _PAGES, self)
        self._lay_out()
        self._connect(studio)
        self._show_state()
        self.show_parts([])

    def _lay_out(self) -> None:
        self._top, self._figures, self._settings = _Panel(self), _Panel(self), _Panel(self)
        self.scrubber.setProperty("panel", True)
        self._top.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
        self._fill_top()
        self._fill_figures()
        self._fill_settings()
        self._bottom = QWidget(self)
        limit_size(self._bottom, least=(0, _LEAST))
        bottom = QHBoxLayout(self._bottom)
        set_space(bottom, 8)
        bottom.addWidget(self._figures, 18)
        bottom.addWidget(self._settings, 11)
        column = QVBoxLayout(self)
        set_space(column, 8)
        column.addWidget(self._top, 100)
        column.addWidget(self.scrubber)
        column.addWidget(self._bottom, 60)

    def _fill_top(self) -> None:
        self._line = QFrame(self._top)
        self._line.setProperty("line", True)
        inside, column = QVBoxLayout(), QVBoxLayout(self._top)
        set_space(inside, 6, 12, 6, 12, 8)
        inside.addWidget(self.status)
        inside.addWidget(self.planes, 1)
        set_space(column, 0)
        column.addWidget(self.controls)
        column.addWidget(self._line)
        column.addLayout(inside, 1)

    def _fill_figures(self) -> None:
        self._pages = QStackedWidget(self._figures)
        self._pages.addWidget(self.buys)
        self._pages.addWidget(self.probe)
        head, column = QHBoxLayout(), QVBoxLayout(self._figures)
        set_space(head, 8, 8, 6, 12, 0)
        head.addWidget(self._switch)
        head.addStretch(1)
        set_space(column, 0)
        column.addLayout(head)
        column.addWidget(self._pages, 1)
        self._figures.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Ignored)

    def _fill_settings(self) -> None:
        head, column = QHBoxLayout(), QVBoxLayout(self._settings)
        set_space(head, 4, 12, 6, 8, 0)
        head.addWidget(TypeLabel("strong", "Lab", self._settings), 1)
        for button in self.settings.buttons:
            head.addWidget(button)
        set_space(column, 0)
        column.addLayout(head)
        column.addWidget(self.settings, 1)
        self._settings.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Ignored)
        limit_size(self._settings, least=(_NARROW, 0), most=(_SETTINGS, 0))

    def _connect(self, studio: Studio) -> None:
        lab = self._lab
        lab.state_changed.connect(self._show_state)
        lab.opened.connect(self._show_opened)
        lab.frame_changed.connect(self._show_frame)
        lab.probe_changed.connect(self._show_probe)
        lab.failed.connect(self._show_failure)
        self.settings.data.failed.connect(self._show_refusal)
        studio.theme_changed.connect(self.restyle, Qt.ConnectionType.QueuedConnection)
        self.scrubber.moved.connect(self._go)
        self.scrubber.played.connect(self._play_to)
        self.planes.probed.connect(self._probe)
        self.probe.placed.connect(self._place_probe)
        self.probe.removed.connect(self._remove_probe)
        self.settings.reset.connect(self._reset)
        self._switch.chosen.connect(self.choose_page)

    # --- parts --------------------------------------------------------------------------------------------------------

    def show_parts(self, parts: Collection[str]) -> None:
        """Show some parts of `PARTS`, and nothing for other names; an empty list shows all."""
        self._parts = parts or PARTS
        self.status.show_refusal("")
        self._fit_parts()

    def present(self, on: bool) -> None:
        """Leave out what is too small for an audience, for large type."""
        self._large = on
        self._fit_parts()

    def _fit_parts(self) -> None:
        shown, large = self._parts, self._large
        roles: list[Role] = [role for role in LAB_ROLES if role in shown]
        self.planes.show_roles(roles)
        for part in (self.scrubber, self.buys, self.probe, self.status):
            part.show_roles(roles or LAB_ROLES)
        self.controls.setVisible("controls" in shown)
        self.status.rate.setVisible(not large)
        self._line.setVisible("controls" in shown)
        self.scrubber.setVisible("scrubber" in shown)
        pages = [page for page in _PAGES if page in shown]
        if pages and self._page not in pages:
            self._page = pages[0]
        self._figures.setVisible(bool(pages))
        self._settings.setVisible("settings" in shown and not (large and pages))
        self._bottom.setVisible(bool(pages) or "settings" in shown)
        self._show_page()
        self._show_top()

    def _show_top(self) -> None:
        """Show the panel of the planes and controls, or of a problem alone."""
        self._top.setVisible(bool({*LAB_ROLES, "controls"} & set(self._parts)) or self.status.has_problem)

    def _show_page(self) -> None:
        self._switch.show_state(self._page, [page for page in _PAGES if page in self._parts])
        self._pages.setCurrentWidget(self.probe if self._page == "probe" else self.buys)

    def choose_page(self, page: str) -> None:
        """Show *buys* or *probe* below the planes."""
        self._page = page
        self._show_page()

    # --- the lab ------------------------------------------------------------------------------------------------------

    def _show_state(self) -> None:
        look = self._lab.state.lab
        self.planes.show_state()
        self.controls.show_state()
        self.settings.show_state()
        if not self.scrubber.playing:
            self.scrubber.show_share(look.position)
            self._show_share(look.position)
        self._show_probe()

    def _show_opened(self) -> None:
        info = self._lab.info
        if info is not None:
            names: dict[Role, list[str]] = {role: flow.names for role, flow in info.flows.items()}
            pairs = [(names["teacher"].index(pair.teacher) + 1, names["student"].index(pair.student) + 1)
                     for pair in info.pairs]  # fmt: skip
            self.scrubber.show_layers({role: len(layers) for role, layers in names.items()}, pairs)
        self.planes.show_opened()
        self._show_probe()
        self.buys.show_frame()
        self.status.show_lab()

    def _show_frame(self) -> None:
        self.planes.show_frame()
        self.controls.show_frame()
        self.buys.show_frame()
        self.status.show_lab()
        self._show_top()

    def _show_failure(self) -> None:
        self.status.show_lab()
        self._show_top()

    def _show_refusal(self, text: str) -> None:
        """Say why a file cannot be used where the settings, which say it too, are hidden."""
        self.status.show_refusal("" if self._settings.isVisibleTo(self) else text)
        self._show_top()

    def _show_probe(self) -> None:
        self.planes.show_probe()
        self.probe.show_probe()

    # --- by the user --------------------------------------------------------------------------------------------------

    def _go(self, share: float) -> None:
        self._show_share(share)
        self._lab.set_values({"lab.position": share})

    def _play_to(self, share: float) -> None:
        self._show_share(share)

    def _show_share(self, share: float) -> None:
        if share != self.planes.share:
            self.planes.go(share)
            self.probe.mark(share)

    def _probe(self, x: float, y: float) -> None:
        if "probe" in self._parts and self._page != "probe":
            self.choose_page("probe")
        self._place_probe(x, y)

    def _place_probe(self, x: float, y: float) -> None:
        self._lab.set_values({"lab.probe": (x, y)})

    def _remove_probe(self) -> None:
        self._lab.set_values({"lab.probe": ()})

    def _reset(self) -> None:
        self.scrubber.pause()
        self._lab.open_state(LabConfig.first())

    def keyPressEvent(self, event: QKeyEvent) -> None:
        match event.key():
            case Qt.Key.Key_Space if not event.isAutoRepeat():
                self._lab.toggle()
            case Qt.Key.Key_Left:
                self.scrubber.go_by(-1)
            case Qt.Key.Key_Right:
                self.scrubber.go_by(1)
            case _:
                super().keyPressEvent(event)

    # --- the window ---------------------------------------------------------------------------------------------------

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self.settings.data.ask()
        self._lab.watch(watched=True)

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self._lab.watch(watched=False)

    def restyle(self) -> None:
        """Apply the current theme."""
        for part in (self.planes, self.controls, self.scrubber, self.buys, self.probe):
            part.restyle()


class _Panel(QFrame):
    """A part with a border, whose height does not follow its width: wrapped text would push the planes."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setProperty("panel", True)

    def hasHeightForWidth(self) -> bool:
        return False
