"""Weight gradient of a 1x1 convolution with few filters, or awkwardly many: the other way round.

    dw[c,f] = sum over pixels of x[pixel, c] * dy[pixel, f]

is also the direct weight gradient (`conv_direct_dw.py`) with x and dy exchanged, of which the
result is transposed. Its tile has filters as rows and channels in the vectors. With 2 or 16 filters
no vector has idle lanes then, and with 24 the tile's rows come out even; what is read most, x,
passes through the vectors once.

Chosen where the tiles take fewer multiply-adds that way: 144 to 24 channels take 3/4, 64 to 2 less
than half. The result is small there, so transposing it costs nothing to speak of.
"""

from nbcnn.kernels.cpu import conv_direct_dw, jit, slabs
from nbcnn.kernels.cpu.blocking import Tile, register_tile
from nbcnn.kernels.cpu.call import Call, Caps
from nbcnn.kernels.cpu.conv_plain import sum_pixels
from nbcnn.kernels.cpu.conv_sweep_plan import every_pixel, pixelwise
from nbcnn.kernels.impl import Impl, Scratch
from nbcnn.ops.conv_spec import Conv2DSpec

GAIN = 1.1  # of multiply-adds, from which it pays
MOST = 1 << 17  # weights: transposing more would be seen
SLAB_PIXELS = 2048  # of a slab of the bias's gradient


def cost(rows: int, columns: int, tile: Tile) -> float:
    """Vector multiply-adds of a step of the sum; tiles of one vector are slower by one load."""
    vectors = -(-columns // tile.lanes)
    narrow = tile.rows + tile.rows // 2
    pairs = -(-rows // tile.rows) * tile.rows * 2 * (vectors // 2)
    return pairs + -(-rows // narrow) * (narrow + 1) * (vectors % 2)


def accepts(spec: Conv2DSpec, dtype: str, caps: Caps) -> str | None:
    refused = conv_direct_dw.accepts(spec, dtype, caps)
    if refused:
        return refused
    if spec.groups > 1 or not every_pixel(spec):
        return "not a 1x1 convolution of every pixel"
    if spec.c * spec.f > MOST:
        return "too many weights to transpose"
    tile = register_tile(caps, dtype)
    if cost(spec.f, spec.c, tile) * GAIN > cost(spec.c, spec.f, tile):
        return "the tiles take no less that way"
    return None


def exchanged(spec: Conv2DSpec) -> Conv2DSpec:
    return pixelwise(spec)._replace(c=spec.f, f=spec.c, bias=0)


def scratch(spec: Conv2DSpec, dtype: str, caps: Caps) -> dict[str, Scratch]:
    needed = conv_direct_dw.scratch(exchanged(spec), dtype, caps)
    needed["transposed"] = Scratch((spec.f * spec.c,), dtype)
    return {**needed, **bias_scratch(spec, dtype)}


def bind(spec: Conv2DSpec, caps: Caps, inputs, outputs, scratch) -> list[Call]:
    x, dy = inputs
    turned = scratch["transposed"]
    calls = conv_direct_dw.bind(exchanged(spec), caps, (dy, x), [turned], scratch)
    calls.append(Call(transpose, 1, (spec.f, spec.c, turned, outputs[0].reshape(-1))))
    return [*calls, *bias_gradient(spec, dy, outputs[1:], scratch)]


def bias_scratch(spec: Conv2DSpec, dtype: str) -> dict[str, Scratch]:
    count = slabs.slab_count(spec.n * spec.oh * spec.ow, spec.f, SLAB_PIXELS)
    return {"sums": Scratch((count, spec.f), dtype)} if spec.bias else {}


def bias_gradient(spec: Conv2DSpec, dy, outputs, scratch) -> list[Call]:
    """Calls that sum dy over all pixels, where there is a bias: a pass of their own."""
    if not spec.bias:
        return []
    sums, pixels = scratch["sums"], spec.n * spec.oh * spec.ow
    args = (len(sums), pixels, spec.f, dy.reshape(-1), sums.reshape(-1))
    return [Call(sum_slab, len(sums), args), *slabs.reductions(sums, outputs)]


@jit.kernel
def transpose(task, thread, rows, columns, source, target):
    for j in range(columns):
        for i in range(rows):
            target[j * rows + i] = source[i * columns + j]


@jit.kernel
def sum_slab(task, thread, count, pixels, f, dy, sums):
    first, end = slabs.slab_range(task, count, pixels)
    sum_pixels(f, first, end, dy, task * f, sums)


dw = Impl("transposed", accepts, bind, scratch)
