"""Arrays of HDF5 files: found by name; links and values in other files are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
        file["group/around"] = file["group"]  # a cycle of hard links
        file["soft"] = h5py.SoftLink("/group/x")
        file["out"] = h5py.ExternalLink("secret.h5", "x")
        file["through"] = h5py.ExternalLink("secret.h5", "/")
        layout = h5py.VirtualLayout((2, 3), "f8")
        layout[:] = h5py.VirtualSource(str(tmp_path / "secret.h5"), "x", (2, 3))
        file.create_virtual_dataset("virtual", layout)
        file.create_dataset("raw", (2, 3), "f8", external=[(str(tmp_path / "secret.bin"), 0, 48)])
    return tmp_path / "it.h5"


def open_it(path: Path, key: str = "", key_field: str = "data.key") -> Any:
    return open_array(ConfigPath(path, "data.path"), key, key_field)


def test_an_array_is_found_by_its_name(path: Path) -> None:
    for key in ("group/x", "/group/x", "group/around/around/x"):
        np.testing.assert_array_equal(open_it(path, key)[:], VALUES)


def test_the_only_array_needs_no_name(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "one.h5", "w") as file:
        file["deep/down"] = VALUES
    np.testing.assert_array_equal(open_it(tmp_path / "one.h5")[:], VALUES)


def test_nothing_outside_the_file_is_read(path: Path) -> None:
    cases = {
        "soft": "is a link",
        "out": "is a link",
        "through/x": "is a link",
        "virtual": "values in another file",
        "raw": "values in another file",
        "group": "is not an array",
        "group/y": "has no array 'group/y'; it holds group/",
        "": "name one of them",
    }
    for key, expected in cases.items():
        with pytest.raises(DataError, match=rf"data\.labels_key: .*{expected}"):
            open_it(path, key, "data.labels_key")


def test_other_files_are_refused(tmp_path: Path) -> None:
    for content in (b"", b"\x89HDF\r\n\x1a\n", b"not at all" * 100):
        (tmp_path / "x.h5").write_bytes(content)
        with pytest.raises(DataError, match=r"data\.path: .*x\.h5: is not a complete HDF5 file") as refused:
            open_it(tmp_path / "x.h5")
        assert isinstance(refused.value.__cause__, OSError)  # the library's own text stays in the log


def test_files_without_arrays_are_refused(path: Path, tmp_path: Path) -> None:
    with h5py.File(path.with_name("links.h5"), "w") as file:
        file["out"] = h5py.ExternalLink("secret.h5", "x")
    with pytest.raises(DataError, match=r"links are not followed.*copy the arrays into it"):
        open_it(path.with_name("links.h5"))
    h5py.File(tmp_path / "x.h5", "w").close()
    with pytest.raises(DataError, match="holds no array"):
        open_it(tmp_path / "x.h5")
