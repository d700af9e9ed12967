"""What `devices.py` measures on one device: its limits, layers, models."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from clocks import HostClock, clock_of, median_laps, median_seconds
from engine_keras import compiled
from op_cases import CASES
from op_cases.case import Case, convolution
from ops_nbcnn import prepare

import nbcnn
from nbcnn import config
from nbcnn.graph.choosing import STEP
from nbcnn.ops.bfloat16 import products_in
from nbcnn.ops.tensor import Constant, VariableTensor

# Of each family what networks spend their time in: direction and name, as `ops.py` writes them.
LAYERS = (
    "forward vgg32 64x32x32x64>64 3x3",
    "dx vgg32 64x32x32x64>64 3x3",
    "dw vgg32 64x32x32x64>64 3x3",
    "forward resnet50 16x14x14x1024>256 1x1",
    "dx resnet50 16x14x14x1024>256 1x1",
    "dw resnet50 16x14x14x1024>256 1x1",
    "forward resnet50 8x56x56x128>128 3x3 s2",
    "forward resnet50 8x224x224x3>64 7x7 s2",
    "dw resnet50 8x224x224x3>64 7x7 s2",
    "forward resnext 8x28x28x256>256 3x3 g32",
    "forward mobilenet 16x56x56x144>144 3x3",
    "dx mobilenet 16x56x56x144>144 3x3",
    "dw mobilenet 16x56x56x144>144 3x3",
    "forward alexnet 128x9216x1024",
    "dx alexnet 128x9216x1024",
    "dw alexnet 128x9216x1024",
    "forward vgg32 64x32x32x64 maxpool 2x2 s2",
    "backward vgg32 64x32x32x64 maxpool 2x2 s2",
    "forward mobilenet 16x56x56x144 batchnorm relu",
    "backward mobilenet 16x56x56x144 batchnorm relu",
    "both resnet50 256x1000 softmax and cross-entropy",
    "forward resnet50 8x56x56x256 add relu",
    "forward resnet50 momentum, 161 tensors",
)
GRADIENTS = ("_dx", "_dw", "_dx_sum")  # ends of names of operations
PRECISIONS = ("float32", "tf32", "bfloat16")


class Column(NamedTuple):
    """A device in a precision of products: float32, tf32 (GPUs), bfloat16."""

    device: Any
    precision: str

    @property
    def name(self) -> str:
        kind = self.device.kind
        return kind if self.precision == "float32" else f"{kind} {self.precision}"

    @contextmanager
    def current(self) -> Iterator[None]:
        """Inside, models and operations are made for this column."""
        with in_precision(self.precision), nbcnn.device(self.device):
            yield


@contextmanager
def in_precision(precision: str) -> Iterator[None]:
    """Inside, products that are made take factors in this precision."""
    policy = config.dtype_policy_name()
    if precision == "bfloat16":
        config.set_dtype_policy("mixed_bfloat16")
    if precision == "tf32":
        config.set_matmul_precision("high")
    try:
        with products_in(precision):
            yield
    finally:
        config.set_dtype_policy(policy)
        if precision == "tf32":
            config.set_matmul_precision("highest")


def tiny_layers() -> list[Case]:
    dense = {"m": 3, "k": 4, "n": 5, "relu": True}
    return [
        *convolution("tiny", "convolution 3x3", "fxw", (1, 4, 4, 2), 3, 3),
        Case("tiny 3x4x5", "dense", "dense", "forward", dense),
    ]


def layers_named(names: tuple[str, ...] = LAYERS) -> list[Case]:
    """In the order of the names. Raises KeyError for one that is no case."""
    known = {f"{case.what} {case.name}": case for case in CASES}
    return [known[name] for name in names]


def limits(device: Any, seconds: float) -> dict[str, float]:
    """FLOP/s by the precision of factors, and bytes/s of copies as "copy"; of own kernels."""
    if device.kind == "cpu":
        from nbcnn.analysis.peaks import copy_bandwidth, fma_peak

        megabytes = 256 if seconds >= 0.1 else 8
        return {"float32": fma_peak(device), "copy": copy_bandwidth(device, megabytes)}
    import peak_cuda

    return peak_cuda.limits(device, seconds)


def least_seconds(flops: float, nbytes: float, column: Column, known: dict[str, float]) -> float:
    """What the machine needs at least for this work."""
    rate = known.get(column.precision, known["float32"])
    return max(flops / rate, nbytes / known["copy"])


def layer(case: Case, column: Column, known: dict[str, float], seconds: float) -> dict:
    with column.current():
        made = prepare(case, column.device, only_chosen=True)
        run = made.programs[made.chosen].run
        own = median_seconds(clock_of(column.device), run, seconds)
    return {
        "chosen": made.chosen,
        "ms": rounded(own * 1e3),
        "gflops": rounded(made.flops / own * 1e-9),
        "gbytes_per_s": rounded(made.nbytes / own * 1e-9),
        "limit_share": rounded(least_seconds(made.flops, made.nbytes, column, known) / own),
    }


def rounded(value: float) -> float:
    return float(f"{value:.4g}")


def model(
    setting: Any, edge: int | None, column: Column, known: dict[str, float], seconds: float
) -> dict:
    """Kernels alone (data on the device, the step bound), and `fit` and `predict` from host arrays,
    with all transfers.
    """
    with column.current():
        nbcnn.utils.set_random_seed(0)
        made = compiled(nbcnn, setting.build(nbcnn, *([edge] if edge else [])))
        shape = setting.shape if edge is None else (edge, edge, setting.shape[2])
        rng = np.random.default_rng(0)
        images = setting.batch * setting.steps
        x = rng.standard_normal((images, *shape), dtype=np.float32)
        y = rng.integers(0, setting.classes, images).astype("int32")
        found = kernels(made, setting.batch, x, y, column, known, seconds)
        return found | transfers(made, setting.batch, x, y, column.device, seconds)


def kernels(made: Any, batch: int, x, y, column: Column, known, seconds: float) -> dict:
    device, clock = column.device, clock_of(column.device)
    step = made._example_step(batch, True)
    step.load([x[:batch], y[:batch]])
    step.run()
    plan = step.plan
    fill(plan, x, y)
    names = ("forward", "backward", "update")
    programs = [device.program(calls) for calls in split(plan)]
    times = dict(zip(names, median_laps(clock, [p.run for p in programs], seconds)))
    times["step"] = median_seconds(clock, plan.run, seconds)
    inference = made._example_step(batch, False)
    inference.load([x[:batch]])
    inference.run()
    times["inference"] = median_seconds(clock, inference.plan.run, seconds)
    least = sum(least_seconds(s.flops, s.nbytes, column, known) for s in running(plan))
    step.release()
    inference.release()
    return {
        "batch": batch,
        "kernels": plan.regions,
        "ms": {name: rounded(t * 1e3) for name, t in times.items()},
        "images_per_second": {
            "step": rounded(batch / times["step"]),
            "inference": rounded(batch / times["inference"]),
        },
        "limit_share": rounded(least / times["step"]),
    }


def transfers(made: Any, batch: int, x, y, device: Any, seconds: float) -> dict:
    clock = HostClock(device)

    def fit() -> None:
        made.fit(x, y, batch_size=batch, epochs=1, verbose=0, shuffle=False)

    def predict() -> None:
        made.predict(x, batch_size=batch, verbose=0)

    times = {
        what: median_laps(clock, [call], seconds)[0]
        for what, call in (("fit", fit), ("predict", predict))
    }
    return {"with_transfers": {what: rounded(len(x) / t) for what, t in times.items()}}


def running(plan: Any) -> list:
    return [step for step in plan.steps if step.phase == STEP]


def split(plan: Any) -> list[list]:
    """The kernel calls of a training step, in order: up to the first gradient, up to the first
    update of state after it, and the rest. Run one after the other, each finds what it reads.
    """
    steps = running(plan)
    gradients = [i for i, s in enumerate(steps) if s.node.op.name.endswith(GRADIENTS)]
    first = gradients[0]
    updates = [i for i, s in enumerate(steps) if s.node.op.stateful and i > first]
    cuts = [0, first, updates[0], len(steps)]
    return [[call for s in steps[i:j] for call in s.steady] for i, j in pairwise(cuts)]


def fill(plan: Any, x, y) -> None:
    """A batch where the split step reads it; feeds may have lent the plan the host's arrays."""
    leaves = {t.name: t for node in plan.graph.nodes for t in node.inputs if t.node is None}
    for name, values in (("x0", x), ("y0", y)):
        leaf = leaves[name]
        assert not isinstance(leaf, (Constant, VariableTensor))
        spec = leaf.spec
        plan.device.upload(plan.array(leaf), values[: spec.shape[0]].reshape(spec.shape))
