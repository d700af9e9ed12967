"""Normalization by responses: of neighbouring channels, of the whole map."""

from typing import Any

from nbcnn import ops
from nbcnn.declare import arg, non_negative, positive
from nbcnn.layers import fields, masks
from nbcnn.layers.norm import Affine, sizes_along
from nbcnn.layers.spatial import Spatial
from nbcnn.ops.elementwise import of_one_type
from nbcnn.ops.global_response import GlobalResponse
from nbcnn.ops.op import apply
from nbcnn.ops.response_norm import local_response_normalization


def _odd(value: Any) -> str | None:
    return None if value > 0 and value % 2 else "must be odd and positive"


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
        x, mask = masks.parted(inputs, mask)
        x = ops.moveaxis(x, self.axis, -1)
        seen = None if mask is None else masks.factors(self.label, mask, x)
        x = x if seen is None else x * seen
        arrays = of_one_type(x, self.gamma, self.beta, floats=True)
        y, _ = apply(GlobalResponse(float(self.epsilon)), *arrays)
        return ops.moveaxis(y if seen is None else y * seen, -1, self.axis)


class LocalResponseNormalization(Spatial):
    """Divides each number by what its neighbours among the channels amount to (AlexNet,
    Krizhevsky, Sutskever & Hinton 2012).

    y = x / (k + alpha / size * sum of x^2 over `size` channels around)^beta, with zeros beyond the
    first and the last channel. That is PyTorch's and ONNX's alpha, a factor of the *mean*; the
    paper's is one of the sum: its alpha of 1e-4 with 5 channels is 5e-4 here.

    Parameters
    ----------
    size : channels of a window, odd; default 5.
    alpha : factor of the mean of squares, default 1e-4.
    beta : exponent, default 0.75. 0.5, 0.75 and 1 are computed by roots, others by logarithms.
    k : what is added to it, positive; default 2.
    data_format : "channels_last" (default) or "channels_first".

    Shapes: (n, ..., c) -> the same.
    """

    size: int = arg(5, check=_odd)
    alpha: float = arg(1e-4, check=non_negative)
    beta: float = 0.75
    k: float = arg(2.0, check=positive)
    data_format: str = fields.data_format()
    _least_rank = 2
    _beyond_keras = True

    def call(self, inputs: Any) -> Any:
        x = self.channels_last(inputs)
        y = local_response_normalization(x, self.size, self.alpha, self.beta, self.k)
        return self.restored(y)
