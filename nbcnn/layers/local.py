"""Locally connected layers: convolutions without shared weights."""

from typing import Any

from nbcnn import ops
from nbcnn.declare import arg, positive
from nbcnn.layers import fields
from nbcnn.layers.conv import WithKernel
from nbcnn.ops.local import Local2D, kernel_shape, local2d


class LocallyConnected(WithKernel):
    """Base of the locally connected layers."""

    filters: int = arg(check=positive)
    kernel_size: tuple = fields.sizes(2)
    strides: tuple = fields.sizes(2, 1)
    padding: Any = fields.padding(2)
    data_format: str = fields.data_format()
    activation: Any = fields.activation()
    use_bias: bool = True
    kernel_initializer: Any = fields.initializer("glorot_uniform")
    bias_initializer: Any = fields.initializer("zeros")
    kernel_regularizer: Any = fields.regularizer()
    bias_regularizer: Any = fields.regularizer()
    activity_regularizer: Any = fields.regularizer()
    kernel_constraint: Any = fields.constraint()
    bias_constraint: Any = fields.constraint()
    implementation: int = arg(1, choices=(1, 2, 3))
    needs_sizes = True
    _beyond_keras = True

    def _fixed_axes(self) -> tuple[int, ...]:
        return tuple(range(1, len(self.kernel_size) + 2))

    def geometry(self) -> tuple[tuple[int, int], tuple[int, int], Any]:
        """Window, strides and padding of images."""
        return self.kernel_size, self.strides, self.padding

    def as_images(self, x: Any) -> Any:
        return x

    def build(self, input_shape: Any) -> None:
        self.check_window(input_shape, self.kernel_size, "kernel_size")
        sizes = self.spatial_sizes(input_shape)
        if None in sizes:
            raise ValueError(
                f"{self.label}: each place has weights of its own, so sizes must be known, "
                f"got shape {input_shape}"
            )
        image: Any = (1, *sizes, *(1,) * (2 - len(sizes)), self.channels_of(input_shape))
        s = Local2D(*self.geometry()).geometry(image, self.filters)
        self.kernel = self.add_weight(
            kernel_shape(s),
            self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
            name="kernel",
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                (*(s.oh, s.ow)[: len(sizes)], self.filters),
                self.bias_initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
                name="bias",
            )

    def call(self, inputs: Any) -> Any:
        x = self.as_images(self.channels_last(inputs))
        y = local2d(x, self.kernel, *self.geometry())
        return self.finished(y if len(self.kernel_size) == 2 else ops.squeeze(y, 2))


class LocallyConnected2D(LocallyConnected):
    """Slides windows over an image as `Conv2D` does, with other kernels at every place.

    The layer that Keras 2 had; for images whose places have a meaning, as of aligned faces (Taigman
    et al. 2014). There are as many weights as multiplications of one sample.

    Parameters
    ----------
    filters : channels of the output.
    kernel_size : (height, width) of a window, or one number for both.
    strides : steps (down, right), default 1.
    padding : "valid" (default; none), "same", or zeros around the image: a number,
        (rows, columns), or ((top, bottom), (left, right)), less than the window's sizes.
    data_format : "channels_last" (default) or "channels_first".
    activation : name or function, default none.
    use_bias : whether a number per place and filter is added, default True.
    implementation : 1, 2 or 3, for Keras 2's sake: all is computed alike, with the kernel of 1.

    Shapes: (n, h, w, c) -> (n, oh, ow, filters). Weights: `kernel`
    (oh * ow, kh * kw * c, filters), `bias` (oh, ow, filters).

    Raises
    ------
    ValueError
        For an input of unknown or, later, of other sizes, or that is smaller than the window.

    Examples
    --------
    >>> layer = layers.LocallyConnected2D(4, 3)
    >>> layer(Input((6, 6, 1))).shape, layer.kernel.shape
    ((None, 4, 4, 4), (16, 9, 4))
    """

    _input_rank = 4


class LocallyConnected1D(LocallyConnected):
    """Slides windows over a sequence, with other kernels at every step. See `LocallyConnected2D`.

    Shapes: (n, length, c) -> (n, steps, filters). Weights: `kernel` (steps, k * c, filters), `bias`
    (steps, filters).
    """

    kernel_size: tuple = fields.sizes(1)
    strides: tuple = fields.sizes(1, 1)
    padding: Any = fields.padding(1)
    _input_rank = 3

    def geometry(self) -> tuple[tuple[int, int], tuple[int, int], Any]:
        """Of images one pixel wide: their rows are what kernels deal out."""
        padding = self.padding if isinstance(self.padding, str) else (*self.padding, (0, 0))
        return (*self.kernel_size, 1), (*self.strides, 1), padding

    def as_images(self, x: Any) -> Any:
        return ops.expand_dims(x, 2)
