"""``nfkd data``: its output, the files it writes, and its exit codes."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nfkd.cli import main
from nfkd.config import ExperimentConfig
from nfkd.config.data import ImageFolderConfig, MNISTConfig, TableConfig
from nfkd.config.datasets import DATA_KINDS, dataset_names, parse_data
from nfkd.data.source import RemoteFile
from nfkd.data.sources import SOURCES
from nfkd.data.sources.mnist import IDXImages
from nfkd.runs.reader import open_run
from tests.core.data import image_files
from tests.core.data.loopback import Site, serving
from tests.core.tiny import digits

Shell = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a temporary folder, with an empty cache and no data sets added."""
    monkeypatch.setenv("NFKD_DATA", str(tmp_path / "cache"))
    monkeypatch.setenv("NFKD_DATASETS", str(tmp_path / "datasets"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def site(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Serve four files, and make the kind mnist download them."""
    (folder / "made").mkdir()
    arrays = image_files.write_mnist(folder / "made", count=80)
    contents = {f"/{name}.gz": (folder / "made" / f"{name}.gz").read_bytes() for name in arrays}
    with serving(Site(contents)) as served:

        class Local(IDXImages):
            config = MNISTConfig
            title = "Local MNIST"
            downloads = tuple(
                RemoteFile(
                    served.address + path, hashlib.sha256(content).hexdigest(), f"local{path}", len(content)
                )
                for path, content in contents.items()
            )  # fmt: skip

        monkeypatch.setitem(SOURCES, "mnist", Local())
        yield served


def refused(arguments: list[str], shell: Shell) -> str:
    """Run a command that must end with code 2 and one message; return the message."""
    assert main(arguments) == 2
    error = shell.readouterr().err
    assert error.startswith("nfkd: ")
    assert "Traceback" not in error
    return error


def csv(path: Path, rows: np.ndarray) -> None:
    names = ",".join(f"c{number}" for number in range(rows.shape[1]))
    np.savetxt(path, rows, delimiter=",", header=names, comments="")


# --- list -------------------------------------------------------------------------------------------------------------


def test_every_kind_is_listed_with_the_state_of_its_files(site: Site, folder: Path, capsys: Shell) -> None:
    csv(folder / "mine.csv", np.random.default_rng(0).normal(size=(60, 2)))
    assert main(["data", "add", "my rows", "mine.csv"]) == 0
    (folder / "datasets" / "broken.toml").write_text("kind = 7")
    capsys.readouterr()
    assert main(["data", "list"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line}
    assert set(DATA_KINDS) <= set(lines)
    assert "present" in lines["digits"]
    assert "present" in lines["two_moons"]
    assert "to download" in lines["mnist"]
    assert "to download, 857 MB" in lines["power"]
    assert "give its path" in lines["image_folder"]
    assert str(folder / "mine.csv") in lines["my"]
    assert "not known" in lines["broken"]
    assert site.asked == []


# --- show -------------------------------------------------------------------------------------------------------------


def test_a_table_is_shown_with_its_columns(folder: Path, capsys: Shell) -> None:
    rows = np.random.default_rng(1).normal([3.0, -40.0], [1.0, 7.0], (200, 2))
    csv(folder / "rows.csv", rows)
    assert main(["data", "show", "rows.csv", "--set", "scaling=robust"]) == 0
    shown = capsys.readouterr().out
    config = TableConfig(path=str(folder / "rows.csv"))
    train = rows[np.random.default_rng(config.split_seed).permutation(200)[60:]]
    assert "rows.csv: 140 train, 30 validation, 30 test, 2" in shown
    assert "likelihood in nats\n" in shown
    for number in (0, 1):
        line = next(line for line in shown.splitlines() if line.startswith(f"c{number} "))
        values = train[:, number]
        expected = [values.min(), values.mean(), values.std(), values.max()]
        assert [float(word) for word in line.split()[1:]] == pytest.approx(expected, rel=1e-4)


def test_what_was_detected_and_what_is_not_used_is_shown(folder: Path, capsys: Shell) -> None:
    rows = [f"{number};{number / 7:.3f};{'ab'[number % 2]};-999".replace(".", ",") for number in range(79)]
    (folder / "rows.csv").write_text("\n".join([";x;kind;y", *rows, "79;9,5;a;1"]))
    assert main(["data", "show", "rows.csv"]) == 0
    shown = capsys.readouterr().out
    assert "read as: separated by ;, decimal comma\n" in shown
    assert "not used: 0: counts the rows" in shown
    assert "not used: kind: has 'a' in row 1" in shown
    assert main(["data", "show", "rows.csv", "--set", "columns=x", "--set", "separator=;"]) == 0
    assert "not used: y: is not chosen" in capsys.readouterr().out


def test_missing_values_are_counted(folder: Path, capsys: Shell) -> None:
    rows = np.random.default_rng(1).normal(size=(100, 2))
    rows[:7, 1] = np.nan
    csv(folder / "rows.csv", rows)
    assert main(["data", "show", "rows.csv", "--set", "missing=drop"]) == 0
    lines = {line.split()[0]: line.split() for line in capsys.readouterr().out.splitlines()}
    assert lines["column"][-1] == "missing"
    assert (lines["c0"][-1], lines["c1"][-1]) == ("0", "7")


def test_images_are_drawn(folder: Path, capsys: Shell) -> None:
    images = np.zeros((100, 3, 8, 8), np.uint8)
    images[:, 0] = 255
    np.save(folder / "red.npy", images)
    assert main(["data", "show", "red.npy", "--picture", "red.png"]) == 0
    assert "red.png" in capsys.readouterr().out
    drawn = np.asarray(Image.open(folder / "red.png").convert("RGB"))
    assert (drawn == [255, 0, 0]).all(axis=2).mean() > 0.5


def test_points_in_the_plane_are_drawn(folder: Path, capsys: Shell) -> None:
    assert main(["data", "show", "circles", "--set", "noise=0.0", "--picture", "circles.png"]) == 0
    assert "likelihood in nats" in capsys.readouterr().out
    drawn = np.asarray(Image.open(folder / "circles.png").convert("RGB")).astype(int)
    green = np.argwhere((drawn[..., 1] - drawn[..., 0] > 60) & (drawn[..., 1] > drawn[..., 2]))
    radius = np.linalg.norm(green - (green.max(axis=0) + green.min(axis=0)) / 2, axis=1)
    ratio = radius / radius.max()
    assert ((ratio > 0.94) | (abs(ratio - 0.5) < 0.04)).all()  # two circles, one half as large as the other


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["digits", "--picture", "x.jpg"], ["--picture", ".png"]),
        (["digits", "--picture", "nowhere/x.png"], ["--picture", "no folder"]),
        (["natural_patches", "--picture", "x.png"], ["--picture", "table"]),
        (["nothing"], ["no data set 'nothing'"]),
        (
            ["digits", "--set", "bits=3", "--set", "test_fraction=0.9"],
            ["2 problems", "data.bits", "data.test_fraction"],
        ),
        (["digits", "--set", "bits"], ["--set", "'bits'"]),
        (["celeba64"], ["data.folder", "choose a folder"]),
        (["table"], ["data.path", ".csv"]),
        (["mnist"], ["data.kind", "nfkd data fetch mnist", "https://"]),
    ],
)
def test_data_that_cannot_be_shown_is_refused(
    arguments: list[str], expected: list[str], folder: Path, capsys: Shell
) -> None:
    error = refused(["data", "show", *arguments], capsys)
    assert all(text in error for text in expected), error
    assert list(folder.iterdir()) == []


# --- add --------------------------------------------------------------------------------------------------------------


def test_an_added_data_set_is_used_by_its_name(folder: Path, capsys: Shell) -> None:
    csv(folder / "rows.csv", np.random.default_rng(1).normal(size=(100, 3)))
    assert main(["data", "add", "mine", "rows.csv", "--set", "columns=['c0', 'c2']"]) == 0
    assert "rows.csv: 70 train" in capsys.readouterr().out
    expected = TableConfig(path=str(folder / "rows.csv"), columns=("c0", "c2"))
    assert parse_data("mine") == expected
    assert ExperimentConfig.load("two_moons", ["data=mine"]).data == expected
    assert main(["data", "show", "mine"]) == 0
    assert "c2" in capsys.readouterr().out
    assert tomllib.loads((folder / "datasets" / "mine.toml").read_text())["path"] == str(folder / "rows.csv")


def test_all_problems_are_reported_and_nothing_is_added(folder: Path, capsys: Shell) -> None:
    rows = np.random.default_rng(1).normal(size=(100, 3))
    rows[:, 1] = 4.0
    csv(folder / "rows.csv", rows)
    error = refused(["data", "add", "digits", "rows.csv", "--set", "columns=c0,c1"], capsys)
    assert "2 problems" in error
    assert "name: 'digits' is a kind" in error
    assert "data.columns: " in error
    assert "c1 is 4 in every row" in error
    error = refused(["data", "add", "a/b", "rows.csv", "--set", "scaling=odd", "--set", "weigth=c1"], capsys)
    assert all(text in error for text in ("3 problems", "'a/b'", "data.scaling", "data.weigth"))
    assert dataset_names() == []


def test_a_name_is_replaced_only_by_force(capsys: Shell) -> None:
    assert main(["data", "add", "mine", "circles"]) == 0
    assert "--force" in refused(["data", "add", "mine", "rings"], capsys)
    assert parse_data("mine").kind == "circles"
    assert main(["data", "add", "mine", "rings", "--force"]) == 0
    assert parse_data("mine").kind == "rings"


def pictures(folder: Path, mode: str, side: int) -> None:
    folder.mkdir()
    rng = np.random.default_rng(5)
    for number in range(60):
        shape = (side, side + 4, 3) if mode == "RGB" else (side, side + 4)
        Image.fromarray(rng.integers(0, 256, shape, np.uint8)).save(folder / f"{number}.png")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [([], (12, False)), (["size=8"], (8, False)), (["data.colour=true"], (12, True)), (["size=32"], (32, False))],
)
def test_a_folder_of_images_is_added_with_the_size_and_colour_of_its_images(
    folder: Path, capsys: Shell, changes: list[str], expected: tuple[int, bool]
) -> None:
    pictures(folder / "grey", "L", 12)
    options = [word for change in changes for word in ("--set", change)]
    assert main(["data", "add", "mine", "grey", *options]) == 0
    size, colour = expected
    assert f"{3 if colour else 1}×{size}×{size}" in capsys.readouterr().out
    assert parse_data("mine") == ImageFolderConfig(path=str(folder / "grey"), size=size, colour=colour)
    assert main(["data", "add", "again", "mine"]) == 0
    assert parse_data("again") == parse_data("mine")  # a named data set keeps its settings


# --- rename and remove ------------------------------------------------------------------------------------------------


def test_a_renamed_data_set_has_the_new_name_only(folder: Path, capsys: Shell) -> None:
    csv(folder / "rows.csv", np.random.default_rng(1).normal(size=(100, 3)))
    assert main(["data", "add", "mine", "rows.csv", "--set", "scaling=robust"]) == 0
    before = parse_data("mine")
    (folder / "experiment.toml").write_text('data = "mine"\n')
    capsys.readouterr()
    assert main(["data", "rename", "mine", "rows of mine"]) == 0
    assert "data = 'mine' must be changed" in capsys.readouterr().out
    assert dataset_names() == ["rows of mine"]
    assert parse_data("rows of mine") == before
    error = refused(["run", "experiment.toml"], capsys)
    assert "data: there is no data set 'mine'" in error
    assert "rows of mine" in error


def test_a_removed_data_set_loses_its_name_and_keeps_its_files(folder: Path, capsys: Shell) -> None:
    csv(folder / "rows.csv", np.random.default_rng(1).normal(size=(100, 3)))
    content = (folder / "rows.csv").read_bytes()
    assert main(["data", "add", "mine", "rows.csv"]) == 0
    assert main(["data", "add", "other", "circles"]) == 0
    assert main(["data", "remove", "mine"]) == 0
    assert "files of the data set stay" in capsys.readouterr().out
    assert dataset_names() == ["other"]
    assert (folder / "rows.csv").read_bytes() == content
    assert "no data set 'mine'" in refused(["data", "show", "mine"], capsys)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["rename", "mime", "new"], "named 'mime'; similar: mine"),
        (["rename", "mine", "digits"], "'digits' is a kind of data"),
        (["rename", "mine", "a/b"], "cannot be a name"),
        (["rename", "mine", "other"], "--force"),
        (["remove", "digits"], "it is a kind of data, which stays"),
        (["remove", "../datasets/mine"], "no data set of yours"),
    ],
)
def test_wrong_names_are_refused(folder: Path, capsys: Shell, arguments: list[str], expected: str) -> None:
    for name, kind in (("mine", "circles"), ("other", "rings")):
        assert main(["data", "add", name, kind]) == 0
    assert expected in refused(["data", *arguments], capsys)
    assert [(name, parse_data(name).kind) for name in dataset_names()] == [("mine", "circles"), ("other", "rings")]


def test_a_taken_name_is_given_by_force(capsys: Shell) -> None:
    for name, kind in (("mine", "circles"), ("other", "rings")):
        assert main(["data", "add", name, kind]) == 0
    assert main(["data", "rename", "mine", "other", "--force"]) == 0
    assert [(name, parse_data(name).kind) for name in dataset_names()] == [("other", "circles")]


# --- fetch ------------------------------------------------------------------------------------------------------------


def test_fetch_downloads_missing_files_once(site: Site, folder: Path, capsys: Shell) -> None:
    assert main(["data", "fetch", "mnist"]) == 0
    output = capsys.readouterr()
    assert output.out == "mnist: downloaded.\n"
    assert "train-images-idx3-ubyte.gz" in output.err  # its progress bar
    assert len(site.asked) == 4
    assert main(["data", "fetch", "mnist", "two_moons"]) == 0
    assert capsys.readouterr().out == "mnist: already present.\ntwo_moons: already present.\n"
    assert len(site.asked) == 4
    assert main(["data", "show", "mnist"]) == 0
    assert "Local MNIST: 68 train, 12 validation, 20 test, 1×32×32" in capsys.readouterr().out


def test_a_failed_download_is_reported_with_its_address_and_folder(site: Site, folder: Path, capsys: Shell) -> None:
    site.files.pop("/t10k-images-idx3-ubyte.gz")
    assert main(["data", "fetch", "mnist"]) == 2
    message = capsys.readouterr().err.rpartition("nfkd: ")[2]
    for expected in ("404", f"{site.address}/t10k-images-idx3-ubyte.gz", str(folder / "cache" / "local")):
        assert expected in message


def test_data_that_cannot_be_fetched_is_refused(capsys: Shell) -> None:
    assert "choose a folder" in refused(["data", "fetch", "celeba64"], capsys)
    assert "no data set 'nothing'" in refused(["data", "fetch", "mnist", "nothing"], capsys)


def test_a_download_with_a_wrong_checksum_is_refused(site: Site, folder: Path, capsys: Shell) -> None:
    site.files["/train-labels-idx1-ubyte.gz"] += b"more"
    assert main(["data", "fetch", "mnist"]) == 2
    assert "another SHA-256" in capsys.readouterr().err
    assert not (folder / "cache" / "local" / "train-labels-idx1-ubyte.gz").exists()


# --- a run ------------------------------------------------------------------------------------------------------------


def experiment(folder: Path) -> str:
    digits(data={"kind": "mnist"}, training={"teacher_steps": 2, "student_steps": 2}).save(folder / "experiment.toml")
    return str(folder / "experiment.toml")


def test_a_run_without_its_data_says_how_to_download_it(site: Site, folder: Path, capsys: Shell) -> None:
    error = refused(["run", experiment(folder)], capsys)
    for expected in ("nfkd data fetch mnist", "train-images-idx3-ubyte.gz", site.address, str(folder / "cache")):
        assert expected in error
    assert site.asked == []
    assert not (folder / "runs").exists()


def test_a_run_fetches_its_data_with_fetch(site: Site, folder: Path, capsys: Shell) -> None:
    assert main(["run", experiment(folder), "--fetch", "--out", "run"]) == 0
    assert open_run(folder / "run").row.state == "finished"
    assert len(site.asked) == 4
    del capsys


def test_nothing_is_fetched_for_a_run_that_is_refused(site: Site, folder: Path, capsys: Shell) -> None:
    error = refused(
        ["run", experiment(folder), "--fetch", "--set", "student.levels=1", "--set", "teacher.levels=6"], capsys
    )
    assert "teacher.levels" in error
    assert site.asked == []


# --- copies on disk ---------------------------------------------------------------------------------------------------


def test_copies_on_disk_are_made_listed_and_cleared(folder: Path, capsys: Shell) -> None:
    values = np.random.default_rng(0).normal(size=(300, 3))
    np.savetxt(folder / "rows.csv", values, "%.9g", ",", header="a,b,c", comments="")
    assert main(["data", "show", "rows.csv", "--set", "storage=disk"]) == 0
    printed = capsys.readouterr()
    assert "Preparing rows.csv to be read from disk: 0 rows so far." in printed.err
    assert "read from disk, batch by batch" in printed.out
    assert main(["data", "list"]) == 0
    listed = capsys.readouterr().out
    assert str(folder / "cache" / "indexes") in listed
    assert "rows.csv" in listed
    assert main(["data", "clear"]) == 0
    assert capsys.readouterr().out.startswith("Removed 1 copy of your data, ")
    assert [each.suffix for each in (folder / "cache" / "indexes").iterdir()] == [".lock"]
    assert (folder / "rows.csv").is_file()
    assert main(["data", "clear"]) == 0
    assert "Removed 0 copies" in capsys.readouterr().out
