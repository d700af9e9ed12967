"""What operations, layers and models return for arrays."""

from typing import Any

import numpy as np


class Array(np.ndarray):
    """NumPy's array that also has the `numpy()` of a Keras tensor; what is computed from it has
    that, too.
    """

    def __array_wrap__(self, array: Any, *context: Any, **options: Any) -> "Array":
        """A single number stays an array."""
        return np.asarray(array).view(Array)

    def numpy(self) -> np.ndarray:
        """The same elements as a plain array."""
        return np.asarray(self)


def hosted(values: Any) -> Array:
    """Values as such an array, not copied."""
    return np.asarray(values).view(Array)
