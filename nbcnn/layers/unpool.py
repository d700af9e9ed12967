"""The way back from max pooling."""

from typing import Any

from nbcnn import ops
from nbcnn.layers import fields
from nbcnn.layers.pool import Pooling
from nbcnn.layers.structure import is_shape
from nbcnn.ops.op import apply
from nbcnn.ops.pool import Upsample2D
from nbcnn.ops.unpool import max_unpool2d


class MaxUnpooling2D(Pooling):
    """Larger images from pooled ones, in one of two ways.

    Called on images alone it copies each pixel to all of its window, [x] -> [[x, x], [x, x]], as
    `UpSampling2D` does. Called on images and the indices that `MaxPooling2D(return_indices=True)`
    recorded, or on a list of both, it puts each value back where it came from, and zeros elsewhere
    (the switches of Zeiler & Fergus 2013). Where windows overlap, values that meet at a pixel are
    added; PyTorch keeps any of them.

    An index is row * w + column in the image that is made, as in PyTorch; numbers that are no pixel
    of it are left out, together with their gradients.

    Parameters
    ----------
    pool_size, strides, padding, data_format : those of the pool.
    output_size : (rows, columns) of the result, as the pool's input had them; None (default): the
        least image of which the pool makes such inputs, with padding "same" the inputs' size times
        the strides. Rows and columns that no window covers are zeros.

    Call arguments: inputs, indices (default none; int32, of the inputs' shape); or a list.

    Shapes: (n, oh, ow, c) -> (n, h, w, c).

    Raises
    ------
    ValueError
        For indices of another shape than the inputs, an output_size of which the pool makes others,
        and where pixels are to be copied to windows that overlap, leave gaps or reach over the
        edge.

    Examples
    --------
    >>> pooled, indices = layers.MaxPooling2D(2, return_indices=True)(Input((6, 6, 3)))
    >>> layers.MaxUnpooling2D(2)(pooled, indices).shape
    (None, 6, 6, 3)
    """

    output_size: tuple | None = fields.optional_sizes(2)
    _input_rank = 4
    _beyond_keras = True

    def _check_input(self, shapes: Any) -> None:
        first = shapes if is_shape(shapes) else shapes[0]
        self._check_rank(first)
        if not is_shape(shapes) and len(shapes) != 2:
            raise ValueError(f"{self.label}: expected inputs or [inputs, indices], got {shapes}")

    def call(self, inputs: Any, indices: Any = None) -> Any:
        if isinstance(inputs, (list, tuple)):
            inputs, indices = inputs
        x = self.channels_last(inputs)
        if indices is None:
            return self.restored(self._copied(x))
        if tuple(indices.shape[1:]) != tuple(inputs.shape[1:]):
            raise ValueError(
                f"{self.label}: indices must have the shape of the inputs, "
                f"got inputs of shape {inputs.shape} and indices of shape {indices.shape}"
            )
        strides = self.strides or self.pool_size
        return self.restored(
            max_unpool2d(
                x, self.channels_last(indices), self.pool_size, strides, self.padding,
                self.output_size,
            )
        )  # fmt: skip

    def _copied(self, x: Any) -> Any:
        strides = self.strides or self.pool_size
        if strides != self.pool_size or self.padding not in ("valid", "same"):
            raise ValueError(
                f"{self.label}: without indices, pixels are copied to windows side by side: "
                f"pool_size {self.pool_size}, strides {strides} and padding {self.padding} are none"
            )
        y = apply(Upsample2D(self.pool_size), x)
        if self.output_size is None:
            return y
        more = [0 if n is None else size - n for size, n in zip(self.output_size, y.shape[1:3])]
        if min(more) < 0 or any(m >= s for m, s in zip(more, self.pool_size)):
            raise ValueError(
                f"{self.label}: output_size {self.output_size} is not that of an image of which "
                f"windows of {self.pool_size} make inputs of shape {x.shape}"
            )
        return ops.pad(y, ((0, 0), *((0, m) for m in more), (0, 0)))
