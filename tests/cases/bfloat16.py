"""Products that may round their operands to bfloat16: the geometries of those that may not, with
numbers that rounding does not change, so that all implementations agree.
"""

import dataclasses

from cases import conv, dense
from cases.case import Draw
from references.elementwise import round_bfloat16

from nbcnn.ops.conv import Conv2D, Conv2DInputGradient

# These show nothing new.
SKIPPED = ("lanes_", "depthwise", "mobilenet-", "mobilenet_down")


def coarse(x):
    return x._replace(coarse=True) if isinstance(x, Draw) else round_bfloat16(x)


def allowed():
    """Weight gradients of pointwise convolutions only: others are computed in float32."""
    for case in (*dense.CASES, *conv.CASES):
        forward_or_dx = isinstance(case.op, (Conv2D, Conv2DInputGradient))
        pointwise = case.name in ("conv2d_dw-pointwise", "conv2d_dw-mobilenet_pointwise")
        if case.op.name == "matmul" or forward_or_dx or pointwise:
            if not any(name in case.name for name in SKIPPED):
                op = dataclasses.replace(case.op, bfloat16=True)
                inputs = tuple(map(coarse, case.inputs))
                case = case._replace(name=f"bfloat16-{case.name}", op=op, inputs=inputs)
                yield case._replace(floats=("float32",), tiny=False)


CASES = list(allowed())
