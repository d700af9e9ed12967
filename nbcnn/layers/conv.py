"""Convolutions of images, sequences and volumes."""

from typing import TYPE_CHECKING, Any

from nbcnn import config, ops
from nbcnn.declare import arg, positive
from nbcnn.layers import fields
from nbcnn.layers.padding import border, check_border, sides_of
from nbcnn.layers.spatial import Spatial, as_image, as_sequence, flat_padding
from nbcnn.ops.conv import conv2d


def algorithm() -> Any:
    """The field `conv_algorithm`."""
    return arg(None, choices=(None, *config.CONV_ALGORITHMS), kw_only=True)


class WithKernel(Spatial):
    """What layers with a convolution kernel, a bias and an activation share."""

    kernel_size = (1,)
    use_bias = True
    activation = None
    padding_mode, padding_value = "zeros", 0.0
    bias_initializer = bias_regularizer = bias_constraint = None
    if TYPE_CHECKING:  # an annotation here would make it a field
        padding: Any

    def _fixed_axes(self) -> tuple[int, ...]:
        return (self.channel_axis,)

    def _check_input(self, shapes: Any) -> None:
        super()._check_input(shapes)
        self.check_window(shapes, self.kernel_size, "kernel_size")
        sizes = self.spatial_sizes(shapes)
        if self.padding_mode != "zeros" and self.padding != "valid" and None not in sizes:
            check_border(self, shapes, sides_of(self, sizes), self.padding_mode)

    def bordered(self, x: Any) -> tuple[Any, Any]:
        """x, channels last, within what `padding_mode` puts around it, and the padding with zeros
        that is left to the convolution.
        """
        if self.padding_mode == "zeros" or self.padding == "valid":
            return x, self.padding
        sides = sides_of(self, x.shape[1:-1])
        return border(x, sides, self.padding_mode, self.padding_value), "valid"

    def add_bias(self, size: int) -> None:
        """The weight `bias`, where the layer has one."""
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                (size,),
                self.bias_initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
                name="bias",
            )

    def finished(self, y: Any) -> Any:
        """Bias and activation of a result with channels last, in the layer's own format."""
        y = self.restored(y if self.bias is None else ops.add(y, self.bias))
        return y if self.activation is None else self.activation(y)


class Convolution(WithKernel):
    """Base of `Conv1D`, `Conv2D` and `Conv3D`."""

    filters: int = arg(check=positive)
    kernel_size: tuple = fields.sizes(2)
    strides: tuple = fields.sizes(2, 1)
    padding: Any = fields.padding(2)
    data_format: str = fields.data_format()
    dilation_rate: tuple = fields.sizes(2, 1)
    groups: int = arg(1, check=positive)
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
    padding_mode: str = fields.padding_mode()
    padding_value: float = arg(0.0, kw_only=True)
    flip_filters: bool = arg(False, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.filters % self.groups:
            raise ValueError(
                f"{type(self).__name__}: groups must divide filters, "
                f"got groups={self.groups}, filters={self.filters}"
            )

    def build(self, input_shape: Any) -> None:
        self.check_window(input_shape, self.kernel_size, "kernel_size")
        channels = self.channels_of(input_shape)
        if channels % self.groups:
            raise ValueError(
                f"{self.label}: groups must divide the input's channels, "
                f"got groups={self.groups}, input shape {input_shape}"
            )
        self.kernel = self.add_weight(
            (*self.kernel_size, channels // self.groups, self.filters),
            self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
            name="kernel",
        )
        self.add_bias(self.filters)

    def correlated(self) -> Any:
        """The kernel as a sliding window multiplies it."""
        axes = range(len(self.kernel_size))
        return ops.flip(self.kernel, axes) if self.flip_filters else self.kernel


class Conv2D(Convolution):
    """Slides `filters` kernels over an image and sums the products.

    Parameters
    ----------
    filters : number of kernels, and of channels of the output.
    kernel_size : (height, width) of a kernel, or one number for both.
    strides : steps (down, right), default 1.
    padding : "valid" (default; none), "same" (output size = input size / strides, rounded up), or
        zeros around the image: a number, (rows, columns), or ((top, bottom), (left, right)).
    data_format : "channels_last" (default) or "channels_first".
    dilation_rate : distance between the pixels that neighbouring kernel entries see, default 1.
    groups : channels and filters fall into this many groups that do not mix, default 1.
    activation : name or function, default none.
    use_bias : whether a number per filter is added, default True.
    conv_algorithm : "direct", "im2col" or "auto"; None (default) leaves it to
        `config.set_conv_algorithm`.
    padding_mode : what is around the image instead of "zeros" (default), as wide as `padding` says:
        "constant", "reflect", "symmetric", "edge", "circular" or "mean" as in `Padding2D`.
    padding_value : the number for "constant", default 0.
    flip_filters : True convolves as mathematics has it, with kernels turned round, and not as by
        default (False) and in most networks, where kernels lie on the image as they are
        (cross-correlation).

    Shapes: (n, h, w, c) -> (n, oh, ow, filters). Weights: `kernel` (kh, kw, c / groups, filters),
    `bias` (filters,).

    Raises
    ------
    ValueError
        Where the kernel is larger than the padded input, `groups` does not divide channels and
        filters, or the input has another number of channels than before.

    Examples
    --------
    >>> layers.Conv2D(8, 3, padding="same", activation="relu")(Input((28, 28, 1))).shape
    (None, 28, 28, 8)
    """

    _input_rank = 4

    def call(self, inputs: Any) -> Any:
        return self.finished(self.convolved(self.channels_last(inputs)))

    def convolved(self, x: Any) -> Any:
        """The sums of products of x, with channels last, before the bias."""
        x, padding = self.bordered(x)
        return conv2d(
            x,
            self.correlated(),
            self.strides,
            padding,
            self.dilation_rate,
            self.groups,
            self.conv_algorithm,
        )


class Conv1D(Convolution):
    """Slides kernels over a sequence. Arguments as `Conv2D`, with one size each.

    Parameters
    ----------
    padding : also "causal": zeros before the sequence only, so that outputs see no later inputs; or
        (before, after).

    Shapes: (n, length, c) -> (n, steps, filters). Weights: `kernel` (k, c / groups, filters),
    `bias` (filters,).
    """

    kernel_size: tuple = fields.sizes(1)
    strides: tuple = fields.sizes(1, 1)
    padding: Any = fields.padding(1, "causal")
    dilation_rate: tuple = fields.sizes(1, 1)
    _input_rank = 3

    def call(self, inputs: Any) -> Any:
        x, padding = self.bordered(self.channels_last(inputs))
        y = conv2d(
            as_image(x),
            ops.expand_dims(self.correlated(), 0),
            (1, *self.strides),
            self.image_padding(padding),
            (1, *self.dilation_rate),
            self.groups,
            self.conv_algorithm,
        )
        return self.finished(as_sequence(y))

    def image_padding(self, padding: Any) -> Any:
        if padding != "causal":
            return flat_padding(padding)
        return ((0, 0), ((self.kernel_size[0] - 1) * self.dilation_rate[0], 0))


class Conv3D(Convolution):
    """Slides kernels over a volume, as frames of a film. Arguments as `Conv2D`, with three sizes.

    Parameters
    ----------
    padding : "valid" (default), "same", or zeros around: a number, (planes, rows, columns), or
        ((front, back), (top, bottom), (left, right)).

    Shapes: (n, d, h, w, c) -> (n, od, oh, ow, filters). Weights: `kernel`
    (kd, kh, kw, c / groups, filters), `bias` (filters,).
    """

    kernel_size: tuple = fields.sizes(3)
    strides: tuple = fields.sizes(3, 1)
    padding: Any = fields.padding(3)
    dilation_rate: tuple = fields.sizes(3, 1)
    _input_rank = 5
    needs_sizes = True

    def call(self, inputs: Any) -> Any:
        x, padding = self.bordered(self.channels_last(inputs))
        y = ops.conv(
            x,
            self.correlated(),
            self.strides,
            padding,
            "channels_last",
            self.dilation_rate,
            self.groups,
            self.conv_algorithm,
        )
        return self.finished(y)


Convolution1D = Conv1D
Convolution2D = Conv2D
Convolution3D = Conv3D
