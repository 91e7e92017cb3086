"""The inspector panel: what a run reached, against its teacher and baseline, and how it was made."""

from __future__ import annotations

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QScrollArea, QVBoxLayout, QWidget

from nfkd.protocol.events import LogLine, RunChanged, RunEvent, RunFailed, RunFinished, SeedStarted, StageFinished
from nfkd.protocol.gap import likelihood_gap
from nfkd.protocol.roles import USUAL
from nfkd.protocol.view import RunView
from nfkd_gui.model.csv_files import Table, figures_table
from nfkd_gui.model.export_files import file_stem
from nfkd_gui.model.headline import ENOUGH_SEEDS
from nfkd_gui.model.run_report import gap_caption, gap_interval, mean_figures, mean_floors, seeds_of
from nfkd_gui.model.selected_run import SelectedRun
from nfkd_gui.model.studio import Studio
from nfkd_gui.numbers import format_measure, format_percent
from nfkd_gui.panels.inspector_parts import EventsPart, RepeatPart, SettingsPart
from nfkd_gui.panels.inspector_table import FigureTable
from nfkd_gui.theme import limit_size, scaled, set_space, set_type
from nfkd_gui.widgets.exportable import Exportable
from nfkd_gui.widgets.gap_bar import GapBar, GapFigures
from nfkd_gui.widgets.labels import ElidedLabel, Tone, TypeLabel, WrappedLabel

_NARROWEST = 300
_EMPTY = "Open a run or press Run: its results and the verdict appear here."
_SELECT = "Select a run in the table: its results appear here."
_VERDICTS: dict[str, tuple[str, Tone]] = {"better": ("✓ ", "good"), "worse": ("↓ ", "error")}


class InspectorPanel(QWidget, Exportable):
    """Shows the opened run, or the one that is selected in the table of runs.

    Parameters
    ----------
    source
        Has the run and tells of its changes.
    name
        Prefix of the object names of the widgets.
    """

    has_numbers = True
    log_wanted = Signal()
    """The user asked for the whole log."""

    def __init__(
        self, studio: Studio, source: Studio | SelectedRun, name: str = "inspector", parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setObjectName(name)
        self._source = source
        self._title = ElidedLabel(tone="plain", parent=self)
        set_type(self._title, "strong")
        self._about = WrappedLabel(parent=self)
        self._figure = TypeLabel("figure", parent=self)
        self._figure.setObjectName(f"{name}.figure")
        self._caption = self._wrapped(f"{name}.caption")
        self.gap = GapBar(self)
        self._measures = self._wrapped(f"{name}.measures")
        self._verdict = self._wrapped(f"{name}.verdict")
        self._advice = self._wrapped(f"{name}.advice")
        self._others = self._wrapped(f"{name}.others")
        self._others.setToolTip("Other metrics: intervals of the student's gain, without a verdict.")
        self.table = FigureTable(name, self)
        self._settings = SettingsPart(name, self)
        self._repeat = RepeatPart(name, self)
        self.events = EventsPart(name, self)
        self.events.log_wanted.connect(self.log_wanted)
        self._parts: list[QWidget] = [
            self._title, self._figure, self._caption, self.gap, self._verdict, self._advice, self.table, self._others,
            self._measures, self._settings, self._repeat, self.events,
        ]  # fmt: skip
        self._lay_out()
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(0)
        self._soon.timeout.connect(self.refresh)
        source.view_changed.connect(self._soon.start)
        source.event_applied.connect(self._on_event)
        studio.theme_changed.connect(self.table.restyle, Qt.ConnectionType.QueuedConnection)
        self.refresh()

    def _wrapped(self, name: str) -> WrappedLabel:
        label = WrappedLabel(parent=self)
        label.setObjectName(name)
        return label

    def _lay_out(self) -> None:
        content = self._content = QWidget(self)
        whole = QVBoxLayout(content)
        set_space(whole, 12, 12, 12, 12, 12)
        results = self._results = QWidget(content)
        column = QVBoxLayout(results)
        set_space(column, 12)
        head = QHBoxLayout()
        set_space(head, 8)
        head.addWidget(self._figure)
        head.addWidget(self._caption, 1)
        titles = QVBoxLayout()
        set_space(titles, 0)
        titles.addWidget(self._title)
        titles.addWidget(self._about)
        column.addLayout(titles)
        column.addLayout(head)
        for widget in (self.gap, self._verdict, self._advice, self.table, self._measures):
            column.addWidget(widget)
        for widget in (results, self.events, self._settings, self._repeat, self._others):
            whole.addWidget(widget)
        whole.addStretch(1)
        scroll = self._scroll = QScrollArea(self)
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setWidget(content)
        scroll.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        limit_size(scroll, least=(_NARROWEST, 0))
        layout = QVBoxLayout(self)
        set_space(layout, 0)
        layout.addWidget(scroll)

    # --- for the menu ---------------------------------------------------------------------------------------------

    def figure(self) -> QWidget | None:
        return self._results if self._source.view is not None else None

    def numbers(self) -> dict[str, Table]:
        view = self._source.view
        figures = mean_figures(view.summaries()) if view is not None else {}
        return {"Figures": figures_table(figures, mean_floors(view))} if view is not None and figures else {}

    def export_name(self) -> str:
        view = self._source.view
        return file_stem(view.row.name if view is not None else "", "inspector")

    # --- what is shown --------------------------------------------------------------------------------------------

    def _on_event(self, event: RunEvent) -> None:
        if isinstance(event, (RunChanged, SeedStarted, StageFinished, RunFinished, RunFailed, LogLine)):
            self._soon.start()

    def refresh(self) -> None:
        """Show the run's current state."""
        view = self._source.view
        for part in self._parts:
            part.setVisible(view is not None)
        if view is None:
            problem = self._source.problem if isinstance(self._source, SelectedRun) else ""
            empty = _SELECT if isinstance(self._source, SelectedRun) else _EMPTY
            self._about.setText(problem or empty)
            self._about.set_tone("error" if problem else "muted")
            return
        row = view.row
        self._title.setText(row.name)
        self._about.set_tone("muted")
        flows = f"{row.teacher} → {row.student}"
        self._about.setText(" · ".join(text for text in (row.data, flows, row.device) if text))
        self._show_gap(view)
        self._show_verdict(view)
        for part in (self.table, self._settings, self._repeat, self.events):
            part.show_run(view)
        started = next(iter(view.seeds.values()), None)
        note = started.measures_note() if started is not None else ""
        self._measures.setText(note)
        self._measures.setVisible(bool(note))
        bar = self._scroll.verticalScrollBar().sizeHint().width()
        self._scroll.setMinimumWidth(max(scaled(_NARROWEST), self._content.minimumSizeHint().width() + bar))

    def _show_gap(self, view: RunView) -> None:
        """Show the share of the gap in test likelihood that the student closes, over the seeds that have ended."""
        gap = likelihood_gap(view.summaries())
        share = caption = ""
        figures = GapFigures()
        if gap is not None and gap.defined:
            interval = gap_interval(gap, view.verdict)
            share, caption = format_percent(gap.closed), gap_caption(interval, seeds_of(view))
            figures = GapFigures(gap.closed, *interval, **{role: format_measure(gap.means[role]) for role in USUAL})
        self._figure.setText(share)
        self._caption.setText(caption)
        self._figure.setVisible(bool(share))
        self._caption.setVisible(bool(caption))
        self.gap.show_figures(figures)

    def _show_verdict(self, view: RunView) -> None:
        verdict, text, tone, advice, others = view.verdict, view.row.cause, "warning", "", list[str]()
        if view.error is not None:
            text, tone = f"{view.error.title}: {view.error.cause}", "error"
        elif verdict is not None:
            enough = len(verdict.seeds) >= ENOUGH_SEEDS
            sign, tone = _VERDICTS.get(verdict.verdict, ("", "muted")) if enough else ("", "muted")
            against = [f"{interval.summary}." for interval in verdict.ablations]
            text, advice = sign + "\n\n".join([verdict.summary, *against]), verdict.advice
            others = [other.summary for other in verdict.others]
        self._verdict.set_tone(tone)
        self._verdict.setText(text)
        self._verdict.setVisible(bool(text))
        self._advice.setText(f"Advice: {advice}")
        self._advice.setVisible(bool(advice))
        self._others.setText("\n".join(("Other measures, without a verdict:", *others)))
        self._others.setVisible(bool(others))
