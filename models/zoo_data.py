"""Labelled pictures that are on this machine, in the size that a model takes.

    digits    handwritten digits, 8x8 pixels, 10 classes: they come with nbcnn
    mnist     handwritten digits, 28x28 pixels: `mnist.npz`, as Keras downloads it
    cifar10   photographs of 10 things, 32x32x3: the folder `cifar-10-batches-py`
    FOLDER    a folder with one folder of pictures (PNG, JPEG, ...) for each class; needs Pillow

Nothing is downloaded. Files are looked for in the folder that NBCNN_DATA names, in `data` of the
working folder, and where Keras keeps them. Whatever size and colours they have, pictures reach a
model so, batch by batch:

1. resized to the model's height and width: bilinear, smoothed where they shrink; proportions are
   not kept, nothing is cut off;
2. gray ones repeated for three channels, coloured ones averaged for one;
3. shifted and scaled, each picture on its own, to mean 0 and standard deviation 1.
"""

import os
import pickle
from pathlib import Path
from typing import NamedTuple

import numpy as np

import nbcnn as keras

NAMED = ("digits", "mnist", "cifar10")
KERAS_CACHE = Path("~/.keras/datasets")
FILES = {
    "mnist": ("mnist.npz",),
    "cifar10": ("cifar-10-batches-py", "cifar-10-batches-py-target/cifar-10-batches-py"),
}
TEST_SHARE = 0.2  # of a folder of pictures
SPLIT_SEED = 8


class Data(NamedTuple):
    """`train` and `test` are batches of (pictures, class numbers), for `fit` and `evaluate`."""

    train: keras.utils.PyDataset
    test: keras.utils.PyDataset
    classes: int
    images: int  # in `train`


def load(name, input_shape, batch_size=32, limit=None):
    """Pictures for a model with inputs (height, width, channels).

    Parameters
    ----------
    name : "digits", "mnist", "cifar10", or a folder.
    limit : use the first so many training pictures, and a quarter as many for the test; of a folder
        as many batches as hold them.

    Raises
    ------
    FileNotFoundError
        With all the places that were looked at.
    ValueError
        For an input shape that no picture has, and a limit that is not positive.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be a positive number of pictures, got {limit}")
    if len(input_shape) != 3 or input_shape[2] not in (1, 3):
        raise ValueError(
            f"input_shape must be (height, width, 1 or 3) for pictures, got {input_shape}"
        )
    if name not in NAMED:
        return _folder(Path(name), input_shape, batch_size, limit)
    (x, y), (x_test, y_test) = READERS[name]()
    if limit is not None:
        x, y = x[:limit], y[:limit]
        x_test, y_test = x_test[: -(-limit // 4)], y_test[: -(-limit // 4)]
    train = Batches(x, y, input_shape, batch_size, shuffle=True)
    test = Batches(x_test, y_test, input_shape, batch_size)
    return Data(train, test, 10, len(x))


def of_arrays(train, test, batch_size):
    """`Data` of two pairs (x, y) of arrays as they are, for labels that are class numbers."""
    parts = [ArrayBatches(*part, batch_size, shuffle) for part, shuffle in ((train, 1), (test, 0))]
    return Data(*parts, int(train[1].max()) + 1, len(train[0]))


def split(x, y):
    """Samples as a part to train with and one to test with, a fifth: ((x, y), (x, y))."""
    order = np.random.default_rng(SPLIT_SEED).permutation(len(x))
    test, train = np.split(order, [round(TEST_SHARE * len(x))])
    return (x[train], y[train]), (x[test], y[test])


class ArrayBatches(keras.utils.PyDataset):
    """Batches of arrays, in another order each epoch if shuffled."""

    def __init__(self, x, y, batch_size, shuffle=False):
        super().__init__()
        self.x, self.y, self.batch_size, self.shuffle = x, y, batch_size, shuffle
        self.order = np.arange(len(x))
        self.random = np.random.default_rng(SPLIT_SEED)
        self.on_epoch_end()

    def __len__(self):
        return -(-len(self.x) // self.batch_size)

    def __getitem__(self, index):
        chosen = self.order[index * self.batch_size : (index + 1) * self.batch_size]
        return self.x[chosen], self.y[chosen]

    def on_epoch_end(self):
        if self.shuffle:
            self.random.shuffle(self.order)


class Batches(ArrayBatches):
    """Batches of pictures (n, height, width, channels), which are fitted when they are due."""

    def __init__(self, x, y, input_shape, batch_size, shuffle=False):
        super().__init__(x, y, batch_size, shuffle)
        self.input_shape = input_shape

    def __getitem__(self, index):
        x, y = super().__getitem__(index)
        return fitted(x, self.input_shape), y


def fitted(images, input_shape):
    """Pictures (n, h, w, 1 or 3) as (n, *input_shape); see above."""
    images = np.asarray(images, "float32")
    height, width, channels = input_shape
    if images.shape[1:3] != (height, width):
        size = keras.ops.image.resize(images, (height, width), antialias=True)
        images = np.asarray(size)
    if images.shape[3] != channels:
        gray = images.mean(axis=3, keepdims=True)
        images = np.repeat(gray, channels, axis=3)
    return standardized(images)


def standardized(images):
    """Each picture with mean 0 and standard deviation 1."""
    mean = images.mean(axis=(1, 2, 3), keepdims=True)
    deviation = images.std(axis=(1, 2, 3), keepdims=True)
    return ((images - mean) / np.maximum(deviation, 1e-6)).astype("float32")


def find(name):
    """The file or folder of a data set."""
    folders = [Path(os.environ["NBCNN_DATA"])] if os.environ.get("NBCNN_DATA") else []
    folders += [Path("data"), KERAS_CACHE.expanduser()]
    places = [folder / file for folder in folders for file in FILES[name]]
    for place in places:
        if place.exists():
            return place
    raise FileNotFoundError(
        f"no data for {name!r}: looked for {', '.join(map(str, places))}; put it there, or set "
        "NBCNN_DATA to the folder that holds it. `digits` come with nbcnn"
    )


def _digits():
    return keras.datasets.digits.load_data(size=8)


def _mnist():
    with np.load(find("mnist"), allow_pickle=False) as file:
        return tuple(
            (file[f"x_{part}"][..., np.newaxis], file[f"y_{part}"].astype("int64"))
            for part in ("train", "test")
        )


def _cifar10():
    folder = find("cifar10")
    parts = [_cifar_batch(folder / f"data_batch_{number}") for number in range(1, 6)]
    train = tuple(np.concatenate(part) for part in zip(*parts, strict=True))
    return train, _cifar_batch(folder / "test_batch")


def _cifar_batch(path):
    """Pictures (n, 32, 32, 3) and labels of a file, which holds them channel by channel."""
    with path.open("rb") as file:
        batch = ArraysOnly(file, encoding="bytes").load()
    x = np.asarray(batch[b"data"], "uint8").reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return x, np.asarray(batch[b"labels"], "int64")


class ArraysOnly(pickle.Unpickler):
    """Reads pickled arrays and refuses everything else: a pickle can run any program."""

    def find_class(self, module, name):
        of_arrays = module.split(".")[0] == "numpy" and name in ("_reconstruct", "ndarray", "dtype")
        if of_arrays or (module, name) == ("_codecs", "encode"):  # the latter gives bytes
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name} has no place in a file of pictures")


def _folder(folder, input_shape, batch_size, limit):
    if not folder.is_dir():
        raise FileNotFoundError(
            f"data must be one of {', '.join(NAMED)} or a folder with a folder of pictures for "
            f"each class, got {str(folder)!r}, which is no folder"
        )
    height, width, channels = input_shape
    options = {
        "image_size": (height, width),
        "color_mode": "rgb" if channels == 3 else "grayscale",
        "batch_size": batch_size,
        "validation_split": TEST_SHARE,
        "seed": SPLIT_SEED,
        "verbose": False,
    }
    read = keras.utils.image_dataset_from_directory
    train, test = (read(folder, subset=part, **options) for part in ("training", "validation"))
    classes, images = len(train.class_names), len(train.file_paths)
    if limit is not None:
        batches, few = (-(-n // batch_size) for n in (limit, -(-limit // 4)))
        train, test = train.take(batches), test.take(few)
        images = min(batches * batch_size, images)

    def prepared(x, y):
        return standardized(np.asarray(x, "float32")), y

    return Data(train.map(prepared), test.map(prepared), classes, images)


READERS = {"digits": _digits, "mnist": _mnist, "cifar10": _cifar10}
