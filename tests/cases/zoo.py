"""The models of `models/`: what is published of each, and sizes at which it is tried."""

import importlib
import sys
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[2] / "models"))

TORCHVISION = "torchvision's documentation of its weights"
PRUNING = "M. Lin et al., HRank, table 3: 125.49 M for 56 layers"
SMALL = {"input_shape": (32, 32, 3), "classes": 10}


class Case(NamedTuple):
    """A builder with arguments, and what it must come to.

    `published`: arguments of `build` for the model of the paper. `parameters`: how many of it
    training changes, by `source`. `multiply_adds`: in millions, by `cost_source`; None where nobody
    has published any. `small`: arguments for a model that a test can train; `learning_rate`,
    `batch`, `epochs`: how. `learn`: `learn(module, model)` trains a model that is no classifier for
    an epoch and returns the losses of its steps. `quick`: small enough for every run of the tests.
    `simulated`: arguments for a first step on a simulated GPU; None where that would take minutes.
    """

    module: str
    published: dict[str, Any]
    parameters: int
    source: str
    multiply_adds: float | None
    cost_source: str
    small: dict[str, Any]
    quick: bool = True
    simulated: dict[str, Any] | None = None
    learning_rate: float = 1e-3
    batch: int = 16
    epochs: int = 1
    learn: Any = None

    def build(self, which: str = "small") -> Any:
        return importlib.import_module(self.module).build(**getattr(self, which))


CASES = {
    "lenet5": Case(
        "lenet5", {}, 61_706, "A. Zhang et al., Dive into Deep Learning, 7.6", 0.416,
        "28·28·6·25 + 10·10·16·150 + 400·120 + 120·84 + 84·10",
        {"modern": True}, simulated={"input_shape": (16, 16, 1)},
    ),
    "textbook": Case(
        "textbook", {}, 16_423_720, "1,792 + 36,928 + 16,385,000", 280.6,
        "256·256·64·27 + 64·64·64·576 + 16,384·1,000",
        {"input_shape": (32, 32, 3), "classes": 10},
        simulated={"input_shape": (16, 16, 1), "classes": 3},
    ),
    "alexnet": Case(
        "alexnet", {}, 60_965_224, "Caffe's bvlc_alexnet", 724.4,
        "V. Sze et al., Efficient processing of deep neural networks, table II",
        {"input_shape": (67, 67, 3), "classes": 10}, quick=False, learning_rate=1e-4, epochs=2,
    ),
    "alexnet torchvision": Case(
        "alexnet", {"variant": "torchvision", "input_shape": (224, 224, 3)}, 61_100_840,
        TORCHVISION, 714, TORCHVISION,
        {"variant": "torchvision", "input_shape": (63, 63, 3), "classes": 10}, quick=False,
        learning_rate=1e-4, epochs=2,
    ),
    "vgg11": Case(
        "vgg", {"depth": 11}, 132_863_336, TORCHVISION, 7_609, TORCHVISION,
        {"depth": 11, **SMALL}, quick=False, learning_rate=1e-4, epochs=2,
    ),
    "vgg11 batch_norm": Case(
        "vgg", {"depth": 11, "batch_norm": True}, 132_868_840, TORCHVISION, 7_609, TORCHVISION,
        {"depth": 11, "batch_norm": True, **SMALL}, quick=False, learning_rate=1e-4,
    ),
    "vgg16": Case(
        "vgg", {}, 138_357_544, TORCHVISION, 15_470, TORCHVISION,
        SMALL, quick=False, learning_rate=1e-4, epochs=4,
    ),
    "vgg16 batch_norm": Case(
        "vgg", {"batch_norm": True}, 138_365_992, TORCHVISION, 15_470, TORCHVISION,
        {"batch_norm": True, **SMALL}, quick=False, learning_rate=1e-4, epochs=2,
    ),
    "inception": Case(
        "inception", {}, 6_998_552, "Netscope's count of Caffe's bvlc_googlenet", 1_583,
        "the paper's table 1, added up", SMALL, quick=False, learning_rate=3e-4, epochs=4,
    ),
    "inception torchvision": Case(
        "inception", {"variant": "torchvision"}, 6_624_904, TORCHVISION, 1_498, TORCHVISION,
        {"variant": "torchvision", **SMALL}, quick=False, epochs=2,
    ),
    "resnet18": Case(
        "resnet", {"depth": 18}, 11_689_512, TORCHVISION, 1_814, TORCHVISION,
        {"depth": 18, **SMALL}, quick=False,
    ),
    "resnet50": Case(
        "resnet", {}, 25_557_032, TORCHVISION, 4_089, TORCHVISION, SMALL, quick=False, epochs=3,
    ),
    "resnet20": Case(
        "resnet_cifar", {}, 269_722, "Y. Idelbayev, pytorch_resnet_cifar10", 40.6, PRUNING,
        {"input_shape": (16, 16, 1)},
        simulated={"input_shape": (4, 4, 1), "classes": 2, "depth": 8},
    ),
    "resnet20 project": Case(
        "resnet_cifar", {"shortcut": "project"}, 272_474, "269,722 + 16·32 + 2·32 + 32·64 + 2·64",
        40.8, "40.55 M + 2·16·16·16·32",
        {"input_shape": (16, 16, 1), "shortcut": "project"},
        simulated={
            "input_shape": (4, 4, 1), "classes": 2, "depth": 8, "shortcut": "project",
        },
    ),
    "resnet56": Case(
        "resnet_cifar", {"depth": 56}, 853_018, "Y. Idelbayev, pytorch_resnet_cifar10", 125.5,
        PRUNING, {"input_shape": (16, 16, 1), "depth": 56}, quick=False,
    ),
    "squeezenet1.0": Case(
        "squeezenet", {"version": "1.0"}, 1_248_424, TORCHVISION, 819, TORCHVISION,
        {"version": "1.0", "input_shape": (64, 64, 3), "classes": 10}, quick=False,
        learning_rate=3e-4, epochs=4,
    ),
    "squeezenet1.1": Case(
        "squeezenet", {}, 1_235_496, TORCHVISION, 349, TORCHVISION,
        {"input_shape": (64, 64, 3), "classes": 10}, learning_rate=3e-4, epochs=4,
        simulated={"input_shape": (17, 17, 1), "classes": 2},
    ),
    "densenet121": Case(
        "densenet", {}, 7_978_856, TORCHVISION, 2_834, TORCHVISION, SMALL, quick=False,
        simulated={
            "input_shape": (32, 32, 1), "classes": 2, "blocks": (1, 2), "growth_rate": 4,
        },
    ),
}  # fmt: skip
