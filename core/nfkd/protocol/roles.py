"""The flows of a run: what they are called, their order, and the colour of each wherever it is drawn."""

from __future__ import annotations

from typing import Literal, get_args

Role = Literal["teacher", "assistant-1", "assistant-2", "assistant-3", "student", "baseline"]
"""The flow that a stage trains; the stages bear the same names."""
ROLES: tuple[Role, ...] = get_args(Role)
"""In the order of their stages."""
ASSISTANTS: tuple[Role, ...] = ("assistant-1", "assistant-2", "assistant-3")
"""Flows between teacher and student: each learns from the one before it."""
TEACHERS: tuple[Role, ...] = ("teacher", *ASSISTANTS)
"""Those that are trained once for all seeds, unless each seed has its own."""
USUAL: tuple[Role, ...] = ("teacher", "student", "baseline")
"""What a run has unless its experiment says otherwise."""
DATA = "data"
"""What is no flow and is drawn beside them."""
COLOURS: dict[str, str] = {
    "teacher": "#0072B2",
    "assistant-1": "#CC79A7",
    "assistant-2": "#C08A00",
    "assistant-3": "#3B96C4",
    "student": "#D55E00",
    "baseline": "#7F7F7F",
    DATA: "#009E73",
}
"""On a light ground: Okabe and Ito's palette, which colour-blind eyes tell apart, two pale hues darkened to be seen."""


def role_name(role: str) -> str:
    """Return what people call a role: ``teacher``, ``assistant 1``."""
    return role.replace("-", " ")


def role_label(role: str) -> str:
    """Return the same with a capital, for headings: ``Teacher``, ``Assistant 1``."""
    return role_name(role).capitalize()


def the_role(role: str) -> str:
    """Return a role within a sentence: ``the teacher``, ``assistant 1``."""
    return role_name(role) if role in ASSISTANTS else f"the {role}"
