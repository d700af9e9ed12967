"""Worker of `peers.py`: one model through `fit` and `predict` of nbcnn or real Keras.

    python engine_keras.py MODEL ENGINE THREADS

MODEL: SET.NAME of `model_sets.py`. ENGINE: nbcnn, or real Keras on tensorflow,
tensorflow_nojit (without XLA), jax, torch.
"""

import importlib
import math
import os
import sys

from serve import latencies, limit_threads, memory_of, serve


def load(engine, threads):
    """The module to be used as `keras`, and what its `compile` gets beside the optimizer."""
    limit_threads(threads)
    if engine == "nbcnn":
        return importlib.import_module("nbcnn"), {}
    backend, _, setting = engine.partition("_")
    os.environ["KERAS_BACKEND"] = backend
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    if backend == "tensorflow":
        import tensorflow

        tensorflow.config.threading.set_intra_op_parallelism_threads(threads)
        tensorflow.config.threading.set_inter_op_parallelism_threads(threads)
    if backend == "torch":
        import torch

        torch.set_num_threads(threads)
    return importlib.import_module("keras"), {"jit_compile": False} if setting == "nojit" else {}


def compiled(keras, model, loss="sparse_categorical_crossentropy", **options):
    """The model ready to train, as every peer trains it."""
    optimizer = keras.optimizers.SGD(0.01, momentum=0.9)
    model.compile(optimizer=optimizer, loss=loss, **options)
    return model


class Engine:
    def __init__(self, name, engine, threads):
        keras, options = load(engine, threads)
        import numpy as np
        from model_sets import find

        models, name = find(name)
        setting = models.MODELS[name]
        keras.utils.set_random_seed(0)
        self.x, self.y = models.data(setting, np)
        self.batch = setting.batch
        loss = getattr(setting, "loss", "sparse_categorical_crossentropy")
        self.model = compiled(keras, setting.build(keras), loss, **options)

    def parameters(self):
        return sum(math.prod(weight.shape) for weight in self.model.trainable_weights)

    def train(self):
        self.model.fit(self.x, self.y, batch_size=self.batch, epochs=1, verbose=0)

    def predict(self):
        return self.model.predict(self.x, batch_size=self.batch, verbose=0)

    def latency(self):
        one = self.x[:1]
        return latencies(lambda: self.model.predict_on_batch(one))


def main():
    name, engine, threads = sys.argv[1:]
    made = Engine(name, engine, int(threads))
    from engine_rounds import handlers

    serve(handlers(made, memory_of))


if __name__ == "__main__":
    main()
