"""Files of arrays in HDF5's default layout, for `hdf5.Reader`, Keras and h5py; see `hdf5`."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from nbcnn.io.hdf5 import (
    ATTRIBUTE,
    DATASPACE,
    DATATYPE,
    LAYOUT,
    SIGNATURE,
    SYMBOL_TABLE,
    UNDEFINED,
    _float_fields,
)
from nbcnn.io.safetensors import little_endian

SUPERBLOCK = 96  # bytes
FILL_VALUE = 0x5
INTERNAL_K = 16


def write(
    file: Any,
    arrays: Mapping[str, np.ndarray],
    attributes: Mapping[str, Mapping[str, str]] | None = None,
) -> None:
    """Write arrays by path to an open binary file.

    attributes : texts by group's path ("" is the root) and name; such groups are made even if they
    hold no arrays.
    """
    layout = _Layout(attributes or {})
    for path in attributes or {}:
        layout.group(path)
    for path, array in arrays.items():
        parent, _, name = path.rpartition("/")
        layout.group(parent)[name] = array
    layout.place_all()
    file.write(layout.metadata)
    position = len(layout.metadata)
    for offset, array in layout.contents:
        file.write(bytes(offset - position))
        file.write(little_endian(array))
        position = offset + array.nbytes
    file.write(bytes(layout.end - position))


class _Layout:
    """Everything but the numbers, and where these go."""

    def __init__(self, attributes: Mapping[str, Mapping[str, str]]) -> None:
        self.root: dict[str, Any] = {}
        self.attributes = attributes
        self.metadata = b""
        self.contents: list[tuple[int, np.ndarray]] = []
        self.end = 0

    def group(self, path: str) -> dict[str, Any]:
        found = self.root
        for name in path.split("/") if path else []:
            found = found.setdefault(name, {})
        return found

    def place_all(self) -> None:
        arrays = list(_arrays(self.root))
        self._leaf_k = max(4, -(-_widest(self.root) // 2))  # one node is enough for any group
        # Sizes do not depend on addresses, so a first pass with all of them 0 gives these.
        places = dict.fromkeys(map(id, arrays), 0)
        start = len(self._metadata(places, 0))
        for array in arrays:
            start += -start % 8
            if array.nbytes:
                self.contents.append((start, array))
            places[id(array)] = start if array.nbytes else UNDEFINED
            start += array.nbytes
        self.end = start
        self.metadata = self._metadata(places, start)

    def _metadata(self, places: Mapping[int, int], end: int) -> bytes:
        out = bytearray(SUPERBLOCK)
        address, tree, heap = self._group(out, "", self.root, places)
        head = SIGNATURE + bytes([0, 0, 0, 0, 0, 8, 8, 0])
        head += self._leaf_k.to_bytes(2, "little") + INTERNAL_K.to_bytes(2, "little") + bytes(4)
        head += _words(0, UNDEFINED, end, UNDEFINED)
        out[:SUPERBLOCK] = head + _symbol(0, address, tree, heap)
        return bytes(out)

    def _group(
        self, out: bytearray, path: str, members: Mapping[str, Any], places: Mapping[int, int]
    ) -> tuple[int, int, int]:
        """Append a group with all that it holds; addresses of header, tree and names."""
        names, offsets = bytearray(8), {}
        for name in sorted(members, key=str.encode):
            offsets[name] = len(names)
            text = name.encode() + b"\0"
            names += text + bytes(-len(text) % 8)
        symbols = b""
        for name, offset in offsets.items():
            member = members[name]
            inner = f"{path}/{name}" if path else name
            if isinstance(member, dict):
                symbols += _symbol(offset, *self._group(out, inner, member, places))
            else:
                address = _append(out, _header(_array_messages(member, places[id(member)])))
                symbols += _symbol(offset, address)
        leaf = b"SNOD\1\0" + len(offsets).to_bytes(2, "little") + symbols
        leaf_at = _append(out, leaf + bytes(8 + 80 * self._leaf_k - len(leaf)))
        last = max(offsets.values(), default=0)
        count = int(bool(offsets))
        tree = b"TREE\0\0" + count.to_bytes(2, "little") + _words(UNDEFINED, UNDEFINED)
        tree += _words(0, leaf_at, last) if count else b""
        tree_at = _append(out, tree + bytes(24 + 8 * (4 * INTERNAL_K + 1) - len(tree)))
        names_at = len(out) + 32
        heap_at = _append(out, b"HEAP\0\0\0\0" + _words(len(names), 1, names_at) + names)
        messages = [(SYMBOL_TABLE, _words(tree_at, heap_at))]
        messages += [(ATTRIBUTE, _text(n, v)) for n, v in self.attributes.get(path, {}).items()]
        return _append(out, _header(messages)), tree_at, heap_at


def _widest(members: Mapping[str, Any]) -> int:
    inner = [_widest(m) for m in members.values() if isinstance(m, dict)]
    return max([len(members), *inner])


def _arrays(members: Mapping[str, Any]) -> Any:
    for member in members.values():
        if isinstance(member, dict):
            yield from _arrays(member)
        else:
            yield member


def _append(out: bytearray, block: bytes) -> int:
    address = len(out)
    out += block + bytes(-len(block) % 8)
    return address


def _words(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(8, "little") for number in numbers)


def _symbol(name: int, address: int, tree: int | None = None, heap: int = 0) -> bytes:
    """An entry of a group: 40 bytes."""
    head = _words(name, address)
    if tree is None:
        return head + bytes(24)
    return head + (1).to_bytes(4, "little") + bytes(4) + _words(tree, heap)


def _header(messages: list[tuple[int, bytes]]) -> bytes:
    """An object's header."""
    body = b""
    for kind, data in messages:
        data += bytes(-len(data) % 8)
        body += kind.to_bytes(2, "little") + len(data).to_bytes(2, "little") + bytes(4) + data
    count, references = len(messages).to_bytes(2, "little"), (1).to_bytes(4, "little")
    return b"\1\0" + count + references + len(body).to_bytes(4, "little") + bytes(4) + body


def _array_messages(array: np.ndarray, address: int) -> list[tuple[int, bytes]]:
    space = bytes([1, array.ndim, 0, 0, 0, 0, 0, 0]) + _words(*array.shape)
    # Space is there when the file is written; values are written where they are set; no value set.
    fill = bytes([2, 2, 2, 1]) + bytes(4)
    layout = bytes([3, 1]) + _words(address, array.nbytes)
    return [
        (DATASPACE, space), (DATATYPE, _datatype(array.dtype)), (FILL_VALUE, fill), (LAYOUT, layout)
    ]  # fmt: skip


def _datatype(dtype: np.dtype) -> bytes:
    size = dtype.itemsize
    if dtype.kind == "b":
        base = _datatype(np.dtype(np.int8))
        names = b"FALSE\0\0\0TRUE\0\0\0\0"
        return bytes([0x18, 2, 0, 0]) + (1).to_bytes(4, "little") + base + names + b"\0\1"
    if dtype.kind in "iu":
        head = bytes([0x10, 8 if dtype.kind == "i" else 0, 0, 0]) + size.to_bytes(4, "little")
        return head + (0).to_bytes(2, "little") + (8 * size).to_bytes(2, "little")
    if dtype.kind != "f" or size not in (2, 4, 8):
        raise ValueError(f"HDF5: cannot write dtype {dtype}, expected numbers")
    head = bytes([0x11, 0x20, 8 * size - 1, 0]) + size.to_bytes(4, "little")
    return head + (0).to_bytes(2, "little") + (8 * size).to_bytes(2, "little") + _float_fields(size)


def _text(name: str, value: str) -> bytes:
    """An attribute that is a text of fixed length."""
    named, text = name.encode() + b"\0", value.encode() or b"\0"
    kind = bytes([0x13, 0x11, 0, 0]) + len(text).to_bytes(4, "little")  # padded with 0, UTF-8
    space = bytes([1, 0, 0, 0, 0, 0, 0, 0])
    sizes = b"".join(len(part).to_bytes(2, "little") for part in (named, kind, space))
    return b"\1\0" + sizes + named + bytes(-len(named) % 8) + kind + space + text
