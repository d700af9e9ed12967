"""LeNet-5 learns handwritten digits: sigmoid and average pooling, or modern parts with `--modern`.

    python models/lenet5.py [--modern] [--device cuda] [--epochs 60] ...

The network is that of Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, "Gradient-based learning
applied to document recognition" (1998), as textbooks write it today: every map of the second
convolution sees all maps of the first, and a softmax layer ends it. The digits come with nbcnn
(E. Alpaydin and C. Kaynak, UCI, CC BY 4.0).
"""

import argparse
import sys
import time

import numpy as np

import nbcnn as keras

# For Adam. Sigmoids learn slowly: at 0.001 the classic network would need twice as many epochs.
LEARNING_RATE = {"classic": 0.003, "modern": 0.001}


def build(input_shape=(28, 28, 1), classes=10, modern=False, conv_algorithm=None):
    """The network, not yet compiled; `modern`: relu, max pooling and batch normalization."""
    layers = keras.layers
    options = {} if conv_algorithm is None else {"conv_algorithm": conv_algorithm}

    def activated(layer, *arguments, **keywords):
        if not modern:
            return [layer(*arguments, activation="sigmoid", **keywords)]
        # Batch normalization subtracts the mean: a bias before it would have no effect.
        parts = [layer(*arguments, use_bias=False, **keywords), layers.BatchNormalization()]
        return [*parts, layers.Activation("relu")]

    pool = layers.MaxPooling2D if modern else layers.AveragePooling2D
    return keras.Sequential(
        [
            keras.Input(input_shape),
            *activated(layers.Conv2D, 6, 5, padding="same", **options),
            pool(2),
            *activated(layers.Conv2D, 16, 5, **options),
            pool(2),
            layers.Flatten(),
            *activated(layers.Dense, 120),
            *activated(layers.Dense, 84),
            layers.Dense(classes, activation="softmax"),
        ]
    )


def train(model, data, learning_rate, epochs=60, batch_size=64, verbose=0):
    """Train with Adam; returns the accuracy on the test part and the seconds of each epoch."""
    (x_train, y_train), (x_test, y_test) = data
    model.compile(
        optimizer=keras.optimizers.Adam(learning_rate),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    ends = [time.perf_counter()]
    clock = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: ends.append(time.perf_counter())
    )
    model.fit(
        x_train,
        y_train,
        batch_size=batch_size,
        epochs=epochs,
        verbose=verbose,
        callbacks=[clock],
    )
    _, accuracy = model.evaluate(x_test, y_test, verbose=0)
    return float(accuracy), np.diff(ends)


def peak_memory():
    """Largest memory of this process so far, in bytes; None where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def arguments():
    parser = argparse.ArgumentParser(description="Train LeNet-5 on handwritten digits.")
    add = parser.add_argument
    add("--device", default="auto", help="auto, cpu, cuda or cuda:1 (default: %(default)s)")
    add("--epochs", type=int, default=60, help="default: %(default)s")
    add("--batch-size", type=int, default=64, help="default: %(default)s")
    add("--learning-rate", type=float, help="default: 0.003, with --modern 0.001")
    add("--conv-algorithm", help="auto, direct or im2col (default: nbcnn's own setting)")
    add("--seed", type=int, default=0, help="default: %(default)s")
    add("--modern", action="store_true", help="relu, max pooling and batch normalization")
    add("--save", default="lenet5.nbcnn", metavar="PATH", help="default: %(default)s")
    add("--onnx", metavar="PATH", help="write its inference as .onnx")
    add("--verbose", type=int, choices=(0, 1, 2), default=1, help="as in fit, default: %(default)s")
    return parser.parse_args()


def main():
    args = arguments()
    keras.set_device(args.device)
    keras.utils.set_random_seed(args.seed)
    print(f"device: {keras.get_device().name}")
    data = keras.datasets.digits.load_data()
    model = build(modern=args.modern, conv_algorithm=args.conv_algorithm)
    model.summary()
    count = keras.analysis.operation_count(model)
    print(f"multiply-adds: {count.multiply_adds / 1e6:,.2f} M a sample")
    print(f"FLOPs: {count.flops / 1e6:,.2f} M a sample")
    rate = args.learning_rate or LEARNING_RATE["modern" if args.modern else "classic"]
    accuracy, seconds = train(model, data, rate, args.epochs, args.batch_size, args.verbose)
    model.save(args.save)
    print(f"test accuracy: {accuracy:.4f}")
    steady = np.median(seconds[1:] if len(seconds) > 1 else seconds)  # the first one may compile
    print(f"training: {len(data[0][0]) / steady:,.0f} img/s")
    peak = peak_memory()
    if peak is not None:
        print(f"peak memory: {peak / 2**20:,.0f} MiB")
    print(f"saved: {args.save}")
    if args.onnx:
        model.export(args.onnx)
        print(f"exported: {args.onnx}")


if __name__ == "__main__":
    main()
