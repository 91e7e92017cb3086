"""Reads the first byte of every file of a request, to find a disconnected drive within seconds.

Loading data may take many minutes, so its time limit is long. HDF5 holds Python's interpreter lock while it opens a
file, which would stop the whole engine on a disconnected drive. So both start only after this probe.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

from nfkd.engine.threads import RequestThreads
from nfkd.files import open_regular

_FILES_PER_FOLDER = 64


async def probe_files(threads: RequestThreads, paths: Sequence[Path], limit: float) -> None:
    """Read the first byte of every file, and of the first files in every folder.

    Missing and unreadable files are skipped: the reader reports them later.

    Parameters
    ----------
    threads
        The threads that read.
    paths
        Files and folders.
    limit
        Seconds for one file.

    Raises
    ------
    FilesSilentError
        When a file takes longer.
    """
    last_progress = time.monotonic()

    def work() -> None:
        nonlocal last_progress
        for path in paths:
            for file in islice(_files(path), _FILES_PER_FOLDER):
                with suppress(OSError, ValueError), open_regular(file) as opened:
                    opened.read(1)
                last_progress = time.monotonic()

    if paths:
        await threads.run(work, about=format_paths(paths), limit=limit, last_progress=lambda: last_progress)


def _files(path: Path) -> Iterator[Path]:
    """Yield a file itself, or the files in a folder and its sub-folders; links to folders are not followed."""
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                yield from _files(Path(entry.path)) if entry.is_dir(follow_symlinks=False) else (Path(entry.path),)
    except NotADirectoryError:
        yield path
    except (OSError, ValueError):
        return


def format_paths(paths: Iterable[Path]) -> str:
    """Return paths as text, for a message."""
    return ", ".join(map(str, paths)) or "a file of the experiment"
