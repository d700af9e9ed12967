"""A trainable model from an ONNX file."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from nbcnn import ops
from nbcnn.layers import Input
from nbcnn.models import Model
from nbcnn.onnx import layer_rules, moved_rules, moving_rules, plain_rules, recorded_rules
from nbcnn.onnx.building import Builder, Unsupported
from nbcnn.onnx.files import SAMPLE_LIMIT, Branch, Contents, Entry, read
from nbcnn.onnx.folding import BATCH, FOLD, fold, span
from nbcnn.onnx.moved_rules import Numbering
from nbcnn.onnx.values import Mixed, Value
from nbcnn.saving import FormatError

RULES: dict[str, Callable[..., Any]] = {
    **plain_rules.RULES, **moving_rules.RULES, **layer_rules.RULES, **recorded_rules.RULES,
}  # fmt: skip
WITHOUT_RULES = {"Constant", "Shape", "Size", "If"}
JOINING = {"Reshape", "Flatten"}  # may join axes to that of the samples
# What rules raise for attributes and sizes that no file should have.
DAMAGE = (
    ValueError, TypeError, KeyError, IndexError, AttributeError, ArithmeticError, MemoryError,
    RecursionError,
)  # fmt: skip
MISSING = object()  # the output of an operator that could not be read


def load(source: Any, *, channels_last: bool = False, name: str | None = None) -> Model:
    """The network in an ONNX file as a model that can be trained, changed and saved.

    Parameters
    ----------
    source : a path, or the file's bytes.
    channels_last : whether the model's images, sequences and volumes have channels last, inputs and
        outputs alike; by default they are as the file says: channels first. Inside they are last in
        any case.
    name : of the model; default the graph's.

    Layers have the names of the file's nodes. The first axis of every input counts samples, also
    where the file names a number.

    Raises
    ------
    FormatError
        A ValueError: for what is no ONNX file or a damaged one, unknown versions, operators or
        settings that are not supported (all are named), sizes that are not known.
    ImportError
        Without the package onnx.
    """
    contents = read(source)
    _refuse_unknown(contents)
    builder = Builder(contents)
    inputs = [_input(builder, key, channels_last) for key in contents.inputs]
    problems: list[str] = []
    for entry in _constants_first(contents):
        _add(builder, entry, problems)
    if problems:
        contents.refuse("not supported: " + "; ".join(dict.fromkeys(problems)))
    outputs = [_output(builder, key, channels_last) for key in contents.outputs]
    one_in, one_out = len(inputs) == 1, len(outputs) == 1
    return Model(
        inputs[0] if one_in else inputs,
        outputs[0] if one_out else outputs,
        name=name or builder.unique(contents.name or "model"),
    )


def _refuse_unknown(contents: Contents) -> None:
    known = set(RULES) | set(FOLD) | WITHOUT_RULES
    unknown: dict[str, int] = {}
    for entry in contents.entries:
        if entry.kind not in known:
            unknown[entry.kind] = unknown.get(entry.kind, 0) + 1
    if unknown:
        listed = ", ".join(f"{kind} ({count})" for kind, count in sorted(unknown.items()))
        contents.refuse(f"operators that are not supported: {listed}")


def _constants_first(contents: Contents) -> list[Entry]:
    """The operators, those before all others whose results are known when the file is read."""
    known, early, late = {"", *contents.arrays}, [], []
    for entry in contents.entries:
        if known.issuperset(entry.inputs) and entry.kind != "If":
            known.update(entry.outputs)
            early.append(entry)
        else:
            late.append(entry)
    return early + late


def _input(builder: Builder, key: str, channels_last: bool) -> Any:
    sizes, dtype = builder.contents.inputs[key]
    if len(sizes) == 0 or any(n is None or n < 1 for n in sizes[1:]):
        builder.contents.refuse(
            f"input {key!r} has shape {sizes}; all sizes but that of the batch must be fixed "
            "and positive (export with dynamic axes for the batch only)"
        )
    shape = tuple(sizes[1:])
    last = channels_last and len(shape) > 1
    if last:
        shape = (*shape[1:], shape[0])
    dtype = "float32" if np.dtype(dtype).kind not in "biu" else dtype
    _check_size(builder, f"input {key!r}", sizes)
    tensor = Input(shape, dtype=dtype, name=builder.unique(key))
    builder.values[key] = Value(last=tensor) if last else Value(first=tensor)
    return tensor


def _output(builder: Builder, key: str, channels_last: bool) -> Any:
    value = builder.values.get(key)
    if isinstance(value, recorded_rules.Recorded):
        builder.contents.refuse(
            f"output {key!r} numbers the pixels of all samples; modulo those of an image it could "
            "be read"
        )
    if not isinstance(value, Value):
        builder.contents.refuse(
            f"output {key!r} does not depend on the inputs, or nothing makes it"
        )
    if value.at:
        builder.contents.refuse(f"output {key!r} does not have the batch on its first axis")
    tensor = value.either(channels_last and value.rows == 1)
    if value.rows == 1:
        return tensor
    return ops.reshape(tensor, (-1, value.rows, *tensor.shape[1:]))


def _check_size(builder: Builder, who: str, shape: Any) -> None:
    if math.prod(int(n) for n in shape[1:]) > SAMPLE_LIMIT:
        builder.contents.refuse(f"{who} is too large: shape {tuple(shape)}")


def _add(builder: Builder, entry: Entry, problems: list[str]) -> None:
    if id(entry) in builder.same:
        builder.values[entry.outputs[0]] = builder.values[builder.same[id(entry)]]
        return
    inputs = []
    for name in entry.inputs:
        if name and name not in builder.values:
            builder.contents.refuse(f"{entry} reads {name!r}, which nothing before it makes")
        inputs.append(builder.values[name] if name else None)
    if any(value is MISSING for value in inputs):
        results: Any = [MISSING] * len(entry.outputs)
    else:
        results = _results(builder, entry, inputs, problems)
    for name, result in zip(entry.outputs, results):
        if isinstance(result, Value):
            _check_size(builder, f"the output of {entry}", result.shape)
        if name:
            builder.values[name] = result


def _results(builder: Builder, entry: Entry, inputs: list[Any], problems: list[str]) -> list[Any]:
    try:
        if entry.kind == "Constant":
            return [_constant(entry)]
        if entry.kind == "If":
            return _chosen(builder, entry, inputs[0], problems)
        if entry.kind in ("Shape", "Size") and isinstance(inputs[0], Value):
            sizes = [int(n) for n in inputs[0].shape[1:]]
            sizes.insert(inputs[0].at, BATCH * inputs[0].rows)
            shape = np.array(sizes, "int64")
            if entry.kind == "Size":
                raise Unsupported(f"{entry}: of a tensor that depends on the batch")
            return [shape[span(entry, len(shape))]]
        recorded = recorded_rules.within_image(entry, inputs)
        if recorded is not None:
            return [recorded]
        recorded_rules.refuse_others(entry, inputs)
        if not any(isinstance(value, Value) for value in inputs):
            numbers = moved_rules.numbering(entry, inputs)
            if numbers is not None:
                return [numbers]
            if entry.kind in FOLD:
                return fold(entry, inputs, builder.spend)
            raise Unsupported(f"{entry}: of constants only")
        if entry.kind not in RULES:
            raise Unsupported(f"{entry}: of what depends on the inputs")
        return _applied(builder, entry, inputs)
    except Unsupported as error:
        problems.append(str(error))
        return [MISSING] * len(entry.outputs)
    except Mixed as error:
        problems.append(f"{entry}: {error}")
        return [MISSING] * len(entry.outputs)
    except FormatError:
        raise
    except DAMAGE as error:
        text = f"needs attribute {error}" if isinstance(error, KeyError) else str(error)
        builder.contents.refuse(f"{entry} is damaged, or of sizes that do not fit: {text}")


def _chosen(builder: Builder, entry: Entry, condition: Any, problems: list[str]) -> list[Any]:
    """The results of the branch that is always taken: exporters ask for sizes that are known."""
    if not isinstance(condition, np.ndarray) or condition.size != 1:
        raise Unsupported(f"{entry}: a condition that depends on the inputs")
    key = "then_branch" if condition.reshape(()) else "else_branch"
    branch = entry.attributes[key]
    if not isinstance(branch, Branch):
        raise ValueError(f"{key} is no graph")
    builder.values.update(branch.arrays)
    for inner in branch.entries:
        _add(builder, inner, problems)
    return [builder.values[name] for name in branch.outputs]


def _applied(builder: Builder, entry: Entry, inputs: list[Any]) -> list[Any]:
    rows = {value.rows for value in inputs if isinstance(value, Value)}
    if len(rows) > 1:
        raise Mixed(f"tensors with {sorted(rows)} rows a sample")
    moved = any(value.at for value in inputs if isinstance(value, Value))
    rules = moved_rules.RULES if moved else RULES
    if entry.kind not in rules or (moved and not isinstance(inputs[0], Value)):
        raise Mixed("samples are not on the first axis")
    builder.begin(entry)
    with np.errstate(all="ignore"):  # weights may be anything
        found = rules[entry.kind](builder, entry, *inputs)
    results = list(found) if isinstance(found, list) else [found]
    if entry.kind not in JOINING and not any(isinstance(v, Numbering) for v in inputs):
        for result in results:
            result.rows = max(rows)
    return results


def _constant(entry: Entry) -> np.ndarray:
    for name, dtype in (
        ("value", None), ("value_float", "float32"), ("value_int", "int64"),
        ("value_floats", "float32"), ("value_ints", "int64"),
    ):  # fmt: skip
        if name in entry.attributes:
            return np.asarray(entry.attributes[name], dtype)
    raise Unsupported(f"{entry}: a constant that is no tensor of numbers")
