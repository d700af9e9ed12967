"""Random arrays, with Keras's names: drawn on the host, from the global generator or a seed.

While a layer or a step is traced, `normal`, `uniform`, `truncated_normal`, `randint` and `dropout`
without a seed, or with a `SeedGenerator`, become part of the graph, which draws anew at each run.
The others, and a number as a seed, are drawn once.

Common parameters
-----------------
shape : sizes of the result.
dtype : its data type, default `config.floatx()`, of `randint` and `categorical` int32.
seed : a number, for the same values at each call; a `SeedGenerator`; None (default): the program's
    generator, which `utils.set_random_seed` starts.
mean, stddev : default 0 and 1.
minval, maxval : least value, and the one that values stay below.
axis : default 0.
x : array.
"""

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from nbcnn import config, random_state
from nbcnn.ops.op import is_tracing

__all__ = [
    "SeedGenerator",
    "beta",
    "binomial",
    "categorical",
    "dropout",
    "gamma",
    "normal",
    "randint",
    "shuffle",
    "truncated_normal",
    "uniform",
]


class SeedGenerator:
    """Gives a new seed at each use; pass it as `seed`.

    Parameters
    ----------
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


def _graph(seed: Any) -> Any:
    """What draws within a graph, where one is traced and the seed lets it."""
    if not is_tracing() or not (seed is None or isinstance(seed, SeedGenerator)):
        return None
    start = None if seed is None else seed.initial_seed
    return importlib.import_module("nbcnn.layers.draws").drawing(start, config.floatx())


def _as(values: Any, dtype: str | None) -> Any:
    return importlib.import_module("nbcnn.ops").cast(values, dtype or config.floatx())


def normal(
    shape: Sequence[int],
    mean: float = 0.0,
    stddev: float = 1.0,
    dtype: str | None = None,
    seed: Any = None,
) -> Any:
    """Values of the normal distribution."""
    graph = _graph(seed)
    if graph is not None:
        return _as(graph.normal(tuple(shape)) * stddev + mean, dtype)
    return _generator(seed).normal(mean, stddev, tuple(shape)).astype(dtype or config.floatx())


def uniform(
    shape: Sequence[int],
    minval: float = 0.0,
    maxval: float = 1.0,
    dtype: str | None = None,
    seed: Any = None,
) -> Any:
    """Values spread evenly over minval..maxval."""
    graph = _graph(seed)
    if graph is not None:
        return _as(graph.uniform(tuple(shape), minval, maxval), dtype)
    return _generator(seed).uniform(minval, maxval, tuple(shape)).astype(dtype or config.floatx())


def truncated_normal(
    shape: Sequence[int],
    mean: float = 0.0,
    stddev: float = 1.0,
    dtype: str | None = None,
    seed: Any = None,
) -> Any:
    """Values of the normal distribution, drawn again where they are beyond two `stddev`."""
    graph = _graph(seed)
    if graph is not None:
        return _as(graph.normal(tuple(shape), within=2.0) * stddev + mean, dtype)
    generator = _generator(seed)
    values = generator.standard_normal(tuple(shape))
    while (beyond := np.abs(values) > 2).any():
        values[beyond] = generator.standard_normal(int(beyond.sum()))
    return (mean + stddev * values).astype(dtype or config.floatx())


def randint(
    shape: Sequence[int], minval: int, maxval: int, dtype: str = "int32", seed: Any = None
) -> Any:
    """Whole numbers from `minval` to below `maxval`."""
    graph = _graph(seed)
    if graph is not None:
        return _as(graph.integers(tuple(shape), int(minval), int(maxval)), dtype)
    return _generator(seed).integers(minval, maxval, tuple(shape)).astype(dtype)


def binomial(
    shape: Sequence[int],
    counts: Any,
    probabilities: Any,
    dtype: str | None = None,
    seed: Any = None,
) -> np.ndarray:
    """How many of `counts` trials succeed.

    Parameters
    ----------
    counts, probabilities : numbers, or arrays that broadcast.
    """
    drawn = _generator(seed).binomial(counts, probabilities, tuple(shape))
    return drawn.astype(dtype or config.floatx())


def shuffle(x: Any, axis: int = 0, seed: Any = None) -> np.ndarray:
    """A copy with the entries along `axis` in a new order."""
    return _generator(seed).permutation(np.asarray(x), axis=axis)


def beta(
    shape: Sequence[int], alpha: Any, beta: Any, dtype: str | None = None, seed: Any = None
) -> np.ndarray:
    """Values of the beta distribution; `alpha` and `beta` are numbers or arrays that broadcast."""
    return _generator(seed).beta(alpha, beta, tuple(shape)).astype(dtype or config.floatx())


def gamma(
    shape: Sequence[int], alpha: Any, dtype: str | None = None, seed: Any = None
) -> np.ndarray:
    """Values of the gamma distribution of scale 1; `alpha` is a number or an array that
    broadcasts.
    """
    return _generator(seed).gamma(alpha, size=tuple(shape)).astype(dtype or config.floatx())


def categorical(
    logits: Any, num_samples: int, dtype: str = "int32", seed: Any = None
) -> np.ndarray:
    """Classes drawn with the probabilities softmax(logits).

    Parameters
    ----------
    logits : (rows, classes).

    Returns an array (rows, num_samples).
    """
    scores = np.asarray(logits, np.float64)
    if scores.ndim != 2:
        raise ValueError(f"categorical: logits must have 2 axes, got shape {scores.shape}")
    noise = _generator(seed).gumbel(size=(scores.shape[0], num_samples, scores.shape[1]))
    return (scores[:, None] + noise).argmax(-1).astype(dtype)


def dropout(inputs: Any, rate: float, noise_shape: Any = None, seed: Any = None) -> Any:
    """`inputs` with each element 0 with probability `rate`, else divided by 1 - rate.

    Parameters
    ----------
    noise_shape : the shape of what is drawn, which broadcasts; that of the inputs by default.
    rate : 0 to 1.
    """
    if not 0 <= rate <= 1:
        raise ValueError(f"dropout: rate must be between 0 and 1, got {rate!r}")
    graph = _graph(seed)
    if graph is not None and 0 < rate < 1:
        own = inputs.shape
        sizes = tuple(n or m for n, m in zip(noise_shape or own, own))
        return inputs * (graph.kept(sizes, rate) / (1.0 - rate))
    values = np.asarray(inputs)
    if rate == 1:
        return np.zeros_like(values)
    shape = noise_shape or values.shape
    shape = tuple(own if n is None else n for n, own in zip(shape, values.shape))
    kept = _generator(seed).random(shape) >= rate
    return np.where(kept, values / values.dtype.type(1 - rate), values.dtype.type(0))
