"""The figures of presets: recorded for each as it is now, and replaced by runs of this machine."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec

from nfkd.config import ExperimentConfig, preset_names
from nfkd_gui.model.recorded import figures_of
from tests.gui.scripted_engine import row_of

FILE = Path(__file__).resolve().parents[3] / "resources" / "recorded.json"
CONFIG = ExperimentConfig.load("digits")
RUN = msgspec.structs.replace(
    row_of("/runs/digits", "finished", digest=CONFIG.digest(), seeds=1), seconds=100.0, gap_closed=0.5, created=1.0
)


def test_the_recorded_figures_are_those_of_todays_presets() -> None:
    found = json.loads(FILE.read_text())
    assert set(found) <= set(preset_names())
    assert {name: figures["digest"] for name, figures in found.items()} == {
        name: ExperimentConfig.load(name).digest() for name in found
    }
    digits = figures_of("digits", CONFIG, [])
    assert (digits.gap, digits.seeds, digits.verdict) == (
        found["digits"]["gap"],
        found["digits"]["seeds"],
        found["digits"]["verdict"],
    )
    assert not digits.here


def test_a_changed_preset_has_no_recorded_figures() -> None:
    changed = CONFIG.replace(student={"hidden": 16})
    assert figures_of("digits", changed, []) == figures_of("unknown", changed, [])
    assert figures_of("digits", changed, []).gap is None


def test_the_newest_run_tells_the_time_and_one_with_enough_seeds_the_gap() -> None:
    recorded = figures_of("digits", CONFIG, [])
    once = figures_of("digits", CONFIG, [RUN])
    assert (once.seconds, once.here) == (100.0, True)
    assert once.gap == recorded.gap  # of more seeds
    older = msgspec.structs.replace(RUN, run="/runs/older", seconds=300.0, created=0.0)
    other = msgspec.structs.replace(RUN, run="/runs/other", digest="0" * 16, seconds=7.0, created=2.0)
    many = msgspec.structs.replace(RUN, seeds=5, seconds=900.0, gap_closed=0.8, verdict="better", created=3.0)
    unfinished = msgspec.structs.replace(RUN, state="failed", seconds=3.0, created=4.0)
    found = figures_of("digits", CONFIG, [unfinished, many, RUN, other, older])
    assert (found.seconds, found.gap, found.seeds, found.verdict) == (100.0, 0.8, 5, "better")
