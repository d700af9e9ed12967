"""From what users pass to checked arrays in the model's order."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from nbcnn import config
from nbcnn.models import checks
from nbcnn.models.signature import Signature, Slot
from nbcnn.ops.tensor import TensorSpec
from nbcnn.runtime.cuda_memory import is_on_a_gpu


class Specs(NamedTuple):
    """What decides which step runs a batch: shapes and types of inputs and targets, and the shape
    of a sample's weights, None without.
    """

    x: tuple[TensorSpec, ...]
    y: tuple[TensorSpec, ...]
    weighted: tuple[tuple[int, ...] | None, ...]

    def of(self, size: int) -> "Specs":
        """The same for another number of samples."""
        x, y = (
            tuple(TensorSpec((size, *spec.shape[1:]), spec.dtype) for spec in part)
            for part in (self.x, self.y)
        )
        return Specs(x, y, self.weighted)


class Prepared(NamedTuple):
    """Checked arrays of equal length with the data types that steps take them in; those of x and y
    may be in a GPU's memory.

    y and w have one entry for each output; None where there is nothing.
    """

    samples: int
    x: list[np.ndarray]
    x_types: list[str]
    y: list[np.ndarray | None]
    y_types: list[str]
    w: list[np.ndarray | None]
    weight_type: str

    def specs(self, size: int) -> Specs:
        """The specs of a batch of `size` samples."""
        x = tuple(TensorSpec((size, *a.shape[1:]), t) for a, t in zip(self.x, self.x_types))
        y = tuple(
            TensorSpec((size, *(() if a is None else a.shape[1:])), t)
            for a, t in zip(self.y, self.y_types)
        )
        return Specs(x, y, tuple(None if w is None else w.shape[1:] for w in self.w))

    def part(self, rows: slice) -> "Prepared":
        """Some of the samples, as views."""
        y, w = ([None if a is None else a[rows] for a in part] for part in (self.y, self.w))
        samples = len(range(*rows.indices(self.samples)))
        return self._replace(samples=samples, x=[a[rows] for a in self.x], y=y, w=w)


class Preparer:
    """Checks data for one call of fit, evaluate or predict.

    where : the call's name, for messages.
    model : gives signatures and, after `compile`, losses.
    supervised : whether targets are expected.
    """

    def __init__(
        self, where: str, model: Any, supervised: bool = True, class_weight: Any = None
    ) -> None:
        self.where, self.model, self.supervised = where, model, supervised
        given = class_weight is not None
        self.class_weight = checks.class_weights(where, class_weight) if given else None

    def __call__(self, x: Any, y: Any = None, sample_weight: Any = None) -> Prepared:
        signature = self.model._input_signature_for(x)
        given = [self._here("x", value) for value in signature.arrange(x, f"{self.where}: x")]
        arrays = checks.inputs(self.where, given, signature.slots)
        types = [slot.dtype for slot in signature.slots]
        ys: list[np.ndarray | None] = []
        ws: list[np.ndarray | None] = []
        if self.supervised:
            outputs = self.model._output_signature_for(signature, arrays)
            ys = self._targets(y, outputs)
            checks.equal_lengths(self.where, {"x": arrays, "y": ys})
            ws = self._weights(sample_weight, ys, outputs)
        samples = checks.equal_lengths(self.where, {"x": arrays, "y": ys, "sample_weight": ws})
        return Prepared(samples, arrays, types, ys, [_y_type(a) for a in ys], ws, config.floatx())

    def _targets(self, y: Any, outputs: Signature) -> list[np.ndarray | None]:
        where = self.where
        raw = [self._here("y", value) for value in outputs.arrange(y, f"{where}: y")]
        names = [self._name("y", slot, outputs) for slot in outputs.slots]
        arrays = [
            None if a is None else checks.numeric(where, name, a) for a, name in zip(raw, names)
        ]
        compiled = self.model._resolve_compiled(outputs, arrays, where)
        checked: list[np.ndarray | None] = []
        for i, (array, name, slot) in enumerate(zip(arrays, names, outputs.slots)):
            loss = compiled.losses[i]
            if array is None:
                watched = loss is not None or compiled.metrics[i] or compiled.weighted_metrics[i]
                if watched:
                    raise ValueError(f"{where}: {name} is missing, output {slot.name!r} needs it")
                checked.append(None)
            else:
                host = self._on_the_host(array)
                found = checks.target(where, name, host, loss, slot)
                checked.append(array if found is host else found)
        return checked

    def _here(self, name: str, value: Any) -> Any:
        """An array in a GPU's memory as the model's device can read it; others as they are."""
        if not is_on_a_gpu(value):
            return value
        device = self.model._runners.device
        if not hasattr(device, "borrow"):
            raise TypeError(
                f"{self.where}: {name} is in a GPU's memory and the model runs on {device.name}; "
                "`nbcnn.set_device('cuda')`, or copy it to the host"
            )
        return device.borrow(value)

    def _on_the_host(self, array: Any) -> np.ndarray:
        return self.model._runners.device.download(array) if is_on_a_gpu(array) else array

    def _weights(
        self, value: Any, ys: Sequence[np.ndarray | None], outputs: Signature
    ) -> list[np.ndarray | None]:
        where = self.where
        if is_on_a_gpu(value):
            value = self._on_the_host(self._here("sample_weight", value))
        if value is not None and not isinstance(value, (list, tuple, Mapping)):
            raw = [value] * len(outputs.slots)
        else:
            raw = outputs.arrange(value, f"{where}: sample_weight")
        weights = [
            None
            if w is None
            else checks.sample_weights(where, self._name("sample_weight", slot, outputs), w, slot)
            for w, slot in zip(raw, outputs.slots)
        ]
        if self.class_weight is not None:
            if len(ys) != 1 or ys[0] is None:
                raise ValueError(f"{where}: class_weight needs a model with one output and targets")
            labels, width = self._on_the_host(ys[0]), outputs.slots[0].shape[-1]
            by_class = weights_of_classes(labels, width, self.class_weight)
            given = weights[0]
            if given is not None:
                checks.equal_lengths(where, {"y": [labels], "sample_weight": [given]})
                wider = (1,) * abs(by_class.ndim - given.ndim)
                small, large = sorted((by_class, given), key=np.ndim)
                by_class = small.reshape(small.shape + wider) * large
            weights = [by_class]
        return [None if y is None else w for w, y in zip(weights, ys)]

    @staticmethod
    def _name(what: str, slot: Slot, outputs: Signature) -> str:
        return what if len(outputs.slots) == 1 else f"{what}[{slot.name!r}]"


def _y_type(array: np.ndarray | None) -> str:
    """Whole numbers are taken as int32, all else as floats."""
    whole = array is not None and array.dtype.kind in "iu"
    return "int32" if whole else config.floatx()


def weights_of_classes(
    labels: np.ndarray, width: int | None, table: Mapping[int, float]
) -> np.ndarray:
    """The weight of each class number or one-hot label, which is as wide as the output; 1 for
    what is not listed.
    """
    if labels.ndim > 1 and labels.shape[-1] == 1:
        labels = labels[..., 0]
    elif labels.ndim > 1 and labels.shape[-1] == width:
        labels = labels.argmax(axis=-1)
    labels = labels.astype(np.int64)
    listed = sorted(table)
    places = np.searchsorted(listed, labels).clip(max=len(listed) - 1)
    known = np.asarray(listed)[places] == labels
    return np.where(known, np.array([table[number] for number in listed])[places], 1.0)


def split_off(where: str, data: Prepared, share: float) -> tuple[Prepared, Prepared]:
    """The first part and the last `share` of the samples."""
    kept = int(np.floor(data.samples * (1.0 - share)))
    if kept == 0 or kept == data.samples:
        raise ValueError(
            f"{where}: validation_split={share} of {data.samples} samples leaves one part empty"
        )
    return data.part(slice(0, kept)), data.part(slice(kept, data.samples))
