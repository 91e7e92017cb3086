"""The check that a test leaves nothing behind, itself under test."""

from __future__ import annotations

from pathlib import Path

import pytest

CONFTEST = Path(__file__).with_name("conftest.py")
INI = """
[pytest]
qt_api = pyside6
qt_log_level_fail = WARNING
"""


@pytest.fixture
def judged(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch):
    """Run the given test file under our conftest, with a short time of grace."""
    pytester.makeini(INI)
    pytester.makeconftest(CONFTEST.read_text("utf-8").replace("GRACE = 3.0", "GRACE = 0.2"))
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")

    def run(source: str) -> pytest.RunResult:
        pytester.makepyfile(source)
        return pytester.runpytest_subprocess("-p", "no:cacheprovider")

    return run


def test_a_thread_that_outlives_its_test_fails_it(judged):
    result = judged("""
        import threading

        gate = threading.Event()

        def test_leaves_a_thread():
            threading.Thread(target=gate.wait, name="forgotten").start()

        def test_after_it():
            gate.set()
    """)
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*left behind: thread 'forgotten'*"])


def test_a_thread_that_ends_in_time_does_not(judged):
    result = judged("""
        import threading

        def test_ends_its_thread():
            threading.Timer(0.05, lambda: None).start()
    """)
    result.assert_outcomes(passed=1)


@pytest.mark.parametrize("detached", [False, True])
def test_a_process_that_outlives_its_test_fails_it_and_is_ended(judged, detached):
    result = judged(f"""
        import subprocess, sys, psutil

        started = []

        def test_leaves_a_process():
            started.append(subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE,
                                            start_new_session={detached}))

        def test_it_was_ended():
            started[0].stdin.close()
            assert started[0].wait() != 0
    """)
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*left behind: process * -c input()*"])


def test_a_qt_timer_that_outlives_its_test_fails_it_once(judged):
    pytest.importorskip("PySide6")
    result = judged("""
        from PySide6.QtCore import QTimer

        kept = []

        def test_leaves_a_timer(qapp):
            timer = QTimer()
            timer.start(1000)
            kept.append(timer)

        def test_after_it(qapp):
            pass

        def test_stops_its_timer(qapp):
            timer = QTimer()
            timer.start(1000)
            kept.append(timer)
            timer.stop()
    """)
    result.assert_outcomes(passed=3, errors=1)
    result.stdout.fnmatch_lines(["*left behind: Qt timer*1000 ms*"])


def test_an_unexpected_qt_warning_fails_a_test(judged):
    pytest.importorskip("PySide6")
    result = judged("""
        from PySide6.QtCore import QObject, QTimer, qWarning

        def test_warns(qapp):
            qWarning("something is odd")

        def test_is_quiet(qapp):
            pass
    """)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*something is odd*"])


def test_directories_of_the_user_are_out_of_reach(judged):
    result = judged("""
        import os, tempfile
        from pathlib import Path

        def test_the_directories_are_temporary():
            for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR"):
                assert Path(os.environ[name]).is_relative_to(tempfile.gettempdir())
            assert Path(os.environ["XDG_RUNTIME_DIR"]).stat().st_mode & 0o077 == 0
    """)
    result.assert_outcomes(passed=1)
