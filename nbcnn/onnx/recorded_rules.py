"""ONNX's indices of pools, and what reads them."""

from collections.abc import Callable
from typing import Any

import numpy as np

from nbcnn import layers
from nbcnn.onnx.building import Builder, Unsupported
from nbcnn.onnx.files import Entry, ints
from nbcnn.onnx.values import Value
from nbcnn.ops.unpool import least_size


class Recorded:
    """Indices of a pool: ONNX numbers the pixels of a whole tensor, the layers those of an image.

    `places`: channels last; `size`: (h, w) of the pool's input.
    """

    def __init__(self, places: Any, size: tuple[int, int]) -> None:
        self.places, self.size, self.rows = places, size, 1


def within_image(entry: Entry, inputs: list[Any]) -> Value | None:
    """Indices modulo the pixels of an image are those of the layers."""
    pool, divisor = (*inputs, None)[:2]
    if entry.kind != "Mod" or not isinstance(pool, Recorded):
        return None
    if not isinstance(divisor, np.ndarray) or divisor.size != 1:
        return None
    alike = int(divisor.reshape(())) == pool.size[0] * pool.size[1]
    return Value(last=pool.places) if alike else None


def refuse_others(entry: Entry, inputs: list[Any]) -> None:
    """Indices as ONNX counts them are read by unpooling alone."""
    if entry.kind != "MaxUnpool" and any(isinstance(value, Recorded) for value in inputs):
        raise Unsupported(f"{entry}: of a pool's indices, which count through all samples")


def max_unpool(b: Builder, entry: Entry, x: Value, recorded: Any, shape: Any = None) -> Value:
    if not isinstance(recorded, Recorded):
        raise Unsupported(f"{entry}: of indices that no pool of two axes gives")
    window = ints(entry.attributes, "kernel_shape")
    strides = ints(entry.attributes, "strides", [1] * len(window))
    pads = ints(entry.attributes, "pads", [0] * 2 * len(window))
    sides = tuple(zip(pads[: len(window)], pads[len(window) :], strict=True))
    size = list(map(least_size, x.shape[2:], window, strides, sides))
    if shape is not None:
        size = [int(n) for n in b.constant(entry, shape)[2:]]
    if tuple(size) != recorded.size:
        raise Unsupported(f"{entry}: an image of {size}, indices are for {list(recorded.size)}")
    layer = layers.MaxUnpooling2D(
        tuple(window), tuple(strides), sides, output_size=tuple(size), name=b.name(entry)
    )
    return Value(last=layer(x.last(), recorded.places))


RULES: dict[str, Callable[..., Any]] = {"MaxUnpool": max_unpool}
