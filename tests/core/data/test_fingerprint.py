"""The fingerprint of data depends on the values, not on the path or time of their file."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image

from nfkd.data import DataError, Dataset, DataSplit, fingerprint, load_dataset
from nfkd.data.fingerprint import Fingerprint, decode_fingerprint, differences, fingerprinter
from tests.core.tiny import moons

ROWS = np.random.default_rng(0).normal(size=(60, 3))
IMAGES = np.random.default_rng(1).integers(0, 256, (60, 4, 4), np.uint8)


def loaded(**data: Any) -> Dataset:
    return load_dataset(moons().replace(data=data).data)


def of(**data: Any) -> Fingerprint:
    dataset = loaded(**data)
    assert dataset.fingerprint is not None
    return dataset.fingerprint()


def csv(path: Path, rows: np.ndarray, names: str = "a,b,c") -> Path:
    np.savetxt(path, rows, delimiter=",", header=names, comments="", fmt="%.17g")
    return path


def between(made: Sequence[np.ndarray], now: Sequence[np.ndarray]) -> list[str]:
    """Return the differences that are reported for changed values."""
    first, second = (
        fingerprinter(dict(zip(("train", "validation", "test"), map(DataSplit, splits), strict=False)), (), tuple)()
        for splits in (made, now)
    )
    return differences(first, second)


def test_a_copied_or_touched_file_has_the_same_fingerprint(tmp_path: Path) -> None:
    path = csv(tmp_path / "rows.csv", ROWS)
    first = of(kind="table", path=str(path))
    (tmp_path / "elsewhere").mkdir()
    copy = shutil.copy(path, tmp_path / "elsewhere" / "rows.csv")
    os.utime(copy, (1, 1))
    assert of(kind="table", path=str(copy)) == first
    text = first.encode()
    assert decode_fingerprint(text) == first
    assert len(text) < 1000
    assert "elsewhere" not in text


def test_a_replaced_file_of_the_same_size_and_time_has_another_fingerprint(tmp_path: Path) -> None:
    path, rows = tmp_path / "rows.npy", np.random.default_rng(0).normal(size=(60, 3))
    np.save(path, rows)
    before, time = of(kind="table", path=str(path)), path.stat().st_mtime_ns
    np.save(path, rows + 1)
    os.utime(path, ns=(time, time))
    assert differences(before, of(kind="table", path=str(path))) == ["the values differ"]


def test_the_last_bit_of_one_value_changes_the_fingerprint(tmp_path: Path) -> None:
    changed = ROWS.copy()
    changed[17, 1] = np.nextafter(changed[17, 1], 9)
    first, second = (
        of(kind="table", path=str(csv(tmp_path / f"{n}.csv", rows))) for n, rows in enumerate((ROWS, changed))
    )
    assert differences(first, second) == ["the values differ"]
    assert differences(first, first) == []


def test_differences_are_described(tmp_path: Path) -> None:
    first = of(kind="table", path=str(csv(tmp_path / "1.csv", ROWS)))
    cases = [
        (np.vstack([ROWS, ROWS[:2]]), "a,b,c", ["the data has 62 examples, the run was made with 60"]),
        (ROWS, "a,b,d", ["the columns differ: a, b, d instead of a, b, c"]),
        (
            ROWS[:, :2],
            "a,b",
            [
                "the columns differ: a, b instead of a, b, c",
                "the examples have the shape 2, the run was made with the shape 3",
            ],
        ),
        (ROWS[::-1], "a,b,c", ["the values differ"]),
    ]
    for rows, names, expected in cases:
        assert differences(first, of(kind="table", path=str(csv(tmp_path / "2.csv", rows, names)))) == expected


def test_only_the_columns_in_use_count(tmp_path: Path) -> None:
    options = {"kind": "table", "columns": ["a"], "context": ["b"], "weight": "c"}
    rows = np.abs(np.hstack([ROWS, ROWS[:, :1]])) + 0.5

    def found(column: int) -> list[str]:
        changed = rows.copy()
        changed[5, column] += 1
        first, second = (
            of(path=str(csv(tmp_path / f"{n}.csv", these, "a,b,c,d")), **options)
            for n, these in enumerate((rows, changed))
        )
        return differences(first, second)

    assert [found(column) for column in range(4)] == [
        ["the values differ"],
        ["the contexts differ"],
        ["the weights differ"],
        [],
    ]


def test_the_split_that_differs_is_named() -> None:
    changed = ROWS.copy()
    changed[0, 0] += 1
    assert between([ROWS] * 3, [ROWS, ROWS, changed]) == ["the values of the test split differ"]
    more = between([ROWS] * 3, [ROWS[:50], ROWS, changed])
    assert more[0] == "the train split has 50 examples, the run was made with 60"
    assert between([ROWS], [ROWS] * 3) == ["it has the splits train, validation, test, the run was made with train"]


def test_the_type_and_order_of_the_numbers_do_not_count(tmp_path: Path) -> None:
    numbers = np.round(ROWS * 100)
    nothing = np.where(numbers > 100, np.nan, numbers)
    payload = nothing.copy()
    payload.view(np.uint64)[np.isnan(nothing)] = 0x7FF8000000000123
    np.save(tmp_path / "rows.npy", numbers)
    for same in (
        numbers.astype(np.float32),
        numbers.astype(np.int64),
        numbers.astype(">f8"),
        np.asfortranarray(numbers),
    ):
        assert between([numbers], [same]) == []
    assert between([numbers], [np.load(tmp_path / "rows.npy", mmap_mode="r")]) == []
    assert between([nothing], [payload]) == []


class Counted:
    """An array that is read on access and counts the rows that were read."""

    def __init__(self, values: np.ndarray) -> None:
        self.values, self.shape, self.read = values, values.shape, 0

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: Any) -> np.ndarray:
        self.read += len(self.values[index])
        return self.values[index]


def test_large_data_is_sampled_and_the_sizes_of_its_files_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, size in (("_WHOLE", 16_000), ("_BLOCK", 80)):  # 64 blocks of 10 rows
        monkeypatch.setattr(fingerprint, name, size)
    file = tmp_path / "file"

    def fingerprint_of(values: np.ndarray, size: int = 3) -> tuple[Fingerprint, int]:
        file.write_bytes(bytes(size))
        counted = Counted(values)
        return fingerprinter({"train": DataSplit(counted)}, (), lambda: [file])(), counted.read

    whole = np.arange(2000.0)[:, None]
    assert fingerprint_of(whole)[1] in range(2000, 2010)  # one row more to see the type
    large = np.arange(100_000.0)[:, None]
    first, read = fingerprint_of(large)
    assert read < 700
    assert fingerprint_of(large) == (first, read)
    for row in (0, 99_999):
        changed = large.copy()
        changed[row] += 1
        assert differences(first, fingerprint_of(changed)[0]) == ["the values differ"]
    assert differences(first, fingerprint_of(large + 1)[0]) == ["the values differ"]
    assert differences(first, fingerprint_of(large, 4)[0]) == ["the names or sizes of the files differ"]
    file.unlink()
    with pytest.raises(DataError, match="put it back"):
        fingerprinter({"train": DataSplit(Counted(large))}, (), lambda: [file])()


def png_folder(path: Path) -> Path:
    path.mkdir()
    for number, image in enumerate(IMAGES):
        Image.fromarray(image).save(path / f"{number:02}.png")
    return path


def npy(path: Path) -> Path:
    np.save(path.with_suffix(".npy"), IMAGES)
    return path.with_suffix(".npy")


def hdf5(path: Path) -> Path:
    with h5py.File(path.with_suffix(".h5"), "w") as file:
        file["images"] = IMAGES
    return path.with_suffix(".h5")


def test_the_format_of_image_files_does_not_count(tmp_path: Path) -> None:
    prints = [
        of(kind="image_stack", path=str(npy(tmp_path / "a"))),
        of(kind="image_stack", path=str(hdf5(tmp_path / "b"))),
        of(kind="image_folder", path=str(png_folder(tmp_path / "c")), size=4, colour=False),
    ]
    assert prints[0] == prints[1] == prints[2]
    Image.fromarray(IMAGES[7] ^ 1).save(tmp_path / "c" / "07.png")
    changed = of(kind="image_folder", path=str(tmp_path / "c"), size=4, colour=False)
    assert differences(prints[2], changed) == ["the values differ"]


def test_other_text_is_no_fingerprint() -> None:
    for text in ("", "{", "[]", '{"version": 99, "parts": {}}', '{"version": 1}'):
        assert decode_fingerprint(text) is None
