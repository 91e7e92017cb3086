"""What a user does with the form, for tests."""

from __future__ import annotations

from functools import cache
from typing import Any

from pydantic import BaseModel
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QComboBox, QLineEdit, QWidget

from nfkd_gui.forms.experiment_form import ExperimentForm
from nfkd_gui.widgets.message_cell import MessageCell


def editor(form: ExperimentForm, path: str) -> Any:
    """Return the only widget of this name that is not hidden."""
    found = [widget for widget in form.findChildren(QWidget, path) if not widget.isHidden()]
    assert len(found) == 1, path
    return found[0]


def message(form: ExperimentForm, path: str) -> str:
    """Return the message at a field."""
    cells: list[Any] = form.findChildren(QWidget, f"{path}.message")
    texts = [cell.message if isinstance(cell, MessageCell) else cell.text() for cell in cells if not cell.isHidden()]
    return " ".join(text for text in texts if text)


def write(form: ExperimentForm, path: str, text: str) -> None:
    """Type into a field."""
    line = editor(form, path).findChild(QLineEdit) or editor(form, path)
    line.selectAll()
    QTest.keyClicks(line, text)


def choose(form: ExperimentForm, path: str, value: str) -> None:
    """Choose a value in a list."""
    box: QComboBox = editor(form, path)
    box.setCurrentIndex(box.findData(value))
    box.activated.emit(box.currentIndex())


def click(form: ExperimentForm, path: str) -> None:
    """Click a button."""
    button = editor(form, path)
    assert button.isVisible(), path
    assert button.isEnabled(), path
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)


@cache
def value_paths(model: type[BaseModel], prefix: str = "") -> frozenset[str]:
    """Return the path of every value, from pydantic's JSON schema."""
    schema = model.model_json_schema()
    found: set[str] = set()

    def walk(node: dict[str, Any], path: str) -> None:
        if "$ref" in node:
            node = {
                **schema["$defs"][node["$ref"].rpartition("/")[2]],
                **{k: v for k, v in node.items() if k != "$ref"},
            }
        if "properties" in node:
            for name, child in node["properties"].items():
                walk(child, f"{path}.{name}" if path else name)
        elif "oneOf" in node or "anyOf" in node:
            for child in node.get("oneOf", node.get("anyOf", [])):
                walk(child, path)
        else:
            found.add(path)

    walk(schema, prefix)
    return frozenset(found)
