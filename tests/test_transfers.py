"""Batches that a step reads where the user has them, and results that it writes there."""

import gc
import weakref

import numpy as np
import pytest

import nbcnn
from nbcnn import layers
from nbcnn.kernels.cpu import jit
from nbcnn.kernels.cpu.call import Call
from nbcnn.runtime.cpu import CpuDevice

SHAPE = (6, 6, 2)


@pytest.fixture(scope="module")
def model():
    nbcnn.utils.set_random_seed(0)
    net = nbcnn.Sequential(
        [
            nbcnn.Input(SHAPE),
            layers.Conv2D(5, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(3, activation="softmax"),
        ]
    )
    net.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return net


def images(count, dtype="float32"):
    return (np.random.default_rng(1).random((count, *SHAPE)) * 4).astype(dtype)


def by_hand(net, x):
    """The outputs for batches of 8, through arrays that are made for it."""
    parts = [np.array(x[i : i + 8], dtype="float32") for i in range(0, len(x), 8)]
    return np.concatenate([net.predict_on_batch(part) for part in parts])


def unaligned(x):
    raw = np.empty(x.nbytes + 1, "uint8")
    found = raw[1:].view(x.dtype).reshape(x.shape)
    found[...] = x
    return found


LAYOUTS = {
    "plain": lambda x: x,
    "from the second row": lambda x: np.concatenate([x[:1], x])[1:],
    "every other row": lambda x: np.repeat(x, 2, axis=0)[::2],
    "Fortran": np.asfortranarray,
    "unaligned": unaligned,
    "read-only": lambda x: np.frombuffer(x.tobytes(), x.dtype).reshape(x.shape),
    "other byte order": lambda x: x.astype(x.dtype.newbyteorder()),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", "int16"])
def test_prediction_from_any_array(model, dtype, layout):
    plain = images(21, dtype)
    x = LAYOUTS[layout](plain)
    found = model.predict(x, batch_size=8, verbose=0)
    np.testing.assert_array_equal(found, by_hand(model, plain))
    parts = [model.predict_on_batch(x[i : i + 8]) for i in (0, 8, 16)]
    assert np.concatenate(parts).tobytes() == found.tobytes()
    np.testing.assert_array_equal(x, plain)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_training_from_any_array(model, layout):
    plain, y = images(21), np.arange(21) % 3

    def losses(x):
        net = nbcnn.models.clone_model(model)
        net.set_weights(model.get_weights())
        net.compile("sgd", "sparse_categorical_crossentropy")
        nbcnn.utils.set_random_seed(2)
        kinds = (True, False, "batch")
        return [net.fit(x, y, 8, verbose=0, shuffle=s).history["loss"] for s in kinds]

    assert losses(LAYOUTS[layout](plain)) == losses(plain)


def test_batches_of_changing_types(model):
    x = images(8, "uint8")
    want = by_hand(model, x)
    for dtype in ("uint8", "float32", "float16", "uint8", "float64", "float32"):
        assert model.predict_on_batch(x.astype(dtype)).tobytes() == want.tobytes()


def test_no_array_of_the_user_is_kept(model):
    x, y = images(16), np.zeros(16, "int64")
    model.fit(x, y, batch_size=8, verbose=0)
    model.evaluate(x, y, batch_size=8, verbose=0)
    model.train_on_batch(x, y)
    results = [model.predict(x, batch_size=8, verbose=0), model.predict_on_batch(x)]
    kept = [weakref.ref(array) for array in (x, y, *results)]
    del x, y, results
    gc.collect()
    assert [ref() is None for ref in kept] == [True] * 4


def test_results_are_the_users_own(model):
    x = images(8)
    first = model.predict_on_batch(x)
    before = first.copy()
    model.predict_on_batch(x[::-1].copy())
    np.testing.assert_array_equal(first, before)
    assert first.flags.owndata
    assert first.flags.writeable


def test_outputs_that_are_inputs_or_each_other():
    image = nbcnn.Input(SHAPE)
    flat = layers.Flatten()(image)
    doubled = layers.Rescaling(2.0)(image)
    again = layers.Flatten()(doubled)
    net = nbcnn.Model(image, [flat, doubled, again, doubled])
    x = images(11)
    for got in (net.predict(x, batch_size=4, verbose=0), net.predict_on_batch(x)):
        for result, want in zip(got, (x, 2 * x, 2 * x, 2 * x), strict=True):
            np.testing.assert_array_equal(result, want.reshape(result.shape))
            assert not np.shares_memory(result, x)


def test_an_error_leaves_the_step_usable(model):
    class Stop(nbcnn.callbacks.Callback):
        def on_predict_batch_end(self, batch, logs=None):
            raise KeyboardInterrupt

    x = images(16)
    want = model.predict(x, batch_size=8, verbose=0)
    with pytest.raises(KeyboardInterrupt):
        model.predict(x, batch_size=8, verbose=0, callbacks=[Stop()])
    np.testing.assert_array_equal(model.predict(x, batch_size=8, verbose=0), want)


@jit.kernel
def negate(task, thread, x, y):
    for i in range(len(x)):
        y[i] = -x[i]


def test_all_arguments_that_lie_in_an_array_move_with_it():
    x, y, z = np.arange(8.0), np.empty(8), np.empty(4)
    device = CpuDevice(2)
    program = device.program([Call(negate, 1, (x, y)), Call(negate, 1, (x[4:], z))])
    feed, outlet = device.feed(program, x, True), device.outlet(program, y, True)
    others, result = np.arange(80.0).reshape(10, 8)[:, None], np.empty(8)
    feed.load(others.reshape(80), None, 16)
    outlet.aim(result)
    program.run()
    outlet.collect()
    np.testing.assert_array_equal(result, -np.arange(16.0, 24.0))
    np.testing.assert_array_equal(z, np.arange(20.0, 24.0) * -1)
    feed.release()
    outlet.release()
    program.run()
    np.testing.assert_array_equal(y, -np.arange(8.0))
    np.testing.assert_array_equal(result, -np.arange(16.0, 24.0))
