"""What the scripts of this folder share: which library `keras` is, how large runs are, and data.

A script imports this before `import keras`, and `keras` is then nbcnn, or Keras itself where
LIBRARY=keras says so. With TINY=1 everything is as small as it can be, for simulated devices.
"""

import importlib
import importlib.abc
import importlib.util
import os
import sys
from pathlib import Path

import numpy as np

LIBRARY = os.environ.get("LIBRARY", "nbcnn")
TINY = os.environ.get("TINY", "0") == "1"
ROOT = Path(__file__).resolve().parents[2]


class Renamed(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """`keras` and `keras.layers` are the very modules `nbcnn` and `nbcnn.layers`."""

    def find_spec(self, fullname, path=None, target=None):
        if fullname.partition(".")[0] != "keras":
            return None
        return importlib.util.spec_from_loader(fullname, self)

    def create_module(self, spec):
        module = importlib.import_module("nbcnn" + spec.name.removeprefix("keras"))
        self.own = module.__spec__, module.__loader__  # the import system overwrites them
        return module

    def exec_module(self, module):
        module.__spec__, module.__loader__ = self.own


if LIBRARY == "nbcnn":
    sys.path.insert(0, str(ROOT))
    sys.meta_path.insert(0, Renamed())
elif LIBRARY != "keras":
    raise SystemExit(f"LIBRARY must be nbcnn or keras, got {LIBRARY!r}")


def small(size, tiny):
    """The size, or with TINY=1 the other one."""
    return tiny if TINY else size


def digits(train=600, test=200, side=8):
    """Handwritten digits: ((x_train, y_train), (x_test, y_test)), images of (side, side, 1).

    They are floats from 0 to 1; `side` is a multiple of 8, whole pixels are repeated.
    """
    with np.load(ROOT / "nbcnn/datasets/digits.npz") as file:
        scans, labels = file["images"], file["labels"]
    scans = np.kron(scans, np.ones((1, side // 8, side // 8)))
    x, y = (scans[..., None] / 16).astype("float32"), labels.astype("int64")
    order = np.random.default_rng(0).permutation(len(x))
    x, y = x[order], y[order]
    return (x[:train], y[:train]), (x[-test:], y[-test:])
