"""Run one implementation of an operation on a device, outside any graph."""

from collections.abc import Callable, Sequence

import numpy as np
from cases.case import specs_of

from nbcnn.graph.choosing import main_dtype
from nbcnn.kernels.impl import Impl
from nbcnn.ops.tensor import TensorSpec
from nbcnn.runtime.device import Device


def memory_of(device: Device, array: np.ndarray):
    """A buffer of the device's, and a view of it with a copy of `array`."""
    buffer = device.empty(max(array.nbytes, 1))
    view = device.view(buffer, 0, array.shape, array.dtype.name)
    device.upload(view, array)
    return buffer, view


def filled(device: Device, shape, dtype: str):
    """Memory that shows when it is read before it is written."""
    unset = np.full(shape, np.nan if np.dtype(dtype).kind == "f" else 85, dtype)
    return memory_of(device, unset)[1]


def calls_of(impl: Impl, op, specs: Sequence[TensorSpec], device: Device) -> Sequence:
    """The calls of a run, over memory that nobody has written to."""

    def unset(s):
        return device.view(device.empty(max(s.nbytes, 1)), 0, s.shape, s.dtype)

    spec, dtype = op.spec(*specs), main_dtype(op, specs)
    wanted = impl.scratch(spec, dtype, device.caps)
    scratch = {name: unset(s) for name, s in wanted.items()}
    inputs, outputs = ([unset(s) for s in some] for some in (specs, op.infer(*specs)))
    return impl.bind(spec, device.caps, inputs, outputs, scratch)


def run(
    impl: Impl,
    op,
    arrays: list[np.ndarray],
    device: Device,
    share: tuple[int, int] | None = None,
    change: Callable[[list], list] = lambda calls: calls,
) -> list[np.ndarray]:
    """Outputs of one run; inputs, where the operation writes to them.

    `share`: (output, input) that get the same memory. `change`: applied to the calls.
    """
    specs = specs_of(arrays)
    spec, dtype = op.spec(*specs), main_dtype(op, specs)
    buffers, inputs = zip(*(memory_of(device, a) for a in arrays))
    outputs = [filled(device, s.shape, s.dtype) for s in op.infer(*specs)]
    if share is not None:
        s = op.infer(*specs)[share[0]]
        outputs[share[0]] = device.view(buffers[share[1]], 0, s.shape, s.dtype)
    wanted = impl.scratch(spec, dtype, device.caps)
    scratch = {name: filled(device, s.shape, s.dtype) for name, s in wanted.items()}
    calls = impl.bind(spec, device.caps, inputs, outputs, scratch)
    device.program(change(calls)).run()
    device.synchronize()
    for i, (before, view) in enumerate(zip(arrays, inputs)):
        if not op.stateful and (share is None or i != share[1]):
            assert device.download(view).tobytes() == before.tobytes(), f"input {i} was written to"
    return [device.download(a) for a in (inputs if op.stateful else outputs)]
