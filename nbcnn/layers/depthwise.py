"""Convolutions that treat every channel by itself."""

from typing import Any

from nbcnn import ops
from nbcnn.declare import arg, positive
from nbcnn.layers import fields
from nbcnn.layers.conv import WithKernel, algorithm
from nbcnn.layers.spatial import as_image, as_sequence, flat_padding
from nbcnn.ops.conv import conv2d


def depthwise(layer: Any, x: Any, kernel: Any) -> Any:
    """x (n, h, w, c) by kernel (kh, kw, c, m): a convolution with c groups of m filters.

    Of (n, length, c) by (k, c, m), the same on images of one row.
    """
    strides, dilation = layer.strides, layer.dilation_rate
    x, padding = layer.bordered(x)
    if x.ndim == 3:
        x, kernel = as_image(x), ops.expand_dims(kernel, 0)
        strides, dilation = (1, *strides), (1, *dilation)
        padding = flat_padding(padding)
        return as_sequence(_grouped(layer, x, kernel, strides, padding, dilation))
    return _grouped(layer, x, kernel, strides, padding, dilation)


def _grouped(layer: Any, x: Any, kernel: Any, strides: Any, padding: Any, dilation: Any) -> Any:
    kh, kw, c, m = kernel.shape
    filters = ops.reshape(kernel, (kh, kw, 1, c * m))
    return conv2d(x, filters, strides, padding, dilation, c, layer.conv_algorithm)


class Depthwise(WithKernel):
    """Base of the depthwise convolutions."""

    kernel_size: tuple = fields.sizes(2)
    strides: tuple = fields.sizes(2, 1)
    padding: Any = fields.padding(2)
    depth_multiplier: int = arg(1, check=positive)
    data_format: str = fields.data_format()
    dilation_rate: tuple = fields.sizes(2, 1)
    activation: Any = fields.activation()
    use_bias: bool = True
    depthwise_initializer: Any = fields.initializer("glorot_uniform")
    bias_initializer: Any = fields.initializer("zeros")
    depthwise_regularizer: Any = fields.regularizer()
    bias_regularizer: Any = fields.regularizer()
    activity_regularizer: Any = fields.regularizer()
    depthwise_constraint: Any = fields.constraint()
    bias_constraint: Any = fields.constraint()
    conv_algorithm: str | None = algorithm()
    padding_mode: str = fields.padding_mode()
    padding_value: float = arg(0.0, kw_only=True)

    def build(self, input_shape: Any) -> None:
        self.check_window(input_shape, self.kernel_size, "kernel_size")
        channels = self.channels_of(input_shape)
        self.kernel = self.add_weight(
            (*self.kernel_size, channels, self.depth_multiplier),
            self.depthwise_initializer,
            regularizer=self.depthwise_regularizer,
            constraint=self.depthwise_constraint,
            name="kernel",
        )
        self.add_bias(channels * self.depth_multiplier)

    def call(self, inputs: Any) -> Any:
        return self.finished(self.convolved(self.channels_last(inputs)))

    def convolved(self, x: Any) -> Any:
        """The sums of products of x, with channels last, before the bias."""
        return depthwise(self, x, self.kernel)


class DepthwiseConv2D(Depthwise):
    """Slides over each channel its own kernels: `depth_multiplier` of them.

    The other arguments are those of `Conv2D`.

    Shapes: (n, h, w, c) -> (n, oh, ow, c * depth_multiplier). Weights: `kernel` (kh, kw, c,
    depth_multiplier), `bias`.
    """

    _input_rank = 4


class DepthwiseConv1D(Depthwise):
    """Slides over each channel of a sequence its own kernels. See `DepthwiseConv2D`.

    Shapes: (n, length, c) -> (n, steps, c * depth_multiplier). Weights: `kernel` (k, c,
    depth_multiplier), `bias`.
    """

    kernel_size: tuple = fields.sizes(1)
    strides: tuple = fields.sizes(1, 1)
    padding: Any = fields.padding(1)
    dilation_rate: tuple = fields.sizes(1, 1)
    _input_rank = 3


class Separable(WithKernel):
    """Base of the separable convolutions."""

    filters: int = arg(check=positive)
    kernel_size: tuple = fields.sizes(2)
    strides: tuple = fields.sizes(2, 1)
    padding: Any = fields.padding(2)
    data_format: str = fields.data_format()
    dilation_rate: tuple = fields.sizes(2, 1)
    depth_multiplier: int = arg(1, check=positive)
    activation: Any = fields.activation()
    use_bias: bool = True
    depthwise_initializer: Any = fields.initializer("glorot_uniform")
    pointwise_initializer: Any = fields.initializer("glorot_uniform")
    bias_initializer: Any = fields.initializer("zeros")
    depthwise_regularizer: Any = fields.regularizer()
    pointwise_regularizer: Any = fields.regularizer()
    bias_regularizer: Any = fields.regularizer()
    activity_regularizer: Any = fields.regularizer()
    depthwise_constraint: Any = fields.constraint()
    pointwise_constraint: Any = fields.constraint()
    bias_constraint: Any = fields.constraint()
    conv_algorithm: str | None = algorithm()
    padding_mode: str = fields.padding_mode()
    padding_value: float = arg(0.0, kw_only=True)

    def build(self, input_shape: Any) -> None:
        self.check_window(input_shape, self.kernel_size, "kernel_size")
        channels = self.channels_of(input_shape)
        self.depthwise_kernel = self.add_weight(
            (*self.kernel_size, channels, self.depth_multiplier),
            self.depthwise_initializer,
            regularizer=self.depthwise_regularizer,
            constraint=self.depthwise_constraint,
            name="depthwise_kernel",
        )
        self.pointwise_kernel = self.add_weight(
            (*(1,) * len(self.kernel_size), channels * self.depth_multiplier, self.filters),
            self.pointwise_initializer,
            regularizer=self.pointwise_regularizer,
            constraint=self.pointwise_constraint,
            name="pointwise_kernel",
        )
        self.add_bias(self.filters)

    def call(self, inputs: Any) -> Any:
        y = depthwise(self, self.channels_last(inputs), self.depthwise_kernel)
        return self.finished(self._mixed(y))

    def _mixed(self, y: Any) -> Any:
        return conv2d(y, self.pointwise_kernel, algorithm=self.conv_algorithm)


class SeparableConv2D(Separable):
    """A depthwise convolution, then a 1×1 convolution that mixes the channels.

    The arguments are those of `Conv2D` and `DepthwiseConv2D`; strides, padding and dilation belong
    to the first of the two.

    Shapes: (n, h, w, c) -> (n, oh, ow, filters). Weights: `depthwise_kernel` (kh, kw, c,
    depth_multiplier), `pointwise_kernel` (1, 1, c * depth_multiplier, filters), `bias`.
    """

    _input_rank = 4


class SeparableConv1D(Separable):
    """A depthwise convolution of sequences, then one that mixes the channels. See
    `SeparableConv2D`.

    Shapes: (n, length, c) -> (n, steps, filters). Weights: `depthwise_kernel` (k, c,
    depth_multiplier), `pointwise_kernel` (1, c * depth_multiplier, filters), `bias`.
    """

    kernel_size: tuple = fields.sizes(1)
    strides: tuple = fields.sizes(1, 1)
    padding: Any = fields.padding(1)
    dilation_rate: tuple = fields.sizes(1, 1)
    _input_rank = 3

    def _mixed(self, y: Any) -> Any:
        kernel = ops.expand_dims(self.pointwise_kernel, 0)
        return as_sequence(conv2d(as_image(y), kernel, algorithm=self.conv_algorithm))


SeparableConvolution1D = SeparableConv1D
SeparableConvolution2D = SeparableConv2D
