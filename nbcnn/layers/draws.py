"""Random numbers inside a graph: anew at each step, the same for the same seed."""

import math
from typing import Any

import numpy as np

from nbcnn import ops
from nbcnn.layers import context
from nbcnn.ops.op import apply
from nbcnn.ops.random import Dropout

BITS = 24  # of a number drawn per sample: what float32 holds
FINE_BITS = 16  # of one drawn per element, where each bit is as large as the input
CALLS = 1 << 8  # draws of a call of `nbcnn.random`, at most


class Draws:
    """What one call of a layer draws.

    Numbers are put together from bits, which are what dropout at rate 1/2 leaves of ones: so they
    are the same on every device.

    seed: the layer's, or None to follow the program's. dtype: of the numbers.
    """

    def __init__(self, seed: int | None, dtype: str) -> None:
        self.tracing = context.current()
        self.seed = seed
        self.dtype = dtype
        self.count = 0

    def _dropped(self, x: Any, rate: float) -> Any:
        self.count += 1
        if self.seed is None:
            return apply(Dropout(rate, self.tracing.next_stream()), x, self.tracing.seed)
        self.tracing.seeded = True
        step = ops.slice_axis(self.tracing.seed, 0, 1, 2)
        own = ops.concatenate([np.array([self.seed], dtype=np.int64), step], 0)
        return apply(Dropout(rate, self.count), x, own)

    def kept(self, shape: tuple, rate: float) -> Any:
        """0 with probability `rate`, else 1; an unknown size is drawn once."""
        ones = np.ones([n or 1 for n in shape], self.dtype)
        return self._dropped(ops.convert_to_tensor(ones), rate) * (1.0 - rate)

    def uniform(self, shape: tuple, low: float = 0.0, high: float = 1.0, bits: int = BITS) -> Any:
        """Values spread evenly over low..high; an unknown size is drawn once."""
        ones = np.ones([*(n or 1 for n in shape), bits], self.dtype)
        drawn = self._dropped(ops.convert_to_tensor(ones), 0.5)
        shares = (0.25 * 0.5 ** np.arange(bits)).astype(self.dtype)  # of a bit that is 0 or 2
        return ops.sum(drawn * shares, -1) * (high - low) + low

    def normal(self, shape: tuple, within: float | None = None) -> Any:
        """Values of the standard normal distribution, by the inverse of its distribution; `within`:
        none beyond so many standard deviations.
        """
        half = 0.5 ** (FINE_BITS + 1)  # the middle of an interval: 0 and 1 lie infinitely far
        u = self.uniform(shape, -1.0 + 2 * half, 1.0 + 2 * half, FINE_BITS)
        if within is not None:
            u = u * math.erf(within / math.sqrt(2.0))
        return ops.erfinv(u) * float(np.sqrt(2.0))

    def whole_numbers(self, shape: tuple, low: int, stop: int) -> Any:
        """Whole numbers from low to below stop, as floats."""
        return ops.floor(self.uniform(shape, 0.0, float(stop - low))) + float(low)


def drawing(seed: int | None, dtype: str) -> Draws:
    """What a call of `nbcnn.random` draws: other numbers than any other call of the tracing."""
    draws = Draws(seed, dtype)
    draws.count = draws.tracing.next_stream() * CALLS
    return draws
