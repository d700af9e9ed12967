"""The networks of `models/` at the sizes of their papers, beside PyTorch's of `torch_zoo.py`.

They are nbcnn's own: `keras` is nbcnn. A network of a family that has several is the one of the
paper's table, with 1000 classes; batches are such that two cores take seconds for a step.
"""

import importlib
import sys

from model_set_more import BINARY, MSE, ZOO, Setting, data

__all__ = ["MODELS", "data"]

TORCH = "torch_zoo"
IMAGE = (224, 224, 3)


def zoo(module, function="build", **arguments):
    """A builder as the other sets have them, of one in `models/`."""

    def build(keras):
        if str(ZOO) not in sys.path:
            sys.path.append(str(ZOO))
        return getattr(importlib.import_module(module), function)(**arguments)

    return build


def pictures(build, batch=4, steps=2, shape=IMAGE, classes=1000):
    return Setting(build, shape, batch, steps, classes)


SMALL = {"batch": 64, "steps": 4, "shape": (32, 32, 3), "classes": 10}
MODELS = {
    "lenet5": pictures(zoo("lenet5"), 64, 22, (28, 28, 1), 10),
    "textbook": pictures(zoo("textbook"), 8, shape=(256, 256, 3)),
    "alexnet": pictures(zoo("alexnet"), 8, shape=(227, 227, 3)),
    "vgg11": pictures(zoo("vgg", depth=11), steps=1),
    "vgg16": pictures(zoo("vgg"), steps=1),
    "googlenet": pictures(zoo("inception"), 8),
    "resnet18": pictures(zoo("resnet", depth=18), 8),
    "resnet50": pictures(zoo("resnet")),
    "resnet20": pictures(zoo("resnet_cifar"), **SMALL),
    "resnet56": pictures(zoo("resnet_cifar", depth=56), **SMALL),
    "squeezenet": pictures(zoo("squeezenet"), 8),
    "densenet121": pictures(zoo("densenet")),
    "mobilenet_v1": pictures(zoo("mobilenet"), 8),
    "mobilenet_v2": pictures(zoo("mobilenet", version=2), 8),
    "efficientnet_b0": pictures(zoo("efficientnet"), 8),
    "convnext_v2": pictures(zoo("convnext_v2"), 8),
    "unet": Setting(zoo("unet", classes=2), (256, 256, 1), 1, 1, 2, (256, 256)),
    "autoencoder": Setting(zoo("autoencoder"), (28, 28, 1), 128, 10, 0, (28, 28, 1), BINARY),
    "vae": Setting(zoo("vae"), (28, 28, 1), 128, 10, 0, (28, 28, 1), BINARY),
    "dcgan_generator": Setting(
        zoo("dcgan", "generator"), (100,), 32, 4, labels=(64, 64, 3), loss=MSE
    ),
    "dcgan_discriminator": Setting(
        zoo("dcgan", "discriminator"), (64, 64, 3), 32, 4, labels=(1,), loss=MSE
    ),
    "m5": Setting(zoo("m5"), (8000, 1), 32, 4, 35),
    "tcn": Setting(zoo("tcn"), (784, 1), 32, 8),
    "text_cnn": Setting(zoo("text_cnn"), (64,), 50, 10, 8, words=5000),
}
