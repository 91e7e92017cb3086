"""How a run was started, for runs that another program than NFKD starts: an optional file of the run."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from nfkd.files import read_limited, replace_file
from nfkd.runs.errors import RunError, describe_read_error

LAUNCH = "launch.json"
_MAX_BYTES = 64 << 10


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """Content of the file.

    Attributes
    ----------
    how
        The program that started the run: ``ray``.
    world_size
        Processes that train the run together.
    address
        Of the cluster, without user names, passwords and queries.
    node
        Name of the machine.
    cpus, gpus
        What the run may use; 0.5 is half a GPU.
    attempt
        1 for the first start; a run is started again if its worker died.
    """

    how: str
    world_size: int = 1
    address: str = ""
    node: str = ""
    cpus: float = 0.0
    gpus: float = 0.0
    attempt: int = 1


def write_launch(run: Path, launch: Launch) -> None:
    """Write how a run was started."""
    replace_file(run / LAUNCH, msgspec.json.format(msgspec.json.encode(launch), indent=2))


def read_launch(run: Path) -> Launch | None:
    """Return how a run was started; None for a run that NFKD itself started on its machine.

    Raises
    ------
    RunError
        When the file cannot be read.
    """
    try:
        return msgspec.json.decode(read_limited(run / LAUNCH, _MAX_BYTES), type=Launch)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        title, cause = "It is not known how the run was started", describe_read_error(run / LAUNCH, error)
        raise RunError(title, cause, "The run itself can be used.") from error


def public_address(address: str) -> str:
    """Return an address without user name, password and query.

    Examples
    --------
    >>> public_address("ray://me:secret@host:10001?token=1")
    'ray://host:10001'
    """
    if "//" not in address:
        return address.rpartition("@")[2].partition("?")[0]
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
