"""Data sets by a kind, a name or a path: what a word stands for, where paths start, what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomlkit
from hypothesis import given
from hypothesis import strategies as some

from nfkd.config import ConfigError, ExperimentConfig
from nfkd.config.data import DrawnConfig, ImageFolderConfig, ImageStackConfig, MNISTConfig, TableConfig
from nfkd.config.named import (
    DATA_KINDS,
    add_dataset,
    dataset_names,
    parse_data,
    parse_data_toml,
)
from nfkd.config.toml import toml_text


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NFKD_DATASETS", str(tmp_path / "datasets"))
    return tmp_path


def experiment(path: Path, data: str) -> Path:
    """Write the two moons with other data into a file."""
    document = tomlkit.parse(ExperimentConfig.load("two_moons").to_toml()).unwrap()
    del document["data"]
    path.write_text(f"data = {data}\n{tomlkit.dumps(document)}")
    return path


def refusal(word: object, **changes: object) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_data(word, **changes)  # type: ignore[arg-type]
    return str(caught.value)


@pytest.mark.parametrize("kind", DATA_KINDS)
def test_a_kind_stands_for_its_defaults_and_its_text_for_itself(kind: str) -> None:
    config = parse_data(kind)
    assert config == type(config)()  # type: ignore[call-arg]
    assert config.kind == kind
    assert parse_data_toml(toml_text(config)) == config


def test_a_file_may_name_its_data_by_a_word_and_is_saved_in_full(folder: Path) -> None:
    config = ExperimentConfig.load(experiment(folder / "e.toml", '"mnist"'))
    assert config.data == MNISTConfig()
    config.save(folder / "saved.toml")
    saved = tomlkit.parse((folder / "saved.toml").read_text()).unwrap()
    assert saved["data"]["kind"] == "mnist"
    assert saved["data"]["bits"] == 8


def test_paths_start_from_the_file_that_names_them_and_become_absolute(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")
    config = ExperimentConfig.load(experiment(folder / "e.toml", '"tables/x.csv"'))
    assert config.data == TableConfig(path=str(folder / "tables" / "x.csv"))
    whole = ExperimentConfig.load(experiment(folder / "f.toml", '{kind = "mnist", folder = "../files"}'))
    assert whole.data == MNISTConfig(folder=str(folder.parent / "files"))
    assert ExperimentConfig.from_toml(config.to_toml()) == config
    built = config.replace(data=TableConfig(path="x.csv"))
    assert built.data == TableConfig(path=str(folder / "elsewhere" / "x.csv"))


def test_paths_on_the_command_line_start_from_the_working_directory(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "here").mkdir()
    monkeypatch.chdir(folder / "here")
    file = experiment(folder / "e.toml", '"x.csv"')
    assert ExperimentConfig.load(file, ["data=y.csv"]).data == TableConfig(path=str(folder / "here" / "y.csv"))
    assert ExperimentConfig.load(file, ["data.path=y.csv"]).data == TableConfig(path=str(folder / "here" / "y.csv"))
    columns = ExperimentConfig.load(file, ['data.columns=["a", "b"]']).data
    assert columns == TableConfig(path=str(folder / "x.csv"), columns=("a", "b"))


def test_a_word_can_be_assigned_and_then_its_fields(folder: Path) -> None:
    assert ExperimentConfig.load("digits", ["data=mnist", "data.bits=5"]).data == MNISTConfig(bits=5)


def test_a_home_directory_is_filled_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder))
    assert parse_data("~/x.csv") == TableConfig(path=str(folder / "x.csv"))


def test_a_folder_is_one_of_images_and_an_array_goes_by_its_dimensions(folder: Path) -> None:
    (folder / "faces").mkdir()
    np.save(folder / "rows.npy", np.zeros((5, 3)))
    np.save(folder / "images.npy", np.zeros((5, 8, 8), np.uint8))
    assert parse_data("faces", folder) == ImageFolderConfig(path=str(folder / "faces"))
    assert parse_data("faces/", folder) == ImageFolderConfig(path=str(folder / "faces"))
    assert parse_data("rows.npy", folder) == TableConfig(path=str(folder / "rows.npy"))
    assert parse_data("images.npy", folder) == ImageStackConfig(path=str(folder / "images.npy"))
    for name, kind in (("a.TSV", "table"), ("a.parquet", "table"), ("a.npz", "image_stack")):
        assert parse_data(name, folder).kind == kind


@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("mnits", ["'mnits'", "mnist", "nfkd data add"]),
        ("something else entirely", ["something else entirely", "added so far: none"]),
        ("nothing/here", ["nothing/here", "is not there"]),
        ("x.h5", ["image_stack", "table"]),
        ("x.npy", ["x.npy", ".npy file"]),
        ("notes.d/x.doc", ["is not there"]),
        ("", ["no data set"]),
        ("a\0b", ["no data set"]),
        ("x" * 5000, ["no data set"]),
        (7, ["dictionary"]),
        ({"kind": "mnits"}, ["data.kind", "mnits"]),
        ({"kind": "mnist", "bits": 9}, ["data.bits"]),
    ],
)
def test_what_names_no_data_is_refused_with_what_is_near(folder: Path, word: object, words: list[str]) -> None:
    said = refusal(word, folder=folder)
    assert all(part in said for part in words), said
    assert said.startswith("data")


@pytest.mark.parametrize("content", [b"", b"no array", b"\x93NUMPY\x01\x00\xff\xff{'descr'", b"PK\x03\x04"])
def test_a_damaged_array_is_refused(folder: Path, content: bytes) -> None:
    (folder / "x.npy").write_bytes(content)
    assert "cannot be read as a .npy file" in refusal("x.npy", folder=folder)


def test_a_file_of_another_ending_is_refused(folder: Path) -> None:
    (folder / "x.doc").write_text("")
    for word in ("./x.doc", "x.doc"):
        assert "x.doc is of no kind that is known by its ending" in refusal(word, folder=folder)


def test_an_added_data_set_goes_by_its_name(folder: Path) -> None:
    drawn = DrawnConfig(points=((0.0, 1.0), (2.0, -1.0)))
    path = add_dataset("my set", drawn)
    assert path.parent == folder / "datasets"
    assert dataset_names() == ["my set"]
    assert parse_data("my set") == drawn
    assert ExperimentConfig.load("digits", ["data=my set"]).data == drawn
    assert "near it: my set" in refusal("my sett")


@pytest.mark.parametrize("name", ["", ".", "a/b", "..", "a.csv", " a", "a ", "digits", "x" * 81, "a\n", "-a", "a\0"])
def test_a_name_that_would_be_something_else_is_refused(folder: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="name"):
        add_dataset(name, DrawnConfig())
    assert not (folder / "datasets").exists()


def test_assignments_change_what_a_word_stands_for(folder: Path) -> None:
    changed = parse_data("mnist", folder, ["bits=5", "class_labels = true"])
    assert changed == MNISTConfig(bits=5, class_labels=True)
    add_dataset("mine", DrawnConfig())
    assert parse_data("mine", overrides=["noise=0.5"]) == DrawnConfig(noise=0.5)
    chosen = parse_data("x.h5", folder, ["kind=table", "columns=['a', 'b']", "missing=drop"])
    assert chosen == TableConfig(path=str(folder / "x.h5"), columns=("a", "b"), missing="drop")
    here = parse_data("image_folder", folder, ["path=faces"])
    assert here == ImageFolderConfig(path=str(Path("faces").absolute()))  # typed in the working directory


def test_every_bad_assignment_is_told(folder: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_data("mnist", folder, ["bits", "=3"])
    assert [problem.path for problem in caught.value.problems] == ["--set", "--set"]
    with pytest.raises(ConfigError) as caught:
        parse_data("mnist", folder, ["bits=99", "bit=3"])
    assert {problem.path for problem in caught.value.problems} == {"data.bits", "data.bit"}
    with pytest.raises(ConfigError, match="no data set 'nothing'"):
        parse_data("nothing", folder, ["bits=3"])


def test_a_name_is_taken_only_once(folder: Path) -> None:
    add_dataset("mine", DrawnConfig())
    with pytest.raises(ConfigError, match="--force"):
        add_dataset("mine", MNISTConfig())
    assert parse_data("mine") == DrawnConfig()
    add_dataset("mine", MNISTConfig(), replace=True)
    assert parse_data("mine") == MNISTConfig()


@pytest.mark.parametrize("content", [b"kind = ", b"\xff\xfe", b"kind = 'mnist'\nbits = 77"])
def test_a_damaged_file_of_an_added_data_set_is_told(folder: Path, content: bytes) -> None:
    path = add_dataset("mine", DrawnConfig())
    path.write_bytes(content)
    said = refusal("mine")
    assert "bits" in said or str(path) in said


def taken(function: Callable[[str], Any], text: str) -> bool:
    try:
        function(text)
    except ConfigError:
        return False
    return True


@given(some.text(max_size=40))
def test_any_word_is_taken_or_refused_in_words(word: str) -> None:
    assert not taken(parse_data, word) or word in DATA_KINDS or Path(word).suffix or "/" in word


@given(some.text(max_size=80))
def test_any_text_is_a_table_or_refused_in_words(text: str) -> None:
    assert not taken(parse_data_toml, text) or "kind" in text
