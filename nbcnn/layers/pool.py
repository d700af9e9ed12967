"""Pooling: the largest or the mean value of each window, or of the whole image or volume."""

from typing import Any, ClassVar

from nbcnn import ops
from nbcnn.declare import arg
from nbcnn.layers import fields
from nbcnn.layers.spatial import Spatial, as_image, as_sequence, flat_padding
from nbcnn.ops.pool import avg_pool2d, max_pool2d
from nbcnn.ops.unpool import max_pool_with_places


class Pooling(Spatial):
    """Base of layers that take one value from each window."""

    pool_size: tuple = fields.sizes(2, 2)
    strides: tuple | None = fields.optional_sizes(2)
    padding: Any = fields.padding(2)
    data_format: str = fields.data_format()
    name: str | None = arg(None, last=True)
    reduce: ClassVar[Any] = staticmethod(max_pool2d)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.strides is None:
            self.strides = self.pool_size

    def _check_input(self, shapes: Any) -> None:
        super()._check_input(shapes)
        self.check_window(shapes, self.pool_size, "pool_size")

    def call(self, inputs: Any) -> Any:
        x = self.channels_last(inputs)
        strides = self.strides or self.pool_size
        return self.restored(self.reduce(x, self.pool_size, strides, self.padding))


class Pooling1D(Pooling):
    """Base of pooling layers over sequences."""

    pool_size: tuple = fields.sizes(1, 2)
    strides: tuple | None = fields.optional_sizes(1)
    padding: Any = fields.padding(1)
    _input_rank = 3

    def call(self, inputs: Any) -> Any:
        x = as_image(self.channels_last(inputs))
        window, strides = (1, *self.pool_size), (1, *(self.strides or self.pool_size))
        y = self.reduce(x, window, strides, flat_padding(self.padding))
        return self.restored(as_sequence(y))


class Pooling3D(Pooling):
    """Base of pooling layers over volumes."""

    pool_size: tuple = fields.sizes(3, 2)
    strides: tuple | None = fields.optional_sizes(3)
    padding: Any = fields.padding(3)
    reduce = staticmethod(ops.max_pool)
    _input_rank = 5
    needs_sizes = True


class MaxPooling2D(Pooling):
    """The largest value of each window of every channel.

    Parameters
    ----------
    pool_size : (height, width) of the window, or one number for both; default 2.
    strides : steps (down, right); default the window's size.
    padding : "valid" (default), "same", or pixels around as for `Conv2D`; they never win.
    data_format : "channels_last" (default) or "channels_first".
    return_indices : whether the output is (maxima, indices): where in its image each of them was,
        row * w + column, int32, the first of equal ones; default False. `MaxUnpooling2D` takes
        both.

    Shapes: (n, h, w, c) -> (n, oh, ow, c).

    Raises
    ------
    ValueError
        Where the window is larger than the padded input.
    """

    return_indices: bool = arg(False, kw_only=True)
    _input_rank = 4

    def call(self, inputs: Any) -> Any:
        if not self.return_indices:
            return super().call(inputs)
        x, strides = self.channels_last(inputs), self.strides or self.pool_size
        y, indices = max_pool_with_places(x, self.pool_size, strides, self.padding)
        return self.restored(y), self.restored(indices)


class AveragePooling2D(Pooling):
    """The mean of each window, over its pixels inside the image. Arguments as `MaxPooling2D`."""

    pool_size: tuple = fields.sizes(2)
    reduce = staticmethod(avg_pool2d)
    _input_rank = 4


class MaxPooling1D(Pooling1D):
    """The largest value of each window: (n, length, c) -> (n, steps, c). See `MaxPooling2D`."""


class AveragePooling1D(Pooling1D):
    """The mean of each window: (n, length, c) -> (n, steps, c). See `MaxPooling2D`."""

    pool_size: tuple = fields.sizes(1)
    reduce = staticmethod(avg_pool2d)


class MaxPooling3D(Pooling3D):
    """The largest value of each window: (n, d, h, w, c) -> (n, od, oh, ow, c).

    Arguments as `MaxPooling2D`, with three sizes.
    """


class AveragePooling3D(Pooling3D):
    """The mean of each window, over its values inside the volume. See `MaxPooling3D`."""

    pool_size: tuple = fields.sizes(3)
    reduce = staticmethod(ops.average_pool)


class GlobalPooling(Spatial):
    """Base of layers that take one value of every channel."""

    data_format: str = fields.data_format()
    keepdims: bool = False
    reduce = staticmethod(ops.mean)

    def call(self, inputs: Any) -> Any:
        first = 2 if self.data_format == "channels_first" else 1
        axes = tuple(range(first, first + inputs.ndim - 2))
        return self.reduce(inputs, axes, self.keepdims)


class GlobalAveragePooling2D(GlobalPooling):
    """The mean of every channel: (n, h, w, c) -> (n, c).

    Parameters
    ----------
    data_format : "channels_last" (default) or "channels_first".
    keepdims : whether the axes stay, with size 1: the output is (n, 1, 1, c); default False.
    """

    _input_rank = 4


class GlobalMaxPooling2D(GlobalPooling):
    """The largest value of every channel: (n, h, w, c) -> (n, c). See `GlobalAveragePooling2D`."""

    reduce = staticmethod(ops.max)
    _input_rank = 4


class GlobalAveragePooling1D(GlobalPooling):
    """The mean of every channel: (n, length, c) -> (n, c). See `GlobalAveragePooling2D`."""

    _input_rank = 3


class GlobalMaxPooling1D(GlobalPooling):
    """The largest of every channel: (n, length, c) -> (n, c). See `GlobalAveragePooling2D`."""

    reduce = staticmethod(ops.max)
    _input_rank = 3


class GlobalAveragePooling3D(GlobalPooling):
    """The mean of every channel: (n, d, h, w, c) -> (n, c). See `GlobalAveragePooling2D`."""

    _input_rank = 5


class GlobalMaxPooling3D(GlobalPooling):
    """The largest of every channel: (n, d, h, w, c) -> (n, c). See `GlobalAveragePooling2D`."""

    reduce = staticmethod(ops.max)
    _input_rank = 5


class GlobalMaxAveragePooling(GlobalPooling, first=("mode",)):
    """Base of layers that take the largest value and the mean of every channel."""

    mode: str = arg("concat", choices=("concat", "add"))
    _beyond_keras = True

    @staticmethod
    def reduce(x: Any, axes: tuple[int, ...], keepdims: bool) -> list[Any]:
        return [ops.max(x, axes, keepdims), ops.mean(x, axes, keepdims)]

    def call(self, inputs: Any) -> Any:
        largest, mean = super().call(inputs)
        if self.mode == "add":
            return largest + mean
        axis = self.channel_axis if self.keepdims else -1
        return ops.concatenate([largest, mean], axis)


class GlobalMaxAveragePooling2D(GlobalMaxAveragePooling):
    """The largest value and the mean of every channel.

    Parameters
    ----------
    mode : "concat" (default): the largest values of all channels, then the means: (n, h, w, c) ->
        (n, 2c); "add": their sums, (n, c).
    data_format : "channels_last" (default) or "channels_first".
    keepdims : whether the axes stay, with size 1: the output is (n, 1, 1, 2c); default False.
    """

    _input_rank = 4


class GlobalMaxAveragePooling1D(GlobalMaxAveragePooling):
    """The largest and the mean of every channel: (n, length, c) -> (n, 2c). See
    `GlobalMaxAveragePooling2D`.
    """

    _input_rank = 3


class GlobalMaxAveragePooling3D(GlobalMaxAveragePooling):
    """The largest and the mean of every channel: (n, d, h, w, c) -> (n, 2c). See
    `GlobalMaxAveragePooling2D`.
    """

    _input_rank = 5


MaxPool1D, MaxPool2D, MaxPool3D = MaxPooling1D, MaxPooling2D, MaxPooling3D
AvgPool1D, AvgPool2D, AvgPool3D = AveragePooling1D, AveragePooling2D, AveragePooling3D
GlobalAvgPool1D, GlobalAvgPool2D = GlobalAveragePooling1D, GlobalAveragePooling2D
GlobalMaxPool1D, GlobalMaxPool2D = GlobalMaxPooling1D, GlobalMaxPooling2D
GlobalAvgPool3D, GlobalMaxPool3D = GlobalAveragePooling3D, GlobalMaxPooling3D
