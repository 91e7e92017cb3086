"""The files and folders that an experiment names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from nfkd.config.base import Config


def config_paths(config: Config) -> list[Path]:
    """Return the files and folders in a config, its sections and its lists."""
    found: list[Path] = []
    for name, info in type(config).model_fields.items():
        value: Any = getattr(config, name)
        extra = cast("dict[str, Any] | None", info.json_schema_extra)
        if isinstance(value, str) and value and extra and extra.get("format"):
            found.append(Path(value).expanduser())
        sections: Sequence[Any] = cast("tuple[Any, ...]", value) if isinstance(value, tuple) else (value,)
        for section in sections:
            if isinstance(section, Config):
                found += config_paths(section)
    return found
