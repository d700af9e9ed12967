import dataclasses
import inspect
import json
import types

import numpy as np
import pytest
from small_models import X, Y, compiled, linear

from nbcnn import optimizers, schedules
from nbcnn.ops import optimizer as update_ops
from nbcnn.registry import deserialize, serialize

OPERATIONS = [optimizers.SGD, optimizers.RMSprop, optimizers.Adam, optimizers.AdamW]
CLASSES = [
    *OPERATIONS, optimizers.Adadelta, optimizers.Adafactor, optimizers.Adagrad, optimizers.Adamax,
    optimizers.Ftrl, optimizers.Lamb, optimizers.Lion, optimizers.Nadam, optimizers.Muon,
    optimizers.ScheduleFreeAdamW,
]  # fmt: skip
UPDATES = {"sgd": update_ops.SGD, "rmsprop": update_ops.RMSprop, "adam": update_ops.Adam}


@pytest.mark.parametrize("cls", OPERATIONS, ids=lambda c: c.__name__)
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
        (
            optimizers.Adafactor,
            "(learning_rate=0.001, beta_2_decay=-0.8, epsilon_1=1e-30, epsilon_2=0.001, "
            "clip_threshold=1.0, relative_step=True, weight_decay=None, ",
        ),
        (
            optimizers.Ftrl,
            "(learning_rate=0.001, learning_rate_power=-0.5, initial_accumulator_value=0.1, l1_",
        ),
        (
            optimizers.ScheduleFreeAdamW,
            "(learning_rate=0.0025, beta_1=0.9, beta_2=0.999, epsilon=1e-08, warmup_steps=0, ",
        ),
        (
            optimizers.Muon,
            "(learning_rate=0.001, adam_beta_1=0.9, adam_beta_2=0.999, adam_weight_decay=0.004, "
            "epsilon=1e-07, weight_decay=0.004, clipnorm=None, clipvalue=None, "
            "global_clipnorm=None, use_ema=False, ema_momentum=0.99, "
            "ema_overwrite_frequency=None, loss_scale_factor=None, "
            "gradient_accumulation_steps=None, name=None, exclude_layers=None, ",
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


def wrappers():
    sgd = optimizers.SGD(0.1, use_ema=True)
    yield optimizers.LossScaleOptimizer(sgd, 8.0, 3)
    chosen = optimizers.OptimizerMap(optimizers.Adam(), {"head/.*": optimizers.SGD(0.5)})
    yield optimizers.MultiOptimizer(chosen, loss_scale_factor=2.0)


@pytest.mark.parametrize("optimizer", wrappers(), ids=lambda o: o.name)
def test_config_of_wrappers(optimizer):
    again = deserialize(json.loads(json.dumps(serialize(optimizer))))
    assert type(again) is type(optimizer)
    assert again.get_config() == optimizer.get_config()


def test_the_loss_scale_follows_the_gradients():
    optimizer = optimizers.LossScaleOptimizer(optimizers.SGD(0.1), 8.0, 2)
    found = [(optimizer.judge(f), optimizer.loss_scale) for f in (True, True, False, True, True)]
    assert found == [(True, 8), (True, 16), (False, 8), (True, 8), (True, 16)]
    optimizer.learning_rate = 0.5
    assert optimizer.inner_optimizer.learning_rate == 0.5


def test_optimizer_map():
    sgd, adam, lion = optimizers.SGD(), optimizers.Adam(), optimizers.Lion()
    chosen = optimizers.OptimizerMap(sgd, {"head/kernel": adam, "head/.*": lion})
    found = [chosen[path] for path in ("head/kernel", "head/bias", "body/kernel")]
    assert found == [adam, lion, sgd]
    chosen[".*/bias"] = adam
    with pytest.raises(ValueError, match="'head/bias' matches several keys"):
        chosen["head/bias"]
    with pytest.raises(ValueError, match="there is a key 'head/kernel' already"):
        chosen["head/kernel"] = sgd
    with pytest.raises(ValueError, match="must be an optimizer and no wrapper"):
        chosen["tail"] = optimizers.LossScaleOptimizer(sgd)
    with pytest.raises(AttributeError, match="MultiOptimizer has no learning_rate"):
        optimizers.MultiOptimizer(chosen).learning_rate  # noqa: B018


def test_iterations_count_changes_of_weights():
    optimizer = optimizers.SGD(
        schedules.PiecewiseConstantDecay([4], [1.0, 0.5]), gradient_accumulation_steps=3
    )
    for _ in range(5):
        optimizer.count()
    assert optimizer.iterations == 1
    assert optimizer.learning_rate == 0.5  # schedules look at batches


def test_a_global_norm_is_that_of_all_weights():
    """Also of those that do not decay, which lie in a buffer of their own."""
    optimizer = optimizers.SGD(1.0, weight_decay=1e-9, global_clipnorm=1e-3)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    model = compiled(linear(), optimizer=optimizer)
    before = model.get_weights()
    model.train_on_batch(X, 100 + Y)
    steps = [a - b for a, b in zip(model.get_weights(), before)]
    norm = np.sqrt(sum((step.astype("float64") ** 2).sum() for step in steps))
    assert norm == pytest.approx(1e-3, rel=1e-3)
    assert len(model._runners.store.groups) == 2


@pytest.mark.parametrize("make", [optimizers.Adafactor, optimizers.Muon, optimizers.Lamb])
def test_sizes_of_state(make):
    model = compiled(linear(4), optimizer=make())
    model.train_on_batch(X, np.zeros((len(X), 4)))
    shapes = model._runners.store.slot_shapes()
    assert (
        shapes
        == {
            "Adafactor": {"row": [(3,), None], "column": [(4,), None], "velocity": [None, (4,)]},
            "Muon": {"momentum": [(3, 4), (4,)], "velocity": [None, (4,)]},
            "Lamb": {"momentum": [(3, 4), (4,)], "velocity": [(3, 4), (4,)]},
        }[make.__name__]
    )


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
        (lambda: optimizers.SGD(use_ema=1), "SGD: use_ema must be True or False, got 1"),
        (lambda: optimizers.SGD(ema_momentum=2.0), "SGD: ema_momentum must be between 0 and 1"),
        (
            lambda: optimizers.SGD(gradient_accumulation_steps=1),
            "SGD: gradient_accumulation_steps must be an integer of at least 2, got 1",
        ),
        (lambda: optimizers.SGD(loss_scale_factor=0), "SGD: loss_scale_factor must be positive"),
        (lambda: optimizers.Lion(beta_1=0.0), "Lion: beta_1 must be above 0 and at most 1"),
        (lambda: optimizers.Ftrl(learning_rate_power=0.5), "Ftrl: learning_rate_power must not be"),
        (
            lambda: optimizers.Muon(exclude_layers="head"),
            "Muon: exclude_layers must be a list of regular expressions",
        ),
        (
            lambda: optimizers.LossScaleOptimizer(optimizers.SGD(), clipnorm=1.0),
            "LossScaleOptimizer: set clipnorm on the inner_optimizer",
        ),
        (
            lambda: optimizers.LossScaleOptimizer("sgd"),
            "LossScaleOptimizer: inner_optimizer must be an optimizer, got 'sgd'",
        ),
        (
            lambda: optimizers.LossScaleOptimizer(optimizers.SGD(), 0.0),
            "LossScaleOptimizer: initial_scale must be a positive number",
        ),
        (
            lambda: optimizers.MultiOptimizer("sgd"),
            "MultiOptimizer: optimizer_map must be an OptimizerMap or a function",
        ),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError) as error:
        make()
    assert str(error.value).startswith(message)
