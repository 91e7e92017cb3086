"""Evaluate: choose groups of metrics, and watch while the engine adds them to finished runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import PurePath
from uuid import uuid4

from PySide6.QtCore import QEvent, Qt
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import (
    QCheckBox,
    QDialog,
    QFileDialog,
    QHBoxLayout,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from nfkd.protocol.comparing import METRIC_GROUPS, CancelEvaluation, EvaluateRuns, RunsEvaluated
from nfkd.protocol.events import ErrorInfo
from nfkd.protocol.requests import Reply
from nfkd.protocol.run_rows import RunRow
from nfkd.text import plain, sentence
from nfkd_gui.model.studio import Studio
from nfkd_gui.theme import limit_size, set_space
from nfkd_gui.widgets.file_target import machine_of
from nfkd_gui.widgets.labels import FittedLabel, WrappedLabel

_WIDTH, _INDENT, _LISTED, _LONGEST = 480, 24, 6, 80
_NAMED = 3  # runs that failed for the same reason
_SHARES = 1000  # steps of the progress bar
_FID = "fid"
_INCEPTION = "TorchScript file, such as inception-2015-12-05.pt"
_TRUST = "The file holds code that runs: choose one from a source that you trust."
_ABOUT = "The metrics become columns of the table. It takes some seconds for each flow, and slows a run in training."


class EvaluateDialog(QDialog):
    """Adds metrics to runs.

    Parameters
    ----------
    studio
        Sends the requests.
    rows
        The runs; those that have not finished are left out.
    """

    def __init__(self, studio: Studio, rows: Mapping[str, RunRow], parent: QWidget) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setObjectName("evaluate")
        self.setWindowTitle("Evaluate")
        self._studio = studio
        self._runs = [run for run, row in rows.items() if row.state == "finished"]
        self._left_out = len(rows) - len(self._runs)
        self._ticket = ""
        self._boxes = {name: self._box(name) for name in METRIC_GROUPS}
        self._inception = QLineEdit(studio.preferences.inception, self)
        self._inception.setObjectName("evaluate.inception")
        self._inception.setAccessibleName("Inception network for FID")
        self._inception.setPlaceholderText(_INCEPTION)
        self._inception.setToolTip(_TRUST)
        self._inception.textChanged.connect(self._refresh)
        self._browse = QPushButton("Browse …", self)
        self._browse.setObjectName("evaluate.inception.browse")
        self._browse.setAutoDefault(False)
        self._browse.clicked.connect(self._choose_file)
        self._bar = QProgressBar(self)
        self._bar.setObjectName("evaluate.progress")
        self._bar.setRange(0, _SHARES)
        self._bar.setTextVisible(False)
        self._bar.hide()
        self._result = WrappedLabel(parent=self)
        self._result.setObjectName("evaluate.result")
        self._start = QPushButton(self)
        self._start.setObjectName("evaluate.start")
        self._start.setProperty("primary", True)
        self._start.setDefault(True)
        self._start.clicked.connect(self._evaluate)
        self._close = QPushButton("Close", self)
        self._close.setObjectName("evaluate.close")
        self._close.setAutoDefault(False)
        self._close.clicked.connect(self._close_or_cancel)
        self._lay_out()
        studio.inspection_progressed.connect(self._progress)
        self.finished.connect(self._cancel)
        self._refresh()
        limit_size(self, least=(_WIDTH, 0))

    def _box(self, name: str) -> QCheckBox:
        box = QCheckBox("FID" if name == _FID else name.capitalize(), self)
        box.setObjectName(f"evaluate.{name}")
        box.setToolTip(METRIC_GROUPS[name])
        box.setChecked(name != _FID)
        box.toggled.connect(self._refresh)
        return box

    def _lay_out(self) -> None:
        foot = QHBoxLayout()
        foot.addStretch(1)
        foot.addWidget(self._close)
        foot.addWidget(self._start)
        whole = self._whole = QVBoxLayout(self)
        set_space(whole, 8, 16, 16, 16, 16)
        whole.addWidget(FittedLabel(_ABOUT, parent=self))
        for name, box in self._boxes.items():
            whole.addWidget(box)
            about = QVBoxLayout()
            set_space(about, 0, _INDENT, 0, 0, 0)
            about.addWidget(FittedLabel(METRIC_GROUPS[name], parent=self))
            if name == _FID:
                about.addLayout(self._file_line())
            whole.addLayout(about)
        whole.addWidget(self._bar)
        whole.addWidget(self._result)
        whole.addStretch(1)
        whole.addLayout(foot)

    def _file_line(self) -> QHBoxLayout:
        line = QHBoxLayout()
        set_space(line, 8, 0, 4, 0, 0)
        line.addWidget(self._inception, 1)
        line.addWidget(self._browse)
        return line

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        machine = machine_of(self)
        self._inception.setPlaceholderText(f"{_INCEPTION} on {machine}" if machine else _INCEPTION)
        self._browse.setVisible(not machine)  # a dialog cannot show files there

    def event(self, event: QEvent) -> bool:
        """Follow the heights of the texts, which depend on their widths."""
        done = super().event(event)
        if event.type() == QEvent.Type.LayoutRequest:
            self.resize(self.width(), self._whole.totalHeightForWidth(self.width()))
        return done

    def _choose_file(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, f"Choose an Inception network. {_TRUST}", self.inception)
        if path:
            self._inception.setText(path)

    # --- state ----------------------------------------------------------------------------------------------------

    @property
    def groups(self) -> list[str]:
        """The chosen groups of metrics."""
        return [name for name, box in self._boxes.items() if box.isChecked()]

    @property
    def inception(self) -> str:
        """The path of FID's network."""
        return self._inception.text().strip()

    def _refresh(self) -> None:
        count = len(self._runs)
        self._start.setText(f"Evaluate {count:,} {'run' if count == 1 else 'runs'}")
        has_fid = self._boxes[_FID].isChecked()
        ready = bool(self._runs and self.groups and not self._ticket) and bool(self.inception or not has_fid)
        self._start.setEnabled(ready)
        for widget in (self._inception, self._browse):
            widget.setEnabled(has_fid and not self._ticket)
        self._close.setText("Cancel" if self._ticket else "Close")
        self._bar.setVisible(bool(self._ticket))
        for box in self._boxes.values():
            box.setEnabled(not self._ticket)
        if self._left_out and not self._result.text():
            runs = "run has" if self._left_out == 1 else "runs have"
            self._result.setText(f"{self._left_out} {runs} not finished and will be left out.")

    def _progress(self, ticket: str, share: float) -> None:
        if ticket and ticket == self._ticket:
            self._bar.setValue(round(_SHARES * share))

    # --- requests -------------------------------------------------------------------------------------------------

    def _evaluate(self) -> None:
        self._ticket = uuid4().hex
        self._bar.setValue(0)
        self._result.setText("Evaluating …")
        self._refresh()
        groups = self.groups
        inception = self.inception if _FID in groups else ""
        if inception:
            self._studio.prefer(inception=inception)
        request = EvaluateRuns(runs=self._runs, groups=groups, ticket=self._ticket, inception=inception)
        self._studio.ask(request, self._replied, self._failed)

    def _replied(self, reply: Reply) -> None:
        if isinstance(reply, RunsEvaluated):
            self._end(_describe(reply, len(self._runs)))

    def _failed(self, error: ErrorInfo) -> None:
        self._end(f"{error.title}: {error.cause}")

    def _end(self, text: str) -> None:
        self._ticket = ""
        self._result.setText(text)
        self._refresh()

    def _close_or_cancel(self) -> None:
        if self._ticket:
            self._cancel()
        else:
            self.accept()

    def _cancel(self) -> None:
        """Stop the evaluation; the reply says what was not evaluated."""
        if self._ticket:
            self._studio.ask(CancelEvaluation(ticket=self._ticket), lambda _reply: None, lambda _error: None)


def _list(names: list[str]) -> str:
    """Return the first names, and the number of the others."""
    rest = len(names) - _NAMED
    return ", ".join(names) if rest <= 0 else f"{', '.join(names[:_NAMED])} and {rest:,} more"


def _describe(reply: RunsEvaluated, runs: int) -> str:
    """Return what was done, why runs failed, and what was left out, each in a line."""
    done = runs - len(reply.failed)
    lines = [f"{done:,} of {runs:,} {'run' if runs == 1 else 'runs'} evaluated."]
    names = defaultdict[str, list[str]](list)
    for run, why in reply.failed.items():
        names[why].append(plain(PurePath(run).name, _LONGEST))
    failed = [f"{_list(those)}: {sentence(why)}" for why, those in names.items()]
    notes = [f"{sentence(note)}." for note in reply.notes]
    every = [*failed, *notes]
    more = [f"And {len(every) - _LISTED} more remarks."] if len(every) > _LISTED else []
    return "\n".join([*lines, *every[:_LISTED], *more])
