"""`nbcnn.ops.linalg`: matrices. All but `norm` work on arrays only, without gradient."""

from typing import Any

NAMES = (
    "cholesky", "cholesky_inverse", "det", "eigh", "inv", "lstsq", "lu_factor", "matrix_rank",
    "norm", "pinv", "qr", "solve", "solve_triangular", "svd",
)  # fmt: skip
__all__ = [*NAMES]


def __getattr__(name: str) -> Any:
    from nbcnn import ops

    if name not in __all__:
        raise AttributeError(f"module 'nbcnn.ops.linalg' has no attribute {name!r}")
    return getattr(ops, name)
