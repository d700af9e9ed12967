"""The cases of `ops.py`: plain data that nbcnn's side (`ops_nbcnn.py`) and PyTorch's
(`ops_torch.py`) both read.

Shapes are NHWC, kernels HWIO, batches such that a case takes 0.1 to 20 ms on two cores.
"""

from op_cases import (
    convolution,
    dense,
    depthwise,
    elementwise,
    more,
    normalization,
    pooling,
    update,
    windows,
)
from op_cases.case import Case

FAMILIES = (convolution, depthwise, dense, pooling, normalization, elementwise, update)
CASES: list[Case] = [case for family in FAMILIES for case in family.cases()]
# Those of `model_set_more.py`, a list and a file of results of their own.
MORE: list[Case] = [*more.cases(), *windows.cases()]
SETS = {"first": CASES, "more": MORE}
