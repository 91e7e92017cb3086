"""The queue of runs: a button in the status bar, and a window in which runs are dragged into another order."""

from __future__ import annotations

import math
import time
from pathlib import PurePath

from PySide6.QtCore import Qt
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import (
    QAbstractItemView,
    QDialog,
    QHBoxLayout,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from nfkd.protocol.queue import SweepProgress
from nfkd.text import format_span, plain
from nfkd_gui.model.run_queue import QueueEntry, RunQueueModel
from nfkd_gui.theme import scaled, set_space
from nfkd_gui.widgets.labels import PlainLabel, WrappedLabel

_WIDTH, _HEIGHT, _FAILED = 460, 380, 96
_KEY = Qt.ItemDataRole.UserRole
_LONGEST = 120  # characters of a name


def clock(seconds: float) -> str:
    """Return the time of day in so many seconds, with the day if it is not today's; empty for NaN."""
    if math.isnan(seconds):
        return ""
    then, now = time.localtime(time.time() + seconds), time.localtime()
    return time.strftime("%H:%M" if then[:3] == now[:3] else "%a %H:%M", then)


def summary(queue: RunQueueModel) -> str:
    """Return the queue in one line; empty if there is nothing to say."""
    parts: list[str] = []
    if queue.state.runs:
        parts.append(f"{len(queue.state.runs)} queued")
    sweeps = queue.state.sweeps
    parts += [f"sweep {_name_of(sweep)} {sweep.ended} of {sweep.runs}" for sweep in sweeps]
    if queue.state.paused:
        parts.append("paused")
    elif end := clock(queue.seconds_left() if queue.state.runs else _sweeps_seconds(queue)):
        parts.append(f"ends about {end}")
    parts += [f"sweep {_name_of(sweep)} {_left_undone(sweep)}" for sweep in queue.unfinished[:1]]
    if queue.failed:
        parts.append(f"{len(queue.failed)} failed")
    return " · ".join(parts)


def _left_undone(sweep: SweepProgress) -> str:
    stopped = sweep.ended < sweep.runs
    return f"stopped at {sweep.ended} of {sweep.runs}" if stopped else f"has {sweep.failed} failed"


def _name_of(sweep: SweepProgress) -> str:
    return plain(PurePath(sweep.folder).name, _LONGEST)


def _sweeps_seconds(queue: RunQueueModel) -> float:
    """Return the seconds until the last sweep ends; NaN where this is not known."""
    return sum(map(queue.sweep_seconds_left, queue.state.sweeps)) if queue.state.sweeps else math.nan


class QueueButton(QToolButton):
    """Says how many runs wait, and opens the queue; hidden while there is nothing to say."""

    def __init__(self, queue: RunQueueModel, parent: QWidget) -> None:
        super().__init__(parent)
        self.setObjectName("queue.button")
        self.setAutoRaise(True)
        self.setToolTip("Show the queue: other order, pause, retry.")
        self._queue = queue
        queue.changed.connect(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Show the current state."""
        text = summary(self._queue)
        self.setText(f"Queue: {text}")
        self.setAccessibleName(f"Queue: {text}")
        self.setVisible(bool(text))


class QueueDialog(QDialog):
    """Lists the queued runs and those that failed; stays open beside the window."""

    def __init__(self, queue: RunQueueModel, parent: QWidget) -> None:
        super().__init__(parent)
        self.setObjectName("queue")
        self.setWindowTitle("Queue")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self._queue = queue
        self.list = self._make_list("queue.list", "Queued runs")
        self.list.setDragDropMode(QAbstractItemView.DragDropMode.InternalMove)
        self.list.setDefaultDropAction(Qt.DropAction.MoveAction)
        self.list.model().rowsMoved.connect(self._send_order)
        self.list.currentRowChanged.connect(self._enable)
        self.failed = self._make_list("queue.failed", "Failed runs")
        self.failed.setMaximumHeight(scaled(_FAILED))
        self.failed.currentRowChanged.connect(self._enable)
        self.sweeps = self._make_list("queue.sweeps", "Sweeps")
        self.sweeps.currentRowChanged.connect(self._enable)
        self._sweeps_title = PlainLabel("Sweeps, whose runs start when no other run waits", parent=self)
        self.stop = self._button("stop", "Stop the sweep", "Start no more of its runs; it can be continued later.")
        self.stop.clicked.connect(lambda: self._queue.stop_sweep(_key_of(self.sweeps)))
        self.go_on = self._button("continue", "Continue", "Train its runs that have not ended or have failed.")
        self.go_on.clicked.connect(lambda: self._queue.continue_sweep(_key_of(self.sweeps)))
        self._text = WrappedLabel(parent=self)
        self._text.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Maximum)
        self._failed_title = PlainLabel("Failed since the studio was started", parent=self)
        self.pause = self._button("pause", "Pause the queue", "Start no further run after the active one.")
        self.pause.clicked.connect(self._pause)
        self.up = self._button("up", "Move up", "Start this run sooner (Ctrl+Up).")
        self.up.clicked.connect(lambda: self._move(-1))
        self.down = self._button("down", "Move down", "Start this run later (Ctrl+Down).")
        self.down.clicked.connect(lambda: self._move(1))
        self.remove = self._button("remove", "Remove", "Take this run out of the queue; Resume queues it again.")
        self.remove.clicked.connect(lambda: self._queue.remove(_key_of(self.list)))
        self.retry = self._button("retry", "Retry", "Queue this run again, from its last checkpoint.")
        self.retry.clicked.connect(lambda: self._queue.retry(_key_of(self.failed)))
        for keys, step in (("Ctrl+Up", -1), ("Ctrl+Down", 1)):
            shortcut = QShortcut(QKeySequence(keys), self.list)
            shortcut.setContext(Qt.ShortcutContext.WidgetShortcut)
            shortcut.activated.connect(self.up.click if step < 0 else self.down.click)
        self._lay_out()
        queue.changed.connect(self.refresh)
        self.refresh()
        self.resize(scaled(_WIDTH), scaled(_HEIGHT))

    def _make_list(self, name: str, title: str) -> QListWidget:
        found = QListWidget(self)
        found.setObjectName(name)
        found.setAccessibleName(title)
        found.setUniformItemSizes(True)
        return found

    def _button(self, name: str, text: str, tip: str) -> QPushButton:
        button = QPushButton(text, self)
        button.setObjectName(f"queue.{name}")
        button.setToolTip(tip)
        button.setAutoDefault(False)
        return button

    def _lay_out(self) -> None:
        line, sweeps, retry = QHBoxLayout(), QHBoxLayout(), QHBoxLayout()
        for button in (self.up, self.down, self.remove):
            line.addWidget(button)
        line.addStretch(1)
        line.addWidget(self.pause)
        sweeps.addWidget(self._sweeps_title, 1)
        sweeps.addWidget(self.go_on)
        sweeps.addWidget(self.stop)
        retry.addWidget(self._failed_title, 1)
        retry.addWidget(self.retry)
        column = QVBoxLayout(self)
        set_space(column, 8, 12, 12, 12, 12)
        column.addWidget(self._text)
        column.addWidget(self.list, 1)
        column.addLayout(line)
        column.addLayout(sweeps)
        column.addWidget(self.sweeps, 1)
        column.addLayout(retry)
        column.addWidget(self.failed)

    # --- display --------------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Show the current queue; the selected runs stay selected."""
        _fill(self.list, [(entry.run, _describe(entry)) for entry in self._queue.entries()])
        sweeps = [(sweep.folder, self._describe_active(sweep)) for sweep in self._queue.state.sweeps]
        sweeps += [(sweep.folder, f"{_describe_sweep(sweep)} · not in the queue") for sweep in self._queue.unfinished]
        _fill(self.sweeps, sweeps)
        _fill(self.failed, [(run, plain(PurePath(run).name, _LONGEST)) for run in self._queue.failed])
        text = summary(self._queue)
        self._text.setText(text[:1].upper() + text[1:] if text else "No run is queued.")
        self.pause.setText("Continue the queue" if self._queue.state.paused else "Pause the queue")
        for widget in (self.list, self.up, self.down, self.remove):
            widget.setVisible(bool(self._queue.state.runs) or (not sweeps and not self._queue.failed))
        for widget in (self._sweeps_title, self.sweeps, self.go_on, self.stop):
            widget.setVisible(bool(sweeps))
        for widget in (self._failed_title, self.failed, self.retry):
            widget.setVisible(bool(self._queue.failed))
        self._enable()

    def _describe_active(self, sweep: SweepProgress) -> str:
        end = clock(self._queue.sweep_seconds_left(sweep))
        return f"{_describe_sweep(sweep)} · ends about {end}" if end else _describe_sweep(sweep)

    def _enable(self) -> None:
        row, last = self.list.currentRow(), self.list.count() - 1
        self.up.setEnabled(row > 0)
        self.down.setEnabled(0 <= row < last)
        self.remove.setEnabled(row >= 0)
        active = self._queue.is_active(_key_of(self.sweeps))
        self.stop.setEnabled(active)
        ended = {sweep.folder for sweep in self._queue.unfinished if sweep.ended >= sweep.runs}
        self.go_on.setEnabled(self.sweeps.currentRow() >= 0 and not active)
        self.go_on.setText("Retry failed runs" if _key_of(self.sweeps) in ended else "Continue")
        self.retry.setEnabled(self.failed.currentRow() >= 0)

    # --- commands -------------------------------------------------------------------------------------------------

    def _send_order(self) -> None:
        self._queue.order([str(self.list.item(row).data(_KEY)) for row in range(self.list.count())])

    def _move(self, step: int) -> None:
        row = self.list.currentRow()
        item = self.list.takeItem(row)
        self.list.insertItem(row + step, item)
        self.list.setCurrentItem(item)
        self._send_order()

    def _pause(self) -> None:
        self._queue.pause(paused=not self._queue.state.paused)


def open_queue(queue: RunQueueModel, window: QWidget) -> None:
    """Show the queue of a window; a second call raises the first one's."""
    dialog = window.findChild(QueueDialog) or QueueDialog(queue, window)
    dialog.show()
    dialog.raise_()
    dialog.activateWindow()


def _describe(entry: QueueEntry) -> str:
    about = "" if entry.measured else "about "
    takes = f"takes {about}{format_span(entry.seconds)}" if math.isfinite(entry.seconds) else "time unknown"
    ends = f"ends about {clock(entry.ends)}" if clock(entry.ends) else ""
    return " · ".join(part for part in (plain(entry.name, _LONGEST), takes, ends) if part)


def _describe_sweep(sweep: SweepProgress) -> str:
    failed = f" · {sweep.failed} failed" if sweep.failed else ""
    return f"{_name_of(sweep)} · {sweep.ended} of {sweep.runs} runs ended{failed}"


def _fill(target: QListWidget, items: list[tuple[str, str]]) -> None:
    chosen = _key_of(target)
    target.clear()
    for run, text in items:
        item = QListWidgetItem(text, target)
        item.setData(_KEY, run)
        item.setToolTip(plain(run))
        if run == chosen:
            target.setCurrentItem(item)
    if target.currentRow() < 0 and len(items) == 1:  # there is nothing to choose
        target.setCurrentRow(0)


def _key_of(source: QListWidget) -> str:
    item = source.currentItem()
    return "" if item is None else str(item.data(_KEY))
