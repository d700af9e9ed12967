"""One measurement of one model in this process; prints JSON. `models.py` starts it.

    python bench/one_model.py first|speed MODEL [nbcnn|keras]

first: seconds from before the import to the end of a first `fit` of one batch.
speed: images per second of `fit` and of `predict` (best of several epochs), and memory.
"""

import importlib
import json
import sys
import time

from engine_keras import compiled
from model_set import MODELS, data
from serve import peak_bytes

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
    x, y = data(setting, np, images)
    return compiled(keras, setting.build(keras)), x, y


def best(call):
    """Seconds of the fastest of several calls, after one to warm up."""
    call()
    times = []
    for _ in range(EPOCHS):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return min(times)


if __name__ == "__main__":
    main()
