"""The preset experiments, and other resource files of the package."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


def resource_path(*parts: str) -> Path:
    """Return the path of a resource file: in the package when installed, else in the checkout."""
    installed = _PACKAGE / "resources"
    root = installed if installed.is_dir() else _PACKAGE.parents[1] / "resources"
    return root.joinpath(*parts)


def preset_names() -> list[str]:
    """Return the names of all presets, sorted."""
    return sorted(path.stem for path in resource_path("presets").glob("*.toml"))


def preset_path(name: str) -> Path:
    """Return the file of a preset.

    Raises
    ------
    KeyError
        When there is no preset of that name.
    """
    if name not in preset_names():
        raise KeyError(name)
    return resource_path("presets", f"{name}.toml")
