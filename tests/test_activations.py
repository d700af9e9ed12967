"""Activations against float64 formulas; regularizers too."""

import json

import numpy as np
import pytest
from scipy import special

from nbcnn import activations, ops, regularizers
from nbcnn.ops.tensor import Tensor
from nbcnn.registry import serialize

X = np.concatenate([np.linspace(-4, 4, 33), [-30.0, -7.0, 6.5, 30.0]]).reshape(1, -1)


def elu(x, alpha=1.0):
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def sigmoid(x):
    return special.expit(x)


def softplus(x):
    return np.logaddexp(0, x)


def shrunk(x, inside):
    return np.where(np.abs(x) > 0.5, x, inside)


TABLE = {
    "linear": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.2 * x),
    "relu6": lambda x: np.clip(x, 0, 6),
    "elu": elu,
    "selu": lambda x: 1.0507009873554805 * elu(x, 1.6732632423543772),
    "celu": elu,
    "gelu": lambda x: x * special.ndtr(x),
    "silu": lambda x: x * sigmoid(x),
    "swish": lambda x: x * sigmoid(x),
    "hard_silu": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
    "mish": lambda x: x * np.tanh(softplus(x)),
    "sigmoid": sigmoid,
    "log_sigmoid": lambda x: -softplus(-x),
    "hard_sigmoid": lambda x: np.clip(x / 6 + 0.5, 0, 1),
    "sparse_sigmoid": lambda x: np.clip((x + 1) / 2, 0, 1),
    "tanh": np.tanh,
    "hard_tanh": lambda x: np.clip(x, -1, 1),
    "tanh_shrink": lambda x: x - np.tanh(x),
    "hard_shrink": lambda x: shrunk(x, 0),
    "soft_shrink": lambda x: np.sign(x) * np.maximum(np.abs(x) - 0.5, 0),
    "softplus": softplus,
    "sparse_plus": lambda x: np.where(x <= -1, 0, np.where(x < 1, (x + 1) ** 2 / 4, x)),
    "squareplus": lambda x: (x + np.sqrt(x**2 + 4)) / 2,
    "softsign": lambda x: x / (1 + np.abs(x)),
    "exponential": np.exp,
    "softmax": lambda x: special.softmax(x, -1),
    "log_softmax": lambda x: special.log_softmax(x, -1),
}


@pytest.mark.parametrize("name", TABLE)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_values(name, dtype):
    x = X.astype(dtype)
    got = activations.get(name)(x)
    assert got.dtype == dtype
    tolerance = {"float32": 1e-5, "float64": 1e-10}[dtype]
    np.testing.assert_allclose(got, TABLE[name](x.astype("float64")), tolerance, tolerance)


@pytest.mark.parametrize(
    "call, reference",
    [
        (
            lambda x: activations.relu(x, 0.1, 3.0),
            lambda x: np.minimum(np.where(x > 0, x, 0.1 * x), 3),
        ),
        (
            lambda x: activations.relu(x, 0.5, threshold=1.0),
            lambda x: np.where(x > 1, x, 0.5 * (x - 1)),
        ),
        (lambda x: activations.threshold(x, 1.0, -2.0), lambda x: np.where(x > 1, x, -2)),
        (lambda x: activations.leaky_relu(x, 0.3), lambda x: np.where(x > 0, x, 0.3 * x)),
        (lambda x: activations.elu(x, 0.7), lambda x: elu(x, 0.7)),
        (lambda x: activations.celu(x, 2.0), lambda x: np.where(x > 0, x, 2 * np.expm1(x / 2))),
        (
            lambda x: activations.gelu(x, approximate=True),
            lambda x: x * (1 + np.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * x**3))) / 2,
        ),
        (lambda x: activations.glu(x[:, :36]), lambda x: x[:, :18] * sigmoid(x[:, 18:36])),
    ],
)
def test_arguments(call, reference):
    np.testing.assert_allclose(call(X), reference(X), 1e-10, 1e-10)


@pytest.mark.parametrize("name", TABLE)
def test_names_round_trip_and_trace(name):
    activation = activations.get(name)
    assert activations.get(json.loads(json.dumps(serialize(activation)))) is activation
    assert activation(Tensor((None, 4))).shape == (None, 4)


def test_get():
    assert activations.get(None) is activations.linear
    assert activations.get(abs) is abs
    assert serialize(ops.relu) == "relu"
    with pytest.raises(ValueError, match="unknown activation 'rleu'; did you mean 'relu'"):
        activations.get("rleu")


@pytest.mark.parametrize(
    "regularizer, penalty",
    [
        (regularizers.L1(0.1), 0.1 * np.abs(X).sum()),
        (regularizers.L2(0.1), 0.1 * (X**2).sum()),
        (regularizers.L1L2(0.1, 0.2), 0.1 * np.abs(X).sum() + 0.2 * (X**2).sum()),
        (regularizers.get("l2"), 0.01 * (X**2).sum()),
        (regularizers.get("l1_l2"), 0.0),
    ],
    ids=repr,
)
def test_regularizers(regularizer, penalty):
    np.testing.assert_allclose(regularizer(X), penalty)
    again = regularizers.deserialize(json.loads(json.dumps(serialize(regularizer))))
    assert again.get_config() == regularizer.get_config()


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_regularizers_refuse_bad_factors(value):
    with pytest.raises(ValueError, match="L2: l2 must be finite and not negative, got"):
        regularizers.L2(value)
