"""The pictures of the documentation: a small net that reads digits, and what it sees.

    python docs/figures.py            # from the net in models/assets/, into docs/images/
    python docs/figures.py --train    # after training that net anew

The arrays behind the maps go into `docs/images/maps.npz`, which a test compares with what it
computes. Needs matplotlib and Pillow: pip install 'nbcnn[viz,images]'.
"""

import argparse
import importlib.util
import json
import warnings
from pathlib import Path

import numpy as np

import nbcnn as keras
from nbcnn import analysis, layers, viz

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
NET = ROOT / "models" / "assets" / "digits.keras"
HISTORY = ROOT / "models" / "assets" / "digits.json"
SEEN = 3  # the digit that is looked at


def build():
    """8 maps, pooled, 16 and 32 maps, and ten scores of their means: 6,218 parameters."""
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(8, 3, activation="relu", name="conv1"),
            layers.MaxPooling2D(2, name="pool1"),
            layers.Conv2D(16, 3, activation="relu", name="conv2"),
            layers.Conv2D(32, 3, activation="relu", name="conv3"),
            layers.GlobalAveragePooling2D(name="mean"),
            layers.Dense(10, activation="softmax", name="scores"),
        ]
    )


def train(data, epochs=60):
    """Train the net; write it and the values by epoch."""
    (x, y), test = data
    keras.utils.set_random_seed(1)
    net = build()
    net.compile(
        keras.optimizers.Adam(0.003), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    history = net.fit(x, y, batch_size=32, epochs=epochs, validation_data=test, verbose=0).history
    rounded = {name: [round(float(v), 4) for v in values] for name, values in history.items()}
    HISTORY.write_text(json.dumps(rounded) + "\n", encoding="utf-8")
    # Only to be looked at: without what the optimizer keeps.
    net.save(NET, include_optimizer=False)


def example(test):
    """The first digit of the test part that is a `SEEN`."""
    x, y = test
    return x[np.flatnonzero(y == SEEN)[0]]


def maps(net, image):
    """The arrays behind the maps of one image, by name."""
    return {
        "saliency": viz.saliency_map(net, image, SEEN),
        "smooth_grad": viz.smooth_grad_map(net, image, SEEN),
        "grad_cam": viz.grad_cam_map(net, image, SEEN),
        "occlusion": viz.occlusion_map(net, image, SEEN, window=6, stride=2),
        "deconvnet": viz.deconvnet_projection(net, image, "conv3")[..., 0],
    }


def figures(net, data, history):
    """All pictures of the net, by name."""
    test_x, test_y = data[1]
    image = example(data[1])
    return {
        "architecture": viz.architecture(net),
        "filters": viz.filters(net, title="first layer"),
        "feature_maps": viz.feature_maps(net, image),
        "training_curves": viz.training_curves(history),
        "confusion_matrix": viz.confusion_matrix(test_y, model=net, x=test_x),
        "misclassified": viz.misclassified(net, test_x, test_y, count=8),
        "occlusion": viz.occlusion(net, image, SEEN, window=6, stride=2),
        "saliency": viz.saliency(net, image, SEEN),
        "smooth_grad": viz.smooth_grad(net, image, SEEN),
        "grad_cam": viz.grad_cam(net, image, SEEN),
        "deconvnet": viz.deconvnet(net, image, "conv3", range(8)),
        "activation_maximization": viz.activation_maximization(net, channel=range(10)),
    }


def script(name):
    """A script of `models/` as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "models" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def checkerboard():
    """What a transposed convolution and a convolution of an enlarged image make of an even one."""
    even = np.ones((1, 6, 6, 1), "float32")
    ones = {"kernel_initializer": "ones", "padding": "same"}
    painted = layers.Conv2DTranspose(1, 3, strides=2, **ones)(even)[0, 2:-2, 2:-2, 0]
    resized = layers.UpsampleConv2D(1, 3, size=2, **ones)(even)[0, 2:-2, 2:-2, 0]
    titles = ["Conv2DTranspose(1, 3, strides=2)", "UpsampleConv2D(1, 3, size=2)"]
    scaled = [painted / painted.max(), resized / resized.max()]
    return in_a_row(scaled, titles, cmap="gray", vmin=0, vmax=1)


def in_a_row(images, titles, **options):
    """Images beside each other, with frames."""
    figure = importlib.import_module("matplotlib.figure").Figure(figsize=(2.6 * len(images), 2.8))
    for ax, image, title in zip(np.atleast_1d(figure.subplots(1, len(images))), images, titles):
        ax.imshow(image, **options)
        ax.set_title(title, fontsize=8)
        ax.set_xticks([])
        ax.set_yticks([])
    return figure


def matrix():
    """The matrix of a 3×3 kernel on 6×6 pixels."""
    layer = layers.Conv2D(1, 3, use_bias=False)
    layer.build((None, 6, 6, 1))
    layer.set_weights([np.arange(1.0, 10.0).reshape(3, 3, 1, 1)])
    found = analysis.conv_as_matrix(layer, (6, 6, 1)).toarray()
    return in_a_row([found], ["16 × 36, 144 entries are not 0"], cmap="Greys")


def receptive_field():
    """What the unit in the middle of each of three layers sees of 15×15 pixels."""
    sizes = [layers.Conv2D(1, 3, name=f"conv{i}") for i in (1, 2, 3)]
    stack = keras.Sequential([keras.Input((15, 15, 1)), *sizes])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the last one does not see all, which is the point
        report = analysis.receptive_field(stack)
    middles = {row.layer: row.output_shape[0] // 2 for row in report.layers}
    masks = [report.of(i, i, layer=name).mask for name, i in middles.items()]
    return in_a_row(masks, list(middles), cmap="Greys", vmin=0, vmax=1.5)


def main():
    parser = argparse.ArgumentParser(description="Draw the pictures of the documentation.")
    parser.add_argument("--train", action="store_true", help="train the net anew")
    data = keras.datasets.digits.load_data()
    if parser.parse_args().train:
        train(data)
    net = keras.models.load_model(NET)
    history = json.loads(HISTORY.read_text(encoding="utf-8"))
    IMAGES.mkdir(exist_ok=True)
    others = (checkerboard, matrix, receptive_field)
    drawn = {**figures(net, data, history), **{make.__name__: make() for make in others}}
    for name, figure in drawn.items():
        figure.savefig(IMAGES / f"{name}.png", dpi=70)
    viz.architecture(script("lenet5").build(), save=IMAGES / "lenet5.png")
    classical = script("filters")
    photograph = classical.photograph()
    classical.picture(photograph, classical.filtered(photograph), IMAGES / "classical.jpg")
    np.savez_compressed(IMAGES / "maps.npz", **maps(net, example(data[1])))


if __name__ == "__main__":
    main()
