"""Keras's old names for settings, and for what runs below.

Common parameters
-----------------
dtype : a data type, or its name.
"""

from collections import Counter
from typing import Any

import numpy as np

from nbcnn.config import (
    epsilon,
    floatx,
    image_data_format,
    set_epsilon,
    set_floatx,
    set_image_data_format,
)
from nbcnn.ops.op import result_dtype
from nbcnn.ops.tensor import Tensor
from nbcnn.utils import clear_session

__all__ = [
    "backend",
    "clear_session",
    "epsilon",
    "floatx",
    "get_uid",
    "image_data_format",
    "is_float_dtype",
    "is_int_dtype",
    "is_keras_tensor",
    "result_type",
    "set_epsilon",
    "set_floatx",
    "set_image_data_format",
    "standardize_dtype",
]

_uids: Counter[str] = Counter()


def backend() -> str:
    """The name of what runs below: 'numba'."""
    return "numba"


def is_keras_tensor(x: Any) -> bool:
    """Whether `x` is a symbolic tensor."""
    return isinstance(x, Tensor)


def standardize_dtype(dtype: Any) -> str:
    """The name of the data type `dtype`; that of `floatx()` for None.

    Raises ValueError for what is none.
    """
    if dtype is None:
        return floatx()
    try:
        return np.dtype({int: "int32", float: floatx()}.get(dtype, dtype)).name
    except TypeError:
        if str(dtype) == "bfloat16":
            return "bfloat16"
        raise ValueError(f"standardize_dtype: no data type: {dtype!r}") from None


def is_float_dtype(dtype: Any) -> bool:
    """Whether `dtype`, a data type or its name, is one of floats."""
    return "float" in standardize_dtype(dtype)


def is_int_dtype(dtype: Any) -> bool:
    """Whether `dtype`, a data type or its name, is one of integers."""
    return "int" in standardize_dtype(dtype)


def result_type(*dtypes: Any) -> str:
    """The data type of an operation on operands of these types."""
    return result_dtype(*map(standardize_dtype, dtypes))


def get_uid(prefix: str = "") -> int:
    """1, 2, ... for each prefix."""
    _uids[prefix] += 1
    return _uids[prefix]
