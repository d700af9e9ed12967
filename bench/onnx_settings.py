"""What `onnx_models.py` feeds to the networks of `onnx_networks.py`; no framework needed."""

from typing import NamedTuple


class Setting(NamedTuple):
    shape: tuple  # of a sample, channels first
    batch: int
    steps: int  # batches of an epoch


SETTINGS = {
    "resnet18": Setting((3, 224, 224), 8, 2),
    "mobilenetv2": Setting((3, 224, 224), 8, 4),
    "unet": Setting((3, 192, 192), 2, 3),
    "inception": Setting((3, 299, 299), 4, 2),
    "shufflenet": Setting((3, 224, 224), 8, 6),
    "convnext": Setting((3, 224, 224), 8, 2),
    "grouped": Setting((3, 224, 224), 4, 2),
    "dilated": Setting((3, 256, 256), 2, 6),
    "upsampling": Setting((3, 128, 128), 2, 4),
    "sequence": Setting((1, 8000), 16, 4),
    "sequential_dilated": Setting((8, 1024), 32, 4),
    "decoder": Setting((512, 4, 4), 32, 4),
    "lenet": Setting((1, 28, 28), 128, 40),
    "volume": Setting((1, 32, 32, 32), 4, 4),
}
