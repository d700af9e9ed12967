"""Where the time of a step goes, by layer."""

import copy
import dataclasses
import numbers
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from nbcnn.analysis.peaks import copy_bandwidth, fma_peak
from nbcnn.analysis.tables import table
from nbcnn.analysis.tracing import Call, record, require_built
from nbcnn.kernels.cpu.peak import MEGABYTE
from nbcnn.layers.base import flatten
from nbcnn.models import steps
from nbcnn.models.checks import whole_number
from nbcnn.models.objective import Objective
from nbcnn.ops.tensor import Origin, made_for

REST = "(loss, metrics, updates)"
SMALLEST = 32  # megabytes that a copy from memory is timed with


class Limits(NamedTuple):
    """What a machine can do at most in a second: `flops`, in multiply-adds, and `bytes`, read and
    written by a copy; `close`: the same within the last cache (None: as from memory).
    """

    flops: float
    bytes: float
    close: float | None = None

    def least(self, flops: int, nbytes: int, cache: int) -> float:
        """Seconds that so many operations, `flops`, and bytes, `nbytes`, take at least; these come
        from a `cache` where that has room for them.
        """
        rate = self.close if self.close is not None and nbytes <= cache else self.bytes
        return max(flops / self.flops, nbytes / rate)


@dataclasses.dataclass(frozen=True)
class LayerTime:
    """What one `layer`, of a class `kind`, takes in a step; work that was joined with that of
    others counts for the layer of the joint operation.

    forward, backward : seconds. flops : floating-point operations of convolutions and products by
    their direct formula, which fast algorithms go below. nbytes : of all that is read and written,
    weights too. share : of the machine's limit: the least time for so many operations or so many
    bytes, whichever is longer, over the time taken; None without limits; above 1 for Winograd's
    algorithm, which needs fewer multiplications. algorithms : operations
    and how they are done. joined : layers whose work is done along with it.
    """

    layer: str
    kind: str
    forward: float
    backward: float
    flops: int
    nbytes: int
    share: float | None
    algorithms: tuple[str, ...]
    joined: tuple[str, ...]

    @property
    def seconds(self) -> float:
        return self.forward + self.backward

    @property
    def gflops(self) -> float:
        """1e9 floating-point operations a second."""
        return self.flops / self.seconds * 1e-9 if self.seconds else 0.0

    @property
    def gbytes(self) -> float:
        """1e9 bytes a second."""
        return self.nbytes / self.seconds * 1e-9 if self.seconds else 0.0


@dataclasses.dataclass(frozen=True)
class ProfileReport:
    """What `profile` returns, of a `model` on a `device`, in `training` or not, on a `batch` of so
    many samples; prints as a table. `layers` has a row for each, `limits` are the machine's.
    seconds : of the whole step, whose operations
    follow one another closely, where those of the rows were timed one by one.
    """

    model: str
    device: str
    batch: int
    training: bool
    layers: tuple[LayerTime, ...]
    seconds: float
    limits: Limits | None

    def __str__(self) -> str:
        total = sum(row.seconds for row in self.layers) or 1.0
        times = ["forward ms", "backward ms"] if self.training else ["ms"]
        headings = ["layer", "kind", *times, "%", "GFLOP/s", "GB/s", "of limit", "algorithm"]
        rows = []
        for row in self.layers:
            seconds = [row.forward, row.backward] if self.training else [row.forward]
            rows.append(
                (
                    row.layer,
                    row.kind,
                    *(s * 1e3 for s in seconds),
                    f"{row.seconds / total:.0%}",
                    row.gflops or None,
                    row.gbytes or None,
                    "" if row.share is None else f"{row.share:.0%}",
                    ", ".join(row.algorithms),
                    ", ".join(row.joined),
                )
            )
        mode = "training" if self.training else "prediction"
        footer = [
            f"{self.model}, {mode} on {self.batch:,} samples, {self.device}: "
            f"{self.seconds * 1e3:.3f} ms, {self.batch / self.seconds:,.0f} samples/s"
        ]
        if self.limits is not None:
            footer.append(
                f"limits: {self.limits.flops * 1e-9:,.0f} GFLOP/s of multiply-adds, "
                f"{self.limits.bytes * 1e-9:,.0f} GB/s of copies from memory, "
                f"{(self.limits.close or self.limits.bytes) * 1e-9:,.0f} within the last cache"
            )
        return table([*headings, "joined"], rows, footer)


_measured: dict[Any, Limits] = {}


def profile(
    model: Any,
    batch_size: int = 32,
    training: bool = False,
    repeats: int = 10,
    limits: Sequence[float] | None = None,
) -> ProfileReport:
    """Time a step operation by operation, and add up by layer: time, GFLOP/s, GB/s, the share of
    the machine's limit (the roofline of Williams, Waterman and Patterson, 2009), the algorithm.

    The step is that of `predict` or `fit`, as it is planned, on random inputs, of a copy of the
    model where it trains. Operations that rewriting has joined count for the layer of their kind (a
    convolution with its activation for the convolution), with the others named; layers without
    operations of their own are listed with no time.

    Parameters
    ----------
    model : a built model, for `training` a compiled one.
    batch_size : samples; default 32.
    training : whether a step of `fit`, or of `predict` (default).
    repeats : times that everything is run; the fastest counts; default 10.
    limits : FLOP/s and bytes/s that the machine can do at most, as for `Limits`; by default they
        are measured, once a process, by kernels of multiply-adds and copies; not on GPUs.

    Returns
    -------
    A `ProfileReport`.

    Raises
    ------
    ValueError
        For a model that is not built, or has inputs of no fixed shape, and other limits.
    """
    size = whole_number("profile", "batch_size", batch_size, 1)
    repeats = whole_number("profile", "repeats", repeats, 1)
    require_built("profile", model)
    device = model._runners.device
    known = _limits_of(device) if limits is None else _given(limits)
    timed = copy.deepcopy(model) if training else model
    calls: list[Call] = []
    with timed._as_example("profile", training) as specs:
        runner = _runner(timed, specs.of(size), training, device, calls)
        _load(runner)
    try:
        runner.run()
        times = runner.plan.profile(repeats)
        seconds = _seconds(runner, device, repeats)
    finally:
        runner.release()
    cache = getattr(device.caps, "l3", 0)
    rows = _rows(calls, times, known, cache)
    return ProfileReport(model.name, device.name, size, training, rows, seconds, known)


def _given(limits: Any) -> Limits:
    if isinstance(limits, Limits):
        return limits
    several = isinstance(limits, (list, tuple)) and len(limits) in (2, 3)
    if not several or not all(isinstance(v, numbers.Real) and float(v) > 0 for v in limits):
        raise ValueError(
            "profile: limits must be FLOP/s and bytes/s, and maybe bytes/s within the last cache, "
            f"all positive, got {limits!r}"
        )
    return Limits(*limits)


def _limits_of(device: Any) -> Limits | None:
    if device.kind != "cpu":
        return None
    if device.caps not in _measured:
        close = max(device.caps.l3 // (8 * MEGABYTE), 1)
        _measured[device.caps] = Limits(
            fma_peak(device),
            copy_bandwidth(device, max(2 * device.caps.l3 // MEGABYTE, SMALLEST)),
            copy_bandwidth(device, close),
        )
    return _measured[device.caps]


def _runner(model: Any, specs: Any, training: bool, device: Any, calls: list[Call]) -> Any:
    """The step of `predict` or `fit`, whose nodes know their layers."""
    runners = model._runners

    def forward(tensors: Sequence[Any], context: Any) -> list[Any]:
        def named(layer: Any, name: str, call: Any) -> Any:
            with made_for((Origin(name),)):
                return call()

        inputs = model._input_signature_for(None).pack(tensors)
        return flatten(record(model, inputs, calls, wrapped=named))

    state = runners._state("train" if training else "predict", device)
    if not training:
        return steps.predict_runner(forward, specs.x, device, state)
    feeds = steps.Feeds(specs.x, specs.y, specs.weighted)
    store = runners.renew_store(device)
    return steps.train_runner(
        forward, Objective(model, model._compiled), feeds, store, device, state
    )


def _load(runner: Any) -> None:
    """Random inputs, and zeros as class numbers."""
    rng = np.random.default_rng(0)
    arrays = [
        rng.standard_normal(spec.shape).astype(spec.dtype)
        if np.dtype(spec.dtype).kind == "f" else np.zeros(spec.shape, spec.dtype)
        for spec in runner.feed_specs
    ]  # fmt: skip
    runner.load(arrays)


def _seconds(runner: Any, device: Any, repeats: int) -> float:
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        runner.run()
        device.synchronize()
        best = min(best, time.perf_counter() - start)
    return best


@dataclasses.dataclass
class _Sum:
    """What is added up for a layer."""

    forward: float = 0.0
    backward: float = 0.0
    least: float = 0.0
    flops: int = 0
    nbytes: int = 0
    algorithms: dict[str, None] = dataclasses.field(default_factory=dict)
    joined: dict[str, None] = dataclasses.field(default_factory=dict)

    def add(self, step: Any, seconds: float, limits: Limits | None, cache: int) -> None:
        origins = step.node.origins
        if origins and all(origin.backward for origin in origins):
            self.backward += seconds
        else:
            self.forward += seconds
        self.flops += step.flops
        self.nbytes += step.nbytes
        if limits is not None:
            self.least += limits.least(step.flops, step.nbytes, cache)
        function = getattr(step.node.op, "function", None)
        title = function if isinstance(function, str) else step.node.op.name
        self.algorithms[f"{title}: {step.choice.impl.name}"] = None
        self.joined.update(dict.fromkeys(o.layer for o in origins[1:]))

    def row(self, layer: str, kind: str) -> LayerTime:
        seconds = self.forward + self.backward
        share = self.least / seconds if self.least and seconds else None
        joined = tuple(name for name in self.joined if name != layer)
        return LayerTime(
            layer, kind, self.forward, self.backward, self.flops, self.nbytes, share,
            tuple(self.algorithms), joined,
        )  # fmt: skip


def _rows(
    calls: Sequence[Call], times: Any, limits: Limits | None, cache: int
) -> tuple[LayerTime, ...]:
    kinds = {call.name: type(call.layer).__name__ for call in calls}
    sums: dict[str, _Sum] = {name: _Sum() for name in kinds}
    for step, seconds in times:
        name = step.node.origins[0].layer if step.node.origins else REST
        sums.setdefault(name, _Sum()).add(step, seconds, limits, cache)
    return tuple(found.row(name, kinds.get(name, "")) for name, found in sums.items())
