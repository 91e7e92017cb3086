"""The flows of a run: what they are called, their order, and the colour of each wherever it is drawn."""

from __future__ import annotations

from typing import Literal, get_args

Role = Literal["teacher", "student", "baseline"]
"""The flow that a stage trains; the stages bear the same names."""
ROLES: tuple[Role, ...] = get_args(Role)
"""In the order of their stages."""
USUAL: tuple[Role, ...] = ("teacher", "student", "baseline")
"""What a run has unless its experiment says otherwise."""
DATA = "data"
"""What is no flow and is drawn beside them."""
COLOURS: dict[str, str] = {"teacher": "#0072B2", "student": "#D55E00", "baseline": "#7F7F7F", DATA: "#009E73"}
"""On a light ground: Okabe and Ito's palette, which colour-blind eyes tell apart."""


def role_words(role: str) -> str:
    """Return what people call a role, with a capital: ``Teacher``."""
    return role.replace("-", " ").capitalize()
