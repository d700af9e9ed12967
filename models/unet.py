"""U-Net: every pixel gets a class; here, which pixels of a noisy canvas belong to a digit.

    python models/unet.py [--width 16] [--device cuda] [--epochs 5] ...

O. Ronneberger, P. Fischer and T. Brox, "U-Net: convolutional networks for biomedical image
segmentation" (2015). Of one channel and for the paper's two classes it has 31,030,658 parameters.
The implementation in Keras that is cited most (github.com/zhixuhao/unet) puts a 3x3 convolution to
2 maps before a single output: 31,031,685, here `build(classes=1, last_maps=2)`.
"""

import numpy as np
import zoo
import zoo_data

import nbcnn as keras

layers = keras.layers


def twice(x, filters, padding):
    for _ in range(2):
        x = layers.Conv2D(filters, 3, padding=padding, activation="relu")(x)
    return x


def cropped(x, height, width):
    """The middle of x."""
    rows, columns = x.shape[1] - height, x.shape[2] - width
    if not rows and not columns:
        return x
    sides = ((rows // 2, rows - rows // 2), (columns // 2, columns - columns // 2))
    return layers.Cropping2D(sides)(x)


def build(input_shape=(256, 256, 1), classes=2, width=64, depth=4, padding="same", last_maps=None):
    """The network, not yet compiled: probabilities of each pixel's classes, or of one class alone.

    width: filters of the first level, twice as many on each of the `depth` levels below.
    padding: "valid" as in the paper, whose output is smaller than the image (388 of 572 pixels), or
    "same", for images whose sides are multiples of 2**depth.
    last_maps: filters of one more 3x3 convolution before the output, by default none.
    """
    sides = [side for side in input_shape[:2] if padding == "same" and side % 2**depth]
    if sides:
        raise ValueError(
            f"unet: sides of images must be multiples of {2**depth} (2**depth), got {sides[0]}"
        )
    image = keras.Input(input_shape)
    x, skips = image, []
    for level in range(depth):
        x = twice(x, width << level, padding)
        skips.append(x)
        x = layers.MaxPooling2D(2)(x)
    x = twice(x, width << depth, padding)
    for level in reversed(range(depth)):
        x = layers.Conv2DTranspose(width << level, 2, strides=2)(x)
        skip = cropped(skips[level], *x.shape[1:3])
        x = twice(layers.Concatenate()([skip, x]), width << level, padding)
    if last_maps:
        x = layers.Conv2D(last_maps, 3, padding=padding, activation="relu")(x)
    activation = "sigmoid" if classes == 1 else "softmax"
    return keras.Model(image, layers.Conv2D(classes, 1, activation=activation)(x))


def canvases(images, count, side=64, digits=3, threshold=0.5, seed=0):
    """Digits at random places of a noisy, unevenly lit ground, and where they are.

    Returns canvases (count, side, side, 1), float32, and masks (count, side, side), int64: 1 where
    a digit's ink is above the threshold.
    """
    rng = np.random.default_rng(seed)
    size = images.shape[1]
    ramp = np.linspace(-1, 1, side)
    slopes = rng.uniform(-0.3, 0.3, (2, count, 1, 1))
    ground = 0.4 + slopes[0] * ramp[:, None] + slopes[1] * ramp
    ink = np.zeros((count, side, side))
    for canvas in ink:
        for index in rng.integers(0, len(images), digits):
            top, left = rng.integers(0, side - size + 1, 2)
            part = canvas[top : top + size, left : left + size]
            np.maximum(part, images[index, :, :, 0], out=part)
    # Ink is darker or brighter than the ground: brightness alone does not give it away.
    sign = rng.choice([-1, 1], (count, 1, 1))
    x = ground + 0.4 * sign * ink + rng.normal(scale=0.1, size=ink.shape)
    return x[..., None].astype("float32"), (ink > threshold).astype("int64")


def overlap(model, x, masks, batch_size):
    """Intersection over union of the digits' pixels."""
    found = np.argmax(model.predict(x, batch_size=batch_size, verbose=0), axis=-1) == 1
    return (found & (masks == 1)).sum() / (found | (masks == 1)).sum()


def main():
    parser = zoo.argument_parser(build, batch_size=8, epochs=5, pictures=False)
    add = parser.add_argument
    add("--width", type=int, default=16, help="filters of the first level, default: %(default)s")
    add("--count", type=int, default=400, help="canvases to train with, default: %(default)s")
    args = parser.parse_args()
    zoo.start(args)
    parts = zip(keras.datasets.digits.load_data(size=24), (args.count, 100), (args.seed, 1000))
    train, test = (canvases(images, count, seed=seed) for (images, _), count, seed in parts)
    model = zoo.loaded(args) or build((*train[0].shape[1:3], 1), width=args.width)
    zoo.run(model, zoo_data.of_arrays(train, test, args.batch_size), args)
    print(f"intersection over union: {overlap(model, *test, args.batch_size):.4f}")


if __name__ == "__main__":
    main()
