"""The models of `models/`: what is published of each, and sizes at which it is tried."""

import importlib
import sys
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[2] / "models"))

TORCHVISION = "torchvision's documentation of its weights"


class Case(NamedTuple):
    """A builder with arguments, and what it must come to.

    `published`: arguments of `build` for the model of the paper. `parameters`: how many of it
    training changes, by `source`. `multiply_adds`: in millions, by `cost_source`; None where nobody
    has published any. `small`: arguments for a model that a test can train; `learning_rate`,
    `batch`: how. `learn`: `learn(module, model)` trains a model that is no classifier for an epoch
    and returns the losses of its steps. `quick`: small enough for every run of the tests.
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
}  # fmt: skip
