"""Transposed convolution: what the gradient of a convolution does to its input."""

from typing import Any

from nbcnn import ops
from nbcnn.declare import arg, integers, non_negative, positive
from nbcnn.layers import fields
from nbcnn.layers.conv import WithKernel, algorithm
from nbcnn.layers.spatial import as_image, as_sequence
from nbcnn.ops import bfloat16
from nbcnn.ops.conv import Conv2DInputGradient, transposed_output
from nbcnn.ops.elementwise import of_one_type
from nbcnn.ops.op import apply


def extra(axes: int) -> Any:
    """The field `output_padding`."""
    convert = integers(axes)
    return arg(None, convert=lambda v: None if v is None else convert(v), check=non_negative)


class ConvolutionTranspose(WithKernel):
    """Base of the transposed convolutions."""

    filters: int = arg(check=positive)
    kernel_size: tuple = fields.sizes(2)
    strides: tuple = fields.sizes(2, 1)
    padding: str = arg("valid", choices=("valid", "same"))
    output_padding: tuple | None = extra(2)
    data_format: str = fields.data_format()
    dilation_rate: tuple = fields.sizes(2, 1)
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

    def __post_init__(self) -> None:
        super().__post_init__()
        extra = self.output_padding
        if extra is not None and any(p >= s for p, s in zip(extra, self.strides)):
            raise ValueError(
                f"{type(self).__name__}: output_padding must be less than strides, "
                f"got output_padding={extra}, strides={self.strides}"
            )

    def check_window(self, shape: Any, window: Any, argument: str) -> None:
        """Any window fits: the output is as large as it needs."""

    def build(self, input_shape: Any) -> None:
        self.kernel = self.add_weight(
            (*self.kernel_size, self.filters, self.channels_of(input_shape)),
            self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
            name="kernel",
        )
        self.add_bias(self.filters)

    def images_from(self, x: Any, kernel: Any, *geometry: tuple) -> Any:
        """The transposed convolution of images x: strides, dilation, padding of the output."""
        strides, dilation, output_padding = geometry
        n, *sizes, _ = x.shape
        (oh, rows), (ow, columns) = (
            self._output(size, *along)
            for size, *along in zip(sizes, kernel.shape, strides, dilation, output_padding)
        )
        op = Conv2DInputGradient(
            strides,
            (rows, columns),
            dilation,
            algorithm=self.conv_algorithm,
            bfloat16=bfloat16.allowed(),
            shape=(n, oh, ow, self.filters),  # type: ignore[arg-type]  # None: not known yet
        )
        return apply(op, *of_one_type(x, kernel, floats=True))

    def _output(
        self, size: int | None, window: int, stride: int, dilation: int, more: int | None
    ) -> tuple[int | None, tuple[int, int]]:
        """Output size and padding (before, after) of the convolution that this one transposes."""
        if size is None:
            return None, (0, 0)
        return transposed_output(size, window, stride, self.padding, more, dilation)


class Conv2DTranspose(ConvolutionTranspose):
    """Spreads every pixel over a window of the output: enlarges images by `strides`.

    Parameters
    ----------
    padding : "valid" (default): output (h - 1) * stride + max(kernel, stride); "same": output
        h * stride.
    output_padding : rows and columns added to the smallest output that gives back the input's
        size; less than `strides`. None (default) means the sizes above.

    The other arguments are those of `Conv2D`, without groups.

    Shapes: (n, h, w, c) -> (n, oh, ow, filters). Weights: `kernel` (kh, kw, filters, c), `bias`.
    """

    _input_rank = 4

    def call(self, inputs: Any) -> Any:
        more = self.output_padding or (None, None)
        x = self.channels_last(inputs)
        return self.finished(
            self.images_from(x, self.kernel, self.strides, self.dilation_rate, more)
        )


class Conv1DTranspose(ConvolutionTranspose):
    """Spreads every step over a window: enlarges sequences by `strides`. See `Conv2DTranspose`.

    Shapes: (n, length, c) -> (n, steps, filters). Weights: `kernel` (k, filters, c), `bias`.
    """

    kernel_size: tuple = fields.sizes(1)
    strides: tuple = fields.sizes(1, 1)
    output_padding: tuple | None = extra(1)
    dilation_rate: tuple = fields.sizes(1, 1)
    _input_rank = 3

    def call(self, inputs: Any) -> Any:
        more = (None, *self.output_padding) if self.output_padding else (None, None)
        y = self.images_from(
            as_image(self.channels_last(inputs)),
            ops.expand_dims(self.kernel, 0),
            (1, *self.strides),
            (1, *self.dilation_rate),
            more,
        )
        return self.finished(as_sequence(y))


class Conv3DTranspose(
    ConvolutionTranspose, first=("filters", "kernel_size", "strides", "padding", "data_format")
):
    """Spreads every value over a window: enlarges volumes by `strides`. See `Conv2DTranspose`.

    Shapes: (n, d, h, w, c) -> (n, od, oh, ow, filters). Weights: `kernel`
    (kd, kh, kw, filters, c), `bias`. As in Keras, `data_format` comes before `output_padding`.
    """

    kernel_size: tuple = fields.sizes(3)
    strides: tuple = fields.sizes(3, 1)
    output_padding: tuple | None = extra(3)
    dilation_rate: tuple = fields.sizes(3, 1)
    _input_rank = 5
    needs_sizes = True

    def call(self, inputs: Any) -> Any:
        x, kernel = of_one_type(self.channels_last(inputs), self.kernel, floats=True)
        y = ops.conv_transpose(
            x,
            kernel,
            self.strides,
            self.padding,
            self.output_padding,
            "channels_last",
            self.dilation_rate,
            self.conv_algorithm,
        )
        return self.finished(y)


Convolution1DTranspose = Conv1DTranspose
Convolution2DTranspose = Conv2DTranspose
Convolution3DTranspose = Conv3DTranspose
