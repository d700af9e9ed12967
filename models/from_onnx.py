"""A network exported by PyTorch, used and trained further where there is no PyTorch.

    python models/from_onnx.py network.onnx [--torch /path/to/python] [--epochs 5] ...
    python models/from_onnx.py resnet18.onnx --make resnet18 --torch /path/to/python

The network is loaded, its predictions are compared with those that lie beside the file (written by
`to_onnx.py`, with ONNX Runtime or PyTorch), batch normalization is folded into the convolutions,
and the network learns the handwritten digits that come with nbcnn. Then what both environments
weigh and how long they take to import: of PyTorch where `--torch` names an interpreter that has it.
`--make` lets that interpreter write the file first; without PyTorch at hand, any file will do that
has one image as its input and one vector as its output.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

import nbcnn as keras

HERE = Path(__file__).resolve().parent
AGREED = 1e-4  # of the largest output
# nbcnn loads its parts when they are first used: the import with those that a prediction needs.
ALL_OF_NBCNN = "import nbcnn; nbcnn.Model, nbcnn.layers, nbcnn.onnx, nbcnn.get_device('cpu')"


def make(network, file, torch, *options):
    """Let an interpreter that has PyTorch write the file."""
    subprocess.run([torch, str(HERE / "to_onnx.py"), network, str(file), *options], check=True)


def difference(file):
    """How far predictions are from the expected ones, as a share of the largest, and whose those
    are; None without.
    """
    beside = Path(file).with_suffix(".npz")
    if not beside.exists():
        return None
    with np.load(beside) as expected:
        x, y, by = expected["x"], expected["y"], str(expected["by"])
    found = keras.onnx.load(file).predict(x, verbose=0)
    return float(np.abs(found - y).max() / np.abs(y).max()), by


def normalizations(model, batch_size=32):
    """How many layers of batch normalization there are, and how many steps of a prediction."""
    layers = sum(isinstance(layer, keras.layers.BatchNormalization) for layer in model.layers)
    steps = [step.node.op.name for step in model.plan(batch_size, training=False).steps]
    return layers, sum(name in ("batchnorm", "scale_shift") for name in steps)


def with_new_head(network, classes):
    """The network with another last layer: probabilities of so many classes."""
    last = network.layers[-1]
    if not isinstance(last, keras.layers.Dense):
        raise SystemExit(f"the last layer is {last!r}, not a dense one that could be replaced")
    outputs = keras.layers.Dense(classes, activation="softmax", name="digits")(last.input)
    return keras.Model(network.input, outputs)


def digits(shape):
    """The handwritten digits as images of this shape, channels last."""
    height, width, channels = shape
    if height != width:
        raise SystemExit(f"digits are square, images of the network are {height}x{width}")
    parts = keras.datasets.digits.load_data(height)
    return [(np.repeat(x, channels, axis=-1), y) for x, y in parts]


def fine_tune(file, epochs, learning_rate, batch_size=32, verbose=0):
    """Train the network on the digits; the model and its accuracy on the test part."""
    model = with_new_head(keras.onnx.load(file, channels_last=True), 10)
    (x_train, y_train), (x_test, y_test) = digits(model.input_shape[1:])
    model.compile(
        optimizer=keras.optimizers.Adam(learning_rate),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    model.fit(x_train, y_train, batch_size=batch_size, epochs=epochs, verbose=verbose)
    _, accuracy = model.evaluate(x_test, y_test, verbose=0)
    return model, float(accuracy)


def footprint(python, statement, *distributions):
    """What `footprint.py` finds in an environment."""
    script = str(HERE / "footprint.py")
    paths = os.pathsep.join(
        path for path in (str(HERE.parent), os.environ.get("PYTHONPATH")) if path
    )
    environment = {**os.environ, "PYTHONPATH": paths} if python == sys.executable else None
    command = [python, script, statement, *distributions]
    return json.loads(subprocess.check_output(command, text=True, env=environment))


def told(name, found):
    total = sum(found["bytes"].values())
    largest = sorted(found["bytes"].items(), key=lambda item: -item[1])[:4]
    listed = ", ".join(f"{name} {size / 2**20:,.0f}" for name, size in largest)
    print(f"{name}: {total / 2**20:,.0f} MiB in {len(found['bytes'])} packages ({listed}, ...)")
    print(f"{name} import: {found['import_seconds']:.2f} s")


def arguments():
    parser = argparse.ArgumentParser(description="Use and train an exported network.")
    add = parser.add_argument
    add("file", type=Path, help="of ONNX")
    add("--make", metavar="NETWORK", help="resnet18 or mobilenetv2: written first, needs --torch")
    add("--torch", metavar="PYTHON", help="an interpreter that has PyTorch")
    add("--epochs", type=int, default=5, help="default: %(default)s")
    add("--learning-rate", type=float, default=0.001, help="default: %(default)s")
    add("--seed", type=int, default=0, help="default: %(default)s")
    add("--verbose", type=int, choices=(0, 1, 2), default=1, help="as in fit, default: %(default)s")
    args = parser.parse_args()
    if args.make and not args.torch:
        parser.error("--make needs --torch, an interpreter that has PyTorch")
    if not args.make and not args.file.exists():
        parser.error(
            f"{args.file} is not there. Where PyTorch is installed, `python {HERE / 'to_onnx.py'} "
            f"resnet18 {args.file}` writes it; or let --make and --torch do that"
        )
    return args


def main():
    args = arguments()
    keras.utils.set_random_seed(args.seed)
    if args.make:
        make(args.make, args.file, args.torch)
    network = keras.onnx.load(args.file)
    print(f"network: {network.count_params():,} weights, input {network.input_shape}")
    compared = difference(args.file)
    if compared is None:
        print(f"predictions: nothing to compare with, {args.file.with_suffix('.npz')} is not there")
    else:
        print(f"predictions: {compared[0]:.1e} of the largest output from those of {compared[1]}")
        if not compared[0] < AGREED:
            sys.exit("predictions differ")
    before, after = normalizations(network)
    print(f"batch normalization: {before} layers, {after} steps of a prediction")
    model, accuracy = fine_tune(args.file, args.epochs, args.learning_rate, verbose=args.verbose)
    print(f"test accuracy: {accuracy:.4f}")
    model.save(args.file.with_suffix(".nbcnn"))
    print(f"saved: {args.file.with_suffix('.nbcnn')}")
    told("nbcnn", footprint(sys.executable, ALL_OF_NBCNN, "nbcnn", "onnx"))
    if args.torch:
        told("PyTorch", footprint(args.torch, "import torch", "torch"))
    else:
        print("PyTorch: --torch names no interpreter to measure")


if __name__ == "__main__":
    main()
