"""The connection to a Ray cluster: what it can run at the same time, and whether its machines have this NFKD."""

from __future__ import annotations

import logging
import os
import pkgutil
import platform
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

import nfkd
from nfkd.protocol.queue import RayCluster, public_address
from nfkd.runs.errors import RunError

INSTALL = "Install it with: pip install 'nfkd[cluster]'"
LOCAL, AUTO = "local", "auto"
_TITLE = "The Ray cluster cannot be used"
_REACH_SECONDS = 5.0
_PROBE_SECONDS = 60.0
_LOCAL_STORE = 256 << 20
_SHARE = 1e-6
_LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""The environment variable with which Ray listens on the loopback interface only; as if on Windows or macOS."""

VERSION = "nfkd:__version__"
"""What the machines of a cluster are asked for."""

_busy = Lock()


def has_ray() -> bool:
    """Return whether Ray is installed."""
    return find_spec("ray") is not None


@contextmanager
def connected(cluster: RayCluster) -> Iterator[int]:
    """Connect to a cluster, and yield how many runs it can execute at the same time.

    Raises
    ------
    RunError
        When Ray is not installed, the cluster cannot be reached, its machines have another NFKD, or none of them has
        the CPUs and GPUs of a run. Also when this process uses a cluster already.
    """
    if not has_ray():
        raise RunError(_TITLE, "Ray is not installed.", INSTALL)
    if not _busy.acquire(blocking=False):
        cause = "This process uses a Ray cluster already."
        raise _refused(cause, "Wait until the other sweep has ended.")
    try:
        _connect(cluster)
        import ray

        try:
            fitting = {node["NodeID"]: node for node in ray.nodes() if node["Alive"] and _slots(node, cluster)}
            if not fitting:
                raise _too_small(cluster)
            require_nfkd(fitting)
            yield sum(_slots(node, cluster) for node in fitting.values())
        finally:
            ray.shutdown()
    finally:
        _busy.release()


def _refused(cause: str, action: str) -> RunError:
    return RunError(_TITLE, cause, action)


def _connect(cluster: RayCluster) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if cluster.address == LOCAL:
        os.environ.setdefault(_LOOPBACK, "0")
    else:
        _require_reachable(cluster.address)
    import ray

    logging.getLogger("ray").setLevel(logging.ERROR)
    options: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
    if cluster.address == LOCAL:
        options |= {"include_dashboard": False, "object_store_memory": _LOCAL_STORE}
        options |= {"num_cpus": cluster.local_cpus} if cluster.local_cpus else {}
    try:
        ray.init(address=cluster.address, **options)
    except (ConnectionError, TimeoutError, OSError, RuntimeError, ValueError, AssertionError) as error:
        raise _not_connected(cluster.address, error) from error


def _not_connected(address: str, error: Exception) -> RunError:
    import ray

    where = public_address(address)
    if address == LOCAL:
        return _refused("Ray could not start on this machine.", "Its logs are in the temporary folder, below ray.")
    if isinstance(error, (ConnectionError, TimeoutError)):
        cause = "No Ray runs on this machine." if address == AUTO else f"No Ray answers at {where}."
        return _refused(cause, "Start it with `ray start`, or correct the address.")
    cause = f"{where} refused the connection of Ray {ray.__version__} with Python {platform.python_version()}."
    action = "Use the cluster's versions of Ray and Python here, and its token (RAY_AUTH_TOKEN) if it has one."
    return _refused(cause, action)


def _require_reachable(address: str) -> None:
    """Refuse an address that no server listens at: Ray itself would wait for minutes."""
    if address == AUTO:
        return
    try:
        parts = urlsplit(address if "//" in address else f"//{address}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or not port:
        cause = f"{public_address(address)} is no address of Ray."
        raise _refused(cause, "Give local, auto, HOST:6379 or ray://HOST:10001.")
    try:
        socket.create_connection((host, port), timeout=_REACH_SECONDS).close()
    except OSError as error:
        cause = f"{host} does not answer at port {port}."
        action = "Start the cluster, or correct the address; a firewall may also block the port."
        raise _refused(cause, action) from error


def _slots(node: Mapping[str, Any], cluster: RayCluster) -> int:
    """Return how many runs fit on a node."""
    resources = node["Resources"]
    slots = int(resources.get("CPU", 0.0) / cluster.cpus + _SHARE)
    if cluster.gpus >= 1:
        slots = min(slots, int(resources.get("GPU", 0.0) / cluster.gpus + _SHARE))
    elif cluster.gpus:
        slots = min(slots, int(resources.get("GPU", 0.0)) * int(1 / cluster.gpus + _SHARE))
    return slots


def _too_small(cluster: RayCluster) -> RunError:
    need = f"{cluster.cpus:g} CPU{'' if cluster.cpus == 1 else 's'}"
    need += f" and {cluster.gpus:g} GPU{'' if cluster.gpus == 1 else 's'}" if cluster.gpus else ""
    return _refused(f"None of its machines has {need} for a run.", "Give a run less, or start larger machines.")


def require_nfkd(nodes: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse machines without NFKD or with another version; they import it by a function of Python itself.

    Parameters
    ----------
    nodes
        As `ray.nodes` describes them, by their identities.

    Raises
    ------
    RunError
        Naming the machine.
    """
    import ray
    from ray.exceptions import GetTimeoutError, RayError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    ask = ray.remote(num_cpus=0, max_retries=0)(pkgutil.resolve_name)
    asked = {
        name: ask.options(scheduling_strategy=NodeAffinitySchedulingStrategy(name, soft=False)).remote(VERSION)
        for name in nodes
    }
    for name, reference in asked.items():
        host = nodes[name].get("NodeManagerHostname", name)
        try:
            found = ray.get(reference, timeout=_PROBE_SECONDS)
        except GetTimeoutError as error:
            cause = f"{host} did not start a process within {_PROBE_SECONDS:g} seconds."
            raise _refused(cause, "Look at its log of Ray.") from error
        except RayError as error:
            cause = f"NFKD is not installed on {host}."
            raise _refused(cause, "Install it on every machine.") from error
        if found != nfkd.__version__:
            cause = f"{host} has NFKD {found}, and this machine NFKD {nfkd.__version__}."
            raise _refused(cause, "Install the same version on every machine.")
