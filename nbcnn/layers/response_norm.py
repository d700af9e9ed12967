"""Global response normalization."""

from typing import Any

from nbcnn import ops
from nbcnn.declare import arg, positive
from nbcnn.layers import fields, masks
from nbcnn.layers.norm import Affine, sizes_along

TINY = 1e-24  # least sum of squares: its root has a slope, and is nothing beside epsilon


class GlobalResponseNormalization(Affine):
    """Makes channels compete: each is scaled by its share in the response of the whole map
    (ConvNeXt V2, Woo et al. 2023).

    With G the Euclidean norm of a channel over all places of a sample and N = G / (mean of G over
    the channels + epsilon), y = gamma * (x * N) + beta + x. gamma and beta start at 0, so that the
    layer starts as the identity.

    Parameters
    ----------
    axis : the channels' axis, default -1.
    epsilon : added to the mean of the norms, default 1e-6.
    gamma_initializer : first values of the weight, default "zeros".

    Call arguments: inputs, or [inputs, mask]; mask (default all): (n, spatial axes...), or sizes of
    patches that divide these, True or a number above 1/2 where places are visible. Others do not
    count for the norms, and are 0 in the output.

    Shapes: (n, spatial axes..., c) -> the same, of any number of axes. Weights: `gamma`, `beta`,
    each (c,).
    """

    axis: int = -1
    epsilon: float = arg(1e-6, check=positive)
    gamma_initializer: Any = fields.initializer("zeros")
    beta_initializer: Any = fields.initializer("zeros")
    gamma_regularizer: Any = fields.regularizer()
    beta_regularizer: Any = fields.regularizer()
    gamma_constraint: Any = fields.constraint()
    beta_constraint: Any = fields.constraint()
    _least_rank = 3
    _beyond_keras = True

    @property
    def label(self) -> str:
        """How messages call the layer."""
        return f"{type(self).__name__} {self.name!r}"

    def _fixed_axes(self) -> tuple[int, ...]:
        return (self.axis,)

    def _check_input(self, shapes: Any) -> None:
        super()._check_input(masks.shape_of_map(self.label, shapes))

    def build(self, input_shape: Any) -> None:
        shape = masks.shape_of_map(self.label, input_shape)
        self._check_rank(shape)
        self.add_affine(sizes_along(self, (self.axis,), shape))

    def call(self, inputs: Any, mask: Any = None) -> Any:
        inputs, mask = masks.parted(inputs, mask)
        x = ops.moveaxis(inputs, self.axis, -1)
        seen = None if mask is None else masks.factors(self.label, mask, x)
        x = x if seen is None else x * seen
        places = tuple(range(1, x.ndim - 1))
        squares = ops.sum(ops.square(x), places, keepdims=True)
        norms = ops.sqrt(ops.maximum(squares, TINY))
        shares = norms / (ops.mean(norms, -1, keepdims=True) + self.epsilon)
        y = x * (self.gamma * shares + 1.0) + self.beta  # small arrays first: one pass over x
        return ops.moveaxis(y if seen is None else y * seen, -1, self.axis)
