"""The machines of the user's engines, and the file that lists them."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import platformdirs

from nfkd.config.problems import ConfigError, ConfigProblem
from nfkd.config.toml import read_toml
from nfkd.files import is_taken, replace_file
from nfkd.text import plain

ENVIRONMENT = "NFKD_ENGINES"
"""Environment variable with another file of engines."""
_ENGINES_HEADER = "# The engines of NFKD on other machines, for the studio and for nfkd --engine NAME.\n"
DEFAULT_COMMAND = "python3"
DEFAULT_FOLDER = "~/nfkd-runs"
_LONGEST_NAME, _LONGEST = 80, 1024  # characters
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_SHELL_IN_USER, _SHELL_IN_HOST = re.compile(r"""['"`;&<>|(){}]"""), re.compile(r"""['"`$\\;&<>|(){}]""")
"""What OpenSSH refuses from 9.6 on: a shell executes the ProxyCommand of the user's config, which may contain both."""
_URI = re.compile(r"ssh://(?:(?P<user>[^@/]*)@)?(?P<host>\[[^\]/]+\]|[^\[\]:/@]+)(?::(?P<port>\d{1,5}))?/?")
_FIELDS = ("name", "host", "command", "folder")


@dataclass(frozen=True)
class EngineHost:
    """An engine on another machine.

    Attributes
    ----------
    name
        Its name in menus, and for ``nfkd --engine NAME``.
    host
        What ssh connects to: ``host``, ``user@host``, ``ssh://user@host:port``, or an alias of ``~/.ssh/config``.
    command
        The Python there that has NFKD, such as ``python3`` or ``~/venv/bin/python``; a path may begin with ``~/``.
    folder
        The folder of runs there; empty for `DEFAULT_FOLDER`.

    Raises
    ------
    ConfigError
        When a field is not valid; the message names the field.
    """

    name: str
    host: str
    command: str = DEFAULT_COMMAND
    folder: str = ""

    def __post_init__(self) -> None:
        problems = host_problems(self.name, self.host, self.command, self.folder)
        if problems:
            raise ConfigError(problems)

    @property
    def label(self) -> str:
        """Its name and what ssh connects to, for messages."""
        host = plain(self.host, _LONGEST_NAME)
        return host if self.name == self.host else f"{plain(self.name)} ({host})"

    @property
    def runs_folder(self) -> str:
        """The folder of runs there."""
        return self.folder or DEFAULT_FOLDER


def host_problems(name: str, host: str, command: str = DEFAULT_COMMAND, folder: str = "") -> list[ConfigProblem]:
    """Return what is wrong with the fields of an `EngineHost`; empty if nothing."""
    found = {
        "name": _name_problem(name),
        "host": _host_problem(host),
        "command": "may not be empty: give the Python that has NFKD there" if not command else _path_problem(command),
        "folder": _path_problem(folder),
    }
    return [ConfigProblem(path, message) for path, message in found.items() if message]


def _name_problem(name: str) -> str:
    if not name.strip():
        return "may not be empty"
    if name.startswith("-"):
        return 'may not begin with "-"'
    if _CONTROL.search(name):
        return "may not contain control characters"
    return f"may have at most {_LONGEST_NAME} characters" if len(name) > _LONGEST_NAME else ""


def _host_problem(host: str) -> str:
    if not host:
        return "may not be empty: give host, user@host, ssh://user@host:port, or an alias of ~/.ssh/config"
    if _CONTROL.search(host) or any(map(str.isspace, host)):
        return "may not contain spaces or control characters"
    user, _, machine = host.rpartition("@")
    if found := _SHELL_IN_USER.search(user) or _SHELL_IN_HOST.search(machine):
        return f"may not contain {found[0]}"
    if len(host) > _LONGEST:
        return f"may have at most {_LONGEST:,} characters"
    return _uri_problem(host) if host.startswith("ssh://") else _destination_problem(host)


def _destination_problem(text: str) -> str:
    user, at, machine = text.rpartition("@")
    if text.startswith("-") or machine.startswith("-"):
        return 'may not begin with "-": ssh would read it as an option'
    if "/" in text or not machine:
        return f"{plain(text, _LONGEST_NAME)} is not a host: give host, user@host or ssh://user@host:port"
    return "has an empty user before @" if at and not user else ""


def _uri_problem(uri: str) -> str:
    found = _URI.fullmatch(uri)
    if found is None:
        return f"{plain(uri, _LONGEST_NAME)} is not of the form ssh://user@host:port"
    if found["user"] == "":
        return "has an empty user before @"
    if found["host"].startswith("-") or (found["user"] or "").startswith("-"):
        return 'may not have a user or host that begins with "-": ssh would read it as an option'
    if found["port"] and not 0 < int(found["port"]) < 1 << 16:
        return "has a port outside 1 to 65535"
    return ""


def _path_problem(path: str) -> str:
    if path.startswith("-"):
        return 'may not begin with "-"'
    if _CONTROL.search(path):
        return "may not contain control characters"
    return f"may have at most {_LONGEST:,} characters" if len(path) > _LONGEST else ""


# --- the file --------------------------------------------------------------------------------------------------------


def engines_file() -> Path:
    """Return the file that lists the user's engines, for the studio and the terminal; it may not exist yet."""
    chosen = os.environ.get(ENVIRONMENT)
    return Path(chosen) if chosen else Path(platformdirs.user_config_dir("nfkd", appauthor=False)) / "engines.toml"


def read_engines(path: Path | None = None) -> list[EngineHost]:
    """Return the user's engines, in the order of the file; none if there is no file.

    Raises
    ------
    ConfigError
        When the file cannot be read or is damaged: one message, with what to do.
    """
    path = path or engines_file()
    if not is_taken(path):
        return []
    try:
        return _engines(read_toml(path))
    except ConfigError as error:
        problem = error.problems[0]
        message = f"{problem.message}. Correct the file, or remove it and add the engines again"
        raise ConfigError([ConfigProblem(problem.path, message)], str(path)) from error


def write_engines(engines: Sequence[EngineHost], path: Path | None = None) -> None:
    """Write the list of engines atomically.

    Raises
    ------
    ConfigError
        When two have the same name.
    OSError
        When the file cannot be written.
    """
    import tomli_w

    path = path or engines_file()
    _refuse_doubles(engines)
    tables = [{key: value for key, value in asdict(engine).items() if value} for engine in engines]
    text = _ENGINES_HEADER + (tomli_w.dumps({"engine": tables}) if tables else "")
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, text.encode())


def find_engine(text: str, path: Path | None = None) -> EngineHost:
    """Return the engine of that name; otherwise one whose host is the text.

    Raises
    ------
    ConfigError
        When the text is neither, or the file of engines is damaged.
    """
    named = next((engine for engine in read_engines(path) if engine.name == text), None)
    if named is not None:
        return named
    if problem := _host_problem(text):
        raise ConfigError([ConfigProblem("--engine", problem)])
    return EngineHost(text[:_LONGEST_NAME], text)


def _engines(document: dict[str, Any]) -> list[EngineHost]:
    if unknown := sorted(document.keys() - {"engine"}):
        raise ConfigError([ConfigProblem(plain(unknown[0], _LONGEST_NAME), "is not a setting of this file")])
    tables = document.get("engine", [])
    if not isinstance(tables, list):
        raise ConfigError([ConfigProblem("engine", "must be a list of tables: [[engine]]")])
    engines = [_engine(number, table) for number, table in enumerate(tables)]
    _refuse_doubles(engines)
    return engines


def _engine(number: int, table: Any) -> EngineHost:
    place = f"engine.{number}"
    if not isinstance(table, dict):
        raise ConfigError([ConfigProblem(place, "must be a table: [[engine]]")])
    for key, value in table.items():
        if key not in _FIELDS:
            raise ConfigError([ConfigProblem(f"{place}.{plain(key, _LONGEST_NAME)}", "is not a setting of an engine")])
        if not isinstance(value, str):
            raise ConfigError([ConfigProblem(f"{place}.{key}", "must be a text")])
    try:
        return EngineHost(**({"name": "", "host": ""} | table))
    except ConfigError as error:
        problem = error.problems[0]
        raise ConfigError([ConfigProblem(f"{place}.{problem.path}", problem.message)]) from error


def _refuse_doubles(engines: Sequence[EngineHost]) -> None:
    names = [engine.name for engine in engines]
    for number, name in enumerate(names):
        if name in names[:number]:
            message = f"another engine has the name {plain(name)}: give each its own"
            raise ConfigError([ConfigProblem(f"engine.{number}.name", message)])
