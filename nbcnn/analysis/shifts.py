"""What shifts of the input do to what layers compute."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from nbcnn.analysis.fields import FieldReport, spatial_axes
from nbcnn.analysis.tables import table
from nbcnn.analysis.tracing import require_built, traced
from nbcnn.layers.base import flatten
from nbcnn.layers.layer_call import LayerCall
from nbcnn.models.model import Model
from nbcnn.models.sequential import replayed

Shift = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Shifted:
    """One `layer` of total `stride` under one `shift`.

    multiple : whether the shift is a multiple of the layer's total stride along every axis, so
        that its output can follow by whole units; None where its output is not laid out along the
        axes.
    difference : norm of layer(shift(x)) - shift'(layer(x)) over that of layer(x), where shift'
        moves by as many units as come nearest; without units, of layer(shift(x)) - layer(x).
    inside : the same over units that do not see a border or beyond; None where there are none.
    """

    layer: str
    shift: Shift
    stride: tuple[Any, ...]
    multiple: bool | None
    difference: float
    inside: float | None


@dataclasses.dataclass(frozen=True)
class ShiftReport:
    """What `equivariance` returns, of a `model`; prints as a table. `rows` has one for each layer
    and shift. `agreement`: by shift, the share of samples whose largest output stays the same, of a
    model with one output of classes.
    """

    model: str
    rows: tuple[Shifted, ...]
    agreement: dict[Shift, float] | None

    def of(self, layer: str) -> list[Shifted]:
        """The rows of a `layer`."""
        return [row for row in self.rows if row.layer == layer]

    def __str__(self) -> str:
        headings = ("layer", "stride", "shift", "multiple", "difference", "inside")
        rows = [
            (
                row.layer, " x ".join(map(str, row.stride)), ", ".join(map(str, row.shift)),
                "" if row.multiple is None else row.multiple, row.difference, row.inside,
            )
            for row in self.rows
        ]  # fmt: skip
        kept = (self.agreement or {}).items()
        footer = [f"shifted by {', '.join(map(str, s))}: {a:.0%} keep their class" for s, a in kept]
        return table(headings, rows, footer)


def equivariance(
    model: Any, x: Any = None, shifts: Sequence[Any] | int = (1, 2, 4), layers: Any = None
) -> ShiftReport:
    """Measure what shifts of the input do: whether f(shift(x)) = shift'(f(x)).

    A convolution follows every shift, but for what it sees of the border; with strides or pools, a
    shift by multiples of the total stride (Zhang, "Making convolutional networks shift-invariant
    again", 2019). What is shifted out comes in at the other side.

    Parameters
    ----------
    model : a built `Sequential` or functional model of one input.
    x : samples (n, h, w, c); default 4 of random numbers, of 0 and 1 where they are whole.
    shifts : pixels: of each a number, along the last spatial axis, or one for each axis; a single
        number for one shift.
    layers : names of layers to report; default all.

    Returns
    -------
    A `ShiftReport`.

    Raises
    ------
    ValueError
        For a model that is not built, has several inputs, or is a class of one's own, and for
        shifts as large as the input.
    """
    require_built("equivariance", model)
    network = replayed(model)
    if network is None or len(flatten(network.inputs)) != 1:
        raise ValueError(
            f"equivariance: {type(model).__name__} {model.name!r} must be a Sequential or "
            "functional model of one input"
        )
    shape = None if x is None else tuple(int(n) for n in np.shape(x)[1:])
    trace = traced("equivariance", model, shape)
    axes = spatial_axes("equivariance", trace, 0)
    fields = FieldReport(trace, 0, axes)
    wanted = [shifts] if isinstance(shifts, (int, np.integer)) else list(shifts)
    moves = [_shift(value, fields.input_size) for value in wanted]
    if x is None:
        x = _random((4, *trace.inputs[0].spec.shape[1:]), trace.inputs[0].spec.dtype)
    x = np.asarray(x)
    named = _outputs(model, fields, layers)
    inner = Model(model._functional.inputs, [tensor for _, tensor in named])
    before = flatten(inner.predict(x, verbose=0))
    rows, agreement = [], {}
    for move in moves:
        after = flatten(inner.predict(np.roll(x, move, axes), verbose=0))
        for (layer, _), old, new in zip(named, before, after):
            rows.append(_row(fields, layer, move, old, new))
        if before[-1].ndim == 2 and layers is None:
            same = before[-1].argmax(-1) == after[-1].argmax(-1)
            agreement[move] = float(same.mean())
    order = {layer: i for i, (layer, _) in enumerate(named)}
    rows.sort(key=lambda row: order[row.layer])
    return ShiftReport(model.name, tuple(rows), agreement or None)


def _random(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    rng = np.random.default_rng(0)
    if np.dtype(dtype).kind in "iu":
        return rng.integers(0, 2, shape).astype(dtype)
    return rng.standard_normal(shape)


def _shift(value: Any, size: Sequence[int]) -> Shift:
    move = tuple(value) if isinstance(value, (list, tuple)) else (0,) * (len(size) - 1) + (value,)
    whole = all(isinstance(v, (int, np.integer)) for v in move)
    if len(move) != len(size) or not whole or any(abs(m) >= n for m, n in zip(move, size)):
        raise ValueError(
            f"equivariance: a shift must be a whole number, or one for each of {len(size)} axes, "
            f"less than the input's {size}, got {value!r}"
        )
    return tuple(int(m) for m in move)


def _outputs(model: Any, fields: FieldReport, layers: Any) -> list[tuple[str, Any]]:
    """(name in the report of fields, symbolic output) of the model's layers."""
    known = [row.layer for row in fields.layers]
    found: dict[str, Any] = {}
    for maker in model._functional.makers:
        if not isinstance(maker, LayerCall) or len(flatten(maker.outputs)) != 1:
            continue
        name = maker.layer.name
        while name in found:  # called again
            name += "'"
        inside = [k for k in known if k.startswith(f"{name}/")]
        name = name if name in known else inside[-1] if inside else None
        if name is not None:
            found[name] = flatten(maker.outputs)[0]
    chosen = list(found) if layers is None else list(layers)
    for name in chosen:
        if name not in found:
            raise ValueError(f"equivariance: no layer {name!r}; there are {', '.join(found)}")
    return [(name, found[name]) for name in chosen]


def _row(fields: FieldReport, layer: str, move: Shift, old: Any, new: Any) -> Shifted:
    jumps, axes = fields[layer].jump, fields.axes_of(layer)
    if not all(jumps):
        return Shifted(layer, move, tuple(jumps), None, _relative(new - old, old), None)
    exact = [m / jump for m, jump in zip(move, jumps)]
    units = [round(e) for e in exact]
    expected, found, within = old, new, []
    for axis, m, u, n, (low, high) in zip(
        axes, move, units, fields.input_size, fields.intervals(layer)
    ):
        count = old.shape[axis]
        places = np.arange(max(u, 0), count + min(u, 0))
        found, expected = found.take(places, axis), expected.take(places - u, axis)
        unseen = (low >= max(m, 0)) & (high < n + min(m, 0))  # nothing of borders and beyond
        within.append(np.flatnonzero(unseen[places]))
    difference, inside = _relative(found - expected, expected), None
    for axis, places in zip(axes, within):
        found, expected = found.take(places, axis), expected.take(places, axis)
    if found.size:
        inside = _relative(found - expected, expected)
    multiple = all(e == u for e, u in zip(exact, units))
    return Shifted(layer, move, tuple(jumps), multiple, difference, inside)


def _relative(error: Any, size: Any) -> float:
    norm = float(np.linalg.norm(np.asarray(size, np.float64)))
    return float(np.linalg.norm(np.asarray(error, np.float64))) / (norm or 1.0)
