"""What the scripts of this folder share: options, training, and what a model weighs and costs.

A classifier's script needs no more than `main(build, input_shape)`; others take the parts.
"""

import argparse
import time

import zoo_data

import nbcnn as keras
from nbcnn.analysis import operation_count


def main(build, input_shape, batch_size=32, learning_rate=1e-3, **variants):
    """Train a classifier as the command line says, and print what it weighs, costs and can do.

    Parameters
    ----------
    build : `build(input_shape, classes, ...)` makes the model, which ends in a softmax.
    input_shape : (height, width, channels) to train with unless `--size` says otherwise.
    batch_size, learning_rate : defaults; the optimizer is Adam.
    variants : further options of the command line, and arguments of `build`: name -> choices, the
        default first; (False, True) makes a switch.
    """
    parser = argument_parser(build, batch_size, learning_rate)
    add_variants(parser, variants)
    add = parser.add_argument
    add("--size", type=int, help=f"height and width of pictures, default: {input_shape[0]}")
    args = parser.parse_args()
    start(args)
    size = input_shape[:2] if args.size is None else (args.size, args.size)
    shape = (*size, input_shape[2])
    data = zoo_data.load(args.data, shape, args.batch_size, args.limit)
    options = {name: getattr(args, name) for name in variants}
    run(loaded(args) or build(shape, data.classes, **options), data, args)


def run(model, data, args):
    """Train and test a classifier with `zoo_data.Data`, and print and write what is known then."""
    describe(model)
    speed, accuracy = train(model, data, args.epochs, args.learning_rate, args.verbose)
    if speed is not None:
        print(f"training: {speed:,.1f} samples/s")
    print(f"test accuracy: {accuracy:.4f}")
    finish(model, args)


def require_size(network, input_shape, least):
    """Refuse pictures of which pooling would leave nothing.

    Raises
    ------
    ValueError
        Where height or width of (height, width, channels) is below `least`.
    """
    if len(input_shape) != 3 or min(input_shape[:2]) < least:
        raise ValueError(
            f"{network}: input_shape must be (height, width, channels) with {least}x{least} "
            f"pixels or more, got {tuple(input_shape)}"
        )


def require_choice(network, name, value, choices):
    """Refuse an argument of `build` that is none of the choices, with a ValueError."""
    if value not in choices:
        raise ValueError(
            f"{network}: {name} must be one of {', '.join(map(repr, choices))}, got {value!r}"
        )


def argument_parser(build, batch_size=32, learning_rate=1e-3, epochs=5, pictures=True):
    """The options of every script; its description is the first line of the script's docstring.
    `pictures`: whether it learns those of `zoo_data`, or has data of its own.
    """
    text = (build.__globals__.get("__doc__") or "").partition("\n")[0]
    parser = argparse.ArgumentParser(description=text)
    add = parser.add_argument
    if pictures:
        add("--data", default="digits", help="digits, mnist, cifar10 or a folder, default: digits")
        add("--limit", type=int, metavar="N", help="train with N pictures only")
    add("--epochs", type=int, default=epochs, help="0 only evaluates, default: %(default)s")
    add("--batch-size", type=int, default=batch_size, help="default: %(default)s")
    add("--learning-rate", type=float, default=learning_rate, help="default: %(default)s")
    add("--device", default="auto", help="auto, cpu, cuda or cuda:1 (default: %(default)s)")
    add("--seed", type=int, default=0, help="default: %(default)s")
    add("--load", metavar="FILE", help="go on with a saved model")
    add("--save", metavar="FILE", help="write the model as .keras or .nbcnn")
    add("--onnx", metavar="FILE", help="write its inference as .onnx")
    add("--verbose", type=int, choices=(0, 1, 2), default=1, help="as in fit, default: %(default)s")
    return parser


def add_variants(parser, variants):
    """Options for arguments of `build`: name -> choices, the default first."""
    for name, choices in variants.items():
        option = "--" + name.replace("_", "-")
        if isinstance(choices[0], bool):
            parser.add_argument(option, action="store_true")
        else:
            kind = type(choices[0])
            parser.add_argument(option, type=kind, choices=choices, default=choices[0])


def loaded(args):
    """The model to go on with, or None."""
    return keras.models.load_model(args.load) if args.load else None


def start(args):
    """Set device and seed."""
    keras.set_device(args.device)
    keras.utils.set_random_seed(args.seed)
    print(f"device: {keras.get_device().name}")


def describe(model):
    """Print what a model weighs, and what one sample costs.

    Parameters are counted as papers do: what training changes, without the running means of batch
    normalization. A multiply-add of a convolution or matrix product counts as one, as in the
    tables of papers, and as two FLOPs; these also count normalization, activations and pooling.
    """
    trained = sum(v.size for v in model.trainable_weights)
    others = sum(v.size for v in model.non_trainable_weights)
    count = operation_count(model)
    print(f"parameters: {trained:,}" + (f" and {others:,} that are not trained" if others else ""))
    print(f"multiply-adds: {count.multiply_adds / 1e6:,.2f} M a sample")
    print(f"FLOPs: {count.flops / 1e6:,.2f} M a sample")


def train(model, data, epochs, learning_rate, verbose=0):
    """Train with Adam; returns pictures a second in the fastest epoch, None without any, and the
    accuracy on the test part.
    """
    if model.optimizer is None:
        model.compile(
            optimizer=keras.optimizers.Adam(learning_rate),
            loss="sparse_categorical_crossentropy",
            metrics=["accuracy"],
        )
    clock = EpochClock()
    if epochs:
        model.fit(data.train, epochs=epochs, verbose=verbose, callbacks=[clock])
    _, accuracy = model.evaluate(data.test, verbose=0)
    return data.images / min(clock.seconds) if epochs else None, float(accuracy)


def fit(model, x, y, args):
    """Train a compiled model with arrays, as the command line says, and print how fast it was."""
    if not args.epochs:
        return
    clock = EpochClock()
    options = {"batch_size": args.batch_size, "epochs": args.epochs, "verbose": args.verbose}
    model.fit(x, y, callbacks=[clock], **options)
    print(f"training: {len(x) / min(clock.seconds):,.1f} samples/s")


class EpochClock(keras.callbacks.Callback):
    """How long each epoch took: `seconds`. The first one may compile."""

    def __init__(self):
        super().__init__()
        self.seconds = []

    def on_epoch_begin(self, epoch, logs=None):
        self.began = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds.append(time.perf_counter() - self.began)


def finish(model, args):
    """Write the files that were asked for."""
    if args.save:
        model.save(args.save)
        print(f"saved: {args.save}")
    if args.onnx:
        model.export(args.onnx)
        print(f"exported: {args.onnx}")
