"""The part of HDF5 that Keras's files are made of, read in Python.

Such a file is a tree of groups and arrays in the layout that HDF5 writes by default: version 0 of
the superblock, groups as B-trees of symbol tables, version 1 of object headers, arrays in one
piece. https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html describes it. Whatever
else the format can do is refused by name: links to other places and files, arrays that are made of
others, stored elsewhere, or compressed. Every length is compared with the file before it is
believed, so nothing is allocated that the file does not hold; and what is read is counted, because
many objects may point to the same bytes.
"""

import math
from typing import NamedTuple

import numpy as np

from nbcnn.io.files import Window

SIGNATURE = b"\x89HDF\r\n\x1a\n"
UNDEFINED = 2**64 - 1
DEPTH_LIMIT = 64  # of groups inside each other
TREE_DEPTH = 8
OBJECT_LIMIT = 1 << 20
HEADER_LIMIT = 1 << 22  # bytes of an object's header, with all its continuations
RANK_LIMIT = 32
NAME_LIMIT = 1 << 16  # bytes
READ_LIMIT = 8  # how often all of the file may be read, arrays aside
# Types of header messages.
DATASPACE, LINK_INFO, DATATYPE, LINK, EXTERNAL, LAYOUT, FILTERS = 0x1, 0x2, 0x3, 0x6, 0x7, 0x8, 0xB
ATTRIBUTE, CONTINUATION, SYMBOL_TABLE = 0xC, 0x10, 0x11
REFUSED = {
    LINK_INFO: "a group in the newer layout",
    LINK: "a link",
    EXTERNAL: "an array in another file",
    FILTERS: "a compressed array",
}
ADVICE = "; Keras's own files have none of that: docs/files.md says how to rewrite such a file"


class Entry(NamedTuple):
    """An array in the file."""

    shape: tuple[int, ...]
    dtype: np.dtype
    offset: int


class Reader:
    """The arrays of a file, or of a member of one.

    arrays : by path, such as "layers/conv2d/vars/0". attributes : texts by group's path ("" is the
    root) and name; one that is a single text has a list of one.
    """

    def __init__(self, window: Window) -> None:
        self.window = window
        self.arrays: dict[str, Entry] = {}
        self.attributes: dict[str, dict[str, list[str]]] = {}
        self.groups: dict[str, dict[str, Entry]] = {}
        self._heaps: dict[int, dict[int, bytes]] = {}
        self._seen: set[int] = set()
        self._left = READ_LIMIT * window.size
        head = window.read(0, 96)
        if head[:8] != SIGNATURE:
            window.refuse("is no HDF5 file")
        if head[8] != 0 or head[13] != 8 or head[14] != 8:
            window.refuse(f"is an HDF5 file of version {head[8]}{ADVICE}")
        if _number(head, 24) != 0:
            window.refuse("has its contents at another place than the start")
        self._walk(_number(head, 64))
        if sum(_nbytes(entry) for entry in self.arrays.values()) > window.size:
            window.refuse("has arrays that overlap")

    def array(self, path: str) -> np.ndarray:
        """The array at that path."""
        entry = self.arrays[path]
        member = path if self.window.member is None else f"{self.window.member}: {path}"
        window = self.window.inside(0, self.window.size, member)
        found = window.array(entry.offset, entry.shape, entry.dtype)
        if entry.dtype.kind == "b" and found.view(np.uint8).max(initial=0) > 1:
            window.refuse("has truth values other than 0 and 1")
        return found.astype(entry.dtype.newbyteorder("="), copy=False)

    def below(self, group: str) -> dict[str, Entry]:
        """The arrays directly in a group, by name."""
        return self.groups.get(group, {})

    # -- the tree -------------------------------------------------------------------------------

    def _read(self, path: str, offset: int, size: int) -> bytes:
        self._spend(path, size)
        return self.window.read(offset, size)

    def _spend(self, path: str, size: int) -> None:
        self._left -= size
        if self._left < 0:
            self._refuse(path, "describes more than the file holds")

    def _walk(self, root: int) -> None:
        pending = [("", root, 0)]
        while pending:
            path, address, depth = pending.pop()
            if address in self._seen or len(self._seen) >= OBJECT_LIMIT:
                self._refuse(path, "is there twice, or there are too many")
            self._seen.add(address)
            self._spend(path[:100], len(path))
            messages = self._messages(path, address)
            for kind, _ in messages:
                if kind in REFUSED:
                    self._refuse(path, f"is {REFUSED[kind]}{ADVICE}")
            tables = [data for kind, data in messages if kind == SYMBOL_TABLE]
            if not tables and path:
                entry = self.arrays[path] = self._entry(path, dict(messages))
                parent, _, name = path.rpartition("/")
                self.groups[parent][name] = entry
                continue
            if not tables:
                self._refuse(path, "has no root group")
            if depth > DEPTH_LIMIT:
                self._refuse(path, "is too deep inside")
            texts = self.attributes[path] = {}
            for kind, data in messages:
                if kind == ATTRIBUTE:
                    self._take_texts(path, data, texts)
            self.groups[path] = {}
            for name, target in self._members(path, tables[0]):
                pending.append((f"{path}/{name}" if path else name, target, depth + 1))

    def _messages(self, path: str, address: int) -> list[tuple[int, bytes]]:
        """The messages of an object's header: types and contents."""
        head = self._read(path, address, 16)
        if head[0] != 1:
            self._refuse(path, f"has an object header of a newer layout{ADVICE}")
        stretches, found, total = [(address + 16, _number(head, 8, 4))], [], 0
        for offset, size in stretches:  # continuations are appended
            total += size
            if total > HEADER_LIMIT or len(stretches) > 1000:
                self._refuse(path, "has too large a header")
            block, at = self._read(path, offset, size), 0
            while at + 8 <= size:
                kind, length, flags = (
                    _number(block, at, 2),
                    _number(block, at + 2, 2),
                    block[at + 4],
                )
                data = block[at + 8 : at + 8 + length]
                if len(data) != length or flags & 2:
                    self._refuse(path, "has a damaged header")
                if kind == CONTINUATION and length >= 16:
                    stretches.append((_number(data, 0), _number(data, 8)))
                else:
                    found.append((kind, data))
                at += 8 + length
        return found

    def _members(self, path: str, table: bytes) -> list[tuple[str, int]]:
        """Names and addresses of what a group holds."""
        if len(table) < 16:
            self._refuse(path, "has a damaged symbol table")
        tree, heap = _number(table, 0), _number(table, 8)
        head = self._read(path, heap, 32)
        if head[:4] != b"HEAP":
            self._refuse(path, "has no list of names")
        names = self._read(path, _number(head, 24), _number(head, 8))
        found: dict[str, int] = {}
        pending = [(tree, 0)]
        seen: set[int] = set()
        while pending:
            address, depth = pending.pop()
            if address in seen or depth > TREE_DEPTH or len(seen) > OBJECT_LIMIT:
                self._refuse(path, "has a damaged list of members")
            seen.add(address)
            kind = self._read(path, address, 8)
            if kind[:4] == b"TREE":
                children = self._children(path, address, kind)
                pending += [(child, depth + 1) for child in children]
            elif kind[:4] == b"SNOD":
                for name, target in self._symbols(path, address, kind, names):
                    if name in found:
                        self._refuse(path, f"has two members named {name!r}")
                    found[name] = target
            else:
                self._refuse(path, "has a damaged list of members")
        return sorted(found.items())

    def _children(self, path: str, address: int, head: bytes) -> list[int]:
        if head[4] != 0:
            self._refuse(path, "is a group made of pieces of an array")
        count = _number(head, 6, 2)
        keys = self._read(path, address + 24, 8 * (2 * count + 1))
        return [_number(keys, 8 * (2 * i + 1)) for i in range(count)]

    def _symbols(self, path: str, address: int, head: bytes, names: bytes) -> list[tuple[str, int]]:
        count = _number(head, 6, 2)
        entries = self._read(path, address + 8, 40 * count)
        found = []
        for at in range(0, 40 * count, 40):
            start = _number(entries, at)
            stop = names.find(b"\0", start, start + NAME_LIMIT) if start < len(names) else -1
            if stop <= start:
                self._refuse(path, "has a member without a name")
            self._spend(path, stop - start)
            try:
                name = names[start:stop].decode()
            except UnicodeDecodeError:
                self._refuse(path, "has a member whose name is no text")
            if "/" in name or name in (".", ".."):
                self._refuse(path, f"has a member named {name!r}")
            if _number(entries, at + 16, 4) == 2:
                self._refuse(f"{path}/{name}".lstrip("/"), f"is a link{ADVICE}")
            found.append((name, _number(entries, at + 8)))
        return found

    # -- arrays ---------------------------------------------------------------------------------

    def _entry(self, path: str, messages: dict[int, bytes]) -> Entry:
        if not {DATASPACE, DATATYPE, LAYOUT} <= set(messages):
            self._refuse(path, "is neither a group nor an array")
        shape = self._shape(path, messages[DATASPACE])
        dtype = self._dtype(path, messages[DATATYPE])
        layout = messages[LAYOUT]
        if len(layout) < 18 or layout[0] != 3 or layout[1] != 1:
            self._refuse(path, f"is an array in pieces, or made of others{ADVICE}")
        offset, stored = _number(layout, 2), _number(layout, 10)
        size = _nbytes(Entry(shape, dtype, offset))
        if size == 0:
            return Entry(shape, dtype, 0)
        if offset == UNDEFINED or size != stored or offset + size > self.window.size:
            self._refuse(path, f"has {stored} bytes, its shape {shape} needs {size}")
        return Entry(shape, dtype, offset)

    def _shape(self, path: str, data: bytes) -> tuple[int, ...]:
        start = {1: 8, 2: 4}.get(data[0] if data else 0, 0)
        rank = data[1] if len(data) > 1 else RANK_LIMIT + 1
        if not start or rank > RANK_LIMIT or len(data) < start + 8 * rank:
            self._refuse(path, "has a damaged shape")
        if data[0] == 2 and data[3] == 2:
            self._refuse(path, "has no values")
        return tuple(_number(data, start + 8 * i) for i in range(rank))

    def _dtype(self, path: str, data: bytes) -> np.dtype:
        if len(data) < 8:
            self._refuse(path, "has a damaged data type")
        kind, bits, size = data[0] & 15, data[1], _number(data, 4, 4)
        order = "<>"[bits & 1]
        whole = len(data) >= 12 and _number(data, 8, 2) == 0 and _number(data, 10, 2) == 8 * size
        if kind == 0 and size in (1, 2, 4, 8) and whole:
            return np.dtype(f"{order}{'i' if bits & 8 else 'u'}{size}")
        if kind == 1 and size in (2, 4, 8) and whole and _float_fields(size) == data[12:20]:
            return np.dtype(f"{order}f{size}")
        if kind == 8 and size == 1 and b"FALSE\0" in data and b"TRUE\0" in data:
            return np.dtype(bool)
        self._refuse(path, "has a data type that is no plain number")
        raise AssertionError

    # -- attributes -----------------------------------------------------------------------------

    def _take_texts(self, path: str, data: bytes, found: dict[str, list[str]]) -> None:
        """Adds an attribute that is a text, or a list of them; others are left out."""
        if len(data) < 8 or data[0] != 1:
            return
        starts = [8]
        for at in (2, 4, 6):
            size = _number(data, at, 2)
            starts.append(starts[-1] + size + -size % 8)
        kind, space = data[starts[1] : starts[2]], data[starts[2] : starts[3]]
        is_elsewhere = kind[:2] in (b"\x19\1", b"\x19\x11")  # of any length, in a heap
        is_text = len(kind) >= 8 and (kind[0] & 15 == 3 or is_elsewhere)
        if not is_text or len(space) < 8 or space[0] != 1 or space[1] > 1:
            return
        size, count = _number(kind, 4, 4), _number(space, 8) if space[1] else 1
        values = data[starts[3] : starts[3] + size * count]
        if len(values) != size * count or not size:
            return
        name = data[8 : starts[1]].split(b"\0")[0].decode(errors="replace")
        parts = [values[at : at + size] for at in range(0, len(values), size)]
        if is_elsewhere and size == 16:
            parts = [self._from_heap(path, part) for part in parts]
        found[name] = [part.rstrip(b"\0").decode(errors="replace") for part in parts]

    def _from_heap(self, path: str, place: bytes) -> bytes:
        """A text by its length, the address of its heap and its number there."""
        size, address, number = _number(place, 0, 4), _number(place, 4), _number(place, 12, 4)
        if address not in self._heaps:
            head = self._read(path, address, 16)
            if head[:4] != b"GCOL":
                self._refuse(path, "has a text that is nowhere")
            self._heaps[address] = self._objects(self._read(path, address, _number(head, 8)))
        found = self._heaps[address].get(number, b"")
        self._spend(path, size)
        if len(found) < size:
            self._refuse(path, "has a text that is nowhere")
        return found[:size]

    @staticmethod
    def _objects(heap: bytes) -> dict[int, bytes]:
        found, at = {}, 16
        while at + 16 <= len(heap):
            number, size = _number(heap, at, 2), _number(heap, at + 8)
            if not number:  # what is free
                break
            found[number] = heap[at + 16 : at + 16 + size]
            at += 16 + size + -size % 8
        return found

    def _refuse(self, path: str, text: str) -> None:
        member = path or "/"
        whole = member if self.window.member is None else f"{self.window.member}: {member}"
        self.window.inside(0, 0, whole).refuse(text)


def _nbytes(entry: Entry) -> int:
    return math.prod(entry.shape, start=entry.dtype.itemsize)


def _number(data: bytes, at: int, size: int = 8) -> int:
    return int.from_bytes(data[at : at + size], "little")


def _float_fields(size: int) -> bytes:
    """Where exponent and mantissa of a float type lie, and the exponent's bias."""
    exponent = {2: 5, 4: 8, 8: 11}[size]
    mantissa = 8 * size - 1 - exponent
    bias = 2 ** (exponent - 1) - 1
    return bytes([mantissa, exponent, 0, mantissa]) + bias.to_bytes(4, "little")
