"""One line about each section of an experiment, for the outline."""

from __future__ import annotations

from typing import Any

from nfkd.config.datasets import DATA_KINDS, kind_label
from nfkd.config.distillation import loss_label
from nfkd.config.flows import FlowConfig
from nfkd.protocol.requests import Description, FlowDescription
from nfkd_gui.numbers import format_count

_FLOWS = {"glow": "Glow", "glow1d": "Glow-1D", "tarflow": "TarFlow", "jet": "Jet"}
"""Short names of kinds of flows that are not abbreviations."""


def summary_of(name: str, value: Any, description: Description | None) -> str:
    """Return one line about a section; `value` is what the user entered, valid or not."""
    if name == "":
        return _first_line(value.get("description", "")) if isinstance(value, dict) else ""
    if name == "assistants":
        count = len(value) if isinstance(value, (list, tuple)) else 0
        return "None" if not count else f"{count} between teacher and student"
    if not isinstance(value, dict):
        return ""
    return _SUMMARIES[name](value, description)


def flow_label(flow: FlowConfig) -> str:
    """Return the kind and the steps of a flow, such as ``Glow 8×2``; of transformers also their layers."""
    label = f"{_kind(flow.kind)} {flow.steps}"
    match flow.kind:
        case "glow":
            return f"{label}×{flow.levels}"
        case "tarflow" | "jet":
            return f"{label}×{flow.depth}"
        case _:
            return label


def _kind(kind: str) -> str:
    return _FLOWS.get(kind, kind.upper())


def _first_line(text: Any) -> str:
    return str(text).strip().partition("\n")[0]


def _data(value: dict[str, Any], description: Description | None) -> str:
    kind = str(value.get("kind", ""))
    title = kind_label(kind) if kind in DATA_KINDS else "Unknown"
    shape = "×".join(map(str, description.event_shape)) if description is not None else ""
    return f"{title} · {shape}" if shape else title


def _flow(flow: FlowDescription | None, value: dict[str, Any]) -> str:
    if flow is None:
        return _kind(str(value.get("kind", "")))
    return f"{flow.summary} · {format_count(flow.parameters)} parameters"


def _loss(value: dict[str, Any], description: Description | None) -> str:
    del description
    return loss_label(value)


def _training(value: dict[str, Any], description: Description | None) -> str:
    del description
    steps = " + ".join(
        f"{value[name]:,}" for name in ("teacher_steps", "student_steps") if isinstance(value.get(name), int)
    )
    rate = value.get("learning_rate")
    shown = f"{rate:g}" if isinstance(rate, (int, float)) else ""
    optimizer = str(value.get("optimizer", "")).replace("adamw", "AdamW").replace("adamax", "Adamax")
    return " · ".join(part for part in (f"{steps} steps", shown, optimizer.replace("adam", "Adam")) if part)


def _seeds(value: dict[str, Any], description: Description | None) -> str:
    del description
    count = value.get("count")
    return f"{count} seed{'' if count == 1 else 's'} · {str(value.get('metric', '')).replace('_', ' ')}"


def _compute(value: dict[str, Any], description: Description | None) -> str:
    return description.device if description is not None else str(value.get("device", ""))


def _monitor(value: dict[str, Any], description: Description | None) -> str:
    del description
    return f"Pictures every {value.get('pictures_every', '?')} steps"


_SUMMARIES = {
    "data": _data,
    "teacher": lambda value, found: _flow(found.teacher if found is not None else None, value),
    "student": lambda value, found: _flow(found.student if found is not None else None, value),
    "distillation": _loss,
    "training": _training,
    "seeds": _seeds,
    "compute": _compute,
    "monitor": _monitor,
}
