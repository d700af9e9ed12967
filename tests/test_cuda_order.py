"""What keeps a GPU's work in order, on a stand-in for the driver that does all as late as it may:
threads that share the GPU, interrupted steps, arrays of other libraries, memory that is given back.
"""

import gc
import os
import threading

import numpy as np
import pytest
from cuda_double import Double, Pointer, device

import nbcnn
from nbcnn import config, layers
from nbcnn.kernels.cuda import jit
from nbcnn.kernels.cuda.call import Launch
from nbcnn.ops.broadcast import FlatSpec
from nbcnn.runtime import device as devices
from nbcnn.runtime.cuda_driver import CudaError
from nbcnn.runtime.cuda_memory import DeviceArray, borrowed
from nbcnn.runtime.device import DeviceError


@jit.kernel
def add_kernel(x):
    x[0] += 1


def add(launched, driver):
    """Does the launches of `add_kernel`, and what reads rows: their targets get their sources."""
    pointers = [a for a in launched.arguments if isinstance(a, Pointer)]
    if launched.kernel is add_kernel:
        pointers[0].array(driver)[0] += 1
    elif isinstance(launched.arguments[0], FlatSpec):
        x, y = (p.array(driver) for p in pointers)
        y[: launched.arguments[0].n] = x[: launched.arguments[0].n]


@pytest.fixture
def gpu():
    return device(Double(add))


@pytest.fixture
def in_use(monkeypatch):
    """A GPU that does no launches, as 'cuda:0' of this process."""
    gpu = device(Double())
    monkeypatch.setitem(devices._opened, ("cuda", 0), gpu)
    before = config.settings()
    yield gpu
    config._set(**vars(before))


def array(gpu, values):
    values = np.asarray(values)
    found = gpu.view(gpu.empty(values.nbytes), 0, values.shape, values.dtype.name)
    gpu.upload(found, values)
    return found


def counting(gpu):
    """A program that adds 2, and what it adds to."""
    x = array(gpu, np.zeros(1, "float32"))
    return gpu.program([Launch(add_kernel, 1, 32, (x,))] * 2), x


# -- graphs -------------------------------------------------------------------------------------


def capturing(gpu, action):
    """Do something once, in the middle of the next capture."""
    done = []

    def hook(call):
        if call == "launch" and gpu.stream.captured is not None and not done:
            done.append(call)
            action()

    gpu.driver.fail = hook
    return done


def test_other_threads_wait_for_a_capture(gpu):
    program, x = counting(gpu)
    program.run()
    other = array(gpu, np.zeros(1, "float32"))
    thread = threading.Thread(target=lambda: gpu.upload(other, np.array([7])))

    def begin():
        thread.start()
        thread.join(0.2)  # it has the time to get between the two launches

    done = capturing(gpu, begin)
    program.run()
    thread.join(30)
    assert done
    assert gpu.driver.calls("replay") == [("replay", 2)]
    program.run()
    assert gpu.download(x) == [6]
    assert gpu.download(other) == [7]


def test_an_interrupted_capture_leaves_the_gpu_as_it_was(gpu):
    program, x = counting(gpu)
    program.run()

    def interrupt():
        raise KeyboardInterrupt

    done = capturing(gpu, interrupt)
    with pytest.raises(KeyboardInterrupt):
        program.run()
    assert done
    assert gpu.download(x) == [2]
    for _ in range(3):
        program.run()
    assert gpu.download(x) == [8]
    assert gpu.graphs


def test_all_calls_are_made_in_the_context_of_their_gpu():
    first, second = device(Double()), device(Double(number=1))
    target = first.view(first.empty(16), 0, (4,), "float32")
    feed = first.feed(None, target, False)
    second.synchronize()
    feed.warm()
    second.synchronize()
    feed.load(np.zeros(4, "uint8"), None, 0)
    assert len(first.driver.calls("function")) == 1


def test_what_warming_needs_has_an_error_for_users(gpu):
    feed = gpu.feed(None, array(gpu, np.zeros(4, "float32")), False)

    def refuse(call):
        if call == "function":
            raise CudaError("cuModuleLoadData", "CUDA_ERROR_OUT_OF_MEMORY")

    gpu.driver.fail = refuse
    with pytest.raises(DeviceError, match="cuda:0 is out of memory"):
        feed.warm()


# -- memory -------------------------------------------------------------------------------------


def test_memory_is_given_back_when_nothing_uses_it(gpu):
    x, y = array(gpu, np.arange(100)), array(gpu, np.zeros(100, "int64"))
    gpu.copy(y, x)
    del x
    gc.collect()
    more = gpu.empty(64)
    assert len(gpu.driver.calls("free")) == 1
    assert gpu.download(y).tolist() == list(range(100))
    del more


def test_a_model_leaves_nothing_behind(in_use):
    def train():
        model = nbcnn.Sequential([nbcnn.Input((4,)), layers.Dense(3)])
        model.compile("adam", "mse")
        x, y = np.ones((8, 4), "uint8"), np.ones((8, 3), "float32")
        model.to("cuda").fit(x, y, batch_size=4, verbose=0)
        model.predict(x, verbose=0)

    def left():
        gc.collect()
        in_use.synchronize()
        driver = in_use.driver
        return len(driver.blocks), len(driver.pinned), len(driver.events)

    before = left()
    train()
    assert left() == before


# -- arrays of other libraries ------------------------------------------------------------------


class Foreign:
    """An array of another library's, which works on it in a stream; `version` 2 tells none."""

    def __init__(self, held, stream=5, version=3, **more):
        self.held, self.shape = held, held.shape
        told = {**held.__cuda_array_interface__, "stream": stream, "version": version, **more}
        if version < 3:
            del told["stream"]
        self.__cuda_array_interface__ = told


def memory(gpu, held):
    """The numbers of an array, as they are now."""
    return Pointer(held.address, held.dtype.name).array(gpu.driver)[: held.size]


@pytest.mark.parametrize("version, stream", [(3, 5), (3, 1), (2, 1)])
@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_pending_work_of_another_library_is_waited_for(gpu, version, stream, dtype):
    """PyTorch tells no stream; it works in the default one, which no other waits for by itself."""
    held = array(gpu, np.zeros(4, dtype))
    target = array(gpu, np.zeros(4, "float32"))
    gpu.synchronize()

    def write():
        memory(gpu, held)[:] = [1, 2, 3, 4]

    gpu.driver.foreign_stream(stream).put(write)
    feed = gpu.feed(None, target, False)
    feed.load(gpu.borrow(Foreign(held, stream, version)), None, 0)
    assert gpu.download(target).tolist() == [1, 2, 3, 4]


def test_an_array_without_pending_work_is_not_waited_for(gpu):
    held = array(gpu, np.arange(4.0))
    gpu.driver.log.clear()
    gpu.borrow(Foreign(held, None))
    assert not gpu.driver.calls("record", "wait")


@pytest.mark.parametrize("version, stream", [(3, 5), (2, 1)])
@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_memory_of_another_library_is_read_before_it_is_used_again(gpu, version, stream, dtype):
    """The library makes its next batch in the same memory, as soon as it may."""
    held = array(gpu, np.array([1, 2, 3, 4], dtype))
    target, seen = (array(gpu, np.zeros(4, "float32")) for _ in range(2))
    gpu.synchronize()
    feed = gpu.feed(None, target, False)
    feed.load(gpu.borrow(Foreign(held, stream, version)), None, 0)
    gpu.copy(seen, target)

    def write():
        memory(gpu, held)[:] = 9

    theirs = gpu.driver.foreign_stream(stream)
    theirs.put(write)
    theirs.drain()
    assert gpu.download(seen).tolist() == [1, 2, 3, 4]


def test_an_array_that_was_refused_can_be_given_again(gpu):
    held = array(gpu, np.arange(4, dtype="float32"))
    source = Foreign(held)
    feed = gpu.feed(None, array(gpu, np.zeros(4, "float32")), False)

    def fail(call):
        if call == "device_of":
            raise CudaError("cuPointerGetAttribute", "CUDA_ERROR_INVALID_VALUE")

    for _ in range(2):
        gpu.driver.fail = fail
        with pytest.raises(ValueError, match="an array is in no GPU's memory"):
            feed.load(source, None, 0)
    gpu.driver.fail = lambda call: None
    feed.load(source, None, 0)


@pytest.mark.parametrize("ours", [True, False])
def test_an_array_on_another_gpu_is_refused(gpu, ours):
    held = array(gpu, np.zeros(4, "float32"))
    gpu.driver.elsewhere[held.address] = 2
    with pytest.raises(ValueError, match="in the memory of cuda:2, and the model runs on cuda:0"):
        gpu.borrow(held if ours else Foreign(held))


@pytest.mark.parametrize("more", [{"typestr": ">f4"}, {"mask": object()}])
def test_what_would_be_read_wrong_is_refused(gpu, more):
    held = DeviceArray(256, (4,), "float32")
    with pytest.raises(ValueError, match="no masked arrays, and none of another byte order"):
        borrowed(Foreign(held, **more))


# -- what cannot work ---------------------------------------------------------------------------


def test_gpus_before_turing_are_refused():
    driver = Double(properties=Double()._properties._replace(capability=(7, 0)))
    with pytest.raises(DeviceError, match=r"cuda:0 has compute capability 7\.0; kernels are made"):
        device(driver)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system copies no processes")
def test_a_forked_process_is_told(gpu):
    """Also where another thread had the GPU's turn, which it never ends in the copy."""
    taken, done = threading.Event(), threading.Event()

    def hold():
        with gpu.guard():
            taken.set()
            done.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    taken.wait(30)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            gpu.synchronize()
        except DeviceError as error:
            os.write(writer, str(error).encode())
        finally:
            os._exit(0)
    done.set()
    thread.join()
    os.close(writer)
    with os.fdopen(reader) as pipe:
        assert "cuda:0: CUDA does not work in a process that was forked" in pipe.read()
    os.waitpid(child, 0)


def test_a_failed_conversion_is_not_blamed_on_a_kernel(gpu):
    config._set(cuda_sync=True)
    try:
        program, _ = counting(gpu)
        feed = gpu.feed(program, array(gpu, np.zeros(4, "float32")), False)
        feed.load(np.zeros(4, "uint8"), None, 0)

        def fail(call):
            if call == "synchronize":
                raise CudaError("cuStreamSynchronize", "CUDA_ERROR_ILLEGAL_ADDRESS")

        gpu.driver.fail = fail
        with pytest.raises(DeviceError, match="while batches were copied and converted"):
            program.run()
    finally:
        config._set(cuda_sync=False)
