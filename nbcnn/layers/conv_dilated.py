"""Convolutions whose filters look through windows of several widths."""

from typing import Any

from nbcnn import ops
from nbcnn.declare import KINDS, Expected, arg, integers, positive
from nbcnn.layers import fields
from nbcnn.layers.conv import WithKernel, algorithm
from nbcnn.layers.spatial import as_image, as_sequence, flat_padding
from nbcnn.ops.conv import conv2d

Rates = tuple[tuple[int, ...], ...]


def shares(value: Any) -> Any:
    """A number of filters, or one for each rate."""
    if KINDS["int"](value):
        return int(value)
    if isinstance(value, (list, tuple)) and value and all(map(KINDS["int"], value)):
        return tuple(int(n) for n in value)
    raise Expected("must be an integer or a tuple of them")


def rates(axes: int) -> Any:
    """The field `dilation_rates`: one number for each of `axes` axes, several times."""
    one = integers(axes)

    def convert(value: Any) -> Rates:
        if not isinstance(value, (list, tuple)) or not value:
            raise Expected(f"must be a tuple of rates, each an integer or a tuple of {axes}")
        return tuple(one(rate) for rate in value)

    return arg((1, 2, 4), convert=convert, check=positive)


class MultiDilated(WithKernel):
    """Base of the convolutions with several dilation rates."""

    filters: Any = arg(convert=shares, check=positive)
    kernel_size: tuple = fields.sizes(2)
    dilation_rates: Rates = rates(2)
    strides: tuple = fields.sizes(2, 1)
    padding: str = arg("valid", choices=("valid", "same"))
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
    _beyond_keras = True

    def __post_init__(self) -> None:
        super().__post_init__()
        count, given = len(self.dilation_rates), self.filters
        fits = len(given) == count if isinstance(given, tuple) else given >= count
        if not fits:
            raise ValueError(
                f"{type(self).__name__}: filters must be at least one for each of the {count} "
                f"dilation_rates, or a tuple of {count}, got filters={given}, "
                f"dilation_rates={self.dilation_rates}"
            )

    @property
    def shares(self) -> tuple[int, ...]:
        """How many filters each rate has: equally many, the first ones what is left over."""
        if isinstance(self.filters, tuple):
            return self.filters
        each, more = divmod(self.filters, len(self.dilation_rates))
        return tuple(each + (i < more) for i in range(len(self.dilation_rates)))

    @property
    def dilation_rate(self) -> tuple[int, ...]:
        """The widest along each axis, which decides whether an input is large enough."""
        return tuple(map(max, zip(*self.dilation_rates)))

    def build(self, input_shape: Any) -> None:
        self.check_window(input_shape, self.kernel_size, "kernel_size")
        self.kernel = self.add_weight(
            (*self.kernel_size, self.channels_of(input_shape), sum(self.shares)),
            self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
            name="kernel",
        )
        self.add_bias(sum(self.shares))

    def call(self, inputs: Any) -> Any:
        x, first, parts = self.channels_last(inputs), 0, []
        for count, rate in zip(self.shares, self.dilation_rates):
            kernel = ops.slice_axis(self.kernel, -1, first, first + count)
            parts.append(self.one(self.centre(x, rate), kernel, rate))
            first += count
        return self.finished(ops.concatenate(parts, -1))

    def centre(self, x: Any, rate: tuple[int, ...]) -> Any:
        """x without the border that only wider windows reach, so that all have the same centres."""
        if self.padding == "same" or rate == self.dilation_rate:
            return x
        missing = ((k - 1) * (d - r) for k, d, r in zip(self.kernel_size, self.dilation_rate, rate))
        inner = [slice(m // 2, -(m - m // 2) if m else None) for m in missing]
        return x[(slice(None), *inner)]

    def one(self, x: Any, kernel: Any, rate: Any) -> Any:
        """The convolution by the filters of one rate."""
        return conv2d(x, kernel, self.strides, self.padding, rate, 1, self.conv_algorithm)


class MultiDilatedConv2D(MultiDilated):
    """A convolution whose filters have several dilation rates: fine detail and wide context beside
    each other (as Yu & Koltun 2016 one after the other).

    Parameters
    ----------
    filters : number of filters of all rates together, spread over them as evenly as possible, the
        first ones what is left over; or a tuple, one number for each rate.
    kernel_size : (height, width) of a kernel, or one number for both.
    dilation_rates : distances between the pixels that neighbouring kernel entries see, one number
        or (rows, columns) for each part of the filters; default (1, 2, 4).
    padding : "valid" (default): outputs where the widest window fits, and all windows around the
        same centres; "same": output size = input size / strides, rounded up.

    The other arguments are those of `Conv2D`, without groups.

    Shapes: (n, h, w, c) -> (n, oh, ow, filters), channels in the order of the rates. Weights:
    `kernel` (kh, kw, c, filters), `bias` (filters,).

    Raises
    ------
    ValueError
        Where the widest window is larger than the input, or there are fewer filters than rates.
    """

    _input_rank = 4


class MultiDilatedConv1D(MultiDilated):
    """Slides filters of several dilation rates over a sequence. See `MultiDilatedConv2D`.

    Shapes: (n, length, c) -> (n, steps, filters). Weights: `kernel` (k, c, filters), `bias`.
    """

    kernel_size: tuple = fields.sizes(1)
    dilation_rates: Rates = rates(1)
    strides: tuple = fields.sizes(1, 1)
    _input_rank = 3

    def one(self, x: Any, kernel: Any, rate: Any) -> Any:
        y = conv2d(
            as_image(x),
            ops.expand_dims(kernel, 0),
            (1, *self.strides),
            flat_padding(self.padding),
            (1, *rate),
            1,
            self.conv_algorithm,
        )
        return as_sequence(y)
