"""Records values and gradients of `cases.formulas` in real Keras, and the values of
`cases.schedules`, where two backends agree.

KERAS_BACKEND=jax JAX_ENABLE_X64=1 PYTHONPATH=tests python tests/golden/record_formulas.py a.json
KERAS_BACKEND=tensorflow PYTHONPATH=tests python tests/golden/record_formulas.py b.json
python tests/golden/agreeing.py a.json b.json > tests/golden/formulas.json

What initializers draw differs by backend: of these the spread is recorded.
"""

import json
import sys
import warnings

import keras
import numpy as np
from cases.formulas import CASES, slopes
from cases.initializers import CASES as INITIALIZERS
from cases.initializers import TOLERANCE, spread
from cases.schedules import CASES as SCHEDULES
from cases.schedules import STEPS
from keras.src.backend.common import dtypes


def outcome(case):
    """The value, and the gradient of a weighted sum of it."""
    function = case.make(keras)
    only_float32 = "OrthogonalRegularizer" in case.id  # in TensorFlow
    arrays = [
        keras.ops.convert_to_tensor(a.astype("float32") if only_float32 else a) for a in case.arrays
    ]
    value = np.asarray(function(*arrays), "float64")
    found = {"value": value.tolist()}
    if only_float32:
        found["tolerance"] = 5e-6
    if case.by is not None:
        found["gradient"] = np.asarray(gradient(case, function, arrays, value.shape)).tolist()
    return found


def gradient(case, function, arrays, shape):
    factors = keras.ops.cast(slopes(shape), arrays[case.by].dtype)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(arrays[case.by])
            total = tf.reduce_sum(function(*arrays) * factors)
        return tape.gradient(total, arrays[case.by])
    import jax

    return jax.grad(lambda *a: (function(*a) * factors).sum(), argnums=case.by)(*arrays)


def drawn(case):
    values = np.asarray(case.make(keras.initializers)(case.shape, "float32"), "float64")
    if not case.random:
        return {"value": values.tolist()}
    return {"spread": spread(values), "tolerance": TOLERANCE}


def rates(case):
    schedule = case.make(keras.optimizers.schedules)
    return {"value": [float(schedule(step)) for step in STEPS]}


def main():
    dtypes.BIT64_TO_BIT32_DTYPE.pop("float64", None)  # or JAX's Keras computes in float32
    keras.config.set_floatx("float64")
    warnings.simplefilter("ignore")
    found = {}
    for compute, cases in ((outcome, CASES), (drawn, INITIALIZERS), (rates, SCHEDULES)):
        for case in cases:
            try:
                found[case.id] = compute(case)
            except Exception as error:
                print(f"{case.id}: {error!r:.300}", file=sys.stderr)
    with open(sys.argv[1], "w") as file:
        json.dump({"keras": keras.__version__, "cases": found}, file)


if __name__ == "__main__":
    main()
