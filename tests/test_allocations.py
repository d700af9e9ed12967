"""Training in its steady state allocates nothing: NumPy's arrays and Python's objects are counted
together, by the most that was ever allocated within a step.
"""

import tracemalloc

import numpy as np
import pytest

import nbcnn
from nbcnn import config, layers
from nbcnn.kernels.cpu import program

# Python's own small objects: a batch's description, the numbers that a callback gets. The smallest
# array that depends on the batch, the inputs of one step, is twenty times as large.
BYTES = 2048
SAMPLES, SHAPE, CLASSES = 420, (12, 12, 3), 10


class Watch(nbcnn.callbacks.Callback):
    """`peaks`: bytes beyond those before, at most, between the starts of consecutive steps."""

    def __init__(self, extra=None):
        super().__init__()
        self.peaks, self.before, self.extra = [], None, extra

    def on_epoch_begin(self, epoch, logs=None):
        self.before = None

    def on_train_batch_begin(self, batch, logs=None):
        _, peak = tracemalloc.get_traced_memory()
        if self.before is not None:
            self.peaks.append(peak - self.before)
        tracemalloc.reset_peak()
        self.before, _ = tracemalloc.get_traced_memory()
        if self.extra is not None:
            self.extra()


@pytest.fixture
def traced():
    program.compiled_follow()  # helping threads would load it while we count
    tracemalloc.start()
    yield
    tracemalloc.stop()


@pytest.fixture(params=[1, 2])
def threads(request):
    before = config.get_num_threads()
    config.set_num_threads(request.param)
    yield
    config.set_num_threads(before)


def model(optimizer):
    net = nbcnn.Sequential(
        [
            nbcnn.Input(SHAPE),
            layers.Conv2D(8, 3, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.MaxPooling2D(2),
            layers.Dropout(0.25),
            layers.Conv2D(16, 3, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(CLASSES, activation="softmax"),
        ]
    )
    net.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return net


def samples(dtype="float32"):
    rng = np.random.default_rng(0)
    x = (rng.random((SAMPLES, *SHAPE)) * 255).astype(dtype)
    return x, rng.integers(0, CLASSES, SAMPLES)


OPTIMIZERS = {
    "sgd": lambda: nbcnn.optimizers.SGD(0.1, momentum=0.9, clipnorm=1.0),
    "adam": lambda: nbcnn.optimizers.Adam(global_clipnorm=1.0, weight_decay=0.01),
}


def peaks_of_fit(net, x, y, shuffle=True, extra=None):
    """Of the steps of three epochs, after one that prepares what they need."""
    watch = Watch(extra)
    net.fit(x, y, batch_size=32, epochs=4, verbose=0, shuffle=shuffle, callbacks=[watch])
    return watch.peaks[SAMPLES // 32 :]


@pytest.mark.usefixtures("threads", "traced")
@pytest.mark.parametrize("shuffle", [True, False, "batch"])
@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_steps_of_fit(dtype, shuffle):
    peaks = peaks_of_fit(model(OPTIMIZERS["sgd"]()), *samples(dtype), shuffle)
    assert len(peaks) == 3 * (SAMPLES // 32)
    assert max(peaks) < BYTES


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_step_itself(name):
    x, y = samples()
    net = model(OPTIMIZERS[name]())
    net.fit(x, y, batch_size=32, epochs=1, verbose=0)
    runner = net._runners._latest["train"]
    peaks = []
    for _ in range(20):
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        runner.run()
        peaks.append(tracemalloc.get_traced_memory()[1] - before)
    assert max(peaks) < 1024


@pytest.mark.usefixtures("traced")
def test_an_array_would_be_noticed():
    extra = iter([0] * 30 + [BYTES] + [0] * 30)
    net = model(OPTIMIZERS["sgd"]())
    peaks = peaks_of_fit(net, *samples(), extra=lambda: np.empty(next(extra), "uint8"))
    assert sum(peak >= BYTES for peak in peaks) == 1
