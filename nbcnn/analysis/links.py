"""Which elements of an axis of an operation's input an element of its output is made of.

Each link answers twice: as intervals on an axis without ends (`span`, arrays of first and last
elements; an interval that holds nothing goes from inf to -inf), and as a matrix of what is there
(`matrix`, true where output i reads input j).
"""

import dataclasses
from typing import Any, NamedTuple

import numpy as np

Span = tuple[np.ndarray, np.ndarray]
EMPTY = np.inf, -np.inf


class Link:
    """Output element i reads input element i."""

    @property
    def period(self) -> int:
        """After how many outputs the pattern repeats."""
        return 1

    def span(self, low: np.ndarray, high: np.ndarray, size: int) -> Span:
        """First and last elements that outputs low..high read of an input of `size`."""
        return low, high

    def matrix(self, outputs: int, size: int) -> np.ndarray:
        """(outputs, size), boolean."""
        return np.eye(outputs, size, dtype=bool)


@dataclasses.dataclass(frozen=True)
class Slide(Link):
    """Output i reads i * stride + u * dilation - before for u < window, as convolutions do."""

    window: int = 1
    stride: int = 1
    before: int = 0
    dilation: int = 1

    def span(self, low: np.ndarray, high: np.ndarray, size: int) -> Span:
        reach = (self.window - 1) * self.dilation
        return low * self.stride - self.before, high * self.stride - self.before + reach

    def matrix(self, outputs: int, size: int) -> np.ndarray:
        found = np.zeros((outputs, size), bool)
        taps = np.arange(self.window) * self.dilation - self.before
        places = np.arange(outputs)[:, None] * self.stride + taps
        rows, columns = np.nonzero((places >= 0) & (places < size))
        found[rows, places[rows, columns]] = True
        return found


@dataclasses.dataclass(frozen=True)
class Spread(Link):
    """The transpose of `Slide`: output i reads j where j * stride + u * dilation - before = i."""

    window: int
    stride: int
    before: int = 0
    dilation: int = 1

    @property
    def period(self) -> int:
        return self.stride

    def span(self, low: np.ndarray, high: np.ndarray, size: int) -> Span:
        first, last = np.array(low, float), np.array(high, float)
        for i in np.ndindex(first.shape):
            if np.isfinite(low[i]) and np.isfinite(high[i]):
                first[i], last[i] = self._ends(int(low[i]), int(high[i]))
        return first, last

    def _ends(self, low: int, high: int) -> tuple[float, float]:
        reach = (self.window - 1) * self.dilation
        places = range(-((reach - low - self.before) // self.stride),
                       (high + self.before) // self.stride + 1)  # fmt: skip
        first = next((j for j in places if self._meets(j, low, high)), None)
        if first is None:
            return EMPTY
        return first, next(j for j in reversed(places) if self._meets(j, low, high))

    def _meets(self, j: int, low: int, high: int) -> bool:
        """Whether input j is in one of the outputs low..high."""
        start = j * self.stride - self.before
        first = max(-((start - low) // self.dilation), 0)
        return start + first * self.dilation <= high and first < self.window

    def matrix(self, outputs: int, size: int) -> np.ndarray:
        slide = Slide(self.window, self.stride, self.before, self.dilation)
        return slide.matrix(size, outputs).T


@dataclasses.dataclass(frozen=True)
class Table(Link):
    """What a boolean matrix (outputs, inputs) says; past its ends as at its ends."""

    rows: Any

    @property
    def period(self) -> int:
        outputs, size = self.rows.shape
        return int(outputs // np.gcd(outputs, size)) or 1

    def span(self, low: np.ndarray, high: np.ndarray, size: int) -> Span:
        first, last = np.full(low.shape, np.inf), np.full(high.shape, -np.inf)
        end = len(self.rows) - 1
        for i in np.ndindex(low.shape):
            if low[i] <= high[i]:
                a, b = (int(np.clip(v, 0, end)) for v in (low[i], high[i]))
                read = np.flatnonzero(self.rows[a : b + 1].any(axis=0))
                if read.size:
                    first[i], last[i] = read[0], read[-1]
        return first, last

    def matrix(self, outputs: int, size: int) -> np.ndarray:
        return np.asarray(self.rows)


@dataclasses.dataclass(frozen=True)
class Piece(Link):
    """Of `size` outputs from `start` on, output i reads input i - start; others read nothing."""

    start: int
    size: int

    def span(self, low: np.ndarray, high: np.ndarray, size: int) -> Span:
        first = np.maximum(low, self.start) - self.start
        last = np.minimum(high, self.start + self.size - 1) - self.start
        empty = first > last
        return np.where(empty, np.inf, first), np.where(empty, -np.inf, last)

    def matrix(self, outputs: int, size: int) -> np.ndarray:
        return Slide(before=self.start).matrix(outputs, size)


@dataclasses.dataclass(frozen=True)
class Groups(Link):
    """Axes fall into equally many groups; an output reads all of its own."""

    count: int

    def span(self, low: np.ndarray, high: np.ndarray, size: int) -> Span:
        return np.where(low <= high, 0, np.inf), np.where(low <= high, size - 1, -np.inf)

    def matrix(self, outputs: int, size: int) -> np.ndarray:
        groups = [np.arange(n) * self.count // n for n in (outputs, size)]
        return groups[0][:, None] == groups[1]


class Route(NamedTuple):
    """An axis of an input, the axis of the output that reads it in its own order, and how. Axes of
    an input without a route are read whole.
    """

    input: int
    output: int
    link: Link


SAME = Link()
