"""A case: an operation and the arrays to run it on. What must come out is in `expected.py`."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from references.elementwise import round_bfloat16

from nbcnn.ops.tensor import TensorSpec

FLOATS = ("float32", "float64")


class Draw(NamedTuple):
    """Random numbers that are drawn when a case is run: large arrays would fill the memory."""

    shape: tuple[int, ...]
    seed: int = 0
    coarse: bool = False  # bfloat16 has these numbers


class Case(NamedTuple):
    """Floats among the inputs are given in float64 and cast to the type under test, except those
    whose places are in `wide`, which are float64 in any case. `tiny`: small enough for CUDA's
    simulator. `floats`: the types to test; one where a second compilation would show nothing new.
    """

    name: str
    op: Any
    inputs: tuple[np.ndarray | Draw, ...]
    wide: tuple[int, ...] = ()
    tiny: bool = True
    floats: tuple[str, ...] = FLOATS

    @property
    def dtypes(self) -> tuple[str, ...]:
        """`floats`, or the inputs' own type where there are no floats."""
        kinds = [np.dtype(self._dtype(i, "float32")) for i in range(len(self.inputs))]
        return self.floats if any(k == np.float32 for k in kinds) else (kinds[0].name,)

    def specs(self, dtype: str) -> list[TensorSpec]:
        """Of the inputs, without drawing them."""
        return [TensorSpec(x.shape, self._dtype(i, dtype)) for i, x in enumerate(self.inputs)]

    def arrays(self, dtype: str) -> list[np.ndarray]:
        specs = self.specs(dtype)
        return [np.array(values(x), s.dtype, order="C") for x, s in zip(self.inputs, specs)]

    def _dtype(self, place: int, dtype: str) -> str:
        x = self.inputs[place]
        if isinstance(x, np.ndarray) and x.dtype.kind != "f":
            return x.dtype.name
        return "float64" if place in self.wide else dtype


def large(name: str, op: Any, *inputs: np.ndarray | Draw, wide: tuple[int, ...] = ()) -> Case:
    """A case for real devices only."""
    return Case(name, op, inputs, wide, tiny=False)


def values(x: np.ndarray | Draw) -> np.ndarray:
    if isinstance(x, np.ndarray):
        return x
    drawn = normal(*x.shape, seed=x.seed)
    return round_bfloat16(drawn) if x.coarse else drawn


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    """Random numbers that depend on shape and seed only."""
    return np.random.default_rng((seed, *shape)).standard_normal(shape)


def positive(*shape: int, seed: int = 0) -> np.ndarray:
    return np.abs(normal(*shape, seed=seed)) + 0.125


def specs_of(arrays: Sequence[np.ndarray]) -> list[TensorSpec]:
    return [TensorSpec(a.shape, a.dtype.name) for a in arrays]
