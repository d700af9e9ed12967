"""What only a real GPU can tell: `python -m pytest -m gpu`, on a machine that has one.

Every row of the case table at its real size, LeNet-5 and ResNet-20 to the CPU's accuracy, training
that moves between devices. With NUMBA_ENABLE_CUDASIM=1 a part of it runs in the simulator, so that
the tests themselves are tried where no GPU is.
"""

import json
import os
import threading

import numpy as np
import pytest
from processes import faults, outputs

import nbcnn
from nbcnn import config, layers
from nbcnn.runtime import cuda

SIMULATED = os.environ.get("NUMBA_ENABLE_CUDASIM") == "1"
MISSING = None if SIMULATED else cuda.missing()
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(MISSING is not None, reason=f"needs a GPU: {MISSING}"),
]
real_gpu = pytest.mark.skipif(
    SIMULATED, reason="takes hours in the simulator, where test_cuda_training compares steps"
)

# The table in so many parts, each in a process, and how many of them run.
SHARES, RUNNING = (60, 1) if SIMULATED else (min(8, os.cpu_count() or 1),) * 2


def test_every_case_on_the_gpu():
    running = {"shares": SHARES, "running": RUNNING, "simulated": SIMULATED, "timeout": 600}
    results = {}
    for text in outputs("-m", "cuda_cases.run", **running):
        results |= json.loads(text)["results"]
    assert len(results) > 0
    wrong = sorted(name for name, text in results.items() if text)
    assert not wrong, f"{len(wrong)} of {len(results)} cases: {wrong}\n{faults(results)}"


@real_gpu
@pytest.mark.parametrize("name, epochs, reached", [("lenet5", 40, 0.96), ("resnet20", 16, 0.97)])
def test_a_network_learns_as_on_the_cpu(name, epochs, reached, root, monkeypatch):
    monkeypatch.syspath_prepend(root / "bench")
    from winograd_accuracy import RECIPES, accuracy

    found = {}
    for device in ("cpu", "cuda"):
        with nbcnn.device(device):
            found[device] = accuracy(RECIPES[name]._replace(epochs=epochs), seed=0)
    assert min(found.values()) > reached, found
    assert abs(found["cpu"] - found["cuda"]) < 0.015, found


def small_model():
    nbcnn.utils.set_random_seed(4)
    model = nbcnn.Sequential(
        [
            nbcnn.Input((8, 8, 2)),
            layers.Conv2D(4, 3, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.MaxPooling2D(2),
            layers.Dropout(0.25),
            layers.Flatten(),
            layers.Dense(3, activation="softmax"),
        ]
    )
    optimizer = nbcnn.optimizers.SGD(0.05, momentum=0.9)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def trained_on(devices, folder):
    """A model that takes steps on each device in turn and goes to the next through a file."""
    rng = np.random.default_rng(6)
    images, labels = rng.random((4, 8, 8, 2), dtype="float32"), np.array([0, 1, 2, 1], "int32")
    model, losses = small_model(), []
    for number, name in enumerate(devices):
        file = str(folder / f"{number}.nbcnn")
        with nbcnn.device(name):
            losses += [float(model.train_on_batch(images, labels)[0]) for _ in range(2)]
            model.save(file)
        model = nbcnn.models.load_model(file)
    return model, losses


@pytest.mark.parametrize("devices", [("cuda", "cpu"), ("cpu", "cuda")])
def test_a_checkpoint_goes_on_where_it_left_off_on_another_device(devices, tmp_path):
    (tmp_path / "moved").mkdir()
    moved, losses = trained_on(devices, tmp_path / "moved")
    stayed, expected = trained_on(("cpu", "cpu"), tmp_path)
    np.testing.assert_allclose(losses, expected, rtol=1e-4)
    assert losses[-1] != losses[0]
    for a, b in zip(moved.get_weights(), stayed.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


def test_a_model_moves_between_steps():
    rng = np.random.default_rng(7)
    images, labels = rng.random((4, 8, 8, 2), dtype="float32"), np.array([0, 1, 2, 1], "int32")
    models = []
    for names in (("cpu", "cuda", "cpu"), ("cpu",) * 3):
        model = small_model()
        for name in names:
            model.to(name).train_on_batch(images, labels)
        models.append(model)
    for a, b in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


def batches():
    rng = np.random.default_rng(8)
    return rng.random((22, 8, 8, 2), dtype="float32"), rng.integers(0, 3, 22).astype("int32")


def trained(x, y, model=None):
    """Weights after three epochs; the last batches are smaller than the others."""
    model = model or small_model().to("cuda")
    model.fit(x, y, batch_size=4, epochs=3, shuffle=False, verbose=0)
    return model.get_weights()


def assert_same(a, b):
    for one, other in zip(a, b, strict=True):
        assert one.tobytes() == other.tobytes()


@real_gpu
def test_a_graph_does_what_single_launches_do():
    images, labels = batches()
    before = config.settings()
    graphs = trained(images, labels)
    try:
        config._set(cuda_sync=True)
        assert_same(trained(images, labels), graphs)
    finally:
        config._set(**vars(before))


@real_gpu
def test_arrays_on_the_gpu_are_read_there():
    from numba import cuda as numba_cuda

    images, labels = batches()
    there = numba_cuda.to_device(images)
    assert_same(trained(there, labels), trained(images, labels))
    model = small_model().to("cuda")
    found = numba_cuda.as_cuda_array(model.predict(there, on_device=True)).copy_to_host()
    assert_same([found], [model.predict(images, verbose=0)])


@real_gpu
def test_memory_of_batches_can_be_used_again_at_once():
    """A generator fills one array on the GPU again and again, in the default stream."""
    from numba import cuda as numba_cuda

    images, labels = batches()
    there = numba_cuda.to_device(images[:4])

    class InDefaultStream:
        """As PyTorch's arrays: none that tells a stream."""

        shape = there.shape
        __cuda_array_interface__ = {
            key: value
            for key, value in {**there.__cuda_array_interface__, "version": 2}.items()
            if key != "stream"
        }

    def filled():
        for start in range(0, 20, 4):
            there.copy_to_device(images[start : start + 4])
            yield InDefaultStream(), labels[start : start + 4]

    model = small_model().to("cuda")
    model.fit(filled(), verbose=0)
    other = small_model().to("cuda")
    other.fit(images[:20], labels[:20], batch_size=4, shuffle=False, verbose=0)
    assert_same(model.get_weights(), other.get_weights())


def started(x):
    """A model that has drawn its seed, which models of several threads do in any order."""
    model = small_model().to("cuda")
    model.predict(x[:4], verbose=0)
    return model


@real_gpu
def test_threads_take_turns():
    images, labels = batches()
    alone = trained(images, labels, started(images))
    models, found = [started(images) for _ in range(3)], {}

    def work(number):
        found[number] = trained(images, labels, models[number])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(3):
        assert_same(found[number], alone)
