"""Geometry of convolutions and matrix products: the specs that kernels receive."""

from typing import NamedTuple

# Activations that kernels can apply in their tail; ids are part of specs. Those of normalizations
# differentiate through their output, as relu6 does.
LINEAR, RELU, SIGMOID, TANH = 0, 1, 2, 3
NORM_ACTIVATIONS = {"linear": LINEAR, "relu": RELU, "sigmoid": SIGMOID, "tanh": TANH}
RELU6, HARD_SILU, SILU, GELU = 4, 5, 6, 7
TAIL_ACTIVATIONS = {
    **NORM_ACTIVATIONS, "relu6": RELU6, "hard_silu": HARD_SILU, "silu": SILU, "gelu": GELU,
}  # fmt: skip
MONOTONIC = (LINEAR, RELU, SIGMOID, TANH, RELU6)

# Pools that a convolution can apply in its tail.
NO_POOL, MAX_POOL, MAX_POOL_INDEXED, MEAN_POOL = 0, 1, 2, 3


class Conv2DSpec(NamedTuple):
    """y[n,i,j,f] = act(b[f] + sum_{u,v,c} x[n, i*sh+u*dilh-pt, j*sw+v*dilw-pl, c] * w[u,v,c,f]),
    per group; where `pool`, of this the maximum or mean over windows of ph x pw.

    Rows and columns outside the input are zeros; padding after the input follows from `oh`, `ow`.
    Filter f belongs to group f // (f_total / groups), which reads the channels of the same group.

    Windows do not overlap and lie inside: rows and columns of the convolution beyond the last whole
    window are dropped, and `oh`, `ow` count them. A maximum may be taken before or after `act`,
    which is monotonic. MAX_POOL_INDEXED has a second output, which pixel u * pw + v of the window
    won *before* `act`; the first of equal ones, NaN over all, as in `MaxPool2D`. A weight gradient
    with it takes the pool's dy, and those winners as a third input.
    """

    n: int
    h: int
    w: int
    c: int  # input (n, h, w, c)
    f: int
    kh: int
    kw: int
    groups: int  # kernel (kh, kw, c // groups, f)
    oh: int
    ow: int  # of the convolution; output (n, oh // ph, ow // pw, f)
    sh: int
    sw: int
    dilh: int
    dilw: int
    pt: int
    pl: int  # zero rows above and zero columns left of the input; negative crops
    bias: int = 0  # forward: third input b (f,). Weight gradient: second output db (f,)
    act: int = 0  # forward: one of TAIL_ACTIVATIONS
    pool: int = 0  # forward: one of the pools. Weight gradient: MAX_POOL_INDEXED
    ph: int = 1
    pw: int = 1
    fixed: int = 0  # whether w holds still from run to run, so that what is made of it is kept


class MatmulSpec(NamedTuple):
    """y[b,i,j] = act(bias[j] + sum_l x[b,i,l] * w[b,l,j]); `tx`, `tw`: that operand is stored
    transposed.

    `batch` matrices; `xb`, `wb` are 1 where that operand has its own matrix per batch entry and 0
    where one is shared.
    """

    m: int
    n: int
    k: int
    tx: int = 0  # x is stored (k, m)
    tw: int = 0  # w is stored (n, k)
    batch: int = 1
    xb: int = 1
    wb: int = 1
    bias: int = 0
    act: int = 0
