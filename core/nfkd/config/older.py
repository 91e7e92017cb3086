"""Converts experiments in an older form: fields that have another name or place now."""

from __future__ import annotations

from typing import Any

from nfkd.config.problems import ConfigProblem
from nfkd.config.toml import is_table

_INHERIT = "distillation.inherit"


def upgrade(document: dict[str, Any]) -> tuple[dict[str, Any], list[ConfigProblem]]:
    """Return an experiment with today's fields, and a notice for each field whose conversion the user should know.

    A field of a wrong type stays where it is: the validation refuses it. The document itself is not changed.

    Parameters
    ----------
    document
        An experiment, or a part of it, as nested dictionaries.
    """
    document = _with_cache(document)
    distillation = document.get("distillation")
    matching = distillation.get("matching") if is_table(distillation) else None
    if not is_table(distillation) or not is_table(matching):
        return document, []
    inherits = matching.get("inherit_permutation")
    if not isinstance(inherits, bool):
        return document, []
    rest = {name: value for name, value in matching.items() if name != "inherit_permutation"}
    converted = ({"inherit": "mixing"} if inherits else {}) | distillation | {"matching": rest}
    return document | {"distillation": converted}, [_notice(distillation)] if inherits else []


def _with_cache(document: dict[str, Any]) -> dict[str, Any]:
    """Return an experiment whose cache is not only that of the pool."""
    distillation = document.get("distillation")
    pool = distillation.get("pool") if is_table(distillation) else None
    if not is_table(distillation) or not is_table(pool) or "cache" not in pool:
        return document
    rest = {name: value for name, value in pool.items() if name != "cache"}
    return document | {"distillation": {"cache": pool["cache"]} | distillation | {"pool": rest}}


def _notice(distillation: dict[str, Any]) -> ConfigProblem:
    if distillation.get("inherit", "mixing") == "mixing":
        message = (
            "set to 'mixing' by the older field matching.inherit_permutation = true; the baseline no longer inherits: "
            "save the experiment to write the new field"
        )
    else:
        message = (
            f"is {distillation['inherit']!r}, so the older field matching.inherit_permutation = true has no effect: "
            "remove it"
        )
    return ConfigProblem(_INHERIT, message)
