"""The models of `models/`: what is published of each, and sizes at which it is tried."""

import importlib
import sys
from pathlib import Path
from typing import Any, NamedTuple

from cases import zoo_tasks as tasks

sys.path.insert(0, str(Path(__file__).parents[2] / "models"))

TORCHVISION = "torchvision's documentation of its weights"
PRUNING = "M. Lin et al., HRank, table 3: 125.49 M for 56 layers"
SMALL = {"input_shape": (32, 32, 3), "classes": 10}


# ConvNeXt V2 with 4 x 4 patches of 16 x 16 pixels.
MASKED = {"widths": (16, 32), "depths": (1, 1), "stem": 2}


class Case(NamedTuple):
    """A builder with arguments, and what it must come to.

    `published`: arguments of `build` for the model of the paper. `parameters`: how many of it
    training changes, by `source`. `multiply_adds`: in millions, by `cost_source`; None where nobody
    has published any. `small`: arguments for a model that a test can train; `learning_rate`,
    `batch`, `epochs`: how. `task`: `task(model)` returns (x, y, loss) of what is no classification
    of pictures; `watched`: the loss among the logs. `quick`: small enough for every run.
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
    task: Any = None
    watched: str = "loss"

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
    "mobilenet_v1": Case(
        "mobilenet", {}, 4_231_976, "Keras's MobileNet, its trainable parameters", 569,
        "table 6 of the paper", {"input_shape": (32, 32, 1), "classes": 10, "width": 0.25},
        learning_rate=3e-3, batch=32, epochs=4,
        simulated={"input_shape": (8, 8, 1), "classes": 3, "width": 0.01},
    ),
    "mobilenet_v2": Case(
        "mobilenet", {"version": 2}, 3_504_872, TORCHVISION, 301, TORCHVISION,
        {"input_shape": (32, 32, 1), "classes": 10, "width": 0.25, "version": 2},
        learning_rate=3e-3, batch=64, epochs=12,
    ),
    "efficientnet_b0": Case(
        "efficientnet", {}, 5_288_548, TORCHVISION, 386, TORCHVISION,
        {"input_shape": (32, 32, 1), "classes": 10, "width": 0.25, "depth": 0.5},
    ),
    "convnext_v2": Case(
        "convnext_v2", {}, 3_708_400, "github.com/facebookresearch/ConvNeXt-V2", 550,
        "0.55 G, table of the same",
        {"input_shape": (16, 16, 1), "classes": 10, **MASKED},
        simulated={"input_shape": (8, 8, 1), "classes": 3, "widths": (2,), "depths": (1,)},
    ),
    "unet": Case(
        "unet", {"classes": 1, "last_maps": 2}, 31_031_685, "github.com/zhixuhao/unet", None, "",
        {"input_shape": (32, 32, 1), "width": 8, "depth": 2}, task=tasks.segmentation, batch=8,
        simulated={"input_shape": (8, 8, 1), "width": 2, "depth": 1},
    ),
    "autoencoder": Case(
        "autoencoder", {}, 28_353, "Keras's example autoencoder", 4.52,
        "784·(9·32 + 9·32) + 196·32·32·9·2 + 49·32·32·9 + 196·32·32·9", {}, task=tasks.denoising,
        simulated={"input_shape": (8, 8, 1), "width": 2},
    ),
    "vae": Case(
        "vae", {}, 134_165, "Keras's example vae: 69,076 + 65,089", None, "", {},
        task=tasks.reconstruction, simulated={"input_shape": (4, 4, 1)},
    ),
    "dcgan": Case(
        "dcgan", {}, 6_342_272, "PyTorch's DCGAN tutorial: 3,576,704 + 2,765,568", None, "",
        {"input_shape": (16, 16, 1), "width": 8}, task=tasks.forgery, watched="d_loss",
        simulated={"input_shape": (8, 8, 1), "width": 2},
    ),
    "m5": Case(
        "m5", {"widths": (32, 32, 64, 64), "stride": 16}, 26_915,
        "PyTorch's tutorial of speech commands", None, "",
        {"input_shape": (8000, 1), "classes": 5, "widths": (16, 16, 32, 32), "stride": 16},
        task=tasks.sound,
        simulated={"input_shape": (64, 1), "classes": 5, "widths": (2, 2), "stride": 4},
    ),
    "tcn": Case(
        "tcn", {}, 66_510, "200 + 4,400 + 50 + 7·8,800 + 260; about 70 thousand in the paper", 51.6,
        "784·(7·25 + 25 + 15·7·25·25) + 250",
        {"input_shape": (8, 8), "width": 16, "kernel": 3, "levels": 2}, task=tasks.reading,
        learning_rate=1e-2,
        simulated={"input_shape": (8, 8), "width": 3, "kernel": 3, "levels": 2},
    ),
    "text_cnn": Case(
        "text_cnn", {}, 1_862_708, "5,000·300 + 100·300·(3 + 4 + 5) + 300 + 8·301", 22.0,
        "300·100·(62·3 + 61·4 + 60·5) + 2,400", {"vocabulary": 1000, "width": 32, "filters": 16},
        task=tasks.sentences, learning_rate=3e-3, epochs=3,
        simulated={"input_shape": (8,), "vocabulary": 30, "width": 3, "filters": 2},
    ),
}  # fmt: skip
