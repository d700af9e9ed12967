"""The functions of `nbcnn.ops` against real Keras: results and gradients, in float64.

The graphs that functions build are computed by the references, without kernels: those are tested
for themselves, operation by operation. Some calls run on arrays, too.
"""

from pathlib import Path

import numpy as np
import pytest
from cases.functions import CALLS
from cases.interpreter import evaluate
from golden.function_values import arrays_of, results_of, slopes, with_arrays

from nbcnn import ops
from nbcnn.graph.autodiff import gradients
from nbcnn.graph.graph import Graph, rewrite
from nbcnn.graph.rewrite import INDICES
from nbcnn.ops.op import tracing
from nbcnn.ops.tensor import Tensor

RECORDED = dict(np.load(Path(__file__).parent / "golden" / "keras_functions.npz"))


def function(call):
    found = ops
    for part in call.name.split("."):
        found = getattr(found, part)
    return found


def recorded(call, kind):
    start = f"{call.id}/{kind}"
    return {int(k[len(start) :]): RECORDED[k] for k in RECORDED if k.startswith(start)}


def close(found, right):
    found, right = np.asarray(found), np.asarray(right)
    assert found.shape == right.shape
    assert (found.dtype.kind == "b") == (right.dtype.kind == "b")
    scale = np.abs(right[np.isfinite(right)]).max(initial=0.0)
    np.testing.assert_allclose(found, right, 1e-6, 1e-6 * max(scale, 1e-30), equal_nan=True)


# Calls on which Keras's backends (JAX and TensorFlow) do not agree, or which one does not have.
UNRECORDED = set(
    """
    isclose-2 isclose-3 vstack-1 rot90-3 repeat-2 pad-2 slice_update-0 in_top_k-0 bincount-0
    bincount-1 histogram-0 trapezoid-2 correlate-1 einsum-9 norm-0 cholesky_inverse-0 max_pool-1
    average_pool-0 max_pool-3 average_pool-2 depth_to_space-1 space_to_depth-1 image.resize-6
    image.resize-9 image.resize-10 image.resize-11 image.resize-12 image.gaussian_blur-0
    image.gaussian_blur-1 image.sobel_edges-0 image.map_coordinates-6 image.map_coordinates-7
    image.map_coordinates-8 image.map_coordinates-9 image.affine_transform-3
    image.perspective_transform-0
    """.split()  # noqa: SIM905
)


SYMBOLIC = [call for call in CALLS if not call.host]


def traced(call):
    values = arrays_of(call)
    leaves = [Tensor(v.shape, v.dtype.name) for v in values]
    args, kwargs = with_arrays(call, leaves)
    return dict(zip(leaves, values)), results_of(function(call)(*args, **kwargs))


@pytest.mark.parametrize("call", SYMBOLIC, ids=lambda call: call.id)
def test_results_and_gradients_are_those_of_keras(call):
    right = recorded(call, "y")
    assert right or call.id in UNRECORDED
    feeds, results = traced(call)
    leaves = list(feeds)
    tensors = [r for r in results if isinstance(r, Tensor)]
    values = iter(evaluate(tensors, feeds))
    arrays = [next(values) if isinstance(r, Tensor) else r for r in results]
    for place, y in right.items():
        close(arrays[place], y)
    wanted = recorded(call, "d")
    if not wanted:
        return
    total = None
    with tracing():
        for place, r in enumerate(results):
            if isinstance(r, Tensor) and np.dtype(r.dtype).kind == "f":
                part = ops.sum(ops.multiply(r, slopes(call, place, r.shape).astype(r.dtype)))
                total = part if total is None else ops.add(total, part)
        (total,) = rewrite(Graph([total]), INDICES).outputs
        found = gradients(total, leaves)
    places = [p for p in wanted if found[p] is not None]
    for place, dx in zip(places, evaluate([found[p] for p in places], feeds)):
        close(dx, wanted[place])
    for place in set(wanted) - set(places):
        assert not wanted[place].any(), f"no gradient of argument {place}"


@pytest.mark.parametrize("call", [c for c in CALLS if c.host], ids=lambda call: call.id)
def test_functions_of_arrays_are_those_of_keras(call):
    args, kwargs = call.args, call.kwargs
    results = results_of(function(call)(*args, **kwargs))
    right = recorded(call, "y")
    assert right or call.id in UNRECORDED
    for place, y in right.items():
        close(results[place], y)
    if arrays_of(call):
        leaves = [Tensor(v.shape, v.dtype.name) for v in arrays_of(call)]
        args, kwargs = with_arrays(call, leaves)
        with pytest.raises(TypeError, match=r"arrays|symbolic"):
            function(call)(*args, **kwargs)


def test_truth_of_values():
    """Any value but 0 is true, also what whole numbers cut to 0; of none, all are and not any."""
    assert ops.any([0.5, 0.0])
    assert ops.any([0, -1])
    assert not ops.any(np.zeros(0))
    assert ops.all(np.zeros(0))
    assert ops.any(np.zeros((2, 0)), axis=1).tolist() == [False, False]
    assert ops.all([[0.5, 1.0], [0.5, 0.0]], axis=1).tolist() == [True, False]
