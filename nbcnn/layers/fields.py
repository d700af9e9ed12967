"""Arguments that many layers share: how they are converted and checked."""

from typing import Any

from nbcnn import activations, config, constraints, initializers, regularizers
from nbcnn.converters import axes as axes_of
from nbcnn.declare import KINDS, REQUIRED, Expected, arg, integers, positive

SIDES = {
    1: "or (before, after)",
    2: "(rows, columns), or ((top, bottom), (left, right))",
    3: "(planes, rows, columns), or ((front, back), (top, bottom), (left, right))",
}
PADDING_MODES = ("zeros", "constant", "reflect", "symmetric", "edge", "circular", "mean")
SYNONYMS = {"replicate": "edge", "wrap": "circular"}  # PyTorch's and NumPy's names
Sides = tuple[tuple[int, int], ...]  # (before, after) of each spatial axis


def activation(default: Any = None) -> Any:
    return arg(default, convert=activations.get)


def initializer(default: Any) -> Any:
    return arg(default, convert=initializers.get)


def regularizer() -> Any:
    return arg(None, convert=regularizers.get)


def constraint() -> Any:
    return arg(None, convert=constraints.get)


def axes(default: Any = REQUIRED) -> Any:
    """One axis, or a list of them."""
    return arg(default, convert=lambda v: list(v) if isinstance(axes_of(v), (list, tuple)) else v)


def sizes(axes: int, default: Any = REQUIRED) -> Any:
    """One positive integer for each of `axes` spatial axes; a single one serves for all."""
    return arg(default, convert=integers(axes), check=positive)


def noise_shape(**options: Any) -> Any:
    """None, or a size for each axis, None where it is the input's."""

    def convert(value: Any) -> tuple[int | None, ...] | None:
        if value is None:
            return None
        if not isinstance(value, (list, tuple)) or not all(
            n is None or (KINDS["int"](n) and n > 0) for n in value
        ):
            raise Expected("must be None or a tuple of sizes and None")
        return tuple(value)

    return arg(None, convert=convert, **options)


def optional_sizes(axes: int) -> Any:
    """As `sizes`, or None."""
    convert = integers(axes)
    return arg(None, convert=lambda v: None if v is None else convert(v), check=positive)


def padding(axes: int, *more: str) -> Any:
    """'valid', 'same', one of `more`, or the numbers of zeros around: see `sides`."""
    names = ("valid", "same", *more)
    numbers = sides(axes)

    def convert(value: Any) -> str | Sides:
        if isinstance(value, str) and value.lower() in names:
            return value.lower()
        try:
            return numbers(value)
        except Expected as error:
            known = ", ".join(map(repr, names))
            raise Expected(f"must be {known}, {str(error).removeprefix('must be ')}") from None

    return arg("valid", convert=convert)


def sides(axes: int) -> Any:
    """A converter to ((before, after), ...) of `axes` axes, from one integer, one per axis, or
    pairs.
    """

    def convert(value: Any) -> Sides:
        if KINDS["int"](value):
            value = (value,) * axes
        elif axes == 1 and _is_pair(value):
            value = (value,)
        if isinstance(value, (list, tuple)) and len(value) == axes:
            pairs = [(v, v) if KINDS["int"](v) else v for v in value]
            if all(_is_pair(p) for p in pairs) and min(int(n) for p in pairs for n in p) >= 0:
                return tuple((int(a), int(b)) for a, b in pairs)
        raise Expected(f"must be a number, {SIDES[axes]}, none negative")

    return convert


def padding_mode(default: str = "zeros", kw_only: bool = True) -> Any:
    """What is put around maps; see `layers.Padding2D`."""

    def convert(value: Any) -> Any:
        name = value.lower() if isinstance(value, str) else value
        return SYNONYMS.get(name, name) if isinstance(name, str) else name

    return arg(default, convert=convert, choices=PADDING_MODES, kw_only=kw_only)


def _is_pair(value: Any) -> bool:
    return (
        isinstance(value, (list, tuple)) and len(value) == 2 and all(KINDS["int"](v) for v in value)
    )


def data_format(kw_only: bool = False) -> Any:
    """'channels_last' or 'channels_first'; None stands for the program's setting."""

    def convert(value: Any) -> Any:
        return config.image_data_format() if value is None else value

    return arg(None, convert=convert, choices=config.DATA_FORMATS, kw_only=kw_only)
