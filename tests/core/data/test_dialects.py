"""Text tables in every dialect: the reader returns exactly the values, or names the setting to give."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nfkd.config.tables import TableConfig
from nfkd.data import DataError, load_dataset
from nfkd.data.files import ConfigPath
from nfkd.data.tables import read_table
from tests.core.data.table_files import refusal

THOUSANDS = {"none": "", "comma": ",", "point": ".", "space": " ", "apostrophe": "'"}


def read(path: Path, **options: Any) -> tuple[list[str], np.ndarray, str]:
    """Return names and values of the columns of numbers, and how the file was read."""
    config = TableConfig(path=str(path), **options)
    table = read_table(ConfigPath(path, "data.path"), config)
    kept = [index for index, column in enumerate(table.columns) if not column.problem and not column.optional]
    return [table.columns[index].name for index in kept], np.asarray(table.rows(kept)[:]), table.reading


def attempt(path: Path) -> tuple[list[str], list[str], np.ndarray, str]:
    """Return the settings that a file needs, or else what `read` returns."""
    try:
        table = read_table(ConfigPath(path, "data.path"))
    except DataError as error:
        return [problem.path for problem in error.problems], [], np.empty(0), ""
    needed = [column.field or column.name for column in table.columns if column.problem]
    return (needed, [], np.empty(0), "") if needed else ([], *read(path))


# --- every dialect ----------------------------------------------------------------------------------------------------


def number(value: float | None, decimal: str, thousands: str, missing: str) -> str:
    if value is None:
        return missing
    digits, _, fraction = f"{abs(value):.3f}".partition(".")
    groups = [digits[max(0, end - 3) : end] for end in range(len(digits), 0, -3)][::-1]
    whole = thousands.join(groups)
    text = f"{whole}{decimal}{fraction}" if int(fraction) else whole
    return f"-{text}" if value < 0 else text


values = st.one_of(
    st.none(),
    st.integers(-9_999_999, 9_999_999).map(lambda value: value / 1000),
    st.integers(-9_999_999, 9_999_999).map(float),
)
rows_of_values = st.integers(2, 4).flatmap(
    lambda width: st.lists(st.lists(values, min_size=width, max_size=width), min_size=3, max_size=12)
)
dialects = st.fixed_dictionaries(
    {
        "separator": st.sampled_from([",", ";", "\t", "|", " "]),
        "decimal": st.sampled_from([".", ","]),
        "thousands": st.sampled_from(list(THOUSANDS)),
        "quoted": st.booleans(),
        "encoding": st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "windows-1252"]),
        "missing": st.sampled_from(["", "NA", "N/A", "#N/A", "na", "nan", "NULL", "null", "-", ".", "?"]),
        "header": st.booleans(),
        "ending": st.sampled_from(["\n", "\r\n"]),
        "suffix": st.sampled_from([".csv", ".txt", ".dat"]),
    }
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(rows=rows_of_values, dialect=dialects)
def test_every_dialect_gives_its_values_or_names_the_setting(
    tmp_path: Path, rows: list[list[float | None]], dialect: dict[str, Any]
) -> None:
    thousands = THOUSANDS[dialect["thousands"]]
    separator, decimal, missing = dialect["separator"], dialect["decimal"], dialect["missing"]
    if thousands == decimal or (separator == " " and (missing == "" or thousands == " ")):
        return
    shown = len(rows[0]) if separator == decimal == "," else 1  # columns that show the decimal sign
    rows = [[1000.5 + index if index < shown else index for index in range(len(rows[0]))], *rows]
    cells = [[number(value, decimal, thousands, missing) for value in row] for row in rows]
    names = [f"größe {index}".replace(" ", "_") for index in range(len(rows[0]))]
    text = io.StringIO(newline="")
    quoting = csv.QUOTE_ALL if dialect["quoted"] else csv.QUOTE_MINIMAL
    writer = csv.writer(text, delimiter=separator, lineterminator=dialect["ending"], quoting=quoting)
    writer.writerows([names, *cells] if dialect["header"] else cells)
    path = tmp_path / f"t{dialect['suffix']}"
    path.write_bytes(text.getvalue().encode(dialect["encoding"]))
    expected = np.array([[np.nan if value is None else value for value in row] for row in rows])
    problems, found, numbers, reading = attempt(path)
    assert set(problems) <= {"data.separator", "data.decimal"}
    if not problems:
        np.testing.assert_array_equal(numbers[: len(expected)], expected[: len(numbers)])
        assert np.isnan(expected[len(numbers) :]).all()  # empty lines at the end
        assert found == (names if dialect["header"] else [str(index) for index in range(len(names))])
        assert ("decimal comma" in reading) == (decimal == "," and "," in "".join(map("".join, cells)))
    names_of_signs = {",": "comma", ".": "point"}
    found, numbers, _ = read(
        path,
        separator=separator,
        decimal=names_of_signs[decimal],
        thousands=dialect["thousands"],
        header=dialect["header"],
        encoding=dialect["encoding"].removesuffix("-sig"),
    )
    np.testing.assert_array_equal(numbers[: len(expected)], expected[: len(numbers)])


# --- single dialects --------------------------------------------------------------------------------------------------


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def lines(first: str, *rows: str) -> str:
    return "\n".join([first, *rows * 30]) + "\n"


@pytest.mark.parametrize(
    ("name", "text", "names", "values", "reading"),
    [
        ("excel.csv", lines("x;y", "0,001;0,062", "-0,274;1,5"), ["x", "y"], [0.001, 0.062], "separated by ;, decimal"),
        ("blanks.csv", lines(" x, y ", "0.5, NA", "1.5, 2"), ["x", "y"], [0.5, np.nan], "missing values as NA"),
        ("savetxt.txt", lines("1.25e-03 -6.5", "2.0e+00 1.5"), ["0", "1"], [0.00125, -6.5], "blanks, no header"),
        ("aligned.dat", lines("   a      b", "  1.50 -12.25", " -2.25   0.5"), ["a", "b"], [1.5, -12.25], "by blanks"),
        ("head.txt", lines("# made by numpy\n# a b", "1.5 2.5", "2 3"), ["a", "b"], [1.5, 2.5], "comments after #"),
        ("head.csv", lines("#x,y", "1.5,2.5", "2,3"), ["x", "y"], [1.5, 2.5], "comments after #"),
        ("number.csv", lines("#,x", "1,2.5", "2,3"), ["#", "x"], [1, 2.5], ""),
        ("r.txt", lines('"x" "y"', '"1" 1.5 2.5', '"2" 2 3'), ["0", "x", "y"], [1, 1.5, 2.5], "by blanks"),
        ("money.csv", lines("x,y", '0.5,"6,027.70"', '1,"7,344.19"'), ["x", "y"], [0.5, 6027.7], "thousands comma"),
        ("de.csv", lines("x;y", "1.234;0,5", "2.345;1,5"), ["x", "y"], [1234, 0.5], "thousands point in x"),
        ("ch.csv", lines("x;y", "1'234.5;1", "2'345.5;2"), ["x", "y"], [1234.5, 1], "thousands apostrophe"),
        ("fr.csv", lines("x;y", "1 234,5;1", "2 345,5;2"), ["x", "y"], [1234.5, 1], "thousands blank"),
        ("one.csv", lines("x", "1,5", "2,5"), ["x"], [1.5], "decimal comma"),
        ("tab.tsv", lines("x\ty", "1.5\t2", "3\t4"), ["x", "y"], [1.5, 2], "separated by tabs"),
        ("tab.txt", lines("x\ty", "1.5\t2", "3\t4"), ["x", "y"], [1.5, 2], "separated by tabs"),
        ("one.tsv", lines("a b", "1.5", "2"), ["a b"], [1.5], ""),
        ("excel.csv", lines("sep=;\nx;y", "0,5;1", "1,5;2"), ["x", "y"], [0.5, 1], "separated by ;, decimal comma"),
        ("ends.csv", lines("x,y", "1.5,2,", "3,4,"), ["x", "y"], [1.5, 2], "separated by commas"),
        ("spaced.csv", lines('x, "y"', '1.5, "2.5"', '2, "3"'), ["x", "y"], [1.5, 2.5], "separated by commas"),
        ("mac.csv", lines("x,y", "1.5,2", "3,4").replace("\n", "\r"), ["x", "y"], [1.5, 2], "separated by commas"),
        ("late.csv", lines("x,y", *["1.5,2"] * 20, "-,#N/A"), ["x", "y"], [1.5, 2], ""),
    ],
)  # fmt: skip
def test_a_dialect_is_detected(
    tmp_path: Path, name: str, text: str, names: list[str], values: list[float], reading: str
) -> None:
    found, numbers, described = read(write(tmp_path / name, text))
    assert found == names
    np.testing.assert_array_equal(numbers[0], values)
    assert reading in described


def test_the_encoding_is_detected(tmp_path: Path) -> None:
    text = lines("Größe;Länge", "1,5;2,5", "2;3")
    labels = {"windows-1252": "Windows-1252", "utf-16-le": "UTF-16", "utf-16": "UTF-16", "utf-8-sig": "", "utf-8": ""}
    for encoding, label in labels.items():
        names, _, reading = read(write(tmp_path / "t.csv", text, encoding))
        assert names == ["Größe", "Länge"]
        assert label in reading


def test_an_unclear_sign_is_refused_until_it_is_given(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", lines("x;y", "1,234;1", "5,678;2", "4,321;3"))
    message = refusal(str(path))
    assert message.startswith("data.decimal: column x has values such as '1,234'")
    assert read(path, decimal="comma")[1][0, 0] == 1.234
    assert read(path, decimal=".")[1][0, 0] == 1234
    assert load_dataset(TableConfig(path=str(path), decimal="comma", columns=("x",))).columns == ("x",)
    assert "the same sign for decimals and thousands" in refusal(str(path), decimal="comma", thousands="comma")


def test_columns_may_have_different_signs(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", lines("x,y,income", '0.001,"0,062","6,027.70"', '-0.299,"-0,010","7,344.19"'))
    names, numbers, reading = read(path)
    assert names == ["x", "y", "income"]
    np.testing.assert_array_equal(numbers[:2], [[0.001, 0.062, 6027.7], [-0.299, -0.01, 7344.19]])
    assert "decimal comma in y" in reading


def test_missing_texts_replace_the_usual_ones(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", lines("x,y", "1.5,-999", "2,-999.0", "3,4.5", "1,5"))
    warnings = load_dataset(TableConfig(path=str(path))).warnings
    assert [(warning.path, "y (-999 in 60 rows)" in warning.message) for warning in warnings] == [
        ("data.missing_texts", True)
    ]
    dataset = load_dataset(TableConfig(path=str(path), missing_texts=("-999",), missing="median", scaling="none"))
    assert dataset.missing == (0, 60)
    assert not dataset.warnings
    for text in ("none given", "."):
        path = write(tmp_path / "t.csv", lines("x,y", f"1.5,{text}", "2,3"))
        assert np.isnan(read(path, missing_texts=(text,))[1][0, 1])
    whole = np.arange(200.0).reshape(100, 2)
    np.save(tmp_path / "t.npy", np.where(whole % 7 == 0, -9.0, whole))
    config = TableConfig(path=str(tmp_path / "t.npy"), missing_texts=("-9",), missing="drop")
    assert sum(load_dataset(config).missing) == 29


def test_a_comment_sign_is_a_setting(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", lines("x,y", "1.5,2", "3,4", "; a note"))
    names, numbers, _ = read(path, comment=";")
    assert names == ["x", "y"]
    assert len(numbers) == 60


# --- columns that are not used ----------------------------------------------------------------------------------------


def test_each_column_that_is_not_used_has_a_reason(tmp_path: Path) -> None:
    rows = [f"{n},{n / 7},{n % 3 == 0},{'abc'[n % 3]},2020-01-{n % 28 + 1:02},," for n in range(60)]
    path = write(tmp_path / "t.csv", "\n".join([",x,flag,kind,day,empty,gap", *rows]))
    dataset = load_dataset(TableConfig(path=str(path)))
    assert dataset.columns == ("x",)
    unused = {column.name: column.reason for column in dataset.unused}
    assert "counts the rows" in unused["0"]
    assert "true and false" in unused["flag"]
    assert "a column of 0 and 1 for each value" in unused["kind"]
    assert "days or seconds" in unused["day"]
    assert unused["empty"] == unused["gap"] == "holds nothing"
    named = load_dataset(TableConfig(path=str(path), context=("flag",), columns=("0", "x"), scaling="none"))
    assert named.train.context is not None
    assert set(np.unique(named.train.context)) == {0.0, 1.0}
    assert {column.name: column.reason for column in named.unused}["day"] == unused["day"]


def test_a_first_column_that_does_not_count_is_used(tmp_path: Path) -> None:
    for start, used in ((0, False), (1, False), (2, True)):
        text = "\n".join([",x", *(f"{n + start},{n * 1.5}" for n in range(60))])
        dataset = load_dataset(TableConfig(path=str(write(tmp_path / "t.csv", text))))
        assert ("0" in dataset.columns) == used
        os.utime(tmp_path / "t.csv", ns=(1, start + 1))


def test_a_named_column_that_counts_is_reported(tmp_path: Path) -> None:
    text = "\n".join(["id,x", *(f"{number},{number * number}" for number in range(60))])
    dataset = load_dataset(TableConfig(path=str(write(tmp_path / "t.csv", text))))
    assert dataset.columns == ("id", "x")
    assert [(warning.path, "id only counts the rows" in warning.message) for warning in dataset.warnings] == [
        ("data.columns", True)
    ]
