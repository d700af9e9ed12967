"""Run one implementation of an operation on given arrays, outside any graph."""

from collections.abc import Callable, Sequence

import numpy as np

from nbcnn.kernels.impl import Impl
from nbcnn.runtime.cpu import CpuDevice


def bind(
    impl: Impl,
    spec,
    inputs: Sequence[np.ndarray],
    outputs: Sequence[np.ndarray],
    device,
    empty=None,
):
    """The program of `impl` over these arrays. `empty(shape, dtype)` allocates scratch; filled with
    NaN by default.
    """
    dtype = inputs[0].dtype.name
    reason = impl.accepts(spec, dtype, device.caps)
    if reason is not None:
        raise ValueError(f"{impl.name} refuses {spec}: {reason}")
    allocate: Callable = empty or nans
    wanted = impl.scratch(spec, dtype, device.caps)
    scratch = {name: allocate(s.shape, s.dtype) for name, s in wanted.items()}
    return device.program(impl.bind(spec, device.caps, inputs, outputs, scratch))


def run(
    impl: Impl,
    spec,
    inputs: Sequence[np.ndarray],
    shapes: Sequence[tuple[int, ...]],
    threads: int = 2,
):
    """Outputs (as many as `shapes`, of the inputs' dtype) of one run. Outputs start as NaN: nothing
    may be missed.
    """
    outputs = [nans(shape, inputs[0].dtype) for shape in shapes]
    bind(impl, spec, inputs, outputs, CpuDevice(threads)).run()
    return outputs


def nans(shape, dtype) -> np.ndarray:
    """Memory that shows when it is read before it is written."""
    kind = np.dtype(dtype)
    return np.full(shape, np.nan if kind.kind == "f" else 85, kind)


def error(result: np.ndarray, reference: np.ndarray) -> float:
    """Largest difference relative to the largest reference value."""
    if result.size == 0:
        return 0.0
    scale = np.abs(reference).max()
    return float(np.abs(result - reference).max() / (scale if scale > 0 else 1.0))
