"""Worker of `onnx_models.py`: a network in an ONNX file through nbcnn's `predict` or ONNX Runtime.

    python engine_onnx.py FOLDER NAME ENGINE THREADS

FOLDER: what `onnx_networks.py` wrote. ENGINE: nbcnn or onnxruntime.
"""

import sys
from pathlib import Path

from serve import latencies, limit_threads, memory_of, serve


class Nbcnn:
    def __init__(self, folder, name, threads):
        import nbcnn

        self.model = nbcnn.onnx.load(Path(folder) / f"{name}.onnx")

    def run(self, x, batch):
        return self.model.predict(x, batch_size=batch, verbose=0)

    def run_one(self, x):
        return self.model.predict_on_batch(x)


class OnnxRuntime:
    def __init__(self, folder, name, threads):
        self._sessions = [
            self._session(Path(folder) / f"{name}{end}.onnx", threads) for end in ("", ".one")
        ]

    @staticmethod
    def _session(file, threads):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])

    def run(self, x, batch):
        import numpy as np

        parts = [x[i : i + batch] for i in range(0, len(x), batch)]
        return np.concatenate([self._sessions[0].run(None, {"x": part})[0] for part in parts])

    def run_one(self, x):
        return self._sessions[1].run(None, {"x": x})[0]


ENGINES = {"nbcnn": Nbcnn, "onnxruntime": OnnxRuntime}


class Engine:
    """What `engine_rounds` asks for."""

    def __init__(self, folder, name, engine, threads):
        import numpy as np
        from onnx_settings import SETTINGS

        setting = SETTINGS[name]
        shape = (setting.batch * setting.steps, *setting.shape)
        self.x = np.random.default_rng(0).standard_normal(shape, "float32")
        self.batch = setting.batch
        self.engine = ENGINES[engine](folder, name, threads)

    def train(self):
        raise NotImplementedError("inference only")

    def predict(self):
        return self.engine.run(self.x, self.batch)

    def latency(self):
        one = self.x[:1].copy()
        return latencies(lambda: self.engine.run_one(one))

    def save(self, file):
        """Predictions of the first batch, as a file."""
        import numpy as np

        np.save(file, self.engine.run(self.x[: self.batch], self.batch))


def main():
    folder, name, engine, threads = sys.argv[1:]
    limit_threads(int(threads))
    made = Engine(folder, name, engine, int(threads))
    from engine_rounds import handlers

    serve({**handlers(made, memory_of), "save": made.save})


if __name__ == "__main__":
    main()
