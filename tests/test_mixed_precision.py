"""Policies, and training in mixed_bfloat16."""

import numpy as np
import pytest

import nbcnn as keras
from nbcnn import config
from nbcnn.ops.bfloat16 import rounded
from nbcnn.runtime.device import current_device

L = keras.layers
MIXED = "mixed_bfloat16"


@pytest.fixture
def policy():
    """Sets the global policy; afterwards it is `floatx` again."""
    yield keras.config.set_dtype_policy
    config.choose_dtype_policy(None)


def convolutional(dtype):
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            L.Input((12, 12, 3)),
            L.Conv2D(7, 5, strides=2, padding="same", activation="relu", dtype=dtype),
            L.Conv2D(33, 1, use_bias=False, dtype=dtype),
            L.BatchNormalization(dtype=dtype),
            L.Conv2DTranspose(9, 3, strides=2, dtype=dtype),
            L.MaxPooling2D(),
            L.Flatten(),
            L.Dense(31, activation="tanh", dtype=dtype),
            L.Dense(10, activation="softmax"),
        ]
    )
    model.compile(keras.optimizers.SGD(0.05), "sparse_categorical_crossentropy")
    return model


IMAGES = np.random.default_rng(0).normal(size=(64, 12, 12, 3)).astype("float32")
LABELS = np.arange(64) % 10


def test_policies():
    mixed, plain = keras.DTypePolicy(MIXED), keras.DTypePolicy("float64")
    assert (mixed.compute_dtype, mixed.variable_dtype) == ("bfloat16", "float32")
    assert (plain.compute_dtype, plain.variable_dtype) == ("float64", "float64")
    assert keras.DTypePolicy.from_config(mixed.get_config()) == mixed != plain
    assert keras.dtype_policies.DTypePolicy is keras.mixed_precision.Policy


def test_the_global_policy_is_that_of_new_layers(policy):
    assert L.Dense(2).dtype_policy.name == "float32"
    policy(MIXED)
    layer = L.Dense(2)
    policy("float32")
    layer.build((None, 3))
    assert (layer.dtype, layer.compute_dtype, layer.variable_dtype) == (
        "float32", "bfloat16", "float32",
    )  # fmt: skip
    assert layer.kernel.dtype == "float32"
    assert "mixed_bfloat16" in repr(layer)


def test_floatx_is_the_policy_unless_one_is_set(policy):
    keras.config.set_floatx("float64")
    try:
        assert config.dtype_policy().name == "float64"
        policy(MIXED)
        assert L.Dense(2).dtype == "float32"
    finally:
        keras.config.set_floatx("float32")


@pytest.mark.parametrize("name", ["mixed_float16", "bfloat16", "float16", 3.5])
def test_unknown_policies_are_named(name):
    with pytest.raises(ValueError, match=r"set_dtype_policy: policy must be .*got"):
        keras.config.set_dtype_policy(name)
    with pytest.raises(ValueError, match=r"Dense: dtype must be .*mixed_bfloat16.*got"):
        L.Dense(2, dtype=name)


def test_configuration_and_files_keep_the_policy(tmp_path):
    layer = L.Dense(2, dtype=MIXED)
    assert layer.get_config()["dtype"]["config"] == {"name": MIXED}
    assert L.Dense.from_config(layer.get_config()).compute_dtype == "bfloat16"
    model = convolutional(keras.DTypePolicy(MIXED))
    model.save(tmp_path / "model.nbcnn")
    again = keras.models.load_model(tmp_path / "model.nbcnn")
    assert [x.compute_dtype for x in again.layers] == [x.compute_dtype for x in model.layers]
    wanted = model.predict(IMAGES, verbose=0)
    np.testing.assert_array_equal(again.predict(IMAGES, verbose=0), wanted)


def coarse(*shape, seed):
    """Numbers that bfloat16 has."""
    return rounded(np.random.default_rng(seed).normal(size=shape).astype("float32"))


def test_products_round_their_operands_where_the_processor_gains_by_it():
    x = np.random.default_rng(1).normal(size=(512, 640)).astype("float32")
    layer = L.Dense(512, dtype=MIXED)
    y = layer(x)
    w = layer.kernel.numpy()
    pairs = current_device().caps.bfloat16
    operands = (rounded(x), rounded(w)) if pairs else (x, w)
    np.testing.assert_allclose(y, np.dot(*map(np.float64, operands)), rtol=1e-5, atol=1e-5)
    assert y.dtype == "float32"
    assert (abs(y - np.float64(x) @ w).max() > 1e-3) == pairs


def test_gradients_may_be_rounded_too():
    """One step of gradient descent by 1: what the kernel changed by is its gradient."""
    x, t = coarse(512, 640, seed=1), coarse(512, 512, seed=2)
    model = keras.Sequential([L.Input((640,)), L.Dense(512, dtype=MIXED, use_bias=False)])
    model.compile(keras.optimizers.SGD(1.0), "mse")
    w = rounded(model.get_weights()[0])
    model.set_weights([w])
    model.train_on_batch(x, t)
    dy = 2 * (np.float64(x) @ w - t) / t.size
    if current_device().caps.bfloat16:
        dy = rounded(np.float32(dy))
    wanted = np.float64(x).T @ dy
    np.testing.assert_allclose(w - model.get_weights()[0], wanted, rtol=1e-3, atol=1e-6)


def test_training_is_as_in_float32_but_for_rounding():
    mixed, plain = (
        convolutional(dtype).fit(IMAGES, LABELS, epochs=2, verbose=0).history["loss"]
        for dtype in (MIXED, "float32")
    )
    np.testing.assert_allclose(mixed, plain, rtol=0.02)


def test_all_products_and_gradients_of_a_layer_are_allowed_to():
    plan = convolutional(MIXED).plan(32, training=True)
    products = [n.op for n in plan.graph.nodes if n.op.name.startswith(("conv2d", "matmul"))]
    own = [op for op in products if op.bfloat16]
    assert len(products) - len(own) == 3  # of the last layer, which is float32


@pytest.mark.parametrize("value", [1.0 + 2**-8, -3.0, 1e-20, 3.4e38, np.inf, -np.inf, np.nan])
def test_cast(value):
    found = keras.ops.cast(np.float32([value]), "bfloat16")
    assert found.dtype == "float32"
    assert not found.view("uint32") & 0xFFFF
    if np.isfinite(found[0]):
        np.testing.assert_allclose(found, value, rtol=2**-8)
