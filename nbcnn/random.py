"""Random arrays, with Keras's names: drawn on the host, from the global generator or a seed."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from nbcnn import config, random_state

__all__ = [
    "SeedGenerator",
    "binomial",
    "normal",
    "randint",
    "shuffle",
    "truncated_normal",
    "uniform",
]


class SeedGenerator:
    """Gives a new seed at each use; pass it as `seed`.

    seed : where the sequence starts; drawn from the global generator by default.
    """

    def __init__(self, seed: int | None = None) -> None:
        start = random_state.next_seed() if seed is None else seed
        self._generator = np.random.default_rng(start)
        self.initial_seed = start

    def next(self) -> int:
        """The next seed."""
        return int(self._generator.integers(2**31))


def _generator(seed: Any) -> np.random.Generator:
    return random_state.generator(seed.next() if isinstance(seed, SeedGenerator) else seed)


def normal(
    shape: Sequence[int],
    mean: float = 0.0,
    stddev: float = 1.0,
    dtype: str | None = None,
    seed: Any = None,
) -> np.ndarray:
    """Values of the normal distribution."""
    return _generator(seed).normal(mean, stddev, tuple(shape)).astype(dtype or config.floatx())


def uniform(
    shape: Sequence[int],
    minval: float = 0.0,
    maxval: float = 1.0,
    dtype: str | None = None,
    seed: Any = None,
) -> np.ndarray:
    """Values spread evenly over minval..maxval."""
    return _generator(seed).uniform(minval, maxval, tuple(shape)).astype(dtype or config.floatx())


def truncated_normal(
    shape: Sequence[int],
    mean: float = 0.0,
    stddev: float = 1.0,
    dtype: str | None = None,
    seed: Any = None,
) -> np.ndarray:
    """Values of the normal distribution, drawn again where they are beyond two `stddev`."""
    generator = _generator(seed)
    values = generator.standard_normal(tuple(shape))
    while (beyond := np.abs(values) > 2).any():
        values[beyond] = generator.standard_normal(int(beyond.sum()))
    return (mean + stddev * values).astype(dtype or config.floatx())


def randint(
    shape: Sequence[int], minval: int, maxval: int, dtype: str = "int32", seed: Any = None
) -> np.ndarray:
    """Whole numbers from `minval` to below `maxval`."""
    return _generator(seed).integers(minval, maxval, tuple(shape)).astype(dtype)


def binomial(
    shape: Sequence[int],
    counts: Any,
    probabilities: Any,
    dtype: str | None = None,
    seed: Any = None,
) -> np.ndarray:
    """How many of `counts` trials succeed."""
    drawn = _generator(seed).binomial(counts, probabilities, tuple(shape))
    return drawn.astype(dtype or config.floatx())


def shuffle(x: Any, axis: int = 0, seed: Any = None) -> np.ndarray:
    """A copy with the entries along `axis` in a new order."""
    return _generator(seed).permutation(np.asarray(x), axis=axis)
