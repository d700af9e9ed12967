"""Batches of a sequence, made ahead by several workers where it asks for them."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

from nbcnn.utils import PyDataset

_data: Any = None  # in a worker process: the sequence, which came with its start


def batches_of(data: Any, numbers: Iterable[int]) -> Iterator[Any]:
    """`data[n]` for each number, in order.

    A `PyDataset` with `workers` above 1, or with `use_multiprocessing`, has that many threads or
    processes make them ahead. An error in one is raised where its batch is due.
    """
    workers = data.workers if isinstance(data, PyDataset) else 1
    apart = isinstance(data, PyDataset) and data.use_multiprocessing and workers > 0
    if workers <= 1 and not apart:
        for number in numbers:
            yield data[number]
        return
    pool: Executor
    # Processes are new in each pass: what `on_epoch_end` has changed is theirs too.
    if apart:
        pool, make = ProcessPoolExecutor(workers, initializer=_begin, initargs=(data,)), _made
    else:
        pool, make = ThreadPoolExecutor(workers, "nbcnn-data"), data.__getitem__
    ahead: deque[Future] = deque()
    try:
        for number in numbers:
            ahead.append(pool.submit(make, number))
            if len(ahead) > max(workers, data.max_queue_size):
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _begin(data: Any) -> None:
    global _data
    _data = data


def _made(number: int) -> Any:
    return _data[number]
