"""The one random generator that everything unseeded draws from, and its state for files.

`utils.set_random_seed` starts it; weights, shuffling and dropout seeds come from it in a fixed
order, so the same seed gives the same training run.
"""

from typing import Any

import numpy as np

_generator: np.random.Generator | None = None


def generator(seed: int | None = None) -> np.random.Generator:
    """The global generator, or a fresh one started from `seed`."""
    global _generator
    if seed is not None:
        return np.random.default_rng(seed)
    if _generator is None:
        _generator = np.random.default_rng()
    return _generator


def set_seed(seed: int) -> None:
    """Restarts the global generator."""
    global _generator
    _generator = np.random.default_rng(seed)


def next_seed() -> int:
    """A seed in 0..2**31-1 drawn from the global generator."""
    return int(generator().integers(2**31))


def get_state() -> dict[str, Any]:
    """The global generator's state; JSON can hold it."""
    return dict(generator().bit_generator.state)


def set_state(state: dict[str, Any]) -> None:
    """Continues the global generator from what `get_state` returned."""
    generator().bit_generator.state = state
