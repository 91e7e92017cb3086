"""Starts the processes of a run as torchrun does: ``python -m nfkd.training.torchrun COUNT DEVICE``.

If one of them ends with an error, the others are ended, and which it was is printed as JSON.
"""

from __future__ import annotations

import json
import sys
import tempfile
import uuid

from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch


def main(count: int, device: str) -> int:
    """Start the processes and wait for their end; return the exit code."""
    with tempfile.TemporaryDirectory() as logs:
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=count,
            run_id=uuid.uuid4().hex,
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            max_restarts=0,  # a run that has ended is resumed by the user
            logs_specs=DefaultLogsSpecs(log_dir=logs),
        )
        try:
            elastic_launch(config, sys.executable)("-m", "nfkd.training.rank_process", device)
        except ChildFailedError as error:
            rank, failure = error.get_first_failure()
            code = failure.exitcode
            cause = f"It was ended by signal {-code}." if code < 0 else f"Its exit code is {code}."
            sys.stdout.write(json.dumps({"rank": rank, "pid": failure.pid, "cause": cause}) + "\n")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2]))
