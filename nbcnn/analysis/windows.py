"""Layers that are linear maps by windows: convolutions, their transposes, average pools."""

import dataclasses
import math
from typing import Any

import numpy as np

from nbcnn.layers.conv import Convolution
from nbcnn.layers.conv_transpose import ConvolutionTranspose
from nbcnn.layers.depthwise import Depthwise, Separable
from nbcnn.layers.pool import AveragePooling1D, AveragePooling2D, AveragePooling3D
from nbcnn.ops.conv import transposed_output, window_output

AVERAGES = (AveragePooling1D, AveragePooling2D, AveragePooling3D)
LINEAR = (Convolution, ConvolutionTranspose, Depthwise, Separable, *AVERAGES)
HOMES = {kind.__module__ for kind in LINEAR}


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


def windows_of(layer: Any, shape: Any) -> list[Windows] | None:
    """A layer on samples of a shape as steps of windows; None for other layers, for those with a
    `call` of their own, as masked ones have, and for borders that are no zeros.
    """
    if not is_linear(layer) or other_border(layer):
        return None
    first = layer.data_format == "channels_first"
    channels, sizes = (shape[0], shape[1:]) if first else (shape[-1], shape[:-1])
    if isinstance(layer, ConvolutionTranspose):
        return [_transposed(layer, sizes, channels, first)]
    if isinstance(layer, AVERAGES):
        geometry = _geometry(layer, sizes, layer.pool_size)
        ones: Any = {"groups": channels, "channels": channels, "filters": channels, "kernel": None}
        return [Windows(**geometry, **ones, first=first, mean=True)]
    geometry = _geometry(layer, sizes, layer.kernel_size)
    if isinstance(layer, Convolution):
        kernel = layer.kernel.numpy()
        if layer.flip_filters:
            kernel = np.flip(kernel, tuple(range(kernel.ndim - 2)))
        own: Any = {
            "groups": layer.groups,
            "filters": layer.filters,
            "kernel": kernel,
        }
        return [Windows(**geometry, **own, channels=channels, first=first)]
    return _by_channel(layer, geometry, channels, first)


def is_linear(layer: Any) -> bool:
    return isinstance(layer, LINEAR) and type(layer).call.__module__ in HOMES


def other_border(layer: Any) -> str | None:
    """What is around the input in the place of zeros."""
    mode = getattr(layer, "padding_mode", "zeros")
    return mode if mode != "zeros" and layer.padding != "valid" else None


def _geometry(layer: Any, sizes: tuple[int, ...], window: tuple[int, ...]) -> dict[str, Any]:
    dilation = getattr(layer, "dilation_rate", (1,) * len(window))
    strides = layer.strides or window
    pads = _pads(layer.padding, window, dilation)
    placed = [window_output(*g) for g in zip(sizes, window, strides, pads, dilation)]
    return {
        "sizes": tuple(sizes),
        "outputs": tuple(p[0] for p in placed),
        "window": tuple(window),
        "strides": tuple(strides),
        "before": tuple(p[1] for p in placed),
        "dilation": tuple(dilation),
    }


def _by_channel(layer: Any, geometry: dict[str, Any], channels: int, first: bool) -> list[Windows]:
    """A depthwise convolution, and what mixes its channels where the layer is separable."""
    separable, made = isinstance(layer, Separable), channels * layer.depth_multiplier
    kernel = (layer.depthwise_kernel if separable else layer.kernel).numpy()
    kernel = kernel.reshape(*layer.kernel_size, 1, made)
    own: Any = {"groups": channels, "channels": channels, "filters": made, "kernel": kernel}
    steps = [Windows(**geometry, **own, first=first)]
    if separable:
        outputs, ones = geometry["outputs"], (1,) * len(geometry["outputs"])
        mixing = layer.pointwise_kernel.numpy()
        steps.append(
            Windows(
                outputs, outputs, ones, ones, (0,) * len(ones), ones, 1, made, layer.filters,
                mixing, first,
            )
        )  # fmt: skip
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
