"""For every test: a display, directories of its own, and a check that nothing outlives it.

A test fails when it leaves a thread, a child process (also a detached one), a Qt timer or a Qt thread running. Qt's
warnings fail a test through pytest-qt (``qt_log_level_fail`` in pyproject.toml).
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
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

# The tests for a GPU need only this repository and torch.
psutil: Any = import_module("psutil") if find_spec("psutil") else None

GRACE = 3.0
"""Seconds that a thread or process has to end after its test."""
_LEAST_MEMORY = 8 << 30  # bytes; all tests together have written 1 to 2 GB
_TOKEN = "NFKD_TEST_SESSION"
_HELPERS = (
    *("resource_tracker", "forkserver"),  # processes of multiprocessing that Python ends at its exit
    *("ray::", "default_worker.py"),  # Ray's workers, which end with the Ray of a module's fixture
)
_WINDOWS = ("gui", "end_to_end", "benchmarks")  # folders whose tests open windows

os.environ[_TOKEN] = uuid.uuid4().hex
os.environ.setdefault("OMP_NUM_THREADS", "1")  # more threads make small operations slower
os.environ["QT_API"] = "pyside6"
os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": uuid.uuid4().hex * 2}  # or Ray writes one into the home


# --- a display and directories ----------------------------------------------------------------------------------------


def pytest_configure(config: pytest.Config) -> None:
    """Give the tests temporary settings, engine and run directories, and make Hypothesis repeatable."""
    _use_memory_for_files()
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


def _use_memory_for_files() -> None:
    """Put temporary files on Linux's file system in memory, if there is enough; a disk takes 4 ms for each fsync."""
    memory = Path("/dev/shm")
    if "TMPDIR" in os.environ or psutil is None or not os.access(memory, os.W_OK | os.X_OK):
        return
    executes = not os.statvfs(memory).f_flag & os.ST_NOEXEC  # some tests run programs that they have written
    free = min(shutil.disk_usage(memory).free, psutil.virtual_memory().available)
    if executes and free >= _LEAST_MEMORY:
        os.environ["TMPDIR"] = tempfile.tempdir = str(memory)


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Iterator[None]:
    """Import all tests without garbage collection, and never search what they imported: a million objects live on."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Start an X server if any test opens windows, so that they need no screen."""
    if not sys.platform.startswith("linux") or "QT_QPA_PLATFORM" in os.environ:
        return
    if not any(_opens_windows(item) for item in session.items):
        return
    if shutil.which("Xvfb") is None:
        if "DISPLAY" not in os.environ:
            pytest.exit("tests that open windows need Xvfb: `make test` installs it", returncode=3)
        return
    server, display = _start_xvfb()
    os.environ["DISPLAY"] = display
    os.environ.pop("WAYLAND_DISPLAY", None)
    session.config.add_cleanup(lambda: _end(server))


def _opens_windows(item: pytest.Item) -> bool:
    return "qapp" in getattr(item, "fixturenames", ()) or _in_window_folder(item.path)


def _in_window_folder(path: Path) -> bool:
    return any(folder in path.parts for folder in _WINDOWS)


def _start_xvfb() -> tuple[subprocess.Popen[bytes], str]:
    reader, writer = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(writer), "-screen", "0", "1600x1000x24", "-nolisten", "tcp"],
        pass_fds=(writer,),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(writer)
    with os.fdopen(reader) as answer:
        number = answer.readline().strip()  # written when Xvfb is ready; empty when it could not start
    if not number:
        pytest.exit("Xvfb could not start", returncode=3)
    return server, f":{number}"


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait()


# --- nothing left behind ----------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True, scope="module")
def _no_older_qt_objects() -> None:
    """Before each module, collect the Qt objects of earlier modules in this thread, then freeze all other objects.

    A thread of a later test could collect them otherwise, and Qt would crash. Frozen objects are never searched again,
    which makes this and the search for Qt objects after each test short.
    """
    core = sys.modules.get("PySide6.QtCore")
    if core is None or core.QCoreApplication.instance() is None:
        return
    for name in ("last_value", "last_exc", "last_traceback"):
        setattr(sys, name, None)  # of a failed test, whose frames have its widgets
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def nothing_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a thread, a process, a Qt timer or a Qt thread running."""
    threads, processes = set(threading.enumerate()), _pids()
    yield
    left = _running_qt_objects() if _opens_windows(request.node) else []
    left += _after_grace(lambda: [f"thread {thread.name!r}" for thread in _new_threads(threads)])
    left += _after_grace(lambda: [_describe_process(process) for process in _new_processes(processes)])
    for process in _new_processes(processes):
        with suppress(psutil.Error):
            process.kill()
    if left:
        pytest.fail("left behind: " + "; ".join(left), pytrace=False)


def _after_grace(find: Callable[[], list[str]]) -> list[str]:
    """Return what still exists after the grace period."""
    end = time.monotonic() + GRACE
    while (found := find()) and time.monotonic() < end:
        time.sleep(0.02)
    return found


def _new_threads(before: set[threading.Thread]) -> list[threading.Thread]:
    # A _DummyThread is a thread of torch or Qt that once called Python.
    return [
        thread
        for thread in threading.enumerate()
        if thread not in before and thread.is_alive() and not isinstance(thread, threading._DummyThread)
    ]


def _pids() -> set[int]:
    return set() if psutil is None else set(psutil.pids())


def _new_processes(before: set[int]) -> list[Any]:
    """Return the processes that this test session started since, directly or not, detached or not."""
    return [process for pid in _pids() - before if (process := _process_of_session(pid))]


def _process_of_session(pid: int) -> Any:
    with suppress(psutil.Error, OSError):
        process = psutil.Process(pid)
        started = process.environ().get(_TOKEN) == os.environ[_TOKEN] and process.status() != psutil.STATUS_ZOMBIE
        if started and not any(name in argument for argument in process.cmdline() for name in _HELPERS):
            return process
    return None


def _describe_process(process: Any) -> str:
    with suppress(psutil.Error):
        return f"process {process.pid} ({' '.join(process.cmdline())[:200]})"
    return f"process {process.pid}"


def _running_qt_objects() -> list[str]:
    core = sys.modules.get("PySide6.QtCore")
    if core is None or core.QCoreApplication.instance() is None:
        return []
    core.QCoreApplication.sendPostedEvents(None, core.QEvent.Type.DeferredDelete.value)
    gc.collect()
    valid = sys.modules["shiboken6"].isValid
    kinds = (core.QTimer, core.QThread)  # by type(): isinstance() would import lazy modules of torch
    objects = [thing for thing in gc.get_objects() if issubclass(type(thing), kinds) and valid(thing)]
    timers = [thing for thing in objects if isinstance(thing, core.QTimer) and thing.isActive()]
    threads = [thing for thing in objects if isinstance(thing, core.QThread) and thing.isRunning()]
    main = core.QCoreApplication.instance().thread()
    found = [f"Qt timer of {timer.parent()!r}, every {timer.interval()} ms" for timer in timers]
    found += [f"Qt thread {thread.objectName()!r}" for thread in threads if thread is not main]
    for timer in timers:
        timer.stop()  # or every later test would report it too
    return found
