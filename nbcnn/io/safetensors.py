"""The safetensors format: the length of a JSON header (8 bytes), the header, then all numbers.

The header says for each name its type, shape and place; arrays lie one after the other without
gaps. https://github.com/huggingface/safetensors describes it.
"""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from nbcnn.io.files import Window, parse_json

HEADER_LIMIT = 100 << 20  # bytes, as in the reference implementation
ALIGNMENT = 8
METADATA = "__metadata__"
TYPES = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "I16": "int16",
    "U16": "uint16",
    "I32": "int32",
    "U32": "uint32",
    "I64": "int64",
    "U64": "uint64",
    "F16": "float16",
    "F32": "float32",
    "F64": "float64",
    "BF16": "uint16",  # the upper half of a float32
}
NAMES = {np.dtype(name): code for code, name in TYPES.items() if code != "BF16"}


class Entry(NamedTuple):
    """Where an array is, from the end of the header on."""

    code: str
    shape: tuple[int, ...]
    start: int
    stop: int


def write(
    file: Any, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None
) -> None:
    """Write arrays by name to an open binary file; equal arrays make equal bytes."""
    header: dict[str, Any] = {METADATA: dict(metadata)} if metadata else {}
    # Wide types first, so that each array starts at a multiple of its item size.
    ordered = sorted(arrays.items(), key=lambda item: -item[1].dtype.itemsize)
    stop = 0
    for name, array in ordered:
        if array.dtype not in NAMES:
            raise ValueError(f"safetensors: {name!r} has dtype {array.dtype}, expected numbers")
        start, stop = stop, stop + array.nbytes
        header[name] = {
            "dtype": NAMES[array.dtype],
            "shape": list(array.shape),
            "data_offsets": [start, stop],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % ALIGNMENT)
    file.write(len(text).to_bytes(8, "little"))
    file.write(text)
    for _, array in ordered:
        file.write(little_endian(array))


def little_endian(array: np.ndarray) -> memoryview:
    """The array's bytes, as all these formats store them."""
    flat = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(-1)
    return flat.view(np.uint8).data


class Reader:
    """The arrays of a file, or of a member of one.

    entries : by name. metadata : the texts of the header.
    """

    def __init__(self, window: Window) -> None:
        length = int.from_bytes(window.read(0, 8), "little")
        if length > HEADER_LIMIT:
            window.refuse(f"has a header of {length} bytes")
        header = parse_json(window.read(8, length), window.source, window.member)
        self.data = window.inside(8 + length, window.size - 8 - length)
        metadata = header.pop(METADATA, {})
        texts = isinstance(metadata, dict) and all(isinstance(v, str) for v in metadata.values())
        if not texts:
            self.data.refuse(f"{METADATA} must map names to texts")
        self.metadata: dict[str, str] = metadata
        self.entries = {name: self._entry(name, value) for name, value in header.items()}
        self._check_places()

    def array(self, name: str) -> np.ndarray:
        """The array of that name."""
        entry = self.entries[name]
        dtype = np.dtype(TYPES[entry.code]).newbyteorder("<")
        found = self.data.inside(0, self.data.size, name).array(entry.start, entry.shape, dtype)
        if entry.code == "BF16":
            return (found.astype(np.uint32) << 16).view(np.float32)
        return found.astype(dtype.newbyteorder("="), copy=False)

    def _entry(self, name: str, value: Any) -> Entry:
        window = self.data.inside(0, self.data.size, name)
        if not isinstance(value, dict) or set(value) != {"dtype", "shape", "data_offsets"}:
            window.refuse("expected dtype, shape and data_offsets")
        shape, places = value["shape"], value["data_offsets"]
        if not _sizes(shape) or not _sizes(places) or len(places) != 2 or len(shape) > 32:
            window.refuse(f"has shape {shape!r} at {places!r}"[:200])
        if not isinstance(value["dtype"], str) or value["dtype"] not in TYPES:
            window.refuse(f"has dtype {value['dtype']!r}, expected numbers"[:200])
        size = np.dtype(TYPES[value["dtype"]]).itemsize
        for n in shape:
            size *= n
        start, stop = places
        if stop - start != size or stop > self.data.size:
            window.refuse(f"has {stop - start} bytes, its shape {tuple(shape)} needs {size}"[:200])
        return Entry(value["dtype"], tuple(shape), start, stop)

    def _check_places(self) -> None:
        end = 0
        for entry in sorted(self.entries.values(), key=lambda e: (e.start, e.stop)):
            if entry.start != end:
                self.data.refuse("its arrays overlap, or leave gaps")
            end = entry.stop
        if end != self.data.size:
            self.data.refuse(f"has {self.data.size} bytes of numbers, its header says {end}")


def _sizes(value: Any) -> bool:
    return isinstance(value, list) and all(type(n) is int and 0 <= n < 2**63 for n in value)
