"""Keras's module of precision policies; see `nbcnn.dtype_policies`."""

from typing import TYPE_CHECKING, Any

from nbcnn.dtype_policies import DTypePolicy, dtype_policy, set_dtype_policy

if TYPE_CHECKING:
    from nbcnn.optimizers import LossScaleOptimizer

Policy = DTypePolicy
global_policy = dtype_policy
set_global_policy = set_dtype_policy

__all__ = [
    "DTypePolicy",
    "LossScaleOptimizer",
    "Policy",
    "dtype_policy",
    "global_policy",
    "set_dtype_policy",
    "set_global_policy",
]


def __getattr__(name: str) -> Any:
    if name == "LossScaleOptimizer":
        from nbcnn import optimizers

        return optimizers.LossScaleOptimizer
    raise AttributeError(f"module 'nbcnn.mixed_precision' has no attribute {name!r}")
