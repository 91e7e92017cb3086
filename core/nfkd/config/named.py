"""Data sets by a kind's name, a name of the user's or a path: what stands for a whole ``[data]`` table."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterable
from difflib import get_close_matches
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
from nfkd.config.toml import is_table, read_toml, toml_document, toml_text, toml_value
from nfkd.files import is_folder, is_taken, open_regular, replace_file
from nfkd.text import NAME_LENGTH, name_problem, plain

ENVIRONMENT = "NFKD_DATASETS"
"""Names another folder for the data sets that the user has added."""

_NAME = re.compile(r"\w[\w +-]*")
_BY_SUFFIX = {
    ".csv": "table",
    ".tsv": "table",
    ".parquet": "table",
    ".npz": "image_stack",
}
_EITHER = {".h5", ".hdf5"}
_HEAD = 1 << 16  # bytes: the head of a .npy file is shorter
# What NumPy raises for a head, which it parses as Python's syntax.
_NO_HEAD = (ValueError, TypeError, LookupError, ArithmeticError, SyntaxError, TokenError, RecursionError, MemoryError)
_MODELS: dict[str, type[Config]] = {
    model.model_fields["kind"].default: model for model in get_args(get_args(DataConfig)[0])
}

DATA_KINDS: tuple[str, ...] = tuple(_MODELS)
"""Every kind of data, in the order of the form."""


def kind_label(kind: str) -> str:
    """Return a kind of data as people write it, such as ``MNIST``; its name in files where it has no other."""
    extra = _MODELS[kind].model_fields["kind"].json_schema_extra
    return str(extra.get("label") or kind) if is_table(extra) else kind


class _DataFile(Config, frozen=True):
    data: DataConfig = field(title="Data", help="What the flows are trained on.")

    @field_validator("data", mode="before")
    @classmethod
    def _whole(cls, value: Any, info: ValidationInfo) -> Any:
        return whole_table(value, folder_of(info))


def folder_of(info: ValidationInfo) -> Path:
    """Return the folder that relative paths start from: that of the file which is read, or the working directory."""
    context: Any = info.context
    return Path(context["folder"]) if context else Path()


def parse_data(value: str | dict[str, Any], folder: Path | None = None, overrides: Iterable[str] = ()) -> DataConfig:
    """Validate a ``[data]`` table, or what stands for one.

    Parameters
    ----------
    value
        A table, a kind, the name of a data set that was added, or a path.
    folder
        Where relative paths start; the working directory by default.
    overrides
        Assignments such as ``bits=5``, applied before validation; paths in them start from the working directory.

    Raises
    ------
    ConfigError
        With every problem; the paths start with ``data``.
    """
    assigned, start = _assigned(overrides), folder or Path()
    try:
        table = _changed(value, assigned, start) if assigned else value
        return _DataFile.model_validate({"data": table}, context={"folder": start}).data
    except ValidationError as error:
        raise ConfigError(problems_of(error)) from error
    except ValueError as error:  # of a word that the assignments were for
        raise ConfigError([ConfigProblem("data", str(error))]) from error


def _assigned(assignments: Iterable[str]) -> dict[str, Any]:
    pairs = [(word, *(part.strip() for part in word.partition("="))) for word in assignments]
    problems = [
        ConfigProblem("--set", f"{word!r} is not of the form name=value")
        for word, name, equals, _ in pairs
        if not name or not equals
    ]
    if problems:
        raise ConfigError(problems)
    return {name.removeprefix("data."): toml_value(value) for _, name, _, value in pairs}


def _changed(value: str | dict[str, Any], assigned: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return the table of a word, or a table, with some values assigned; a kind may so be given to a path."""
    chosen = str(assigned.get("kind", ""))
    if isinstance(value, str) and chosen in _MODELS and "path" in _MODELS[chosen].model_fields:
        value = {"kind": chosen, "path": value}
    table = whole_table(value, folder)
    kind = {"kind": table["kind"]} if "kind" in table else {}
    return table | whole_table(kind | assigned, Path())


def parse_data_toml(text: str) -> DataConfig:
    """Validate a ``[data]`` table given as TOML text, its keys at the top; raises as `parse_data`."""
    try:
        document = toml_document(text)
    except ConfigError as error:
        raise ConfigError([ConfigProblem("data", error.problems[0].message)]) from error
    return parse_data(document)


# --- what the user has added -----------------------------------------------------------------------------------------


def datasets_folder() -> Path:
    """Return the folder of the data sets that the user has added, a TOML file each; it may not exist yet."""
    chosen = os.environ.get(ENVIRONMENT)
    return Path(chosen).expanduser() if chosen else platformdirs.user_data_path("nfkd", appauthor=False) / "datasets"


def dataset_names() -> list[str]:
    """Return the names of the data sets that the user has added, sorted."""
    return sorted(path.stem for path in datasets_folder().glob("*.toml"))


def dataset_table(name: str) -> dict[str, Any]:
    """Return the table of a data set that the user has added.

    Raises
    ------
    ValueError
        When its file cannot be read.
    """
    path = datasets_folder() / f"{name}.toml"
    try:
        return read_toml(path)
    except ConfigError as error:
        msg = f"the data set {name!r} cannot be read from {path}: {error.problems[0].message}"
        raise ValueError(msg) from error


def add_dataset(name: str, config: DataConfig, *, replace: bool = False) -> Path:
    """Keep a data set under a name; return its file.

    Raises
    ------
    ConfigError
        When the name cannot be one, or is taken and `replace` was not asked for.
    OSError
        When the file cannot be written.
    """
    problems = name_problems(name, replace=replace)
    if problems:
        raise ConfigError(problems)
    path = datasets_folder() / f"{name}.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, toml_text(config).encode())
    return path


def name_problems(name: str, *, replace: bool) -> list[ConfigProblem]:
    """Return what keeps a data set from having a name; `replace`: it may be that of another."""
    message = ""
    shown = plain(repr(name), NAME_LENGTH)
    if name_problem(name) or not _NAME.fullmatch(name) or name != name.strip():
        message = (
            f"{shown} cannot be a name: letters, figures, spaces and _ + - only, 80 at most, a letter or figure first"
        )
    elif name in DATA_KINDS:
        message = f"{name!r} is a kind of data: choose another name"
    elif not replace and name in dataset_names():
        message = f"there is a data set {name!r} already: choose another name, or replace it with --force"
    return [ConfigProblem("name", message)] if message else []


# --- from a word to a table ------------------------------------------------------------------------------------------


def whole_table(value: Any, folder: Path) -> Any:
    """Return a ``[data]`` table with absolute paths, for a table, a model or a word that stands for one.

    Raises
    ------
    ValueError
        When the word is no kind, no added name and no path, or its file may hold several kinds of data.
    """
    table = _expanded(value, folder) if isinstance(value, str) else value
    if isinstance(value, Config):
        return value.model_copy(update=whole_table(dict(value), folder))
    if not is_table(table):
        return value
    model = _MODELS.get(str(table.get("kind")))
    fields = model.model_fields if model else {}
    return {
        key: _absolute(item, folder) if key in fields and _is_path(fields[key]) else item for key, item in table.items()
    }


def _is_path(info: FieldInfo) -> bool:
    extra = info.json_schema_extra
    return is_table(extra) and bool(extra.get("format"))


def _absolute(value: Any, folder: Path) -> Any:
    return str(place(value, folder)) if isinstance(value, str) and value.strip() else value


def place(word: str, folder: Path) -> Path:
    """Return an absolute path; links stay as the user names them."""
    return Path(os.path.abspath(folder / os.path.expanduser(word)))  # noqa: PTH100, PTH111 - none of these can fail


def _expanded(word: str, folder: Path) -> dict[str, Any]:
    if word in DATA_KINDS:
        return {"kind": word}
    if word in dataset_names():
        return dataset_table(word)
    if _looks_like_a_path(word, folder):
        return {"kind": _kind_of(place(word, folder)), "path": word}
    near = get_close_matches(word, [*dataset_names(), *DATA_KINDS], n=3, cutoff=0.5)
    known = f"; near it: {', '.join(near)}" if near else f"; added so far: {', '.join(dataset_names()) or 'none'}"
    msg = f"there is no data set {word!r}{known}. Give a kind, a name that `nfkd data add` made, or a path"
    raise ValueError(msg)


def _looks_like_a_path(word: str, folder: Path) -> bool:
    suffix = Path(word).suffix.lower()
    known = suffix in _BY_SUFFIX or suffix in _EITHER or suffix == ".npy"
    return known or "/" in word or os.sep in word or (word != "" and is_taken(folder / word))


def _kind_of(path: Path) -> str:
    suffix = path.suffix.lower()
    if is_folder(path):
        return "image_folder"
    if suffix == ".npy":
        return "table" if _dimensions(path) <= 2 else "image_stack"
    if suffix in _BY_SUFFIX:
        return _BY_SUFFIX[suffix]
    if suffix in _EITHER:
        msg = (
            f'{path.name} may hold images or a table: write kind = "image_stack" or kind = "table" with its path '
            "(nfkd data: --set kind=table)"
        )
        raise ValueError(msg)
    if not is_taken(path):
        msg = f"{path} is not there"
        raise ValueError(msg)
    known = ", ".join((*_BY_SUFFIX, ".npy", *sorted(_EITHER)))
    msg = f"{path.name} is of no kind that is known by its ending: a folder of images, or a file of {known}"
    raise ValueError(msg)


def _dimensions(path: Path) -> int:
    """Return the number of dimensions that the head of a .npy file tells; the rest is for its reader to judge."""
    heads = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    try:
        with open_regular(path) as file:
            head = io.BytesIO(file.read(_HEAD))
        read = heads.get(np.lib.format.read_magic(head))
        return len(read(head)[0]) if read else 1  # a third version is there for named fields alone
    except OSError as error:
        msg = f"{path} cannot be read as a .npy file: {error.strerror}"
        raise ValueError(msg) from error
    except _NO_HEAD as error:
        msg = f"{path} cannot be read as a .npy file: it is damaged or of another kind"
        raise ValueError(msg) from error
