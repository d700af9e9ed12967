"""What the rules for operators share while a model is made: names, weights, constants."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from nbcnn.onnx.files import FIXED_AT_LOAD, Branch, Contents, Entry, ints
from nbcnn.onnx.folding import cast_type
from nbcnn.onnx.values import Value, made

FOLDED_LIMIT = 1 << 26  # numbers that all arrays together may have which folding makes


class Unsupported(ValueError):
    """Something that an operator may do and this package does not."""


class Builder:
    """The state of one import."""

    def __init__(self, contents: Contents) -> None:
        self.contents, self.opset = contents, contents.opset
        batches = {sizes[0] for sizes, _ in contents.inputs.values() if sizes}
        self.batch = batches.pop() if len(batches) == 1 else None  # the size that the file is for
        self.values: dict[str, Any] = dict(contents.arrays)
        self.taken: dict[str, int] = {}  # names of layers -> the number that was tried last
        self.outputs = set(contents.outputs)
        self.readers: dict[str, list[Entry]] = {}
        self.makers = {name: entry for entry in contents.entries for name in entry.outputs}
        self._note_readers(contents.entries)
        self.layers: dict[tuple[Any, ...], Any] = {}  # by what their weights are called
        self.same: dict[int, str] = {}  # entries that others have done: id -> whose output it is
        attributes = (a for entry in contents.entries for a in entry.attributes.values())
        held = [a.size for a in attributes if isinstance(a, np.ndarray)]
        held += [a.size for a in contents.arrays.values()]
        self.most, self.left = max(held, default=0), FOLDED_LIMIT + 4 * sum(held)

    def _note_readers(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            for name in entry.inputs:
                self.readers.setdefault(name, []).append(entry)
            for value in entry.attributes.values():
                if isinstance(value, Branch):
                    self._note_readers(value.entries)
                    self.outputs.update(value.outputs)

    def spend(self, count: int) -> None:
        """Takes note of numbers that the file does not hold. Raises ValueError for too many."""
        self.left -= count
        if self.left < 0 or count > FIXED_AT_LOAD + self.most:
            raise ValueError("arrays that are computed when it is read are too large")

    def fits(self, x: Value, axis: int, size: int) -> None:
        """Weights are for that many channels: said before a layer makes room for others."""
        if x.shape[axis] != size:
            raise ValueError(f"weights for {size} channels, there are {x.shape[axis]}")

    def unique(self, name: str) -> str:
        """The name, as layers may have it, with a number if it is taken."""
        base = name = name.strip("/").replace("/", ".") or "node"
        while name in self.taken:
            self.taken[base] += 1
            name = f"{base}_{self.taken[base]}"
        self.taken[name] = 0
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

    def begin(self, entry: Entry) -> None:
        """Says whose layers are made from now on."""
        self.key: tuple[Any, ...] = (entry.kind, *entry.inputs[1:])

    def called(
        self, layer: Any, x: Value, weights: Sequence[np.ndarray | None], last: bool = True
    ) -> Value:
        """The layer on x, and its weights (None: it has no such one); or one that was made before
        of the same arrays of the file, which networks use in several places.
        """
        arrays = [np.asarray(w, "float32") for w in weights if w is not None]
        key, self.key = self.key, (*self.key, "next")
        before = self.layers.get(key)
        if before is not None and _alike(before, layer, arrays):
            return made(before(x.either(last)), last)
        y = layer(x.either(last))
        layer.set_weights(arrays)
        self.layers.setdefault(key, layer)
        return made(y, last)

    def follower(self, name: str) -> Entry | None:
        """The operator that alone reads a tensor."""
        readers = self.readers.get(name, [])
        alone = all(reader is readers[0] for reader in readers) and name not in self.outputs
        return readers[0] if readers and alone else None

    def done_by(self, entry: Entry, others: Sequence[Entry]) -> None:
        """Says that an operator's layer does what other ones would do behind it."""
        for other in others:
            self.same[id(other)] = entry.outputs[0]
        names = [name for other in others for name in other.inputs]
        arrays = (name for name in names if isinstance(self.values.get(name), np.ndarray))
        self.key = (entry.kind, *arrays)

    def bias_behind(self, entry: Entry, size: int, rank: int, axis: int) -> np.ndarray | None:
        """What an Add puts on top of a product or convolution, one number for each of the `size`
        channels on `axis`, perhaps behind transpositions and casts; the Add is done then.
        """
        output = entry.outputs[0]
        while True:
            reader = self.follower(output)
            if reader is None:
                return None
            if reader.kind == "Identity" or (
                reader.kind == "Cast" and cast_type(reader) == "float32"
            ):
                output = reader.outputs[0]
                continue
            if reader.kind != "Transpose":
                break
            perm = ints(reader.attributes, "perm", list(range(rank))[::-1])
            if sorted(perm) != list(range(rank)):
                return None
            axis, output = perm.index(axis), reader.outputs[0]
        if reader.kind != "Add" or reader.inputs.count(output) != 1:
            return None
        bias = self.values.get(next((n for n in reader.inputs if n != output), ""))
        if not isinstance(bias, np.ndarray) or bias.ndim > rank or bias.size != size:
            return None
        full = (1,) * (rank - bias.ndim) + bias.shape
        if full[axis] != size or bias.dtype != np.float32:
            return None
        self.same[id(reader)] = output
        return bias.reshape(size)


def _alike(one: Any, other: Any, arrays: Sequence[np.ndarray]) -> bool:
    """Arrays of one number, as of fresh layers, are held once by files and mean nothing."""
    held = one.get_weights()
    if type(one) is not type(other) or len(held) != len(arrays):
        return False
    if not any(np.ptp(array) for array in arrays):
        return False
    first, second = ({**layer.get_config(), "name": ""} for layer in (one, other))
    same = all(map(np.array_equal, held, arrays))
    return same and repr(first) == repr(second)


def axes_of(b: Builder, entry: Entry, axes: Any, rank: int) -> list[int] | None:
    """Axes as an attribute, or since version 13 (18 of reductions) as an input; None: not given."""
    given = ints(entry.attributes, "axes")
    if given is None and axes is not None:
        given = [int(a) for a in b.constant(entry, axes)]
    return None if given is None else sorted(a % rank for a in given)
