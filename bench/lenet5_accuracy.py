"""Test accuracy of `models/lenet5.py` over several seeds, here or under real Keras.

    python bench/lenet5_accuracy.py [nbcnn|keras] [--seeds 5] [--epochs 60] [--json FILE]

Both run the same file, the same recipe and the same data. For real Keras choose the backend with
KERAS_BACKEND; of nbcnn it then needs only the data, hence only NumPy.
"""

import argparse
import importlib
import json
import statistics
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "models")]

import machine  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("which", nargs="?", choices=("nbcnn", "keras"), default="nbcnn")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()

    import lenet5

    from nbcnn.datasets import digits

    lenet5.keras = importlib.import_module(args.which)
    result = {"engine": engine(lenet5.keras, args.which), "recipe": recipe(args.epochs)}
    data = digits.load_data()
    result["networks"] = {
        name: accuracies(lenet5, data, args, name) for name in lenet5.LEARNING_RATE
    }
    result["machine"] = machine.describe("keras", "jax", "tensorflow-cpu", "torch")
    if args.json:
        Path(args.json).write_text(json.dumps(result, indent=1) + "\n")


def engine(keras, which):
    return which if which == "nbcnn" else f"keras on {keras.backend.backend()}"


def recipe(epochs):
    return {"optimizer": "adam", "batch_size": 64, "epochs": epochs, "data": "digits, 28x28"}


def accuracies(lenet5, data, args, name):
    """Test accuracy by seed, and its median."""
    rate = lenet5.LEARNING_RATE[name]
    by_seed = {}
    for seed in range(args.seeds):
        begin = time.perf_counter()
        lenet5.keras.utils.set_random_seed(seed)
        model = lenet5.build(modern=name == "modern")
        accuracy, _ = lenet5.train(model, data, rate, epochs=args.epochs)
        seconds = time.perf_counter() - begin
        by_seed[seed] = round(accuracy, 4)
        print(f"{args.which} {name} seed {seed}: {accuracy:.4f}  {seconds:.1f} s", flush=True)
    median = statistics.median(by_seed.values())
    print(f"{args.which} {name}: median {median:.4f}", flush=True)
    return {
        "learning_rate": rate,
        "test_accuracy_by_seed": by_seed,
        "median": median,
    }


if __name__ == "__main__":
    main()
