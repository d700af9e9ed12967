"""Spectral normalization of a layer's kernel."""

from typing import Any

from nbcnn import config, ops
from nbcnn.declare import arg, positive
from nbcnn.initializers import TruncatedNormal
from nbcnn.layers.wrapper import Wrapper


class SpectralNormalization(Wrapper):
    """Divides the kernel of `layer` by its largest singular value at every call in training, for
    good (Miyato et al. 2018); a kernel of zeros stays.

    The singular value comes from power iterations, which go on from call to call: `vector_u` (1,
    outputs) is where they are. Gradients are those of the kernel after the division.

    Parameters
    ----------
    layer : a layer with a `kernel`.
    power_iterations : how many at each call, default 1.
    """

    power_iterations: int = arg(1, check=positive)
    _least_rank = 1

    def _fixed_axes(self) -> tuple[int, ...]:
        return (-1,)

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        kernel = getattr(self.layer, "kernel", None)
        if kernel is None:
            raise ValueError(
                f"SpectralNormalization {self.name!r}: layer must have a kernel, got {self.layer!r}"
            )
        self.kernel = kernel
        self.vector_u = self.add_weight(
            (1, kernel.shape[-1]), TruncatedNormal(stddev=0.02), trainable=False, name="vector_u"
        )

    def call(self, inputs: Any, training: bool | None = False) -> Any:
        kernel: Any = self.kernel.symbol
        if training:
            new, u = self._normalized()
            self.kernel.assign(new)
            self.vector_u.assign(u)
            # What training goes on with is the new kernel: gradients are meant for it.
            kernel = ops.custom_gradient(lambda _: (new, lambda slope: slope))(kernel)
        held = self.layer.kernel
        try:
            self.layer.kernel = kernel
            y = self.layer(inputs, training=training)
        finally:
            self.layer.kernel = held
        return ops.cast(y, inputs.dtype)

    def _normalized(self) -> tuple[Any, Any]:
        """The kernel divided by its largest singular value, and the vector that it comes from."""
        w: Any = ops.reshape(self.kernel, (-1, self.kernel.shape[-1]))
        across = ops.transpose(w)
        u: Any = self.vector_u.symbol
        for _ in range(self.power_iterations):
            v = _unit(ops.matmul(u, across))
            u = _unit(ops.matmul(v, w))
        sigma = ops.matmul(ops.matmul(v, w), ops.transpose(u))
        zero = ops.all(ops.equal(w, 0.0))
        kernel = self.kernel / ops.reshape(ops.where(zero, 1.0, sigma), ())
        return kernel, ops.where(zero, self.vector_u.symbol, u)


def _unit(vector: Any) -> Any:
    """A vector (1, n) of length 1."""
    return vector * ops.rsqrt(ops.maximum(ops.sum(ops.square(vector)), config.epsilon() ** 2))
