"""By how much a process grows for a step of a model: `python -m nbcnn.analysis.measuring`.

The process takes the same step twice. Before the second it gives all memory of the first back; what
is then still there (Python, compiled kernels) is no part of the measurement.
"""

import contextlib
import ctypes
import gc
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nbcnn import config

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
# Arrays come from the system and go back to it, page by page.
SETTINGS = {"MALLOC_MMAP_THRESHOLD_": "65536", "NUMPY_MADVISE_HUGEPAGE": "0"}


def grown_bytes(model: Any, batch: int, training: bool) -> int:
    """The most bytes that a new process holds for a step of a copy of the model, beyond what it
    holds before.
    """
    device = model._runners.device
    if not (STATUS.exists() and CLEAR.exists()) or device.kind != "cpu":
        raise NotImplementedError(
            "memory_report: measure=True reads /proc/self/status, as Linux has it, and measures "
            f"CPUs; this is {sys.platform} and device {device.name!r}"
        )
    try:
        copied = pickle.dumps((pickle.dumps(model), batch, training, config.get_num_threads()))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ValueError(
            f"memory_report: measure=True takes a copy of the model to a new process, and {error}"
        ) from error
    paths = [str(Path(__file__).parents[2]), *filter(None, sys.path)]
    environment = {**os.environ, **SETTINGS, "PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run(
        [sys.executable, "-m", __name__], input=copied, capture_output=True, env=environment
    )
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise RuntimeError(f"memory_report: the measuring process has failed: {''.join(last)}")
    return int(done.stdout)


class Data(NamedTuple):
    """A batch that looks as a model's inputs and losses say; targets for training only."""

    inputs: Any
    targets: Any


def _data(model: Any, batch: int, training: bool) -> Data:
    signature = model._input_signature_for(None)
    shapes = [tuple(shape[1:]) for shape in signature.example]
    inputs = [np.ones((batch, *s), slot.dtype) for slot, s in zip(signature.slots, shapes)]
    targets = None
    if training:
        targets = model._latest_signature.pack(model._example_targets(batch))
    return Data(signature.pack(inputs), targets)


def _take(model: Any, batch: int, data: Data | None) -> Any:
    """A step of `fit` on data, whose batch is gathered, so that the user's arrays do not count; or
    one of `predict`, which reads its input in place and writes its output to the user's array, so
    that both count here.
    """
    if data is not None:
        return model.fit(data.inputs, data.targets, batch_size=batch, verbose=0)
    inputs = _data(model, batch, False).inputs
    return inputs, model.predict(inputs, batch_size=batch, verbose=0)


def _give_back() -> None:
    gc.collect()
    with contextlib.suppress(AttributeError, OSError):  # another C library, which knows best
        ctypes.CDLL(None).malloc_trim(0)


def _status(name: str) -> int:
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(name + ":"))
    return int(line.split()[1]) * 1024


def main() -> None:
    contents, batch, training, threads = pickle.loads(sys.stdin.buffer.read())
    config.set_num_threads(threads)
    model = pickle.loads(contents)
    data = _data(model, batch, True) if training else None
    _take(model, batch, data)
    del model
    _give_back()
    before = _status("VmRSS")
    model = pickle.loads(contents)
    _give_back()
    CLEAR.write_text("5")  # the peak starts anew, without what reading the model took
    held = _take(model, batch, data)
    sys.stdout.write(str(_status("VmHWM") - before))
    del held


if __name__ == "__main__":
    main()
