"""Runs on disks that are too small, resumed on a larger one, and compared with undisturbed runs."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import h5py

from nfkd.runs.layout import RUN_FILE
from tests.torture.compare import differences, nodes_of
from tests.torture.laboratory import Laboratory, Result, in_workers
from tests.torture.processes import Ended, Process, nfkd

EXPERIMENT = "plane"
PAGE = 4  # KiB; a tmpfs has whole pages
_LARGE = 1 << 14  # KiB
_FULL = "disk is full"


def run_disks(laboratory: Laboratory, count: int, jobs: int) -> None:
    """Try the sizes without a result.

    Sizes are spread evenly from one page, too small for the run's first files, to one page less than the run needs.
    """
    if os.geteuid():
        print("disks: small disks are mounted, and that needs root: try `unshare --map-root-user --mount make torture`")
        return
    for left in laboratory.case_paths("*/disk"):  # left by a killed program
        if left.is_mount():
            _system("umount", "--lazy", left)
    laboratory.prepare([EXPERIMENT])
    enough = _pages_enough(laboratory)
    pages = sorted({round(1 + (enough - 2) * number / (count - 1)) for number in range(count)})
    done = laboratory.results("disks")
    waiting = [size for size in pages if str(size * PAGE) not in done]
    print(f"disks: {len(pages) - len(waiting)} of {len(pages)} sizes are done", flush=True)
    in_workers(jobs, waiting, partial(_perform, laboratory))


@contextmanager
def small_disk(folder: Path, kib: int) -> Iterator[Path]:
    """Mount a tmpfs of a size at a new directory."""
    disk = folder / "disk"
    disk.mkdir()
    _system("mount", "-t", "tmpfs", "-o", f"size={kib}k", "nfkd-torture", disk)
    try:
        yield disk
    finally:
        _system("umount", "--lazy", disk)


def _system(*command: str | Path) -> None:
    subprocess.run([os.fspath(argument) for argument in command], check=True, stdin=subprocess.DEVNULL)


def _pages_enough(laboratory: Laboratory) -> int:
    """Return the fewest pages that are enough for the run, found by bisection."""
    known = laboratory.results("disk that is enough")
    if EXPERIMENT in known:
        return known[EXPERIMENT]["pages"]
    short, enough = 0, _LARGE // PAGE
    while enough - short > 1:
        middle = (short + enough) // 2
        folder = laboratory.new_folder("disk-enough")
        with small_disk(folder, middle * PAGE) as disk:
            fits = _run(laboratory, folder, disk).code == 0
        short, enough = (short, middle) if fits else (middle, enough)
    laboratory.keep("disk that is enough", EXPERIMENT, pages=enough)
    print(f"disks: {enough * PAGE} KiB are enough", flush=True)
    return enough


def _run(laboratory: Laboratory, folder: Path, disk: Path, *more: str) -> Ended:
    return Process(nfkd("run", laboratory.experiment_file(EXPERIMENT), "--out", disk / "run", *more), folder).wait()


def _perform(laboratory: Laboratory, pages: int) -> None:
    kib = pages * PAGE
    folder = laboratory.new_folder(f"disk-{kib}")
    with small_disk(folder, kib) as disk:
        run = disk / "run"
        ended = _run(laboratory, folder, disk)
        left = sorted(path.name for path in run.iterdir()) if run.is_dir() else []
        shown = Process(nfkd("show", run), folder).wait() if run.is_dir() else None
        read = _read(run / RUN_FILE)
        _system("mount", "-o", f"remount,size={_LARGE}k", disk)
        resumed = _run(laboratory, folder, disk, "--resume")
        found = {} if resumed.code else differences(laboratory.reference(EXPERIMENT), run)
    kept = laboratory.keep(
        "disks",
        str(kib),
        exit=ended.code,
        hung=ended.hung,
        told=_told(ended),
        message=ended.message,
        traceback=ended.traceback,
        left=left,
        shown=None if shown is None else shown.code,
        show_message="" if shown is None or not shown.code else shown.message,
        read=read,
        resumed=resumed.code,
        error=resumed.message if resumed.code else "",
        equal=not resumed.code and not found,
        differences=found,
    )
    shutil.rmtree(folder)
    print(f"disk of {kib} KiB: {kept['message'] or 'ended'} | resumed: {kept['error'] or len(found)}", flush=True)


def _told(ended: Ended) -> bool:
    """Return whether there was exactly one message, and it says that the disk is full."""
    messages = [line for line in ended.err.splitlines() if line.startswith("nfkd:")]
    return len(messages) == 1 and _FULL in messages[0].lower()


def _read(path: Path) -> str:
    """Read all of a run's file as an SWMR reader; return the error."""
    if not path.exists():
        return ""
    try:
        with h5py.File(path, "r", libver="latest", swmr=True) as file:
            for node in nodes_of(file).values():
                if isinstance(node, h5py.Dataset):
                    node[()]
    except (OSError, RuntimeError, KeyError) as error:
        return str(error).splitlines()[0]
    return ""


def clean(result: Result) -> bool:
    """Return whether a full disk gave one message, readable files, and a resumed run equal to the undisturbed one."""
    return (
        (result["traceback"], result["told"], result["read"]) == (False, True, "")
        and result["exit"] == (1 if result["left"] else 2)  # 2: the run's directory could not be made
        and result["shown"] in {0, None}
        and result["equal"]
    )
