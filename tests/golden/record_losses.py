"""Records what real Keras gives for `cases.losses`: run with an interpreter that has Keras 3.

KERAS_BACKEND=jax PYTHONPATH=tests python tests/golden/record_losses.py > tests/golden/losses.json
"""

import json
import sys

import keras
from cases.losses import LOSSES, METRICS


def loss_value(case):
    loss = getattr(keras.losses, case.name)(**case.kwargs)
    return float(loss(case.y_true, case.y_pred.astype("float32")))


def metric_value(case):
    metric = getattr(keras.metrics, case.name)(**case.kwargs)
    metric.update_state(case.y_true, case.y_pred.astype("float32"))
    return float(metric.result())


results = {
    "keras": keras.__version__,
    "losses": {case.id: loss_value(case) for case in LOSSES},
    "metrics": {case.id: metric_value(case) for case in METRICS},
}
json.dump(results, sys.stdout, indent=1)
sys.stdout.write("\n")
