"""Which implementation computes each operation on CUDA: special before general, the last accepts
everything.

An entry is a tuple of implementations, or a function from the operation to one, where kernels
depend on what is no part of the spec (the name of a function, the kind of targets).
"""

from collections.abc import Callable
from functools import cache
from typing import Any

from nbcnn.kernels.cuda import (
    activation_sum,
    borders,
    conv_depthwise,
    conv_depthwise_dw,
    conv_direct,
    conv_im2col,
    conv_implicit,
    conv_plain,
    copy,
    elementwise,
    global_response,
    indexed,
    layer_norm,
    local,
    loss,
    matmul_plain,
    matmul_tiled,
    mma_conv,
    mma_conv_dw,
    mma_matmul,
    norm,
    norm_gradient,
    norm_pool,
    optimizer,
    optimizer_rules,
    pool,
    random,
    reduce,
    response_norm,
    unpool,
)
from nbcnn.kernels.impl import Impl

_dense_loss, _dense_loss_dx, _dense_probability, _dense_probability_dx = loss.loss_impls(False)
_sparse_loss, _sparse_loss_dx, _sparse_probability, _sparse_probability_dx = loss.loss_impls(True)

IMPLS: dict[str, tuple[Impl, ...] | Callable[[Any], tuple[Impl, ...]]] = {
    "conv2d": (
        mma_conv.hopper_tf32,
        mma_conv.conv2d_tf32,
        conv_depthwise.conv2d,
        conv_direct.conv2d,
        conv_implicit.conv2d,
        conv_im2col.conv2d,
        conv_plain.conv2d,
    ),
    "conv2d_dx": (
        mma_conv.hopper_dx_tf32,
        mma_conv.dx_tf32,
        conv_depthwise.conv2d_dx,
        conv_direct.conv2d_dx,
        conv_implicit.conv2d_dx,
        conv_im2col.conv2d_dx,
        conv_plain.conv2d_dx,
    ),
    "conv2d_dw": (
        mma_conv_dw.dw_tf32,
        conv_depthwise_dw.conv2d_dw,
        conv_implicit.conv2d_dw,
        conv_im2col.conv2d_dw,
        conv_plain.conv2d_dw,
    ),
    "local2d": (local.local2d,),
    "local2d_dx": (local.local2d_dx,),
    "local2d_dw": (local.local2d_dw,),
    "matmul": (
        mma_matmul.hopper_tf32,
        mma_matmul.tf32,
        matmul_tiled.matmul,
        matmul_plain.matmul,
    ),
    "unary": elementwise.unary,
    "unary_dx": elementwise.unary_gradient,
    "unary_dx_sum": activation_sum.impls,
    "binary": elementwise.binary,
    "where": (elementwise.where,),
    "cast": (elementwise.cast,),
    "reduce": reduce.reduce,
    "reduce_extreme_dx": (reduce.extreme_gradient,),
    "copy": (copy.copy,),
    "concat": (copy.concat,),
    "pad_border": (borders.pad_border,),
    "pad_border_dx": (borders.pad_border_dx,),
    "gather": (indexed.gather,),
    "scatter": indexed.scatter,
    "cumulative": indexed.cumulative,
    "argsort": (indexed.argsort,),
    "maxpool2d": (pool.maxpool2d,),
    "maxpool2d_dx": (pool.maxpool2d_dx,),
    "avgpool2d": (pool.avgpool2d,),
    "avgpool2d_dx": (pool.avgpool2d_dx,),
    "upsample2d": (pool.upsample2d,),
    "upsample2d_dx": (pool.upsample2d_dx,),
    "pool_places": (unpool.pool_places,),
    "max_unpool2d": (unpool.max_unpool2d,),
    "max_unpool2d_dx": (unpool.max_unpool2d_dx,),
    "batchnorm": (norm.batchnorm,),
    "batchnorm_dx": (norm_gradient.batchnorm_dx,),
    "batchnorm_maxpool": (norm_pool.batchnorm_maxpool,),
    "batchnorm_maxpool_dx": (norm_pool.batchnorm_maxpool_dx,),
    "global_response": (global_response.global_response,),
    "global_response_dx": (global_response.global_response_dx,),
    "layernorm": (layer_norm.layernorm,),
    "layernorm_dx": (layer_norm.layernorm_dx,),
    "response_norm": (response_norm.response_norm,),
    "response_norm_dx": (response_norm.response_norm_dx,),
    "scale_shift": (norm.scale_shift,),
    "softmax": (loss.softmax,),
    "softmax_dx": (loss.softmax_dx,),
    "log_softmax": (loss.log_softmax,),
    "log_softmax_dx": (loss.log_softmax_dx,),
    "softmax_crossentropy": (_dense_loss,),
    "softmax_crossentropy_dx": (_dense_loss_dx,),
    "softmax_crossentropy_sparse": (_sparse_loss,),
    "softmax_crossentropy_sparse_dx": (_sparse_loss_dx,),
    "crossentropy": (_dense_probability,),
    "crossentropy_dx": (_dense_probability_dx,),
    "crossentropy_sparse": (_sparse_probability,),
    "crossentropy_sparse_dx": (_sparse_probability_dx,),
    "dropout": (random.dropout,),
    "sgd": (optimizer.sgd,),
    "rmsprop": (optimizer.rmsprop,),
    "adam": (optimizer.adam,),
    "update": optimizer_rules.impls,
    "lamb": (optimizer_rules.lamb,),
    "mix": (optimizer_rules.mix,),
    "clip_gradients_value": (optimizer.clip_gradients_value,),
    "clip_gradients_norm": (optimizer.clip_gradients_norm,),
    "clip_gradients_global_norm": (optimizer.clip_gradients_global_norm,),
    "assign": (optimizer.assign,),
    "accumulate": (optimizer.accumulate,),
}

# Asked first where operands may be rounded to bfloat16.
BFLOAT16: dict[str, tuple[Impl, ...]] = {
    "conv2d": (mma_conv.hopper_bfloat16, mma_conv.conv2d_bfloat16),
    "conv2d_dx": (mma_conv.hopper_dx_bfloat16, mma_conv.dx_bfloat16),
    "conv2d_dw": (mma_conv_dw.dw_bfloat16,),
    "matmul": (mma_matmul.hopper_bfloat16, mma_matmul.bfloat16),
}


@cache
def _made(name: str, op: Any) -> tuple[Impl, ...]:
    return IMPLS[name](op)  # type: ignore[operator]


def impls(op: Any) -> tuple[Impl, ...]:
    """Implementations of an operation, in order; none for an unknown one."""
    entry = IMPLS.get(op.impl_op, ())
    found = entry if isinstance(entry, tuple) else _made(op.impl_op, op)
    return (*BFLOAT16.get(op.impl_op, ()), *found) if getattr(op, "bfloat16", False) else found
