"""Recorded runs that come with the lessons."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
import zlib
from pathlib import Path

import platformdirs

from nfkd_gui.resources import resource_path


def unpack_run(name: str) -> Path:
    """Return the folder of a recorded run, in the user's cache; each version is unpacked once.

    Raises
    ------
    OSError
        When it cannot be unpacked.
    """
    packed = resource_path("lessons", f"{name}.zip")
    version = f"{zlib.crc32(packed.read_bytes()):08x}"
    target = platformdirs.user_cache_path("nfkd") / "lessons" / version / name
    if not (target / "state.json").is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            try:
                with zipfile.ZipFile(packed) as archive:
                    archive.extractall(folder)
            except zipfile.BadZipFile as error:
                msg = f"{packed} is damaged: install NFKD again"
                raise OSError(msg) from error
            shutil.rmtree(target, ignore_errors=True)
            (Path(folder) / name).replace(target)
    return target
