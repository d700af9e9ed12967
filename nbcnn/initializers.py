"""First values of weights: `initializer(shape, dtype) -> numpy.ndarray`.

A random initializer with a `seed` gives the same values at each call; without one it draws from the
global generator that `utils.set_random_seed` starts. Kernels are laid out (..., inputs, outputs),
so the fans are

    fan_in = receptive field * inputs,    fan_out = receptive field * outputs.

Common parameters
-----------------
config : what `serialize` returned, or a name.
custom_objects : dictionary of classes and functions that are not part of this package, by name;
    default none.
identifier : name, class, configuration or object; see above.
seed : a number, so that every call gives the same values; None (default): other values at each
    call.
input_axes, output_axes : axes that count as inputs and outputs; None (default): the last two.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np

from nbcnn import random_state
from nbcnn.converters import axes, numbers_of, optional
from nbcnn.declare import Declared, arg, finite, non_negative, positive
from nbcnn.registry import Family
from nbcnn.registry import serialize as serialize

__all__ = [
    "Constant", "GlorotNormal", "GlorotUniform", "HeNormal", "HeUniform", "Identity",
    "IdentityInitializer", "Initializer", "LecunNormal", "LecunUniform", "Ones", "Orthogonal",
    "OrthogonalInitializer", "RandomNormal", "RandomUniform", "TruncatedNormal",
    "VarianceScaling", "Zeros", "constant", "deserialize", "get", "glorot_normal",
    "glorot_uniform", "he_normal", "he_uniform", "identity", "lecun_normal", "lecun_uniform",
    "ones", "orthogonal", "random_normal", "random_uniform", "serialize", "truncated_normal",
    "variance_scaling", "zeros",
]  # fmt: skip

Shape = tuple[int, ...]
family = Family("initializer", "keras.initializers")
# Standard deviation of a unit normal distribution cut off at two standard deviations.
TRUNCATED_UNIT_DEVIATION = 0.87962566103423978


class Initializer(Declared, family=family):
    """Base of initializers: override `__call__(shape, dtype="float32")`."""

    def __call__(self, shape: Shape, dtype: Any = "float32") -> np.ndarray:
        raise NotImplementedError(f"{type(self).__name__} must define __call__(shape, dtype)")

    def clone(self) -> "Initializer":
        """An equal initializer."""
        return type(self).from_config(self.get_config())


class Zeros(Initializer):
    """All zeros."""

    def __call__(self, shape: Shape, dtype: Any = "float32") -> np.ndarray:
        return np.zeros(shape, dtype or "float32")


class Ones(Initializer):
    """All ones."""

    def __call__(self, shape: Shape, dtype: Any = "float32") -> np.ndarray:
        return np.ones(shape, dtype or "float32")


class Constant(Initializer):
    """One value everywhere.

    Parameters
    ----------
    value : number, or an array that broadcasts to the weight's shape; default 0.
    """

    value: Any = arg(0.0, convert=numbers_of)

    def __call__(self, shape: Shape, dtype: Any = "float32") -> np.ndarray:
        return np.full(shape, self.value, dtype or "float32")


class Identity(Initializer):
    """`gain` times the identity matrix; for two-dimensional weights.

    Parameters
    ----------
    gain : default 1.
    """

    gain: float = arg(1.0, check=finite)

    def __call__(self, shape: Shape, dtype: Any = "float32") -> np.ndarray:
        if len(shape) != 2:
            raise ValueError(f"Identity: shape must have two dimensions, got {tuple(shape)}")
        return self.gain * np.eye(*shape, dtype=dtype or "float32")


class RandomInitializer(Initializer):
    """Base of seeded initializers: override `sample(shape, generator)`."""

    seed: int | None = arg(None, check=non_negative, last=True)

    def __call__(self, shape: Shape, dtype: Any = "float32") -> np.ndarray:
        values = self.sample(tuple(shape), random_state.generator(self.seed))
        return np.asarray(values, dtype or "float32")

    def sample(self, shape: Shape, rng: np.random.Generator) -> np.ndarray:
        raise NotImplementedError(f"{type(self).__name__} must define sample(shape, generator)")


class RandomNormal(RandomInitializer):
    """Normal distribution with `mean` (0) and standard deviation `stddev` (0.05)."""

    mean: float = arg(0.0, check=finite)
    stddev: float = arg(0.05, check=non_negative)

    def sample(self, shape: Shape, rng: np.random.Generator) -> np.ndarray:
        return rng.normal(self.mean, self.stddev, shape)


class RandomUniform(RandomInitializer):
    """Uniform distribution over [`minval`, `maxval`), by default [-0.05, 0.05)."""

    minval: float = arg(-0.05, check=finite)
    maxval: float = arg(0.05, check=finite)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.minval > self.maxval:
            raise ValueError(
                f"{type(self).__name__}: minval must not exceed maxval, "
                f"got {self.minval} and {self.maxval}"
            )

    def sample(self, shape: Shape, rng: np.random.Generator) -> np.ndarray:
        return rng.uniform(self.minval, self.maxval, shape)


class TruncatedNormal(RandomInitializer):
    """Normal distribution; values beyond two standard deviations are drawn again.

    Parameters
    ----------
    mean, stddev : before the cut; default 0 and 0.05.
    """

    mean: float = arg(0.0, check=finite)
    stddev: float = arg(0.05, check=non_negative)

    def sample(self, shape: Shape, rng: np.random.Generator) -> np.ndarray:
        return self.mean + self.stddev * truncated_unit_normal(shape, rng)


def truncated_unit_normal(shape: Shape, rng: np.random.Generator) -> np.ndarray:
    """Standard normal values within [-2, 2]."""
    values = rng.standard_normal(math.prod(shape))
    outside = np.flatnonzero(np.abs(values) > 2)
    while outside.size:
        values[outside] = rng.standard_normal(outside.size)
        outside = outside[np.abs(values[outside]) > 2]
    return values.reshape(shape)


class VarianceScaling(RandomInitializer):
    """Values whose variance is `scale / n`, so that signals keep their size from layer to layer.

    Parameters
    ----------
    scale : positive, default 1.
    mode : what n is: "fan_in" (default), "fan_out", or "fan_avg", the mean of both.
    distribution : "truncated_normal" (default; also "normal"), "untruncated_normal" or "uniform".
    input_axes, output_axes : which axes count as inputs and outputs, where it is not the last two.
    """

    scale: float = arg(1.0, check=positive)
    mode: str = arg("fan_in", choices=("fan_in", "fan_out", "fan_avg"))
    distribution: str = arg(
        "truncated_normal",
        choices=("truncated_normal", "normal", "untruncated_normal", "uniform"),
    )
    input_axes: tuple | None = arg(None, convert=optional(axes), last=True)
    output_axes: tuple | None = arg(None, convert=optional(axes), last=True)

    def sample(self, shape: Shape, rng: np.random.Generator) -> np.ndarray:
        fans = compute_fans(shape, self.input_axes, self.output_axes)
        return scaled_values(shape, rng, fans, self.scale, self.mode, self.distribution)


class FixedScaling(RandomInitializer):
    """A variance scaling whose settings belong to the class; the seed is an argument, and the axes
    as for `VarianceScaling`.
    """

    input_axes: tuple | None = arg(None, convert=optional(axes), last=True)
    output_axes: tuple | None = arg(None, convert=optional(axes), last=True)
    scale: ClassVar[float] = 1.0
    mode: ClassVar[str] = "fan_avg"
    distribution: ClassVar[str] = "uniform"

    def sample(self, shape: Shape, rng: np.random.Generator) -> np.ndarray:
        fans = compute_fans(shape, self.input_axes, self.output_axes)
        return scaled_values(shape, rng, fans, self.scale, self.mode, self.distribution)


class GlorotUniform(FixedScaling):
    """Uniform within ±sqrt(6 / (fan_in + fan_out)): the default of dense and convolution
    kernels.
    """


class GlorotNormal(FixedScaling):
    """Truncated normal of variance 2 / (fan_in + fan_out)."""

    distribution = "truncated_normal"


class LecunUniform(FixedScaling):
    """Uniform within ±sqrt(3 / fan_in)."""

    mode = "fan_in"


class LecunNormal(FixedScaling):
    """Truncated normal of variance 1 / fan_in."""

    mode = "fan_in"
    distribution = "truncated_normal"


class HeUniform(FixedScaling):
    """Uniform within ±sqrt(6 / fan_in): for relu."""

    scale = 2.0
    mode = "fan_in"


class HeNormal(FixedScaling):
    """Truncated normal of variance 2 / fan_in: for relu."""

    scale = 2.0
    mode = "fan_in"
    distribution = "truncated_normal"


class Orthogonal(RandomInitializer):
    """`gain` times a matrix with orthonormal columns, or rows where there are fewer of these.

    A weight of more than two dimensions is filled as the matrix (all but last, last).

    Parameters
    ----------
    gain : default 1.
    """

    gain: float = arg(1.0, check=finite)

    def sample(self, shape: Shape, rng: np.random.Generator) -> np.ndarray:
        if len(shape) < 2:
            raise ValueError(f"Orthogonal: shape must have two dimensions or more, got {shape}")
        rows, columns = math.prod(shape[:-1]), shape[-1]
        tall = rng.standard_normal((max(rows, columns), min(rows, columns)))
        q, r = np.linalg.qr(tall)
        q *= np.sign(np.diag(r))
        return self.gain * (q if rows >= columns else q.T).reshape(shape)


def compute_fans(shape: Shape, input_axes: Any = None, output_axes: Any = None) -> tuple[int, int]:
    """Inputs per output and outputs per input of a weight of that shape."""
    if input_axes is not None and output_axes is not None:
        return math.prod(shape[a] for a in input_axes), math.prod(shape[a] for a in output_axes)
    if len(shape) < 2:
        return (shape[0], shape[0]) if shape else (1, 1)
    field = math.prod(shape[:-2])
    return field * shape[-2], field * shape[-1]


def scaled_values(
    shape: Shape,
    rng: np.random.Generator,
    fans: tuple[int, int],
    scale: float,
    mode: str,
    distribution: str,
) -> np.ndarray:
    """Values of variance `scale / n`; the arguments are those of `VarianceScaling`."""
    fan = {"fan_in": fans[0], "fan_out": fans[1], "fan_avg": sum(fans) / 2}[mode]
    variance = scale / max(1.0, fan)
    if distribution == "uniform":
        limit = math.sqrt(3 * variance)
        return rng.uniform(-limit, limit, shape)
    if distribution == "untruncated_normal":
        return rng.normal(0, math.sqrt(variance), shape)
    return math.sqrt(variance) / TRUNCATED_UNIT_DEVIATION * truncated_unit_normal(shape, rng)


zeros = Zeros
ones = Ones
constant = Constant
identity = IdentityInitializer = Identity
random_normal = RandomNormal
random_uniform = RandomUniform
truncated_normal = TruncatedNormal
variance_scaling = VarianceScaling
glorot_uniform = GlorotUniform
glorot_normal = GlorotNormal
lecun_uniform = LecunUniform
lecun_normal = LecunNormal
he_uniform = HeUniform
he_normal = HeNormal
orthogonal = OrthogonalInitializer = Orthogonal

family.add(Zeros, "zero")
family.add(Ones, "one")
family.add(RandomNormal, "normal")
family.add(RandomUniform, "uniform")
family.add(Identity, "IdentityInitializer")
family.add(Orthogonal, "OrthogonalInitializer")


def get(identifier: Any) -> Callable[..., np.ndarray] | None:
    """The initializer that a name, class, configuration, function or array means; None stays None.

    An array gives an initializer of exactly these values; it refuses another shape. A function is
    called as `f(shape, dtype)`.
    """
    if isinstance(identifier, (np.ndarray, np.generic)):
        return _copy_of(np.asarray(identifier))
    return family.get(identifier)


def _copy_of(values: np.ndarray) -> Callable[..., np.ndarray]:
    def given_values(shape: Shape, dtype: Any = "float32") -> np.ndarray:
        if tuple(shape) != values.shape:
            raise ValueError(f"initial values must have shape {tuple(shape)}, got {values.shape}")
        return values.astype(dtype or "float32")

    return given_values


def deserialize(config: Mapping, custom_objects: Mapping | None = None) -> Any:
    """The initializer that `serialize` described."""
    return family.get(config, custom_objects)
