"""Several processes that train together, through torch.distributed: nccl between GPUs, gloo between CPUs.

Rank 0 leads. It sends a command before each step and stage, and only it decides, writes and draws. Commands and objects
go through a gloo group without a time limit, since rank 0 may pause for hours; gradients go through the group of the
device. A process that dies closes its connections, so that the next exchange fails in all others.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import Any, Literal

import msgspec
import psutil
import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

from nfkd.config import ComputeConfig, ConfigError, ConfigProblem, ExperimentConfig
from nfkd.distillation.ranks import Ranks
from nfkd.flows.flow import Flow
from nfkd.planning.devices import device_problems, resolve_device
from nfkd.protocol.run_rows import StartRecord
from nfkd.runs.errors import RunError
from nfkd.training.diagnosis import DivergedError

Command = Literal["begin run", "begin stage", "step", "compare", "end stage", "close"]
COMMANDS: tuple[Command, ...] = ("begin run", "begin stage", "step", "compare", "end stage", "close")

Starter = Literal["nfkd", "torchrun"]

_EXCHANGE_LIMIT = timedelta(minutes=30)
_NO_LIMIT = timedelta(days=3650)
_BUCKET = 1 << 23  # numbers that are added up in one exchange: 32 MiB
_NOTICE = 3.0  # seconds until a process that has died is seen
_NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class World:
    """What torchrun tells each of the processes that it starts."""

    rank: int
    size: int
    local_rank: int


def world_of(environment: Mapping[str, str]) -> World | None:
    """Return what torchrun has set in an environment; None if it did not start this process.

    Raises
    ------
    ConfigError
        When only some of its variables are set, or not to numbers that fit each other.
    """
    if not {"RANK", "WORLD_SIZE"} & environment.keys():
        return None
    missing = [name for name in _NAMES if not environment.get(name)]
    if missing:
        message = f"{', '.join(missing)} is not set, but RANK or WORLD_SIZE is: start nfkd with torchrun, or unset them"
        raise ConfigError([ConfigProblem("torchrun", message)])
    texts = [environment[name] for name in _NAMES[:3]]
    if all(text.isdecimal() for text in texts):
        world = World(*map(int, texts))
        if world.local_rank <= world.rank < world.size:
            return world
    message = f"RANK={texts[0]}, WORLD_SIZE={texts[1]} and LOCAL_RANK={texts[2]} do not fit: start nfkd with torchrun"
    raise ConfigError([ConfigProblem("torchrun", message)])


def with_world(config: ExperimentConfig, world: World) -> ExperimentConfig:
    """Return an experiment with the number of processes that torchrun has started.

    Raises
    ------
    ConfigError
        When the experiment names another number.
    """
    if config.compute.devices not in (1, world.size):
        message = f"torchrun has started {world.size}, not {config.compute.devices}: start as many, or set it to 1"
        raise ConfigError([ConfigProblem("compute.devices", message)])
    return config.replace(compute={"devices": world.size})


@dataclass(frozen=True)
class _Process:
    """Where a rank runs."""

    host: str
    pid: int

    @property
    def ended(self) -> bool:
        """Whether it has ended; False for a process of another machine."""
        if self.host != socket.gethostname():
            return False
        with suppress(psutil.AccessDenied):
            try:
                return psutil.Process(self.pid).status() == psutil.STATUS_ZOMBIE
            except psutil.NoSuchProcess:
                return True
        return False


class GroupRanks(Ranks):
    """One of several processes that train together.

    Parameters
    ----------
    world
        Which of them this is.
    compute
        Selects the kind of device.
    started
        What started the processes.

    Raises
    ------
    ConfigError
        When this machine has too few devices.
    RunError
        When the other processes cannot be reached.
    """

    def __init__(self, world: World, compute: ComputeConfig, started: Starter) -> None:
        self.rank, self.size, self._local_rank = world.rank, world.size, world.local_rank
        if problems := device_problems(compute):
            raise ConfigError(problems)
        self._device = self.device(resolve_device(compute))
        self._started: Starter = started
        self._backend = "nccl" if self._device.type == "cuda" else "gloo"
        self._clear = True  # whether the others wait for a command
        if self._device.type == "cuda":
            torch.cuda.set_device(self._device)
        self._processes: list[_Process] = []
        try:
            self._store, _, _ = next(rendezvous("env://", timeout=_EXCHANGE_LIMIT))
            dist.init_process_group(
                self._backend, store=self._store, rank=self.rank, world_size=self.size, timeout=_EXCHANGE_LIMIT
            )
            self._control: Any = dist.new_group(backend="gloo", timeout=_NO_LIMIT)
        except RuntimeError as error:
            title, cause = f"Rank {self.rank} does not reach the others", f"{_first_line(error)}."
            raise RunError(
                title, cause, "Start as many processes as WORLD_SIZE says, on machines that connect."
            ) from error
        self._processes = self._all(_Process(socket.gethostname(), os.getpid()))

    def record_start(self, start: StartRecord | None) -> StartRecord:
        """Return how the run was started; `start` says what started this machine's processes, if not NFKD."""
        return msgspec.structs.replace(
            start or StartRecord(how=self._started),
            world_size=self.size,
            backend=self._backend,
            machines=list(dict.fromkeys(process.host for process in self._processes)),
        )

    # --- sums of the step -----------------------------------------------------------------------------------------

    def device(self, device: torch.device) -> torch.device:
        """Return the GPU with the number of this process on its machine, or another device as it is."""
        return torch.device("cuda", self._local_rank) if device.type == "cuda" else device

    def sum(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Return the sums of tensors over all processes; equal, bit for bit, in each of them."""
        sums: list[Tensor] = []
        for bucket in _buckets(tensors):
            flat = torch.cat([tensor.detach().reshape(-1).to(self._device) for tensor in bucket])
            with self._watched():
                dist.all_reduce(flat)
            parts = flat.split([tensor.numel() for tensor in bucket])
            sums += [part.view(each.shape).to(each.device) for part, each in zip(parts, bucket, strict=True)]
        return sums

    def share_state(self, flow: Flow) -> None:
        """Give the flow of every process the weights of rank 0."""
        with self._watched(), torch.no_grad():
            for value in flow.state_dict().values():
                if value.is_floating_point():
                    dist.broadcast(value, src=0)

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors by their means over all processes, in place."""
        for tensor, total in zip(tensors, self.sum(tensors), strict=True):
            tensor.copy_(total / self.size)

    # --- commands of rank 0 ---------------------------------------------------------------------------------------

    def begin_run(self, start: Callable[[], Any]) -> None:
        """Let the other processes load a run's data."""
        self._begin("begin run", start)

    def begin_stage(self, start: Callable[[], Any]) -> None:
        """Let the other processes begin a stage."""
        self._begin("begin stage", start)

    @contextmanager
    def step(self) -> Iterator[None]:
        """Let the other processes make a step, too."""
        self._send("step")
        self._clear = False
        try:
            yield
        except DivergedError:  # all processes found it together
            self._clear = True
            raise
        self._clear = True

    def require_same(self, flow: Flow) -> None:
        """Refuse to continue if the flow's weights differ between the processes.

        Raises
        ------
        RunError
            Naming the ranks that differ from rank 0.
        """
        self._send("compare")
        self.compare(flow)

    def end_stage(self) -> None:
        """Let the other processes end the stage, if they wait."""
        if self._clear:
            self._require_alive()
            self._send("end stage")

    def close(self) -> None:
        """End the other processes, if they wait."""
        if not self.rank and self._clear and not any(process.ended for process in self._processes):
            with suppress(RunError):
                self._send("close")
        if self._clear:  # else an exchange on a GPU may wait without end
            dist.destroy_process_group()

    def _begin(self, command: Command, start: Callable[[], Any]) -> None:
        self._send(command)
        with self._watched():
            dist.broadcast_object_list([start()], src=0, group=self._control)
        self.agree("")

    def _send(self, command: Command) -> None:
        with self._watched():
            dist.broadcast(torch.tensor(COMMANDS.index(command)), src=0, group=self._control)

    # --- what the other ranks do ----------------------------------------------------------------------------------

    def receive(self) -> Command:
        """Return the next command, as soon as there is one."""
        number = torch.tensor(0)
        with self._watched():
            dist.broadcast(number, src=0, group=self._control)
        return COMMANDS[int(number)]

    def receive_object(self) -> Any:
        """Return what belongs to a command that begins something."""
        received: list[Any] = [None]
        with self._watched():
            dist.broadcast_object_list(received, src=0, group=self._control)
        return received[0]

    def agree(self, problem: str) -> bool:
        """Tell all processes what prevents this one from continuing; empty for nothing. Return whether all can.

        Raises
        ------
        RunError
            In rank 0, if a process cannot continue.
        """
        problems = {rank: text for rank, text in enumerate(self._all(problem)) if text}
        if problems and not self.rank:
            rank, text = next(iter(problems.items()))
            title = f"Rank {rank} cannot begin"
            raise RunError(title, text, "See to the cause and resume the run.")
        return not problems

    def compare(self, flow: Flow) -> None:
        """Compare the weights of all processes; see `require_same`."""
        digests: list[str] = self._all(_digest(flow))
        differing = [str(rank) for rank, digest in enumerate(digests) if digest != digests[0]]
        if differing and not self.rank:
            cause = f"The weights of rank {', '.join(differing)} are not those of rank 0."
            title = "The processes no longer train the same flow"
            raise RunError(title, cause, RESUME)

    def report(self, text: str) -> None:
        """Leave a message for rank 0 before this process ends with an error."""
        with suppress(RuntimeError):
            self._store.set(_error_key(self.rank), text)

    # --- processes that end ---------------------------------------------------------------------------------------

    def find_lost(self) -> RunError | None:
        """Return which process has ended, and why if it left a message; None if all of this machine are there."""
        for rank, process in enumerate(self._processes):
            if rank != self.rank and (process.ended or self._reported(rank)):
                cause = self._reported(rank) or "It was killed, or the memory was too small."
                return ended_rank(rank, process.pid, cause)
        return None

    def _reported(self, rank: int) -> str:
        with suppress(RuntimeError):
            if self._store.check([_error_key(rank)]):
                return self._store.get(_error_key(rank)).decode()
        return ""

    def _require_alive(self) -> None:
        lost = self.find_lost()
        if lost is not None:
            raise lost

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Turn the error of an exchange into one that names the process that ended."""
        try:
            yield
        except RuntimeError as error:
            end = time.monotonic() + _NOTICE
            while (lost := self.find_lost()) is None and time.monotonic() < end:
                time.sleep(0.05)
            cause = f"The exchange between the processes failed ({_first_line(error)})."
            raise lost or RunError("A process of the run ended", cause, RESUME) from error

    def _all(self, value: Any) -> list[Any]:
        """Return a value of every process."""
        values: list[Any] = [None] * self.size
        with self._watched():
            dist.all_gather_object(values, value, group=self._control)
        return values


RESUME = "Resume the run from its last checkpoint."


def ended_rank(rank: int, pid: int, cause: str) -> RunError:
    """Return the error for a process that ended in mid-run."""
    return RunError(
        f"Rank {rank} of the run ended", f"Process {pid} of rank {rank} ended unexpectedly. {cause}", RESUME
    )


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


def _error_key(rank: int) -> str:
    return f"nfkd/error/{rank}"


def _digest(flow: Flow) -> str:
    digest = sha256()
    for value in flow.state_dict().values():
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _buckets(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Yield tensors in their order, as many at a time as fit into a bucket, and at least one."""
    bucket: list[Tensor] = []
    for tensor in tensors:
        if bucket and sum(map(Tensor.numel, bucket)) + tensor.numel() > _BUCKET:
            yield bucket
            bucket = []
        bucket.append(tensor)
    if bucket:
        yield bucket
