"""Stop asks: end this stage and go on, or end the run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from PySide6.QtWidgets import QMessageBox, QWidget

from nfkd.protocol.roles import the_role
from nfkd_gui.widgets.dialogs import question

Scope = Literal["stage", "run"]


def ask_stop(name: str, stage: str, stop: Callable[[Scope], None], parent: QWidget) -> QMessageBox:
    """Open the question; `stop` is called with the answer, unless the user thinks better of it."""
    more = "The best weights so far are kept either way. A run that has ended can be resumed later."
    box = question(parent, "Stop", f"Stop “{name}”?", more)
    box.setObjectName("stop")
    stage_words = f"End {the_role(stage)} and go on" if stage else "End this stage and go on"
    end_stage = box.addButton(stage_words, QMessageBox.ButtonRole.AcceptRole)
    end_stage.setObjectName("stop.stage")
    end_run = box.addButton("End the run", QMessageBox.ButtonRole.DestructiveRole)
    end_run.setObjectName("stop.run")
    go_on = box.addButton("Keep running", QMessageBox.ButtonRole.RejectRole)
    box.setEscapeButton(go_on)
    box.setDefaultButton(go_on)
    end_stage.setEnabled(bool(stage))
    end_stage.clicked.connect(lambda: stop("stage"))
    end_run.clicked.connect(lambda: stop("run"))
    box.open()
    return box
