"""Recorded runs that come with the lessons."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import zipfile
from pathlib import Path

import platformdirs

from nfkd_gui.resources import resource_path


def unpack_run(name: str) -> Path:
    """Return the folder of a recorded run, in the user's cache; it is unpacked when it is first wanted.

    The cache of an earlier version's run is another folder.

    Raises
    ------
    OSError
        When it cannot be unpacked.
    """
    packed = resource_path("lessons", f"{name}.zip")
    version = hashlib.sha256(packed.read_bytes()).hexdigest()[:12]
    target = platformdirs.user_cache_path("nfkd") / "lessons" / version / name
    if not (target / "state.json").is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            with zipfile.ZipFile(packed) as archive:
                archive.extractall(folder)
            shutil.rmtree(target, ignore_errors=True)
            (Path(folder) / name).replace(target)
    return target
