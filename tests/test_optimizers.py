import dataclasses
import inspect
import json
import types

import pytest

from nbcnn import optimizers, schedules
from nbcnn.ops import optimizer as update_ops
from nbcnn.registry import deserialize, serialize

CLASSES = [optimizers.SGD, optimizers.RMSprop, optimizers.Adam, optimizers.AdamW]
UPDATES = {"sgd": update_ops.SGD, "rmsprop": update_ops.RMSprop, "adam": update_ops.Adam}


@pytest.mark.parametrize("cls", CLASSES, ids=lambda c: c.__name__)
def test_settings_are_those_of_the_operation(cls):
    update = UPDATES[cls.op]
    assert set(cls().hyperparameters()) == {f.name for f in dataclasses.fields(update)}
    assert update(**cls().hyperparameters()).name == cls.op


@pytest.mark.parametrize(
    "cls, head",
    [
        (optimizers.SGD, "(learning_rate=0.01, momentum=0.0, nesterov=False, weight_decay=None, "),
        (
            optimizers.RMSprop,
            "(learning_rate=0.001, rho=0.9, momentum=0.0, epsilon=1e-07, centered=False, weight_",
        ),
        (
            optimizers.Adam,
            "(learning_rate=0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-07, amsgrad=False, weight_",
        ),
        (
            optimizers.AdamW,
            "(learning_rate=0.001, weight_decay=0.004, beta_1=0.9, beta_2=0.999, epsilon=1e-07, ",
        ),
    ],
    ids=lambda v: getattr(v, "__name__", ""),
)
def test_signatures_are_those_of_keras(cls, head):
    assert str(inspect.signature(cls)).startswith(head)


@pytest.mark.parametrize(
    "optimizer, slots",
    [
        (optimizers.SGD(), ()),
        (optimizers.SGD(momentum=0.9), ("momentum",)),
        (optimizers.RMSprop(), ("velocity",)),
        (
            optimizers.RMSprop(momentum=0.5, centered=True),
            ("velocity", "momentum", "average_gradient"),
        ),
        (optimizers.Adam(), ("momentum", "velocity")),
        (optimizers.Adam(amsgrad=True), ("momentum", "velocity", "velocity_hat")),
    ],
    ids=repr,
)
def test_slots(optimizer, slots):
    assert optimizer.slots == slots


@pytest.mark.parametrize("cls", CLASSES, ids=lambda c: c.__name__)
def test_config_round_trip(cls):
    schedule = schedules.ExponentialDecay(0.1, 10, 0.5)
    optimizer = cls(schedule, weight_decay=0.01, clipnorm=2.0, name="mine")
    again = deserialize(json.loads(json.dumps(serialize(optimizer))))
    assert type(again) is cls
    assert again.get_config() == optimizer.get_config()
    again.iterations = 10
    assert again.learning_rate == pytest.approx(0.05)


def test_learning_rate_follows_number_schedule_and_function():
    optimizer = optimizers.Adam(0.1)
    optimizer.learning_rate = 0.2
    assert optimizer.learning_rate == 0.2
    assert optimizer.learning_rate.numpy() == 0.2
    optimizer.learning_rate.assign(0.3)
    assert optimizer.get_config()["learning_rate"] == 0.3
    optimizer.learning_rate = lambda: 0.4
    assert optimizer.learning_rate == 0.4
    optimizer.learning_rate = schedules.PiecewiseConstantDecay([2], [1.0, 0.5])
    optimizer.iterations = 3
    assert optimizer.learning_rate == 0.5
    with pytest.raises(TypeError, match="Adam: learning_rate is a schedule"):
        optimizer.learning_rate = 0.1


@pytest.mark.parametrize(
    "arguments, clipping",
    [
        ({}, None),
        ({"clipvalue": 0.5}, ("value", 0.5)),
        ({"clipnorm": 1}, ("norm", 1)),
        ({"global_clipnorm": 2.0}, ("global_norm", 2.0)),
    ],
)
def test_clipping(arguments, clipping):
    assert optimizers.SGD(**arguments).clipping == clipping


def test_weights_can_be_excluded_from_decay():
    kernel, bias, gamma = (types.SimpleNamespace(name=n) for n in ("kernel", "bias", "gamma"))
    optimizer = optimizers.AdamW()
    assert optimizer.decays(bias)
    optimizer.exclude_from_weight_decay(var_list=[gamma], var_names=["^bias$"])
    assert [optimizer.decays(v) for v in (kernel, bias, gamma)] == [True, False, False]
    assert not optimizers.Adam().decays(kernel)


def test_get():
    assert isinstance(optimizers.get("adam"), optimizers.Adam)
    assert isinstance(optimizers.get("RMSProp"), optimizers.RMSprop)
    assert isinstance(optimizers.get({"class_name": "sgd", "config": {}}), optimizers.SGD)
    assert optimizers.get(None) is None


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: optimizers.get("adma"), "unknown optimizer 'adma'; did you mean 'adam'?"),
        (lambda: optimizers.get(len), "expected an optimizer, its name or its configuration, got"),
        (lambda: optimizers.Adam("fast"), "Adam: learning_rate must be a number, a Learning"),
        (lambda: optimizers.Adam(-1), "Adam: learning_rate must be finite and not negative"),
        (lambda: optimizers.SGD(momentum=2.0), "SGD: momentum must be between 0 and 1, got 2.0"),
        (lambda: optimizers.SGD(clipnorm=1, clipvalue=1), "SGD: only one of clipnorm, clipvalue"),
        (lambda: optimizers.AdamW(weight_decay=None), "AdamW: weight_decay must be a number"),
        (lambda: optimizers.SGD(lr=0.1), "SGD: unknown argument 'lr'"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError) as error:
        make()
    assert str(error.value).startswith(message)
