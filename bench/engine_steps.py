"""Worker of `scaling.py` and `compare.py`: planned steps of one model, without `fit` around them.

    python engine_steps.py MODEL THREADS BATCH EDGE

`train` and `predict` answer the seconds of the fastest of repeated runs.
"""

import sys

from engine_keras import compiled, load
from model_set import MODELS
from serve import fastest, serve


def main():
    name, *numbers = sys.argv[1:]
    threads, batch, edge = map(int, numbers)
    keras, _ = load("nbcnn", threads)
    model = compiled(keras, MODELS[name].build(keras, edge))
    plans = {}

    def time(training, seconds):
        if training not in plans:
            plans[training] = model.plan(batch, training=training)
            plans[training].prepare()
            plans[training].run()
        return fastest(plans[training].run, seconds)

    serve(
        {
            "train": lambda seconds: time(True, seconds),
            "predict": lambda seconds: time(False, seconds),
        }
    )


if __name__ == "__main__":
    main()
