"""Convolutional neural networks with Keras 3's API, compiled by Numba for CPUs and CUDA GPUs.

    import nbcnn as keras

Everything is loaded when it is first used: importing this package compiles nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

from nbcnn.version import __version__, version

if TYPE_CHECKING:
    from nbcnn import (
        activations,
        analysis,
        backend,
        callbacks,
        config,
        constraints,
        datasets,
        dtype_policies,
        filters,
        initializers,
        layers,
        losses,
        metrics,
        mixed_precision,
        models,
        onnx,
        ops,
        optimizers,
        preprocessing,
        random,
        regularizers,
        saving,
        tree,
        utils,
        viz,
        wrappers,
    )
    from nbcnn.dtype_policies import DTypePolicy
    from nbcnn.initializers import Initializer
    from nbcnn.layers import Input, InputSpec, Layer
    from nbcnn.layers.variable import Variable
    from nbcnn.losses import Loss
    from nbcnn.metrics import Metric
    from nbcnn.models import Model, Sequential
    from nbcnn.models.gradients import value_and_grad
    from nbcnn.ops.tensor import Tensor as KerasTensor
    from nbcnn.optimizers import Optimizer
    from nbcnn.regularizers import Regularizer
    from nbcnn.runtime.device import DeviceError, device, get_device, set_device
    from nbcnn.runtime.listing import devices
    from nbcnn.warming import warmup

# Modules that are loaded on first use.
MODULES = (
    "activations", "analysis", "backend", "callbacks", "config", "constraints", "datasets",
    "dtype_policies", "filters", "initializers", "layers", "losses", "metrics", "mixed_precision",
    "models", "onnx", "ops", "optimizers", "preprocessing", "random", "regularizers", "saving",
    "tree", "utils", "viz", "wrappers",
)  # fmt: skip

# Name -> where it is defined, as module:name.
NAMES = {
    "DTypePolicy": "nbcnn.dtype_policies:DTypePolicy",
    "DeviceError": "nbcnn.runtime.device:DeviceError",
    "Initializer": "nbcnn.initializers:Initializer",
    "Input": "nbcnn.layers:Input",
    "InputSpec": "nbcnn.layers:InputSpec",
    "KerasTensor": "nbcnn.ops.tensor:Tensor",
    "Layer": "nbcnn.layers:Layer",
    "Loss": "nbcnn.losses:Loss",
    "Metric": "nbcnn.metrics:Metric",
    "Model": "nbcnn.models:Model",
    "Optimizer": "nbcnn.optimizers:Optimizer",
    "Regularizer": "nbcnn.regularizers:Regularizer",
    "Sequential": "nbcnn.models:Sequential",
    "Variable": "nbcnn.layers.variable:Variable",
    "device": "nbcnn.runtime.device:device",
    "devices": "nbcnn.runtime.listing:devices",
    "get_device": "nbcnn.runtime.device:get_device",
    "set_device": "nbcnn.runtime.device:set_device",
    "value_and_grad": "nbcnn.models.gradients:value_and_grad",
    "warmup": "nbcnn.warming:warmup",
}

__all__ = [
    "DTypePolicy",
    "DeviceError",
    "Initializer",
    "Input",
    "InputSpec",
    "KerasTensor",
    "Layer",
    "Loss",
    "Metric",
    "Model",
    "Optimizer",
    "Regularizer",
    "Sequential",
    "Variable",
    "__version__",
    "activations",
    "analysis",
    "backend",
    "callbacks",
    "config",
    "constraints",
    "datasets",
    "device",
    "devices",
    "dtype_policies",
    "filters",
    "get_device",
    "initializers",
    "layers",
    "losses",
    "metrics",
    "mixed_precision",
    "models",
    "onnx",
    "ops",
    "optimizers",
    "preprocessing",
    "random",
    "regularizers",
    "saving",
    "set_device",
    "tree",
    "utils",
    "value_and_grad",
    "version",
    "viz",
    "warmup",
    "wrappers",
]


def __getattr__(name: str) -> Any:
    if name in MODULES:
        return importlib.import_module(f"nbcnn.{name}")
    if name not in NAMES:
        raise AttributeError(f"module 'nbcnn' has no attribute {name!r}")
    module, _, attribute = NAMES[name].partition(":")
    found = globals()[name] = getattr(importlib.import_module(module), attribute)
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
