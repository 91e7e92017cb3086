"""Bad data at the command line is refused before anything runs; the message says what, where and what to do."""

from __future__ import annotations

import gzip
import os
import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from nfkd.cli import main
from tests.core.data import image_files as files

ROWS = np.random.default_rng(0).normal(size=(200, 3))


@dataclass(frozen=True)
class Bad:
    """Data that is refused.

    Attributes
    ----------
    write
        Writes it into a folder.
    kind
        Of the config.
    options
        Fields of the config; ``@`` stands for the folder.
    expected
        Parts of the message: what is wrong, where, and what to do.
    """

    write: Callable[[Path], object]
    kind: str
    options: dict[str, str]
    expected: tuple[str, ...]


def changed(row: int, column: int, value: object) -> Callable[[Path], object]:
    """Write a CSV file with one value changed."""
    rows = ROWS.astype(object)
    rows[row, column] = value
    return csv(rows)


def csv(rows: np.ndarray) -> Callable[[Path], object]:
    lines = [",".join(f"c{number}" for number in range(rows.shape[1]))]
    lines += [",".join(map(str, row)) for row in rows.tolist()]
    return lambda folder: (folder / "t.csv").write_text("\n".join(lines))


def table(write: Callable[[Path], object], *expected: str, name: str = "t.csv", **options: str) -> Bad:
    return Bad(write, "table", {"path": f"@/{name}"} | options, expected)


class Bomb:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.target),)


def short_idx(folder: Path) -> None:
    files.write_mnist(folder)
    path = folder / "train-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:5000]))


def cifar(version: str, change: Callable[[Path, bytes], bytes]) -> Callable[[Path], None]:
    """Write CIFAR-10 with its third batch changed."""

    def write(folder: Path) -> None:
        for name, content in files.cifar_files(files.cifar(9), version).items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(change(folder, content) if "batch_3" in name else content)

    return write


def hdf5(folder: Path) -> None:
    with h5py.File(folder / "t.h5", "w") as file:
        file["rows"], file["outside"] = ROWS, h5py.ExternalLink("/etc/secrets.h5", "rows")


def short(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(content[: len(content) // 2])


def pictures(folder: Path) -> None:
    for number in range(60):
        content = files.picture(files.some(20, 30, 3))
        (folder / f"{number:02}.png").write_bytes(content[:200] if number == 31 else content)


def unequal(folder: Path) -> None:
    images = np.empty(50, object)
    images[:] = [np.zeros((8 + number % 2, 8), np.uint8) for number in range(50)]
    np.save(folder / "x.npy", images)


def nothing(folder: Path) -> None:
    del folder


FOLDER = {"folder": "@"}
CASES = {
    "constant column": table(csv(np.full((200, 1), 4.0)), "data.columns: ", "c0 is 4 in every row", "leave it out"),
    "NaN": table(changed(7, 1, "nan"), "data.columns: ", "c1 is missing in row 8", "correct the file", "data.missing"),
    "infinity": table(changed(9, 2, "inf"), "data.columns: ", "c2 is infinite in row 10", "correct the file"),
    "text": table(changed(11, 0, "hello"), "data.columns: ", "c0 has 'hello' in row 12", "choose columns of numbers"),
    "one row": table(csv(ROWS[:1]), "data.path: ", "t.csv: has only 1 row", "three splits need at least 24"),
    "truncated IDX": Bad(short_idx, "mnist", FOLDER, ("train-images-idx3-ubyte.gz: is truncated", "get it again")),
    "truncated CIFAR": Bad(
        cifar("binary", lambda _, content: content[:5000]), "cifar10", FOLDER, ("data_batch_3.bin: ", "get it again")
    ),
    "truncated pickle": Bad(
        cifar("python", lambda _, content: content[:5000]),
        "cifar10",
        FOLDER,
        ("data_batch_3: cannot be read: it is truncated", "get it again"),
    ),
    "a pickle that calls code": Bad(
        cifar("python", lambda folder, _: pickle.dumps({b"data": Bomb(folder / "exploded")})),
        "cifar10",
        FOLDER,
        ("data_batch_3: wants to call ", ".mkdir", "is refused"),
    ),
    "truncated HDF5": table(
        short("t.h5", files.h5(rows=ROWS)),
        "data.path: ",
        "t.h5: is not a complete HDF5 file",
        "get it again",
        name="t.h5",
    ),
    "external link": table(hdf5, "data.key: ", "t.h5: outside is a link", "name the array", name="t.h5", key="outside"),
    "truncated npy": table(short("t.npy", files.npy(ROWS)), "t.npy: it is truncated", "get it again", name="t.npy"),
    "truncated PNG": Bad(pictures, "image_folder", {"path": "@"}, ("31.png: cannot be read", "damaged")),
    "unequal images": Bad(unequal, "image_stack", {"path": "@/x.npy"}, ("x.npy: it holds", "unequal size", "save an")),
    "a table that is a folder": table(nothing, "is a folder: name a file", name=""),
    "a stack that is a folder": Bad(nothing, "image_stack", {"path": "@"}, ("is a folder: name a file",)),
    "a folder that is a file": Bad(
        csv(ROWS), "image_folder", {"path": "@/t.csv"}, ("t.csv: is a file: name the folder",)
    ),
    "an empty folder": Bad(nothing, "image_folder", {"path": "@"}, ("holds no image file", ".png")),
    "nothing there": table(nothing, "t.csv: there is no such file"),
    "a download of other bytes": Bad(
        lambda folder: (
            (folder / "cache" / "mnist").mkdir(parents=True)
            or (folder / "cache" / "mnist" / "train-images-idx3-ubyte.gz").write_bytes(b"other")
        ),
        "mnist",
        {},
        ("train-images-idx3-ubyte.gz has another SHA-256, ", "is not used", "nfkd data fetch mnist"),
    ),
}


@pytest.mark.parametrize("command", ["show", "add", "run"])
def test_bad_data_is_refused_with_what_where_and_what_to_do(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, case in CASES.items():
        folder = tmp_path / name.replace(" ", "-")
        folder.mkdir()
        monkeypatch.setenv("NFKD_DATA", str(folder / "cache"))
        monkeypatch.setenv("NFKD_DATASETS", str(folder / "names"))
        monkeypatch.chdir(folder)
        case.write(folder)
        before = set(_files(folder))
        fields = [f"{field}={value.replace('@', str(folder))}" for field, value in case.options.items()]
        arguments = {
            "show": ["data", "show", case.kind, *_assign(fields)],
            "add": ["data", "add", "mine", case.kind, *_assign(fields)],
            "run": ["run", "two_moons", *_assign([f"data={case.kind}", *(f"data.{field}" for field in fields)])],
        }
        assert main(arguments[command]) == 2, name
        message = capsys.readouterr().err
        assert message.count("nfkd: ") == 1, name
        assert "Traceback" not in message
        assert all(part in message for part in case.expected), f"{name}: {message}"
        assert set(_files(folder)) == before, name  # no run, no named data set, no file of a pickle


def _assign(fields: list[str]) -> list[str]:
    return [argument for field in fields for argument in ("--set", field)]


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.suffix != ".lock")
