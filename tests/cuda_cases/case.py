"""A case: an operation on given arrays, and what must come out, computed in float64 with NumPy."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from nbcnn.ops.tensor import TensorSpec


class Case(NamedTuple):
    """`expected(spec, *inputs)` gives the outputs; of an operation that writes to its inputs,
    these.

    Inputs are given in float64, whole or logical numbers; floats are cast to the type under test,
    except those whose places are in `wide`, which are float64 in any case.
    """

    name: str
    op: Any
    inputs: tuple[np.ndarray, ...]
    expected: Callable[..., Sequence]
    wide: tuple[int, ...] = ()

    def arrays(self, dtype: str) -> list[np.ndarray]:
        return [
            np.ascontiguousarray(a, dtype if a.dtype.kind == "f" and i not in self.wide else None)
            for i, a in enumerate(self.inputs)
        ]


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    """Random numbers that differ from call to call only by shape and seed; exact in float32."""
    values = np.random.default_rng((seed, *shape)).standard_normal(shape)
    return values.astype("float32").astype("float64")


def positive(*shape: int, seed: int = 0) -> np.ndarray:
    return np.abs(normal(*shape, seed=seed)) + 0.125


def specs_of(arrays: Sequence[np.ndarray]) -> list[TensorSpec]:
    return [TensorSpec(a.shape, a.dtype.name) for a in arrays]
