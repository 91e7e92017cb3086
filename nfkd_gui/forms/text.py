"""Text helpers of the form."""

from __future__ import annotations


def sentence(text: str) -> str:
    """Return a message with a capital first letter, unless it starts with a name such as ``data.csv``."""
    first = text.partition(" ")[0].rstrip(":,;.")
    return f"{text[:1].upper()}{text[1:]}" if first.isalpha() else text
