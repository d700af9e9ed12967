"""ONNX files, read without trust: from bytes to nodes, attributes and arrays."""

import dataclasses
import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from nbcnn.io.files import FormatError, as_path

OLDEST, NEWEST = 7, 25  # versions of the operators' set
SIZE_LIMIT = 2 << 30  # of the file without its external data; protobuf takes no more either
NODE_LIMIT = 20_000  # operators of a graph; the largest CNNs have a tenth
SAMPLE_LIMIT = 1 << 27  # numbers in one sample of a tensor, whatever sizes a file declares
FIXED_AT_LOAD = 1 << 24  # numbers in an array that folding may make


@dataclasses.dataclass
class Entry:
    """One application of an operator."""

    name: str
    kind: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.kind} {self.name!r}" if self.name else self.kind


@dataclasses.dataclass
class Branch:
    """A graph inside of another one, whose tensors it may read: what an If chooses."""

    entries: list[Entry]
    outputs: list[str]
    arrays: dict[str, np.ndarray]


@dataclasses.dataclass
class Contents:
    """A graph. `inputs`: name -> sizes (None: known when it runs) and data type."""

    source: str
    name: str
    opset: int
    entries: list[Entry]
    inputs: dict[str, tuple[list[int | None], str]]
    outputs: list[str]
    arrays: dict[str, np.ndarray]

    def refuse(self, text: str) -> NoReturn:
        raise FormatError(f"{self.source}: {text}")


def package() -> Any:
    """The package onnx. Raises ImportError that says how to get it."""
    try:
        import onnx
        import onnx.numpy_helper
    except ImportError as error:
        raise ImportError("ONNX files need the package onnx: pip install nbcnn[onnx]") from error
    return onnx


def read(source: Any) -> Contents:
    """The graph in a file, or in its bytes. Raises FormatError for what is none."""
    onnx = package()
    folder: Path | None = None
    if isinstance(source, (bytes, bytearray, memoryview)):
        name, data = "<bytes>", bytes(source)
    else:
        path = as_path(source, "onnx.load", "source")
        name, folder = str(path), path.parent
        if not path.is_file():
            raise FileNotFoundError(f"onnx.load: no such file: {path}")
        if path.stat().st_size > SIZE_LIMIT:
            raise FormatError(f"{name}: is larger than {SIZE_LIMIT} bytes")
        data = path.read_bytes()
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except Exception as error:  # protobuf has several, and some are its own
        raise FormatError(f"{name}: is no ONNX file, or a damaged one: {error}") from None
    if not model.HasField("graph") or not (model.graph.node or model.graph.output):
        raise FormatError(f"{name}: is no ONNX file, or a damaged one: there is no graph in it")
    return _Reader(onnx, name, folder, model).contents()


class _Reader:
    def __init__(self, onnx: Any, name: str, folder: Path | None, model: Any) -> None:
        self.onnx, self.name, self.folder, self.model = onnx, name, folder, model
        self.beside: dict[Path, int] = {}  # files with external data, and their sizes
        self.taken = 0  # bytes from them
        self.count = len(model.graph.node)  # operators, with those of inner graphs

    def refuse(self, text: str) -> NoReturn:
        raise FormatError(f"{self.name}: {text}")

    def contents(self) -> Contents:
        graph = self.model.graph
        if self.count > NODE_LIMIT:
            self.refuse(f"has {self.count} operators; {NODE_LIMIT} are read at most")
        texts = [graph.name, *(v.name for v in (*graph.input, *graph.output, *graph.initializer))]
        for node in graph.node:
            texts += [node.name, node.op_type, node.domain, *node.input, *node.output]
            texts += [a.name for a in node.attribute]
        if not all(isinstance(text, str) for text in texts):  # protobuf leaves those as bytes
            self.refuse("is damaged: a name is no UTF-8")
        opset = self._opset()
        if graph.sparse_initializer:
            self.refuse("sparse initializers are not supported")
        arrays = {t.name: self.array(t) for t in graph.initializer}
        entries = [self._entry(node) for node in graph.node]
        inputs = {i.name: self._type(i) for i in graph.input if i.name not in arrays}
        outputs = [o.name for o in graph.output]
        if not inputs or not outputs:
            self.refuse("the graph has no inputs or no outputs")
        made = Counter(name for entry in entries for name in entry.outputs if name)
        made.update([*inputs, *arrays])
        twice = [name for name, count in made.items() if count > 1]
        if twice or len(arrays) < len(graph.initializer) or len(set(outputs)) < len(outputs):
            self.refuse(f"tensors with the same name: {', '.join(twice[:10]) or 'arrays, outputs'}")
        return Contents(self.name, graph.name, opset, entries, inputs, outputs, arrays)

    def _opset(self) -> int:
        versions = [o.version for o in self.model.opset_import if o.domain in ("", "ai.onnx")]
        if len(versions) != 1:
            self.refuse("the version of ONNX's operators (opset) is missing or given twice")
        if not OLDEST <= versions[0] <= NEWEST:
            self.refuse(
                f"has operators of version (opset) {versions[0]}; {OLDEST} to {NEWEST} are known"
            )
        return versions[0]

    def _entry(self, node: Any) -> Entry:
        kind = node.op_type
        if node.domain not in ("", "ai.onnx"):
            kind = f"{node.domain}.{kind}"
        if not node.output:
            self.refuse(f"{kind} {node.name!r} has no output")
        attributes = {}
        for a in node.attribute:
            try:
                value = self.onnx.helper.get_attribute_value(a)
            except ValueError as error:
                self.refuse(f"{kind} {node.name!r}: attribute {a.name!r}: {error}")
            if isinstance(value, bytes):
                value = value.decode("utf-8", "replace")
            elif isinstance(value, self.onnx.TensorProto):
                value = self.array(value)
            elif isinstance(value, self.onnx.GraphProto):
                value = self._branch(value)
            elif not isinstance(value, (int, float, str)):
                value = (
                    list(value)
                    if isinstance(value, (list, tuple)) or hasattr(value, "append")
                    else value
                )
            parts = value if isinstance(value, list) else [value]
            if any(isinstance(part, float) and math.isnan(part) for part in parts):
                self.refuse(f"{kind} {node.name!r}: attribute {a.name!r} is no number")
            attributes[a.name] = value
        return Entry(node.name, kind, list(node.input), list(node.output), attributes)

    def _branch(self, graph: Any) -> Branch:
        self.count += len(graph.node)
        if self.count > NODE_LIMIT:
            self.refuse(f"has more than {NODE_LIMIT} operators")
        arrays = {t.name: self.array(t) for t in graph.initializer}
        entries = [self._entry(node) for node in graph.node]
        return Branch(entries, [o.name for o in graph.output], arrays)

    def _type(self, value: Any) -> tuple[list[int | None], str]:
        kind = value.type.tensor_type
        if not value.type.HasField("tensor_type") or not kind.HasField("shape"):
            self.refuse(f"input {value.name!r} is no tensor with a shape")
        sizes = [int(d.dim_value) if d.HasField("dim_value") else None for d in kind.shape.dim]
        try:
            dtype = np.dtype(self.onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)).name
        except (KeyError, TypeError, ValueError):
            self.refuse(f"input {value.name!r} has an unknown data type")
        if np.dtype(dtype).kind not in "biuf" and dtype != "bfloat16":
            self.refuse(f"input {value.name!r} has data type {dtype}, which is not supported")
        return sizes, dtype

    def array(self, tensor: Any) -> np.ndarray:
        """The numbers of a tensor; nothing is allocated that the file does not hold."""
        who = f"tensor {tensor.name!r}"
        shape = tuple(tensor.dims)
        if any(n < 0 for n in shape):
            self.refuse(f"{who} has a negative size: {shape}")
        try:
            if tensor.data_location == self.onnx.TensorProto.EXTERNAL:
                tensor = self._with_external(tensor, who)
            found = self.onnx.numpy_helper.to_array(tensor)
        except FormatError:
            raise
        except Exception as error:
            self.refuse(f"{who} is damaged: {error}")
        if found.shape != shape:
            self.refuse(f"{who} is damaged: it should be of shape {shape}, is {found.shape}")
        if found.dtype.kind not in "biuf":
            if found.dtype.name not in ("bfloat16", "float16"):
                self.refuse(f"{who} has data type {found.dtype}, which is not supported")
            found = found.astype("float32")
        if found.dtype.kind == "f" and found.dtype != np.float32:
            found = found.astype("float32")
        return np.ascontiguousarray(found).reshape(shape)

    def _with_external(self, tensor: Any, who: str) -> Any:
        """The tensor with its numbers, from a file beside the model's or below."""
        given = {e.key: e.value for e in tensor.external_data}
        location = given.get("location", "")
        if self.folder is None:
            self.refuse(f"{who} is in another file, {location!r}; give load() the path")
        folder = self.folder.resolve()
        path = (folder / location).resolve()  # follows links
        if not location or Path(location).is_absolute() or not path.is_relative_to(folder):
            self.refuse(f"{who} is in a file outside of the model's folder: {location!r}")
        if not path.is_file():
            self.refuse(f"{who} is in a file that is missing: {location!r}")
        offset = int(given.get("offset", 0))
        dtype = self.onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
        need = math.prod(tensor.dims) * np.dtype(dtype).itemsize
        length = int(given.get("length", need))
        if offset < 0 or length != need or offset + need > path.stat().st_size:
            self.refuse(f"{who}: {location!r} is too short, or of another size")
        self.beside[path] = path.stat().st_size
        self.taken += need
        if self.taken > 2 * sum(self.beside.values()):
            self.refuse(f"{who}: more is taken from {location!r} than it holds")
        with open(path, "rb") as file:
            file.seek(offset)
            data = file.read(need)
        copy = self.onnx.TensorProto()
        copy.CopyFrom(tensor)
        copy.ClearField("external_data")
        copy.data_location = self.onnx.TensorProto.DEFAULT
        copy.raw_data = data
        return copy


def ints(attributes: Mapping[str, Any], name: str, default: Any = None) -> Any:
    """A list of integers among attributes."""
    value = attributes.get(name)
    return default if value is None else [int(v) for v in value]
