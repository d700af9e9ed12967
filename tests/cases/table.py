"""All cases of all operations."""

from cases import (
    conv,
    copy,
    dense,
    elementwise,
    layer_norm,
    loss,
    norm,
    optimizer,
    pool,
    random,
    reduce,
)

MODULES = (conv, dense, pool, norm, layer_norm, elementwise, reduce, copy, loss, random, optimizer)
CASES = [case for module in MODULES for case in module.CASES]
