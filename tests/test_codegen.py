"""What the compiler makes of kernels, and that it does so once."""

import shutil

import pytest
from assembly import ARITHMETIC, DIVISION, MULTIPLY_ADD, assembly, count, loops, spills

from nbcnn.kernels.cpu import kernel_cache
from nbcnn.kernels.cpu.blocking import register_tile
from nbcnn.runtime.host import host_caps

needs_fma = pytest.mark.skipif(not host_caps(1).fma, reason="this processor has no FMA")


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    return assembly(tmp_path_factory.mktemp("kernels"))


@needs_fma
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("op", ["conv2d", "conv2d_dw", "matmul"])
def test_the_micro_kernel_keeps_its_tile_in_registers(compiled, op, dtype):
    """The loop over the steps of the sum: a multiply-add for each vector of the tile, and nothing
    stored on the stack. Loops of activations in the same kernels have multiply-adds, too, in
    polynomials, as many as these happen to take: their constants may come from the stack.
    """
    tile = register_tile(host_caps(1), dtype)
    whole, narrow = tile.rows * tile.vectors, tile.rows + tile.rows // 2
    hot = [loop for text in compiled[f"{op}-{dtype}"] for loop in loops(text)]
    hot = [loop for loop in hot if count(MULTIPLY_ADD, loop) in (whole, narrow)]
    hot = [loop for loop in hot if not count(DIVISION, loop)]
    assert {count(MULTIPLY_ADD, loop) for loop in hot} >= {whole}
    assert [line for loop in hot for line in spills(loop)] == []


@needs_fma
def test_the_input_gradient_runs_the_forward_kernel(compiled):
    """It compiles nothing but the packing of transposed weights."""
    added = [loop for text in compiled["conv2d_dx-float32"] for loop in loops(text)]
    assert all(count(MULTIPLY_ADD, loop) == 0 for loop in added)


@pytest.mark.parametrize("op", ["binary", "reduce", "scale_shift", "sgd"])
def test_plain_loops_work_on_vectors(compiled, op):
    inner = [loop for text in compiled[f"{op}-float32"] for loop in loops(text)]
    assert any(count(ARITHMETIC, loop) for loop in inner)


COUNTING = """
import numpy as np
import nbcnn
from nbcnn import layers
from nbcnn.kernels.cpu import linking, program

compiled, machine_code = [], linking.machine_code


def counting(*args):
    compiled.append(args[0])
    return machine_code(*args)


linking.machine_code = counting
model = nbcnn.Sequential([
    nbcnn.Input((8, 8, 1)), layers.Conv2D(4, 3, activation="relu"), layers.MaxPooling2D(2),
    layers.Dropout(0.5), layers.Flatten(), layers.Dense(3, activation="softmax")])
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
x, y = np.ones((20, 8, 8, 1), "float32"), np.zeros(20, "int32")
model.fit(x, y, batch_size=16, verbose=0)
model.evaluate(x, y, verbose=0)
model.predict(x, verbose=0)
program.compiled_follow()  # helping threads load it in the background
print(len(compiled))
"""


def test_a_second_process_compiles_nothing(python, tmp_path):
    # In one process: what copies of it compile is not counted.
    folder = {"NBCNN_CACHE_DIR": str(tmp_path / "kernels"), "NBCNN_BUILD_PROCESSES": "1"}
    first, second = (int(python("-c", COUNTING, **folder)) for _ in range(2))
    assert first > 10
    assert second == 0


@pytest.mark.parametrize(
    "source", ["kernels/cpu/simd.py", "kernels/scalar.py", "ops/conv_spec.py", "kernels/cpu/jit.py"]
)
def test_an_edited_source_changes_the_cache_folder(monkeypatch, tmp_path, source):
    before = kernel_cache.fingerprint()
    for folder in ("kernels", "ops"):
        shutil.copytree(kernel_cache.PACKAGE / folder, tmp_path / folder)
    monkeypatch.setattr(kernel_cache, "PACKAGE", tmp_path)
    assert kernel_cache.fingerprint() == before
    edited = tmp_path / source
    edited.write_text(edited.read_text() + "\n")
    assert kernel_cache.fingerprint() != before
