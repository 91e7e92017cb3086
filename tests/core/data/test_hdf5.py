"""Arrays of HDF5 files: found by name, and never where a link or another file would be read."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from nfkd.data import DataError
from nfkd.data.files import ConfigPath
from nfkd.data.hdf5 import open_array

VALUES = np.arange(6.0).reshape(2, 3)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with h5py.File(tmp_path / "secret.h5", "w") as other:
        other["x"] = VALUES
    (tmp_path / "secret.bin").write_bytes(VALUES.tobytes())
    with h5py.File(tmp_path / "it.h5", "w") as file:
        file["group/x"] = VALUES
        file["group/around"] = file["group"]  # a circle of hard links
        file["soft"] = h5py.SoftLink("/group/x")
        file["out"] = h5py.ExternalLink("secret.h5", "x")
        file["through"] = h5py.ExternalLink("secret.h5", "/")
        layout = h5py.VirtualLayout((2, 3), "f8")
        layout[:] = h5py.VirtualSource(str(tmp_path / "secret.h5"), "x", (2, 3))
        file.create_virtual_dataset("virtual", layout)
        file.create_dataset("raw", (2, 3), "f8", external=[(str(tmp_path / "secret.bin"), 0, 48)])
    return tmp_path / "it.h5"


@pytest.mark.parametrize("key", ["group/x", "/group/x", "group/around/around/x"])
def test_an_array_is_found_by_its_name(path: Path, key: str) -> None:
    np.testing.assert_array_equal(open_array(ConfigPath(path, "data.path"), key)[:], VALUES)


def test_the_only_array_needs_no_name(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "one.h5", "w") as file:
        file["deep/down"] = VALUES
    np.testing.assert_array_equal(open_array(ConfigPath(tmp_path / "one.h5", "data.path"))[:], VALUES)


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("soft", "is a link"),
        ("out", "is a link"),
        ("through/x", "is a link"),
        ("virtual", "values in another file"),
        ("raw", "values in another file"),
        ("group", "is no array"),
        ("group/y", "has no array 'group/y'; it holds group/"),
        ("", "name one of them"),
    ],
)
def test_nothing_outside_of_the_file_is_read(path: Path, key: str, words: str) -> None:
    with pytest.raises(DataError, match=rf"data\.labels_key: .*{words}"):
        open_array(ConfigPath(path, "data.path"), key, "data.labels_key")


@pytest.mark.parametrize("content", [b"", b"\x89HDF\r\n\x1a\n", b"not at all" * 100])
def test_what_is_no_hdf5_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.h5").write_bytes(content)
    with pytest.raises(DataError, match=r"data\.path: .*x\.h5: is no whole HDF5 file"):
        open_array(ConfigPath(tmp_path / "x.h5", "data.path"))


def test_a_file_of_links_alone_holds_no_array(path: Path) -> None:
    with h5py.File(path.with_name("links.h5"), "w") as file:
        file["out"] = h5py.ExternalLink("secret.h5", "x")
    with pytest.raises(DataError, match=r"links are not followed.*copy the arrays into it"):
        open_array(ConfigPath(path.with_name("links.h5"), "data.path"))


def test_an_empty_file_holds_no_array(tmp_path: Path) -> None:
    h5py.File(tmp_path / "x.h5", "w").close()
    with pytest.raises(DataError, match="holds no array"):
        open_array(ConfigPath(tmp_path / "x.h5", "data.path"))
