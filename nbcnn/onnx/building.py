"""What the rules for operators share while a model is made: names, weights, constants."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from nbcnn.onnx.files import Contents, Entry
from nbcnn.onnx.values import Value, made


class Unsupported(ValueError):
    """Something that an operator may do and this package does not."""


class Builder:
    """The state of one import."""

    def __init__(self, contents: Contents) -> None:
        self.contents, self.opset = contents, contents.opset
        self.values: dict[str, Any] = dict(contents.arrays)
        self.taken: set[str] = set()
        self.readers: dict[str, list[Entry]] = {}
        for entry in contents.entries:
            for name in entry.inputs:
                self.readers.setdefault(name, []).append(entry)
        self.same: dict[int, str] = {}  # entries that others have done: id -> whose output it is

    def unique(self, name: str) -> str:
        """The name, as layers may have it, with a number if it is taken."""
        base = name.strip("/").replace("/", ".") or "node"
        name, number = base, 0
        while name in self.taken:
            number += 1
            name = f"{base}_{number}"
        self.taken.add(name)
        return name

    def name(self, entry: Entry, suffix: str = "") -> str:
        base = entry.name or entry.kind.lower()
        return self.unique(f"{base}_{suffix}" if suffix else base)

    def constant(self, entry: Entry, value: Any) -> np.ndarray:
        """Weights must be in the file."""
        if isinstance(value, Value):
            raise Unsupported(f"{entry}: weights that are computed from the inputs")
        if value is None:
            raise ValueError(f"{entry}: a weight is missing")
        return value

    def optional(self, entry: Entry, value: Any) -> np.ndarray | None:
        return None if value is None else self.constant(entry, value)

    def called(
        self, layer: Any, x: Value, weights: Sequence[np.ndarray | None], last: bool = True
    ) -> Value:
        """The layer on x, and its weights (None: it has no such one)."""
        y = layer(x.either(last))
        layer.set_weights([np.asarray(w, "float32") for w in weights if w is not None])
        return made(y, last)

    def bias_behind(self, entry: Entry, size: int) -> np.ndarray | None:
        """The vector that the only reader of a product adds to it; that reader is done then."""
        output = entry.outputs[0]
        readers = self.readers.get(output, [])
        if len(readers) != 1 or readers[0].kind != "Add" or output in self.contents.outputs:
            return None
        other = next((n for n in readers[0].inputs if n != output), "")
        bias = self.values.get(other)
        if not isinstance(bias, np.ndarray) or bias.shape != (size,):
            return None
        self.same[id(readers[0])] = output
        return bias
