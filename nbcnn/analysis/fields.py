"""Receptive fields: what part of the input a layer's units see."""

import dataclasses
import math
import warnings
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from nbcnn.analysis.reach import Extent, Reach, whole
from nbcnn.analysis.tables import table
from nbcnn.analysis.tracing import Call, Trace, traced
from nbcnn.layers.conv import WithKernel
from nbcnn.ops.tensor import Tensor

Interval = tuple[int, int]  # first and last element
MOST_PHASES = 64  # of a pattern that repeats along an axis, looked at


@dataclasses.dataclass(frozen=True)
class UnitField:
    """What one `unit` of a `layer` sees, along each spatial axis of the input.

    `unclipped`: the first and the last element, on an input without borders; None where the unit
    sees nothing. `clipped`: the same of what is there: elements that padding stands for, also that
    inside the network, are not. `mask`: boolean, of the input's spatial sizes, true where the unit
    sees an element; within the interval there may be holes.
    """

    layer: str
    unit: tuple[int, ...]
    unclipped: tuple[Interval, ...] | None
    clipped: tuple[Interval, ...] | None
    mask: np.ndarray = dataclasses.field(repr=False, compare=False)


@dataclasses.dataclass(frozen=True)
class LayerField:
    """The units of one `layer`, of a class `kind`, whose output for one sample has `output_shape`;
    along each spatial axis of the input. `convolution`: whether the layer convolves.

    `size`: elements from the first to the last one that a unit sees, on an input without borders.
    `jump`: input elements between what neighbouring units see, 0 where units are not laid out
    along the axis, a fraction after upsampling. `start`: the first element that unit 0 sees, less
    than 0 in the padding. `centre`: the middle of what unit 0 sees.
    """

    layer: str
    kind: str
    output_shape: tuple[int, ...]
    size: tuple[int, ...]
    jump: tuple[Fraction, ...]
    start: tuple[int, ...]
    centre: tuple[float, ...]
    convolution: bool


class FieldReport:
    """What `receptive_field` returns; prints as a table. `input_size`: the spatial sizes of the
    input. `layers`: a `LayerField` for each, in order. `unknown`: operations of which it is not
    known what they read, and which count as reading everything.

    It is made of a `trace`, the `number` of the input, and the `axes` of that that are spatial.
    """

    def __init__(self, trace: Trace, number: int, axes: tuple[int, ...]):
        self.input_size = tuple(int(trace.inputs[number].spec.shape[a]) for a in axes)
        outputs = [t for call in trace.calls for t in call.outputs]
        self._reach, self._axes = Reach(trace.inputs[number], outputs), axes
        self._follows = self._reach.follows()
        self._tensors: dict[str, Tensor] = {}
        self.layers = [
            field
            for call in trace.calls
            for place, tensor in enumerate(call.outputs)
            if (field := self._field(call, place, tensor)) is not None
        ]
        self.unknown = sorted(self._reach.unknown)

    @property
    def last_convolution(self) -> LayerField | None:
        """The last layer that convolves."""
        return next((row for row in reversed(self.layers) if row.convolution), None)

    @property
    def sees_all(self) -> bool:
        """Whether the field of the last convolution is as large as the input; without one, that of
        the last layer.
        """
        row = self.last_convolution or (self.layers[-1] if self.layers else None)
        return row is not None and all(a >= b for a, b in zip(row.size, self.input_size))

    def __getitem__(self, layer: str) -> LayerField:
        """The row of a layer, by name. Raises KeyError where there is none."""
        for row in self.layers:
            if row.layer == layer:
                return row
        known = ", ".join(row.layer for row in self.layers)
        raise KeyError(f"no layer {layer!r} depends on this input; there are {known}")

    def of(self, *unit: int, layer: str | None = None) -> UnitField:
        """What a unit sees.

        Parameters
        ----------
        unit : its place along each spatial axis that the layer's output still has, as i, j.
        layer : name; default the last one that still has such axes.
        """
        if layer is None:
            laid_out = [row.layer for row in self.layers if any(row.jump)]
            layer = laid_out[-1] if laid_out else self.layers[-1].layer
        row, tensor = self[layer], self._tensors[layer]
        places = [a for a in self.axes_of(layer) if a is not None]
        sizes = [int(tensor.spec.shape[a]) for a in places]
        if len(unit) != len(sizes) or not all(0 <= u < n for u, n in zip(unit, sizes)):
            raise ValueError(
                f"receptive_field: layer {row.layer!r} has units {tuple(sizes)} along the "
                f"input's axes, got {unit}"
            )
        axes = whole(tensor.spec.shape, 1)
        chosen: Any = np.zeros(tensor.spec.shape, bool)
        index: list[Any] = [slice(None)] * chosen.ndim
        for axis, u in zip(places, unit):
            axes[axis] = (Extent(np.full(1, float(u)), np.full(1, float(u)), chosen.shape[axis]),)
            index[axis] = u
        chosen[tuple(index)] = True
        others = tuple(a for a in range(len(self._reach.source.shape)) if a not in self._axes)
        mask = np.asarray(self._reach.mask(tensor, chosen).any(axis=others))
        back = self._reach.spans(tensor, axes, 1)
        unclipped = _intervals([back[a] for a in self._axes])
        return UnitField(layer, unit, unclipped, _hull_of(mask), mask)

    def axes_of(self, layer: str) -> tuple[int | None, ...]:
        """The axis of a layer's output along which its units follow each spatial axis of the input;
        None where there is none.
        """
        follows = self._follows[id(self._tensors[self[layer].layer])]
        return tuple(follows[a][0] if a in follows else None for a in self._axes)

    def intervals(self, layer: str) -> list[tuple[np.ndarray, np.ndarray]]:
        """First and last elements that each unit of a layer along an axis sees, on an input without
        borders, by spatial axis; of one unit where there are none along the axis.
        """
        tensor, found = self._tensors[self[layer].layer], []
        for source, axis in zip(self._axes, self.axes_of(layer)):
            units = np.arange(1 if axis is None else tensor.spec.shape[axis], dtype=float)
            chosen = whole(tensor.spec.shape, len(units))
            if axis is not None:
                chosen[axis] = (Extent(units, units, len(units)),)
            found.append(self._reach.spans(tensor, chosen, len(units))[source])
        return found

    def _field(self, call: Call, place: int, tensor: Tensor) -> LayerField | None:
        if not self._reach.depends(tensor):
            return None
        name = call.name if len(call.outputs) == 1 else f"{call.name}[{place}]"
        while name in self._tensors:  # a layer that is called again
            name += "'"
        self._tensors[name] = tensor
        follows = self._follows[id(tensor)]
        axes = {a: follows[a][0] for a in self._axes if a in follows}
        phases = min(math.lcm(1, *(follows[a][1] for a in axes)), MOST_PHASES)
        chosen = whole(tensor.spec.shape, phases + 2)
        for b in axes.values():
            n = tensor.spec.shape[b]
            middle = n // 2 // phases * phases
            units = np.array([0, *range(middle, middle + phases + 1)], float)
            chosen[b] = (Extent(units, units, n),)
        back = self._reach.spans(tensor, chosen, phases + 2)
        seen = [back[a] for a in self._axes]
        shape = tuple(int(n) for n in tensor.spec.shape[1:])
        convolution = any(isinstance(part, WithKernel) for part in call.layer._flatten_layers())
        return LayerField(
            name,
            type(call.layer).__name__,
            shape,
            tuple(_size(low[1:-1], high[1:-1]) for low, high in seen),
            tuple(_jump(low, phases) if a in axes else Fraction(0)
                  for a, (low, _) in zip(self._axes, seen)),
            tuple(int(low[0]) if np.isfinite(low[0]) else 0 for low, _ in seen),
            tuple(float(low[0] + high[0]) / 2 if np.isfinite(low[0]) else 0.0
                  for low, high in seen),
            convolution,
        )  # fmt: skip

    def __str__(self) -> str:
        headings = ("layer", "kind", "output", "field", "jump", "start", "centre")
        rows = [
            (
                row.layer, row.kind, row.output_shape, row.size, _shown(row.jump),
                _shown(row.start), _shown(row.centre),
            )
            for row in self.layers
        ]  # fmt: skip
        size = " x ".join(map(str, self.input_size))
        footer = [f"input {size}" + ("" if self.sees_all else f": {self._blind()}")]
        if self.unknown:
            footer.append(f"counted as reading everything: {', '.join(self.unknown)}")
        return table(headings, rows, footer)

    def _blind(self) -> str:
        row = self.last_convolution or self.layers[-1]
        return (
            f"a unit of {row.layer!r} sees {' x '.join(map(str, row.size))} of "
            f"{' x '.join(map(str, self.input_size))} elements"
        )


def receptive_field(model: Any, input_shape: Any = None, input: str | None = None) -> FieldReport:
    """What part of the input the units of each layer see: by size, jump and start (Araujo, Norris
    and Sim, "Computing receptive fields of convolutional neural networks", Distill 2019), and by
    `report.of(i, j)` exactly for a single unit.

    Branches that meet see what each of them sees. Strides, dilation, padding, pooling, transposed
    convolutions and upsampling are followed by operation, so layers of one's own count as well.

    Parameters
    ----------
    model : a built model.
    input_shape : of a sample, (h, w, c), where it is not that of the model. Of an input of whole
        numbers (length,), as words are, the axis is that of the words.
    input : name of the input, where there are several; default the first.

    Returns
    -------
    A `FieldReport`.

    Raises
    ------
    ValueError
        For a model that is not built, or an input without spatial axes.

    Warns where the last convolution does not see the whole input.
    """
    trace = traced("receptive_field", model, input_shape)
    if input is not None and input not in trace.names:
        known = ", ".join(map(repr, trace.names))
        raise ValueError(f"receptive_field: input must be one of {known}, got {input!r}")
    number = 0 if input is None else trace.names.index(input)
    report = FieldReport(trace, number, spatial_axes("receptive_field", trace, number))
    if report.last_convolution is not None and not report.sees_all:
        text = f"receptive_field: the last convolution does not see all: {report._blind()}"
        warnings.warn(text, stacklevel=2)
    return report


def spatial_axes(where: str, trace: Trace, number: int) -> tuple[int, ...]:
    """Axes of an input that are neither its batch nor its channels, which numbers of words have
    not.
    """
    spec = trace.inputs[number].spec
    rank = len(spec.shape)
    if rank == 2 and np.dtype(spec.dtype).kind in "iu":
        return (1,)
    first = any(getattr(c.layer, "data_format", "") == "channels_first" for c in trace.calls)
    axes = tuple(range(2, rank)) if first else tuple(range(1, rank - 1))
    if not axes:
        raise ValueError(
            f"{where}: input {trace.names[number]!r} of shape {spec.shape[1:]} has no spatial axes"
        )
    return axes


def _size(low: np.ndarray, high: np.ndarray) -> int:
    """Of the intervals the largest, in elements."""
    some = low <= high
    return int((high[some] - low[some]).max()) + 1 if some.any() else 0


def _jump(low: np.ndarray, phases: int) -> Fraction:
    if not np.isfinite(low).all():
        return Fraction(0)
    return Fraction(int(low[-1] - low[1]), phases)


def _intervals(spans: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[Interval, ...] | None:
    if any(low[0] > high[0] for low, high in spans):
        return None
    return tuple((int(low[0]), int(high[0])) for low, high in spans)


def _hull_of(mask: np.ndarray) -> tuple[Interval, ...] | None:
    places = np.nonzero(mask)
    return tuple((int(p.min()), int(p.max())) for p in places) if places[0].size else None


def _shown(values: Sequence[Any]) -> str:
    return ", ".join(f"{v:g}" if isinstance(v, float) else str(v) for v in values)
