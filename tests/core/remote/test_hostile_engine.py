"""An engine that lies: whatever it sends, nothing is written outside the copy, and the message is one clear line."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil
import pytest

from nfkd.cli import main
from nfkd.protocol import events
from nfkd.protocol import requests as ask
from nfkd.protocol.codec import PROTOCOL, to_wire
from nfkd.protocol.copying import FilePart, RunFile, RunFiles
from nfkd.protocol.frames import encode_frame
from nfkd.protocol.records import ErrorInfo
from nfkd.protocol.run_rows import RunRow
from nfkd.remote.client import EngineConnection
from nfkd.remote.errors import RemoteError
from nfkd.remote.hosts import EngineHost

SCRIPT = """\
import os, sys
from pathlib import Path
folder = Path(sys.argv[1])
for path in sorted(folder.iterdir()):
    os.write(1, path.read_bytes())
if len(sys.argv) > 2 and (folder.parent / "endless").exists():
    data = (folder.parent / "endless").read_bytes()
    try:
        while True:
            os.write(1, data)
    except OSError:
        sys.exit()
while os.read(0, 1 << 16):
    pass
"""
ROW = RunRow(run="/there/run", name="run", state="finished", data="d", teacher="t", student="s", created=1.0, seeds=1,
             seeds_done=1, progress=1.0)  # fmt: skip
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"  # SHA-256 of nothing
NASTY = "a\x1b[2J\x1b]0;title\x07\u202eb"


class Liar:
    """An engine that sends these replies, whatever it is asked; it stands in for ssh."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.count = folder / "replies", 0
        self.folder.mkdir()
        (folder / "liar.py").write_text(SCRIPT)
        self.program = f"{shlex.quote(sys.executable)} -I -S {shlex.quote(str(folder / 'liar.py'))} {self.folder}"
        self.send(to_wire(ask.Hello(protocol=PROTOCOL, version="1")))

    def send(self, data: bytes) -> None:
        (self.folder / f"{self.count:04}").write_bytes(data)
        self.count += 1

    def reply(self, *replies: ask.Reply) -> None:
        for number, reply in enumerate(replies, 1):
            self.send(to_wire(ask.Answer(id=number, reply=reply)))


@pytest.fixture
def liar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Liar]:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.chdir(home)
    found = Liar(tmp_path)
    monkeypatch.setenv("NFKD_SSH", found.program)
    before = {path for path in tmp_path.rglob("*") if "replies" not in path.parts}
    yield found
    after = {path for path in tmp_path.rglob("*") if "replies" not in path.parts} - before - {tmp_path / "endless"}
    assert {path.relative_to(tmp_path).as_posix() for path in after} <= {"home/runs"}


def fail(capsys: pytest.CaptureFixture[str], *command: str) -> str:
    """Perform a command that must fail; return its message, which has no control characters."""
    assert main(["--engine", "gpu", *command]) in {1, 2}
    text = capsys.readouterr().err
    assert "Traceback" not in text
    assert not any(ord(character) < 32 and character != "\n" for character in text.replace("\r\n", "\n"))
    return text


def listing(row: RunRow = ROW) -> ask.RunList:
    return ask.RunList(folder="/there", rows=[row], unreadable=[])


def files(*listed: RunFile) -> RunFiles:
    return RunFiles(run=ROW.run, ticket="t", files=list(listed))


@pytest.mark.parametrize(
    "path",
    ["../x", "/x", "a/../../x", "a//x", "./x", "", ".", "..", "a\\..\\x", "C:x", "a/", "x\x1b[31m", "a" * 300,
     "/".join("a" * 20), "x\u202e"],
)  # fmt: skip
def test_names_that_lead_elsewhere_are_refused(liar: Liar, capsys: pytest.CaptureFixture[str], path: str) -> None:
    liar.reply(listing(), listing(), files(RunFile(path=path, size=1, sha256=EMPTY)))
    assert "The engine listed a file with the name" in fail(capsys, "copy", "run", "--out", "copy")


@pytest.mark.parametrize("name", ["../../x", "/x", "..", "", "a\\b", NASTY])
@pytest.mark.parametrize("command", [["copy"], ["export", "--csv"]])
def test_names_of_runs_are_no_paths(
    liar: Liar, capsys: pytest.CaptureFixture[str], name: str, command: list[str]
) -> None:
    liar.reply(listing(msgspec.structs.replace(ROW, name=name)))
    assert "its name there" in fail(capsys, *command, "run")


@pytest.mark.parametrize(
    ("listed", "parts", "message"),
    [
        ([RunFile(path="x", size=1 << 62, sha256=EMPTY)], [], "bytes free"),
        ([RunFile(path="x", size=-1, sha256=EMPTY)], [], "no size or hash"),
        ([RunFile(path="x", size=1, sha256="short")], [], "no size or hash"),
        ([RunFile(path="x", size=0, sha256=EMPTY), RunFile(path="X", size=0, sha256=EMPTY)], [], "one twice"),
        ([RunFile(path="x", size=0, sha256=EMPTY), RunFile(path="x/y", size=0, sha256=EMPTY)], [], "one twice"),
        ([RunFile(path="x/y", size=0, sha256=EMPTY), RunFile(path="x", size=0, sha256=EMPTY)], [], "one twice"),
        ([RunFile(path="x", size=3, sha256=EMPTY)], [FilePart(start=0, data=b"abc")], "changed while it was copied"),
        (
            [RunFile(path="x", size=3, sha256=EMPTY)],
            [FilePart(start=0, data=b"abcd" * 99)],
            "changed while it was copied",
        ),
        ([RunFile(path="x", size=3, sha256=EMPTY)], [FilePart(start=1, data=b"a")], "changed while it was copied"),
        ([RunFile(path="x", size=3, sha256=EMPTY)], [FilePart(start=0, data=b"")], "changed while it was copied"),
        ([RunFile(path="x", size=3, sha256=EMPTY)], [ask.Done()], "replied with Done"),
    ],
)
def test_sizes_hashes_and_parts_that_are_wrong(
    liar: Liar, capsys: pytest.CaptureFixture[str], listed: list[RunFile], parts: list[ask.Reply], message: str
) -> None:
    liar.reply(listing(), listing(), files(*listed), *parts)
    assert message in fail(capsys, "copy", "run", "--out", "copy")


def test_messages_with_terminal_codes_are_made_visible(liar: Liar, capsys: pytest.CaptureFixture[str]) -> None:
    error = ErrorInfo(title=NASTY, cause=NASTY, action=NASTY)
    liar.send(to_wire(ask.Refusal(id=1, error=error)))
    assert r"a\x1b[2J\x1b]0;title\x07\u202eb" in fail(capsys, "list")


def test_tables_with_terminal_codes_are_made_visible(liar: Liar, capsys: pytest.CaptureFixture[str]) -> None:
    row = msgspec.structs.replace(ROW, name=NASTY, data=NASTY, student=NASTY, device=NASTY, verdict=NASTY)
    liar.reply(ask.RunList(folder=NASTY, rows=[row], unreadable=[]))
    main(["--engine", "gpu", "list"])
    text = capsys.readouterr().out
    assert "\x1b" not in text
    assert "\u202e" not in text


def without_checks(row: RunRow, **values: object) -> bytes:
    """Encode a reply with values that a row of ours could not have."""
    reply = msgspec.msgpack.decode(to_wire(ask.Answer(id=1, reply=listing(row)))[6:])
    reply["reply"]["rows"][0] |= values
    return encode_frame(msgspec.msgpack.encode(reply))


@pytest.mark.parametrize("created", [1e300, -1.0, float("nan"), float("inf")])
def test_times_that_do_not_exist_are_refused(liar: Liar, capsys: pytest.CaptureFixture[str], created: float) -> None:
    liar.send(without_checks(ROW, created=created))
    assert "sent something wrong" in fail(capsys, "list")


@pytest.mark.parametrize("value", [1e300, -1e300, float("nan"), float("inf")])
def test_impossible_figures_are_listed(liar: Liar, capsys: pytest.CaptureFixture[str], value: float) -> None:
    liar.reply(listing(msgspec.structs.replace(ROW, progress=value, student_test=value, seconds=value)))
    assert main(["--engine", "gpu", "list"]) == 0
    assert "run" in capsys.readouterr().out


@pytest.mark.parametrize("command", [["list"], ["show", "run"], ["copy", "run"], ["run", "two_moons"]])
def test_replies_of_another_kind(liar: Liar, capsys: pytest.CaptureFixture[str], command: list[str]) -> None:
    liar.reply(ask.Done())
    assert "replied with Done" in fail(capsys, *command)


def test_bytes_that_are_no_message(liar: Liar) -> None:
    liar.send(b"NF\0\0\0\x05hello")
    with (
        EngineConnection(EngineHost("gpu", "gpu")) as connection,
        pytest.raises(RemoteError, match="sent something wrong") as caught,
    ):
        connection.request(ask.Status())
    assert not caught.value.transient  # it would fail again


def test_endless_events_take_little_memory_and_end_with_the_connection(liar: Liar) -> None:
    frame, count = to_wire(ask.Notice(event=events.Gap())), 20_000
    (liar.folder.parent / "endless").write_bytes(frame * 1000)
    with EngineConnection(EngineHost("gpu", "gpu")) as connection:
        (stand_in,) = [child for child in psutil.Process().children() if "liar.py" in " ".join(child.cmdline())]
        for _ in range(count):
            assert isinstance(connection.next_event(10.0), events.Gap)
        assert connection.received.total < count * len(frame) + (1 << 20)
    assert not stand_in.is_running()
