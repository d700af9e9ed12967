"""Arguments of wrong types or values are refused where they are given, by name."""

import numpy as np
import pytest
from small_models import linear

import nbcnn
from nbcnn import callbacks, constraints, initializers, layers, losses, metrics
from nbcnn.optimizers import SGD, schedules

AXES = "axis must be an axis or a list of them, got"
WRONG = [
    (lambda: layers.LayerNormalization(axis=None), f"LayerNormalization: {AXES} None"),
    (lambda: layers.Softmax(axis="last"), f"Softmax: {AXES} 'last'"),
    (lambda: layers.UnitNormalization(axis=[]), f"UnitNormalization: {AXES} []"),
    (lambda: layers.Dot(axes=1.5), "Dot: axes must be an axis or a list of them, got 1.5"),
    (lambda: layers.PReLU(shared_axes="12"), "PReLU: shared_axes must be an axis or a list"),
    (lambda: layers.Dropout(0.5, noise_shape=3), "noise_shape must be None or a tuple of sizes"),
    (lambda: layers.AlphaDropout(0.5, noise_shape=(0, 1)), "AlphaDropout: noise_shape must be"),
    (lambda: layers.Rescaling(None), "Rescaling: scale must be a number or a list of them"),
    (lambda: layers.Rescaling(1.0, offset="0"), "Rescaling: offset must be a number or a list"),
    (lambda: layers.Rescaling([[1.0], [1.0, 2.0]]), "Rescaling: scale must be a number or a list"),
    (lambda: layers.Lambda(abs, arguments=[1]), "Lambda: arguments must be None or a dictionary"),
    (lambda: layers.Reshape("12"), "Reshape: target_shape must be a tuple of sizes"),
    (lambda: layers.Permute(dims=None), "Permute: dims must be a tuple of axes, got None"),
    (lambda: layers.Input((3,), batch_size=0), "InputLayer: batch_size must be positive, got 0"),
    (lambda: layers.Dense(2, kernel_initializer={"a": 1}), "kernel_initializer: expected an init"),
    (lambda: layers.Dense(2, activity_regularizer=int), "activity_regularizer: expected a regul"),
    (lambda: constraints.MaxNorm(axis="0"), f"MaxNorm: {AXES} '0'"),
    (lambda: losses.Dice(axis=0.5), f"Dice: {AXES} 0.5"),
    (lambda: losses.MeanSquaredError(dtype="float16"), "dtype must be an integer type or one of"),
    (lambda: losses.MeanSquaredError(dtype="int32"), "dtype must be None, float32, float64 or"),
    (lambda: metrics.AUC(dtype="complex64"), "AUC: dtype must be an integer type or one of"),
    (lambda: initializers.Constant("1"), "Constant: value must be a number or a list of them"),
    (lambda: initializers.HeNormal(seed=-1), "HeNormal: seed must not be negative, got -1"),
    (lambda: initializers.RandomNormal(stddev=-1), "RandomNormal: stddev must not be negative"),
    (lambda: initializers.RandomUniform(1.0, 0.0), "minval must not exceed maxval, got 1.0 and 0"),
    (lambda: initializers.RandomUniform(np.nan), "RandomUniform: minval must be finite, got nan"),
    (lambda: initializers.GlorotNormal(input_axes="a"), "input_axes must be an axis or a list"),
    (lambda: schedules.PiecewiseConstantDecay("a", [1, 2]), "boundaries must be a list of numbers"),
    (lambda: schedules.CosineDecay(np.nan, 10), "initial_learning_rate must be finite, got nan"),
    (lambda: schedules.CosineDecayRestarts(0.1, 10, t_mul=0), "t_mul must be positive, got 0"),
    (lambda: callbacks.LambdaCallback(on_epoch_end=3), "on_epoch_end must be a function, got 3"),
    (lambda: callbacks.LearningRateScheduler(0.1), "schedule must be a function, got 0.1"),
    (lambda: SGD({}), "SGD: learning_rate: expected a learning rate schedule"),
    (lambda: linear().set_weights(2), "set_weights: weights must be a list of arrays, got 2"),
    (lambda: linear().get_layer(["a"]), "get_layer: name must be a string, got ['a']"),
    (lambda: linear().get_layer(index="a"), "get_layer: index must be an integer, got 'a'"),
    (lambda: linear().summary(line_length="a"), "line_length must be a positive whole number"),
    (lambda: layers.Dense(1).compute_output_shape("ab"), "input_shape must be a tuple of sizes"),
    (lambda: layers.Dense(1).compute_output_shape((2, -1)), "input_shape must be a tuple of sizes"),
    (lambda: nbcnn.models.clone_model(3), "clone_model: model must be a model, got 3"),
    (lambda: nbcnn.models.clone_model(linear(), None, repr), "clone_function must return a layer"),
    (lambda: nbcnn.models.clone_model(linear(), call_function=int), "needs a functional model"),
    (lambda: nbcnn.ops.add(1j, 1.0), "cannot make a tensor of complex: 1j"),
]


@pytest.mark.parametrize(("make", "message"), WRONG, ids=[message for _, message in WRONG])
def test_refused(make, message):
    with pytest.raises((ValueError, TypeError)) as error:
        make()
    assert message in str(error.value)


def test_axes_of_dot_are_not_counted_round():
    with pytest.raises(ValueError, match="axes must be one or two axes other than the batch"):
        layers.Dot(axes=4)([layers.Input((3, 4)), layers.Input((5, 4))])


def test_half_floats_are_computed_in_float32():
    t, p = np.array([[0.0, 1.0]], "float16"), np.array([[0.25, 0.5]], "float16")
    assert losses.MeanSquaredError()(t, p) == pytest.approx((0.0625 + 0.25) / 2)
    assert losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)(t, p).dtype == "f4"
    assert metrics.MeanAbsoluteError()(t, p) == pytest.approx(0.375)
    assert nbcnn.ops.add(t, p).dtype == "float32"


def test_losses_of_no_samples_are_zero():
    nothing = np.zeros((0, 3), "float32")
    assert losses.Huber()(nothing, nothing) == 0
    assert losses.CategoricalCrossentropy(label_smoothing=0.1)(nothing, nothing) == 0


def test_r2_of_one_sample():
    score = metrics.R2Score()
    score.update_state(np.array([[0.1, 0.7, -1.3]]), np.array([[0.5, 0.2, 0.9]]))
    assert score.result() == 0
