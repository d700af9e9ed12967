"""What a step computes, as methods that a model of one's own may override."""

import inspect
import warnings
from collections.abc import Mapping
from typing import Any

from nbcnn import ops
from nbcnn.layers.base import flatten
from nbcnn.layers.structure import ordered_keys
from nbcnn.metrics import Mean
from nbcnn.models.compilation import CompileArguments, Compiled
from nbcnn.models.gradients import value_and_grad
from nbcnn.models.objective import reduced
from nbcnn.models.signature import Signature, Slot
from nbcnn.utils import unpack_x_y_sample_weight

BY_MODE = {"train": "train_step", "test": "test_step", "predict": "predict_step"}


class CompiledMetrics:
    """The metrics of `compile` as one: counts (y_true, y_pred), `result` is a dictionary."""

    name = "compile_metrics"

    def __init__(self, model: Any) -> None:
        self.model = model

    @property
    def metrics(self) -> list[Any]:
        compiled = self.model._compiled
        return [] if compiled is None else compiled.all_metrics

    @property
    def variables(self) -> list[Any]:
        return [v for metric in self.metrics for v in metric.variables]

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Counts a batch; weights are for those given as `weighted_metrics`."""
        outputs, targets, weights = self.model._arranged(y_true, y_pred, sample_weight)
        compiled = self.model._compiled
        for i, (prediction, target) in enumerate(zip(outputs, targets)):
            for metric in compiled.metrics[i]:
                metric.update_state(target, prediction)
            for metric in compiled.weighted_metrics[i]:
                metric.update_state(target, prediction, weights[i])

    def result(self) -> dict[str, Any]:
        compiled = self.model._compiled
        if compiled is None:
            return {}
        return {each.name: each.metric.result() for each in compiled.counted}

    def reset_state(self) -> None:
        for metric in self.metrics:
            metric.reset_state()


class Hooks:
    """The part of `Trainer` that a step of one's own is made of; see `Model`."""

    _compiled: Compiled | None
    optimizer: Any
    _compile_arguments: CompileArguments | None
    _loss_tracker: Any
    _part_trackers: dict[str, Any]
    _own_metrics: list[Any]

    # -- steps ----------------------------------------------------------------------------------

    def train_step(self, data: Any) -> dict[str, Any]:
        """One step of training; overridden by models with a rule of their own.

        It is called once on symbolic tensors and becomes a plan, unless `compile` was told
        `run_eagerly=True`: then on arrays, for each batch. Made of layers, `nbcnn.ops`,
        `nbcnn.value_and_grad`, `optimizer.apply` and metrics, it need not know which.

        Parameters
        ----------
        data : what `fit` was given for the batch: x, (x, y) or (x, y, sample_weight), or what the
            generator gave.

        Returns
        -------
        A dictionary of logs: results of metrics, or values of this batch.
        """
        x, y, sample_weight = unpack_x_y_sample_weight(data)

        def objective() -> Any:
            y_pred = self(x, training=True)  # type: ignore[operator]
            loss = self._loss_of(x, y, y_pred, sample_weight, True)
            return self.optimizer.scale_loss(loss), (loss, y_pred)

        variables = self.trainable_variables  # type: ignore[attr-defined]
        if variables:
            (_, (loss, y_pred)), slopes = value_and_grad(objective, variables, has_aux=True)()
            self._count_loss(loss, x)
            self.optimizer.apply(slopes, variables)
        else:
            warnings.warn("train_step: no weight is trainable, so none will change", stacklevel=2)
            _, (loss, y_pred) = objective()
            self._count_loss(loss, x)
        return self.compute_metrics(x, y, y_pred, sample_weight)

    def test_step(self, data: Any) -> dict[str, Any]:
        """One step of evaluation; `data` as for `train_step`."""
        x, y, sample_weight = unpack_x_y_sample_weight(data)
        y_pred = self(x, training=False)  # type: ignore[operator]
        self._count_loss(self._loss_of(x, y, y_pred, sample_weight, False), x)
        return self.compute_metrics(x, y, y_pred, sample_weight)

    def predict_step(self, data: Any) -> Any:
        """One step of prediction: the outputs for a batch, nested at will. `data` as for
        `train_step`.
        """
        x, _, _ = unpack_x_y_sample_weight(data)
        return self(x, training=False)  # type: ignore[operator]

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """The total loss of a batch: those of `compile`, and all that layers have added.

        Parameters
        ----------
        x, y, sample_weight : the batch.
        y_pred : the model's outputs for it.
        training : whether this is for training.

        Raises
        ------
        ValueError
            Where there is nothing to add up.
        """
        parts: list[Any] = []
        if self._compile_arguments is not None and self._compile_arguments.loss is not None:
            parts += self._compiled_losses(y, y_pred, sample_weight)
        parts += [ops.sum(loss) for loss in self.losses]  # type: ignore[attr-defined]
        if not parts:
            raise ValueError("compute_loss: without a loss in compile() there is nothing to add up")
        total = parts[0]
        for part in parts[1:]:
            total = ops.add(total, part)
        return total

    def compute_metrics(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None
    ) -> dict[str, Any]:
        """Counts a batch in the metrics of `compile`; returns all metrics' results by name.
        Arguments as for `compute_loss`.
        """
        arguments = self._compile_arguments
        if arguments is not None and arguments.has_metrics:
            self._compiled_metrics.update_state(y, y_pred, sample_weight)
        return self.get_metrics_result()

    def get_metrics_result(self) -> dict[str, Any]:
        """The results of all `metrics` by name."""
        found: dict[str, Any] = {}
        for metric in self.metrics:
            result = metric.result()
            if isinstance(result, Mapping):
                found.update(result)
            else:
                found[metric.name] = result
        return found

    # -- what they count in ---------------------------------------------------------------------

    @property
    def metrics(self) -> list[Any]:
        """The metrics of `compile`, known once data has been seen, and those that are attributes
        of the model or of layers inside.

        In a model whose steps are overridden, those of `compile` are one, after that of the loss.
        """
        layers = list(self._flatten_layers())[1:]  # type: ignore[attr-defined]
        tracked = [*self._own_metrics]
        for layer in layers:
            if not isinstance(layer, Hooks):
                tracked += layer._own_metrics
        if self._compile_arguments is None:
            return tracked
        if not self._has_own_step("train") and not self._has_own_step("test"):
            return [] if self._compiled is None else self._compiled.all_metrics
        own: list[Any] = [self._loss_tracker]
        if self._compile_arguments.has_metrics:
            own.append(self._compiled_metrics)
        return [*own, *self._part_trackers.values(), *tracked]

    @property
    def _compiled_metrics(self) -> CompiledMetrics:
        return CompiledMetrics(self)

    def _has_own_step(self, mode: str) -> bool:
        """Whether steps of that mode are anything but what `compile` says."""
        if self._overrides(BY_MODE[mode]):
            return True
        if mode == "predict":
            return False
        if self._overrides("compute_loss") or self._overrides("compute_metrics"):
            return True
        layers = self._flatten_layers()  # type: ignore[attr-defined]
        return any(
            layer._own_metrics and (layer is self or not isinstance(layer, Hooks))
            for layer in layers
        )

    def _overrides(self, name: str) -> bool:
        return getattr(type(self), name) is not getattr(Hooks, name)

    def _count_loss(self, loss: Any, x: Any) -> None:
        """The mean of losses counts each batch by its samples."""
        first = next(t for t in flatten(x) if t is not None)
        self._loss_tracker.update_state(loss, sample_weight=float(first.shape[0]))

    def _loss_of(self, x: Any, y: Any, y_pred: Any, sample_weight: Any, training: bool) -> Any:
        """`compute_loss`, which may have been written without `training`."""
        parameters = inspect.signature(self.compute_loss).parameters
        if "training" in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            return self.compute_loss(x, y, y_pred, sample_weight, training=training)
        return self.compute_loss(x, y, y_pred, sample_weight)

    def _compiled_losses(self, y: Any, y_pred: Any, sample_weight: Any) -> list[Any]:
        """The losses of `compile`, by output."""
        outputs, targets, weights = self._arranged(y, y_pred, sample_weight)
        compiled = self._compiled
        assert compiled is not None
        found = []
        for i, (loss, factor) in enumerate(zip(compiled.losses, compiled.loss_weights)):
            if loss is None:
                continue
            if targets[i] is None:
                raise ValueError(f"y is missing, output {compiled.output_names[i]!r} needs it")
            value = reduced(loss, targets[i], outputs[i], weights[i])
            found.append(value if factor == 1.0 else ops.multiply(value, factor))
            if len(outputs) > 1:
                name = compiled.loss_names[i]
                tracker = self._part_trackers.setdefault(name, Mean(name=name))
                tracker.update_state(value, sample_weight=float(outputs[i].shape[0]))
        return found

    def _arranged(self, y: Any, y_pred: Any, sample_weight: Any) -> tuple[list, list, list]:
        """Outputs, targets and weights, by output; losses and metrics are made for the first."""
        outputs = flatten(y_pred)
        network = self._functional  # type: ignore[attr-defined]
        if network is not None and len(network.output_signature.slots) == len(outputs):
            signature = network.output_signature
        else:
            keys = ordered_keys(y_pred) if isinstance(y_pred, Mapping) else []
            names = keys if len(keys) == len(outputs) else None
            slots = [
                Slot(names[i] if names else f"output_{i + 1}", (None, *t.shape[1:]), str(t.dtype))
                for i, t in enumerate(outputs)
            ]
            signature = Signature(y_pred, slots)
        targets = signature.arrange(y, "compute_loss: y")
        if sample_weight is None or isinstance(sample_weight, (list, tuple, dict)):
            weights = signature.arrange(sample_weight, "compute_loss: sample_weight")
        else:
            weights = [sample_weight] * len(outputs)
        self._resolve_compiled(signature, targets, "compile")  # type: ignore[attr-defined]
        return outputs, targets, weights
