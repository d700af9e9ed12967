"""A model's first training step on a GPU, which may be simulated, beside the same on the CPU.

NUMBA_ENABLE_CUDASIM=1 python tests/zoo_step.py lenet5
"""

import sys

import numpy as np
from cases.zoo import CASES

import nbcnn as keras


def step(case, device):
    """Loss and new weights after one step with the same two pictures."""
    keras.utils.set_random_seed(1)
    with keras.device(device):
        model = case.build("simulated")
        if case.task is None:
            x = np.random.default_rng(2).normal(size=(2, *model.input_shape[1:])).astype("float32")
            y, loss = np.array([1, 0]), "sparse_categorical_crossentropy"
        else:
            x, y, loss = case.task(model)
            x, y = x[:2], None if y is None else y[:2]
        model.compile(keras.optimizers.SGD(0.01), loss)
        logs = model.train_on_batch(x, y, return_dict=True)
    return logs[case.watched], model.get_weights()


def main():
    case = CASES[sys.argv[1]]
    (loss, weights), (wanted, right) = (step(case, device) for device in ("cuda", "cpu"))
    np.testing.assert_allclose(loss, wanted, rtol=1e-3)
    for found, expected in zip(weights, right, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    print(f"loss: {loss:.5f}")


if __name__ == "__main__":
    main()
