"""Autodiff, rewrites, fusion and memory planning."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbcnn import config, layers, ops
from nbcnn.graph import eager
from nbcnn.graph.aliases import RESHAPES_BEHIND
from nbcnn.graph.autodiff import gradients
from nbcnn.graph.choosing import select
from nbcnn.graph.fuse import fuse
from nbcnn.graph.graph import Graph, rewrite
from nbcnn.graph.memory import Arena, Lifetime, pack
from nbcnn.graph.plan import Plan
from nbcnn.graph.rewrite import INDICES, INFERENCE, TRAINING
from nbcnn.ops.conv_spec import MAX_POOL, MAX_POOL_INDEXED, MEAN_POOL
from nbcnn.ops.elementwise import unary
from nbcnn.ops.op import tracing
from nbcnn.ops.tensor import Tensor
from nbcnn.runtime.device import get_device

lifetimes = st.lists(
    st.tuples(st.integers(0, 5000), st.integers(0, 20), st.integers(0, 20)).map(
        lambda t: Lifetime(t[0], min(t[1:]), max(t[1:]))
    ),
    max_size=40,
)


@given(lifetimes)
def test_buffers_that_live_together_never_overlap(lives):
    offsets, total = pack(lives, 64)
    for i, (a, x) in enumerate(zip(lives, offsets)):
        assert x % 64 == 0
        assert x + a.nbytes <= total
        for b, y in list(zip(lives, offsets))[i + 1 :]:
            together = a.first <= b.last and b.first <= a.last
            assert (
                not together
                or not a.nbytes
                or not b.nbytes
                or x + a.nbytes <= y
                or y + b.nbytes <= x
            )


def test_a_chain_takes_two_buffers():
    lives = [Lifetime(1024, i, i + 1) for i in range(20)]
    assert pack(lives, 64)[1] == 2048


def accepted(op, inputs):
    return select(op, inputs, get_device("cpu"))[1]


def run(outputs, feeds, rules=(), fused=False, training=False):
    """Values of outputs, and the names of the ops that ran."""
    graph = Graph(list(outputs))
    for some in rules:
        graph = rewrite(graph, some)
    if fused:
        graph = fuse(graph, accepted)
    plan = Plan(graph, get_device("cpu"), weights_change=training)
    for leaf, value in feeds.items():
        plan.array(leaf)[...] = value
    plan.prepare()
    plan.run()
    return [plan.array(t).copy() for t in graph.outputs], [
        (s.node.op.name, s.node.op) for s in plan.steps
    ]


def leaf(*shape, dtype="float64"):
    return Tensor(shape, dtype)


def conv_net(x, w, b):
    return ops.relu(ops.add(ops.conv(x, w, padding="same"), b))


def pooled_net(x, w, b):
    return ops.max_pool(conv_net(x, w, b), 2)


def odd_net(x, w, b):
    """Windows that leave a row and columns over; a sigmoid that is not moved behind the pool."""
    return ops.max_pool(ops.sigmoid(ops.add(ops.conv(x, w, padding="same"), b)), (4, 3))


def averaged_net(x, w, b):
    return ops.tanh(ops.average_pool(conv_net(x, w, b), (5, 2)))


def dense_net(x, w, b):
    return ops.tanh(ops.add(ops.matmul(ops.reshape(ops.mean(x, (1, 2)), (-1, 3)), w[0, 0]), b))


def norm_net(x, w, b):
    gamma = ops.add(b, 1.5)
    return ops.relu(ops.batch_normalize(ops.conv(x, w), gamma, b)[0])


def zeros_around_net(x, w, b):
    zeros = ops.pad(x, ((0, 0), (1, 2), (2, 0), (0, 0)))
    return ops.relu6(ops.add(ops.conv(zeros, w, strides=2), b))


def zeros_before_net(x, w, b):
    """Causal, along the rows as sequences."""
    rows = ops.pad(ops.reshape(x, (-1, 6, 3)), ((0, 0), (2, 0), (0, 0)))
    return ops.relu(ops.add(ops.conv(rows, w[0]), b))


def transposed_net(x, w, b):
    wide = ops.conv_transpose(ops.conv(x, w), w, strides=2, padding="valid")
    return ops.relu(ops.add(wide, b[:3])[:, 1:-1, 2:])


NETS = {
    "transposed": transposed_net,
    "conv": conv_net,
    "zeros_around": zeros_around_net,
    "zeros_before": zeros_before_net,
    "pooled": pooled_net,
    "odd": odd_net,
    "averaged": averaged_net,
    "dense": dense_net,
    "norm": norm_net,
}


def differentiated(net, rules):
    x, w, b = (
        leaf(2, 6, 6, 3, dtype="float32"),
        leaf(3, 3, 3, 4, dtype="float32"),
        leaf(4, dtype="float32"),
    )
    with tracing():
        loss = ops.mean(ops.square(net(x, w, b)))
    graph = Graph([loss])
    for some in rules:
        graph = rewrite(graph, some)
    slopes = gradients(graph.outputs[0], [x, w, b])
    rng = np.random.default_rng(0)
    feeds = {t: rng.standard_normal(t.shape) for t in (x, w, b)}
    return [graph.outputs[0], *slopes], feeds


@pytest.mark.parametrize("name", NETS)
def test_fusions_and_rewrites_change_nothing_but_the_plan(name):
    plain, feeds = differentiated(NETS[name], [INDICES])
    expected, many = run(plain, feeds, training=True)
    rewritten, feeds = differentiated(NETS[name], [TRAINING, INDICES])
    found, few = run(rewritten, feeds, fused=True, training=True)
    assert len(few) < len(many)
    for a, b in zip(expected, found):
        np.testing.assert_allclose(b, a, rtol=2e-5, atol=1e-6)


def test_conv_bias_and_relu_become_one_step():
    x, w, b = (
        leaf(2, 6, 6, 3, dtype="float32"),
        leaf(3, 3, 3, 4, dtype="float32"),
        leaf(4, dtype="float32"),
    )
    with tracing():
        y = conv_net(x, w, b)
    feeds = {t: np.ones(t.shape) for t in (x, w, b)}
    _, steps = run([y], feeds, fused=True)
    assert [(op.name, op.bias, op.act) for _, op in steps] == [("conv2d", True, 1)]


@pytest.mark.parametrize("name", ["relu6", "hard_silu", "silu", "gelu"])
def test_products_take_the_function_that_follows(name):
    shapes = (2, 7, 5, 3), (3, 3, 3, 9), (5, 6), (6, 7)
    leaves = image, kernel, rows, w = [leaf(*s, dtype="float32") for s in shapes]
    rng = np.random.default_rng(0)
    feeds = {t: 3 * rng.standard_normal(t.shape) for t in leaves}
    with tracing():
        products = ops.conv(image, kernel, strides=2), ops.matmul(rows, w)
        outputs = [unary(name, product) for product in products]
    expected, _ = run(outputs, feeds)
    found, steps = run(outputs, feeds, fused=True)
    assert [op.name for _, op in steps] == ["conv2d", "matmul"]
    for a, b in zip(expected, found):
        np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-5)


def test_a_transposition_that_moves_nothing_is_no_step():
    x, w = leaf(2, 1, 6, 5, dtype="float32"), leaf(3, 3, 1, 4, dtype="float32")
    with tracing():
        y = ops.relu(ops.transpose(ops.conv(ops.transpose(x, (0, 2, 3, 1)), w), (0, 1, 2, 3)))
    feeds = {t: np.ones(t.shape) for t in (x, w)}
    (expected,), _ = run([y], feeds)
    (found,), steps = run([y], feeds, [RESHAPES_BEHIND], fused=True)
    assert [op.name for _, op in steps] == ["conv2d"]
    np.testing.assert_array_equal(found, expected)


def residual_case():
    with tracing():
        x, other = leaf(3, 5), leaf(5)
        summed = ops.add(ops.multiply(x, 2.0), other)
    rng = np.random.default_rng(0)
    return x, other, summed, {t: rng.standard_normal(t.shape) for t in (x, other)}


@pytest.mark.parametrize("function", [ops.relu, ops.gelu, lambda x: ops.leaky_relu(x, 0.3)])
def test_a_sum_takes_the_function_that_follows(function):
    _, _, summed, feeds = residual_case()
    with tracing():
        y = function(summed)
    (expected,), _ = run([y], feeds)
    (found,), steps = run([y], feeds, fused=True)
    assert [(op.function, op.act != "") for _, op in steps] == [("multiply", False), ("add", True)]
    np.testing.assert_array_equal(found, expected)


def test_a_sum_keeps_its_value_for_a_gradient_through_the_input():
    x, other, summed, feeds = residual_case()
    with tracing():
        through_output, through_input = ops.sum(ops.relu(summed)), ops.sum(ops.gelu(summed))
    for loss, fused in ((through_output, True), (through_input, False)):
        outputs = [loss, *gradients(loss, [x, other])]
        expected, _ = run(outputs, feeds, training=True)
        found, steps = run(outputs, feeds, fused=True, training=True)
        assert any(getattr(op, "act", "") for _, op in steps) == fused
        for a, b in zip(expected, found):
            np.testing.assert_allclose(b, a, rtol=1e-12)


def pooled_case(seed=0):
    """An image with a NaN and an infinity, a kernel, a bias; the windows leave a column over."""
    leaves = [leaf(*s, dtype="float32") for s in ((2, 6, 7, 3), (3, 3, 3, 20), (20,))]
    rng = np.random.default_rng(seed)
    feeds = {t: rng.standard_normal(t.shape) for t in leaves}
    feeds[leaves[0]][0, 1, 4, 2], feeds[leaves[0]][1, 5, 5, 0] = np.nan, np.inf
    return leaves, feeds


@pytest.mark.parametrize("net, kind", [(pooled_net, MAX_POOL), (averaged_net, MEAN_POOL)])
def test_a_pool_joins_its_convolution_in_inference(net, kind):
    leaves, feeds = pooled_case()
    with tracing():
        y = net(*leaves)
    (expected,), _ = run([y], feeds)
    (found,), steps = run([y], feeds, [INFERENCE], fused=True)
    assert [(op.name, op.bias, op.act, op.pool) for _, op in steps[:1]] == [
        ("conv2d", True, 1, kind)
    ]
    assert {"maxpool2d", "avgpool2d"}.isdisjoint(name for name, _ in steps)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_a_pool_joins_its_convolution_in_training():
    (x, w, b), feeds = pooled_case()
    with tracing():
        loss = ops.sum(ops.square(pooled_net(x, w, b)))
    graph = rewrite(rewrite(Graph([loss]), TRAINING), INDICES)
    outputs = [graph.outputs[0], *gradients(graph.outputs[0], [x, w, b])]
    expected, _ = run(outputs, feeds, training=True)
    found, steps = run(outputs, feeds, fused=True, training=True)
    assert [(op.act, op.pool) for name, op in steps if name == "conv2d"] == [(1, MAX_POOL_INDEXED)]
    assert np.isnan(expected[0])
    assert any(np.isnan(e).any() for e in expected[1:])
    for a, b in zip(expected, found):
        np.testing.assert_allclose(b, a, rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize("window", [2, (3, 2), (6, 7)])
def test_the_kernel_gradient_goes_through_the_pool(window):
    (x, w, b), feeds = pooled_case()
    feeds[x] = np.random.default_rng(1).standard_normal(x.shape)
    with tracing():
        loss = ops.sum(ops.square(ops.max_pool(conv_net(x, w, b), window)))
    graph = rewrite(rewrite(Graph([loss]), TRAINING), INDICES)
    outputs = [graph.outputs[0], *gradients(graph.outputs[0], [w, b])]
    expected, _ = run(outputs, feeds, training=True)
    found, steps = run(outputs, feeds, fused=True, training=True)
    assert "maxpool2d_dx" not in [name for name, _ in steps]
    assert [(op.bias, op.pool) for name, op in steps if name == "conv2d_dw"] == [
        (True, MAX_POOL_INDEXED)
    ]
    for a, b in zip(expected, found):
        np.testing.assert_allclose(b, a, rtol=2e-5, atol=1e-5)


def test_the_pool_gradient_stays_where_the_input_gradient_reads_it_too():
    (x, w, b), feeds = pooled_case()
    with tracing():
        loss = ops.sum(ops.square(pooled_net(x, w, b)))
    graph = rewrite(rewrite(Graph([loss]), TRAINING), INDICES)
    _, steps = run(gradients(graph.outputs[0], [x, w]), feeds, fused=True, training=True)
    assert "maxpool2d_dx" in [name for name, _ in steps]


def test_a_pool_stays_alone_where_the_convolution_has_a_better_algorithm():
    leaves, _ = pooled_case()
    with tracing():
        y = pooled_net(*leaves)

    def accepts(op, inputs):
        """As if a better implementation refused pools."""
        choice = accepted(op, inputs)
        better = (("better", "no pool"),) if getattr(op, "pool", 0) else ()
        return choice._replace(refused=choice.refused + better)

    names = [node.op.name for node in fuse(Graph([y]), accepts).nodes]
    assert names == ["conv2d", "maxpool2d"]


def test_softmax_and_crossentropy_become_one_step():
    t, z = leaf(5, dtype="int32"), leaf(5, 4)
    with tracing():
        loss = ops.sparse_categorical_crossentropy(t, ops.softmax(z))
    values = np.random.default_rng(0).standard_normal((5, 4))
    (found,), steps = run([loss], {t: np.arange(5) % 4, z: values}, [TRAINING])
    assert [name for name, _ in steps] == ["softmax_crossentropy"]
    expected = np.log(np.exp(values).sum(1)) - values[np.arange(5), np.arange(5) % 4]
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_batch_normalization_folds_into_the_convolution_in_inference():
    x, w, s, t = leaf(1, 5, 5, 2), leaf(3, 3, 2, 4), leaf(4), leaf(4)
    with tracing():
        y = ops.scale_shift(ops.conv(x, w), s, t)
    rng = np.random.default_rng(0)
    feeds = {k: rng.standard_normal(k.shape) for k in (x, w, s, t)}
    (expected,), _ = run([y], feeds)
    (found,), steps = run([y], feeds, [INFERENCE])
    assert "scale_shift" not in [name for name, _ in steps]
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


def test_gradients_of_unread_tensors_are_never_made():
    x, w, b = leaf(1, 5, 5, 2), leaf(3, 3, 2, 4), leaf(4)
    with tracing():
        loss = ops.sum(conv_net(x, w, b))
    (dw,) = gradients(loss, [w])
    assert "conv2d_dx" not in [n.op.name for n in Graph([dw]).nodes]


def test_a_value_read_twice_gets_the_sum_of_both_gradients():
    x = leaf(3)
    with tracing():
        loss = ops.sum(ops.add(ops.square(x), ops.multiply(x, 5.0)))
    (dx,) = gradients(loss, [x])
    (found,), _ = run([dx], {x: np.array([1.0, 2.0, 3.0])})
    np.testing.assert_allclose(found, [7.0, 9.0, 11.0])


def test_stop_gradient_stops():
    x = leaf(3)
    with tracing():
        loss = ops.sum(ops.multiply(ops.stop_gradient(x), x))
    (dx,) = gradients(loss, [x])
    (found,), _ = run([dx], {x: np.array([1.0, 2.0, 3.0])})
    np.testing.assert_allclose(found, [1.0, 2.0, 3.0])


def test_results_take_the_place_of_as_many_elements_only():
    """int64 that are broadcast have as many bytes as a float32 result, and are read again."""
    x, y = leaf(1, 40, dtype="int64"), leaf(2, 40, dtype="float32")
    whole, zeros = np.arange(40).reshape(1, 40), np.zeros((2, 40))
    for combined in (lambda a: ops.add(a, y), lambda a: ops.where(ops.greater(y, 1.0), y, a)):
        (found,), _ = run([combined(ops.negative(x))], {x: whole, y: zeros})
        np.testing.assert_array_equal(found, np.repeat(-whole, 2, axis=0))


def test_results_take_the_place_of_their_own_type_only():
    """int32 have the bytes of float32, but a result there would be cut to whole numbers."""
    x = leaf(2, 3, dtype="int32")
    values = np.arange(6).reshape(2, 3)
    (found,), _ = run([ops.multiply(ops.transpose(x), 1.5)], {x: values})
    np.testing.assert_array_equal(found, 1.5 * values.T)
    assert found.dtype == "float32"


def test_plans_share_the_largest_arena():
    arena = Arena(get_device("cpu"))
    large, small = arena.take(1000), arena.take(10)
    assert small is large
    assert arena.take(1001) is not large


def test_a_forced_implementation_is_taken_where_it_accepts():
    x, w = leaf(1, 8, 8, 4, dtype="float32"), leaf(3, 3, 4, 8, dtype="float32")
    with tracing():
        y = ops.conv(x, w)
    with config.force("conv2d=plain"):
        plan = Plan(Graph([y]), get_device("cpu"))
    assert [s.choice.impl.name for s in plan.steps] == ["plain"]


def test_calls_on_arrays_follow_the_settings():
    """Also where a plan for these shapes is there already."""
    x, layer = np.ones((1, 5, 5, 2), "float32"), layers.Conv2D(3, 3)

    def chosen():
        ops.conv(x, np.ones((3, 3, 2, 3), "float32"))
        layer(x)
        plans = next(reversed(eager._plans.values()))[0], layer._eager_plans.popitem()[1].plan
        return [plan.steps[0].choice.impl.name for plan in plans]

    assert chosen() != ["plain", "plain"]
    layer(x)
    with config.force("conv2d=plain"):
        assert chosen() == ["plain", "plain"]


def test_inference_knows_which_kernels_hold_still():
    """Those of variables and constants, not those that are computed from inputs."""
    x, kernel = Tensor((2, 6, 6, 3)), Tensor((3, 3, 3, 4))
    weights = np.ones((3, 3, 3, 4), "float32")
    with tracing():
        outputs = [ops.conv(x, weights * 2.0), ops.conv(x, kernel), ops.conv(x, weights + kernel)]
    graph = rewrite(Graph(outputs), INFERENCE)
    assert [t.node.op.fixed for t in graph.outputs] == [True, False, False]


def test_show_names_steps_bytes_and_flops(capsys):
    x, w = leaf(1, 8, 8, 4, dtype="float32"), leaf(3, 3, 4, 8, dtype="float32")
    with tracing():
        y = ops.conv(x, w)
    text = Plan(Graph([y]), get_device("cpu")).show()
    assert "conv2d" in text
    assert "1x8x8x4" in text
    assert "in 1 parallel region," in text
    assert text in capsys.readouterr().out
