"""What a compiled model computes from its outputs: losses, regularization, metrics."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from nbcnn import ops
from nbcnn.layers.context import Context
from nbcnn.metric_base import is_mean_of_values
from nbcnn.ops.tensor import Constant, Tensor


class Watched(NamedTuple):
    """A value whose weighted mean over batches is reported under a name."""

    name: str
    value: Tensor
    weight: Tensor


class Objective:
    """Losses and metrics of one model, by output.

    compiled: what `compile` said, a `Compiled`. Metrics that are means of `values(y_true, y_pred)`
    become running sums in the graph; others update their own variables there, through
    `update_state`.
    """

    def __init__(self, model: Any, compiled: Any):
        self.model, self.compiled = model, compiled

    def trace(
        self, outputs: Sequence[Tensor], feeds: Any, context: Context
    ) -> tuple[list[Watched], Tensor]:
        """All watched values, the loss first, and the loss itself."""
        batch = feeds.x[0].spec.shape[0]
        parts: list[Any] = []
        watched: list[Watched] = []
        for i, (loss, factor) in enumerate(zip(self.compiled.losses, self.compiled.loss_weights)):
            if loss is None:
                continue
            value = reduced(loss, feeds.y[i], outputs[i], feeds.w[i])
            parts.append(value if factor == 1.0 else value * factor)
            if self.compiled.names_losses:
                watched.append(_batch_mean(self.compiled.loss_names[i], value, batch))
        for variable in self.model.trainable_weights:
            if variable.regularizer is not None:
                parts.append(variable.regularizer(variable.symbol))
        parts += context.losses
        if not parts:
            raise ValueError("compile: without a loss there is nothing to minimise")
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        watched.insert(0, _batch_mean("loss", total, batch))
        for i, y_pred in enumerate(outputs):
            watched += self._metrics(i, y_pred, feeds)
        return watched, total

    def _metrics(self, i: int, y_pred: Tensor, feeds: Any) -> list[Watched]:
        found = []
        for name, _, metric, weighted in (e for e in self.compiled.counted if e.output == i):
            weight = feeds.w[i] if weighted else None
            if not is_mean_of_values(metric):
                metric.update_state(feeds.y[i], y_pred, weight)
                continue
            if weight is None:
                values = metric.values(feeds.y[i], y_pred)
            elif weight.ndim > 1:  # by place: what a sample's mean would lose
                values = metric.compute(feeds.y[i], y_pred)
                valid = metric.valid(feeds.y[i], y_pred)
                weight = weight if valid is None else weight * ops.cast(valid, weight.dtype)
            else:
                values, weight = metric.weighted_values(feeds.y[i], y_pred, weight)
            found.append(_weighted(name, ops.cast(values, y_pred.dtype), weight))
        return found


def reduced(loss: Any, y_true: Any, y_pred: Any, weight: Any) -> Any:
    """A loss as one number, also where its reduction leaves several."""
    value = loss(y_true, y_pred, weight)
    return ops.mean(value) if len(value.shape) else value


def _batch_mean(name: str, value: Tensor, batch: int) -> Watched:
    """A scalar that already is a mean over the batch counts as often as the batch has samples."""
    return Watched(name, ops.reshape(value, (1,)), Constant(np.full(1, batch, value.dtype)))


def _weighted(name: str, values: Tensor, weight: Tensor | None) -> Watched:
    shape = values.spec.shape
    ones = Constant(np.ones(shape, values.dtype))
    if weight is None:
        return Watched(name, values, ones)
    missing = len(shape) - weight.ndim
    expanded = ops.reshape(weight, (*weight.shape, *(1,) * missing)) if missing > 0 else weight
    return Watched(name, values, ops.multiply(ones, ops.cast(expanded, values.dtype)))
