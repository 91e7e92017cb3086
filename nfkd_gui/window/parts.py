"""The parts of the window that are made when they are first wanted, and how they are connected to it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from nfkd_gui.window.copies import ask_copy

if TYPE_CHECKING:
    from nfkd_gui.panels.runs import RunsPanel
    from nfkd_gui.window.compare import CompareWorkspace
    from nfkd_gui.window.learn import LearnWorkspace
    from nfkd_gui.window.main_window import MainWindow
    from nfkd_gui.window.start_page import StartPage
    from nfkd_gui.window.train import TrainWorkspace


def make_start_page(window: MainWindow) -> StartPage:
    """Return the start page."""
    from nfkd_gui.window.start_page import StartPage

    page = StartPage(window.studio, window)
    page.preset_chosen.connect(window.open_preset)
    page.run_chosen.connect(window.open_run)
    page.open_clicked.connect(window.files.ask_open)
    page.all_runs_clicked.connect(lambda: window.open_workspace("compare"))
    page.lab_clicked.connect(lambda: window.open_workspace("learn"))
    page.file_chosen.connect(window.open_file)
    page.own_data_clicked.connect(window.choose_data)
    window.pages.add(page)
    return page


def make_train(window: MainWindow) -> TrainWorkspace:
    """Return the workspace that watches one run."""
    from nfkd_gui.window.train import TrainWorkspace

    train = TrainWorkspace(window.studio, window)
    window.closed.connect(train.stop)
    return train


def make_runs(window: MainWindow) -> RunsPanel:
    """Return the table of runs."""
    from nfkd_gui.panels.runs import RunsPanel

    runs = RunsPanel(window.studio, window.files.may_discard, window)
    runs.message.connect(window.show_message)
    runs.report_offered.connect(window.actions_.offer_report)
    window.actions_.report.triggered.connect(runs.actions_.ask_report)
    window.statusBar().addWidget(runs.note)
    runs.actions_.copy_wanted.connect(partial(ask_copy, window))
    runs.opened.connect(lambda: window.open_workspace("train"))
    return runs


def make_compare(window: MainWindow) -> CompareWorkspace:
    """Return the workspace with the table of runs."""
    from nfkd_gui.window.compare import CompareWorkspace

    compare = CompareWorkspace(window.studio, window.runs, window)
    compare.inspector.log_wanted.connect(window.runs.actions_.open)
    compare.inspector.log_wanted.connect(window.show_log)
    return compare


def make_learn(window: MainWindow) -> LearnWorkspace:
    """Return the workspace with the lessons and the lab."""
    from nfkd_gui.window.learn import LearnWorkspace

    learn = LearnWorkspace(window.studio, window)
    learn.run_wanted.connect(window.open_lesson_run)
    learn.named.connect(window.header.show_lab)
    window.closed.connect(learn.stop)
    return learn
