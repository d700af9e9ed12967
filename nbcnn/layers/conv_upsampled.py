"""Upscaling, then convolution."""

from typing import Any

import numpy as np

from nbcnn import ops
from nbcnn.declare import arg, positive
from nbcnn.layers import fields
from nbcnn.layers.conv import WithKernel, algorithm
from nbcnn.layers.image_size import INTERPOLATIONS
from nbcnn.layers.reshape import UpSampling2D
from nbcnn.ops import bfloat16
from nbcnn.ops.conv import Conv2DInputGradient, conv2d
from nbcnn.ops.elementwise import of_one_type
from nbcnn.ops.op import apply
from nbcnn.ops.windows import along


class UpsampleConv2D(WithKernel):
    """Enlarges images, then slides kernels over them: what `Conv2DTranspose` does without its
    checkerboards, as every output pixel sees equally many inputs (Odena, Dumoulin & Olah 2016).

    Parameters
    ----------
    filters : number of kernels, and of channels of the output.
    kernel_size : (height, width) of a kernel, or one number for both.
    size : how many times as high and wide the enlarged images are, (rows, columns) or one number
        for both; default 2.
    interpolation : "nearest" (default) repeats every pixel; "bilinear", "bicubic", "lanczos3" and
        "lanczos5" as in `Resizing`.
    padding : "same" (default): output (h * rows, w * columns); "valid": kernel size - 1 less.

    The other arguments are those of `Conv2D`, without strides, dilation and groups.

    Shapes: (n, h, w, c) -> (n, oh, ow, filters). Weights: `kernel` (kh, kw, c, filters), `bias`.

    Raises
    ------
    ValueError
        Where the kernel is larger than the enlarged image.
    """

    filters: int = arg(check=positive)
    kernel_size: tuple = fields.sizes(2)
    size: tuple = fields.sizes(2, 2)
    interpolation: str = arg("nearest", choices=INTERPOLATIONS)
    padding: str = arg("same", choices=("valid", "same"))
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
    conv_algorithm: str | None = algorithm()
    _input_rank = 4
    _beyond_keras = True

    def spatial_sizes(self, shape: Any) -> tuple[int | None, ...]:
        """Of the enlarged image, over which the kernel slides."""
        sizes = super().spatial_sizes(shape)
        return tuple(n if n is None else n * times for n, times in zip(sizes, self.size))

    def build(self, input_shape: Any) -> None:
        self.check_window(input_shape, self.kernel_size, "kernel_size")
        self.kernel = self.add_weight(
            (*self.kernel_size, self.channels_of(input_shape), self.filters),
            self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
            name="kernel",
        )
        self.add_bias(self.filters)

    def call(self, inputs: Any) -> Any:
        x = self.channels_last(inputs)
        if self.interpolation == "nearest":
            return self.finished(self.spread(x))
        large = UpSampling2D(self.size, "channels_last", self.interpolation).call(x)
        return self.finished(
            conv2d(large, self.kernel, padding=self.padding, algorithm=self.conv_algorithm)
        )

    def spread(self, x: Any) -> Any:
        """By the transposed convolution that repeating pixels and convolving amount to.

        With u[m] = x[m // s] and y[o] = sum of w[j] u[o + j - p], x[i] counts in y[s i + r + p - j]
        for 0 <= r < s: its kernel at t is the sum of w[k - 1 + r - t] over r, its windows of
        k + s - 1 start k - 1 - p before s i. Neither are the repeated pixels stored, nor
        multiplied by each of their copies.
        """
        n, *inner, _ = x.shape
        sizes, pads = zip(*map(self.geometry, inner, self.kernel_size, self.size))
        op = Conv2DInputGradient(
            self.size,
            pads,
            algorithm=self.conv_algorithm,
            bfloat16=bfloat16.allowed(),
            shape=(n, *sizes, self.filters),  # sizes may be None: not known yet
        )
        return apply(op, *of_one_type(x, self.wide_kernel(), floats=True))

    def geometry(
        self, size: int | None, window: int, times: int
    ) -> tuple[int | None, tuple[int, int]]:
        """Output size along an axis, and padding of the convolution that `spread` transposes."""
        surplus = window - 1
        zeros = surplus if self.padding == "same" else 0
        output = None if size is None else size * times - surplus + zeros
        return output, (surplus - zeros // 2, surplus - (zeros - zeros // 2))

    def wide_kernel(self) -> Any:
        """(kh + rows - 1, kw + columns - 1, filters, c)."""
        kernel = self.kernel
        for axis, (window, times) in enumerate(zip(self.kernel_size, self.size)):
            offset = np.arange(window + times - 1)[:, None] - np.arange(window)[::-1]
            kernel = along(kernel, (offset >= 0) & (offset < times), axis)
        return ops.transpose(kernel, (0, 1, 3, 2))
