"""Data for steps of one's own: any nesting of arrays, which a step gets as it was given."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from nbcnn import config
from nbcnn.layers.structure import map_structure
from nbcnn.models import checks
from nbcnn.models.data import StreamSource
from nbcnn.models.prepare import weights_of_classes
from nbcnn.models.signature import is_several
from nbcnn.ops.tensor import TensorSpec
from nbcnn.runtime.cuda_memory import is_on_a_gpu
from nbcnn.utils import pack_x_y_sample_weight, unpack_x_y_sample_weight


class Nesting:
    """How a step's data is nested: numbers of arrays at the leaves; equal ones have equal text."""

    def __init__(self, template: Any) -> None:
        self.template = template
        self._text = repr(template)

    def pack(self, values: Sequence[Any]) -> Any:
        """Values in order, nested so; None stays None."""
        return map_structure(lambda n: None if n is None else values[n], self.template)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Nesting) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)


class OwnSpecs(NamedTuple):
    """What decides which step runs a batch: shapes and types of all arrays, and their nesting."""

    x: tuple[TensorSpec, ...]
    nesting: Nesting
    y: tuple = ()
    weighted: tuple = ()

    def of(self, size: int) -> "OwnSpecs":
        """The same for another number of samples."""
        x = tuple(TensorSpec((size, *spec.shape[1:]), spec.dtype) for spec in self.x)
        return self._replace(x=x)


class OwnData(NamedTuple):
    """Arrays of equal length with the types that steps take them in; looks like `Prepared`."""

    samples: int
    x: list[Any]
    types: list[str]
    nesting: Nesting
    y: list = []
    w: list = []

    def specs(self, size: int) -> OwnSpecs:
        """The specs of a batch of `size` samples."""
        pairs = zip(self.x, self.types)
        return OwnSpecs(tuple(TensorSpec((size, *a.shape[1:]), t) for a, t in pairs), self.nesting)

    def part(self, rows: slice) -> "OwnData":
        """Some of the samples, as views."""
        samples = len(range(*rows.indices(self.samples)))
        return self._replace(samples=samples, x=[a[rows] for a in self.x])


class OwnPreparer:
    """Checks data for steps of one's own, as far as that is possible without knowing them."""

    def __init__(self, where: str, model: Any, class_weight: Any = None) -> None:
        self.where, self.model = where, model
        given = class_weight is not None
        self.class_weight = checks.class_weights(where, class_weight) if given else None

    def __call__(self, x: Any, y: Any = None, sample_weight: Any = None) -> OwnData:
        """Of the arguments of `fit`."""
        if sample_weight is not None and not isinstance(sample_weight, (list, tuple, dict)):
            sample_weight = self._array("sample_weight", sample_weight)
        return self.nested(pack_x_y_sample_weight(x, y, sample_weight))

    def nested(self, data: Any) -> OwnData:
        """Of what a generator gives."""
        if self.class_weight is not None:
            data = self._weighted(data)
        arrays: list[Any] = []

        def leaf(value: Any) -> Any:
            if value is None:
                return None
            arrays.append(self._array("x", value))
            return len(arrays) - 1

        template = _mapped(leaf, data)
        if not arrays:
            raise ValueError(f"{self.where}: x is missing")
        samples = checks.equal_lengths(self.where, {"the data": arrays})
        return OwnData(samples, arrays, [_type(a) for a in arrays], Nesting(template))

    def _array(self, name: str, value: Any) -> Any:
        array = checks.numeric(self.where, name, value)
        checks.within_32_bits(self.where, name, array)
        return self.model._runners.device.borrow(array) if is_on_a_gpu(array) else array

    def _weighted(self, data: Any) -> Any:
        x, y, weight = unpack_x_y_sample_weight(data)
        if y is None or isinstance(y, dict) or is_several(y):
            raise ValueError(f"{self.where}: class_weight needs one array of targets")
        labels = np.asarray(y)
        width = labels.shape[-1] if labels.ndim > 1 else None
        by_class = weights_of_classes(labels, width, self.class_weight or {})
        return x, y, by_class if weight is None else by_class * np.asarray(weight)


def _mapped(function: Any, data: Any) -> Any:
    """Nested data with a function applied to the arrays; a list of numbers is an array."""
    if isinstance(data, dict):
        return {key: _mapped(function, item) for key, item in data.items()}
    if isinstance(data, tuple) or is_several(data):
        return tuple(_mapped(function, item) for item in data)
    return function(data)


def _type(array: Any) -> str:
    """Floats are taken in the program's type, whole numbers as int32, bools as they are."""
    kind = array.dtype.kind
    return config.floatx() if kind == "f" else "bool" if kind == "b" else "int32"


class OwnStream(StreamSource):
    """Batches of any nesting."""

    def prepared(self, item: Any) -> Any:
        return self.prepare.nested(item)  # type: ignore[attr-defined]


def rows_of(
    arrays: Sequence[Any], types: Sequence[str], order: Any, start: int, size: int
) -> Iterator[np.ndarray]:
    """A batch's rows of arrays, as arrays of the types that steps take."""
    rows = slice(start, start + size) if order is None else order[start : start + size]
    for array, kind in zip(arrays, types):
        yield np.asarray(array[rows], dtype=kind)
