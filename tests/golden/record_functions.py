"""Records what real Keras computes for `cases.functions`, once for each of two backends, and keeps
what they agree on: keras_functions.npz.

KERAS_BACKEND=jax JAX_ENABLE_X64=1 PYTHONPATH=tests python tests/golden/record_functions.py a.npz
KERAS_BACKEND=tensorflow PYTHONPATH=tests python tests/golden/record_functions.py b.npz
PYTHONPATH=tests python tests/golden/record_functions.py a.npz b.npz
"""

import sys
from pathlib import Path

import numpy as np
from cases.functions import CALLS
from golden.function_values import arrays_of, results_of, slopes, with_arrays

HERE = Path(__file__).parent


def floating(x):
    return np.dtype(getattr(x.dtype, "name", str(x.dtype))).kind == "f"


def recorder():
    """A function from a call to its results and gradients, in the backend that is set."""
    import keras
    from keras.src.backend.common import dtypes

    dtypes.BIT64_TO_BIT32_DTYPE.pop("float64", None)  # Keras would compute in float32
    keras.config.set_floatx("float64")

    def found(call, values):
        function = keras.ops
        for part in call.name.split("."):
            function = getattr(function, part)
        args, kwargs = with_arrays(call, values)
        return results_of(function(*args, **kwargs))

    def total(call, results):
        parts = [
            (r * slopes(call, i, r.shape))
            for i, r in enumerate(results)
            if hasattr(r, "dtype") and floating(r)
        ]
        return sum(keras.ops.sum(p) for p in parts)

    def with_jax(call):
        import jax

        values = [keras.ops.convert_to_tensor(v) for v in arrays_of(call)]
        if call.host:
            return found(call, values), {}
        places = [i for i, v in enumerate(values) if floating(v)]

        def joint(floats, others):
            full = list(others)
            for place, value in zip(places, floats):
                full[place] = value
            results = found(call, full)
            arrays = [r for r in results if hasattr(r, "dtype")]
            return (total(call, results) if any(map(floating, arrays)) else 0.0), results

        floats = [values[p] for p in places]
        if not floats:
            return jax.jit(joint)(floats, values)[1], {}
        gradient = jax.jit(jax.value_and_grad(joint, has_aux=True))
        try:
            (_, results), gradients = gradient(floats, values)
        except (NotImplementedError, TypeError, jax.errors.JAXTypeError):
            return found(call, values), {}
        return results, dict(zip(places, gradients))

    def with_tensorflow(call):
        import tensorflow as tf

        values = [tf.constant(v) for v in arrays_of(call)]
        with tf.GradientTape() as tape:
            tape.watch(values)
            results = found(call, values)
            places = [i for i, v in enumerate(values) if v.dtype.is_floating]
            arrays = [r for r in results if hasattr(r, "dtype")]
            if call.host or not places or not any(map(floating, arrays)):
                return results, {}
            y = total(call, results)
        gradients = tape.gradient(y, [values[p] for p in places])
        dense = [None if g is None else tf.convert_to_tensor(g) for g in gradients]
        zeros = [np.zeros(values[p].shape) for p in places]
        return results, {p: z if g is None else g for p, g, z in zip(places, dense, zeros)}

    return with_jax if keras.backend.backend() == "jax" else with_tensorflow


def record(path):
    compute, arrays = recorder(), {}
    for call in CALLS:
        try:
            results, gradients = compute(call)
        except Exception as error:
            print(call.id, "failed:", str(error)[:200].replace("\n", " "))
            continue
        arrays.update({f"{call.id}/y{i}": np.asarray(r) for i, r in enumerate(results)})
        arrays.update({f"{call.id}/d{i}": np.asarray(g) for i, g in gradients.items()})
    np.savez_compressed(path, **arrays)


def same(a, b):
    if a.shape != b.shape or (a.dtype.kind == "b") != (b.dtype.kind == "b"):
        return False
    return np.allclose(a.astype("float64"), b.astype("float64"), 1e-6, 1e-7, equal_nan=True)


def join(first, second):
    a, b = (dict(np.load(path)) for path in (first, second))
    kept = {}
    for key in sorted({*a, *b}):
        if key not in a or key not in b:
            print(key, "only in", first if key in a else second)
        elif not same(a[key], b[key]):
            print(key, "differs", a[key].shape, b[key].shape, a[key].dtype, b[key].dtype)
        else:
            kept[key] = a[key]
    np.savez_compressed(HERE / "keras_functions.npz", **kept)
    print(len(kept), "arrays of", len({k.rpartition("/")[0] for k in kept}), "calls")


if __name__ == "__main__":
    record(sys.argv[1]) if len(sys.argv) == 2 else join(*sys.argv[1:])
