"""Cases of initializers; what real Keras gives is in `golden/formulas.json`."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

KERNEL = (3, 3, 40, 60)  # fans 360 and 540
TOLERANCE = 0.03  # of the spread of so many values


class Case(NamedTuple):
    id: str
    make: Callable[[Any], Any]
    shape: tuple
    random: bool


def spread(values):
    """Deviation, mean distance from the mean, and what 99% of |x| stay below: they tell
    distributions apart.
    """
    size = np.abs(np.asarray(values, "float64") - np.mean(values))
    return [
        float(np.sqrt(np.mean(size**2))),
        float(size.mean()),
        float(np.quantile(np.abs(values), 0.99)),
    ]


def case(name, shape, random=True, **kwargs):
    shown = ",".join(f"{k}={v}" for k, v in kwargs.items()).replace(" ", "")
    size = "x".join(map(str, shape))

    def make(module):
        return getattr(module, name)(**kwargs, **({"seed": 5} if random else {}))

    return Case(f"initializer.{name}({shown})-{size}", make, shape, random)


MODES = ("fan_in", "fan_out", "fan_avg")
DISTRIBUTIONS = ("truncated_normal", "untruncated_normal", "uniform")
SCALED = ("GlorotUniform", "GlorotNormal", "LecunUniform", "LecunNormal", "HeUniform", "HeNormal")
CASES = [
    *(case(name, shape) for name in SCALED for shape in (KERNEL, (130, 170), (20000,))),
    *(case("VarianceScaling", KERNEL, scale=1.7, mode=m, distribution=d)
      for m in MODES for d in DISTRIBUTIONS),
    *(case(name, KERNEL) for name in ("RandomNormal", "RandomUniform", "TruncatedNormal")),
    case("RandomNormal", KERNEL, mean=0.3, stddev=0.7),
    case("TruncatedNormal", KERNEL, mean=-0.2, stddev=0.4),
    case("RandomUniform", KERNEL, minval=0.5, maxval=2.0),
    case("Orthogonal", (300, 70)), case("Orthogonal", (3, 3, 8, 100), gain=1.5),
    case("Zeros", (2, 3), False), case("Ones", (3,), False),
    case("Constant", (2, 2), False, value=0.7),
    case("Identity", (3, 3), False), case("Identity", (3, 5), False, gain=0.4),
]  # fmt: skip
