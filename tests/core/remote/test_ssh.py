"""Engines behind a real OpenSSH server on loopback: runs, cuts, copies, and everything that can go wrong."""

from __future__ import annotations

import io
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import nfkd
from nfkd.cli import main
from nfkd.protocol import requests as ask
from nfkd.protocol.codec import to_wire
from nfkd.remote.client import EngineConnection
from nfkd.remote.copying import copying
from nfkd.remote.errors import RemoteError, RequestRefusedError
from nfkd.remote.hosts import EngineHost, write_engines
from nfkd.remote_run import Engine
from nfkd.runs.reader import open_run
from tests.core.tiny import moons
from tests.engine_process import running_engine
from tests.ssh_server import ALIAS, AVAILABLE, SshServer, make_key, session_environment, ssh_server

pytestmark = pytest.mark.skipif(not AVAILABLE, reason="openssh-server and openssh-client are not installed")
NAME, DONE = "gpu box", "done"
STEPS = 250
SHORT = {"teacher_steps": 4, "student_steps": 4}
QUIET = {"evaluate_every": 400, "pictures_every": 400}


class Lab:
    """The other machine: a server, its engine, which a connection keeps running, and its folder of runs."""

    def __init__(self, server: SshServer, folder: Path) -> None:
        self.server, self.folder = server, folder
        self.runs = folder / "runs there"
        self.host = EngineHost(NAME, ALIAS, sys.executable, str(self.runs))
        write_engines([self.host])

    def with_command(self, name: str, script: str) -> EngineHost:
        """Return the host with a program in place of its Python."""
        path = self.folder / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return EngineHost(NAME, ALIAS, str(path), str(self.runs))


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("lab")
    environment = session_environment(folder / "engine", folder)
    with ssh_server(folder / "ssh") as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("NFKD_SSH", server.program)
        server.start(environment=environment)
        patch.setenv("NFKD_ENGINE_DIR", environment["NFKD_ENGINE_DIR"])
        found = Lab(server, folder)
        with running_engine():  # it loads torch while the run is trained here
            nfkd.run(moons(name=DONE, training=SHORT), found.runs / DONE)
            yield found


def failure(host: EngineHost, patience: float = 30.0) -> RemoteError:
    with pytest.raises(RemoteError) as caught:
        EngineConnection(host, patience=patience).close()
    return caught.value


def write_experiment(path: Path, **changes: object) -> Path:
    path.write_text(moons(**changes).to_toml())
    return path


# --- a run ------------------------------------------------------------------------------------------------------------


class CuttingStream(io.StringIO):
    """Cuts all connections when the terminal shows that the run has started."""

    def __init__(self, server: SshServer) -> None:
        super().__init__()
        self._server, self.cuts = server, list[int]()

    def write(self, text: str) -> int:
        if "Started on" in text and not self.cuts:
            self.cuts.append(self._server.cut())
        return super().write(text)


def test_a_run_is_followed_over_a_cut_and_is_whole(
    lab: Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = write_experiment(
        tmp_path / "cut.toml", name="cut run", training=SHORT | {"teacher_steps": STEPS}, monitor=QUIET
    )
    stream = CuttingStream(lab.server)
    monkeypatch.setattr(sys, "stderr", stream)
    assert main(["--engine", NAME, "run", str(experiment)]) == 0
    text, output = stream.getvalue(), capsys.readouterr().out
    assert stream.cuts == [1]
    assert text.count("The connection to gpu box (lab-machine) was lost") == 1
    assert text.count("Connected to gpu box again.") == 1
    assert text.count("Started on") == 1  # the log is not repeated
    assert f"{STEPS}/{STEPS}" in text
    assert "cut run" in output
    assert "finished" in output
    with h5py.File(lab.runs / "cut run" / "run.h5") as file:
        for stage, last in (("teacher", STEPS), ("student", 4)):
            dataset: Any = file[f"{stage}/curves/train/total/step"]
            assert dataset[-1] == last
            assert len(set(np.diff(dataset[()]))) == 1


def test_ctrl_c_stops_the_run_there_and_it_is_resumed(
    lab: Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    training = {"teacher_steps": 200, "student_steps": 4, "checkpoint_every": 10}
    experiment = write_experiment(tmp_path / "stop.toml", name="stopped", training=training, monitor=QUIET)
    command = [sys.executable, "-m", "nfkd", "--engine", NAME, "run", str(experiment)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if line.startswith("Started on"):
                process.send_signal(2)
    assert process.returncode == 130
    assert open_run(lab.runs / "stopped").row.state == "stopped"
    again = shlex.split("".join(lines).rpartition("To continue: nfkd ")[2])
    assert main([*again, "--set", "student.hidden=9"]) == 2
    assert "student.hidden: the run has another experiment" in capsys.readouterr().err
    assert main(again) == 0
    resumed = open_run(lab.runs / "stopped").snapshot()
    assert resumed.row.state == "finished"
    assert any(line.text.startswith("Resumed") for line in resumed.log)


def test_tables_are_those_at_home(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    run = lab.runs / DONE
    assert main(["evaluate", str(run), "--metrics", "cost"]) == 0
    columns = ["--columns", "name,state,student.hidden,student_test,folder", "--sort", "name"]
    for here, there in (
        (["list", str(lab.runs), *columns], ["list", *columns]),
        (["list", str(lab.runs), "--format", "json"], ["list", "--format", "json"]),
        (["show", str(run)], ["show", DONE]),
        (["show", str(run)], ["show", str(run)]),
    ):
        capsys.readouterr()
        assert main(here) == 0
        expected = capsys.readouterr().out
        assert main(["--engine", NAME, *there]) == 0
        assert capsys.readouterr().out == expected
        assert DONE in expected


def test_a_run_is_exported_and_copied(
    lab: Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["--engine", NAME, "export", DONE, "--csv"]) == 0
    assert main(["export", str(lab.runs / DONE), "--csv", "--out", str(tmp_path / "expected")]) == 0
    expected = {path.name: path.read_bytes() for path in (tmp_path / "expected").iterdir()}
    assert {path.name: path.read_bytes() for path in (tmp_path / DONE / "csv").iterdir()} == expected
    assert expected
    assert main(["--engine", NAME, "copy", DONE]) == 0
    copy = tmp_path / "runs" / DONE
    assert (copy / "run.h5").read_bytes() == (lab.runs / DONE / "run.h5").read_bytes()
    assert main(["show", str(copy)]) == 0
    assert main(["--engine", NAME, "copy", DONE]) == 1
    assert "exists already" in capsys.readouterr().err


def test_a_copy_survives_a_cut(lab: Lab, tmp_path: Path) -> None:
    data = np.random.default_rng(1).bytes(3 << 20)
    (lab.runs / DONE / "large.bin").write_bytes(data)
    cuts: list[int] = []

    def on_progress(done: int, total: int) -> None:
        if done > total / 3 and not cuts:
            cuts.append(lab.server.cut())

    with (
        closing(Engine(lab.host, lambda text: None)) as engine,
        copying(str(lab.runs / DONE), tmp_path / "copy", on_progress) as copy,
    ):
        engine.persist(lambda connection: connection.request(ask.ListRuns(folder=str(lab.runs))))
        engine.persist(lambda connection: connection.perform(copy.steps()))
    (lab.runs / DONE / "large.bin").unlink()
    assert cuts == [1]
    assert (tmp_path / "copy" / "large.bin").read_bytes() == data
    assert not list(tmp_path.glob(".nfkd-*"))


def test_what_needs_this_machine_is_refused(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    for options, part in (
        (["--engine", NAME, "run", "two_moons", "--out", "x", "--fetch"], "--fetch: cannot be used"),
        (["--engine", NAME, "run", "two_moons", "--resume"], "--resume: needs --out"),
        (["--engine", NAME, "run", "two_moons", "--resume", "--out", "none"], "there is no run none in"),
        (["--engine", NAME, "compare", "a", "b"], "nfkd compare has no --engine"),
        (["--engine", NAME, "export", "moved"], "nothing to export"),
        (["--engine", NAME, "show", "none"], "there is no run none in"),
        (
            ["--engine", NAME, "run", "two_moons", "--set", "data.kind=table", "--set", "data.path=/none.csv"],
            "none.csv",
        ),
        (["--folder", "x", "list"], "--folder: needs --engine"),
        (["copy", "x"], "nfkd --engine HOST copy x"),
        (["--engine=-oProxyCommand=x", "list"], "--engine: may not begin"),
    ):
        assert main(options) == 2
        assert part in capsys.readouterr().err


# --- connections ------------------------------------------------------------------------------------------------------


def test_a_cut_is_reported_and_the_engine_lives_on(lab: Lab) -> None:
    with EngineConnection(lab.host) as connection:
        before = connection.request(ask.Status())
        assert lab.server.cut() == 1
        with pytest.raises(RemoteError, match="was lost") as caught:
            connection.request(ask.Status())
        assert caught.value.transient
    with EngineConnection(lab.host) as connection:
        after = connection.request(ask.Status())
        assert isinstance(before, ask.EngineStatus)
        assert isinstance(after, ask.EngineStatus)
        assert before.pid == after.pid
        with pytest.raises(RequestRefusedError):
            connection.request(ask.ReadFigures(run="/none"))


def test_a_banner_is_skipped(lab: Lab) -> None:
    text = "Welcome to NFS, NF\\n" * 50
    host = lab.with_command("banner", f'printf "{text}"\nexec {shlex.quote(sys.executable)} "$@"')
    with EngineConnection(host) as connection:
        assert isinstance(connection.request(ask.Status()), ask.EngineStatus)


@pytest.mark.parametrize(
    ("script", "title", "part"),
    [
        ("echo Choose a menu item; exit 0", "The shell of gpu box (lab-machine) prints text in between", "menu item"),
        ("yes", "The shell of gpu box (lab-machine) prints text in between", "y"),
        (f'exec {shlex.quote(sys.executable)} -I -S "$@"', "gpu box (lab-machine) has no NFKD", "not installed"),
        ("echo \"SyntaxError: invalid syntax\" >&2; exit 1", "The Python on gpu box (lab-machine) is too old", "3.11"),
        ("exit 0", "The engine on gpu box (lab-machine) did not start", "no message"),
    ],
)  # fmt: skip
def test_each_wrong_machine_has_its_message(lab: Lab, script: str, title: str, part: str) -> None:
    error = failure(lab.with_command("stand-in", script)).error
    assert error.title == title
    assert part in error.cause


def test_another_version_is_named(lab: Lab) -> None:
    (lab.folder / "hello").write_bytes(to_wire(ask.Hello(protocol=99, version="9.9")))
    error = failure(lab.with_command("newer", f"cat {shlex.quote(str(lab.folder / 'hello'))}; cat >/dev/null")).error
    assert error.title == "gpu box (lab-machine) has another version of NFKD"
    assert "NFKD 9.9 with protocol 99" in error.cause


def test_a_silent_machine_is_given_up(lab: Lab) -> None:
    start = time.monotonic()
    error = failure(lab.with_command("silent", "exec cat >/dev/null"), patience=0.5).error
    assert error.title == "The engine on gpu box (lab-machine) does not answer"
    assert time.monotonic() - start < 20


def test_a_missing_program_there_and_here(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    error = failure(EngineHost(NAME, ALIAS, "/none/python"))
    assert error.error.title == "gpu box (lab-machine) has no /none/python"
    monkeypatch.setenv("NFKD_SSH", "/none/ssh")
    assert failure(lab.host).error.title == "ssh is not installed on this machine"


def test_host_keys_are_not_accepted_by_themselves(lab: Lab, tmp_path: Path) -> None:
    make_key(tmp_path / "other")
    try:
        lab.server.trust("")
        unknown = failure(lab.host)
        lab.server.trust((tmp_path / "other.pub").read_text())
        changed = failure(lab.host)
    finally:
        lab.server.trust()
    assert unknown.error.title == "The host key of gpu box (lab-machine) is unknown"
    assert changed.error.title == "The host key of gpu box (lab-machine) has changed"
    assert not unknown.transient
    assert not changed.transient


def test_a_password_is_refused_and_never_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ssh_server(tmp_path) as server:
        server.start(environment={}, password=True)
        monkeypatch.setenv("NFKD_SSH", server.program)
        start = time.monotonic()
        error = failure(EngineHost(NAME, ALIAS)).error
        assert error.title == "gpu box (lab-machine) asks for a password"
        assert time.monotonic() - start < 15


def test_a_refused_key_and_a_server_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ssh_server(tmp_path) as server:
        (tmp_path / "authorized_keys").write_text("")
        server.start(environment={})
        monkeypatch.setenv("NFKD_SSH", server.program)
        host = EngineHost(NAME, ALIAS)
        assert failure(host).error.title == "gpu box (lab-machine) refused the login"
        server.stop()
        assert failure(host).error.title == "gpu box (lab-machine) accepts no ssh connections"


def test_closing_while_connecting_ends_ssh(lab: Lab) -> None:
    host = lab.with_command("slow", "exec cat >/dev/null")
    threads = threading.active_count()
    for _ in range(2):
        failure(host, patience=0.1)
    assert threading.active_count() == threads
