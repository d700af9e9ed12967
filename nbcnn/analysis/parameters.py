"""How many parameters layers have, and how many numbers matrices in their place would hold."""

import dataclasses
import math
from typing import Any

from nbcnn.analysis.tables import table
from nbcnn.analysis.tracing import Call, traced
from nbcnn.analysis.windows import AVERAGES, windows_of
from nbcnn.layers.dense import Dense


@dataclasses.dataclass(frozen=True)
class LayerParameters:
    """Of one `layer` of a class `kind`, with outputs of `output_shape`: its `parameters`, and how
    many of them training changes, `trainable`; and without bias,
    over all uses of the layer in the model, the entries of the matrices that map its inputs to its
    outputs: `dense`, all of them, and `sparse`, those that are not zero by construction. None for
    layers that are no convolution or dense layer.
    """

    layer: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int
    trainable: int
    dense: int | None
    sparse: int | None


@dataclasses.dataclass(frozen=True)
class ParameterReport:
    """What `parameter_count` returns; prints as a table. `layers` has a row for each, `total` and
    `trainable` count numbers of the whole model. `frozen` are the parameters that training
    does not change; `dense` and `sparse` are sums over the layers.
    """

    layers: tuple[LayerParameters, ...]
    total: int
    trainable: int

    @property
    def frozen(self) -> int:
        return self.total - self.trainable

    @property
    def dense(self) -> int:
        return sum(row.dense or 0 for row in self.layers)

    @property
    def sparse(self) -> int:
        return sum(row.sparse or 0 for row in self.layers)

    def __str__(self) -> str:
        headings = ("layer", "kind", "output", "parameters", "trainable", "sparse", "dense")
        rows = [
            (r.layer, r.kind, r.output_shape, r.parameters, r.trainable, r.sparse, r.dense)
            for r in self.layers
        ]
        footer = [
            f"{self.total:,} parameters: {self.trainable:,} trainable, {self.frozen:,} frozen",
            f"as matrices: {self.sparse:,} entries that are not zero, of {self.dense:,}",
        ]
        return table(headings, rows, footer)


def parameter_count(model: Any, input_shape: Any = None) -> ParameterReport:
    """Parameters by layer, beside the entries of matrices that would do the same.

    A kernel is used at every place, so a convolution of a 320x280 image with a 2x1 kernel has 2
    parameters where its matrix has 319 * 280 * 2 = 178,640 entries that are not zero, of
    320 * 280 * 319 * 280, more than 8e9 (Goodfellow, Bengio and Courville, "Deep Learning", 2016,
    section 9.2).

    Parameters
    ----------
    model : a built model.
    input_shape : of a sample, (h, w, c), where the model does not say it.

    Returns
    -------
    A `ParameterReport`.

    Raises
    ------
    ValueError
        For a model that is not built.
    """
    trace = traced("parameter_count", model, input_shape)
    by_layer: dict[int, list[Call]] = {}
    for call in trace.calls:
        by_layer.setdefault(id(call.layer), []).append(call)
    rows = tuple(map(_row, by_layer.values()))
    total, trainable = _size(model.weights), _size(model.trainable_weights)
    return ParameterReport(rows, total, trainable)


def _size(variables: Any) -> int:
    return sum({id(v): v.size for v in variables}.values())


def _row(calls: list[Call]) -> LayerParameters:
    layer = calls[0].layer
    entries = [_entries(call) for call in calls]
    known = [e for e in entries if e is not None]
    dense, sparse = map(sum, zip(*known)) if known else (None, None)
    shape = tuple(calls[0].outputs[0].spec.shape[1:])
    sizes = _size(layer.weights), _size(layer.trainable_weights)
    return LayerParameters(calls[0].name, type(layer).__name__, shape, *sizes, dense, sparse)


def _entries(call: Call) -> tuple[int, int] | None:
    """(all, those that are not zero) of the matrices of one use."""
    layer, shape = call.layer, call.inputs[0].spec.shape[1:]
    if isinstance(layer, Dense):
        places, (rows, columns) = math.prod(shape[:-1]), layer.kernel.shape
        return (places * rows) * (places * columns), places * rows * columns
    steps = None if isinstance(layer, AVERAGES) else windows_of(layer, shape)
    if steps is None:
        return None
    return sum(w.dense_entries for w in steps), sum(w.entries for w in steps)
