"""The same seed gives the same bits: at any number of threads, and in a process of its own."""

import hashlib

import numpy as np
import pytest

import nbcnn
from nbcnn import config, layers

SEED = 3


def weights_after_an_epoch(optimizer="sgd", algorithm="auto") -> str:
    """Digest of all weights and of the losses. 260 images in batches of 64: the last is short."""
    nbcnn.utils.set_random_seed(SEED)
    model = nbcnn.Sequential(
        [
            nbcnn.Input((28, 28, 1)),
            layers.Conv2D(8, 5, padding="same", use_bias=False, conv_algorithm=algorithm),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.MaxPooling2D(2),
            layers.Dropout(0.25),
            layers.Conv2D(16, 3, strides=2, activation="relu", conv_algorithm=algorithm),
            layers.AveragePooling2D(2),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(20, activation="tanh"),
            layers.Dense(10, activation="softmax"),
        ]
    )
    chosen = {
        "sgd": nbcnn.optimizers.SGD(0.05, momentum=0.9, nesterov=True, global_clipnorm=1.0),
        "adam": nbcnn.optimizers.Adam(0.01, clipnorm=0.5),
    }[optimizer]
    model.compile(chosen, "sparse_categorical_crossentropy", metrics=["accuracy"])
    (x, y), _ = nbcnn.datasets.digits.load_data()
    history = model.fit(x[:260], y[:260], batch_size=64, epochs=1, verbose=0).history
    digest = hashlib.sha256(np.float64(list(history.values())).tobytes())
    for array in model.get_weights():
        digest.update(array.tobytes())
    return digest.hexdigest()


@pytest.fixture
def threads():
    before = config.get_num_threads()
    yield config.set_num_threads
    config.set_num_threads(before)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_same_bits_at_any_number_of_threads(threads, optimizer):
    digests = set()
    for count in (1, 2, 3):
        threads(count)
        digests.add(weights_after_an_epoch(optimizer))
    assert len(digests) == 1


@pytest.mark.parametrize("algorithm", ["direct", "im2col"])
def test_same_bits_for_each_algorithm(threads, algorithm):
    digests = set()
    for count in (1, 2):
        threads(count)
        digests.add(weights_after_an_epoch(algorithm=algorithm))
    assert len(digests) == 1


def test_another_seed_gives_other_bits(monkeypatch):
    before = weights_after_an_epoch()
    monkeypatch.setattr(f"{__name__}.SEED", SEED + 1)
    assert weights_after_an_epoch() != before


def test_same_bits_in_another_process(python, root):
    script = (
        f"import sys; sys.path.insert(0, {str(root / 'tests')!r})\n"
        "from test_determinism import weights_after_an_epoch as run; print(run())"
    )
    found = {python("-c", script, NBCNN_NUM_THREADS=count).strip() for count in ("1", "2")}
    assert found == {weights_after_an_epoch()}
