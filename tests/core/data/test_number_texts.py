"""Numbers with units, signs of other alphabets, and texts among numbers: used if named, or refused with what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from nfkd.config.tables import TableConfig
from nfkd.data import DataError, load_dataset
from nfkd.data.files import ConfigPath
from nfkd.data.tables import read_table

VALUES = [(index - 15) * 123.25 + 0.5 for index in range(80)]


def write(path: Path, cells: list[str]) -> Path:
    rows = [f"{index / 7:.3f};{cell}" for index, cell in enumerate(cells)]
    path.write_text("\n".join(["x;cost", *rows]) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("pattern", "affix"),
    [
        ("{v}%", "%"),
        ("{v} %", "%"),
        ("{v} kg", "kg"),
        ("{v} km/h", "km/h"),
        ("€ {v}", "€"),
        ("{v} €", "€"),
        ("{s}${a}", "$"),
        ("EUR {v}", "EUR"),
    ],
)
def test_numbers_with_a_unit_are_used_if_their_column_is_named(tmp_path: Path, pattern: str, affix: str) -> None:
    cells = [pattern.format(v=value, a=abs(value), s="-" if value < 0 else "") for value in VALUES]
    path = str(write(tmp_path / "t.csv", cells))
    [unused] = load_dataset(TableConfig(path=path)).unused
    assert (unused.name, unused.usable) == ("cost", True)
    assert unused.reason == f"has {affix} beside each number; name it to use the numbers"
    table = read_table(ConfigPath(Path(path), "data.path"))
    assert table.rows([1])[:, 0].tolist() == VALUES
    assert load_dataset(TableConfig(path=path, columns=("cost",))).columns == ("cost",)


def test_units_that_differ_are_no_unit(tmp_path: Path) -> None:
    cells = [f"{value} {'kg' if index % 2 else 'g'}" for index, value in enumerate(VALUES)]
    [unused] = load_dataset(TableConfig(path=str(write(tmp_path / "t.csv", cells)))).unused
    assert "which is not a number" in unused.reason
    assert not unused.usable


def test_the_typographic_minus_is_a_minus(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", [f"{value}".replace("-", "\u2212") for value in VALUES])
    assert read_table(ConfigPath(path, "data.path")).rows([1])[:, 0].tolist() == VALUES


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("Total", "name this text if it stands for a missing value \\(data.missing_texts\\)"),
        ("1,5", "whose decimal or thousands sign differs from the others: correct the file"),
    ],
)
def test_a_text_among_numbers_is_refused_with_what_to_do(tmp_path: Path, cell: str, said: str) -> None:
    path = write(tmp_path / "t.csv", [*(f"{value}" for value in VALUES), cell])
    with pytest.raises(DataError, match=said):
        load_dataset(TableConfig(path=str(path)))


def test_categories_can_be_context_as_one_hot(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", [["red", "green", "blue"][index % 3] for index in range(80)])
    [unused] = load_dataset(TableConfig(path=str(path))).unused
    assert "3 different texts; to use it as context, give a column of 0 and 1 for each value (one-hot)" in unused.reason
