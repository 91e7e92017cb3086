"""The flows of a run: their names, order and colours."""

from __future__ import annotations

from typing import Literal, get_args

Role = Literal["teacher", "assistant-1", "assistant-2", "assistant-3", "student", "baseline", "ablation"]
"""The flow that a stage trains; stages have the same names."""
ROLES: tuple[Role, ...] = get_args(Role)
"""All roles, in the order of their stages."""
ASSISTANTS: tuple[Role, ...] = ("assistant-1", "assistant-2", "assistant-3")
"""Flows between teacher and student; each learns from the one before it."""
TEACHERS: tuple[Role, ...] = ("teacher", *ASSISTANTS)
"""Roles that are trained once for all seeds, unless ``seeds.retrain_teacher`` is set."""
USUAL: tuple[Role, ...] = ("teacher", "student", "baseline")
"""The roles of a run without assistants and ablation."""
STUDENTS: tuple[Role, ...] = ("student", "baseline", "ablation")
"""The student, and the same flow without terms of the teacher: with random weights, or with what it inherits."""
DATA = "data"
"""Key of the real data in `COLOURS`."""
COLOURS: dict[str, str] = {
    "teacher": "#0068A8",
    "assistant-1": "#A23B72",
    "assistant-2": "#6E1F4A",
    "assistant-3": "#BF4A87",
    "student": "#B54A00",
    "baseline": "#626A78",
    "ablation": "#7B55A8",
    DATA: "#007A5A",
}
"""For a light background: hues after Okabe and Ito's colour-blind safe palette, dark enough for text."""


_BY_NAME: dict[str, Role] = {role: role for role in ROLES}


def find_role(name: str) -> Role | None:
    """Return the role with a name; None if it is none."""
    return _BY_NAME.get(name)


def learner_of(role: Role) -> Role:
    """Return the role whose flow, data, random numbers and teacher a role has: baseline and ablation are students."""
    return "student" if role in STUDENTS else role


def chain_of(assistants: int) -> list[Role]:
    """Return teacher, assistants and student; each learns from the one before it."""
    return [*TEACHERS[: 1 + assistants], "student"]


def role_name(role: str) -> str:
    """Return a role's name, such as ``assistant 1``."""
    return role.replace("-", " ")


def role_label(role: str) -> str:
    """Return a role as a heading, such as ``Assistant 1``."""
    return role_name(role).capitalize()


def the_role(role: str) -> str:
    """Return a role within a sentence: ``the teacher``, ``assistant 1``."""
    return role_name(role) if role in ASSISTANTS else f"the {role}"
