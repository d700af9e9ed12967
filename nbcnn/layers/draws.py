"""Random numbers inside a graph: anew at each step, the same for the same seed."""

import copy
import itertools
import math
from typing import Any

import numpy as np

from nbcnn import ops
from nbcnn.layers import context
from nbcnn.ops.op import apply
from nbcnn.ops.random import Dropout

BITS = 24  # of a number drawn per sample: what float32 holds
FINE_BITS = 16  # of one drawn per element, where each bit is as large as the input
TRIES = 8  # of a rejection that takes at least 95 %: all fail once in 10^10
CALLS = 1 << 8  # draws of a call of `nbcnn.random`, at most


class Draws:
    """What one call of a layer draws.

    Numbers are put together from bits, which are what dropout at rate 1/2 leaves of ones: so they
    are the same on every device.

    seed: the layer's, or None to follow the program's. dtype: of the numbers. `size`: height and
    width of the images, of layers that have such.
    """

    size: tuple[int, ...] = ()

    def __init__(self, seed: int | None, dtype: str) -> None:
        self.tracing = context.current()
        self.seed = seed
        self.dtype = dtype
        self.numbers = itertools.count(1)
        self.streams: list[int] = []  # of what was drawn so far
        self.place = 0

    def again(self) -> "Draws":
        """Draws that repeat these from the first on."""
        twin = copy.copy(self)
        twin.place = 0
        return twin

    def part(self) -> "Draws":
        """Further draws, which can be repeated by themselves."""
        twin = self.again()
        twin.streams = []
        return twin

    def _stream(self) -> int:
        if self.place == len(self.streams):
            own = self.seed is not None
            self.streams.append(next(self.numbers) if own else self.tracing.next_stream())
        self.place += 1
        return self.streams[self.place - 1]

    def _dropped(self, x: Any, rate: float) -> Any:
        op = Dropout(rate, self._stream())
        if self.seed is None:
            return apply(op, x, self.tracing.seed)
        self.tracing.seeded = True
        step = ops.slice_axis(self.tracing.seed, 0, 1, 2)
        own = ops.concatenate([np.array([self.seed], dtype=np.int64), step], 0)
        return apply(op, x, own)

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

    def integers(self, shape: tuple, low: int, high: int) -> Any:
        """Whole numbers from low to high - 1, as floats."""
        drawn = ops.floor(self.uniform(shape, low, high))
        return ops.minimum(drawn, float(high - 1))  # the product may have been rounded up

    def permutation(self, count: int | None) -> Any:
        """The numbers 0 .. count - 1 in a random order (int32); an unknown count is one."""
        return ops.argsort(self.uniform((count or 1,)))

    def log_gamma(self, shape: tuple, alpha: Any) -> Any:
        """Logarithms of values of the gamma distribution (Marsaglia & Tsang 2000), in which those
        of a small alpha do not vanish; `alpha` is positive, a number or a tensor of one element.
        """
        if isinstance(alpha, (int, float)):
            alpha = np.full((1,), alpha, self.dtype)
        # For shape alpha + 1; a power of a uniform number brings it down to alpha.
        d = alpha + 2.0 / 3.0
        x = self.normal((*shape, TRIES))
        cubed = (x / ops.sqrt(9.0 * d) + 1.0) ** 3
        v = ops.maximum(cubed, 1e-30)
        u = self._above_zero((*shape, TRIES))
        bound = 0.5 * x * x + d * (1.0 - v + ops.log(v))
        fits = ops.cast(ops.logical_and(cubed > 0.0, ops.log(u) < bound), self.dtype)
        first = fits * ops.cast(ops.cumsum(fits, -1) < 1.5, self.dtype)
        chosen = ops.sum(first * v, -1)
        chosen = ops.where(chosen > 0.0, chosen, 1.0)
        return ops.log(chosen * d) + ops.log(self._above_zero(shape)) / alpha

    def _above_zero(self, shape: tuple) -> Any:
        """Uniform, in the middle of the intervals: 0 has no logarithm."""
        return self.uniform(shape) + 0.5 ** (BITS + 1)

    def beta(self, shape: tuple, alpha: Any) -> Any:
        """Values of the beta distribution with both parameters `alpha`."""
        return ops.sigmoid(self.log_gamma(shape, alpha) - self.log_gamma(shape, alpha))

    def dirichlet(self, count: int, alpha: float) -> Any:
        """`count` shares that add up to 1, of the symmetric Dirichlet distribution: (1, count)."""
        return ops.softmax(self.log_gamma((1, count), alpha))


def drawing(seed: int | None, dtype: str) -> Draws:
    """What a call of `nbcnn.random` draws: other numbers than any other call of the tracing."""
    draws = Draws(seed, dtype)
    draws.numbers = itertools.count(draws.tracing.next_stream() * CALLS)
    return draws
