"""Steps that work in passes over a batch: the same results, less memory, and what refuses it."""

import numpy as np
import pytest

import nbcnn
from nbcnn import layers, ops
from nbcnn.graph.choosing import STEP
from nbcnn.graph.graph import Graph
from nbcnn.graph.plan import Plan
from nbcnn.kernels.cpu import jit
from nbcnn.ops.conv import Conv2DInputGradient
from nbcnn.ops.elementwise import Unary
from nbcnn.ops.op import apply
from nbcnn.ops.shape import BatchReshape, Flatten, Squeeze
from nbcnn.ops.tensor import Tensor
from nbcnn.runtime.cpu import CpuDevice
from nbcnn.runtime.device import get_device

RNG = np.random.default_rng(3)
IMAGES = (16, 16, 8)


def relu(x):
    return apply(Unary("relu"), x)


def values(shape, dtype="float32"):
    return RNG.normal(size=shape).astype(dtype)


@pytest.fixture
def close(monkeypatch):
    """Set how many bytes a step may work on at a time; 0 for any number."""

    def choose(nbytes):
        monkeypatch.setattr(CpuDevice, "close_bytes", nbytes)

    return choose


def run(build, arrays):
    """Outputs of `build(*leaves)` and their plan; all arrays are batched."""
    leaves = [Tensor(a.shape, a.dtype.name) for a in arrays]
    outputs = build(*leaves)
    outputs = list(outputs) if isinstance(outputs, tuple) else [outputs]
    device = get_device("cpu")
    plan = Plan(Graph(outputs), device, batch=leaves)
    for leaf, array in zip(leaves, arrays):
        device.upload(plan.array(leaf), array)
    plan.prepare()
    plan.run()
    return [device.download(plan.array(t)) for t in outputs], plan


KERNEL, ROW, SQUARE = values((3, 3, 8, 12)), values(3), values((3, 3))
COLUMNS = values((7, 3))


def transposed(x):
    shape = (7, 33, 33, 12)
    return apply(Conv2DInputGradient(strides=(2, 2), shape=shape), x, KERNEL.swapaxes(2, 3))


# name, batched inputs, what is computed between two steps that can always be in a stretch
PER_SAMPLE = [
    ("convolution", [(7, *IMAGES)], lambda x: ops.conv(x, KERNEL)),
    ("convolution same", [(7, *IMAGES)], lambda x: ops.conv(x, KERNEL, 2, "same")),
    ("transposed", [(7, *IMAGES)], lambda x: transposed(x)),
    ("max pool", [(7, *IMAGES)], lambda x: ops.max_pool(x, 2)),
    ("average pool", [(7, *IMAGES)], lambda x: ops.average_pool(x, 3, 2, "same")),
    ("dense", [(7, 3)], lambda x: ops.matmul(x, SQUARE)),
    ("dense of rows", [(7, 4, 3)], lambda x: ops.matmul(x, SQUARE)),
    ("matrices", [(7, 4, 3), (7, 3, 2)], lambda x, y: ops.matmul(x, y)),
    ("bias", [(7, 4, 3)], lambda x: x + ROW),
    ("sum of inputs", [(7, 4, 3), (7, 1, 3)], lambda x, y: x + y),
    ("selection", [(7, 4, 3)], lambda x: ops.where(x > 0.5, x, ROW)),
    ("softmax", [(7, 4, 3)], lambda x: ops.softmax(x)),
    ("mean of pixels", [(7, *IMAGES)], lambda x: ops.mean(x, (1, 2))),
    ("largest class", [(7, 9)], lambda x: ops.argmax(x, -1)),
    ("transpose", [(7, 4, 3)], lambda x: ops.transpose(x, (0, 2, 1))),
    ("slice", [(7, 4, 3)], lambda x: x[:, 1:3, ::-1]),
    ("pad", [(7, 4, 3)], lambda x: ops.pad(x, ((0, 0), (1, 2), (0, 1)))),
    ("concatenate", [(7, 4, 3), (7, 4, 2)], lambda x, y: ops.concatenate([x, y], -1)),
    ("broadcast", [(7, 1, 3)], lambda x: ops.broadcast_to(x, (7, 5, 3))),
    ("reshape with the batch", [(7, 4, 3)], lambda x: ops.reshape(x, (7, 12))),
    ("reshape to the batch", [(7, 4, 3)], lambda x: ops.reshape(x, (7, -1, 2))),
    ("reshape of the rest", [(7, 4, 3)], lambda x: ops.reshape(x, (-1, 6, 2))),
    ("flatten", [(7, 4, 3)], lambda x: apply(Flatten(), x)),
    ("reshape of samples", [(7, 4, 3)], lambda x: apply(BatchReshape((2, 6)), x)),
    ("squeeze", [(7, 1, 3)], lambda x: apply(Squeeze((1,)), x)),
    ("new axis", [(7, 3)], lambda x: ops.expand_dims(x, 1)),
    ("integers", [(7, 4, 3)], lambda x: ops.cast(x * 5.0, "int32")),
]

MIXING = [
    ("mean of the batch", [(7, 3)], lambda x: x - ops.mean(x, 0, keepdims=True)),
    ("sum of all", [(7, 3)], lambda x: x / ops.sum(x)),
    ("transpose", [(7, 7)], lambda x: ops.transpose(x)),
    ("product of samples", [(7, 7)], lambda x: ops.matmul(x, ops.transpose(x))),
    ("reversed", [(7, 3)], lambda x: x[::-1]),
    ("every second", [(8, 3)], lambda x: x[::2]),
    ("appended", [(7, 3)], lambda x: ops.concatenate([x, x], 0)),
    ("padded", [(7, 3)], lambda x: ops.pad(x, ((1, 0), (0, 0)))),
    ("samples mixed", [(8, 3)], lambda x: ops.reshape(x, (4, 6))),
    ("samples along the last axis", [(7,)], lambda x: ops.softmax(x)),
    ("aligned with features", [(7, 7), (7,)], lambda x, y: x + y),
    ("one constant for each sample", [(7, 3)], lambda x: x + COLUMNS),
]


def between(formula):
    """The formula with steps around it that can always work in passes."""
    return lambda *xs: relu(formula(*map(relu, xs)) * 2)


def check(close, formula, shapes):
    """Plans with passes of several sizes, all of which give the results of a plan without."""
    arrays = [values(shape) for shape in shapes]
    close(0)
    wanted, whole = run(between(formula), arrays)
    assert not whole.stretches
    plans = []
    for nbytes in (150_000, 50_000, 5000, 1000, 300, 100, 1):
        close(nbytes)
        found, plan = run(between(formula), arrays)
        for a, b in zip(found, wanted):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)
        plans.append(plan)
    return plans


def all_in_passes(plan):
    return all(step.stretch for step in plan.steps if step.phase == STEP)


@pytest.mark.parametrize(("name", "shapes", "formula"), PER_SAMPLE, ids=[c[0] for c in PER_SAMPLE])
def test_steps_on_samples_work_in_passes(close, name, shapes, formula):
    assert any(map(all_in_passes, check(close, formula, shapes)))


@pytest.mark.parametrize(("name", "shapes", "formula"), MIXING, ids=[c[0] for c in MIXING])
def test_steps_that_mix_samples_see_all_of_them(close, name, shapes, formula):
    assert not any(map(all_in_passes, check(close, formula, shapes)))


def test_what_mixes_samples_is_complete_before_a_stretch_reads_it(close):
    """An alias of a stretch's own result is no input to it."""

    def attend(x):
        y = relu(x)
        return relu(relu(y) + ops.reshape(y, (1, -1))[:, :3])

    close(1)
    x = values((7, 3))
    (found,), plan = run(attend, [x])
    y = np.maximum(x, 0)
    np.testing.assert_array_equal(found, y + y.reshape(1, -1)[:, :3])
    assert len(plan.stretches) == 2


def test_inputs_with_other_numbers_of_samples_are_not_cut(close):
    close(1)
    x, y = values((6, 3)), values((1, 3))
    (found,), plan = run(lambda a, b: relu(relu(a) + relu(b)), [x, y])
    np.testing.assert_array_equal(found, np.maximum(x, 0) + np.maximum(y, 0))
    assert not plan.stretches


def test_results_written_over_their_operand_survive_passes_that_overlap(close):
    """7 samples in passes of 2: the last two passes share one."""
    x = values((7, 64))
    close(2 * 2 * x[0].nbytes)
    (found,), plan = run(lambda a: relu(relu(a + 1.0) * -1.0 + 2.0) + 1.0, [x])
    (stretch,) = plan.stretches
    assert stretch.starts == (0, 2, 4, 5)
    np.testing.assert_array_equal(found, np.maximum(2 - np.maximum(x + 1, 0), 0) + 1)


def test_passes_that_overlap_read_what_was_there_before_them(close):
    """The last step of a stretch may not write over what it reads, though nobody reads it later."""

    def chain(x):
        y = x + 1.0
        z = y - relu(y - ops.max(y, 0, keepdims=True) + 2.0)
        return z - ops.max(z, 0, keepdims=True)

    x = values((7, 64))
    close(2 * 3 * x[0].nbytes)
    (found,), plan = run(chain, [x])
    assert plan.stretches[0].starts == (0, 2, 4, 5)
    y = x + np.float32(1)
    z = y - np.maximum(y - y.max(0) + np.float32(2), 0)
    np.testing.assert_array_equal(found, z - z.max(0))


def convolutional():
    """Convolutions of several kinds, a shortcut, and a dense layer too heavy to be read often."""
    nbcnn.utils.set_random_seed(0)
    image = nbcnn.Input((16, 16, 3))
    x = layers.Conv2D(16, 3, padding="same", activation="relu")(image)
    y = layers.BatchNormalization()(layers.Conv2D(16, 3, padding="same")(x))
    x = layers.ReLU()(layers.Add()([x, y]))
    x = layers.DepthwiseConv2D(3, strides=2, padding="same")(x)
    x = layers.MaxPooling2D(2)(layers.Conv2D(32, 1, activation="relu")(x))
    x = layers.Dense(300, activation="relu")(layers.Flatten()(x))
    model = nbcnn.Model(image, [layers.Dense(4, activation="softmax")(x), y])
    model.compile("sgd", ["sparse_categorical_crossentropy", None], metrics=[["accuracy"], None])
    return model


def kinds(plan):
    """The implementations of a plan's steps, and the kernels that they call."""
    calls = [call for step in plan.steps for call in step.calls]
    kernels = {(call.kernel.identity, jit.pack(call.args).kinds) for call in calls}
    return [step.choice.impl.name for step in plan.steps], kernels


@pytest.mark.parametrize("samples", [1, 2, 17, 31, 64])
def test_a_model_predicts_the_same_in_passes(close, samples):
    x = values((samples, 16, 16, 3))
    close(0)
    model = convolutional()
    wanted, whole = model.predict_on_batch(x), model.plan(samples, training=False)
    close(150_000)
    model = convolutional()
    found, plan = model.predict_on_batch(x), model.plan(samples, training=False)
    for a, b in zip(found, wanted):
        np.testing.assert_array_equal(a, b)
    assert kinds(plan) == kinds(whole)
    if samples > 2:
        assert plan.stretches
        assert plan.arena_bytes < whole.arena_bytes
        assert plan.regions == 1
        dense = [s for s in plan.steps if s.node.op.name == "matmul"]
        assert not dense[0].stretch


def test_batches_are_read_and_results_written_where_they_are(close):
    """From several arrays in turn, of other types too, and in every order of their sizes."""
    close(150_000)
    model = convolutional()
    close(0)
    whole = convolutional()
    for x in (values((70, 16, 16, 3)), values((40, 16, 16, 3)), values((33, 16, 16, 3), "float64")):
        for size in (32, 20):
            close(150_000)
            found = model.predict(x, batch_size=size, verbose=0)
            close(0)
            for a, b in zip(found, whole.predict(x, batch_size=size, verbose=0)):
                np.testing.assert_array_equal(a, b)


def test_evaluation_works_in_passes_up_to_the_loss(close):
    x, y = values((50, 16, 16, 3)), RNG.integers(0, 4, 50)
    close(0)
    wanted = convolutional().evaluate(x, [y, None], batch_size=20, verbose=0)
    close(150_000)
    assert convolutional().evaluate(x, [y, None], batch_size=20, verbose=0) == wanted


def test_weights_that_change_reach_every_pass(close):
    close(150_000)
    model, x = convolutional(), values((40, 16, 16, 3))
    before = model.predict_on_batch(x)
    model.set_weights([w * 1.5 for w in model.get_weights()])
    after = model.predict_on_batch(x)
    again = convolutional()
    again.set_weights(model.get_weights())
    for a, b, c in zip(after, before, again.predict_on_batch(x)):
        assert not np.array_equal(a, b)
        np.testing.assert_array_equal(a, c)


def test_plans_show_and_profile_passes(close, capsys):
    close(150_000)
    plan = convolutional().plan(64, training=False)
    assert f"{len(plan.stretches[0].starts)} of {plan.stretches[0].size}" in plan.show()
    assert len(plan.profile(1)) == len([s for s in plan.steps if s.phase == STEP])
