"""Policies, and training in mixed_bfloat16."""

import numpy as np
import pytest

import nbcnn as keras
from nbcnn import config
from nbcnn.graph.graph import Graph
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


def test_products_take_rounded_operands():
    x = np.random.default_rng(1).normal(size=(50, 40)).astype("float32")
    layer = L.Dense(30, dtype=MIXED)
    y = layer(x)
    wide = np.float64(rounded(x)) @ np.float64(rounded(layer.kernel.numpy()))
    np.testing.assert_allclose(y, wide, rtol=1e-5, atol=1e-5)
    assert y.dtype == "float32"
    assert abs(y - np.float64(x) @ layer.kernel.numpy()).max() > 1e-4


def test_gradients_that_enter_a_product_are_rounded():
    """One step of gradient descent by 1: what the kernel changed by is its gradient."""
    x = np.random.default_rng(1).normal(size=(16, 5)).astype("float32")
    t = np.random.default_rng(2).normal(size=(16, 3)).astype("float32")
    model = keras.Sequential([L.Input((5,)), L.Dense(3, dtype=MIXED, use_bias=False)])
    model.compile(keras.optimizers.SGD(1.0), "mse")
    before = model.get_weights()[0]
    dy = rounded(2 * (model.predict(x, verbose=0) - t) / t.size)
    model.train_on_batch(x, t)
    wanted = np.float64(rounded(x)).T @ np.float64(dy)
    np.testing.assert_allclose(before - model.get_weights()[0], wanted, rtol=1e-4, atol=1e-6)


def test_training_is_the_same_with_and_without_fusion():
    def losses():
        return convolutional(MIXED).fit(IMAGES, LABELS, epochs=2, verbose=0).history["loss"]

    fused = losses()
    with config.fusing(False):
        np.testing.assert_allclose(fused, losses(), rtol=1e-3)
    plain = convolutional("float32").fit(IMAGES, LABELS, epochs=2, verbose=0).history["loss"]
    assert not np.array_equal(fused, plain)
    np.testing.assert_allclose(fused, plain, rtol=0.02)


def test_rounding_goes_into_kernels_where_the_processor_has_them():
    plan = convolutional(MIXED).plan(32, training=True)
    ops = [step.node.op for step in plan.steps]
    if current_device().caps.bfloat16:
        assert sum(getattr(op, "rounded", False) for op in ops) >= 6
    else:
        assert not any(getattr(op, "rounded", False) for op in ops)
        assert any(getattr(op, "function", "") == "round_bfloat16" for op in ops)


def test_batch_norm_folds_into_rounded_weights():
    model = convolutional(MIXED)
    plan = model.plan(8, training=False)
    assert not [step for step in plan.steps if step.node.op.name == "scale_shift"]
    assert isinstance(plan.graph, Graph)
    with config.fusing(False):
        unfused = model.predict(IMAGES, verbose=0)
    np.testing.assert_allclose(model.predict(IMAGES, verbose=0), unfused, atol=1e-5)


@pytest.mark.parametrize("value", [1.0 + 2**-8, -3.0, 1e-20, 3.4e38, np.inf, -np.inf, np.nan])
def test_cast(value):
    found = keras.ops.cast(np.float32([value]), "bfloat16")
    assert found.dtype == "float32"
    assert not found.view("uint32") & 0xFFFF
    if np.isfinite(found[0]):
        np.testing.assert_allclose(found, value, rtol=2**-8)
