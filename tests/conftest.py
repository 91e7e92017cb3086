"""What every test gets: a display, directories of its own, and a check that it left nothing running.

A test fails when a thread, a child process (also one that has detached itself), a Qt timer or a Qt thread outlives it.
Qt's own warnings fail a test through pytest-qt (``qt_log_level_fail`` in pyproject.toml).
"""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

# The tests for a GPU need only this repository and torch.
psutil: Any = import_module("psutil") if find_spec("psutil") else None

GRACE = 3.0
"""Seconds that a thread or process may take to end after its test."""
_TOKEN = "NFKD_TEST_SESSION"
_LASTING = ("resource_tracker", "forkserver")  # helpers of multiprocessing that Python ends at its exit
_WINDOWS = ("gui", "end_to_end", "benchmarks")  # the folders whose tests open windows

os.environ[_TOKEN] = uuid.uuid4().hex
os.environ.setdefault("OMP_NUM_THREADS", "1")  # many small operations: more threads only cost
os.environ["QT_API"] = "pyside6"


# --- a display and directories ----------------------------------------------------------------------------------------


def pytest_configure(config: pytest.Config) -> None:
    """Keep the user's own settings, engine and runs out of the tests, and hypothesis quick and repeatable."""
    home = Path(tempfile.mkdtemp(prefix="nfkd-"))
    config.add_cleanup(lambda: shutil.rmtree(home, ignore_errors=True))
    for name in ("CONFIG", "DATA", "STATE"):
        os.environ[f"XDG_{name}_HOME"] = str(home / name.lower())
    runtime = home / "run"
    runtime.mkdir(mode=0o700)
    os.environ["XDG_RUNTIME_DIR"] = str(runtime)
    with suppress(ImportError):
        from hypothesis import HealthCheck, settings

        settings.register_profile(
            "nfkd", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow], print_blob=True
        )
        settings.load_profile("nfkd")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Start an X server of our own where windows will open, so that they neither need a screen nor disturb one."""
    if not sys.platform.startswith("linux") or "QT_QPA_PLATFORM" in os.environ:
        return
    if not any(_opens_windows(item) for item in session.items):
        return
    if shutil.which("Xvfb") is None:
        if "DISPLAY" not in os.environ:
            pytest.exit("the tests of the windows need Xvfb: `make test` installs it", returncode=3)
        return
    server, display = _start_xvfb()
    os.environ["DISPLAY"] = display
    os.environ.pop("WAYLAND_DISPLAY", None)
    session.config.add_cleanup(lambda: _end(server))


def _opens_windows(item: pytest.Item) -> bool:
    return "qapp" in getattr(item, "fixturenames", ()) or any(part in item.path.parts for part in _WINDOWS)


def _start_xvfb() -> tuple[subprocess.Popen[bytes], str]:
    ours, theirs = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(theirs), "-screen", "0", "1600x1000x24", "-nolisten", "tcp"],
        pass_fds=(theirs,),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(theirs)
    with os.fdopen(ours) as answer:
        number = answer.readline().strip()  # Xvfb writes it when it is ready; nothing when it could not start
    if not number:
        pytest.exit("Xvfb could not start", returncode=3)
    return server, f":{number}"


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait()


# --- nothing left behind ----------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """Fail a test that leaves a thread, a process, a Qt timer or a Qt thread running."""
    threads = set(threading.enumerate())
    processes = set(_processes(()))
    yield
    left = _qt_leftovers()
    left += _outlasting(lambda: [_thread_words(thread) for thread in threading.enumerate() if _counts(thread, threads)])
    left += _outlasting(lambda: [_process_words(process) for process in _processes(processes)])
    for process in _processes(processes):
        with suppress(psutil.Error):
            process.kill()
    if left:
        pytest.fail("left behind: " + "; ".join(left), pytrace=False)


def _outlasting(find: Callable[[], list[str]]) -> list[str]:
    """Return what is still there when the time of grace is over."""
    end = time.monotonic() + GRACE
    while (found := find()) and time.monotonic() < end:
        time.sleep(0.02)
    return found


def _counts(thread: threading.Thread, before: set[threading.Thread]) -> bool:
    foreign = isinstance(thread, threading._DummyThread)  # a thread of torch's or Qt's that once called Python
    return thread not in before and thread.is_alive() and not foreign


def _thread_words(thread: threading.Thread) -> str:
    return f"thread {thread.name!r}"


def _processes(before: Iterable[Any]) -> list[Any]:
    """Return the processes that this test session started, direct or not, detached or not."""
    if psutil is None:
        return []
    known = {process.pid for process in before} | {os.getpid()}
    return [process for pid in psutil.pids() if pid not in known and (process := _ours(pid))]


def _ours(pid: int) -> Any:
    with suppress(psutil.Error, OSError):
        process = psutil.Process(pid)
        ours = process.environ().get(_TOKEN) == os.environ[_TOKEN] and process.status() != psutil.STATUS_ZOMBIE
        if ours and not any(word in part for part in process.cmdline() for word in _LASTING):
            return process
    return None


def _process_words(process: Any) -> str:
    with suppress(psutil.Error):
        return f"process {process.pid} ({' '.join(process.cmdline())[:200]})"
    return f"process {process.pid}"


def _qt_leftovers() -> list[str]:
    core = sys.modules.get("PySide6.QtCore")
    if core is None or core.QCoreApplication.instance() is None:
        return []
    core.QCoreApplication.sendPostedEvents(None, core.QEvent.Type.DeferredDelete.value)
    gc.collect()
    valid = sys.modules["shiboken6"].isValid
    kinds = (core.QTimer, core.QThread)  # by type(): isinstance() would wake lazy objects of torch
    objects = [thing for thing in gc.get_objects() if issubclass(type(thing), kinds) and valid(thing)]
    timers = [thing for thing in objects if isinstance(thing, core.QTimer) and thing.isActive()]
    threads = [thing for thing in objects if isinstance(thing, core.QThread) and thing.isRunning()]
    main = core.QCoreApplication.instance().thread()
    words = [f"Qt timer of {timer.parent()!r}, every {timer.interval()} ms" for timer in timers]
    words += [f"Qt thread {thread.objectName()!r}" for thread in threads if thread is not main]
    for timer in timers:
        timer.stop()  # it is told once, not by every test that follows
    return words
