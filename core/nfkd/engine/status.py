"""What the engine says about itself and its machine."""

from __future__ import annotations

import os
import platform

import torch

import nfkd
from nfkd.config import ComputeConfig
from nfkd.planning.devices import device_name, resolve_device, thread_count
from nfkd.protocol.queue import QueueState
from nfkd.protocol.requests import EngineStatus


def engine_status(clients: int, active: str, queue: QueueState) -> EngineStatus:
    """Return the status of the engine in this process.

    Parameters
    ----------
    clients
        How many are connected.
    active
        Directory of the run in training; empty without one.
    queue
        The runs that wait.
    """
    compute = ComputeConfig()
    device = resolve_device(compute)
    return EngineStatus(
        version=nfkd.__version__,
        torch=str(torch.__version__),
        device=str(device),
        device_name=device_name(device),
        threads=thread_count(compute),
        pid=os.getpid(),
        clients=clients,
        active=active,
        queue=queue,
        machine=platform.node(),
    )
