"""The wheel contains the two packages and their resources, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from contextlib import chdir
from pathlib import Path

import pytest

build_wheel = pytest.importorskip("hatchling.build").build_wheel
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    with chdir(ROOT):
        return folder / build_wheel(str(folder))


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_top_level_names(names):
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"nfkd", "nfkd_gui"}


def test_every_module_and_resource_is_in_the_wheel(names):
    sources = {f"nfkd/{path.relative_to(ROOT / 'core/nfkd')}" for path in (ROOT / "core/nfkd").rglob("*.py")}
    sources |= {str(path.relative_to(ROOT)) for path in (ROOT / "nfkd_gui").rglob("*.py")}
    assert sources <= names
    for folder, package in {"presets": "nfkd", "report": "nfkd", "icons": "nfkd_gui", "styles": "nfkd_gui"}.items():
        for path in (ROOT / "resources" / folder).glob("*.*"):
            assert f"{package}/resources/{folder}/{path.name}" in names


def test_entry_points_and_licence(wheel, names):
    (entry_points,) = [name for name in names if name.endswith("entry_points.txt")]
    text = zipfile.ZipFile(wheel).read(entry_points).decode()
    assert "nfkd = nfkd.cli:main" in text
    assert "nfkd-gui = nfkd_gui.app:main" in text
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_an_installed_wheel_finds_its_presets(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    code = "import nfkd, nfkd.config; print(nfkd.__file__, *nfkd.config.preset_names(), sep='|')"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path, env=environment
    )
    location, *presets = done.stdout.strip().split("|")
    assert Path(location).is_relative_to(tmp_path)
    assert {"digits", "two_moons"} <= set(presets)
