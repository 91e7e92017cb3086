"""Data sets by kind, name or path: how names resolve, where relative paths start, what is refused."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as some

from nfkd.config import ConfigError, ConfigProblem, ExperimentConfig
from nfkd.config.data import DrawnConfig, ImageFolderConfig, ImageStackConfig, MNISTConfig, TableConfig
from nfkd.config.datasets import DATA_KINDS, add_dataset, dataset_names, parse_data, parse_data_toml
from nfkd.config.problems import LONGEST_MESSAGE
from nfkd.config.toml import toml_text


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NFKD_DATASETS", str(tmp_path / "datasets"))
    return tmp_path


def experiment(path: Path, data: str) -> Path:
    """Write the two moons preset with other data to a file."""
    document = tomllib.loads(ExperimentConfig.load("two_moons").to_toml())
    del document["data"]
    path.write_text(f"data = {data}\n{tomli_w.dumps(document)}")
    return path


def refusal(name: object, **changes: object) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_data(name, **changes)  # type: ignore[arg-type]
    return str(caught.value)


@pytest.mark.parametrize("kind", DATA_KINDS)
def test_a_kind_gives_its_default_config_which_survives_toml(kind: str) -> None:
    config = parse_data(kind)
    assert config == type(config)()  # type: ignore[call-arg]
    assert config.kind == kind
    assert parse_data_toml(toml_text(config)) == config


def test_a_file_may_give_its_data_by_name_and_is_saved_in_full(folder: Path) -> None:
    config = ExperimentConfig.load(experiment(folder / "e.toml", '"mnist"'))
    assert config.data == MNISTConfig()
    config.save(folder / "saved.toml")
    saved = tomllib.loads((folder / "saved.toml").read_text())
    assert saved["data"]["kind"] == "mnist"
    assert saved["data"]["bits"] == 8


def test_relative_paths_start_from_the_experiment_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")
    config = ExperimentConfig.load(experiment(folder / "e.toml", '"tables/x.csv"'))
    assert config.data == TableConfig(path=str(folder / "tables" / "x.csv"))
    whole = ExperimentConfig.load(experiment(folder / "f.toml", '{kind = "mnist", folder = "../files"}'))
    assert whole.data == MNISTConfig(folder=str(folder.parent / "files"))
    assert ExperimentConfig.from_toml(config.to_toml()) == config
    built = config.replace(data=TableConfig(path="x.csv"))
    assert built.data == TableConfig(path=str(folder / "elsewhere" / "x.csv"))


def test_relative_paths_in_overrides_start_from_the_working_directory(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "here").mkdir()
    monkeypatch.chdir(folder / "here")
    file = experiment(folder / "e.toml", '"x.csv"')
    assert ExperimentConfig.load(file, ["data=y.csv"]).data == TableConfig(path=str(folder / "here" / "y.csv"))
    assert ExperimentConfig.load(file, ["data.path=y.csv"]).data == TableConfig(path=str(folder / "here" / "y.csv"))
    columns = ExperimentConfig.load(file, ['data.columns=["a", "b"]']).data
    assert columns == TableConfig(path=str(folder / "x.csv"), columns=("a", "b"))


def test_a_kind_and_its_fields_can_be_overridden(folder: Path) -> None:
    assert ExperimentConfig.load("digits", ["data=mnist", "data.bits=5"]).data == MNISTConfig(bits=5)


def test_a_tilde_is_the_home_directory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder))
    assert parse_data("~/x.csv") == TableConfig(path=str(folder / "x.csv"))


def test_the_kind_follows_from_a_folder_or_the_dimensions_of_an_array(folder: Path) -> None:
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
    ("name", "expected"),
    [
        ("mnits", ["'mnits'", "mnist", "nfkd data add"]),
        ("something else entirely", ["something else entirely", "added so far: none"]),
        ("nothing/here", ["nothing/here", "does not exist"]),
        ("x.h5", ["image_stack", "table"]),
        ("x.npy", ["x.npy", ".npy file"]),
        ("notes.d/x.doc", ["does not exist"]),
        ("", ["no data set"]),
        ("a\0b", ["no data set"]),
        ("x" * 5000, ["no data set"]),
        (7, ["must be a table"]),
        ({"kind": "mnits"}, ["data.kind", "mnits"]),
        ({"kind": "mnist", "bits": 9}, ["data.bits"]),
    ],
)
def test_an_unknown_name_is_refused_with_similar_names(folder: Path, name: object, expected: list[str]) -> None:
    message = refusal(name, folder=folder)
    assert all(text in message for text in expected), message
    assert message.startswith("data")


@pytest.mark.parametrize("content", [b"", b"no array", b"\x93NUMPY\x01\x00\xff\xff{'descr'", b"PK\x03\x04"])
def test_a_damaged_array_is_refused(folder: Path, content: bytes) -> None:
    (folder / "x.npy").write_bytes(content)
    assert "cannot be read as a .npy file" in refusal("x.npy", folder=folder)


def test_an_unknown_file_extension_is_refused(folder: Path) -> None:
    (folder / "x.doc").write_text("")
    for path in ("./x.doc", "x.doc"):
        assert "x.doc has no known file extension" in refusal(path, folder=folder)


def test_an_added_data_set_is_found_by_its_name(folder: Path) -> None:
    drawn = DrawnConfig(points=((0.0, 1.0), (2.0, -1.0)))
    path = add_dataset("my set", drawn)
    assert path.parent == folder / "datasets"
    assert dataset_names() == ["my set"]
    assert parse_data("my set") == drawn
    assert ExperimentConfig.load("digits", ["data=my set"]).data == drawn
    assert "similar: my set" in refusal("my sett")


@pytest.mark.parametrize("name", ["", ".", "a/b", "..", "a.csv", " a", "a ", "digits", "x" * 81, "a\n", "-a", "a\0"])
def test_an_ambiguous_or_invalid_name_is_refused(folder: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="name"):
        add_dataset(name, DrawnConfig())
    assert not (folder / "datasets").exists()


def test_overrides_change_the_data_of_a_name(folder: Path) -> None:
    changed = parse_data("mnist", folder, ["bits=5", "class_labels = true"])
    assert changed == MNISTConfig(bits=5, class_labels=True)
    add_dataset("mine", DrawnConfig())
    assert parse_data("mine", overrides=["noise=0.5"]) == DrawnConfig(noise=0.5)
    chosen = parse_data("x.h5", folder, ["kind=table", "columns=['a', 'b']", "missing=drop"])
    assert chosen == TableConfig(path=str(folder / "x.h5"), columns=("a", "b"), missing="drop")
    here = parse_data("image_folder", folder, ["path=faces"])
    assert here == ImageFolderConfig(path=str(Path("faces").absolute()))  # relative to the working directory


def test_every_malformed_override_is_reported(folder: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_data("mnist", folder, ["bits", "=3"])
    assert [problem.path for problem in caught.value.problems] == ["--set", "--set"]
    with pytest.raises(ConfigError) as caught:
        parse_data("mnist", folder, ["bits=99", "bit=3"])
    assert {problem.path for problem in caught.value.problems} == {"data.bits", "data.bit"}
    with pytest.raises(ConfigError, match="no data set 'nothing'"):
        parse_data("nothing", folder, ["bits=3"])


def test_a_taken_name_needs_replace(folder: Path) -> None:
    add_dataset("mine", DrawnConfig())
    with pytest.raises(ConfigError, match="--force"):
        add_dataset("mine", MNISTConfig())
    assert parse_data("mine") == DrawnConfig()
    add_dataset("mine", MNISTConfig(), replace=True)
    assert parse_data("mine") == MNISTConfig()


@pytest.mark.parametrize("content", [b"kind = ", b"\xff\xfe", b"kind = 'mnist'\nbits = 77"])
def test_a_damaged_file_of_an_added_data_set_is_reported(folder: Path, content: bytes) -> None:
    path = add_dataset("mine", DrawnConfig())
    path.write_bytes(content)
    message = refusal("mine")
    assert "bits" in message or str(path) in message


def accepted(function: Callable[[str], Any], text: str) -> bool:
    try:
        function(text)
    except ConfigError:
        return False
    return True


@given(some.text(max_size=40))
def test_any_name_is_accepted_or_refused(name: str) -> None:
    assert not accepted(parse_data, name) or name in DATA_KINDS or Path(name).suffix or "/" in name


@given(some.text(max_size=80))
def test_any_text_is_accepted_or_refused(text: str) -> None:
    assert not accepted(parse_data_toml, text) or "kind" in text


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("x", ["x"]),
        ("x,y", ["x", "y"]),
        ("x, y ", ["x", "y"]),
        ("[x,y]", ["x", "y"]),
        ('["x", "y"]', ["x", "y"]),
        ("['a, b', \"c d\"]", ["a, b", "c d"]),
        ('"a, b",c d', ["a, b", "c d"]),
        ('"a, b"', ["a, b"]),
        ("0,2", ["0", "2"]),
        ("3", ["3"]),
        ("[0, 1]", ["0", "1"]),
        ("", []),
    ],
)
def test_a_list_of_names_is_given_in_several_forms(tmp_path: Path, text: str, names: list[str]) -> None:
    path = tmp_path / "t.csv"
    path.touch()
    for name in ("columns", "context", "missing_texts"):
        config = parse_data(str(path), overrides=[f"{name}={text}"])
        assert list(getattr(config, name)) == names
        experiment = ExperimentConfig.load("two_moons", [f"data={path}", f"data.{name}={text}"])
        assert list(getattr(experiment.data, name)) == names


def test_signs_of_a_table_may_be_given_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.touch()
    overrides = ["separator=;", "decimal=,", "thousands='", "header=true", "comment=#", "weight=3"]
    config = parse_data(str(path), overrides=overrides)
    assert isinstance(config, TableConfig)
    found = (config.separator, config.decimal, config.thousands, config.header, config.comment, config.weight)
    assert found == ("semicolon", "comma", "apostrophe", "yes", "#", "3")
    with pytest.raises(ConfigError, match=r'must be a list, such as \["x", "y"\]'):
        parse_data({"kind": "table", "path": str(path), "columns": "x,y"})


def test_a_long_message_is_cut_in_one_place() -> None:
    assert len(ConfigProblem("data.columns", "x" * 100_000).message) == LONGEST_MESSAGE
