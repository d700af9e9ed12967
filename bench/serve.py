"""The worker's side of `workers.py`: answers requests, one line of JSON each, until stdin ends.

Standard library only: workers run in the environments of other frameworks.
"""

import json
import os
import sys
import time
import traceback


def limit_threads(threads):
    """Keep this process, and every thread pool that it will make, on `threads` processors. To be
    called before a framework is imported.
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NBCNN_NUM_THREADS"):
        os.environ[name] = str(threads)


def serve(handlers):
    """Answer {"do": name, ...} with what `handlers[name](**...)` returns."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what frameworks print is no answer
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = handlers[request.pop("do")](**request)
        except Exception:
            answer = {"error": traceback.format_exc()}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def fastest(call, seconds, least=3):
    """Least seconds of a call, repeated for a while."""
    best, runs, end = float("inf"), 0, time.perf_counter() + seconds
    while runs < least or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
        runs += 1
    return best


def latencies(call, seconds=0.8, most=400):
    """Seconds of each of many calls, after some to reach the steady state."""
    for _ in range(20):
        call()
    times, end = [], time.perf_counter() + seconds
    while len(times) < most and (len(times) < 20 or time.perf_counter() < end):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return times


def memory_of(call):
    """Bytes by which this process's largest resident size grows during a call, and where it was.

    Linux forgets an earlier peak on request; elsewhere the growth is over that peak.
    """
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError:
        pass
    before = peak_bytes()
    call()
    after = peak_bytes()
    return {"before": before, "growth": after - before, "peak": after}


def peak_bytes():
    try:
        with open("/proc/self/status") as file:
            line = next(line for line in file if line.startswith("VmHWM"))
            return int(line.split()[1]) * 1024
    except (OSError, StopIteration):
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
