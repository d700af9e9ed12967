"""Vectors in the place of whole numbers."""

from typing import Any

from nbcnn import ops
from nbcnn.declare import Expected, arg, positive
from nbcnn.layers import fields
from nbcnn.layers.base import Layer


def _no_masks(value: Any) -> bool:
    if value:
        raise Expected("must be False (masks are not computed here, and convolutions drop them)")
    return False


class Embedding(Layer):
    """A vector of weights for each number of the input.

    Parameters
    ----------
    input_dim : how many numbers there are: 0 to input_dim - 1.
    output_dim : length of the vectors.
    mask_zero : only False; there are no masks.
    weights : a list of one array, (input_dim, output_dim), to begin with.

    Shapes: (n, ...) -> (n, ..., output_dim). Weights: `embeddings` (input_dim, output_dim).

    Numbers below 0 read the first vector, those beyond the end the last.
    """

    autocast = False  # large numbers are not whole in every float type

    input_dim: int = arg(check=positive)
    output_dim: int = arg(check=positive)
    embeddings_initializer: Any = fields.initializer("uniform")
    embeddings_regularizer: Any = fields.regularizer()
    embeddings_constraint: Any = fields.constraint()
    mask_zero: bool = arg(False, convert=_no_masks)
    activity_regularizer: Any = fields.regularizer()

    def _set_aside(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        """Without what is no setting: the first weights, and a length that Keras ignores."""
        self.__dict__["_first_weights"] = kwargs.get("weights")
        rest = {k: v for k, v in kwargs.items() if k not in ("weights", "input_length")}
        return super()._set_aside(rest)

    def __post_init__(self) -> None:
        super().__post_init__()
        first = self.__dict__.pop("_first_weights")
        if first is not None:
            self.build()
            self.set_weights(first)

    def build(self, input_shape: Any = None) -> None:
        self.embeddings = self.add_weight(
            (self.input_dim, self.output_dim),
            self.embeddings_initializer,
            regularizer=self.embeddings_regularizer,
            constraint=self.embeddings_constraint,
            name="embeddings",
        )

    def call(self, inputs: Any) -> Any:
        return ops.take(self.embeddings, ops.cast(inputs, "int32"), axis=0)
