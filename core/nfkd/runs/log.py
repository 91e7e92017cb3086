"""The log of a run: one JSON object per line."""

from __future__ import annotations

from pathlib import Path

import msgspec

from nfkd.files import open_for_update, read_tail
from nfkd.protocol.codec import encode_json
from nfkd.protocol.events import LogLine
from nfkd.protocol.run_rows import is_time
from nfkd.runs.errors import describe_read_error

LOG = "log.jsonl"
_MAX_BYTES = 4 << 20  # read from the end of the file
_MAX_LINE = 20_000  # characters


def append_log(run: Path, line: LogLine) -> None:
    """Add a line to a run's log."""
    with open_for_update(run / LOG, append=True) as file:
        file.write(encode_json(line) + b"\n")


def read_log(run: Path) -> list[LogLine]:
    """Return the last 4 MiB of a run's log, without incomplete lines."""
    return read_log_from(run, 0)[0]


def read_log_from(run: Path, start: int) -> tuple[list[LogLine], int]:
    """Return the lines of a run's log from byte `start` on, as `read_log`, and the position after them."""
    try:
        data, end = read_tail(run / LOG, _MAX_BYTES, start)
    except FileNotFoundError:
        return [], 0
    except OSError as error:
        return [_warning(run, f"The log cannot be read: {describe_read_error(run / LOG, error)}")], start
    begin = end - len(data)
    lines = []
    for encoded in data.splitlines()[int(begin > start) :]:  # the first line may be cut
        try:
            line = msgspec.json.decode(encoded, type=LogLine)
        except (ValueError, RecursionError):
            continue
        if is_time(line.time):
            text = line.text if len(line.text) <= _MAX_LINE else f"{line.text[:_MAX_LINE]} …"
            lines.append(msgspec.structs.replace(line, text=text))
    if begin > start:
        text = f"Older lines are not shown: {run / LOG} is larger than {_MAX_BYTES >> 20} MiB."
        lines.insert(0, _warning(run, text, lines[0].time if lines else 0.0))
    return lines, begin + data.rfind(b"\n") + 1


def _warning(run: Path, text: str, time: float = 0.0) -> LogLine:
    return LogLine(run=str(run), level="warning", text=text, time=time)
