"""A fully connected layer over any axes."""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from nbcnn import ops
from nbcnn.declare import Expected, arg
from nbcnn.layers import fields
from nbcnn.layers.base import Layer

EQUATION = re.compile(
    r"(?P<before>\.\.\.)?(?P<x>[a-zA-Z]+)(?P<after>\.\.\.)?,(?P<w>[a-zA-Z]+)->"
    r"(?(before)\.\.\.)(?P<y>[a-zA-Z]+)(?(after)\.\.\.)"
)


def _equation(value: Any) -> str:
    text = value.replace(" ", "") if isinstance(value, str) else ""
    found = EQUATION.fullmatch(text)
    if not found or (found["before"] and found["after"]):
        raise Expected("must be like 'ab,bc->ac', '...b,bc->...c' or 'ab...,bc->ac...'")
    return text


def _sizes(value: Any) -> tuple[int | None, ...]:
    sizes = value if isinstance(value, (list, tuple)) else (value,)
    if any(type(n) is not int and n is not None for n in sizes):
        raise Expected("must be a size or a tuple of them, without the batch; None where unknown")
    return tuple(sizes)


class Shapes(NamedTuple):
    """Of the weights."""

    kernel: tuple[int, ...]
    bias: tuple[int, ...] | None


def shapes_of(
    equation: str, input_shape: Sequence[int | None], output_shape: Sequence[int | None], bias: Any
) -> Shapes:
    """Sizes of the weights by the letters of inputs and outputs. Raises ValueError where these
    contradict, or a size is not known.
    """
    match = EQUATION.fullmatch(equation)
    assert match is not None
    x, w, y = match["x"], match["w"], match["y"]
    hidden = len(input_shape) - len(x)  # axes that the dots stand for
    own = y if match["before"] else y[1:]  # those of `output_shape`: all but the batch
    if hidden < (1 if match["before"] else 0) or len(own) != len(output_shape):
        raise ValueError(
            f"equation {equation!r} does not fit an input of shape {tuple(input_shape)} and "
            f"output_shape {tuple(output_shape)}"
        )
    shown = input_shape[hidden:] if match["before"] else input_shape[: len(x)]
    inside, outside = dict(zip(x, shown)), dict(zip(own, output_shape))
    for letter, size in outside.items():
        if letter in inside and size not in (None, inside[letter]):
            raise ValueError(
                f"axis {letter!r} of equation {equation!r} is {inside[letter]} in the input and "
                f"{size} in output_shape"
            )
    sizes = {**outside, **{k: n for k, n in inside.items() if outside.get(k) is None}}
    kernel = tuple(sizes.get(letter) for letter in w)
    if any(n is None for n in kernel):
        raise ValueError(f"the sizes of {w!r} in equation {equation!r} must be known, got {kernel}")
    if bias is None:
        return Shapes(kernel, None)  # type: ignore[arg-type]
    if not set(bias) <= set(y):
        raise ValueError(f"bias_axes must be letters of {y!r}, got {bias!r}")
    tail = y[min(map(y.index, bias)) :]
    ones = (1,) * (hidden if match["after"] else 0)
    found = (*(sizes[letter] if letter in bias else 1 for letter in tail), *ones)
    return Shapes(kernel, found)  # type: ignore[arg-type]


class EinsumDense(Layer):
    """activation(einsum(equation, x, kernel) + bias): products and sums over axes by letters.

    Parameters
    ----------
    equation : as of `einsum`, such as 'abc,cd->abd'; three dots stand for further axes, before or
        after the letters.
    output_shape : sizes of the output's letters without the batch; None where the input says them.
    activation : name or function, default none.
    bias_axes : letters of the output along which there is a bias; default none.

    Weights: `kernel` with the axes that the equation's second part names, `bias`.

    Raises
    ------
    ValueError
        Where equation, shapes and bias_axes do not fit.
    """

    equation: str = arg(convert=_equation)
    output_shape: Any = arg(convert=_sizes)
    activation: Any = fields.activation()
    bias_axes: str | None = None
    kernel_initializer: Any = fields.initializer("glorot_uniform")
    bias_initializer: Any = fields.initializer("zeros")
    kernel_regularizer: Any = fields.regularizer()
    bias_regularizer: Any = fields.regularizer()
    activity_regularizer: Any = fields.regularizer()
    kernel_constraint: Any = fields.constraint()
    bias_constraint: Any = fields.constraint()
    _least_rank = 2

    def build(self, input_shape: Any) -> None:
        try:
            found = shapes_of(self.equation, input_shape, self.output_shape, self.bias_axes)
        except ValueError as error:
            raise ValueError(f"EinsumDense {self.name!r}: {error}") from None
        self.kernel = self.add_weight(
            found.kernel,
            self._scaled(self.kernel_initializer),
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
            name="kernel",
        )
        self.bias = None
        if found.bias is not None:
            self.bias = self.add_weight(
                found.bias,
                self.bias_initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
                name="bias",
            )

    def _scaled(self, initializer: Any) -> Any:
        """The kernel's initializer, where it scales by inputs and outputs, told which axes these
        are: outputs are those that the output has, too.
        """
        if getattr(initializer, "input_axes", ()) is not None:
            return initializer
        w, y = self.equation.partition("->")[0].split(",")[1], self.equation.partition("->")[2]
        places: dict[bool, list[int]] = {True: [], False: []}
        for place, letter in enumerate(w):
            places[letter in y].append(place)
        axes = {"input_axes": places[False], "output_axes": places[True]}
        return type(initializer).from_config({**initializer.get_config(), **axes})

    def call(self, inputs: Any) -> Any:
        y = ops.einsum(self.equation, inputs, self.kernel)
        y = y if self.bias is None else ops.add(y, self.bias)
        return y if self.activation is None else self.activation(y)
