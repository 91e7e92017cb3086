"""Tests of tests/conftest.py: a test fails when something outlives it."""

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
def run_tests(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch):
    """Return a function that runs a test file under our conftest, with a short grace period."""
    pytester.makeini(INI)
    pytester.makeconftest(CONFTEST.read_text("utf-8").replace("GRACE = 3.0", "GRACE = 0.2"))
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")

    def run(source: str) -> pytest.RunResult:
        pytester.makepyfile(source)
        return pytester.runpytest_subprocess("-p", "no:cacheprovider", "-v")

    return run


def test_threads_and_processes_that_outlive_their_test_fail_it_and_user_directories_are_temporary(run_tests):
    result = run_tests("""
        import os, subprocess, sys, tempfile, threading
        from pathlib import Path

        import psutil
        import pytest

        gate = threading.Event()
        started = []

        def test_leaves_a_thread():
            threading.Thread(target=gate.wait, name="forgotten").start()

        def test_after_the_thread():
            gate.set()

        def test_ends_its_thread():
            threading.Timer(0.05, lambda: None).start()

        @pytest.mark.parametrize("detached", [False, True])
        def test_leaves_a_process(detached):
            process = subprocess.Popen([sys.executable, "-c", "print(flush=True); input()"], stdin=subprocess.PIPE,
                                       stdout=subprocess.PIPE, start_new_session=detached)
            started.append(process)
            process.stdout.readline()  # its environment cannot be read earlier

        def test_both_processes_were_ended():
            for process in started:
                process.stdin.close()
                process.stdout.close()
                assert process.wait() != 0

        def test_user_directories_are_temporary():
            for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR"):
                assert Path(os.environ[name]).is_relative_to(tempfile.gettempdir())
            assert Path(os.environ["XDG_RUNTIME_DIR"]).stat().st_mode & 0o077 == 0
    """)
    result.assert_outcomes(passed=7, errors=3)
    result.stdout.fnmatch_lines_random(
        [
            "*::test_leaves_a_thread ERROR*",
            "*::test_leaves_a_process[[]False] ERROR*",
            "*::test_leaves_a_process[[]True] ERROR*",
            "*left behind: thread 'forgotten'*",
            "*left behind: process * -c print(flush=True); input()*",
        ]
    )


def test_a_qt_timer_that_outlives_its_test_fails_it_once_and_a_qt_warning_fails_a_test(run_tests):
    pytest.importorskip("PySide6")
    result = run_tests("""
        from PySide6.QtCore import QTimer, qWarning

        kept = []

        def test_leaves_a_timer(qapp):
            timer = QTimer()
            timer.start(1000)
            kept.append(timer)

        def test_after_the_timer(qapp):
            pass

        def test_stops_its_timer(qapp):
            timer = QTimer()
            timer.start(1000)
            kept.append(timer)
            timer.stop()

        def test_warns(qapp):
            qWarning("something is odd")

        def test_after_the_warning(qapp):
            pass
    """)
    result.assert_outcomes(passed=4, failed=1, errors=1)
    result.stdout.fnmatch_lines_random(
        ["*::test_leaves_a_timer ERROR*", "*left behind: Qt timer*1000 ms*", "*::test_warns FAILED*"]
    )


def test_widgets_of_an_earlier_module_are_collected_before_the_next(run_tests, pytester):
    pytest.importorskip("PySide6")
    pytester.makepyfile(
        test_a="""
        from PySide6.QtWidgets import QWidget

        def test_leaves_a_cycle(qapp):
            widget = QWidget()
            widget.itself = widget
            assert False, "its frames are kept"
    """
    )
    result = run_tests("""
        import gc

        from PySide6.QtWidgets import QWidget

        def test_no_widget_is_left():
            assert not [thing for thing in gc.get_objects() if type(thing) is QWidget]
            gc.unfreeze()
            assert not [thing for thing in gc.get_objects() if type(thing) is QWidget]
    """)
    result.assert_outcomes(passed=1, failed=1)
