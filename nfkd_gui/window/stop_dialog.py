"""The dialog of Stop: end this stage or the whole run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from PySide6.QtWidgets import QMessageBox, QWidget

from nfkd.protocol.roles import the_role
from nfkd_gui.widgets.dialogs import question

Scope = Literal["stage", "run"]


def ask_stop(name: str, stage: str, stop: Callable[[Scope], None], parent: QWidget) -> QMessageBox:
    """Open the question and return it; `stop` gets the answer, unless the user cancels."""
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
    return box
