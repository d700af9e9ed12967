"""Records what real Keras computes for `cases.layers`: keras_layers*.npz and keras_layers*.json.

KERAS_BACKEND=jax JAX_ENABLE_X64=1 PYTHONPATH=tests python tests/golden/record_layers.py [FILE]
"""

import inspect
import json
import sys
from pathlib import Path

import jax
import keras
import numpy as np
from cases.layers import AT_REST, CASES, FIXED, PREPROCESSING, RANKS
from golden.layer_values import input_values, slopes, weight_values
from keras.src.backend.common import dtypes

HERE = Path(__file__).parent
DATA = [*AT_REST, *FIXED, *PREPROCESSING]
FILES = {
    "keras_layers": [c for c in CASES if c not in RANKS + DATA],
    "keras_layers_data": DATA,
    "keras_layers_ranks": RANKS,
}


def results(case):
    """Output, gradients and changed weights of a case, by name, and the layer's configuration."""
    layer = case.make(keras.layers)
    config = layer.get_config()
    inputs = [input_values(case, i) for i in range(len(case.inputs))]
    joint = inputs if len(inputs) > 1 else inputs[0]
    layer.build([x.shape for x in inputs] if len(inputs) > 1 else inputs[0].shape)
    layer.set_weights([weight_values(case, v.name, v.shape) for v in layer.weights])
    fixed = [v.value for v in layer.non_trainable_variables]
    takes_training = "training" in inspect.signature(layer.call).parameters
    training = {"training": case.training} if takes_training else {}

    def weighted_sum(trainable, x):
        y, changed = layer.stateless_call(trainable, fixed, x, **training)
        return (y * slopes(case, y.shape)).sum(), (y, changed)

    trainable = [v.value for v in layer.trainable_variables]
    arguments = (0,) if case.integers else (0, 1)
    gradient = jax.grad(weighted_sum, argnums=arguments, has_aux=True)
    (dw, *dx), (y, changed) = gradient(trainable, joint)
    found = {"y": y}
    for variable, value in zip(layer.trainable_variables, dw):
        found[f"d {variable.name}"] = value
    for variable, value in zip(layer.non_trainable_variables, changed):
        if variable.name.startswith("moving"):
            found[f"after {variable.name}"] = value
    for i, value in enumerate(dx[0] if dx and len(inputs) > 1 else dx):
        found[f"d input {i}"] = value
    return found, config


def main(file, cases):
    dtypes.BIT64_TO_BIT32_DTYPE.pop("float64", None)  # Keras would compute some layers in float32
    keras.config.set_floatx("float64")
    arrays, configs = {}, {}
    for case in cases:
        found, configs[case.name] = results(case)
        arrays.update({f"{case.name}/{k}": np.asarray(v, np.float64) for k, v in found.items()})
    np.savez_compressed(HERE / f"{file}.npz", **arrays)
    described = {"keras": keras.__version__, "configs": configs}
    (HERE / f"{file}.json").write_text(json.dumps(described, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    for file in sys.argv[1:] or FILES:
        main(file, FILES[file])
