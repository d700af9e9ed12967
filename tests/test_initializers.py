import json

import numpy as np
import pytest

from nbcnn import initializers, random_state
from nbcnn.registry import serialize

KERNEL = (3, 3, 64, 96)  # fans 576 and 864
RANDOM = [
    initializers.RandomNormal,
    initializers.RandomUniform,
    initializers.TruncatedNormal,
    initializers.VarianceScaling,
    initializers.GlorotUniform,
    initializers.GlorotNormal,
    initializers.LecunUniform,
    initializers.LecunNormal,
    initializers.HeUniform,
    initializers.HeNormal,
    initializers.Orthogonal,
]


@pytest.mark.parametrize(
    "name, variance, limit",
    [
        ("random_normal", 0.05**2, None),
        ("random_uniform", 0.05**2 / 3, 0.05),
        ("truncated_normal", (0.05 * 0.87962566) ** 2, 0.1),
        ("variance_scaling", 1 / 576, 2 / 576**0.5 / 0.87962566),
        ("glorot_uniform", 2 / 1440, (6 / 1440) ** 0.5),
        ("glorot_normal", 2 / 1440, None),
        ("lecun_uniform", 1 / 576, (3 / 576) ** 0.5),
        ("lecun_normal", 1 / 576, None),
        ("he_uniform", 2 / 576, (6 / 576) ** 0.5),
        ("he_normal", 2 / 576, None),
    ],
)
def test_variance_and_limits(name, variance, limit):
    random_state.set_seed(1)
    values = initializers.get(name)(KERNEL, "float64")
    assert values.shape == KERNEL
    assert values.mean() == pytest.approx(0, abs=4 * (variance / values.size) ** 0.5)
    assert values.var() == pytest.approx(variance, rel=0.03)
    if limit:
        assert 0.97 * limit < np.abs(values).max() <= limit


@pytest.mark.parametrize("cls", RANDOM, ids=lambda c: c.__name__)
def test_seeds(cls):
    shape = (4, 5)
    np.testing.assert_array_equal(cls(seed=3)(shape), cls(seed=3)(shape))
    initializer = cls(seed=3)
    np.testing.assert_array_equal(initializer(shape), initializer(shape))
    unseeded = cls()
    assert (unseeded(shape) != unseeded(shape)).any()
    random_state.set_seed(7)
    first = unseeded(shape)
    random_state.set_seed(7)
    np.testing.assert_array_equal(unseeded(shape), first)


@pytest.mark.parametrize("cls", RANDOM, ids=lambda c: c.__name__)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_and_config_round_trip(cls, dtype):
    initializer = cls(seed=3)
    config = json.loads(json.dumps(serialize(initializer)))
    again = initializers.deserialize(config)
    assert type(again) is cls
    values = again((3, 4), dtype)
    assert values.dtype == dtype
    np.testing.assert_array_equal(values, initializer((3, 4), dtype))
    assert initializer.clone().seed == 3


def test_generator_state_can_be_saved_and_restored():
    random_state.set_seed(3)
    state = json.loads(json.dumps(random_state.get_state()))
    first = random_state.next_seed()
    random_state.set_state(state)
    assert random_state.next_seed() == first


def test_fixed_values():
    np.testing.assert_array_equal(initializers.Zeros()((2, 2)), [[0, 0], [0, 0]])
    np.testing.assert_array_equal(initializers.Ones()(3, "int32"), [1, 1, 1])
    np.testing.assert_array_equal(initializers.Constant(2.5)((2,)), [2.5, 2.5])
    np.testing.assert_array_equal(initializers.Constant([1, 2])((2, 2)), [[1, 2], [1, 2]])
    np.testing.assert_array_equal(initializers.Identity(2)((2, 3)), [[2, 0, 0], [0, 2, 0]])


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (2, 2, 3, 7), (2, 2, 3, 20)])
def test_orthogonal(shape):
    q = initializers.Orthogonal(gain=2, seed=1)(shape, "float64").reshape(-1, shape[-1])
    product = q.T @ q if q.shape[0] >= q.shape[1] else q @ q.T
    np.testing.assert_allclose(product, 4 * np.eye(len(product)), atol=1e-12)


@pytest.mark.parametrize(
    "shape, fans",
    [((), (1, 1)), ((7,), (7, 7)), ((3, 4), (3, 4)), ((3, 3, 1, 128), (9, 1152))],
)
def test_fans(shape, fans):
    assert initializers.compute_fans(shape) == fans


def test_get_accepts_names_functions_and_arrays():
    assert isinstance(initializers.get("HeNormal"), initializers.HeNormal)
    assert isinstance(initializers.get("normal"), initializers.RandomNormal)
    assert initializers.get(None) is None
    given = initializers.get(np.arange(3.0))
    assert given((3,), "float32").dtype == "float32"
    with pytest.raises(ValueError, match=r"must have shape \(4,\), got \(3,\)"):
        given((4,))


@pytest.mark.parametrize(
    "make, message",
    [
        (
            lambda: initializers.get("glorot_unifrm"),
            "did you mean '(glorot_uniform|GlorotUniform)'",
        ),
        (lambda: initializers.VarianceScaling(0), "scale must be positive, got 0"),
        (lambda: initializers.VarianceScaling(mode="fan"), "mode must be 'fan_in', 'fan_out' or"),
        (lambda: initializers.Identity()((2,)), "two dimensions, got"),
        (lambda: initializers.Orthogonal()((2,)), "two dimensions or more, got"),
        (lambda: initializers.HeNormal(seed=1.5), "seed must be None or an integer, got 1.5"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()
