"""Results that go around the caches: the same bits as those that do not, wherever they begin."""

import numpy as np
import pytest

from nbcnn.kernels.cpu import streaming
from nbcnn.kernels.cpu.lists import impls
from nbcnn.ops.broadcast import FlatSpec
from nbcnn.ops.elementwise import Binary, Unary, UnaryGradient
from nbcnn.runtime.cpu import CpuDevice

DEVICE = CpuDevice(2)
FORCED = DEVICE.caps._replace(l3=0, streams=True)


def result(op, arrays, caps, offset, y=None):
    """Of an operation, into memory that begins `offset` elements after a line does."""
    n, dtype = arrays[0].size, arrays[0].dtype.name
    spec, impl = FlatSpec(n), impls(op)[0]
    if y is None:
        y = DEVICE.empty((n + offset + 1) * arrays[0].itemsize).view(dtype)
        y[:] = -7
    scratch = {k: np.empty(s.shape, s.dtype) for k, s in impl.scratch(spec, dtype, caps).items()}
    assert bool(scratch) == (caps is FORCED)
    DEVICE.program(impl.bind(spec, caps, arrays, [y[offset : offset + n]], scratch)).run()
    assert (np.delete(y, slice(offset, offset + n)) == -7).all()
    return y[offset : offset + n].copy()


@pytest.mark.parametrize("op", [Unary("relu"), UnaryGradient("relu6"), Binary("add", "relu")])
@pytest.mark.parametrize("n, offset", [(40_007, 0), (40_007, 3), (33_000, 16), (5, 0), (1024, 0)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_bits_are_the_same(op, n, offset, dtype):
    rng = np.random.default_rng(0)
    count = 1 if op.name == "unary" else 2
    arrays = [rng.standard_normal(n).astype(dtype) * 4 for _ in range(count)]
    usual, around = (result(op, arrays, caps, offset) for caps in (DEVICE.caps, FORCED))
    assert usual.tobytes() == around.tobytes()


def test_in_place_results_stay_in_the_caches():
    x = np.linspace(-1, 1, 5000, dtype="float32")
    wanted = np.maximum(x, 0)
    assert streaming.pieces({"pieces": np.empty((2, 1024), "float32")}, x, [x])[0] == 0
    np.testing.assert_array_equal(result(Unary("relu"), [x], FORCED, 0, x), wanted)


def test_only_what_no_cache_holds_goes_around():
    caps = DEVICE.caps._replace(streams=True)
    assert not streaming.large(caps.l3, caps)
    assert streaming.large(2 * caps.l3, caps)
    assert not streaming.large(2 * caps.l3, caps._replace(streams=False))
