"""What every engine of `peers.py` answers, in terms of its `train`, `predict` and `latency`; those
that train also know how many `parameters` they train.
"""

import time


def handlers(engine, memory_of):
    def timed(call):
        start = time.perf_counter()
        call()
        return {"seconds": time.perf_counter() - start}

    def ready():
        return {"parameters": engine.parameters()} if hasattr(engine, "parameters") else {}

    def memory():
        def two_epochs():
            engine.train()
            engine.train()

        return memory_of(two_epochs)

    return {
        "ready": ready,
        "train": lambda: timed(engine.train),
        "predict": lambda: timed(engine.predict),
        "latency": lambda: {"seconds": engine.latency()},
        "memory": memory,
    }
