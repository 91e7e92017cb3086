"""The questions before a run or the engine is stopped."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

from PySide6.QtWidgets import QMessageBox, QWidget

from nfkd.protocol.roles import the_role
from nfkd_gui.model.run_states import LIVE
from nfkd_gui.model.studio import Studio
from nfkd_gui.widgets.dialogs import question

Scope = Literal["stage", "run"]


def ask_stop_run(studio: Studio, parent: QWidget) -> None:
    """Ask whether the run that is in training ends, or only its stage."""
    row = studio.controlled
    if row is None:
        return
    progress = studio.progress.get(row.run)
    seed, stage = (progress.seed, progress.stage) if progress is not None and row.state != "queued" else (0, "")
    _ask(row.name, stage, partial(studio.stop, row.run, seed, stage), parent)


def ask_stop_engine(studio: Studio, parent: QWidget) -> None:
    """Ask whether the engine ends, with the run in it."""
    row = studio.controlled
    live = row is not None and row.state in LIVE
    more = (
        "The run keeps its best weights and can be resumed from its checkpoint."
        if live
        else "No run is in training. Tools › Reconnect starts it again."
    )
    text = f"Stop the engine and “{row.name}”?" if row is not None and live else "Stop the engine?"
    box = question(parent, "Stop engine", text, more)
    stop = box.addButton("Stop both" if live else "Stop", QMessageBox.ButtonRole.DestructiveRole)
    box.setDefaultButton(box.addButton(QMessageBox.StandardButton.Cancel))
    stop.clicked.connect(studio.stop_engine)
    box.open()


def _ask(name: str, stage: str, stop: Callable[[Scope], None], parent: QWidget) -> None:
    """Open the question; `stop` gets the answer, unless the user cancels."""
    more = "The best weights so far are kept in both cases. A run that has ended can be resumed later."
    box = question(parent, "Stop", f"Stop “{name}”?", more)
    box.setObjectName("stop")
    stage_text = f"End {the_role(stage)} and go on" if stage else "End this stage and go on"
    end_stage = box.addButton(stage_text, QMessageBox.ButtonRole.AcceptRole)
    end_stage.setObjectName("stop.stage")
    end_run = box.addButton("End the run", QMessageBox.ButtonRole.DestructiveRole)
    end_run.setObjectName("stop.run")
    keep = box.addButton("Keep running", QMessageBox.ButtonRole.RejectRole)
    box.setEscapeButton(keep)
    box.setDefaultButton(keep)
    end_stage.setEnabled(bool(stage))
    end_stage.clicked.connect(lambda: stop("stage"))
    end_run.clicked.connect(lambda: stop("run"))
    box.open()
