"""Matrix products by the definition, for any transposition, batch and float dtype.

    y[b,i,j] = act(bias[j] + sum over l of x[b,i,l] * w[b,l,j])

A task is a tile of ROWS x COLUMNS of one matrix. It walks the sum in runs of RUN terms: a run of
w's rows (64 x 256 elements) stays in the L2 cache for all rows of the tile, and each row's run is
summed in a buffer before it joins y, which keeps float32 sums short. Where w is stored transposed,
rows of w lie along the sum and each element of y is a dot product.

Chosen last, where no faster implementation takes the shape.
"""

from nbcnn.kernels.cpu import jit
from nbcnn.kernels.cpu.axpy import activate, add_rows, dot
from nbcnn.kernels.cpu.call import Call
from nbcnn.kernels.impl import Impl, Scratch, always
from nbcnn.ops.conv_spec import MatmulSpec

ROWS, COLUMNS, RUN = 8, 256, 64


@jit.kernel
def matmul_kernel(task, thread, spec, x, w, bias, run, y):
    """Tile task: (batch entry, block of rows, block of columns)."""
    s = spec
    across, down = (s.n + COLUMNS - 1) // COLUMNS, (s.m + ROWS - 1) // ROWS
    entry, tile = task // (across * down), task % (across * down)
    i0, j0 = tile // across * ROWS, tile % across * COLUMNS
    i1, j1 = min(i0 + ROWS, s.m), min(j0 + COLUMNS, s.n)
    xs, ws, ys = entry * s.xb * s.m * s.k, entry * s.wb * s.k * s.n, entry * s.m * s.n
    for i in range(i0, i1):
        for j in range(j0, j1):
            y[ys + i * s.n + j] = bias[j] if s.bias else 0
    xi, xl = (1, s.m) if s.tx else (s.k, 1)
    mine = thread * COLUMNS
    for l0 in range(0, s.k, RUN):
        length = min(RUN, s.k - l0)
        for i in range(i0, i1):
            seen, row = xs + i * xi + l0 * xl, ys + i * s.n
            if s.tw:
                for j in range(j0, j1):
                    y[row + j] += dot(x, seen, xl, w, ws + j * s.k + l0, length)
            else:
                for j in range(j1 - j0):
                    run[mine + j] = 0
                add_rows(run, mine, w, ws + l0 * s.n + j0, s.n, x, seen, xl, length, j1 - j0)
                for j in range(j1 - j0):
                    y[row + j0 + j] += run[mine + j]
    for i in range(i0, i1):
        activate(y, ys + i * s.n + j0, j1 - j0, s.act)


def bind(spec: MatmulSpec, caps, inputs, outputs, scratch) -> list[Call]:
    x, w, y, run = inputs[0], inputs[1], outputs[0], scratch["run"]
    bias = inputs[2] if spec.bias else w  # w: not read, of the same type
    tasks = spec.batch * -(-spec.m // ROWS) * -(-spec.n // COLUMNS)
    return [Call(matmul_kernel, tasks, (spec, *(a.reshape(-1) for a in (x, w, bias, run, y))))]


def scratch(spec: MatmulSpec, dtype: str, caps) -> dict[str, Scratch]:
    return {"run": Scratch((caps.threads, COLUMNS), dtype)}


matmul = Impl("plain", always, bind, scratch)
