"""Hosts of engines: what is refused, the ssh command, the file of engines."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nfkd.config import ConfigError
from nfkd.remote.hosts import EngineHost, engines_file, find_engine, host_problems, read_engines, write_engines
from nfkd.remote.ssh import reconnect_pauses, remote_command, ssh_command

TEXTS = st.text(max_size=40)
PATHS = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=40).filter(
    lambda text: not text.startswith(("-", "~/"))
)
NAMES = PATHS.filter(lambda text: text.strip() and len(text) < 40)
HOSTS = ["gpu", "me@gpu.example.org", "ssh://me@gpu:2222", "ssh://gpu", "ssh://[::1]:22", "10.0.0.7", "a_b-c", "::1",
         "DOMAIN\\me@gpu", "fe80::1%eth0"]  # fmt: skip


@pytest.mark.parametrize("host", HOSTS)
def test_usual_hosts_are_accepted(host: str) -> None:
    assert ssh_command(EngineHost("box", host))[-3:-1] == ["--", host]


@pytest.mark.parametrize(
    "host",
    ["", "-oProxyCommand=x", "me@-x", "a b", "a\tb", "a\nb", "a\x00", "@gpu", "me@", "gpu/x", "ssh://", "ssh://-x",
     "ssh://me@gpu:0", "ssh://me@gpu:70000", "ssh://gpu:x", "ssh://-me@gpu", "ssh://@gpu", "x" * 1025,
     "a;touch${IFS}x", "$(id)", "`id`", "me@gpu|x", "a&b@gpu", "ssh://$(id)@gpu;x", "me@a\\b", "me@'gpu'"],
)  # fmt: skip
def test_other_hosts_are_refused_by_name_of_the_field(host: str) -> None:
    (problem,) = host_problems("box", host)
    assert problem.path == "host"
    with pytest.raises(ConfigError, match="host: "):
        EngineHost("box", host)


@given(TEXTS)
def test_what_is_accepted_is_one_argument_that_is_no_option(host: str) -> None:
    if host_problems("box", host):
        return
    command = ssh_command(EngineHost("box", host))
    assert command[command.index("--") + 1] == host
    assert not host.startswith("-")
    assert not any(character.isspace() or ord(character) < 32 for character in host)


def test_each_field_is_named() -> None:
    found = host_problems(" ", "-x", "", "a\nb")
    assert [problem.path for problem in found] == ["name", "host", "command", "folder"]


@given(PATHS)
def test_a_command_is_one_word_for_the_shell(command: str) -> None:
    if host_problems("box", "gpu", command):
        return
    text = remote_command(EngineHost("box", "gpu", command))
    assert shlex.split(text) == [command, "-m", "nfkd.engine", "connect"]


@pytest.mark.parametrize(
    "command", ["python3", "a b", "$(touch x)", "`id`", "a;b", "'", '"', "a'b\"c", "*", "a\\b", "!x"]
)
def test_a_shell_reads_the_command_as_it_was_given(command: str) -> None:
    text = remote_command(EngineHost("box", "gpu", command)).removesuffix(" -m nfkd.engine connect")
    done = subprocess.run(["sh", "-c", f"printf %s {text}"], capture_output=True, text=True, check=True)
    assert done.stdout == command


def test_the_home_directory_is_that_of_the_other_machine(tmp_path: Path) -> None:
    text = remote_command(EngineHost("box", "gpu", "~/my venv/bin/python")).removesuffix(" -m nfkd.engine connect")
    done = subprocess.run(
        ["sh", "-c", f"printf %s {text}"], capture_output=True, text=True, check=True, env={"HOME": str(tmp_path)}
    )
    assert done.stdout == f"{tmp_path}/my venv/bin/python"


def test_ssh_never_asks_and_its_program_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    command = ssh_command(EngineHost("box", "gpu"))
    assert command[0] == "ssh"
    assert {"-T", "BatchMode=yes"} <= set(command)
    assert any(part.startswith("ConnectTimeout=") for part in command)
    monkeypatch.setenv("NFKD_SSH", "myssh -F 'a b'")
    assert ssh_command(EngineHost("box", "gpu"))[:3] == ["myssh", "-F", "a b"]
    assert ssh_command(EngineHost("box", "gpu"), ["other"])[0] == "other"


def test_pauses_grow_to_a_minute() -> None:
    pauses = reconnect_pauses()
    assert [next(pauses) for _ in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]


# --- the file --------------------------------------------------------------------------------------------------------


@given(st.lists(st.builds(EngineHost, NAMES, st.sampled_from(HOSTS), PATHS, st.one_of(st.just(""), PATHS)),
                max_size=4, unique_by=lambda engine: engine.name))  # fmt: skip
def test_engines_are_read_as_written(engines: list[EngineHost]) -> None:
    path = engines_file()
    write_engines(engines)
    assert read_engines() == engines
    assert all(find_engine(engine.name) == engine for engine in engines)
    path.unlink()


def test_no_file_means_no_engines_and_any_host_can_be_named(tmp_path: Path) -> None:
    assert read_engines(tmp_path / "none.toml") == []
    assert find_engine("me@gpu", tmp_path / "none.toml") == EngineHost("me@gpu", "me@gpu")
    with pytest.raises(ConfigError, match="--engine: "):
        find_engine("-x", tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("engine = 3", "engine: must be a list"),
        ("[[engine]]\nname = 'a'\nhost = '-x'", "engine.0.host: "),
        ("[[engine]]\nname = 'a'\nhost = 3", "engine.0.host: must be a text"),
        ("[[engine]]\nname = 'a'\nhost = 'b'\nport = '2'", "engine.0.port: "),
        ("[[engine]]\nname = 'a'\nhost = 'b'\n[[engine]]\nname = 'a'\nhost = 'c'", "engine.1.name: "),
        ("engines = []", "engines: "),
        ("[[engine", "not a TOML file"),
        ("\x00\x01", "not a TOML file"),
    ],
)
def test_a_damaged_file_gives_one_message(tmp_path: Path, text: str, part: str) -> None:
    path = tmp_path / "engines.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_engines(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert part in message
    assert "Correct the file" in message
    assert "\n" not in message


def test_two_engines_of_one_name_are_not_written(tmp_path: Path) -> None:
    path = tmp_path / "engines.toml"
    write_engines([EngineHost("a", "x")], path)
    with pytest.raises(ConfigError, match="another engine has the name a"):
        write_engines([EngineHost("a", "y"), EngineHost("a", "z")], path)
    assert read_engines(path) == [EngineHost("a", "x")]
