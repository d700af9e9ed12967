"""PyTorch on a GPU, in its favour: which precision its products have, and steps as CUDA graphs.

DEVICE: cuda, cuda:1 or, to see that all works, cpu. PRECISION, of products and convolutions:

| | `torch.backends` | else |
|---|---|---|
| float32 | `cudnn.allow_tf32 = cuda.matmul.allow_tf32 = False` | |
| tf32 | both `True` (PyTorch's default: of convolutions only) | |
| bfloat16 | both `True` | `torch.autocast` around the model and its loss |

In all of them `cudnn.benchmark = True`: cuDNN tries its algorithms for each shape.
"""

import statistics
import time

import torch

SWITCHES = {"float32": False, "tf32": True, "bfloat16": True}


def choose(device, precision):
    """Set the switches. Raises RuntimeError where there is no such device."""
    allowed = SWITCHES[precision]
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed
    torch.backends.cudnn.benchmark = True
    if torch.device(device).type == "cuda" and not torch.cuda.is_available():
        raise RuntimeError(f"PyTorch {torch.__version__} sees no GPU here")


def described():
    """Versions, for result files."""
    found = {"torch": torch.__version__, "cuda": torch.version.cuda}
    if torch.cuda.is_available():
        found["cudnn"] = torch.backends.cudnn.version()
        found["gpu"] = torch.cuda.get_device_name()
    return found


def graphed(engine):
    """Functions as `Torch.step` and `Torch.infer` that replay CUDA graphs over memory of their own,
    into which each batch is copied.
    """
    step, infer = engine.step, engine.infer
    x, y = (
        a[: engine.batch].clone(memory_format=torch.preserve_format) for a in next_batch(engine)
    )
    engine.model.train()
    trained, loss = captured(lambda: step(x, y))
    engine.model.eval()
    with torch.inference_mode(), engine.rounded():
        inferred, result = captured(lambda: infer(x))

    def train_step(images, labels):
        x.copy_(images)
        y.copy_(labels)
        trained.replay()
        return loss.clone()

    def inference(images):
        if len(images) != len(x):  # single images: no graph was made for them
            return infer(images)
        x.copy_(images)
        inferred.replay()
        return result.clone()

    return train_step, inference


def next_batch(engine):
    return next(iter(engine.batches()))


def captured(call):
    """A graph of a call that has warmed up on a stream of its own, and the call's result."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            call()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = call()
    return graph, result


def burst(call, seconds):
    """Median of the seconds of a call, by the GPU's events around many in a row."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))

    def timed(count):
        start.record()
        for _ in range(count):
            call()
        end.record()
        end.synchronize()
        return 1e-3 * start.elapsed_time(end) / count

    for _ in range(3):
        one = timed(1)
    count = max(1, min(2000, int(seconds / 5 / one)))
    found, until = [], time.perf_counter() + seconds
    while len(found) < 3 or time.perf_counter() < until:
        found.append(timed(count))
    return statistics.median(found)
