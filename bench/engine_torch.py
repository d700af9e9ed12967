"""Worker of `peers.py` and `peers_cuda.py`: a model in PyTorch, or exported by it to ONNX Runtime.

    python engine_torch.py MODEL SETTING THREADS [DEVICE PRECISION SCALE]

MODEL: SET.NAME of `model_sets.py`, SET being first or zoo. SETTING: eager, channels_last, compile,
compile_channels_last; onnxruntime (inference only); graph (CUDA graphs of the steps, channels_last,
GPUs only). DEVICE, PRECISION, SCALE: see `torch_gpu.py` and `gpu_scale.py`; images and labels lie
on the device.

The training loop is the leanest that trains: batches are views of one tensor already in the wanted
layout, the update is the fused one, the loss is read once an epoch. Inference ends in softmax,
or what the loss wants, as nbcnn's and Keras's models do.
"""

import contextlib
import importlib
import sys
import tempfile
from functools import partial
from pathlib import Path

from serve import latencies, limit_threads, memory_of, serve

CLASSES = "sparse_categorical_crossentropy"


def losses(nn):
    """Of each loss by Keras's name: that of logits, and what ends a network in inference."""
    return {
        CLASSES: (nn.CrossEntropyLoss(), nn.Softmax(dim=1)),
        "binary_crossentropy": (nn.BCEWithLogitsLoss(), nn.Sigmoid()),
        "mean_squared_error": (nn.MSELoss(), nn.Identity()),
    }


def channels_first(np, x):
    return np.ascontiguousarray(np.moveaxis(x, -1, 1) if x.ndim > 2 else x)


class Torch:
    def __init__(self, name, setting, threads, device="cpu", precision="float32", scale=None):
        import numpy as np
        import torch
        from gpu_scale import scaled
        from model_sets import find

        torch.set_num_threads(threads)
        torch.manual_seed(0)
        models, name = find(name)
        how = scaled(models.MODELS[name], scale)
        x, y = models.data(how, np)
        loss = getattr(how, "loss", CLASSES)
        self.torch, self.batch = torch, how.batch
        self.x = torch.from_numpy(channels_first(np, x))
        self.y = torch.from_numpy(y.astype("int64") if loss == CLASSES else channels_first(np, y))
        model = importlib.import_module(models.TORCH).BUILDERS[name]()
        if setting.endswith(("channels_last", "graph")):
            model = model.to(memory_format=torch.channels_last)
            if x.ndim == 4:
                self.x = self.x.to(memory_format=torch.channels_last)
        model, self.x, self.y = model.to(device), self.x.to(device), self.y.to(device)
        self.model = model
        self.loss, last = losses(torch.nn)[loss]
        self.run, self.infer = model, torch.nn.Sequential(model, last)
        if setting.startswith("compile"):
            self.run, self.infer = torch.compile(self.run), torch.compile(self.infer)
        self.optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9, fused=True)
        self.penalized = hasattr(self.model, "penalty")
        self.rounded = contextlib.nullcontext
        if precision == "bfloat16":
            self.rounded = partial(torch.autocast, torch.device(device).type, torch.bfloat16)
        if setting == "graph":
            from torch_gpu import graphed

            self.step, self.infer = graphed(self)

    def parameters(self):
        return sum(parameter.numel() for parameter in self.model.parameters())

    def batches(self):
        for start in range(0, len(self.x), self.batch):
            yield self.x[start : start + self.batch], self.y[start : start + self.batch]

    def step(self, x, y):
        self.optimizer.zero_grad()
        with self.rounded():
            loss = self.loss(self.run(x), y)
            if self.penalized:
                loss = loss + self.model.penalty
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def train(self):
        self.model.train()
        return float(sum(self.step(x, y) for x, y in self.batches()))

    def predict(self):
        self.model.eval()
        with self.torch.inference_mode(), self.rounded():
            return self.torch.cat([self.infer(x) for x, _ in self.batches()]).float().cpu().numpy()

    def latency(self):
        self.model.eval()
        one = self.x[:1].clone(memory_format=self.torch.preserve_format)
        with self.torch.inference_mode(), self.rounded():
            return latencies(lambda: self.infer(one).float().cpu().numpy())


class OnnxRuntime:
    """The model in inference only, exported once for the batch size and once for single images."""

    def __init__(self, name, threads):
        source = Torch(name, "eager", threads)
        self.x, self.batch = source.x.numpy(), source.batch
        self.run = self.session(source, self.batch, threads)
        self.run_one = self.session(source, 1, threads)

    @staticmethod
    def session(source, batch, threads):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        with tempfile.TemporaryDirectory() as folder:
            file = str(Path(folder) / "model.onnx")
            export = source.torch.onnx.export
            model = source.infer.eval()
            export(model, (source.x[:batch],), file, dynamo=False, input_names=["x"])
            session = onnxruntime.InferenceSession(
                file, options, providers=["CPUExecutionProvider"]
            )
        return lambda x: session.run(None, {"x": x})[0]

    def predict(self):
        import numpy as np

        starts = range(0, len(self.x), self.batch)
        return np.concatenate([self.run(self.x[i : i + self.batch]) for i in starts])

    def latency(self):
        one = self.x[:1].copy()
        return latencies(lambda: self.run_one(one))


def main():
    name, setting, threads, *gpu = sys.argv[1:]
    limit_threads(int(threads))
    if setting == "onnxruntime":
        made = OnnxRuntime(name, int(threads))
    else:
        if gpu:
            from torch_gpu import choose

            choose(*gpu[:2])
        made = Torch(name, setting, int(threads), *gpu)
    from engine_rounds import handlers

    serve(handlers(made, memory_of))


if __name__ == "__main__":
    main()
