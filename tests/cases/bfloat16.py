"""Products of operands rounded to bfloat16: the geometries of the float32 ones."""

import dataclasses

from cases import conv, dense

from nbcnn.ops.conv import Conv2D, Conv2DInputGradient

# These show nothing new.
SKIPPED = ("lanes_", "depthwise", "mobilenet-", "mobilenet_down")


def rounded():
    """Weight gradients of pointwise convolutions only: others are refused."""
    for case in (*dense.CASES, *conv.CASES):
        forward_or_dx = isinstance(case.op, (Conv2D, Conv2DInputGradient))
        pointwise = case.name in ("conv2d_dw-pointwise", "conv2d_dw-mobilenet_pointwise")
        if case.op.name == "matmul" or forward_or_dx or pointwise:
            if not any(name in case.name for name in SKIPPED):
                op = dataclasses.replace(case.op, rounded=True)
                yield case._replace(
                    name=f"bfloat16-{case.name}", op=op, floats=("float32",), tiny=False
                )


CASES = list(rounded())
