"""`nbcnn.ops.numpy`: the functions of `nbcnn.ops` that NumPy has, too."""

from typing import Any

# What `nbcnn.ops` has beyond NumPy's functions, by the modules that hold it.
_OTHERS = (
    "nn_more", "windows", "control", "einops_api",
)  # fmt: skip
_OTHER_NAMES = """
cast convert_to_numpy convert_to_tensor dtype erf erfc erfinv in_top_k is_tensor multi_hot
one_hot saturate_cast scatter scatter_update segment_max segment_min segment_prod
segment_sum shape slice slice_update stop_gradient top_k unstack logsumexp logdet rsqrt cdist
cholesky cholesky_inverse det eigh inv lstsq lu_factor matrix_rank norm pinv qr solve
solve_triangular svd fft fft2 ifft2 rfft irfft slice_axis image linalg nn numpy
""".split()  # noqa: SIM905


def _names() -> list[str]:
    from nbcnn import ops
    from nbcnn.ops import nn_api

    others = {*_OTHER_NAMES, *nn_api.__all__}
    return [n for n in ops.__all__ if n not in others and ops.NAMES.get(n) not in _OTHERS]


def __getattr__(name: str) -> Any:
    from nbcnn import ops

    if name == "__all__":
        return _names()
    if name.startswith("_") or name not in _names():
        raise AttributeError(f"module 'nbcnn.ops.numpy' has no attribute {name!r}")
    return getattr(ops, name)
