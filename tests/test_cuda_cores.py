"""When tensor cores are used, and by which tiles; in a process with the simulator, since Numba's
real target wants to be installed.
"""

import re
from pathlib import Path

import pytest

SIMULATED = {"NUMBA_ENABLE_CUDASIM": "1"}

CHOICES = """
from nbcnn.kernels.cuda import lists, mma_columns, mma_tiles
from nbcnn.kernels.cuda.call import Caps
from nbcnn.kernels.impl import choose
from nbcnn.ops.conv import Conv2D, Conv2DInputGradient, Conv2DKernelGradient
from nbcnn.ops.dense import Matmul
from nbcnn.ops.tensor import TensorSpec

X, W, Y = (8, 28, 28, 64), (3, 3, 64, 96), (8, 26, 26, 96)


def kinds(caps, dtype="float32", **options):
    cases = (
        (Conv2D(**options), X, W),
        (Conv2DInputGradient(**options, shape=X), Y, W),
        (Conv2DKernelGradient(**options, shape=W), X, Y),
        (Matmul(**options), (128, 256), (256, 512)),
        (Matmul(tx=True, **options), (128, 256), (128, 512)),
    )
    found = []
    for op, *shapes in cases:
        specs = [TensorSpec(shape, dtype) for shape in shapes]
        name = choose(lists.impls(op), op.spec(*specs), dtype, caps).impl.name
        found.append(name if name.startswith(("mma", "wgmma")) else "")
    return found


none = [""] * 5
hopper = Caps(132, (9, 0), tf32=True, shared=232448)
ampere = hopper._replace(compute_capability=(8, 0), shared=166912)
on_hopper = ["wgmma_tf32", "wgmma_tf32", "mma_tf32", "wgmma_tf32", "mma_tf32"]
assert kinds(hopper) == on_hopper, kinds(hopper)
assert kinds(ampere) == ["mma_tf32"] * 5
assert kinds(hopper._replace(compute_capability=(12, 0))) == ["mma_tf32"] * 5
assert kinds(hopper._replace(tf32=False)) == none
assert kinds(hopper._replace(compute_capability=(7, 5))) == none
assert kinds(hopper, "float64") == none
exact = hopper._replace(tf32=False)
assert kinds(exact, bfloat16=True) == [n.replace("tf32", "bfloat16") for n in on_hopper]
assert kinds(ampere._replace(tf32=False), bfloat16=True) == ["mma_bfloat16"] * 5
assert kinds(exact._replace(compute_capability=(7, 5)), bfloat16=True) == none

# Grouped convolutions, and data gradients of as many phases as launches would be, are left.
op = Conv2D(groups=2)
specs = [TensorSpec(X, "float32"), TensorSpec((3, 3, 32, 96), "float32")]
name = choose(lists.impls(op), op.spec(*specs), "float32", hopper).impl.name
assert not name.startswith(("mma", "wgmma")), name

# Tiles: the largest that keeps all multiprocessors busy, does not idle, and fits in shared memory.
for tile in (*mma_tiles.TILES, *mma_tiles.HOPPER_TILES):
    assert tile.rows * (tile.columns + 8) * 4 <= tile.shared <= 101376
    assert tile.rows % (tile.threads // 8) == tile.columns % (tile.threads // 8) == 0
large, narrow, small = mma_tiles.TILES
assert mma_tiles.tile_for(100_000, 256, 1, False, ampere) == large
assert mma_tiles.tile_for(100_000, 64, 1, False, ampere) == narrow
assert mma_tiles.tile_for(1568, 512, 1, False, ampere) == small
assert mma_tiles.tile_for(100_000, 256, 1, False, ampere._replace(shared=49152)) == small
for half in (False, True):
    first, *_, last = mma_columns.TILES[half]
    shapes = mma_columns.Columns(8, 28, 28, 16, 24, 64, 96, 3, 3, 28, 28, 1, 1, 1, 1, 1, 1)
    assert mma_columns.tile_for(shapes, half, ampere) == first
    assert mma_columns.tile_for(shapes, half, ampere._replace(shared=49152)) == last
    parts = mma_columns.split(shapes, first, ampere).parts
    assert 1 < parts <= shapes.pixels // first.depth // mma_columns.LEAST_DEPTHS + 1
"""


def test_choices(python, tmp_path):
    script = tmp_path / "choices.py"
    script.write_text(CHOICES)
    python(script, **SIMULATED)


LARGE = """
from nbcnn.kernels.cuda import lists
from nbcnn.kernels.cuda.call import Caps
from nbcnn.kernels.impl import choose
from nbcnn.ops.conv import Conv2D, Conv2DInputGradient, Conv2DKernelGradient
from nbcnn.ops.dense import Matmul
from nbcnn.ops.tensor import TensorSpec

hopper = Caps(132, (9, 0), shared=232448)
rounding = hopper._replace(tf32=True)


def refusals(op, *shapes, caps=hopper):
    specs = [TensorSpec(shape, "float32") for shape in shapes]
    choice = choose(lists.impls(op), op.spec(*specs), "float32", caps)
    return choice.impl.name, dict(choice.refused)


# Maps of hundreds of MB are usual, and are not left to the general kernels.
x, w = (256, 56, 56, 64), (3, 3, 64, 64)
for op, shapes in (
    (Conv2D(padding="same"), (x, w)),
    (Conv2DInputGradient(padding="same", shape=x), (x, w)),
    (Conv2DKernelGradient(padding="same", shape=w), (x, x)),
):
    assert refusals(op, *shapes)[0] == "implicit", refusals(op, *shapes)
# As many elements as int32 counts, which are not split; and one map more.
x, w = (255, 256, 256, 128), (1, 1, 128, 128)
assert refusals(Conv2D(), x, w)[0] == "implicit"
assert refusals(Conv2D(), (256, *x[1:]), w)[0] == "plain"
# Columns that are written out: an image's are more than int32 counts.
many, w = "too many elements for 32-bit indices", (11, 11, 128, 32)
for size, reason in ((500, many), (50, None)):
    op = Conv2DInputGradient(shape=(1, size, size, 128))
    y = (1, size - 10, size - 10, 32)
    spec = op.spec(*(TensorSpec(s, "float32") for s in (y, w)))
    (im2col,) = (impl for impl in lists.impls(op) if impl.name == "im2col")
    assert im2col.accepts(spec, "float32", hopper) == reason
# Channels are padded for tensor cores, and then these are 2^32 numbers.
x, many = (2048, 1024, 512, 1), "more elements than int32 counts"
refused = refusals(Conv2D(strides=(2, 2)), x, (3, 3, 1, 1), caps=rounding)[1]
assert refused["mma_tf32"] == refused["wgmma_tf32"] == many, refused
refused = refusals(Matmul(), (1 << 30, 1), (1, 1), caps=rounding)[1]
assert refused["mma_tf32"] == refused["wgmma_tf32"] == many, refused
"""


def test_large_arrays(python, tmp_path):
    script = tmp_path / "large.py"
    script.write_text(LARGE)
    python(script, **SIMULATED)


ROUNDED = """
import sys
sys.path.append(sys.argv[1])
import numpy as np
from cases.case import specs_of
from cases.expected import difference, expected, limit
from cases.table import CASES
from nbcnn.kernels.cuda import lists
from nbcnn.kernels.cuda.call import Caps
from nbcnn.ops.conv_spec import SIGMOID, TANH

hopper = Caps(132, (9, 0), shared=232448, tf32=True)


def tf32(x, half):
    return ((x.view("uint32") + np.uint32(half)) & np.uint32(0xFFFFE000)).view("float32")


def wrong(case):
    arrays = case.arrays("float32")
    spec, wanted = case.op.spec(*specs_of(arrays)), None
    for impl in lists.impls(case.op):
        if "tf32" not in impl.name or impl.accepts(spec, "float32", hopper) is not None:
            continue
        wanted = wanted or expected(case.op, spec, arrays)
        x, w, *bias = arrays
        half = 0 if impl.name.startswith("wgmma") else 0x1000  # cut off, or rounded
        (found,) = expected(case.op, spec, [tf32(x, half), tf32(w, 0x1000), *bias])
        most = limit(case.op, arrays, wanted, "float32", impl.rtol)
        seen.append(difference(found, wanted[0]) / most)
        if seen[-1] > 1:
            yield case.name, impl.name, seen[-1]


seen = []
curved = [
    case for case in CASES
    if case.op.name in ("conv2d", "matmul") and case.op.act in (SIGMOID, TANH)
    and "float32" in case.dtypes and not case.op.bfloat16
]
found = [each for case in curved for each in wrong(case)]
assert not found, found
assert len(seen) > 50 and max(seen) > 0.1, (len(seen), max(seen))
"""


def test_rounded_factors_stay_within_what_is_allowed_on_a_gpu(python, tmp_path):
    """Where only a real GPU runs these cases, its results are not refused for being of TF32."""
    script = tmp_path / "rounded.py"
    script.write_text(ROUNDED)
    python(script, Path(__file__).parent, **SIMULATED)


TRAINING = """
import sys
import numpy as np
import nbcnn
from nbcnn import layers

sys.setswitchinterval(5e-4)  # the simulator polls its threads, which wait for that
dtype, precision = sys.argv[1:]
nbcnn.config.set_matmul_precision(precision)
results = []
for name in ("cpu", "cuda"):
    with nbcnn.device(name):
        nbcnn.utils.set_random_seed(3)
        model = nbcnn.Sequential([
            nbcnn.Input((6, 5, 3)),
            layers.Conv2D(8, 3, strides=2, padding="same", activation="relu", dtype=dtype),
            layers.Conv2D(4, 2, activation="tanh", dtype=dtype),
            layers.Flatten(),
            layers.Dense(5, activation="softmax", dtype=dtype),
        ])
        model.compile(nbcnn.optimizers.SGD(0.5), "sparse_categorical_crossentropy")
        x = np.random.default_rng(1).standard_normal((2, 6, 5, 3), "float32")
        losses = [model.train_on_batch(x, np.array([1, 3])) for _ in range(2)]
        losses = [loss[0] if isinstance(loss, list) else loss for loss in losses]
        results.append((model.get_weights(), losses))
        if name == "cuda":
            model.plan(2, training=True).show()
(a, losses), (b, rounded) = results
assert np.allclose(losses, rounded, rtol=2e-2), (losses, rounded)
apart = max(np.abs(u - v).max() for u, v in zip(a, b))
assert 0 < apart < 2e-2, apart
"""


@pytest.mark.parametrize("dtype, precision", [("float32", "high"), ("mixed_bfloat16", "highest")])
def test_training(python, tmp_path, dtype, precision):
    """Two steps are near those of the CPU, and all products are on tensor cores."""
    script = tmp_path / "training.py"
    script.write_text(TRAINING)
    shown = python(script, dtype, precision, timeout=600, **SIMULATED)
    kind = "tf32" if precision == "high" else "bfloat16"
    assert re.search(rf"\bwgmma_{kind}", shown), shown
    assert re.search(rf"\bmma_{kind}", shown), shown
