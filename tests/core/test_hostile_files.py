"""Hostile files: each gives one message in time, and the files beside it still work."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import nfkd
from nfkd.cli import DONE, REFUSED, main
from nfkd.config import ConfigError, ExperimentConfig
from nfkd.distillation.perceptual import PerceptualError, VGGFeatures
from nfkd.engine.core import Engine, Refused
from nfkd.flows.architectures import build_flow
from nfkd.protocol import requests as ask
from nfkd.protocol.events import LogLine
from nfkd.runs.errors import RunError
from nfkd.runs.evaluation_file import read_evaluations
from nfkd.runs.layout import list_runs
from nfkd.runs.lock import run_lock
from nfkd.runs.log import append_log, read_log
from nfkd.runs.reader import open_run
from nfkd.runs.state import read_row
from nfkd.runs.weights import flow_meta, load_scaled_flow, not_finite, save_weights, weights_info
from nfkd.training.checkpoint import load_checkpoint
from tests import hostile
from tests.core.tiny import digits, moons

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has neither FIFOs nor these devices"),
    pytest.mark.timeout(60),
]
_RAW = ("\n", "Error", "[Errno")  # signs of an exception's own text
READERS: dict[str, Callable[[Path], object]] = {
    "snapshot": lambda run: open_run(run).snapshot(),
    "student": lambda run: open_run(run).load_student(),
    "log": read_log,
    "evaluation": read_evaluations,
}
READ_BY = {
    "experiment.toml": ("snapshot", "student"),
    "run.h5": ("snapshot", "student"),
    "verdict.json": ("snapshot",),
    "evaluation.json": ("evaluation",),
    "log.jsonl": ("log",),
    "student.safetensors": ("student",),
    "checkpoint.safetensors": (),
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("finished") / "good"
    nfkd.run(moons(training={"teacher_steps": 4, "student_steps": 4}), path)
    return path


@pytest.fixture
def good(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "runs" / "good"))


def beside(good: Path, name: str, file: str, build: hostile.Build) -> Path:
    """Return a copy of a run in which one file is hostile."""
    run = Path(shutil.copytree(good, good.with_name(name.replace(" ", "-"))))
    build(run / file)
    return run


def test_other_runs_are_listed_beside_unreadable_ones(good: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = [beside(good, name, "state.json", build) for name, build in (hostile.ANY_FILE | hostile.BAD_STATES).items()]
    odd = [beside(good, name, "state.json", build) for name, build in hostile.ODD_STATES.items()]
    rows, unreadable = list_runs(good.parent)
    assert {row.run for row in rows} == {str(good), *map(str, odd)}
    assert all(row.state == "interrupted" for row in rows if row.run != str(good))
    assert len(unreadable) == len(bad)
    for run in bad:
        (message,) = [message for message in unreadable if f"{run}/" in message or f"{run} " in message]
        assert "\n" not in message
    assert "is a FIFO, not a regular file" in " ".join(unreadable)
    assert main(["list", str(good.parent)]) == DONE
    printed = capsys.readouterr()
    assert "good" in printed.out
    assert len(printed.err.splitlines()) == len(bad)
    for run in bad:
        assert main(["show", str(run)]) == REFUSED
        assert len(capsys.readouterr().err.splitlines()) == 1


def test_the_engine_answers_beside_unreadable_runs(good: Path) -> None:
    bad = [beside(good, name, "state.json", build) for name, build in (hostile.ANY_FILE | hostile.BAD_STATES).items()]
    bad += [
        beside(good, f"{file} {name}", file, hostile.ANY_FILE[name])
        for file in ("run.h5", "experiment.toml")
        for name in ("fifo", "directory", "device", "noise")
    ]

    async def check() -> None:
        engine = Engine()
        try:
            listed = await engine.answer(ask.ListRuns(folder=str(good.parent)))
            assert isinstance(listed, ask.RunList)
            assert str(good) in {row.run for row in listed.rows}
            for run in bad:
                for request in (
                    ask.OpenRun(run=str(run)),
                    ask.ResumeFromDisk(run=str(run)),
                    ask.Sample(run=str(run), seed=1, count=4, temperature=1.0),
                ):
                    await answered_or_refused(engine, request)
            assert isinstance(await engine.answer(ask.OpenRun(run=str(good))), ask.Snapshot)
            for folder in ("a\0b", "x" * 300):
                with pytest.raises(Refused, match="cannot be listed"):
                    await engine.answer(ask.ListRuns(folder=folder))
        finally:
            await engine.close()

    asyncio.run(check())


async def answered_or_refused(engine: Engine, request: ask.Request) -> None:
    """Send a request; a refusal shows no exception."""
    cause = ""
    try:
        await engine.answer(request)
    except Refused as refused:
        cause = refused.error.cause
    assert not any(mark in cause for mark in _RAW), cause


def test_a_run_with_a_hostile_state_is_not_resumed(good: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for kind in ("fifo", "directory", "device", "loop", "noise", "deep_json"):
        hostile.ANY_FILE[kind](good / "state.json")
        assert main(["run", str(good / "experiment.toml"), "--out", str(good), "--resume"]) != DONE
        message = capsys.readouterr().err
        assert str(good) in message
        assert "state.json" in message


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_weights_in_a_folder_whose_name_is_not_utf8_are_refused(good: Path) -> None:
    run = good.with_name(os.fsdecode(b"run\xff"))
    good.rename(run)
    for read in (weights_info, not_finite, load_scaled_flow):
        with pytest.raises(RunError, match="path that is not valid UTF-8"):
            read(run / "student.safetensors")
    with pytest.raises(RunError, match="path that is not valid UTF-8"):
        load_checkpoint(run)


@pytest.mark.parametrize("file", READ_BY)
def test_a_hostile_file_of_a_run_gives_a_short_message_or_is_left_out(file: str, good: Path) -> None:
    (good / "checkpoint.previous.safetensors").unlink(missing_ok=True)
    for kind, build in hostile.ANY_FILE.items():
        build(good / file)
        assert read_row(good).state == "finished"
        for reader in READERS if kind == "fifo" else READ_BY[file]:
            message = ""
            try:
                READERS[reader](good)
            except RunError as error:
                message = str(error)
            assert not any(mark in message for mark in _RAW), message
        if file == "student.safetensors":
            for check in (weights_info, not_finite):
                with pytest.raises(RunError):
                    check(good / file)
        if file == "checkpoint.safetensors":
            with pytest.raises(RunError, match="checkpoints cannot be read"):
                load_checkpoint(good)


def test_locks_and_logs_that_are_no_files_are_refused(good: Path) -> None:
    for kind in ("fifo", "directory", "device"):
        hostile.ANY_FILE[kind](good / ".lock")
        with pytest.raises(RunError, match="not a regular file"), run_lock(good):
            pass
    for kind in ("fifo", "device", "directory", "dangling"):
        hostile.ANY_FILE[kind](good / "log.jsonl")
        with pytest.raises(OSError):
            append_log(good, LogLine(run="", level="info", text="x", time=0.0))
        assert not (good / "nowhere").exists()


def test_a_long_log_is_read_from_its_end(good: Path) -> None:
    hostile.long_log(good / "log.jsonl")
    note, *lines = read_log(good)
    assert "Older lines are not shown" in note.text
    assert [line.text for line in lines] == ["the last"]


def test_hostile_experiments_are_refused_with_a_short_message(tmp_path: Path) -> None:
    path = tmp_path / "experiment.toml"
    for build in (hostile.ANY_FILE | hostile.BAD_TOML).values():
        build(path)
        with pytest.raises(ConfigError) as refused:
            ExperimentConfig.load(path)
        assert str(path) in str(refused.value)
        assert len(str(refused.value)) < 4000
        assert main(["run", str(path)]) == REFUSED


@pytest.mark.parametrize("name", ["a\\u0000b", "n" * 300])
def test_a_path_that_no_file_can_have_is_one_message(name: str, tmp_path: Path) -> None:
    path = tmp_path / "experiment.toml"
    text = moons().to_toml().replace('kind = "two_moons"', f'kind = "image_stack"\npath = "{name}"')
    path.write_text("\n".join(line for line in text.splitlines() if not line.startswith(("count", "noise ="))))
    assert main(["run", str(path), "--out", str(tmp_path / "run")]) == REFUSED
    assert not (tmp_path / "run").exists()


def test_a_name_too_long_for_a_file_is_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    long = "n" * 300
    moons().save("short.toml")
    for arguments in (
        ["run", long],
        ["run", "short.toml", "--out", long],
        ["show", long],
        ["list", long],
        ["inspect", long],
    ):
        assert main(arguments) in {REFUSED, DONE}
        assert len(capsys.readouterr().err.splitlines()) <= 2
    assert main(["export", long, "--csv"]) == REFUSED


# --- weights ----------------------------------------------------------------------------------------------------------


_TAMPERED: list[dict[str, object]] = [
    {"steps": 128},
    {"steps": 10**9},
    {"hidden": 4096},
    {"hidden": 10**9},
    {"event_shape": [10**9]},
    {"event_shape": [65_536]},
    {"event_shape": [1, 65_536, 65_536]},
    {"event_shape": [-1]},
    {"event_shape": []},
    {"context_features": 10**9},
]


def test_tampered_weights_take_no_memory(finished: Path, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    for changes in _TAMPERED:
        hostile.tampered_weights(finished / "student.safetensors", **changes)(path)
        for read in (weights_info, load_scaled_flow):
            with pytest.raises(RunError):
                read(path)
        assert main(["inspect", str(path)]) == REFUSED


def test_the_size_of_an_image_is_limited_although_its_tensors_do_not_show_it(tmp_path: Path) -> None:
    config, path = digits(), tmp_path / "w.safetensors"
    flow = build_flow(config.student, (1, 8, 8))
    save_weights(path, flow.state_dict(), config.to_toml(), flow_meta(config.student, flow))
    load_scaled_flow(path)
    hostile.tampered_weights(path, event_shape=[1, 65_536, 65_536])(path)
    with pytest.raises(RunError, match="does not describe its flow"):
        load_scaled_flow(path)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_hostile_weights_of_other_programs_are_refused(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"w{suffix}"
    (tmp_path / "flow.toml").write_text("levels = 1\nsteps = 1\nhidden = 4\n")
    options = ["--flow", str(tmp_path / "flow.toml"), "--out", str(tmp_path / "out.safetensors")]
    for build in hostile.ANY_FILE.values():
        build(path)
        with pytest.raises(PerceptualError):
            VGGFeatures.load(path)
        assert main(["import-weights", str(path), *options]) == REFUSED


# --- writing ----------------------------------------------------------------------------------------------------------


def test_exports_replace_hostile_files_and_follow_no_link(good: Path, tmp_path: Path) -> None:
    out, victim = tmp_path / "out", tmp_path / "victim"
    out.mkdir()
    victim.write_text("precious")
    (out / "curves.png").symlink_to(victim)
    names = {"fifo": "summary.csv", "device": "verdict.csv", "dangling": "seed-1-student-curves.csv"}
    for kind, name in names.items():
        hostile.ANY_FILE[kind](out / name)
    assert main(["export", str(good), "--csv", "--figures", "--out", str(out)]) == DONE
    assert victim.read_text() == "precious"
    assert (out / "summary.csv").read_text().startswith("stage,")
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert not any(path.is_symlink() for path in out.iterdir())


def test_a_folder_for_exports_that_cannot_exist_is_refused(good: Path, tmp_path: Path) -> None:
    for name in ("a\0b", "n" * 300):
        for option in ("--csv", "--figures"):
            assert main(["export", str(good), option, "--out", str(tmp_path / name)]) == REFUSED


def test_an_experiment_is_saved_in_place_of_a_link(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "e.toml").symlink_to("victim")
    moons().save(tmp_path / "e.toml")
    assert (tmp_path / "victim").read_text() == "precious"
    assert ExperimentConfig.load(tmp_path / "e.toml") == moons()
