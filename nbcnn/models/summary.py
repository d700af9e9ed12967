"""The table that `Model.summary` prints."""

import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from nbcnn.layers.base import Layer, flatten
from nbcnn.layers.layer_call import LayerCall

WIDTH = 80
TITLES = ["Layer (type)", "Output Shape", "Param #"]
ENDS = {3: [0.54, 0.85, 1.0], 4: [0.39, 0.63, 0.75, 1.0]}


def write(text: str) -> None:
    sys.stdout.write(text + "\n")


def table(
    model: Any,
    line_length: int | None = None,
    positions: Any = None,
    expand_nested: bool = False,
    show_trainable: bool = False,
) -> str:
    """Layers, shapes and numbers of weights, as text of lines up to `line_length` wide.

    What is not known before a layer has seen data or shapes is shown as `?`.
    """
    layers = model.layers
    branching = model._functional is not None and not is_chain(model._functional.makers)
    titles = [*TITLES, "Connected to"] if branching else list(TITLES)
    width = line_length or (WIDTH if not branching else 98)
    ends = _ends(positions, len(titles), width)
    if show_trainable:
        titles.append("Trainable")
        ends.append(ends[-1] + 10)
        width = ends[-1]
    sources = _sources(model) if branching else {}
    lines = [f'Model: "{model.name}"', "_" * width, *_row(titles, ends), "=" * width]
    for depth, layer in _nested(layers, expand_nested):
        cells = [f"{'  ' * depth}{layer.name} ({type(layer).__name__})", shape_of(layer)]
        cells.append(f"{layer_size(layer):,}" if layer.built else "? (unbuilt)")
        if branching:
            cells.append(", ".join(sources.get(id(layer), [])) if depth == 0 else "")
        if show_trainable:
            cells.append("Y" if layer.trainable else "N")
        lines += _row(cells, ends)
    return "\n".join([*lines, "=" * width, *totals(model), "_" * width])


def totals(model: Any) -> list[str]:
    """What stands below the table."""
    trained = model.trainable_weights
    optimizer = _optimizer_size(model)
    parts = {
        "Total": _size(model.weights) + optimizer[0],
        "Trainable": _size(trained),
        "Non-trainable": _size(model.non_trainable_weights),
        "Optimizer": optimizer[0],
    }
    nbytes = {
        "Total": _bytes(model.weights) + optimizer[1],
        "Trainable": _bytes(trained),
        "Non-trainable": _bytes(model.non_trainable_weights),
        "Optimizer": optimizer[1],
    }
    lines = [
        f"{name} params: {count:,} ({shown_bytes(nbytes[name])})"
        for name, count in parts.items()
        if count or name != "Optimizer"
    ]
    peak = model._runners.peak_bytes
    if peak is not None:
        lines.append(f"Activation memory of the largest step: {shown_bytes(peak)}")
    return lines


def _optimizer_size(model: Any) -> tuple[int, int]:
    """(values, bytes) of the optimizer's state, once there is one."""
    store = model._runners.filled_store
    if store is None:
        return 0, 0
    shapes = [s for part in store.slot_shapes().values() for s in part if s is not None]
    count = sum(int(np.prod(shape, dtype=np.int64)) for shape in shapes)
    widest = max((np.dtype(v.dtype).itemsize for v in store.variables), default=0)
    return count, count * widest


def _size(variables: Iterable[Any]) -> int:
    return sum(v.size for v in variables)


def _bytes(variables: Iterable[Any]) -> int:
    return sum(v.size * np.dtype(v.dtype).itemsize for v in variables)


def shown_bytes(count: int) -> str:
    """`241.04 KB`."""
    size, unit = float(count), "B"
    for larger in ("KB", "MB", "GB", "TB"):
        if size < 1024:
            break
        size, unit = size / 1024, larger
    return f"{size:.2f} {unit}"


def layer_size(layer: Layer) -> int:
    return _size(layer.weights)


def shape_of(layer: Any) -> str:
    """The shape of a layer's output; `?` where it is not known."""
    if len(layer._symbolic_calls) == 1:
        shapes = [t.shape for t in flatten(layer._symbolic_calls[0].outputs)]
    elif getattr(layer, "_functional", None) is not None:
        shapes = [slot.shape for slot in layer._functional.output_signature.slots]
    elif layer._symbolic_calls:
        found = {tuple(t.shape for t in flatten(call.outputs)) for call in layer._symbolic_calls}
        shapes = list(found.pop()) if len(found) == 1 else []
    else:
        shapes = _computed(layer)
    return ", ".join(str(shape) for shape in shapes) or "?"


def _computed(layer: Any) -> list[tuple]:
    """The output shapes for the input that the layer was built on."""
    if not layer.built or layer._built_for is None:
        return []
    try:
        output = layer.compute_output_shape(layer._built_for)
    except (TypeError, ValueError, NotImplementedError):  # a user's layer with other arguments
        return []
    if isinstance(output, dict):
        return list(output.values())
    single = isinstance(output, tuple) and all(n is None or isinstance(n, int) for n in output)
    return [output] if single else list(output)


def is_chain(makers: Sequence[Any]) -> bool:
    """Whether each call uses nothing but the output of the one before."""
    before: set[int] | None = None
    for maker in makers:
        if len(maker.inputs) != 1 or (before is not None and id(maker.inputs[0]) not in before):
            return False
        before = {id(t) for t in flatten(maker.outputs)}
    return True


def _sources(model: Any) -> dict[int, list[str]]:
    """Names of the layers that each layer takes its inputs from, for all its calls."""
    names = {id(layer.output): layer.name for layer in model._functional.input_layers}
    found: dict[int, list[str]] = {}
    for maker in model._functional.makers:
        inputs = [names.get(id(t), "") for t in maker.inputs]
        if isinstance(maker, LayerCall):
            name = maker.layer.name or ""
            found.setdefault(id(maker.layer), []).extend(filter(None, inputs))
        else:
            name = maker.op.name
        names.update((id(t), name) for t in flatten(maker.outputs))
    return found


def _nested(layers: Iterable[Any], expand: bool, depth: int = 0) -> Iterable[tuple[int, Any]]:
    for layer in layers:
        yield depth, layer
        if expand and hasattr(layer, "layers"):
            yield from _nested(layer.layers, expand, depth + 1)


def _ends(positions: Any, columns: int, width: int) -> list[int]:
    """Where each column ends, in characters."""
    chosen = list(positions or ENDS[columns])[:columns]
    return [int(p * width) if p <= 1 else int(p) for p in chosen]


def _row(cells: Sequence[str], ends: Sequence[int]) -> list[str]:
    """The cells of one row; long ones go on in further lines."""
    starts = [0, *ends[:-1]]
    widths = [max(end - start - 1, 1) for start, end in zip(starts, ends)]
    pieces = [_wrapped(cell, width) for cell, width in zip(cells, widths)]
    height = max(map(len, pieces))
    lines = []
    for i in range(height):
        parts = [p[i] if i < len(p) else "" for p in pieces]
        lines.append(" ".join(p.ljust(w) for p, w in zip(parts, widths)).rstrip())
    return lines


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width) or [""]
