"""One measurement of one model in this process; prints JSON. `models.py` starts it.

    python bench/one_model.py first|speed MODEL [nbcnn|keras]

first: seconds from before the import to the end of a first `fit` of one batch.
speed: images per second of `fit` and of `predict` (best of several epochs), and memory.
"""

import importlib
import json
import resource
import sys
import time

from model_set import MODELS

EPOCHS = 5


def main():
    what, name, *engine = sys.argv[1:]
    measure = {"first": first_fit, "speed": speed}[what]
    print(json.dumps(measure(MODELS[name], engine[0] if engine else "nbcnn")))


def first_fit(setting, engine):
    begin = time.perf_counter()
    keras = importlib.import_module(engine)
    imported = time.perf_counter()
    model, x, y = prepare(keras, setting, images=setting.batch)
    model.fit(x, y, batch_size=setting.batch, epochs=1, verbose=0)
    end = time.perf_counter()
    return {"seconds": end - begin, "import_seconds": imported - begin}


def speed(setting, engine):
    keras = importlib.import_module(engine)
    images = setting.batch * setting.steps
    model, x, y = prepare(keras, setting, images)
    before = peak_bytes()
    fit = best(lambda: model.fit(x, y, batch_size=setting.batch, epochs=1, verbose=0))
    predict = best(lambda: model.predict(x, batch_size=setting.batch, verbose=0))
    return {
        "train_images_per_second": images / fit,
        "predict_images_per_second": images / predict,
        "peak_bytes": peak_bytes(),
        "peak_bytes_over_data_and_weights": peak_bytes() - before,
    }


def prepare(keras, setting, images):
    """A compiled model and random data."""
    import numpy as np

    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((images, *setting.shape), dtype=np.float32)
    y = rng.integers(0, setting.classes, images).astype("int32")
    model = setting.build(keras)
    optimizer = keras.optimizers.SGD(0.01, momentum=0.9)
    model.compile(optimizer=optimizer, loss="sparse_categorical_crossentropy")
    return model, x, y


def best(call):
    """Seconds of the fastest of several calls, after one to warm up."""
    call()
    times = []
    for _ in range(EPOCHS):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return min(times)


def peak_bytes():
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


if __name__ == "__main__":
    main()
