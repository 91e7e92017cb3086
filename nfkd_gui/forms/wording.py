"""How the form words what the engine and the configuration say."""

from __future__ import annotations


def sentence(words: str) -> str:
    """Return words with a capital at the start, unless they start with what is spelt as it is, such as a file."""
    first = words.partition(" ")[0].rstrip(":,;.")
    return f"{words[:1].upper()}{words[1:]}" if first.isalpha() else words
