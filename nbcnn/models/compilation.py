"""What `compile` was given, and what it means once the shapes of targets are known."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from nbcnn import losses, metrics, optimizers
from nbcnn.metric_base import is_mean_of_values
from nbcnn.models import checks
from nbcnn.models.signature import Signature, Slot
from nbcnn.registry import deserialize, serialize, suggest

ARGUMENTS = ("optimizer", "loss", "loss_weights", "metrics", "weighted_metrics")


class CompileArguments:
    """The arguments of `compile`, checked as far as is possible without data."""

    def __init__(
        self, optimizer: Any, loss: Any, loss_weights: Any, metrics: Any, weighted_metrics: Any
    ) -> None:
        self.optimizer = _optimizer(optimizer)
        self.loss, self.loss_weights = loss, loss_weights
        self.metrics, self.weighted_metrics = metrics, weighted_metrics
        for name in leaves(loss):
            _known(losses, "loss", name, ("crossentropy", "ce"))
        for name in [*leaves(metrics), *leaves(weighted_metrics)]:
            _known(_metrics, "metrics", name, ("accuracy", "acc", "crossentropy", "ce"))

    @property
    def has_metrics(self) -> bool:
        """Whether any metric is asked for."""
        given = [*leaves(self.metrics), *leaves(self.weighted_metrics)]
        return any(metric is not None for metric in given)

    def losses_of(self, slots: Sequence[Slot]) -> list[Any]:
        """The loss of each output as far as its name alone tells."""
        entries = _for_each(self.loss, slots, "compile: loss", spread=True)
        return [
            None if loss is None else losses.for_output(loss, slot, slot)
            for loss, slot in zip(entries, slots)
        ]

    def get_config(self) -> dict[str, Any]:
        """The arguments as plain values."""
        return {name: serialize(getattr(self, name)) for name in ARGUMENTS}

    @classmethod
    def from_config(
        cls, config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None
    ) -> "CompileArguments":
        """The arguments that `get_config` described."""
        return cls(*(deserialize(config.get(name), custom_objects) for name in ARGUMENTS))


_metrics = metrics  # the module, where a parameter has its name


def _optimizer(value: Any) -> Any:
    try:
        optimizer = optimizers.get(value)
    except ValueError as error:
        raise ValueError(f"compile: optimizer: {error}") from None
    if optimizer is None:
        raise ValueError("compile: optimizer must be an optimizer or its name, got None")
    return optimizer


def _known(module: Any, argument: str, value: Any, also: Sequence[str]) -> None:
    """Raise for a name that means nothing; `also`: names whose meaning depends on shapes."""
    if isinstance(value, str) and value.lower() in also:
        return
    if isinstance(value, type) and issubclass(value, (losses.Loss, metrics.Metric)):
        return  # made where it is used: the automatic name counts how many there are
    try:
        module.get(value)
    except ValueError as error:
        raise ValueError(f"compile: {argument}: {error}") from None


def leaves(value: Any) -> list[Any]:
    """The items of nested lists and dictionaries; a serialized object is one."""
    if isinstance(value, Mapping):
        if "class_name" in value and "config" in value:
            return [value]
        return [leaf for item in value.values() for leaf in leaves(item)]
    if isinstance(value, (list, tuple)):
        return [leaf for item in value for leaf in leaves(item)]
    return [value]


class Counted(NamedTuple):
    """A metric of one output, its key in logs, and whether it counts by weight."""

    name: str
    output: int
    metric: Any
    weighted: bool


class Compiled:
    """Losses and metrics of each output, in order.

    losses : a loss object or None. loss_weights : floats. metrics, weighted_metrics : lists.
    counted : all metrics by name.
    """

    def __init__(
        self, arguments: CompileArguments, outputs: Signature, targets: Sequence[Any], where: str
    ) -> None:
        self.optimizer = arguments.optimizer
        self.output_names = outputs.names
        self.loss_names = [f"{path}_loss" for path in outputs.paths]  # in logs
        self.loss_order = _order_of(arguments.loss, outputs)
        slots = outputs.slots
        wanted = _for_each(outputs.listed(arguments.loss), slots, f"{where}: loss", spread=True)
        shapes = [_target_slot(target, slot) for target, slot in zip(targets, slots)]
        self.losses = []
        for i, (loss, target, slot) in enumerate(zip(wanted, shapes, slots)):
            if loss is not None and targets[i] is None:
                name = "y" if len(slots) == 1 else f"y[{slot.name!r}]"
                raise ValueError(f"{where}: {name} is missing, output {slot.name!r} needs it")
            self.losses.append(losses.for_output(loss, target, slot))
        self.loss_weights = [
            1.0 if weight is None else float(weight)
            for weight in _for_each(
                outputs.listed(arguments.loss_weights), slots, f"{where}: loss_weights"
            )
        ]
        self.metrics, self.weighted_metrics = (
            _metrics_of(outputs.listed(value), shapes, slots, f"{where}: {name}")
            for name, value in (
                ("metrics", arguments.metrics),
                ("weighted_metrics", arguments.weighted_metrics),
            )
        )
        self.counted = self._named()

    def _named(self) -> list[Counted]:
        """`accuracy`; with several outputs `digit_accuracy`; a name used twice is changed."""
        found: list[Counted] = []
        taken: set[str] = set()
        for group, weighted in ((self.metrics, False), (self.weighted_metrics, True)):
            for i, members in enumerate(group):
                output = f"{self.output_names[i]}_" if len(self.output_names) > 1 else ""
                for metric in members:
                    plain = f"{output}{metric.name}"
                    if plain in taken and weighted:
                        plain = f"{output}weighted_{metric.name}"
                    name, number = plain, 0
                    while name in taken:
                        number += 1
                        name = f"{plain}_{number}"
                    taken.add(name)
                    found.append(Counted(name, i, metric, weighted))
        return found

    @property
    def all_metrics(self) -> list[Any]:
        """Every metric object once."""
        return list({id(each.metric): each.metric for each in self.counted}.values())

    @property
    def names_losses(self) -> bool:
        """Whether there are several losses, and so each is reported."""
        return sum(loss is not None for loss in self.losses) > 1

    @property
    def log_names(self) -> list[str]:
        """What `evaluate` returns, in order."""
        several = len(self.output_names) > 1
        reported = self.loss_order if self.names_losses else ()
        parts = [self.loss_names[i] for i in reported if self.losses[i] is not None]
        named = [each.name for each in self.counted]
        return ["loss", *parts, *(sorted(named) if several else named)]

    def finished(self, means: Mapping[str, float]) -> dict[str, Any]:
        """Results of metrics from their values' means, by name in the alphabet's order, as Keras
        gives logs: numbers, or arrays where a metric has several.
        """
        results: dict[str, Any] = dict(means)
        for name, _, metric, _ in self.counted:
            if hasattr(metric, "add") and name in results:
                metric.reset_state()
                metric.add(results[name], 1.0)
                results[name] = float(metric.result())
            elif name not in results:
                value = np.asarray(metric.result())
                results[name] = value if value.ndim else float(value)
        return {name: results[name] for name in sorted(self.log_names) if name in results}

    def in_order(self, logs: Mapping[str, Any]) -> Any:
        """The values of logs in the order of `log_names`; a single one alone."""
        values = [logs[name] for name in self.log_names if name in logs]
        return values[0] if len(values) == 1 else values

    def reset(self) -> None:
        """Metrics that keep their own state start again."""
        for metric in self.all_metrics:
            if not is_mean_of_values(metric):
                metric.reset_state()

    @property
    def watched(self) -> int:
        """How many running sums a step needs, at most."""
        return 1 + len(self.output_names) + len(self.counted)


def _order_of(loss: Any, outputs: Signature) -> list[int]:
    """Outputs in the order of their losses: that of a dictionary where there are such of both."""
    both = isinstance(loss, Mapping) and isinstance(outputs.template, Mapping)
    first = {name: place for place, name in enumerate(loss)} if both else {}
    return sorted(range(len(outputs.slots)), key=lambda i: first.get(outputs.names[i], i))


def _target_slot(target: Any, slot: Slot) -> Slot:
    return slot if target is None else Slot(slot.name, (None, *target.shape[1:]), "")


def _for_each(value: Any, slots: Sequence[Slot], what: str, spread: bool = False) -> list[Any]:
    """One entry for each output from one for all, a list in order or a dictionary by name."""
    names = [slot.name for slot in slots]
    if isinstance(value, Mapping) and "class_name" not in value:
        unknown = [key for key in value if key not in names]
        if unknown:
            hint = suggest(str(unknown[0]), names)
            raise ValueError(f"{what}: no output is named {unknown[0]!r}{hint}; there are {names}")
        return [value.get(name) for name in names]
    if isinstance(value, (list, tuple)):
        if len(value) != len(slots):
            raise ValueError(
                f"{what}: expected {len(slots)} entries, one an output, got {len(value)}"
            )
        return list(value)
    if value is not None and len(slots) > 1 and not spread:
        raise ValueError(f"{what}: expected a list or dictionary with an entry for each of {names}")
    return [value] * len(slots)


def _metrics_of(
    value: Any, targets: Sequence[Slot], slots: Sequence[Slot], what: str
) -> list[list[Any]]:
    if len(slots) == 1 and isinstance(value, (list, tuple)):
        value = [leaves(value)]
    found = []
    for entry, target, slot in zip(_for_each(value, slots, what), targets, slots):
        items = [leaf for leaf in leaves(entry) if leaf is not None]
        found.append([metrics.for_output(item, target, slot) for item in items])
    return found


def check_options(steps_per_execution: Any) -> None:
    """Options of `compile` that change nothing here, but must make sense."""
    checks.whole_number("compile", "steps_per_execution", steps_per_execution, 1)
