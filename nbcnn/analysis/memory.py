"""What memory a step takes, as planned and as measured."""

import dataclasses
import math
from typing import Any

from nbcnn.analysis.tables import table
from nbcnn.analysis.tracing import require_built
from nbcnn.graph.room import Needs
from nbcnn.models.checks import whole_number

MOST = 2**28  # samples in a batch that are tried; each takes some bytes of the plan itself


@dataclasses.dataclass(frozen=True)
class MemoryReport:
    """Bytes of a step of a `model` on a `device`, in `training` or not, on a `batch` of so many
    samples, by what they are for; prints as a table.

    activations : what the layers compute and, in training, its gradients, as far as they are there
        at the same time.
    weights, gradients, optimizer : the parameters, their gradients, and the optimizer's state; a
        model that has been trained holds all of them while it predicts, too.
    data : a batch of inputs and targets, and outputs.
    workspace : what kernels need for themselves beside the activations.
    kept : packed weights and constants, kept between steps.
    measured : bytes by which a process grew for all of this, None where it was not measured.
    """

    model: str
    device: str
    batch: int
    training: bool
    activations: int
    weights: int
    gradients: int
    optimizer: int
    data: int
    workspace: int
    kept: int
    measured: int | None = None

    @property
    def parameters(self) -> int:
        """Weights, gradients and optimizer state."""
        return self.weights + self.gradients + self.optimizer

    @property
    def miscellaneous(self) -> int:
        """Data, workspace and what is kept."""
        return self.data + self.workspace + self.kept

    @property
    def planned(self) -> int:
        """All of it."""
        return self.activations + self.parameters + self.miscellaneous

    def __str__(self) -> str:
        parts = [
            ("activations", self.activations, ""),
            ("parameters", self.parameters,
             f"weights {self.weights:,}, gradients {self.gradients:,}, "
             f"optimizer {self.optimizer:,}"),
            ("miscellaneous", self.miscellaneous,
             f"data {self.data:,}, workspace {self.workspace:,}, kept {self.kept:,}"),
            ("planned", self.planned, f"{self.planned / self.batch:,.0f} for each sample"),
        ]  # fmt: skip
        if self.measured is not None:
            off = (self.planned / self.measured - 1) * 100
            parts.append(("measured", self.measured, f"planned {off:+.1f} %"))
        mode = "training" if self.training else "prediction"
        title = f"{self.model}, {mode} on {self.batch:,} samples, {self.device}"
        return f"{title}\n{table(('bytes for', 'bytes', ''), parts)}"


def memory_report(
    model: Any, batch_size: int = 32, training: bool = True, measure: bool = False
) -> MemoryReport:
    """The memory of one step, in three sources: activations, parameters, and miscellaneous.

    The plan says it before any of it is allocated; only the optimizer's state is made, where the
    model does not have it yet.

    Parameters
    ----------
    model : a built model, for `training` a compiled one.
    batch_size : samples; default 32.
    training : whether of a step of `fit` (default) or of `predict`.
    measure : also run the step, in a new process, and see by how much that grows.

    Returns
    -------
    A `MemoryReport`.

    Raises
    ------
    ValueError
        For a model that is not built, or has inputs of no fixed shape.
    NotImplementedError
        For `measure` where there is no /proc to read, as on Linux, or on a GPU.
    """
    size = whole_number("memory_report", "batch_size", batch_size, 1)
    require_built("memory_report", model)
    with model._as_example("memory_report", training) as specs:
        needs = model._runners.needs(_mode(training), specs.of(size))
    report = _report(model, size, training, needs)
    if not measure:
        return report
    from nbcnn.analysis.measuring import grown_bytes

    return dataclasses.replace(report, measured=grown_bytes(model, size, training))


def max_batch(model: Any, bytes: int, training: bool = True) -> int:
    """The largest batch, of at most 2**28 samples, whose step fits into so many bytes, by the
    plans' sizes; nothing as large is allocated.

    Parameters
    ----------
    model : a built model, for `training` a compiled one.
    bytes : memory for all that `memory_report` counts.
    training : whether for steps of `fit` (default) or of `predict`.

    Raises
    ------
    ValueError
        Where not even one sample fits.
    """
    room = whole_number("max_batch", "bytes", bytes, 1)
    require_built("max_batch", model)
    with model._as_example("max_batch", training) as specs:

        def planned(size: int) -> int:
            needs = model._runners.needs(_mode(training), specs.of(size))
            return _report(model, size, training, needs).planned

        one = planned(1)
        if one > room:
            raise ValueError(f"max_batch: one sample needs {one:,} bytes, more than {room:,}")
        return _largest(planned, one, room)


def _largest(planned: Any, one: int, room: int) -> int:
    """The largest size that fits: guessed along the line through two sizes, which is nearly what
    the sizes lie on, and then halved between.
    """
    fits, at, beyond, past = 1, one, 0, 0
    trial = 2
    while beyond - fits != 1:
        trial = min(trial, MOST)
        needed = planned(trial)
        if needed <= room:
            fits, at = trial, needed
            if fits == MOST:
                break
        else:
            beyond, past = trial, needed
        slope = (past - at) / (beyond - fits) if beyond else max((at - one) / max(fits - 1, 1), 1)
        guess = fits + math.floor((room - at) / max(slope, 1e-9))
        # A guess at an end of the bracket moves that end by one; far ones at most double.
        most = beyond - 1 if beyond else 2 * fits + (guess if fits > 2 else 0)
        trial = min(max(guess, fits + 1), max(most, fits + 1))
        if beyond and needed <= room and trial == fits + 1 < beyond - 2:
            trial = (fits + beyond) // 2
    return fits


def _mode(training: bool) -> str:
    return "train" if training else "predict"


def _report(model: Any, size: int, training: bool, needs: Needs) -> MemoryReport:
    runners = model._runners
    weights = {id(v): v for v in model.weights}.values()
    store = runners.store  # made by training, and held from then on
    groups = [] if store is None else store.groups
    pools = [] if store is None else store.pools
    return MemoryReport(
        model.name, runners.device.name, size, training,
        activations=needs.values,
        weights=sum(v.symbol.spec.nbytes for v in weights),
        gradients=sum(pool.gradients.nbytes for pool in pools),
        optimizer=sum(slot.values.nbytes for group in groups for slot in group.slots.values()),
        data=needs.leaves + needs.results,
        workspace=needs.scratch,
        kept=needs.lasting,
    )  # fmt: skip
