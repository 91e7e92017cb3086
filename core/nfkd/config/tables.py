"""Config of the user's tables: how a file is read and split, and the roles of its columns."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import field_validator

from nfkd.config.base import Config, field
from nfkd.config.splits import SplitConfig, Storage, kind_field, storage_field

Scaling = Literal["standard", "robust", "quantile", "none"]
_Separator = Literal["auto", "comma", "semicolon", "tab", "pipe", "space"]
_Thousands = Literal["auto", "none", "comma", "point", "space", "apostrophe"]
_SIGNS = {
    ",": "comma",
    ";": "semicolon",
    "\t": "tab",
    "\\t": "tab",
    "|": "pipe",
    " ": "space",
    ".": "point",
    "'": "apostrophe",
    "": "none",
}
"""Names of the signs that a file may use; the settings take either."""
_SWITCHES = {True: "yes", False: "no"}


class _TableColumnsConfig(Config, frozen=True):
    """Which columns of a file are used, and how."""

    kind: Literal["table"] = kind_field("table", "Table from a file", "Tables", "A table of numbers from a file.")
    path: str = field(
        "",
        title="File",
        help="Text such as .csv, or .parquet, .feather, .xlsx, .npy, .h5.",
        format="file",
    )
    key: str = field(
        "",
        title="Array or sheet",
        help="Name of the array (.h5, .npz) or of the sheet (.xlsx); empty: the only array, the first sheet.",
        advanced=True,
    )
    columns: tuple[str, ...] = field(
        (),
        title="Columns",
        help="Columns to model, by name or index from 0; none: all numbers not used below.",
        strict=False,
    )
    context: tuple[str, ...] = field(
        (), title="Conditioning", help="Columns that all flows get as context.", strict=False
    )
    weight: str = field("", title="Weights", help="A column with the weight of each row, if any.")
    missing: Literal["refuse", "drop", "median"] = field(
        "refuse", title="Missing values", help="Refuse the table, drop such rows, or fill in the training median."
    )
    dequantize: tuple[str, ...] = field(
        (),
        title="Dequantize",
        help="Columns with repeated values that get uniform noise of a step's width; auto: all that need it.",
        strict=False,
    )
    scaling: Scaling = field(
        "standard",
        title="Scaling",
        help="Standard: mean 0, deviation 1. Robust: median and quartiles. Quantile: to a Gaussian, not invertible.",
    )
    storage: Storage = storage_field()


class _TableTextConfig(Config, frozen=True):
    """How a text file is read; what is not set is detected from the file."""

    separator: _Separator = field(
        "auto", title="Separator", help="What separates the values of a text file; auto: detected.", advanced=True
    )
    decimal: Literal["auto", "point", "comma"] = field(
        "auto", title="Decimal sign", help="Decimal sign of numbers as text; auto: detected.", advanced=True
    )
    thousands: _Thousands = field(
        "auto", title="Thousands sign", help="Sign between thousands in numbers as text; auto: detected.", advanced=True
    )
    encoding: Literal["auto", "utf-8", "utf-16", "windows-1252", "latin-1"] = field(
        "auto", title="Encoding", help="Encoding of a text file; auto: detected.", advanced=True
    )
    comment: str = field(
        "",
        title="Comment sign",
        help="Lines of a text file that begin with this are skipped; empty: # or % if the file begins so.",
        max_length=8,
        advanced=True,
    )
    header: Literal["auto", "yes", "no"] = field(
        "auto",
        title="Header",
        help="Whether the first row has names; auto: detected.",
        advanced=True,
    )
    missing_texts: tuple[str, ...] = field(
        (),
        title="Missing values as",
        help="Such as NA or -999; none: the usual ones. Numbers stand for missing values in every kind of file.",
        strict=False,
        advanced=True,
    )

    @field_validator("separator", "decimal", "thousands", mode="before")
    @classmethod
    def _name_sign(cls, value: Any) -> Any:
        return _SIGNS.get(value, value) if isinstance(value, str) else value

    @field_validator("header", mode="before")
    @classmethod
    def _name_switch(cls, value: Any) -> Any:
        return _SWITCHES[value] if isinstance(value, bool) else value


class _TableSplitConfig(SplitConfig, frozen=True):
    """How the rows of a table are split."""

    split: Literal["random", "order", "column", "files", "arrays"] = field(
        "random",
        title="Split",
        help="At random, in the order of the rows (time series), or by a column, three files or three arrays.",
        advanced=True,
    )
    part_column: str = field(
        "",
        title="Column of the parts",
        help="Holds train, validation (or val) and test in each row; or 0, 1 and 2.",
        needs={".split": ("column",)},
        advanced=True,
    )
    validation_file: str = field(
        "",
        title="Validation file",
        help="Rows of the validation part; empty: split off from the first file.",
        format="file",
        needs={".split": ("files",)},
        advanced=True,
    )
    test_file: str = field(
        "",
        title="Test file",
        help="Rows of the test part.",
        format="file",
        needs={".split": ("files",)},
        advanced=True,
    )
    validation_array: str = field(
        "",
        title="Validation array",
        help="Name of the array in the file; empty: validation, valid, val or dev.",
        needs={".split": ("arrays",)},
        advanced=True,
    )
    test_array: str = field(
        "",
        title="Test array",
        help="Name of the array in the file; empty: test or testing.",
        needs={".split": ("arrays",)},
        advanced=True,
    )


class TableConfig(_TableSplitConfig, _TableTextConfig, _TableColumnsConfig, frozen=True):
    """Any table: text, Parquet, Feather, Excel, .npy, .npz or .h5, with conditioning columns and weights if wanted."""
