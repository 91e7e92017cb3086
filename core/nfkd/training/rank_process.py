"""One of several processes of a run: ``python -m nfkd.training.rank_process DEVICE``, started by `torchrun.py`.

Rank 0 executes the run and sends its events to the process that launched it; the others follow.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Client, Connection
from pathlib import Path
from types import FrameType
from typing import Any

from nfkd.config import ComputeConfig
from nfkd.runs.errors import RunError
from nfkd.terminal import say
from nfkd.training.control import Control, LiveWeights
from nfkd.training.follower import follow
from nfkd.training.job import execute_run
from nfkd.training.launch import ADDRESS, KEY, Launch, record_failure, send_to
from nfkd.training.ranks import RESUME, GroupRanks, Starter, World, world_of

_GRACE = 20.0  # seconds for a checkpoint; torchrun kills a process 30 s after its signal


def main(device: str) -> int:
    """Be a rank until the run ends; return the exit code."""
    world = world_of(os.environ)
    if world is None:
        say("nfkd: this process is started by nfkd, not by hand", stderr=True)
        return 2
    compute = ComputeConfig.model_validate({"device": device})
    if world.rank:
        return be_follower(world, compute, "nfkd")
    address = json.loads(os.environ[ADDRESS])
    connection = Client(
        tuple(address) if isinstance(address, list) else address, authkey=bytes.fromhex(os.environ[KEY])
    )
    with leading(world, compute, "nfkd") as ranks:
        return _lead(ranks, connection)


@contextmanager
def leading(world: World, compute: ComputeConfig, started: Starter) -> Iterator[GroupRanks]:
    """Be rank 0; at the end the others end, too. Arguments as for `GroupRanks`."""
    ranks = GroupRanks(world, compute, started)
    try:
        yield ranks
    finally:
        ranks.close()


def follow_torchrun(world: World, compute: ComputeConfig) -> int:
    """Be a rank above 0 of ``torchrun -m nfkd``; return the exit code."""
    return be_follower(world, compute, "torchrun")


def be_follower(world: World, compute: ComputeConfig, started: Starter) -> int:
    """Be a rank above 0 until rank 0 ends the run; return the exit code. Arguments as for `GroupRanks`."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # rank 0 ends the run, with a checkpoint
    ranks = GroupRanks(world, compute, started)
    try:
        follow(ranks)
    except RunError as error:
        say(f"nfkd: rank {world.rank}: {error}", stderr=True)
        return 1
    ranks.close()
    return 0


def _lead(ranks: GroupRanks, connection: Connection) -> int:
    launch: Launch = pickle.loads(connection.recv_bytes())  # noqa: S301 - of our own process, authenticated
    control, lock = Control(), threading.Lock()

    def send(message: Any) -> None:
        with lock:
            send_to(connection, message)

    def reply(number: int, weights: LiveWeights | None) -> None:
        send(("weights", number, weights))

    def listen() -> None:
        with suppress(EOFError, OSError):
            while True:
                control.receive(pickle.loads(connection.recv_bytes()), reply)  # noqa: S301 - as above
        control.stop("run")  # the process that launched this one has ended

    threading.Thread(target=listen, name="requests", daemon=True).start()
    stop_at_signals(ranks, control, launch.run)
    state = execute_run(
        launch.run,
        launch.config,
        send,
        control,
        resume=launch.resume,
        units=launch.units,
        donors=launch.donors,
        start=launch.start,
        ranks=ranks,
    )
    send(("end", state))
    return int(state == "failed")


def stop_at_signals(ranks: GroupRanks, control: Control, run: Path) -> None:
    """Let the signals of torchrun stop a run, with a checkpoint where all processes still work.

    Torchrun sends them when it is stopped itself, and when a process has ended. An exchange with that process may never
    end on GPUs; rank 0 then records which it was, and ends.
    """

    def give_up() -> None:
        default = RunError("The run was ended from outside", "A signal ended its processes.", RESUME)
        record_failure(run, ranks.find_lost() or default)
        os._exit(1)

    def stop(number: int, frame: FrameType | None) -> None:
        del number, frame
        if not control.stopping:
            control.stop("run")
            timer = threading.Timer(_GRACE, give_up)
            timer.daemon = True
            timer.start()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
