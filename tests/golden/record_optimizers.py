"""Records what real Keras makes of the weights of `cases.optimizers`: optimizers.npz.

export PYTHONPATH=tests
KERAS_BACKEND=jax JAX_DISABLE_JIT=1 python tests/golden/record_optimizers.py jax.npz
KERAS_BACKEND=tensorflow python tests/golden/record_optimizers.py tf.npz
python tests/golden/record_optimizers.py jax.npz tf.npz

Compiled by JAX, LossScaleOptimizer would keep what belongs to a trace. The last keeps what both
backends agree on, and names the rest. Of ScheduleFreeAdamW it keeps what the first gives: on
TensorFlow the name of z's old value means the variable, which is read when it holds the new one
already.
"""

import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent


def weights_of(keras, name, make):
    """By weight and step; after the last one also as `finalize_variable_values` leaves them."""
    from cases.optimizers import CONSTRAINED, LIMIT, SEEN, STEPS, WEIGHTS, gradient, start

    variables = []
    for path in WEIGHTS:
        layer, _, own = path.partition("/")
        with keras.name_scope(layer):
            variables.append(keras.Variable(start(path), name=own))
        assert variables[-1].path == path
        if "constrained" in name and path == CONSTRAINED:
            variables[-1].constraint = keras.constraints.MaxNorm(LIMIT, axis=1)
    optimizer, found = make(keras), {}
    optimizer.build(variables)

    def keep(step):
        for path, variable in zip(WEIGHTS, variables):
            found[f"{name}/{step}/{path}"] = keras.ops.convert_to_numpy(variable.value)

    for step in range(STEPS):
        scale = float(optimizer.scale_loss(1.0))
        with np.errstate(over="ignore"):
            slopes = [np.float32(scale) * gradient(name, path, step) for path in WEIGHTS]
        optimizer.apply([keras.ops.convert_to_tensor(g) for g in slopes], variables)
        if step in SEEN:
            keep(step)
    if optimizer.use_ema:
        optimizer.finalize_variable_values(variables)
        keep("end")
    return found


def record(target):
    import keras
    from cases.optimizers import CASES

    found = {}
    for name, make in CASES.items():
        found.update(weights_of(keras, name, make))
    np.savez(target, **found)


def join(first, second):
    one, other = np.load(first), np.load(second)
    kept = {}
    for key in one.files:
        apart = np.abs(one[key] - other[key]).max() / np.abs(one[key]).max()
        if apart <= 1e-5 or key.startswith("ScheduleFreeAdamW"):
            kept[key] = one[key]
        else:
            print(f"{key}: the backends differ by {apart:.1e}")
    np.savez_compressed(HERE / "optimizers.npz", **kept)


if __name__ == "__main__":
    (record if len(sys.argv) == 2 else join)(*sys.argv[1:])
