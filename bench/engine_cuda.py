"""Worker of `peers_cuda.py`: one model through `fit` and `predict` of nbcnn on a GPU.

    python engine_cuda.py MODEL DATA THREADS DEVICE PRECISION SCALE

DATA: gpu (images and labels lie there, as in PyTorch's loop) or host (every batch is sent).
PRECISION, SCALE: as for `engine_torch.py`.
"""

import sys

from engine_keras import compiled
from serve import latencies, limit_threads, memory_of, serve


class Engine:
    def __init__(self, name, place, device, precision, scale):
        import numpy as np
        from gpu_scale import scaled
        from model_set import MODELS, data

        import nbcnn

        setting = scaled(MODELS[name], scale)
        nbcnn.set_device(device)
        if precision == "bfloat16":
            nbcnn.config.set_dtype_policy("mixed_bfloat16")
        elif precision == "tf32":
            nbcnn.config.set_matmul_precision("high")
        nbcnn.utils.set_random_seed(0)
        x, y = data(setting, np)
        self.one, self.batch = x[:1], setting.batch
        # A simulated GPU's memory is the host's.
        there = place == "gpu" and not nbcnn.get_device().caps.simulated
        self.x, self.y = (on_device(nbcnn, a) for a in (x, y)) if there else (x, y)
        self.model = compiled(nbcnn, setting.build(nbcnn))

    def train(self):
        self.model.fit(self.x, self.y, batch_size=self.batch, epochs=1, verbose=0, shuffle=False)

    def predict(self):
        return self.model.predict(self.x, batch_size=self.batch, verbose=0)

    def latency(self):
        return latencies(lambda: self.model.predict_on_batch(self.one))


def on_device(nbcnn, values):
    device = nbcnn.get_device()
    array = device.view(device.empty(values.nbytes), 0, values.shape, values.dtype.name)
    device.upload(array, values)
    return array


def main():
    name, place, threads, *gpu = sys.argv[1:]
    limit_threads(int(threads))
    made = Engine(name, place, *gpu)
    from engine_rounds import handlers

    serve(handlers(made, memory_of))


if __name__ == "__main__":
    main()
