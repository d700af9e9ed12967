"""Sparse convolutions: of maps of which a mask hides places."""

from typing import TYPE_CHECKING, Any

import numpy as np

from nbcnn import ops
from nbcnn.declare import arg, fraction, non_negative
from nbcnn.layers import fields, masks
from nbcnn.layers.conv import Conv2D
from nbcnn.layers.depthwise import DepthwiseConv2D
from nbcnn.layers.draws import Draws
from nbcnn.layers.padding import FROM_WITHIN
from nbcnn.layers.spatial import Spatial
from nbcnn.ops.conv import conv2d

if TYPE_CHECKING:  # a layer would bring fields, which then come first
    Mixin = Spatial
else:
    Mixin = object


def convolved(layer: Any, inputs: Any, mask: Any) -> Any:
    """What a masked convolution computes: of x m, with m the mask, then times the outputs' mask."""
    inputs, mask = masks.parted(inputs, mask)
    if mask is None:
        raise ValueError(f"{layer.label}: expected [inputs, mask], got inputs alone")
    x = layer.channels_last(inputs)
    seen = masks.factors(layer.label, mask, x)
    y = layer.convolved(x * seen)
    if layer.renormalize:
        around = _slid(layer, seen, np.ones(layer.kernel_size))
        y = y * (float(np.prod(layer.kernel_size)) / ops.maximum(around, 1.0))
    visible = _visible(layer, seen)
    y = layer.finished(y) * layer.restored(visible)
    return [y, ops.squeeze(visible, -1)] if layer.return_mask else y


def _visible(layer: Any, seen: Any) -> Any:
    """Which outputs are visible: (n, oh, ow, 1), 1 or 0."""
    if layer.renormalize or layer.strides != (1, 1):
        return ops.minimum(_slid(layer, seen, np.ones(layer.kernel_size)), 1.0)
    if layer.padding == "same":
        return seen
    centre = np.zeros(layer.kernel_size)
    centre[tuple((k - 1) // 2 for k in layer.kernel_size)] = 1
    return _slid(layer, seen, centre)


def _slid(layer: Any, seen: Any, window: np.ndarray) -> Any:
    """Sums of the mask over the windows of the kernel, weighted by `window`. Borders of pixels of
    the image are visible where these are, others are not.
    """
    kernel, padding = window[..., None, None].astype(seen.dtype), layer.padding
    if layer.padding_mode in FROM_WITHIN:
        seen, padding = layer.bordered(seen)
    return conv2d(seen, kernel, layer.strides, padding, layer.dilation_rate)


def check_counted(layer: Any) -> None:
    """Raise ValueError for `renormalize` beside borders of numbers, which are no visible places."""
    uncounted = layer.padding != "valid" and layer.padding_mode in ("constant", "mean")
    if layer.renormalize and uncounted:
        raise ValueError(
            f"{type(layer).__name__}: renormalize counts the places that sums are of; padding_mode "
            f"must be 'zeros' or one of {', '.join(map(repr, FROM_WITHIN))}, "
            f"got {layer.padding_mode!r}"
        )


class _Masked(Mixin):
    """What convolutions of an image and its mask share."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_counted(self)

    def _check_input(self, shapes: Any) -> None:
        super()._check_input(masks.shape_of_map(self.label, shapes))

    def build(self, input_shape: Any) -> None:
        super().build(masks.shape_of_map(self.label, input_shape))

    def call(self, inputs: Any, mask: Any = None) -> Any:
        return convolved(self, inputs, mask)


class MaskedConv2D(_Masked, Conv2D):
    """A convolution that sees visible places only, and leaves hidden ones 0: what a sparse
    convolution computes, for images of which patches are masked (ConvNeXt V2, Woo et al. 2023).

    With strides of 1 an output is visible where the centre of its window is, so that masks stay as
    they are from layer to layer (submanifold convolution, Graham & van der Maaten 2017); otherwise
    where any place of its window is.

    Parameters
    ----------
    renormalize : whether sums are multiplied by kernel size / number of visible places in the
        window, zeros outside of the image not counting, and outputs are visible where any place of
        the window is (partial convolution, Liu et al. 2018); default False.
    return_mask : whether the output is [outputs, their mask (n, oh, ow)]; default False.

    The other arguments are those of `Conv2D`.

    Call arguments: [inputs, mask], or inputs and mask; mask: (n, h, w), or (n, rows, columns) of
    patches, numbers that divide h and w; True or a number above 1/2 where places are visible.

    Shapes: (n, h, w, c) and (n, h, w) -> (n, oh, ow, filters). Weights as of `Conv2D`.

    Raises
    ------
    ValueError
        For a mask that does not fit the inputs, or none.
    """

    renormalize: bool = False
    return_mask: bool = False
    _beyond_keras = True


class MaskedDepthwiseConv2D(_Masked, DepthwiseConv2D):
    """A depthwise convolution that sees visible places only. See `MaskedConv2D`; the other
    arguments are those of `DepthwiseConv2D`.

    Shapes: (n, h, w, c) and (n, h, w) -> (n, oh, ow, c * depth_multiplier).
    """

    renormalize: bool = False
    return_mask: bool = False
    _beyond_keras = True


class PatchMask(Spatial):
    """Masks for training on what is left of images, a random set of patches for each sample.

    In training round(ratio * patches) patches of every image are hidden, all choices being equally
    likely; otherwise none.

    Parameters
    ----------
    patch_size : (height, width) of a patch in pixels, or one number for both.
    ratio : share of hidden patches, 0 to 1; default 0.6 (ConvNeXt V2).
    seed : a number makes the layer draw the same masks in every run; by default the draws follow
        `utils.set_random_seed`.

    Shapes: (n, h, w, c) -> (n, h / patch height, w / patch width), 1 where a patch is visible, else
    0: a mask for `MaskedConv2D` and `GlobalResponseNormalization`.

    Raises
    ------
    ValueError
        Where the patches do not tile the images.
    """

    patch_size: tuple = fields.sizes(2)
    ratio: float = arg(0.6, check=fraction)
    seed: int | None = arg(None, check=non_negative)
    data_format: str = fields.data_format(kw_only=True)
    needs_sizes = True
    _input_rank = 4
    _beyond_keras = True

    def _check_input(self, shapes: Any) -> None:
        super()._check_input(shapes)
        if any(size % patch for size, patch in zip(self.spatial_sizes(shapes), self.patch_size)):
            raise ValueError(
                f"{self.label}: patches of {self.patch_size} do not tile inputs of shape {shapes}"
            )

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        n, spatial = inputs.shape[0], self.spatial_sizes(inputs.shape)
        sizes = [(size or 0) // patch for size, patch in zip(spatial, self.patch_size)]
        patches = sizes[0] * sizes[1]
        hidden = round(self.ratio * patches)
        nothing = ops.zeros_like(inputs[:, :1, :1, 0])  # has the batch's size, also where unknown
        if not training or not hidden:
            return nothing + np.ones(sizes, inputs.dtype)
        drawn = Draws(self.seed, self.value_dtype).uniform((n, patches))
        ranks = ops.argsort(ops.argsort(drawn, -1), -1)
        visible = ops.cast(ops.greater_equal(ranks, hidden), inputs.dtype)
        return nothing + ops.reshape(visible, (-1, *sizes))
