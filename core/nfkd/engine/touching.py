"""Reading the first byte of every file of a request: tells in seconds that a drive is gone.

Loading a data set may take many minutes, so its time limit is long. And HDF5 holds Python's interpreter lock while it
opens a file: on a drive that is gone it would stop the whole engine. Both begin only when the files have answered here.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from nfkd.config import Config
from nfkd.engine.threads import RequestThreads
from nfkd.files import open_regular

_MOST = 64  # files of a folder that are touched


async def touch(threads: RequestThreads, paths: Sequence[Path], limit: float) -> None:
    """Read the first byte of every file, and of the first files in every folder.

    What is missing, unreadable or of another kind is passed over: whoever reads it reports it.

    Parameters
    ----------
    threads
        Run this.
    paths
        Files and folders; nothing is done where there are none.
    limit
        Seconds that one file may take.

    Raises
    ------
    FilesSilentError
        When one takes longer.
    """
    heard = [time.monotonic()]

    def work() -> None:
        for path in paths:
            for file in islice(_files(path), _MOST):
                with suppress(OSError, ValueError), open_regular(file) as opened:
                    opened.read(1)
                heard[0] = time.monotonic()

    if paths:
        await threads.run(work, about=format_paths(paths), limit=limit, heard=lambda: heard[0])


def _files(path: Path) -> Iterator[Path]:
    """Yield a file itself, or the files in a folder and in its sub-folders; links to folders are not followed."""
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                yield from _files(Path(entry.path)) if entry.is_dir(follow_symlinks=False) else (Path(entry.path),)
    except NotADirectoryError:
        yield path
    except (OSError, ValueError):
        return


def config_paths(config: Config) -> list[Path]:
    """Return the files and folders that a config names, sections and lists included."""
    found: list[Path] = []
    for name, info in type(config).model_fields.items():
        value: Any = getattr(config, name)
        extra = info.json_schema_extra
        if isinstance(value, str) and value and isinstance(extra, dict) and extra.get("format"):
            found.append(Path(value).expanduser())
        for section in value if isinstance(value, tuple) else (value,):
            if isinstance(section, Config):
                found += config_paths(section)
    return found


def format_paths(paths: Iterable[Path]) -> str:
    """Return paths in words, for a message."""
    return ", ".join(map(str, paths)) or "a file of the experiment"
