"""What a user is told when a GPU has too little memory, fails, or is not where an array is."""

import numpy as np
import pytest
from cuda_double import Double, device

import nbcnn
from nbcnn import callbacks, config, layers
from nbcnn.runtime import device as devices
from nbcnn.runtime.cuda_driver import CudaError
from nbcnn.runtime.device import DeviceError

X = np.ones((8, 6, 6, 1), "float32")
Y = np.zeros(8, "int32")


@pytest.fixture
def opened(monkeypatch):
    """Make a double of the driver this process's 'cuda:0'."""

    def make(**options):
        gpu = device(Double(**options))
        monkeypatch.setitem(devices._opened, ("cuda", 0), gpu)
        return gpu

    before = config.settings()
    yield make
    config._set(**vars(before))


def made(shape=(6, 6, 1), filters=4):
    model = nbcnn.Sequential(
        [
            nbcnn.Input(shape),
            layers.Conv2D(filters, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(3, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    return model.to("cuda")


def failing(gpu, name, after):
    """From launch number `after` on, the GPU has failed, as the next wait tells."""
    state = {"launches": 0, "failed": False}

    def fail(call):
        state["launches"] += call in ("launch", "replay")
        state["failed"] |= state["launches"] >= after
        if state["failed"] and call in ("synchronize", "upload", "enter", "finish"):
            raise CudaError("cuStreamSynchronize", name, "some text")

    gpu.driver.fail = fail


# -- memory -------------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [True, False])
def test_a_step_that_does_not_fit_is_refused_before_it_runs(opened, training):
    gpu = opened(free=6_000_000)
    model = made((32, 32, 3), 16)
    x = np.zeros((512, 32, 32, 3), "float32")

    def run(size):
        if training:
            model.fit(x[:size], np.zeros(size, "int32"), batch_size=size, verbose=0)
        else:
            model.predict(x[:size], batch_size=size, verbose=0)

    with pytest.raises(DeviceError) as error:
        run(512)
    text = str(error.value)
    assert "cuda:0 has" in text
    assert "(512, 30, 30, 16) float32, 29,491,200 bytes" in text
    assert "batch_size=512 is too large, batch_size=" in text
    assert not gpu.driver.calls("launch", "replay")
    fits = int(text.rpartition("=")[2].split()[0])
    assert fits > 8
    run(fits)
    with pytest.raises(DeviceError, match="too large"):
        run(fits + fits // 8)


def test_not_even_one_sample(opened):
    opened(free=4_000_000)
    model = nbcnn.Sequential([nbcnn.Input((256, 256, 3)), layers.Conv2D(64, 3)])
    with pytest.raises(DeviceError, match="does not fit with batch_size=1 either"):
        model.to("cuda").predict(np.zeros((9, 256, 256, 3), "float32"), verbose=0)


def test_weights_that_do_not_fit(opened):
    opened(free=100_000)
    with pytest.raises(DeviceError, match=r"cuda:0 is out of memory: .* bytes were asked for"):
        made((64, 64, 3), 64)


# -- failures -----------------------------------------------------------------------------------


def test_a_failure_names_the_kernels_that_ran(opened):
    gpu = opened()
    model = made()
    model.train_on_batch(X, Y)
    failing(gpu, "CUDA_ERROR_ILLEGAL_ADDRESS", 1)
    with pytest.raises(DeviceError) as error:
        model.fit(X, Y, batch_size=8, epochs=2, verbose=0)
    text = str(error.value)
    assert "cuda:0 has failed: cuStreamSynchronize: CUDA_ERROR_ILLEGAL_ADDRESS (some text)" in text
    assert "conv_plain.conv2d_dw_kernel" in text or "conv" in text
    assert "with NBCNN_CUDA_SYNC=1 in the environment" in text
    with pytest.raises(DeviceError) as again:
        model.predict(X, verbose=0)
    assert str(again.value) == text


def test_waiting_after_each_launch_names_the_one(opened):
    gpu = opened()
    model = made()
    model.train_on_batch(X, Y)
    config._set(cuda_sync=True)
    names = [row.name for row in model.plan(8)._programs[2].rows]
    failing(gpu, "CUDA_ERROR_MISALIGNED_ADDRESS", 4)
    with pytest.raises(DeviceError) as error:
        model.train_on_batch(X, Y)
    assert f"in kernel {names[3]}" in str(error.value)
    assert "NBCNN_CUDA_SYNC" not in str(error.value)
    assert not gpu.driver.calls("begin_capture")


def test_a_gpu_lost_in_training_leaves_whole_files(opened, tmp_path):
    gpu = opened()
    model = made()
    file = tmp_path / "model.nbcnn"
    keep = callbacks.ModelCheckpoint(str(file))
    model.fit(X, Y, batch_size=4, epochs=1, verbose=0, callbacks=[keep])
    before = file.read_bytes()
    done = model.optimizer.iterations
    failing(gpu, "CUDA_ERROR_DEVICE_UNAVAILABLE", 2)
    with pytest.raises(DeviceError, match="a new process can use it again"):
        model.fit(X, Y, batch_size=4, epochs=5, verbose=0, callbacks=[keep])
    assert model.optimizer.iterations <= done + 2
    assert file.read_bytes() == before
    with pytest.raises(DeviceError, match="DEVICE_UNAVAILABLE"):
        model.save(file)
    with pytest.raises(DeviceError, match="DEVICE_UNAVAILABLE"):
        model.to("cpu")
    assert [path.name for path in tmp_path.iterdir()] == ["model.nbcnn"]
    with nbcnn.device("cpu"):
        assert nbcnn.saving.load_model(file).predict(X, verbose=0).shape == (8, 3)


def test_a_refused_launch_is_no_lost_gpu(opened):
    gpu = opened()
    model = made()

    def fail(call):
        if call == "launch":
            raise CudaError("cuLaunchKernel", "CUDA_ERROR_INVALID_VALUE", "a bad grid")

    gpu.driver.fail = fail
    with pytest.raises(DeviceError, match="cuda:0: cuLaunchKernel: CUDA_ERROR_INVALID_VALUE"):
        model.train_on_batch(X, Y)
    gpu.driver.fail = lambda call: None
    model.train_on_batch(X, Y)


# -- arrays of other libraries ------------------------------------------------------------------


class Foreign:
    """An array of another library's in a GPU's memory."""

    def __init__(self, shape, typestr="<f4", strides=None):
        self.shape = shape
        self.__cuda_array_interface__ = {
            "shape": shape,
            "typestr": typestr,
            "data": (4096, True),
            "strides": strides,
            "version": 3,
        }


def test_arrays_on_a_gpu_need_a_model_there(opened):
    opened()
    model = made()
    with pytest.raises(TypeError, match="predict: x is in a GPU's memory and the model runs on c"):
        model.to("cpu").predict(Foreign((8, 6, 6, 1)), verbose=0)


def test_arrays_on_a_gpu_are_checked(opened):
    opened()
    model = made()
    with pytest.raises(ValueError, match="must be C-contiguous, got strides"):
        model.predict(Foreign((8, 6, 6, 1), strides=(4, 4, 4, 4)), verbose=0)
    with pytest.raises(ValueError, match=r"expected input of shape .*, got \(8, 5, 6, 1\)"):
        model.predict(Foreign((8, 5, 6, 1)), verbose=0)
    with pytest.raises(TypeError, match="must be an array of numbers"):
        model.predict(Foreign((8, 6, 6, 1), "<c8"), verbose=0)
