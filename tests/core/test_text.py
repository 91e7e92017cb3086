"""Foreign text: no control character reaches the terminal, and all text can be printed in any encoding."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nfkd.cli import main
from nfkd.config import ConfigError
from nfkd.config.datasets import dataset_name_problems
from nfkd.protocol.codec import encode_json, from_client, from_engine, to_wire
from nfkd.protocol.data import ColumnStatistics, DataPreview
from nfkd.protocol.events import CurvePoints, LogLine, MatchingMeasured, SeedStarted
from nfkd.protocol.frames import FrameDecoder
from nfkd.protocol.records import CurveBatch, CurveInfo, ErrorInfo, LayerPair, StagePlan
from nfkd.protocol.requests import Answer, Call, ListRuns, RunList
from nfkd.runs.errors import RunError
from nfkd.runs.export import export_csv
from nfkd.runs.figures import export_figures, export_preview
from nfkd.runs.layout import create_run, list_runs, rename_run
from nfkd.runs.log import append_log, read_log
from nfkd.runs.reader import open_run
from nfkd.runs.state import read_state, write_row
from nfkd.runs.writer import RunWriter
from nfkd.terminal import standard_streams, terminal
from nfkd.text import format_number, latex_text, name_problem, plain, plain_lines
from tests.core.tiny import moons

DIRECTIONS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c\u2028\u2029"
CONTROLS = "".join(map(chr, [*range(0x20), *range(0x7F, 0xA0)]))
HOSTILE = {
    "rate [/s]": "rate [/s]",
    "temp [degC]": "temp [degC]",
    "[bold]x[/bold]": "[bold]x[/bold]",
    ":smile: back\\": ":smile: back\\",
    "\x1b[31mred\x1b]0;title\x07": r"\x1b[31mred\x1b]0;title\x07",
    "x\u202egnp.exe": r"x\u202egnp.exe",
    "csi\x9b2J": r"csi\x9b2J",
}
"""Names and their visible forms."""
LONG = "n" * 10_000


def harmless(text: str) -> bool:
    """Return whether a text has no control or direction characters, by Python's Unicode tables."""
    return not any(
        unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} or unicodedata.bidirectional(character) in BIDI
        for character in text.replace("\n", "")
    )


BIDI = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


@given(st.text(st.characters() | st.sampled_from(CONTROLS + DIRECTIONS + "\udcff")))
def test_plain_text_is_harmless_and_keeps_harmless_characters(text: str) -> None:
    assert harmless(plain(text))
    assert "\n" not in plain(text)
    assert harmless(plain_lines(text).replace("\t", ""))
    kept = [character for character in text if unicodedata.category(character)[0] in "LNP"]
    shown = iter(plain(text))
    assert all(character in shown for character in kept)  # in their order


@pytest.mark.parametrize("character", CONTROLS + DIRECTIONS + "\udcff\ud800")
def test_invisible_characters_are_escaped(character: str) -> None:
    assert plain(f"a{character}b").isprintable()
    assert plain(f"a{character}b")[1] == "\\"


def test_a_long_text_is_cut_to_a_limit() -> None:
    assert plain(LONG) == LONG
    assert plain(LONG, 10) == "n" * 9 + "…"
    assert plain("n" * 10, 10) == "n" * 10


# --- names ------------------------------------------------------------------------------------------------------------

BAD_NAMES = ["", "  ", ".x", "a/b", "a\\b", "a:b", "a\0b", "a\x1bb", "a\x7fb", "a\x85b", "a\u202eb", "a\u2066b",
             "a\u200fb", "a\u2028b", "a\udcffb", "n" * 300, "\U0001f600" * 80]  # fmt: skip


@pytest.mark.parametrize("name", BAD_NAMES)
def test_runs_experiments_and_data_sets_refuse_the_same_names(name: str, tmp_path: Path) -> None:
    assert name_problem(name)
    with pytest.raises(ConfigError) as refused:
        moons().replace(name=name)
    (problem,) = refused.value.problems
    assert problem.path == "name"
    assert len(problem.message) < 200
    run = create_run(tmp_path, moons(), teacher="", student="")
    with pytest.raises(RunError, match="cannot be renamed") as kept:
        rename_run(run, name)
    assert harmless(str(kept.value))
    (named,) = dataset_name_problems(name, replace=False)
    assert harmless(named.message)
    assert len(named.message) < 300


@pytest.mark.parametrize("name", ["x", "rate [s]", "café × 2", "日本語", "a.b", "n" * 80])
def test_other_names_are_accepted(name: str, tmp_path: Path) -> None:
    config = moons().replace(name=name)
    run = create_run(tmp_path, config, teacher="", student="")
    assert run.name == name
    write_row(run, msgspec.structs.replace(read_state(run).row, state="finished"))
    assert rename_run(run, f"{name}"[:70] + " again").name.endswith("again")


# --- the command line -------------------------------------------------------------------------------------------------


def hostile_run(folder: Path, text: str) -> Path:
    """Make a run with this text in its name, data and error; slashes in the name are replaced."""
    run = create_run(folder, moons(), teacher="T", student="S")
    state = read_state(run)
    error = ErrorInfo(title="It failed", cause=f"of {text}")
    write_row(run, msgspec.structs.replace(state.row, state="failed", data=text, verdict="", cause=text), error)
    return run.rename(run.with_name(text.replace("/", "_")[:200]))


@pytest.mark.parametrize(("text", "shown"), HOSTILE.items())
def test_list_and_show_escape_foreign_text(
    text: str, shown: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = hostile_run(tmp_path / "runs", text)
    assert main(["list", str(tmp_path / "runs")]) == 0
    table = capsys.readouterr().out
    assert shown in table
    assert shown.replace("/", "_") in table
    assert main(["show", str(run)]) == 0
    summary = capsys.readouterr().out
    assert f"of {shown}" in summary
    assert harmless(table + summary)


def test_column_names_are_escaped_and_cut(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [*HOSTILE, LONG, "=SUM(A1)"]
    values = np.random.default_rng(0).normal(size=(60, len(names)))
    path = tmp_path / "rate [&s] $x$.csv"
    lines = [",".join(names), *(",".join(f"{value:.4f}" for value in row) for row in values)]
    path.write_text("\n".join(lines) + "\n", "utf-8", newline="")
    code = main(["data", "show", str(path)])
    shown = capsys.readouterr()
    assert code == 0, shown.err
    assert all(name in shown.out for name in HOSTILE.values())
    assert LONG[:50] in shown.out
    assert LONG[:200] not in shown.out
    assert path.name in shown.out
    assert harmless(shown.out)


def test_the_terminal_escapes_foreign_text(capsys: pytest.CaptureFixture[str]) -> None:
    for text in HOSTILE:
        terminal(stderr=True).print(f"reads {text}", highlight=False, soft_wrap=True)
    assert capsys.readouterr().err.splitlines() == [f"reads {shown}" for shown in HOSTILE.values()]


def test_messages_about_wrong_arguments_are_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["\x1b[31m"], ["list", "a", "\x1b[31m\u202e"], ["run", "\x1b[31m"], ["show", "\x1b[31m\udcff"]):
        code = None
        try:
            code = main(arguments)
        except SystemExit as ended:
            code = ended.code
        assert code == 2
        error = capsys.readouterr().err
        assert r"\x1b[31m" in error
        assert harmless(error)


# --- encodings and pipes ----------------------------------------------------------------------------------------------


@contextmanager
def ascii_streams() -> Iterator[tuple[io.BytesIO, io.BytesIO]]:
    """Replace standard output and standard error by streams as with ``PYTHONIOENCODING=ascii:strict``."""
    raw = io.BytesIO(), io.BytesIO()
    out, err = (io.TextIOWrapper(buffer, encoding="ascii", errors="strict", write_through=True) for buffer in raw)
    with redirect_stdout(out), redirect_stderr(err):
        yield raw
    out.detach()
    err.detach()


def test_every_command_prints_in_ascii(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NFKD_DATASETS", str(tmp_path / "datasets"))
    monkeypatch.chdir(tmp_path)
    run = hostile_run(tmp_path / "runs", "café × − σ → 日本")
    (tmp_path / "σ.csv").write_text("σ,→\n" + "".join(f"{n},{n * n}\n" for n in range(60)), "utf-8")
    commands = [
        (["list", "runs"], 0), (["show", str(run)], 0), (["presets"], 0), (["data", "list"], 0),
        (["data", "show", "σ.csv"], 0), (["data", "show", "nothing ×"], 2), (["inspect", "two_moons"], 0),
        (["run", "σ"], 2), (["run", "two_moons", "--set", "name=×/"], 2),
    ]  # fmt: skip
    with ascii_streams() as raw:
        codes = [main(arguments) for arguments, _ in commands]
        with pytest.raises(SystemExit):
            main(["--help"])
    assert codes == [code for _, code in commands]
    out, error = (buffer.getvalue().decode("ascii") for buffer in raw)
    assert "caf\\xe9 x - \\u03c3 -> \\u65e5\\u672c" in out
    assert "\\u03c3.csv: 42 train" in out
    assert "nothing x" in error


def test_a_closed_pipe_ends_quietly(tmp_path: Path) -> None:
    create_run(tmp_path, moons(), teacher="σ", student="×")
    environment = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii:strict"}
    python = [sys.executable, "-m"]
    calls = {
        "presets": ["nfkd", "presets"], "help": ["nfkd", "--help"], "list": ["nfkd", "list", str(tmp_path)],
        "engine": ["nfkd.engine", "status"], "wrong": ["nfkd", "no ×"],
    }  # fmt: skip
    started = {}
    for name, call in calls.items():
        read, write = os.pipe()
        os.close(read)
        started[name] = subprocess.Popen([*python, *call], stdout=write, stderr=subprocess.PIPE, env=environment)
        os.close(write)
    ended = {name: process.communicate(timeout=120)[1].decode("ascii") for name, process in started.items()}
    assert {name: process.returncode for name, process in started.items()} == dict.fromkeys(calls, 0) | {"wrong": 2}
    assert all("Traceback" not in error and "BrokenPipe" not in error for error in ended.values())
    assert "invalid choice: 'no " in ended["wrong"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
def test_a_full_disk_is_reported() -> None:
    command = [sys.executable, "-m", "nfkd", "presets"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode != 0
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("nfkd: ")
    assert "No space left" in line


def test_a_closed_stream_is_no_error() -> None:
    closed = io.TextIOWrapper(io.BytesIO())
    with redirect_stdout(closed), standard_streams():
        closed.close()


# --- names that are not UTF-8 -----------------------------------------------------------------------------------------


def body(frame: bytes) -> bytes:
    (found,) = FrameDecoder().feed(frame)
    return found


def test_a_run_folder_whose_name_is_not_utf8_is_reported_beside_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = create_run(tmp_path, moons(), teacher="", student="")
    odd = create_run(tmp_path, moons(), teacher="", student="")
    odd.rename(tmp_path / "\udcff\udc9b")  # its bytes are ff and 9b
    rows, (unreadable,) = list_runs(tmp_path)
    assert [row.name for row in rows] == [good.name]
    assert unreadable.startswith(f"{tmp_path}/\\xff\\x9b: its name is not valid UTF-8")
    answer = Answer(id=1, reply=RunList(folder=str(tmp_path), rows=rows, unreadable=[unreadable]))
    assert to_wire(from_engine(body(to_wire(answer)))) == to_wire(answer)
    assert main(["list", str(tmp_path)]) == 0
    assert "not valid UTF-8" in capsys.readouterr().err


def test_invalid_unicode_in_messages_is_escaped(tmp_path: Path) -> None:
    call = from_client(body(to_wire(Call(id=3, request=ListRuns(folder="/r/\udcff")))))
    assert isinstance(call, Call)
    assert isinstance(call.request, ListRuns)
    assert (call.id, call.request.folder) == (3, "/r/\\xff")
    look = DataPreview(summary="\udcff", images=np.arange(6, dtype=np.uint8).reshape(1, 1, 2, 3))
    back = from_engine(body(to_wire(Answer(id=1, reply=look))))
    assert isinstance(back, Answer)
    assert isinstance(back.reply, DataPreview)
    assert back.reply.summary == "\\xff"
    np.testing.assert_array_equal(back.reply.images, look.images)  # type: ignore[arg-type]
    written = json.loads(encode_json(ErrorInfo(title="\udcff", cause="σ")))
    assert (written["title"], written["cause"]) == ("\\xff", "σ")
    line = LogLine(run="/r/\udcff", time=0.0, level="info", text="\ud800")
    append_log(tmp_path, line)
    assert [read.text for read in read_log(tmp_path)] == ["\\ud800"]


# --- pictures and tables ----------------------------------------------------------------------------------------------


def test_dollar_signs_in_names_are_escaped_in_pictures(tmp_path: Path) -> None:
    names = [r"$\frac{$", "$x$ \x1b[31m \u202e"]
    columns = [ColumnStatistics(name=name, low=0, mean=0, deviation=1, high=1) for name in names]
    points = np.random.default_rng(0).normal(size=(20, 2)).astype(np.float32)
    path = export_preview(DataPreview(summary=r"$\bad{$ of $x$", points=points, columns=columns), tmp_path / "look.png")
    assert path.read_bytes().startswith(b"\x89PNG")


def test_texts_of_a_run_are_escaped_in_csv_and_pictures(tmp_path: Path) -> None:
    run = create_run(tmp_path, moons(), teacher="", student="")
    pair = LayerPair(student="=1+1", teacher="@x", summary=r"$\frac{$ \x1b[31m")
    stages = [
        StagePlan(stage=stage, steps=9, curves=[CurveInfo(name="validation/nll", label="NLL", unit=r"$\bad{$")],
                  pairs=[pair] if stage == "student" else [])
        for stage in ("teacher", "student", "baseline")
    ]  # fmt: skip
    writer = RunWriter(
        run, moons(), SeedStarted(run="", seed=1, stages=stages, event_shape=[2]), device="cpu", threads=1
    )
    batch = CurveBatch(steps=np.arange(1, 4), values=np.ones(3), times=np.ones(3))
    writer.handle(CurvePoints(run="", seed=1, stage="student", curves={"validation/nll": batch}))
    writer.handle(MatchingMeasured(run="", seed=1, stage="student", step=5, error=np.array([0.25])))
    writer.close()
    export_csv(open_run(run), tmp_path / "csv")
    with (tmp_path / "csv" / "seed-1-matching.csv").open(newline="") as file:
        (row,) = list(csv.reader(file))[1:]
    assert row == ["5", "'=1+1", "'@x", "1.0", "0.25"]
    written = export_figures(open_run(run), tmp_path / "figures")
    assert {path.name for path in written} >= {"curves.png", "matching.png"}


@pytest.mark.parametrize(
    ("value", "form", "text"),
    [
        (0.25, ".4f", "0.2500"),
        (-2268.2175, ".4f", "-2268.2175"),
        (1.95e31, "+.4f", "+1.9500e+31"),
        (1040086.0, ",.0f", "1,040,086"),
        (2e-7, ".1e", "2.0e-07"),
        (float("nan"), ".4f", "nan"),
    ],
)
def test_large_numbers_have_an_exponent(value: float, form: str, text: str) -> None:
    assert format_number(value, form) == text


def test_latex_has_minus_signs_and_indents() -> None:
    rows = [["  difference", "-0.5 ± 2e-07"], ["hidden-8_steps-1", "‖z‖² against χ²"]]
    lines = latex_text(["", "a"], rows, [False, False]).splitlines()
    assert lines[4] == r"\quad difference & $-$0.5 $\pm$ 2e$-$07 \\"
    assert lines[5] == r"hidden-8\_steps-1 & $\Vert$z$\Vert$$^2$ against $\chi$$^2$ \\"
