"""All cases of all operations."""

from cases import (
    conv,
    copy,
    dense,
    elementwise,
    loss,
    norm,
    optimizer,
    pool,
    random,
    reduce,
)

MODULES = (conv, dense, pool, norm, elementwise, reduce, copy, loss, random, optimizer)
CASES = [case for module in MODULES for case in module.CASES]
