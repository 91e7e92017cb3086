"""The sources of data. Each module lists its `Source` objects in ``SOURCES``."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from nfkd.data.source import Source


def _find_sources() -> dict[str, Source[Any]]:
    modules = [import_module(f"{__name__}.{module.name}") for module in iter_modules(__path__)]
    return {source.kind: source for module in modules for source in module.SOURCES}


SOURCES = _find_sources()
"""All sources, by the kind in their configs."""
