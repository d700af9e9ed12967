"""Launching on a GPU, with a stand-in for the driver: what it is told, in which order.

Whole models run on it in a process of their own, where Numba's simulator does the launches.
"""

import gc
import warnings
from typing import NamedTuple

import numpy as np
import pytest
from cuda_double import Double, Pointer, device

import nbcnn
from nbcnn import config, layers
from nbcnn.kernels.cuda import jit
from nbcnn.kernels.cuda.call import Launch
from nbcnn.runtime import device as devices
from nbcnn.runtime.cuda_driver import CudaError


class Spec(NamedTuple):
    n: int
    scale: float
    flag: int


@jit.kernel
def first_kernel(s, x, y):
    y[0] = x[0]


@jit.kernel(bounds=64)
def second_kernel(s, factor, on, x):
    x[0] = factor


@pytest.fixture
def gpu():
    return device(Double())


def array(gpu, shape=(4,), dtype="float32"):
    return gpu.view(gpu.empty(4096), 256, shape, dtype)


def two_launches(gpu):
    x, y = array(gpu), array(gpu, (3,), "bool")
    return [
        Launch(first_kernel, (2, 3), 32, (Spec(-5, 0.25, 1), x, y), shared=512),
        Launch(second_kernel, 7, (4, 8), (Spec(1, -1.5, 0), 2.5, True, x)),
    ]


def test_what_the_driver_is_told(gpu):
    calls = two_launches(gpu)
    gpu.program(calls).run()
    gpu.synchronize()
    first, second = gpu.driver.launched
    x, y = calls[0].args[1:]
    assert (first.kernel, first.grid, first.block, first.shared) == (
        first_kernel,
        (2, 3, 1),
        (32, 1, 1),
        512,
    )
    assert first.arguments == (
        Spec(-5, 0.25, 1),
        Pointer(x.address, "float32"),
        Pointer(y.address, "uint8"),
    )
    assert (second.kernel, second.grid, second.block) == (second_kernel, (7, 1, 1), (4, 8, 1))
    assert second.arguments == (Spec(1, -1.5, 0), 2.5, True, Pointer(x.address, "float32"))


@pytest.mark.parametrize("value", ["x", None, 1j, (1, 2)])
def test_other_arguments_are_refused(gpu, value):
    with pytest.raises(TypeError, match="kernel arguments are arrays, numbers and specs"):
        gpu.program([Launch(first_kernel, 1, 1, (value,))])


def test_a_run_is_one_call_from_the_second_on(gpu):
    program = gpu.program(two_launches(gpu))
    driver = gpu.driver

    def made(*names):
        driver.log.clear()
        program.run()
        return [entry[0] for entry in driver.calls(*names)]

    names = ("launch", "begin_capture", "end_capture", "replay")
    assert made(*names) == ["launch", "launch"]
    assert made(*names) == ["begin_capture", "launch", "launch", "end_capture", "replay"]
    for _ in range(3):
        assert made(*names) == ["replay"]
    gpu.synchronize()
    assert [call.kernel for call in driver.launched] == [first_kernel, second_kernel] * 5


def test_each_kernel_is_loaded_once(gpu):
    calls = two_launches(gpu)
    gpu.program(calls * 3)
    gpu.program(calls)
    assert len(gpu.driver.calls("function")) == 2


def test_much_shared_memory_is_asked_for(gpu):
    spec = (Spec(1, 1.0, 0), array(gpu), array(gpu))
    gpu.program([Launch(first_kernel, 1, 32, spec, shared=100_000)] * 2).run()
    gpu.program([Launch(first_kernel, 1, 32, spec, shared=60_000)]).run()
    assert gpu.driver.calls("allow_shared") == [("allow_shared", 100_000)]


@pytest.mark.parametrize("where", ["begin_capture", "end_capture", "launch"])
def test_without_graphs_launches_go_on(gpu, where):
    def refuse(call):
        capturing = gpu.stream.captured is not None or call in ("begin_capture", "end_capture")
        if call == where and capturing:
            raise CudaError(where, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", "not permitted")

    programs = [gpu.program(two_launches(gpu)) for _ in range(2)]
    gpu.driver.fail = refuse
    with pytest.warns(RuntimeWarning, match="cuda:0: steps are launched kernel by kernel") as said:
        [program.run() for program in programs * 4]
    assert len(said) == 1
    gpu.synchronize()
    assert len(gpu.driver.launched) == 16
    assert not gpu.driver.calls("replay")


def test_nothing_is_freed_while_a_graph_is_captured(gpu):
    program = gpu.program(two_launches(gpu))
    program.run()
    garbage = [gpu.empty(64)]

    def drop(call):
        if call == "launch":
            garbage.clear()
            gc.collect()

    gpu.driver.fail = drop
    program.run()
    assert not gpu.driver.calls("free")
    gpu.synchronize()
    assert len(gpu.driver.calls("free")) == 1


def test_small_uploads_hold_still_until_they_are_copied(gpu):
    """Three rounds through the ring, without anybody waiting for the GPU."""
    target = array(gpu, (200, 2), "int64")
    for i in range(200):
        gpu.upload(target[i], np.array([i, -i]))
    assert gpu.download(target).tolist() == [[i, -i] for i in range(200)]
    assert len(gpu.driver.calls("synchronize")) == 1


# -- models, whose launches do nothing ----------------------------------------------------------


@pytest.fixture
def in_use(gpu, monkeypatch):
    """The GPU as 'cuda:0' of this process."""
    monkeypatch.setitem(devices._opened, ("cuda", 0), gpu)
    before = config.settings()
    yield gpu
    config._set(**vars(before))


def small_model():
    model = nbcnn.Sequential(
        [nbcnn.Input((4,)), layers.Dense(8, activation="relu"), layers.Dense(3)]
    )
    model.compile("adam", "mse")
    return model.to("cuda")


X = np.ones((40, 4), "float32")
Y = np.ones((40, 3), "float32")


def test_a_step_is_one_call_and_reads_nothing(in_use):
    model = small_model()
    model.fit(X, Y, batch_size=4, verbose=0)
    in_use.driver.log.clear()
    model.fit(X, Y, batch_size=4, verbose=0)
    assert len(in_use.driver.calls("replay")) == 10
    assert not in_use.driver.calls("launch")
    assert len(in_use.driver.calls("download")) == 1  # of the epoch's results


def test_bytes_travel_as_bytes(in_use):
    model = small_model()
    model.fit(X.astype("uint8"), Y.astype("int16"), batch_size=4, shuffle=False, verbose=0)
    copied = [entry[1] for entry in in_use.driver.calls("upload") if entry[2] == "copies"]
    assert copied == [4 * 4 * 1, 4 * 3 * 2] * 10


def test_precision_makes_other_plans(in_use):
    assert config.matmul_precision() == "highest"
    model = small_model()
    model.train_on_batch(X[:4], Y[:4])
    exact = model.plan(4)
    assert not in_use.caps.tf32
    config.set_matmul_precision("high")
    assert in_use.caps.tf32
    assert model.plan(4) is not exact
    config.set_matmul_precision("highest")
    assert model.plan(4) is exact
    with pytest.raises(ValueError, match="expected one of 'highest', 'high', got 'low'"):
        config.set_matmul_precision("low")


def test_nothing_warns(in_use):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        small_model().fit(X, Y, batch_size=4, verbose=0)


# -- models that are computed -------------------------------------------------------------------

START = """
import numpy as np
from cuda_cases.simulated_driver import opened
import nbcnn
from nbcnn import layers


def made(optimizer="adam"):
    nbcnn.utils.set_random_seed(3)
    x = nbcnn.Input((6, 6, 1))
    y = layers.Conv2D(2, 3, strides=2, padding="same", use_bias=False)(x)
    y = layers.Dropout(0.25)(layers.ReLU()(layers.BatchNormalization()(y)))
    y = layers.Dense(3, activation="softmax")(layers.GlobalAveragePooling2D()(y))
    model = nbcnn.Model(x, y)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def apart(a, b):
    return max(np.abs(u - v).max() for u, v in zip(a.get_weights(), b.get_weights()))


x = (np.random.default_rng(1).random((10, 6, 6, 1)) * 255).astype("uint8")
t = (np.arange(10) % 3).astype("uint8")
"""


@pytest.fixture
def simulate(python, tmp_path, root):
    """Run a script on the model above; GPUs are simulated behind the driver."""

    def run(body):
        script = tmp_path / "train.py"
        script.write_text(f"import sys\nsys.path.insert(0, {str(root / 'tests')!r})\n{START}{body}")
        return python(script, NUMBA_ENABLE_CUDASIM="1")

    return run


@pytest.mark.parametrize("eager_copies", [False, True])
def test_training_equals_that_of_the_cpu(simulate, eager_copies):
    """Shuffled bytes, learning rates that change, a last batch that is smaller, graphs."""
    simulate(
        f"""
driver = opened(eager_copies={eager_copies}).driver
results = []
for name in ("cpu", "cuda:7"):
    with nbcnn.device(name):
        schedule = nbcnn.optimizers.schedules.ExponentialDecay(0.05, 1, 0.7)
        model = made(nbcnn.optimizers.SGD(schedule, momentum=0.9))
        history = model.fit(x, t, batch_size=4, epochs=3, verbose=0)
        results.append((model, history.history["loss"], model.predict(x, 4, verbose=0)))
(a, losses, p), (b, simulated_losses, q) = results
assert np.allclose(losses, simulated_losses, atol=1e-5), (losses, simulated_losses)
assert apart(a, b) < 1e-4, apart(a, b)
assert np.abs(p - q).max() < 1e-5
assert len(driver.calls("begin_capture")) == 3, driver.calls("begin_capture")
assert len(driver.calls("replay")) == 5 + 2 + 1
"""
    )


def test_arrays_on_the_gpu_stay_there(simulate):
    """Inputs, targets and outputs; in order and shuffled, of the right type and of others."""
    simulate(
        """
gpu = opened()

class Foreign:
    '''As another library's array, whose work is in stream 5.'''

    def __init__(self, values):
        self.array = gpu.view(gpu.empty(values.nbytes), 0, values.shape, values.dtype.name)
        gpu.upload(self.array, values)
        self.__cuda_array_interface__ = {**self.array.__cuda_array_interface__, "stream": 5}
        self.shape = values.shape

floats = (x / 255).astype("float32")
for data, shuffle in ((x, False), (floats, False), (floats, True)):
    host = made().to("cuda:7")
    a = host.fit(data, t, batch_size=4, shuffle=shuffle, verbose=0)
    there = made().to("cuda:7")
    images, labels = Foreign(data), Foreign(t.astype("int32"))
    gpu.driver.log.clear()
    b = there.fit(images, labels, batch_size=4, shuffle=shuffle, verbose=0)
    assert not [e for e in gpu.driver.calls("upload") if e[2] == "copies"]
    assert a.history["loss"] == b.history["loss"]
    assert apart(host, there) == 0
    p = there.predict(data, batch_size=4, verbose=0)
    gpu.driver.log.clear()
    q = there.predict(images, batch_size=4, verbose=0, on_device=True)
    assert not gpu.driver.calls("download")
    assert q.__cuda_array_interface__["shape"] == p.shape
    assert np.array_equal(gpu.download(q), p)
    pieces = there.predict(images, batch_size=4, steps=2, verbose=0, on_device=True)
    assert np.array_equal(gpu.download(pieces), p[:8])
    one = there.predict_on_batch(images, on_device=True)
    assert np.allclose(gpu.download(one), p, atol=1e-6)
"""
    )
