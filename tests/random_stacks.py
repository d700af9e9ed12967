"""Random stacks of layers, and beside each what it reads, worked out element by element.

`Stack.reads[layer]` is (units..., elements...): whether a unit of a layer's output sees an element
of the input. It is made by loops over windows, from the formulas in the layers' docstrings, and
shares no code with what it tests.
"""

import itertools
import math
import warnings

import numpy as np

import nbcnn
from nbcnn import analysis
from nbcnn import layers as L


def window(reads, size, stride, before, dilation, outputs):
    """Units that see what the units of a window see."""
    axes = range(len(size))
    found = np.zeros((*outputs, *reads.shape[len(size) :]), bool)
    for unit in np.ndindex(*outputs):
        for taps in np.ndindex(*size):
            at = tuple(unit[a] * stride[a] + taps[a] * dilation[a] - before[a] for a in axes)
            if all(0 <= at[a] < reads.shape[a] for a in axes):
                found[unit] |= reads[at]
    return found


def spread(reads, size, stride, before, dilation, outputs):
    """Each unit is seen by those of a window of the output."""
    axes = range(len(size))
    found = np.zeros((*outputs, *reads.shape[len(size) :]), bool)
    for unit in np.ndindex(*reads.shape[: len(size)]):
        for taps in np.ndindex(*size):
            at = tuple(unit[a] * stride[a] + taps[a] * dilation[a] - before[a] for a in axes)
            if all(0 <= at[a] < outputs[a] for a in axes):
                found[at] |= reads[unit]
    return found


def slid(sizes, window, strides, padding, dilation):
    """(outputs, zeros before) by axis."""
    outputs, before = [], []
    for a, n in enumerate(sizes):
        reach = (window[a] - 1) * dilation[a] + 1
        if padding == "same":
            outputs.append(math.ceil(n / strides[a]))
            before.append(max((outputs[-1] - 1) * strides[a] + reach - n, 0) // 2)
            continue
        sides = (0, 0) if padding == "valid" else padding[a]
        if n + sum(sides) < reach:
            raise ValueError("does not fit")
        outputs.append((n + sum(sides) - reach) // strides[a] + 1)
        before.append(sides[0])
    return tuple(outputs), tuple(before)


class Stack:
    """A model of layers drawn at random, of one, two or three spatial axes; none is run."""

    def __init__(self, rng, rank=2, weighted_only=False):
        self.rng, self.rank, self.weighted_only = rng, rank, weighted_only
        sizes = tuple(int(n) for n in rng.integers(5, (16, 10, 6)[rank - 1], rank))
        self.channels = int(rng.choice([1, 2, 4]))
        self.input = x = nbcnn.Input((*sizes, self.channels))
        reads = np.eye(math.prod(sizes), dtype=bool).reshape(*sizes, *sizes)
        self.reads, self.parameters, self.sparse = {}, {}, {}
        for _ in range(int(rng.integers(1, 5))):
            x, reads = self.joined(x, reads) if rng.random() < 0.25 else self.step(x, reads)
        if not self.reads:
            x, reads = self.convolution(x, reads, plain=True)
        self.model = nbcnn.Model(self.input, x)

    def kind(self, name):
        return getattr(L, name.replace("#", f"{self.rank}D"))

    def numbers(self, least, most):
        return tuple(int(n) for n in self.rng.integers(least, most + 1, self.rank))

    def step(self, x, reads):
        ways = [self.convolution, self.depthwise, self.pool, self.transposed]
        if not self.weighted_only:
            ways += [self.repeated, self.padded, self.cropped, self.pointwise]
        for _ in range(20):
            way = ways[int(self.rng.integers(len(ways)))]
            try:
                return way(x, reads)
            except ValueError:  # the window does not fit
                continue
        return x, reads

    def noted(self, layer, x, reads):
        y = layer(x)
        assert tuple(y.shape[1:-1]) == reads.shape[: self.rank], (layer, y.shape, reads.shape)
        self.reads[layer.name] = reads
        self.parameters[layer.name] = sum(math.prod(w.shape) for w in layer.weights)
        return y, reads

    def geometry(self, sizes, plain=False):
        """(window, strides, padding, dilation, outputs, before)"""
        rng = self.rng
        size, strides, dilation = self.numbers(1, 3), self.numbers(1, 3), (1,) * self.rank
        if plain or rng.random() < 0.4:
            strides = dilation
        if strides == dilation and rng.random() < 0.4 and not plain:
            dilation = self.numbers(1, 2)
        sides = tuple(zip(self.numbers(0, 2), self.numbers(0, 2)))
        padding = ["valid", "same", sides][int(rng.integers(3))]
        if plain:
            padding = "same"
        return (size, strides, padding, dilation, *slid(sizes, size, strides, padding, dilation))

    def convolution(self, x, reads, plain=False, groups=None):
        size, strides, padding, dilation, outputs, before = self.geometry(
            reads.shape[: self.rank], plain
        )
        c = int(x.shape[-1])
        groups = groups or (2 if c % 2 == 0 and self.rng.random() < 0.3 else 1)
        filters = c if plain else groups * int(self.rng.integers(1, 3))
        layer = self.kind("Conv#")(
            filters, size, strides, padding, dilation_rate=dilation, groups=groups,
            use_bias=bool(self.rng.random() < 0.5),
        )  # fmt: skip
        y = self.noted(layer, x, window(reads, size, strides, before, dilation, outputs))
        meetings = _meetings(reads.shape[: self.rank], size, strides, before, dilation, outputs)
        self.sparse[layer.name] = meetings * (c // groups) * filters
        return y

    def depthwise(self, x, reads):
        if self.rank == 3:
            return self.convolution(x, reads)
        size, strides, padding, dilation, outputs, before = self.geometry(reads.shape[: self.rank])
        strides = (max(strides),) * self.rank
        dilation = (1,) * self.rank if max(strides) > 1 else dilation
        outputs, before = slid(reads.shape[: self.rank], size, strides, padding, dilation)
        many = int(self.rng.integers(1, 3))
        layer = self.kind("DepthwiseConv#")(size, strides, padding, many, dilation_rate=dilation)
        y = self.noted(layer, x, window(reads, size, strides, before, dilation, outputs))
        meetings = _meetings(reads.shape[: self.rank], size, strides, before, dilation, outputs)
        self.sparse[layer.name] = meetings * int(x.shape[-1]) * many
        return y

    def pool(self, x, reads):
        size, strides = self.numbers(1, 3), self.numbers(1, 3)
        padding = ["valid", "same"][int(self.rng.integers(2))]
        outputs, before = slid(reads.shape[: self.rank], size, strides, padding, (1,) * self.rank)
        name = "AveragePooling#" if self.weighted_only or self.rng.random() < 0.5 else "MaxPooling#"
        layer = self.kind(name)(size, strides, padding)
        return self.noted(layer, x, window(reads, size, strides, before, (1,) * self.rank, outputs))

    def transposed(self, x, reads):
        sizes = reads.shape[: self.rank]
        if math.prod(sizes) > 60:
            raise ValueError("large enough")
        size, strides = self.numbers(1, 3), self.numbers(1, 2)
        same = self.rng.random() < 0.5
        outputs, before = [], []
        for n, k, s in zip(sizes, size, strides):
            outputs.append(n * s if same else (n - 1) * s + max(k, s))
            before.append(max((n - 1) * s + k - n * s, 0) // 2 if same else 0)
        filters = int(self.rng.integers(1, 3))
        layer = self.kind("Conv#Transpose")(filters, size, strides, "same" if same else "valid")
        y = self.noted(
            layer, x, spread(reads, size, strides, before, (1,) * self.rank, tuple(outputs))
        )
        meetings = _meetings(tuple(outputs), size, strides, before, (1,) * self.rank, sizes)
        self.sparse[layer.name] = meetings * int(x.shape[-1]) * filters
        return y

    def repeated(self, x, reads):
        if math.prod(reads.shape[: self.rank]) > 60:
            raise ValueError("large enough")
        size = self.numbers(1, 2)
        argument = size[0] if self.rank == 1 else size
        for axis, n in enumerate(size):
            reads = reads.repeat(n, axis)
        return self.noted(self.kind("UpSampling#")(argument), x, reads)

    def padded(self, x, reads):
        sides = tuple(zip(self.numbers(0, 2), self.numbers(0, 2)))
        layer = self.kind("ZeroPadding#")(sides[0] if self.rank == 1 else sides)
        return self.noted(layer, x, np.pad(reads, [*sides, *[(0, 0)] * self.rank]))

    def cropped(self, x, reads):
        sides = tuple(zip(self.numbers(0, 1), self.numbers(0, 1)))
        sizes = reads.shape[: self.rank]
        if any(n - sum(s) < 2 for n, s in zip(sizes, sides)):
            raise ValueError("does not fit")
        layer = self.kind("Cropping#")(sides[0] if self.rank == 1 else sides)
        parts = tuple(slice(s[0], n - s[1]) for n, s in zip(sizes, sides))
        return self.noted(layer, x, reads[parts])

    def pointwise(self, x, reads):
        layers = [L.ReLU(), L.BatchNormalization(), L.Dropout(0.5), L.Dense(int(x.shape[-1])),
                  L.LayerNormalization()]  # fmt: skip
        return self.noted(layers[int(self.rng.integers(len(layers)))], x, reads)

    def joined(self, x, reads):
        """Two ways that meet."""
        y, other = self.convolution(x, reads, plain=True, groups=1)
        if self.rng.random() < 0.5:
            return self.noted(L.Add(), [x, y], reads | other)
        return self.noted(L.Concatenate(), [x, y], reads | other)

    def units(self, name, count):
        """Some units of a layer."""
        every = list(itertools.product(*map(range, self.reads[name].shape[: self.rank])))
        if len(every) <= count:
            return every
        return [every[i] for i in self.rng.choice(len(every), count, replace=False)]


def _meetings(sizes, window, strides, before, dilation, outputs):
    """Pairs of places that meet, counted along each axis."""
    counts = [
        sum(0 <= i * s + u * d - b < n for i in range(o) for u in range(k))
        for n, k, s, b, d, o in zip(sizes, window, strides, before, dilation, outputs)
    ]
    return math.prod(counts)


STACKS = 200
RANKS = (2, 2, 2, 1, 2, 3)  # in turn


def stacks(count, **options):
    for seed in range(count):
        yield Stack(np.random.default_rng(seed), RANKS[seed % len(RANKS)], **options)


def fields_of(model, *args, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return analysis.receptive_field(model, *args, **options)
