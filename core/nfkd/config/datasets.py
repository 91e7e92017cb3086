"""Names of data sets: a kind, a data set that the user has added, or a path, resolved to a ``[data]`` table."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterable
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from tokenize import TokenError
from typing import Any, get_args

import numpy as np
import platformdirs
from pydantic import ValidationError, ValidationInfo, field_validator
from pydantic.fields import FieldInfo

from nfkd.config.base import Config, field
from nfkd.config.data import DataConfig
from nfkd.config.problems import ConfigError, ConfigProblem, problems_of
from nfkd.config.toml import is_table, names_value, read_toml, toml_document, toml_text, toml_value
from nfkd.files import is_folder, is_taken, open_regular, replace_file
from nfkd.text import NAME_LENGTH, name_problem, plain

ENVIRONMENT = "NFKD_DATASETS"
"""Environment variable with another folder for the user's data sets."""

_NAME = re.compile(r"\w[\w +-]*")
TABLE_ENDINGS = (".csv", ".tsv", ".txt", ".dat", ".data", ".gz", ".zip", ".parquet", ".feather", ".xlsx")
"""Suffixes of files that hold a table and nothing else."""
_BY_SUFFIX = dict.fromkeys(TABLE_ENDINGS, "table") | {".npz": "image_stack"}
_AMBIGUOUS = {".h5", ".hdf5"}
_PATHS = {"file", "folder"}
IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
"""Suffixes of image files."""
_HEADER_SIZE = 1 << 16  # bytes: the header of a .npy file is shorter
# NumPy's errors for a damaged header, which it parses as Python's syntax.
_DAMAGED = (ValueError, TypeError, LookupError, ArithmeticError, SyntaxError, TokenError, RecursionError, MemoryError)
_MODELS: dict[str, type[Config]] = {
    model.model_fields["kind"].default: model for model in get_args(get_args(DataConfig)[0])
}

DATA_KINDS: tuple[str, ...] = tuple(_MODELS)
"""Every kind of data, in the order of the form."""


def kind_label(kind: str) -> str:
    """Return the label of a kind of data, such as ``MNIST``; the kind itself if it has none."""
    extra = _MODELS[kind].model_fields["kind"].json_schema_extra
    return str(extra.get("label") or kind) if is_table(extra) else kind


def kind_group(kind: str) -> str:
    """Return the group of a kind of data in the form: ``Images``, ``In the plane`` or ``Tables``."""
    extra = _MODELS[kind].model_fields["kind"].json_schema_extra
    return str(extra.get("group", "")) if is_table(extra) else ""


def is_built_in(kind: str) -> bool:
    """Return whether a kind of data needs no path of the user."""
    return "path" not in _MODELS[kind].model_fields


class _DataFile(Config, frozen=True):
    data: DataConfig = field(title="Data", help="What the flows are trained on.")

    @field_validator("data", mode="before")
    @classmethod
    def _resolve(cls, value: Any, info: ValidationInfo) -> Any:
        return resolve_data_table(value, base_folder(info))


def base_folder(info: ValidationInfo) -> Path:
    """Return the base of relative paths: the folder of the file being read, or the working directory."""
    context: Any = info.context
    return Path(context["folder"]) if context else Path()


def parse_data(value: str | dict[str, Any], folder: Path | None = None, overrides: Iterable[str] = ()) -> DataConfig:
    """Validate a ``[data]`` table, or the name of a data set.

    Parameters
    ----------
    value
        A table, a kind, the name of an added data set, or a path.
    folder
        Base of relative paths; the working directory by default.
    overrides
        Assignments such as ``bits=5``, applied before validation; relative paths in them start from the working
        directory.

    Raises
    ------
    ConfigError
        With every problem; the paths start with ``data``.
    """
    changes, base = _parse_overrides(overrides), folder or Path()
    try:
        table = _apply_overrides(value, changes, base) if changes else value
        return _DataFile.model_validate({"data": table}, context={"folder": base}).data
    except ValidationError as error:
        raise ConfigError(problems_of(error)) from error
    except ValueError as error:  # the name, resolved for the overrides
        raise ConfigError([ConfigProblem("data", str(error))]) from error


def _parse_overrides(overrides: Iterable[str]) -> dict[str, Any]:
    pairs = [(override, *(side.strip() for side in override.partition("="))) for override in overrides]
    problems = [
        ConfigProblem("--set", f"{override!r} is not of the form name=value")
        for override, name, equals, _ in pairs
        if not name or not equals
    ]
    if problems:
        raise ConfigError(problems)
    return {(key := name.removeprefix("data.")): override_value(key, value) for _, name, _, value in pairs}


def override_value(field_name: str, text: str) -> Any:
    """Return the value of an override of a field of the data: a list for lists of names, text for texts, else TOML."""
    if field_name in _fields_of_type(tuple[str, ...]):
        return names_value(text)
    value = toml_value(text)
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return text if is_number and field_name in _fields_of_type(str) else value


@cache
def _fields_of_type(annotation: Any) -> frozenset[str]:
    """Return the names of the fields of a type, in all kinds of data."""
    return frozenset(
        name for model in _MODELS.values() for name, info in model.model_fields.items() if info.annotation == annotation
    )


def _apply_overrides(value: str | dict[str, Any], changes: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return the table of a name, or a table, with some values changed; a changed kind also applies to a path."""
    kind = str(changes.get("kind", ""))
    if isinstance(value, str) and kind in _MODELS and "path" in _MODELS[kind].model_fields:
        value = {"kind": kind, "path": value}
    table = resolve_data_table(value, folder)
    own_kind = {"kind": table["kind"]} if "kind" in table else {}
    return table | resolve_data_table(own_kind | changes, Path())


def parse_data_toml(text: str) -> DataConfig:
    """Validate a ``[data]`` table given as TOML text, with its keys at the top level; raises as `parse_data`."""
    try:
        document = toml_document(text)
    except ConfigError as error:
        raise ConfigError([ConfigProblem("data", error.problems[0].message)]) from error
    return parse_data(document)


# --- data sets of the user -------------------------------------------------------------------------------------------


def datasets_folder() -> Path:
    """Return the folder of the user's data sets, a TOML file each; it may not exist yet."""
    chosen = os.environ.get(ENVIRONMENT)
    return Path(chosen).expanduser() if chosen else platformdirs.user_data_path("nfkd", appauthor=False) / "datasets"


def dataset_names() -> list[str]:
    """Return the names of the user's data sets, sorted."""
    return sorted(path.stem for path in datasets_folder().glob("*.toml"))


def _dataset_table(name: str) -> dict[str, Any]:
    path = datasets_folder() / f"{name}.toml"
    try:
        return read_toml(path)
    except ConfigError as error:
        msg = f"the data set {name!r} cannot be read from {path}: {error.problems[0].message}"
        raise ValueError(msg) from error


def add_dataset(name: str, config: DataConfig, *, replace: bool = False) -> Path:
    """Save a data set under a name; return its file.

    Raises
    ------
    ConfigError
        When the name is not allowed, or is taken and `replace` is not set.
    OSError
        When the file cannot be written.
    """
    problems = dataset_name_problems(name, replace=replace)
    if problems:
        raise ConfigError(problems)
    path = datasets_folder() / f"{name}.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, toml_text(config).encode())
    return path


def rename_dataset(old: str, new: str, *, replace: bool = False) -> Path:
    """Give a data set of the user another name; return its file.

    Experiments keep their own text: one with ``data = "old"`` then has a problem at ``data``.

    Raises
    ------
    ConfigError
        When there is no such data set, or `add_dataset` would refuse the new name.
    OSError
        When the file cannot be renamed.
    """
    problems = _unknown_dataset(old) or dataset_name_problems(new, replace=replace or new == old)
    if problems:
        raise ConfigError(problems)
    return (datasets_folder() / f"{old}.toml").replace(datasets_folder() / f"{new}.toml")


def remove_dataset(name: str) -> Path:
    """Remove the name of a data set; return the TOML file that held it. The data's own files stay.

    Raises
    ------
    ConfigError
        When there is no such data set.
    OSError
        When the file cannot be removed.
    """
    problems = _unknown_dataset(name)
    if problems:
        raise ConfigError(problems)
    path = datasets_folder() / f"{name}.toml"
    path.unlink()
    return path


def _unknown_dataset(name: str) -> list[ConfigProblem]:
    if name in dataset_names():
        return []
    known = "it is a kind of data, which stays" if name in DATA_KINDS else _similar_names(name, dataset_names())
    return [ConfigProblem("name", f"there is no data set of yours named {plain(repr(name), NAME_LENGTH)}; {known}")]


def _similar_names(name: str, names: list[str]) -> str:
    near = get_close_matches(name, names, n=3, cutoff=0.5)
    return f"similar: {', '.join(near)}" if near else f"added so far: {', '.join(dataset_names()) or 'none'}"


def dataset_name_problems(name: str, *, replace: bool) -> list[ConfigProblem]:
    """Return what is wrong with a data set's name; with `replace`, a taken name is allowed."""
    message = ""
    shown = plain(repr(name), NAME_LENGTH)
    if name_problem(name) or not _NAME.fullmatch(name) or name != name.strip():
        message = (
            f"{shown} cannot be a name: use at most 80 letters, digits, spaces and _ + -, with a letter or digit first"
        )
    elif name in DATA_KINDS:
        message = f"{name!r} is a kind of data: choose another name"
    elif not replace and name in dataset_names():
        message = f"there is a data set {name!r} already: choose another name, or replace it with --force"
    return [ConfigProblem("name", message)] if message else []


# --- from a name to a table ------------------------------------------------------------------------------------------


def resolve_data_table(value: Any, folder: Path) -> Any:
    """Return a ``[data]`` table with absolute paths, for a table, a model, a name or a path.

    Raises
    ------
    ValueError
        When a name is unknown, or a path does not determine the kind of data.
    """
    table = _table_of_name(value, folder) if isinstance(value, str) else value
    if isinstance(value, Config):
        return value.model_copy(update=resolve_data_table(dict(value), folder))
    if not is_table(table):
        return value
    model = _MODELS.get(str(table.get("kind")))
    fields = model.model_fields if model else {}
    return {
        key: str(absolute_path(item, folder)) if _is_path(item, fields.get(key)) else item
        for key, item in table.items()
    }


def _is_path(value: Any, info: FieldInfo | None) -> bool:
    extra = info.json_schema_extra if info else None
    return isinstance(value, str) and value.strip() != "" and is_table(extra) and extra.get("format") in _PATHS


def absolute_path(path: str, folder: Path) -> Path:
    """Return an absolute path; links are not resolved."""
    return Path(os.path.abspath(folder / os.path.expanduser(path)))  # noqa: PTH100, PTH111 - none of these can fail


def _table_of_name(name: str, folder: Path) -> dict[str, Any]:
    if name in DATA_KINDS:
        return {"kind": name}
    if name in dataset_names():
        return _dataset_table(name)
    if _looks_like_a_path(name, folder):
        return {"kind": _kind_of(absolute_path(name, folder)), "path": name}
    known = _similar_names(name, [*dataset_names(), *DATA_KINDS])
    msg = f"there is no data set {name!r}; {known}. Give a kind, a name from `nfkd data add`, or a path"
    raise ValueError(msg)


def _looks_like_a_path(name: str, folder: Path) -> bool:
    suffix = Path(name).suffix.lower()
    known = suffix in _BY_SUFFIX or suffix in _AMBIGUOUS or suffix == ".npy"
    return known or "/" in name or os.sep in name or (name != "" and is_taken(folder / name))


def _kind_of(path: Path) -> str:
    suffix = path.suffix.lower()
    if is_folder(path):
        return "image_folder"
    if suffix == ".npy":
        return "table" if _dimensions(path) <= 2 else "image_stack"
    if suffix in _BY_SUFFIX:
        return _BY_SUFFIX[suffix]
    if suffix in _AMBIGUOUS:
        msg = (
            f'{path.name} may contain images or a table: write kind = "image_stack" or kind = "table" with its path '
            "(nfkd data: --set kind=table)"
        )
        raise ValueError(msg)
    if not is_taken(path):
        msg = f"{path} does not exist"
        raise ValueError(msg)
    known = ", ".join((*_BY_SUFFIX, ".npy", *sorted(_AMBIGUOUS)))
    msg = f"{path.name} has no known file extension: give a folder of images, or a file with {known}"
    raise ValueError(msg)


def _dimensions(path: Path) -> int:
    """Return the number of dimensions in the header of a .npy file."""
    headers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    try:
        with open_regular(path) as file:
            header = io.BytesIO(file.read(_HEADER_SIZE))
        read = headers.get(np.lib.format.read_magic(header))
        return len(read(header)[0]) if read else 1  # version 3 is for named fields only
    except OSError as error:
        msg = f"{path} cannot be read as a .npy file: {error.strerror}"
        raise ValueError(msg) from error
    except _DAMAGED as error:
        msg = f"{path} cannot be read as a .npy file: it is damaged or has another format"
        raise ValueError(msg) from error
