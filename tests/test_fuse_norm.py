"""Fusions around batch normalization: what they make of a model, and that it trains as without."""

import numpy as np
import pytest
from cases.case import normal, positive
from cases.execution import run

import nbcnn
from nbcnn import config, layers
from nbcnn.kernels.cpu import norm
from nbcnn.ops.conv_spec import RELU
from nbcnn.ops.elementwise import Binary
from nbcnn.ops.norm import BatchNorm, BatchNormGradient, ScaleShift
from nbcnn.runtime.cpu import CpuDevice


def conv_norm(x, filters=6, strides=1):
    conv = layers.Conv2D(filters, 3, strides, padding="same", use_bias=False)
    return layers.BatchNormalization()(conv(x))


def act(name, x):
    return layers.Activation(name)(x)


def plain(x):
    return act("relu", conv_norm(act("sigmoid", conv_norm(act("tanh", conv_norm(x))))))


def residual(x):
    """An identity, a strided block with normalization on both branches, an identity again."""
    x = act("relu", conv_norm(x))
    x = act("relu", layers.Add()([x, conv_norm(act("relu", conv_norm(x)))]))
    y = conv_norm(act("relu", conv_norm(x, 8, 2)), 8)
    x = act("relu", layers.Add()([conv_norm(x, 8, 2), y]))
    return act("relu", layers.Add()([conv_norm(x, 8), x]))


def other_activations(x):
    x = act("tanh", conv_norm(x))
    x = act("sigmoid", layers.Add()([x, conv_norm(x)]))
    return act("gelu", layers.Add()([x, conv_norm(x)]))


def linear_sum(x):
    """MobileNetV2's blocks end without an activation, and their sums are read twice."""
    x = layers.Add()([conv_norm(x), conv_norm(x)])
    return layers.Add()([x, conv_norm(act("relu", conv_norm(x)))])


def read_twice(x):
    """Nothing may be joined over a value that others read."""
    y = conv_norm(x)
    z = layers.Add()([y, conv_norm(act("relu", y))])
    return layers.Concatenate()([act("relu", z), act("tanh", z)])


def pooled(x):
    """Two pools that are joined, of 8 x 12 and 4 x 6; the others overlap, do not tile the map, or
    leave it to be read by others.
    """
    x = layers.ZeroPadding2D(((1, 0), (3, 0)))(x)
    x = layers.MaxPooling2D(2)(act("relu", conv_norm(x, 16)))
    y = layers.MaxPooling2D((1, 3))(conv_norm(x, 9))
    z = layers.MaxPooling2D((2, 4))(act("relu", conv_norm(x, 8)))
    x = act("relu", conv_norm(x, 8))
    overlapping = layers.MaxPooling2D((1, 3), 1)(act("relu", conv_norm(x, 8)))
    x = layers.Add()([layers.UpSampling2D(2)(layers.MaxPooling2D(2)(x)), x])
    maps = [x, y, z, overlapping]
    return layers.Concatenate()([layers.GlobalAveragePooling2D(keepdims=True)(m) for m in maps])


NETS = [plain, residual, other_activations, linear_sum, read_twice, pooled]


def made(net):
    nbcnn.utils.set_random_seed(3)
    image = nbcnn.Input((7, 9, 3))
    x = layers.GlobalAveragePooling2D()(net(image))
    model = nbcnn.Model(image, layers.Dense(4, activation="softmax")(x))
    model.compile(nbcnn.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
    return model


@pytest.fixture
def fuse():
    before = config.fuse()
    yield config.set_fuse
    config.set_fuse(before)


@pytest.mark.parametrize("net", NETS)
def test_a_model_trains_as_without_fusion(net, fuse):
    """Weights and moving averages after three steps, and what the model then answers."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((15, 7, 9, 3)).astype("float32"), np.arange(15) % 4
    found = []
    for fused in (False, True):
        fuse(fused)
        model = made(net)
        model.fit(x, y, batch_size=5, epochs=1, shuffle=False, verbose=0)
        found.append([*model.get_weights(), model.predict(x, verbose=0)])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(b, a, rtol=2e-4, atol=2e-6)


def operations(net, training=True):
    steps = made(net).plan(4, training=training).steps
    return [s.node.op for s in steps if s.node.outputs and s.node.outputs[0].ndim == 4]


def count(ops, name):
    return sum(op.name == name for op in ops)


def test_a_normalization_is_computed_once():
    """Also where its statistics are read by the moving averages before its activation is seen."""
    ops = operations(plain)
    assert count(ops, "batchnorm") == count(ops, "batchnorm_dx") == 3
    assert [op.act for op in ops if op.name == "batchnorm"] == [3, 2, 1]
    assert count(ops, "unary") == count(ops, "unary_dx") == 0


def test_a_residual_block_is_normalizations_and_convolutions():
    ops = operations(residual)
    assert count(ops, "batchnorm") == count(ops, "batchnorm_dx") == 7
    assert sum(op.residual for op in ops if op.name == "batchnorm") == 3
    gradients = [op for op in ops if op.name == "batchnorm_dx"]
    assert [sum(getattr(op, f) for op in gradients) for f in ("shared", "joined")] == [4, 3]
    assert count(ops, "unary") == count(ops, "unary_dx") == 0
    assert Binary("add") not in ops


def test_a_pool_that_tiles_the_map_joins_its_normalization():
    ops = operations(pooled)
    assert count(ops, "batchnorm_maxpool") == count(ops, "batchnorm_maxpool_dx") == 2
    assert count(ops, "maxpool2d") == count(ops, "maxpool2d_dx") == 3
    assert count(operations(pooled, training=False), "batchnorm_maxpool") == 0


@pytest.mark.parametrize("shape", [(9000, 24), (5001, 7), (70, 600)])
def test_relu_is_open_backward_exactly_where_it_was_forward(shape):
    """Although the gradient does not read y. Values lie densely about the kink."""
    c, device = shape[1], CpuDevice(2)
    x = (normal(*shape) * 1e-3 + 1.0).astype("float32")
    gamma, beta = positive(c).astype("float32"), (normal(c) * 1e-6).astype("float32")
    y, mean, var, line = run(norm.batchnorm_impl, BatchNorm(1e-3, RELU), [x, gamma, beta], device)
    dy, op = np.ones_like(x), BatchNormGradient(1e-3, RELU, shared=True)
    g = run(norm.batchnorm_dx_impl, op, [x, dy, gamma, mean, var, line], device)[3]
    assert 0 < (y > 0).sum() < y.size
    np.testing.assert_array_equal(g, np.where(y > 0, dy, 0))


@pytest.mark.parametrize("shape", [(9000, 24), (5001, 7), (70, 608), (301, 16)])
def test_what_goes_past_the_caches_is_the_same(shape):
    """Where caches hold nothing, results are written past them: whole vectors of them, if rows are
    that; in place they stay.
    """
    near, past = CpuDevice(2), CpuDevice(2)
    past.caps = past.caps._replace(l3=0)
    x, gamma, beta = (normal(*shape), positive(shape[1]), normal(shape[1], seed=1))
    inputs, results = [a.astype("float32") for a in (x, gamma, beta)], []
    for device in (near, past):
        y, mean, var, line = run(norm.batchnorm_impl, BatchNorm(1e-3, RELU), inputs, device)
        op, gradient = BatchNormGradient(1e-3, RELU), [inputs[0], y, inputs[1], mean, var, line]
        dx = run(norm.batchnorm_dx_impl, op, gradient, device)[0]
        results.append((y, dx, run(norm.scale_shift_impl, ScaleShift(), inputs, device)[0]))
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)
