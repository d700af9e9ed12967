"""Test accuracy with and without Winograd convolution, over several seeds.

    python bench/winograd_accuracy.py [--only resnet20] [--seeds 5] [--json FILE]

LeNet-5 and two networks of `model_set.py` learn the digits that come with nbcnn, once with
`set_winograd("auto")` and once with "off": equal initial weights, equal shuffles, so the rounding
of the convolutions is all that differs. ResNet-20 takes the digits in a frame of zeros, repeated
for its three channels; its rate decays to zero, without which the last few steps decide.
"""

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import NamedTuple

import machine
import model_set
import numpy as np

import nbcnn as keras


class Recipe(NamedTuple):
    """How a network is trained: by Adam; `decays`: along a cosine."""

    build: object
    shape: tuple[int, int, int]
    rate: float
    epochs: int
    batch: int = 64
    decays: bool = False


RECIPES = {
    "lenet5": Recipe(model_set.lenet5, (28, 28, 1), 0.003, 60),
    "convnet": Recipe(model_set.convnet, (28, 28, 1), 0.001, 30),
    "resnet20": Recipe(model_set.resnet20, (32, 32, 3), 0.002, 16, batch=32, decays=True),
}
MODES = ("auto", "off")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default=",".join(RECIPES), help="names, comma between")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    names = args.only.split(",")
    unknown = [name for name in names if name not in RECIPES]
    if unknown:
        parser.error(f"--only: no network {unknown[0]!r}; there are {', '.join(RECIPES)}")
    result = {"machine": machine.describe(), "networks": {}}
    for name in names:
        recipe = RECIPES[name]
        result["networks"][name] = {
            "learning_rate": recipe.rate,
            "epochs": recipe.epochs,
            "batch_size": recipe.batch,
            "decays": recipe.decays,
            "winograd": {mode: accuracies(name, recipe, mode, args.seeds) for mode in MODES},
        }
    if args.json:
        Path(args.json).write_text(json.dumps(result, indent=1) + "\n")


def accuracies(name, recipe, mode, seeds):
    """Test accuracy by seed, and its median."""
    keras.config.set_winograd(mode)
    by_seed = {}
    for seed in range(seeds):
        begin = time.perf_counter()
        by_seed[seed] = round(accuracy(recipe, seed), 4)
        seconds = time.perf_counter() - begin
        run = f"{name} winograd {mode} seed {seed}"
        print(f"{run}: {by_seed[seed]:.4f}  {seconds:.1f} s", flush=True)
    median = statistics.median(by_seed.values())
    print(f"{name} winograd {mode}: median {median:.4f}", flush=True)
    return {"test_accuracy_by_seed": by_seed, "median": median}


def accuracy(recipe, seed):
    """Of one training."""
    (x_train, y_train), (x_test, y_test) = keras.datasets.digits.load_data()
    keras.utils.set_random_seed(seed)
    model = recipe.build(keras)
    steps = recipe.epochs * -(-len(x_train) // recipe.batch)
    decay = keras.optimizers.schedules.CosineDecay(recipe.rate, steps)
    model.compile(
        optimizer=keras.optimizers.Adam(decay if recipe.decays else recipe.rate),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    x = framed(x_train, recipe.shape)
    model.fit(x, y_train, batch_size=recipe.batch, epochs=recipe.epochs, verbose=0)
    return model.evaluate(framed(x_test, recipe.shape), y_test, verbose=0)[1]


def framed(x, shape):
    """Images with zeros around them and as many equal channels as `shape` asks for."""
    rows, columns = ((wanted - found) // 2 for wanted, found in zip(shape[:2], x.shape[1:3]))
    padded = np.pad(x, ((0, 0), (rows, rows), (columns, columns), (0, 0)))
    return np.repeat(padded, shape[2] // x.shape[3], axis=3)


if __name__ == "__main__":
    main()
