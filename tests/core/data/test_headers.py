"""What is above the values of a table: titles, headers, units, names of rows; and files that are no tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nfkd.config.tables import TableConfig
from nfkd.data import DataError, load_dataset
from nfkd.data.files import ConfigPath
from nfkd.data.tables import read_table
from tests.core.data.sheet_files import write_sheets

VALUES = [[index * 1.5 + 0.25, index % 7 - 0.5] for index in range(40)]
ROWS = [f"{x},{y}" for x, y in VALUES]


def read(path: Path, **options: Any) -> tuple[list[str], np.ndarray, str]:
    table = read_table(ConfigPath(path, "data.path"), TableConfig(path=str(path), **options))
    kept = [index for index, column in enumerate(table.columns) if not column.problem and not column.optional]
    return [table.columns[index].name for index in kept], np.asarray(table.rows(kept)[:]), table.reading


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize(
    ("above", "names", "said"),
    [
        (["x,y"], ["x", "y"], "separated by commas"),
        (["Measurements of 2024", "x,y"], ["x", "y"], "1 row above the table skipped"),
        (["Measurements of 2024", "", "x,y"], ["x", "y"], "1 row above the table skipped"),
        (["Sensor log,", "Station 7,", "x,y"], ["x", "y"], "2 rows above the table skipped"),
        (["x,y", "[m],[m/s]"], ["x", "y"], "1 row of units below the header skipped"),
        (["Log", "x,y", "m,s"], ["x", "y"], "1 row above the table skipped, 1 row of units below the header skipped"),
        (["@relation a", "@attribute x numeric", "@data"], ["0", "1"], "no header, 3 rows above the table skipped"),
        ([], ["0", "1"], "no header"),
    ],
)
def test_rows_above_the_values_are_told_apart_and_reported(
    tmp_path: Path, above: list[str], names: list[str], said: str
) -> None:
    found, numbers, reading = read(write(tmp_path / "t.csv", *above, *ROWS))
    assert (found, numbers.tolist()) == (names, VALUES)
    assert reading.endswith(said)


@pytest.mark.parametrize(
    ("first", "row", "names"),
    [
        ("1.25,-2,b", "{x},{y},{c}", ["0", "1"]),  # UCI: a class in each row
        ("39,7,b", "{n},{y},{c}", ["0", "1"]),
        ("country,1990,1991", "{c}{n},{x},{y}", ["1990", "1991"]),
        ("x,kind,y", "{x},{c},{y}", ["x", "y"]),
        ("x,,y", "{x},{y},{n}", ["x", "1", "y"]),  # an empty name is no title
        ("x,y,", "{x},{y},{n}", ["x", "y", "2"]),
    ],
)
def test_a_first_row_is_a_header_only_if_it_names(tmp_path: Path, first: str, row: str, names: list[str]) -> None:
    rows = [row.format(x=x, y=y, c="abc"[n % 3], n=n * n % 41) for n, (x, y) in enumerate(VALUES)]
    found, numbers, _ = read(write(tmp_path / "t.csv", first, *rows))
    assert found == names
    assert len(numbers) == len(rows) + ("no header" in read(tmp_path / "t.csv")[2])


def test_a_row_of_values_is_no_title(tmp_path: Path) -> None:
    rows = ["1.5,2.5,", *[f"{x},{y},3" for x, y in VALUES]]
    _, numbers, _ = read(write(tmp_path / "t.csv", *rows))
    assert numbers[0].tolist()[:2] == [1.5, 2.5]
    assert len(numbers) == len(rows)


def test_names_of_rows_are_no_first_column_of_fractions(tmp_path: Path) -> None:
    named = [f'"{index + 1}" {x} {y}' for index, (x, y) in enumerate(VALUES)]
    assert read(write(tmp_path / "r.txt", '"x" "y"', *named))[0] == ["x", "y"]
    shifted = [f"{x},'a, {index}',{y}" for index, (x, y) in enumerate(VALUES)]  # a comma within other quotes
    with pytest.raises(DataError, match="has 4 values in line 2, but 3 in its first"):
        read(write(tmp_path / "t.csv", "x,s,y", *shifted))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"PK\x03\x04rest", "name it .xlsx or .zip"),
        (b"\xd0\xcf\x11\xe0rest", "save it as .xlsx"),
        (b"\x89HDF\r\n", "name it .h5"),
        (b"%PDF-1.7", "PDF document"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b'{"x": 1, "y": 2}\n', "JSON"),
        (b'[\n {"x": 1}]', "JSON"),
        (b"1,2\n\x00\x01\x02,3\n", "binary data"),
    ],
)
def test_a_file_that_is_no_table_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content * 30)
    with pytest.raises(DataError, match=said):
        load_dataset(TableConfig(path=str(path)))


@pytest.mark.parametrize(
    ("above", "names", "said"),
    [
        ([["x", "y"]], ["x", "y"], "sheet Data"),
        ([["Report of 2024"], [], ["x", "y"]], ["x", "y"], "2 rows above the table skipped"),
        ([["x", "y"], ["m", "s"]], ["x", "y"], "1 row of units below the header skipped"),
        ([], ["0", "1"], "sheet Data"),
    ],
)
def test_rows_above_the_values_of_a_sheet_are_told_apart(
    tmp_path: Path, above: Sequence[Sequence[object]], names: list[str], said: str
) -> None:
    path = write_sheets(tmp_path / "t.xlsx", {"Data": [*above, *VALUES], "Other": [["a"], [1]]})
    found, numbers, reading = read(path)
    assert (found, numbers.tolist()) == (names, VALUES)
    assert said in reading


def test_a_second_sheet_is_read_by_its_name(tmp_path: Path) -> None:
    path = write_sheets(tmp_path / "t.xlsx", {"Notes": [["text"]], "Numbers": [["x", "y"], *VALUES]})
    assert read(path, key="Numbers")[1].tolist() == VALUES
    with pytest.raises(DataError, match="has no sheet 'Number'"):
        read(path, key="Number")
