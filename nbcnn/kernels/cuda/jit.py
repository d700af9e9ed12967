"""Marking CUDA kernels and the functions that they call: the only place that calls `cuda.jit`.

For a real GPU a kernel is compiled when a program needs it (`cubins`), with plain pointers in the
place of arrays, and launched by the driver; in Numba's simulator it is Numba's own kernel.

Kernels are written for any grid, where each thread strides over the elements by the size of the
grid, or for tiles, each of which is a block's (`Launch.fixed`). Either way sums are added in an
order that depends on shapes only, and there are no atomic operations, so results are the same from
run to run.

State: all kernels run in Numba's simulator and compile for real GPUs; none has run on one yet.

Modules with kernels hold the name `cuda`, which the simulator replaces while a kernel runs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from math import erf
from typing import Any

import numpy as np
from numba import config, cuda

from nbcnn.kernels import scalar
from nbcnn.kernels.cuda.simulated_shared import share_arrays
from nbcnn.ops.conv_spec import GELU, HARD_SILU, RELU, RELU6, SIGMOID, SILU, TANH

SIMULATED = bool(config.ENABLE_CUDASIM)
if SIMULATED:
    share_arrays()
# What `device` has made for real GPUs.
DEVICE_FUNCTIONS: list[Any] = []


@dataclass(frozen=True, eq=False)
class Kernel:
    """A function that is launched on a grid of real threads; arguments of `kernel`."""

    py_func: Callable
    bounds: int | tuple[int, int] | None
    constants: tuple

    @property
    def name(self) -> str:
        return f"{self.py_func.__module__.rpartition('.')[2]}.{self.py_func.__qualname__}"


def kernel(
    function: Callable | None = None,
    *,
    bounds: int | tuple[int, int] | None = None,
    constants: tuple = (),
) -> Any:
    """Decorator of functions that are launched on a grid.

    bounds: the most threads of a block, and how many blocks at least are to fit in a
    multiprocessor, which decide how many registers a thread may have.
    constants: what the function is closed over, where a factory makes kernels (tile sizes, types).
    """
    if function is None:
        return partial(kernel, bounds=bounds, constants=constants)
    return cuda.jit(function) if SIMULATED else Kernel(function, bounds, constants)


def device(function: Callable) -> Any:
    """Decorator of functions that kernels call. The simulator takes them as they are.

    On a real GPU they get arrays as pointers, too.
    """
    if SIMULATED:
        return function
    DEVICE_FUNCTIONS.append(cuda.jit(device=True)(function))
    return DEVICE_FUNCTIONS[-1]


def inlined(function: Callable) -> Any:
    """Decorator of functions that become part of the kernels that call them, so that arrays which
    live in registers can be passed to them.
    """
    if SIMULATED:
        return function
    DEVICE_FUNCTIONS.append(cuda.jit(device=True, forceinline=True)(function))
    return DEVICE_FUNCTIONS[-1]


def _numpy_erf(x):
    return type(x)(erf(x))


def _elementary() -> dict[str, Callable]:
    """What stands for the functions of `math`: those of CUDA, or NumPy's, which do not raise, in
    the simulator.
    """
    if not SIMULATED:
        return {}
    numpy = {name: getattr(np, name) for name in scalar.ELEMENTARY if hasattr(np, name)}
    return {**numpy, "erf": _numpy_erf}


@cache
def formula(function: Callable, dtype: str) -> Any:
    """A function of `kernels.scalar` for arguments of this type."""
    return scalar.compiled(function, dtype, _elementary(), device)


_relu, _sigmoid, _tanh, _relu6, _hard_silu, _silu, _gelu = (
    formula(f, "float64") for f in scalar.TAIL[1:]
)
_relu_gradient, _sigmoid_gradient, _tanh_gradient = (
    formula(f, "float64") for f in scalar.TAIL_GRADIENT[1:]
)


@device
def activate(act, v):
    """The activation with this id (`ops.conv_spec`), in float64."""
    if act == RELU:
        v = _relu(v, 0.0, 0.0)
    elif act == SIGMOID:
        v = _sigmoid(v, 0.0, 0.0)
    elif act == TANH:
        v = _tanh(v, 0.0, 0.0)
    elif act == RELU6:
        v = _relu6(v, 0.0, 0.0)
    elif act == HARD_SILU:
        v = _hard_silu(v, 0.0, 0.0)
    elif act == SILU:
        v = _silu(v, 0.0, 0.0)
    elif act == GELU:
        v = _gelu(v, 0.0, 0.0)
    return v


@device
def activate_gradient(act, y, dy):
    """dy times the derivative of the activation with this id, from its output y."""
    if act == RELU:
        dy = _relu_gradient(y, dy, 0.0, 0.0)
    elif act == SIGMOID:
        dy = _sigmoid_gradient(y, dy, 0.0, 0.0)
    elif act == TANH:
        dy = _tanh_gradient(y, dy, 0.0, 0.0)
    return dy
