"""Records what real Keras computes for `cases.layers`, once for each of two backends, and keeps
what they agree on: keras_layers*.npz and keras_layers*.json.

KERAS_BACKEND=jax JAX_ENABLE_X64=1 PYTHONPATH=tests python tests/golden/record_layers.py a.npz
KERAS_BACKEND=tensorflow PYTHONPATH=tests python tests/golden/record_layers.py b.npz
PYTHONPATH=tests python tests/golden/record_layers.py a.npz b.npz [FILE ...]

Where a backend has no such layer, or another result, for the reason that ONE_BACKEND names, the
first one's values are kept. FILE is one of FILES; by default all are written.
"""

import inspect
import json
import sys
from pathlib import Path

import numpy as np
from cases.layers import AT_REST, CASES, FIXED, PREPROCESSING, RANKS, VARIANTS
from golden.layer_values import input_values, slopes, weight_values

HERE = Path(__file__).parent
DATA = [*AT_REST, *FIXED, *PREPROCESSING]
FILES = {
    "keras_layers": [c for c in CASES if c not in RANKS + DATA + VARIANTS],
    "keras_layers_data": DATA,
    "keras_layers_ranks": RANKS,
    "keras_layers_variants": VARIANTS,
}
FIRST = "TensorFlow has no such layer with channels first on a CPU"
DILATED = "TensorFlow does not transpose dilated convolutions on a CPU"
BIAS = "TensorFlow adds the bias along another axis with channels first on a CPU"
MOVED = "TensorFlow's gradient through moved images is another"
ONE_BACKEND = {
    "conv1d first same": FIRST,
    "conv2d channels first": FIRST,
    "conv2d first same": FIRST,
    "transpose 1d first": FIRST,
    "transpose first output padding": FIRST,
    "transpose 3d first": FIRST,
    "transpose 3d same": FIRST,
    "transpose dilated": DILATED,
    "transpose 1d dilated": DILATED,
    "transpose 3d dilated": DILATED,
    "conv3d first same": BIAS,
    "conv3d groups": BIAS,
    "separable first": BIAS,
    "rotation": MOVED,
    "translation": MOVED,
    "zoom": MOVED,
    "zoom constant": MOVED,
    "saturation": "TensorFlow's gradient at equal colours is another",
}


def results(case, keras, differentiate):
    """Output, gradients and changed weights of a case, by name, and the layer's configuration."""
    layer = case.make(keras.layers)
    config = layer.get_config()
    inputs = [input_values(case, i) for i in range(len(case.inputs))]
    inputs = [x if case.integers else x.astype(keras.config.floatx()) for x in inputs]
    layer.build([x.shape for x in inputs] if len(inputs) > 1 else inputs[0].shape)
    layer.set_weights([weight_values(case, v.name, v.shape) for v in layer.weights])
    takes_training = "training" in inspect.signature(layer.call).parameters
    training = {"training": case.training} if takes_training else {}
    tensors = [keras.ops.convert_to_tensor(x) for x in inputs]
    y, changed, dw, dx = differentiate(case, layer, tensors, training)
    found = {"y": y}
    for variable, value in zip(layer.trainable_variables, dw):
        found[f"d {variable.name}"] = value
    for variable, value in zip(layer.non_trainable_variables, changed):
        if variable.name.startswith("moving"):
            found[f"after {variable.name}"] = value
    if not case.integers:
        found.update({f"d input {i}": value for i, value in enumerate(dx)})
    return {k: np.asarray(v) for k, v in found.items()}, config


def with_jax(case, layer, inputs, training):
    import jax

    trainable = [v.value for v in layer.trainable_variables]
    fixed = [v.value for v in layer.non_trainable_variables]

    def weighted_sum(trainable, inputs):
        joint = inputs if len(inputs) > 1 else inputs[0]
        y, changed = layer.stateless_call(trainable, fixed, joint, **training)
        return (y * slopes(case, y.shape)).sum(), (y, changed)

    arguments = (0,) if case.integers else (0, 1)
    gradient = jax.grad(weighted_sum, argnums=arguments, has_aux=True)
    (dw, *dx), (y, changed) = gradient(trainable, inputs)
    return y, changed, dw, dx[0] if dx else []


def with_tensorflow(case, layer, inputs, training):
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(inputs)
        y = layer(inputs if len(inputs) > 1 else inputs[0], **training)
        total = tf.reduce_sum(y * tf.cast(slopes(case, y.shape), y.dtype))
    trainable = [v.value for v in layer.trainable_variables]
    places = [] if case.integers else inputs
    slope = tape.gradient(total, [*trainable, *places])
    slope = [
        np.zeros(x.shape) if g is None else tf.convert_to_tensor(g)
        for g, x in zip(slope, [*trainable, *places])
    ]
    changed = [v.value for v in layer.non_trainable_variables]
    return y, changed, slope[: len(trainable)], slope[len(trainable) :]


def record(path):
    import keras
    from keras.src.backend.common import dtypes

    dtypes.BIT64_TO_BIT32_DTYPE.pop("float64", None)  # Keras would compute some layers in float32
    differentiate = with_jax if keras.backend.backend() == "jax" else with_tensorflow
    arrays, configs = {}, {}
    for case in CASES:
        for dtype in ("float64", "float32"):  # TensorFlow has some operations in one only
            keras.config.set_floatx(dtype)
            keras.config.set_dtype_policy(dtype)
            try:
                found, configs[case.name] = results(case, keras, differentiate)
            except Exception as error:
                print(case.name, dtype, "failed:", str(error)[:200].replace("\n", " "))
                continue
            arrays.update({f"{case.name}/{k}": v.astype(dtype) for k, v in found.items()})
            break
    np.savez_compressed(path, **arrays)
    described = {"keras": keras.__version__, "configs": configs}
    Path(path).with_suffix(".json").write_text(json.dumps(described))


def apart(a, b):
    """The largest distance, as a share of the largest value; a tenth of it beside float32."""
    if a is None or b is None or a.shape != b.shape:
        return np.inf
    scale = max(np.abs(a).max(initial=0.0), 0.1)
    return np.abs(a - b).max(initial=0.0) / scale * (1 if a.dtype == b.dtype else 0.1)


def join(first, second, *files):
    a, b = (dict(np.load(path)) for path in (first, second))
    described = json.loads(Path(first).with_suffix(".json").read_text())
    disagreeing = {}
    for key in sorted({*a, *b}):
        distance = apart(a.get(key), b.get(key))
        if not distance <= 1e-6:
            disagreeing.setdefault(key.rpartition("/")[0], []).append(f"{key}: {distance:.1e}")
    for name, keys in disagreeing.items():
        print(ONE_BACKEND.get(name, "WITHOUT A REASON"), keys)
    kept = {c.name for c in CASES} - (disagreeing.keys() - ONE_BACKEND.keys())
    print("no longer apart:", ONE_BACKEND.keys() - disagreeing.keys())
    for file in files or FILES:
        names = [c.name for c in FILES[file] if c.name in kept]
        arrays = {k: v for k, v in a.items() if k.rpartition("/")[0] in names}
        np.savez_compressed(HERE / f"{file}.npz", **arrays)
        configs = {name: described["configs"][name] for name in names}
        text = json.dumps({**described, "configs": configs}, indent=1, sort_keys=True)
        (HERE / f"{file}.json").write_text(text + "\n")


if __name__ == "__main__":
    record(sys.argv[1]) if len(sys.argv) == 2 else join(*sys.argv[1:])
