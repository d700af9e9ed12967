"""Layers that are linear maps by windows: convolutions, their transposes, average pools."""

import dataclasses
import math
from typing import Any

import numpy as np

from nbcnn.layers.conv import Convolution
from nbcnn.layers.conv_transpose import ConvolutionTranspose
from nbcnn.layers.depthwise import Depthwise, Separable
from nbcnn.layers.pool import (
    AveragePooling1D,
    AveragePooling2D,
    AveragePooling3D,
    MaxPooling1D,
    MaxPooling2D,
    MaxPooling3D,
)
from nbcnn.ops.conv import transposed_output, window_output

AVERAGES = (AveragePooling1D, AveragePooling2D, AveragePooling3D)
MAXIMA = (MaxPooling1D, MaxPooling2D, MaxPooling3D)
LINEAR = (Convolution, ConvolutionTranspose, Depthwise, Separable, *AVERAGES)


@dataclasses.dataclass(frozen=True)
class Windows:
    """A convolution's geometry: y[o, f] = sum over u, c of x[o * stride + u * dilation - before, c]
    * kernel[u, c, f], along each spatial axis, per group of channels. `transposed`: the layer goes
    from y to x. `mean`: sums are divided by how many elements are there.
    """

    sizes: tuple[int, ...]
    outputs: tuple[int, ...]
    window: tuple[int, ...]
    strides: tuple[int, ...]
    before: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    channels: int
    filters: int
    kernel: Any  # (*window, channels / groups, filters), or None for ones
    first: bool  # whether channels come first
    transposed: bool = False
    mean: bool = False

    def places(self) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """For each axis (output, input, tap) of all pairs of elements that meet."""
        found = []
        for n, outputs, window, stride, before, dilation in zip(
            self.sizes, self.outputs, self.window, self.strides, self.before, self.dilation
        ):
            at = np.arange(outputs)[:, None] * stride + np.arange(window) * dilation - before
            rows, taps = np.nonzero((at >= 0) & (at < n))
            found.append((rows, at[rows, taps], taps))
        return found

    @property
    def entries(self) -> int:
        """Of the matrix, where none is for elements that do not meet."""
        pairs = math.prod(len(rows) for rows, _, _ in self.places())
        return pairs * (self.channels // self.groups) * self.filters

    @property
    def dense_entries(self) -> int:
        """Of the whole matrix."""
        inputs = math.prod(self.sizes) * self.channels
        return inputs * math.prod(self.outputs) * self.filters


def windows_of(layer: Any, shape: tuple[int, ...]) -> list[Windows] | None:
    """A layer on samples of a shape as steps of windows; None for other layers."""
    if not isinstance(layer, LINEAR):
        return None
    first = layer.data_format == "channels_first"
    channels, sizes = (shape[0], shape[1:]) if first else (shape[-1], shape[:-1])
    if isinstance(layer, ConvolutionTranspose):
        return [_transposed(layer, sizes, channels, first)]
    pool = isinstance(layer, AVERAGES)
    window = layer.pool_size if pool else layer.kernel_size
    dilation = getattr(layer, "dilation_rate", (1,) * len(window))
    strides = layer.strides or window
    pads = _pads(layer.padding, window, dilation)
    placed = [window_output(*g) for g in zip(sizes, window, strides, pads, dilation)]
    outputs, before = tuple(p[0] for p in placed), tuple(p[1] for p in placed)
    geometry = (tuple(sizes), outputs, tuple(window), tuple(strides), before, tuple(dilation))
    if pool:
        return [Windows(*geometry, channels, channels, channels, None, first, mean=True)]
    if isinstance(layer, Convolution):
        kernel = layer.kernel.numpy()
        return [Windows(*geometry, layer.groups, channels, layer.filters, kernel, first)]
    separable = isinstance(layer, Separable)
    kernel = (layer.depthwise_kernel if separable else layer.kernel).numpy()
    made = channels * layer.depth_multiplier
    kernel = kernel.reshape(*window, 1, made)
    steps = [Windows(*geometry, channels, channels, made, kernel, first)]
    if separable:
        ones, zeros = (1,) * len(window), (0,) * len(window)
        kernel, mixed = layer.pointwise_kernel.numpy(), (outputs, outputs, ones, ones, zeros, ones)
        steps.append(Windows(*mixed, 1, made, layer.filters, kernel, first))
    return steps


def _transposed(layer: Any, sizes: tuple[int, ...], channels: int, first: bool) -> Windows:
    """The convolution whose transpose the layer is: from its output to its input."""
    more = layer.output_padding or (None,) * len(sizes)
    along = zip(sizes, layer.kernel_size, layer.strides, more, layer.dilation_rate)
    found = [transposed_output(n, k, s, layer.padding, extra, d) for n, k, s, extra, d in along]
    return Windows(
        tuple(size for size, _ in found), tuple(sizes), tuple(layer.kernel_size),
        tuple(layer.strides), tuple(sides[0] for _, sides in found), tuple(layer.dilation_rate),
        1, layer.filters, channels, layer.kernel.numpy(), first, transposed=True,
    )  # fmt: skip


def _pads(padding: Any, window: Any, dilation: Any) -> tuple:
    if padding == "causal":
        return (((window[0] - 1) * dilation[0], 0),)
    return (padding,) * len(window) if isinstance(padding, str) else padding
