"""The fully connected layer."""

from typing import Any

from nbcnn import ops
from nbcnn.declare import arg, positive
from nbcnn.layers import fields
from nbcnn.layers.base import Layer


class Dense(Layer):
    """activation(x @ kernel + bias), along the last axis.

    Parameters
    ----------
    units : number of outputs.
    activation : name or function, default none.
    use_bias : whether a number per unit is added, default True.

    Shapes: (n, ..., inputs) -> (n, ..., units). Weights: `kernel` (inputs, units), `bias` (units,).

    Raises
    ------
    ValueError
        Where the input has another last size than before.
    """

    units: int = arg(check=positive)
    activation: Any = fields.activation()
    use_bias: bool = True
    kernel_initializer: Any = fields.initializer("glorot_uniform")
    bias_initializer: Any = fields.initializer("zeros")
    kernel_regularizer: Any = fields.regularizer()
    bias_regularizer: Any = fields.regularizer()
    activity_regularizer: Any = fields.regularizer()
    kernel_constraint: Any = fields.constraint()
    bias_constraint: Any = fields.constraint()
    _least_rank = 2

    def _fixed_axes(self) -> tuple[int, ...]:
        return (-1,)

    def build(self, input_shape: Any) -> None:
        if input_shape[-1] is None:
            raise ValueError(
                f"Dense {self.name!r}: the input's last size must be known, got shape {input_shape}"
            )
        self.kernel = self.add_weight(
            (input_shape[-1], self.units),
            self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
            name="kernel",
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                (self.units,),
                self.bias_initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
                name="bias",
            )

    def call(self, inputs: Any) -> Any:
        y = ops.matmul(inputs, self.kernel)
        y = y if self.bias is None else ops.add(y, self.bias)
        return y if self.activation is None else self.activation(y)
