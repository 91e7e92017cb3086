"""Reads the next batches of data on disk while the current step is computed, where reading takes long.

Rows of a table are read one by one, and a thread that reads them takes turns with the step's for Python's lock: where
256 rows take 0.5 ms, the step beside it takes 1 to 8 ms longer. So fast reads are made by the step's thread.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np

from nfkd.data import Dataset, DataSplit
from nfkd.data.examples import in_memory
from nfkd.training.generators import Batches

_AHEAD = 4  # batches
_SLOW, _SLOW_READS = 2e-3, 5
"""Seconds of a slow read, and how many more slow than fast reads until batches are read ahead."""
_DECODERS = 4  # threads that decode images


@contextmanager
def reading_ahead(dataset: Dataset, batches: Batches) -> Iterator[Dataset]:
    """Yield a data set whose training batches are read in threads of their own, before they are asked for.

    Rows of a table are read by the calling thread as long as that is fast.

    The batches, their order and all random numbers are those of the given data set, which is yielded unchanged if its
    training examples are in memory, or draws of them.

    Parameters
    ----------
    dataset
        The data of a stage.
    batches
        Tells which examples come next.
    """
    if in_memory(dataset.train.values) or dataset.drawn_rows:
        yield dataset
        return
    workers = min(_DECODERS, os.cpu_count() or 1) if dataset.is_image else 1
    pool = ThreadPoolExecutor(workers, thread_name_prefix="reader")
    try:
        train = dataset.train
        queue = _Queue(train, batches, pool, ahead=dataset.is_image)
        ahead = _Ahead(train.values, train.context, train.weights, train.labels, queue)
        yield replace(dataset, train=ahead)
    finally:
        pool.shutdown(cancel_futures=True)


class _Queue:
    """Batches that are being read."""

    def __init__(self, train: DataSplit, batches: Batches, pool: ThreadPoolExecutor, *, ahead: bool) -> None:
        self._train, self._batches, self._pool = train, batches, pool
        self._ahead, self._slow = ahead, 0
        self._reads: deque[tuple[np.ndarray, Future[DataSplit]]] = deque()

    def get(self, index: np.ndarray) -> DataSplit:
        """Return the examples of the newest batch of indices; errors of its read are raised here."""
        return self._next(index) if self._ahead else self._timed(index)

    def _timed(self, index: np.ndarray) -> DataSplit:
        """Read a batch now, and from then on ahead if most of the last reads were slow."""
        began = time.perf_counter()
        split = _read(self._train, index)
        slow = time.perf_counter() - began > _SLOW
        self._slow = self._slow + 1 if slow else max(0, self._slow - 1)
        self._ahead = self._slow >= _SLOW_READS
        return split

    def _next(self, index: np.ndarray) -> DataSplit:
        expected = bool(self._reads) and np.array_equal(self._reads[0][0], index)
        if not expected:  # the first batch of an epoch
            self._reads.clear()
        read = self._reads.popleft()[1] if expected else None
        for following in self._batches.upcoming(_AHEAD)[len(self._reads) :]:
            self._reads.append((following.numpy(), self._pool.submit(_read, self._train, following.numpy())))
        return _read(self._train, index) if read is None else read.result()


def _read(train: DataSplit, index: np.ndarray) -> DataSplit:
    chosen = train.take(index)
    return replace(chosen, values=np.asarray(chosen.values[:]))


@dataclass(frozen=True, eq=False)
class _Ahead(DataSplit):
    """A split whose batches may have been read already."""

    queue: _Queue | None = None

    def take(self, index: np.ndarray | slice) -> DataSplit:
        """Return some of the examples."""
        if self.queue is None or not isinstance(index, np.ndarray):
            return super().take(index)
        return self.queue.get(index)
