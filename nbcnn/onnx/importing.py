"""A trainable model from an ONNX file."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from nbcnn.layers import Input
from nbcnn.models import Model
from nbcnn.onnx import layer_rules, plain_rules
from nbcnn.onnx.building import Builder, Unsupported
from nbcnn.onnx.files import SAMPLE_LIMIT, Contents, Entry, read
from nbcnn.onnx.folding import BATCH, FOLD, fold, span
from nbcnn.onnx.patterns import joined
from nbcnn.onnx.values import Value
from nbcnn.saving import FormatError

RULES: dict[str, Callable[..., Any]] = {**plain_rules.RULES, **layer_rules.RULES}
WITHOUT_INPUTS = {"Constant", "Shape", "Size"}
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
    contents.entries = joined(contents)
    _refuse_unknown(contents)
    builder = Builder(contents)
    inputs = [_input(builder, key, channels_last) for key in contents.inputs]
    problems: list[str] = []
    for entry in contents.entries:
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
    known = set(RULES) | set(FOLD) | WITHOUT_INPUTS
    unknown: dict[str, int] = {}
    for entry in contents.entries:
        if entry.kind not in known:
            unknown[entry.kind] = unknown.get(entry.kind, 0) + 1
    if unknown:
        listed = ", ".join(f"{kind} ({count})" for kind, count in sorted(unknown.items()))
        contents.refuse(f"operators that are not supported: {listed}")


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
    if not isinstance(value, Value):
        builder.contents.refuse(
            f"output {key!r} does not depend on the inputs, or nothing makes it"
        )
    return value.either(channels_last)


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
        if entry.kind in ("Shape", "Size") and isinstance(inputs[0], Value):
            shape = np.array([BATCH if n is None else n for n in inputs[0].shape], "int64")
            if entry.kind == "Size":
                raise Unsupported(f"{entry}: of a tensor that depends on the batch")
            return [shape[span(entry, len(shape))]]
        if not any(isinstance(value, Value) for value in inputs):
            if entry.kind in FOLD:
                return fold(entry, inputs)
            raise Unsupported(f"{entry}: of constants only")
        if entry.kind not in RULES:
            raise Unsupported(f"{entry}: of what depends on the inputs")
        with np.errstate(all="ignore"):  # weights may be anything
            found = RULES[entry.kind](builder, entry, *inputs)
        return list(found) if isinstance(found, list) else [found]
    except Unsupported as error:
        problems.append(str(error))
        return [MISSING] * len(entry.outputs)
    except FormatError:
        raise
    except DAMAGE as error:
        text = f"needs attribute {error}" if isinstance(error, KeyError) else str(error)
        builder.contents.refuse(f"{entry} is damaged, or of sizes that do not fit: {text}")


def _constant(entry: Entry) -> np.ndarray:
    for name, dtype in (
        ("value", None), ("value_float", "float32"), ("value_int", "int64"),
        ("value_floats", "float32"), ("value_ints", "int64"),
    ):  # fmt: skip
        if name in entry.attributes:
            return np.asarray(entry.attributes[name], dtype)
    raise Unsupported(f"{entry}: a constant that is no tensor of numbers")
