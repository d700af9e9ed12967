"""`nbcnn.ops.nn`: the functions of `nbcnn.ops` that networks are made of."""

from typing import Any

NAMES = (
    "adaptive_average_pool", "adaptive_max_pool", "average_pool", "batch_normalization",
    "binary_crossentropy", "categorical_crossentropy", "celu", "conv", "conv_transpose",
    "depth_to_space", "depthwise_conv", "dot_product_attention", "elu", "fold", "gelu", "glu",
    "hard_shrink", "hard_sigmoid", "hard_silu", "hard_swish", "hard_tanh", "layer_normalization",
    "leaky_relu", "log_sigmoid", "log_softmax", "max_pool", "mish", "moments", "multi_hot",
    "normalize", "one_hot", "psnr", "relu", "relu6", "rms_normalization", "selu",
    "separable_conv", "sigmoid", "silu", "soft_shrink", "softmax", "softplus", "softsign",
    "space_to_depth", "sparse_categorical_crossentropy", "sparse_plus", "sparse_sigmoid",
    "sparsemax", "squareplus", "swish", "tanh_shrink", "threshold", "unfold",
)  # fmt: skip
__all__ = [*NAMES]


def __getattr__(name: str) -> Any:
    from nbcnn import ops

    if name not in __all__:
        raise AttributeError(f"module 'nbcnn.ops.nn' has no attribute {name!r}")
    return getattr(ops, name)
