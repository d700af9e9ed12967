"""Which implementations serve which operation: the whole policy, read top to bottom.

The first that accepts a spec is taken, so special ones come before general ones and the last
accepts everything. Where kernels depend on more than the spec (which function, say), the entry is a
function of the op.
"""

from collections.abc import Callable
from typing import Any

from nbcnn.kernels.cpu import (
    activation_sum,
    bfloat16,
    borders,
    concat,
    conv_depthwise,
    conv_depthwise_taps,
    conv_direct,
    conv_direct_dw,
    conv_gather_dw,
    conv_grouped,
    conv_im2col,
    conv_lanes,
    conv_lanes_dw,
    conv_plain,
    conv_pooled_dw,
    conv_product_dw,
    conv_small_maps,
    conv_transposed_dw,
    conv_winograd,
    conv_winograd_dw,
    copy,
    elementwise,
    gemm,
    global_response,
    indexed,
    layer_norm,
    local,
    loss,
    matmul_plain,
    matmul_rows,
    norm,
    norm_pool,
    optimizer,
    optimizer_rules,
    ordering,
    pool,
    pool_vector,
    pool_vector_dx,
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
        conv_depthwise.conv2d,
        conv_depthwise_taps.conv2d,
        conv_grouped.conv2d,
        conv_lanes.conv2d,
        conv_winograd.conv2d,
        conv_winograd.conv2d_f2,
        conv_small_maps.conv2d,
        conv_direct.conv2d,
        conv_im2col.conv2d,
        conv_plain.conv2d,
    ),
    "conv2d_dx": (
        conv_depthwise.conv2d_dx,
        conv_depthwise_taps.conv2d_dx,
        conv_grouped.conv2d_dx,
        conv_lanes.dx,
        conv_winograd.dx,
        conv_winograd.dx_f2,
        conv_direct.dx,
        conv_im2col.conv2d_dx,
        conv_plain.conv2d_dx,
    ),
    "conv2d_dw": (
        conv_pooled_dw.dw,
        conv_depthwise.conv2d_dw,
        conv_depthwise_taps.conv2d_dw,
        conv_grouped.conv2d_dw,
        conv_lanes_dw.dw,
        conv_winograd_dw.dw,
        conv_winograd_dw.dw_f2,
        conv_transposed_dw.dw,
        conv_product_dw.dw,
        conv_gather_dw.dw,
        conv_direct_dw.dw,
        conv_im2col.conv2d_dw,
        conv_plain.conv2d_dw,
    ),
    "local2d": (local.local2d,),
    "local2d_dx": (local.local2d_dx,),
    "local2d_dw": (local.local2d_dw,),
    "matmul": (matmul_rows.rows, gemm.gemm, matmul_plain.matmul),
    "unary": elementwise.unary_impls,
    "unary_dx": elementwise.unary_dx_impls,
    "unary_dx_sum": activation_sum.impls,
    "binary": elementwise.binary_impls,
    "where": (elementwise.where_impl,),
    "cast": (elementwise.cast_impl,),
    "reduce": reduce.reduce_impls,
    "reduce_extreme_dx": (reduce.extreme_dx_impl,),
    "copy": (copy.copy_impl,),
    "concat": (concat.concat_impl,),
    "pad_border": (borders.pad_border_impl,),
    "pad_border_dx": (borders.pad_border_dx_impl,),
    "gather": (indexed.gather_impl,),
    "scatter": indexed.scatter_impls,
    "cumulative": ordering.cumulative_impls,
    "argsort": (ordering.argsort_impl,),
    "maxpool2d": (pool_vector.maxpool2d, pool.maxpool2d_impl),
    "maxpool2d_dx": (pool_vector_dx.maxpool2d_dx, pool.maxpool2d_dx_impl),
    "avgpool2d": (pool_vector.avgpool2d, pool.avgpool2d_impl),
    "avgpool2d_dx": (pool_vector_dx.avgpool2d_dx, pool.avgpool2d_dx_impl),
    "upsample2d": (pool_vector_dx.upsample2d, pool.upsample2d_impl),
    "upsample2d_dx": (pool_vector.upsample2d_dx, pool.upsample2d_dx_impl),
    "pool_places": (unpool.pool_places_impl,),
    "max_unpool2d": (unpool.max_unpool2d_impl,),
    "max_unpool2d_dx": (unpool.max_unpool2d_dx_impl,),
    "softmax": (loss.softmax_impl,),
    "softmax_dx": (loss.softmax_dx_impl,),
    "log_softmax": (loss.log_softmax_impl,),
    "log_softmax_dx": (loss.log_softmax_dx_impl,),
    "softmax_crossentropy": (_dense_loss,),
    "softmax_crossentropy_dx": (_dense_loss_dx,),
    "softmax_crossentropy_sparse": (_sparse_loss,),
    "softmax_crossentropy_sparse_dx": (_sparse_loss_dx,),
    "crossentropy": (_dense_probability,),
    "crossentropy_dx": (_dense_probability_dx,),
    "crossentropy_sparse": (_sparse_probability,),
    "crossentropy_sparse_dx": (_sparse_probability_dx,),
    "batchnorm": (norm.batchnorm_impl,),
    "batchnorm_dx": (norm.batchnorm_dx_impl,),
    "batchnorm_maxpool": (norm_pool.batchnorm_maxpool_impl,),
    "batchnorm_maxpool_dx": (norm_pool.batchnorm_maxpool_dx_impl,),
    "global_response": (global_response.global_response,),
    "global_response_dx": (global_response.global_response_dx,),
    "layernorm": (layer_norm.layernorm_impl,),
    "layernorm_dx": (layer_norm.layernorm_dx_impl,),
    "response_norm": (response_norm.response_norm,),
    "response_norm_dx": (response_norm.response_norm_dx,),
    "scale_shift": (norm.scale_shift_impl,),
    "dropout": (random.dropout_impl,),
    "sgd": (optimizer.sgd_impl,),
    "rmsprop": (optimizer.rmsprop_impl,),
    "adam": (optimizer.adam_impl,),
    "update": optimizer_rules.impls,
    "lamb": (optimizer_rules.lamb_impl,),
    "mix": (optimizer_rules.mix_impl,),
    "clip_gradients_value": (optimizer.clip_value_impl,),
    "clip_gradients_norm": (optimizer.clip_norm_impl,),
    "clip_gradients_global_norm": (optimizer.clip_global_norm_impl,),
    "assign": (optimizer.assign_impl,),
    "accumulate": (optimizer.accumulate_impl,),
}


# Asked first where operands may be rounded to bfloat16; they accept what gains by it.
BFLOAT16: dict[str, tuple[Impl, ...]] = {
    "conv2d": (bfloat16.conv2d,),
    "conv2d_dx": (bfloat16.dx,),
    "conv2d_dw": (bfloat16.dw,),
    "matmul": (bfloat16.matmul,),
}


def impls(op: Any) -> tuple[Impl, ...]:
    """The implementations of an op, in order of preference; none where the device has no kernel for
    it.
    """
    entry = IMPLS.get(op.impl_op, ())
    found = entry if isinstance(entry, tuple) else entry(op)
    return (*BFLOAT16[op.impl_op], *found) if getattr(op, "bfloat16", False) else found
