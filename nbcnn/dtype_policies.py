"""Which data types a layer keeps its weights and its values in, as Keras's policies say it.

    keras.config.set_dtype_policy("mixed_bfloat16")
    keras.layers.Dense(10, dtype="mixed_bfloat16")

With `mixed_bfloat16`, products (dense layers, convolutions and their gradients) may take their
operands rounded to bfloat16, 8 bits of mantissa instead of 24, and add up in float32. They do so
where that is faster: on processors with a dot-product instruction for bfloat16, in shapes where the
conversion pays. Others are computed in float32 as without a policy. All that stays in memory is
float32: NumPy has no bfloat16, so outputs are float32 arrays.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from nbcnn import config
from nbcnn.declare import Expected

__all__ = ["DTypePolicy", "dtype_policy", "set_dtype_policy"]

MIXED = "mixed_bfloat16"


class DTypePolicy:
    """A policy by its name: 'float32', 'float64', an integer type, or 'mixed_bfloat16'.

    Parameters
    ----------
    name : None takes the current global policy. Raises ValueError for other names.
    """

    def __init__(self, name: Any = None):
        self.name = _checked("DTypePolicy: name", name)

    @property
    def compute_dtype(self) -> str:
        """What products may take: 'bfloat16' where the policy is mixed."""
        return "bfloat16" if self.name == MIXED else self.name

    @property
    def variable_dtype(self) -> str:
        """Of the weights."""
        return self.value_dtype

    @property
    def value_dtype(self) -> str:
        """Of arrays and of tensors between layers."""
        return "float32" if self.name == MIXED else self.name

    def described(self) -> dict[str, Any]:
        """As Keras describes it in a layer's configuration."""
        where = {"module": "keras", "class_name": "DTypePolicy"}
        return {**where, "config": self.get_config(), "registered_name": None}

    def get_config(self) -> dict[str, str]:
        return {"name": self.name}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "DTypePolicy":
        return cls(**config)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DTypePolicy) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return f"<DTypePolicy {self.name!r}>"


def _checked(what: str, value: Any) -> str:
    try:
        return policy_name(value)
    except Expected as error:
        raise ValueError(f"{what} {error}, got {value!r}") from None


def as_policy(value: Any) -> DTypePolicy:
    """A policy from what a layer is given for `dtype`. Raises `Expected`."""
    return DTypePolicy(policy_name(value))


def policy_name(value: Any) -> str:
    """The name of a policy or data type, or of its description in one of Keras's files; None is
    the global policy. Raises `Expected`.
    """
    if isinstance(value, DTypePolicy):
        return value.name
    if isinstance(value, Mapping) and value.get("class_name") == "DTypePolicy":
        value = value["config"]["name"]
    if value is None:
        return config.dtype_policy_name()
    if value == MIXED:
        return MIXED
    return dtype_name(value)


def dtype_name(value: Any) -> str:
    """The name of a data type that arrays have here, None being the current `floatx`. Raises
    `Expected`.
    """
    if value is None:
        return config.floatx()
    try:
        dtype = np.dtype(value)
    except TypeError:
        expected = f"must be the name of a data type, such as 'float32', or {MIXED!r}"
        raise Expected(expected) from None
    if dtype.kind not in "biu" and dtype.name not in config.FLOAT_TYPES:
        known = ", ".join(config.FLOAT_TYPES)
        raise Expected(f"must be an integer type or one of {known}, {MIXED}")
    return dtype.name


def float_name(value: Any) -> str | None:
    """The float type that a loss computes in by its argument `dtype`; None stays. Raises
    `Expected`.
    """
    if value is None:
        return None
    name = as_policy(value).value_dtype
    if name not in config.FLOAT_TYPES:
        raise Expected(f"must be None, {', '.join(config.FLOAT_TYPES)} or {MIXED}")
    return name


def value_name(value: Any) -> str | None:
    """The type of values by an argument `dtype`; None stays. Raises `Expected`."""
    return None if value is None else as_policy(value).value_dtype


def set_dtype_policy(policy: Any) -> None:
    """Set the policy of layers made from now on. Raises ValueError for unknown names."""
    config.choose_dtype_policy(_checked("set_dtype_policy: policy", policy))


def dtype_policy() -> DTypePolicy:
    """The policy of layers that are given none."""
    return DTypePolicy()
