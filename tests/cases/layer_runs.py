"""Layers of the cases with their weights, what they compute, and what is expected: what real Keras
computed, or a reference in NumPy.
"""

from functools import cache
from pathlib import Path

import numpy as np
from golden.layer_values import input_values, slopes, weight_values

from nbcnn import layers, ops
from nbcnn.graph.autodiff import gradients
from nbcnn.graph.fuse import fuse
from nbcnn.graph.graph import Graph, rewrite
from nbcnn.graph.plan import Plan
from nbcnn.graph.rewrite import INDICES, TRAINING
from nbcnn.layers.context import Context
from nbcnn.models.steps import accepted_by
from nbcnn.ops.tensor import Tensor
from nbcnn.runtime.device import current_device

GOLDEN = Path(__file__).parents[1] / "golden"
FILES = sorted(GOLDEN.glob("keras_layers*.npz"))
RECORDED = {name: value for file in FILES for name, value in np.load(file).items()}


def recorded(case):
    """What is expected, by name: y, `d input 0`, `d kernel`, `after moving_mean`, ..."""
    if case.reference is not None:
        return by_reference(case)
    prefix = f"{case.name}/"
    return {k.removeprefix(prefix): v for k, v in RECORDED.items() if k.startswith(prefix)}


@cache
def by_reference(case):
    """As `recorded`, of a case with a reference; gradients by differences of fourth order."""
    values = {f"input {i}": v for i, v in enumerate(arrays(case, "float64"))}
    layer = built(case, "float64")
    values |= {v.name: v.numpy().copy() for v in layer.weights}
    wanted = [k for k in values if k.startswith("input ") and not case.integers]
    wanted += [v.name for v in layer.trainable_weights]

    def outputs():
        weights = {k: v for k, v in values.items() if not k.startswith("input ")}
        return case.reference(*(v for k, v in values.items() if k not in weights), **weights)

    y = outputs()
    factors = slopes(case, y.shape)
    return {"y": y} | {
        f"d {name}": differences(lambda: np.sum(outputs() * factors), values[name])
        for name in wanted
    }


def differences(loss, x, step=1e-3):
    """Slopes of `loss()` by each element of x, which it reads."""
    slope = np.empty(x.shape)
    for place in np.ndindex(x.shape):
        at = x[place]
        values = []
        for steps in (-2, -1, 1, 2):
            x[place] = at + steps * step
            values.append(loss())
        x[place] = at
        slope[place] = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * step)
    return slope


def symbolic_inputs(case, batch=None, dtype="float32"):
    dtype = "int32" if case.integers else dtype
    tensors = [layers.Input(shape[1:], batch, dtype) for shape in case.inputs]
    return tensors if len(tensors) > 1 else tensors[0]


def arrays(case, dtype):
    values = [input_values(case, i) for i in range(len(case.inputs))]
    return [v if case.integers else v.astype(dtype) for v in values]


def built(case, dtype):
    """The case's layer with its weights."""
    layer = case.make(layers)
    for inner in layer._flatten_layers():
        inner.dtype = dtype
    layer(symbolic_inputs(case, dtype=dtype))
    layer.set_weights([weight_values(case, v.name, v.shape) for v in layer.weights])
    return layer


def outcome(layer, case, dtype):
    """Output and gradients as a training step computes them, by the names of `recorded`."""
    device = current_device()
    values = arrays(case, dtype)
    leaves = [Tensor(v.shape, v.dtype.name) for v in values]
    with Context(case.training) as context:
        y = layer(leaves if len(leaves) > 1 else leaves[0])
        loss = ops.sum(ops.multiply(y, slopes(case, y.shape).astype(dtype)))
    graph = rewrite(rewrite(Graph([y, loss], context.updates), TRAINING), INDICES)
    wanted = {f"d input {i}": leaf for i, leaf in enumerate(leaves) if not case.integers}
    wanted |= {f"d {v.name}": v.symbol for v in layer.trainable_weights}
    slope = dict(zip(wanted, gradients(graph.outputs[1], list(wanted.values()))))
    known = {name: g for name, g in slope.items() if g is not None}
    graph = fuse(Graph([graph.outputs[0], *known.values()], graph.effects), accepted_by(device))
    plan = Plan(graph, device, weights_change=True)
    for leaf, value in zip(leaves, values):
        device.upload(plan.array(leaf), value)
    plan.prepare()
    plan.run()
    results = [device.download(plan.array(t)) for t in graph.outputs]
    found = dict(zip(["y", *known], results))
    for name in slope.keys() - known.keys():
        found[name] = np.zeros(wanted[name].shape)
    return found
