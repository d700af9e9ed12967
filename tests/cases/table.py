"""All cases of all operations."""

from cases import (
    bfloat16,
    conv,
    copy,
    dense,
    elementwise,
    global_response,
    indexed,
    layer_norm,
    loss,
    norm,
    optimizer,
    pool,
    random,
    reduce,
    tensor_cores,
    windows,
)

MODULES = (
    conv, dense, bfloat16, tensor_cores, pool, norm, layer_norm, elementwise, reduce, copy, indexed,
    global_response, loss, random, optimizer, windows,
)  # fmt: skip
CASES = [case for module in MODULES for case in module.CASES]
