"""What only a real GPU can tell: `python -m pytest -m gpu`, on a machine that has one.

Every row of the case table at its real size, LeNet-5 and ResNet-20 to the CPU's accuracy, training
that moves between devices. With NUMBA_ENABLE_CUDASIM=1 a part of it runs in the simulator, so that
the tests themselves are tried where no GPU is.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import nbcnn
from nbcnn import layers
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

TESTS = Path(__file__).parent
# The table in so many parts, each in a process, and how many of them run.
SHARES, RUNNING = (60, 1) if SIMULATED else (min(8, os.cpu_count() or 1),) * 2


def test_every_case_on_the_gpu():
    paths = (str(TESTS.parent), str(TESTS), os.environ.get("PYTHONPATH", ""))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "cuda_cases.run", str(share), str(SHARES)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for share in range(RUNNING)
    ]
    ended = [process.communicate(timeout=600) for process in processes]
    assert not any(p.returncode for p in processes), "".join(stderr for _, stderr in ended)
    results = {}
    for stdout, _ in ended:
        results |= json.loads(stdout)["results"]
    assert len(results) > 0
    wrong = {name: text for name, text in results.items() if text}
    listed = "\n".join(f"{name}: {text[-600:]}" for name, text in wrong.items())
    assert not wrong, f"{len(wrong)} of {len(results)} cases: {sorted(wrong)}\n{listed}"


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
