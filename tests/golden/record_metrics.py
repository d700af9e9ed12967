"""Records what real Keras gives for `cases.metrics`, where two backends agree: metrics.json.

KERAS_BACKEND=jax JAX_ENABLE_X64=1 PYTHONPATH=tests python tests/golden/record_metrics.py a.json
KERAS_BACKEND=tensorflow PYTHONPATH=tests python tests/golden/record_metrics.py b.json
python tests/golden/agreeing.py a.json b.json > tests/golden/metrics.json
"""

import json
import sys
import warnings

import keras
import numpy as np
from cases.metrics import CASES
from keras.src.backend.common import dtypes


def result(case):
    metric = case.make(keras.metrics)
    for batch in case.batches:
        if "TopK" in case.id:  # TensorFlow's operation knows no other type
            batch = [batch[0], batch[1].astype("float32"), batch[2]]
        metric.update_state(*batch)
    return np.asarray(metric.result(), "float64").tolist()


def main():
    dtypes.BIT64_TO_BIT32_DTYPE.pop("float64", None)  # or JAX's Keras computes in float32
    keras.config.set_floatx("float64")
    warnings.simplefilter("ignore")
    found = {}
    for case in CASES:
        try:
            found[case.id] = {"result": result(case)}
        except Exception as error:
            print(f"{case.id}: {error!r:.300}", file=sys.stderr)
    with open(sys.argv[1], "w") as file:
        json.dump({"keras": keras.__version__, "cases": found}, file)


if __name__ == "__main__":
    main()
