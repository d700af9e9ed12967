"""Transposed convolution: what the gradient of a convolution does to its input."""

from typing import Any

from nbcnn.declare import arg, integers, non_negative, positive
from nbcnn.layers import fields
from nbcnn.layers.conv import WithKernel, algorithm
from nbcnn.ops import bfloat16
from nbcnn.ops.conv import Conv2DInputGradient
from nbcnn.ops.elementwise import of_one_type
from nbcnn.ops.op import apply


class Conv2DTranspose(WithKernel):
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

    filters: int = arg(check=positive)
    kernel_size: tuple = fields.sizes(2)
    strides: tuple = fields.sizes(2, 1)
    padding: str = arg("valid", choices=("valid", "same"))
    output_padding: tuple | None = arg(
        None, convert=lambda v: None if v is None else integers(2)(v), check=non_negative
    )
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
    rank = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        extra = self.output_padding
        if extra is not None and any(p >= s for p, s in zip(extra, self.strides)):
            raise ValueError(
                f"Conv2DTranspose: output_padding must be less than strides, "
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

    def call(self, inputs: Any) -> Any:
        x = self.channels_last(inputs)
        n, h, w, _ = x.shape
        (oh, rows), (ow, columns) = (self._output(axis, size) for axis, size in enumerate((h, w)))
        op = Conv2DInputGradient(
            self.strides,
            (rows, columns),
            self.dilation_rate,
            algorithm=self.conv_algorithm,
            bfloat16=bfloat16.allowed(),
            shape=(n, oh, ow, self.filters),  # type: ignore[arg-type]  # None: not known yet
        )
        return self.finished(apply(op, *of_one_type(x, self.kernel, floats=True)))

    def _output(self, axis: int, size: int | None) -> tuple[int | None, tuple[int, int]]:
        """Output size and padding (before, after) of the convolution that this one transposes."""
        if size is None:
            return None, (0, 0)
        stride = self.strides[axis]
        reach = (self.kernel_size[axis] - 1) * self.dilation_rate[axis] + 1
        extra = None if self.output_padding is None else self.output_padding[axis]
        if self.padding == "valid":
            extra = max(stride - reach, 0) if extra is None else extra
            return (size - 1) * stride + reach + extra, (0, 0)
        output = size * stride if extra is None else (size - 1) * stride + reach % 2 + extra
        surplus = max((size - 1) * stride + reach - output, 0)
        return output, (surplus // 2, surplus - surplus // 2)


Convolution2DTranspose = Conv2DTranspose
