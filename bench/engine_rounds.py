"""What every engine of `peers.py` answers, in terms of its `train`, `predict` and `latency`."""

import time


def handlers(engine, memory_of):
    def timed(call):
        start = time.perf_counter()
        call()
        return {"seconds": time.perf_counter() - start}

    def memory():
        def two_epochs():
            engine.train()
            engine.train()

        return memory_of(two_epochs)

    return {
        "ready": dict,
        "train": lambda: timed(engine.train),
        "predict": lambda: timed(engine.predict),
        "latency": lambda: {"seconds": engine.latency()},
        "memory": memory,
    }
