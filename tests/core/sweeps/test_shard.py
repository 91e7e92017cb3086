"""A sweep that several processes share in parts, and its results in one table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nfkd.cli import main
from nfkd.config import ConfigError
from nfkd.runs.lock import run_lock
from nfkd.runs.log import read_log
from nfkd.sweeps import Sweep
from nfkd.sweeps.shard import Shard
from tests.core.sweeps.sweeping import run_all, saved, states, sweep_of

Shell = pytest.CaptureFixture[str]


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "1/0", "-1/3", "1/3/5", "a/b", "", "1/10000000"])
def test_a_text_that_is_no_part_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="give I/N"):
        Shard.parse(text)


def test_each_run_is_in_one_part() -> None:
    parts = [Shard(index, 7) for index in range(1, 8)]
    assert [sum(number in part for part in parts) for number in range(50)] == [1] * 50


def test_parts_share_folder_teacher_and_names_and_are_collected(tmp_path: Path, capsys: Shell) -> None:
    broken = {"student": {"kind": "glow", "levels": 2}}
    config = sweep_of({"list": [{"student.hidden": 4}, broken, {"student.hidden": 6}, {"student.hidden": 8}]})
    file, out = saved(config, tmp_path), str(tmp_path / "parts")
    assert main(["sweep", file, "--out", out, "--shard", "1/2"]) == 0
    assert "Part 1/2 of the sweep: 2 runs." in capsys.readouterr().out
    assert main(["sweep", file, "--out", out, "--shard", "2/2"]) == 1  # one of its runs fails
    capsys.readouterr()
    lines = [line.text for line in read_log(tmp_path / "parts" / "hidden-8")]
    assert any("the teacher is that of hidden-" in line for line in lines)  # another part has trained it
    assert not (tmp_path / "parts" / "sweep.json").exists()
    assert main(["sweep", file, "--out", out]) == 1
    printed = capsys.readouterr().out
    assert printed.startswith("0 runs left (3 done, 1 failed).\n")
    whole = Sweep(config, tmp_path / "whole")
    run_all(whole)
    found = json.loads((tmp_path / "parts" / "sweep.json").read_text())["runs"]
    assert [(run["name"], run["state"]) for run in found] == [(run.name, run.state) for run in whole.runs]
    assert [run["objective"] for run in found] == [run.objective for run in whole.runs]
    assert all(run["seconds"] > 0 for run in found if run["state"] == "finished")
    retried = Sweep(config, tmp_path / "parts", retry=True)
    retried.begin()
    assert states(retried).count("waiting") == 1


def test_a_part_continues_and_is_locked_against_itself_only(tmp_path: Path) -> None:
    config = sweep_of({"grid": {"student.hidden": [4, 6]}})
    file, out = saved(config, tmp_path), tmp_path / "parts"
    first = Sweep(config, out, shard=Shard(1, 2))
    run_all(first)
    assert states(first) == ["finished"]
    again = Sweep(config, out, shard=Shard(1, 2))
    again.begin()
    assert again.ask() is None
    with run_lock(out, Shard(1, 2).lock_file):
        assert main(["sweep", file, "--out", str(out), "--shard", "1/2"]) != 0
        assert main(["sweep", file, "--out", str(out), "--shard", "2/2"]) == 0


def test_a_search_is_not_divided(tmp_path: Path) -> None:
    search = {"runs": 4, "space": {"student.hidden": {"choices": [4, 6]}}}
    with pytest.raises(ConfigError, match="cannot be divided"):
        Sweep(sweep_of({"search": search}), tmp_path / "sweep", shard=Shard(1, 2))
