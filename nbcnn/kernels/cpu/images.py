"""Machine code as one block of memory: loading it takes three system calls, and not LLVM.

LLVM's object files have to be linked by LLVM. That library takes 40 MB of memory, more than all
kernels of a plan and their data together. So an object file is linked here, once, when it is made:
sections are laid out behind each other, and since the code is independent of its position and never
writes to what it holds, all references between them become final. Only what C's library gives
(memset, exp, ...) is found when the image is loaded: calls go through a table of addresses that
follows the code.

This knows exactly the sections and relocations that LLVM makes of kernels on Linux and x86-64. An
object file with anything else in it, or of another system, is left to LLVM (`linking.load`).

Image: MAGIC, then as 32-bit numbers the entry's offset, the table's offset and the length of the
names; names of the table's entries, separated by spaces; the memory's contents.
"""

import ctypes
import mmap
import os
import struct
import sys
from functools import cache
from typing import Any, NamedTuple

MAGIC = b"nbcnn 1\0"
HEAD = struct.Struct("<8sIII")
SUPPORTED = (
    sys.platform.startswith("linux") and os.uname().machine == "x86_64" and sys.maxsize > 1 << 32
)

# From the ELF format and its supplement for x86-64.
SECTION, SYMBOL, RELOCATION = struct.Struct("<IIQQQQIIQQ"), struct.Struct("<IBBHQQ"), "<QQq"
PROGBITS, SYMTAB, RELA = 1, 2, 4
WRITE, ALLOC = 1, 2
UNWIND, NOTE = 0x70000001, 7
RELATIVE = {2: "<i", 4: "<i", 24: "<q"}  # PC32, PLT32, PC64: symbol + addend - place
PLT32 = 4
X86_64, RELOCATABLE = 62, 1
JUMP = b"\xff\x25"  # jmp *offset(%rip)
STUB = 8  # bytes: a jump, padded


class Section(NamedTuple):
    kind: int
    flags: int
    data: bytes
    link: int
    info: int
    align: int


class Unknown(Exception):
    """An object file that is not one of those described above."""


def image(code: bytes, symbol: str) -> bytes | None:
    """An object file's image, in which `symbol` is the function to be called; None where that is
    not to be had.
    """
    try:
        return _Linker(code).image(symbol) if SUPPORTED else None
    except Unknown:
        return None


def load(code: bytes) -> int | None:
    """Make an image part of this process; returns its function's address. None where it calls what
    this process does not have.
    """
    _, entry, table, length = HEAD.unpack_from(code)
    start = HEAD.size + length
    addresses = [external(name) for name in code[HEAD.size : start].decode().split()]
    if None in addresses:
        return None
    memory = bytearray(memoryview(code)[start:])
    struct.pack_into(f"<{len(addresses)}Q", memory, table, *addresses)
    return _executable(memory) + entry


@cache
def external(name: str) -> int | None:
    """Address of a function of C's library."""
    for library in (None, "libm.so.6"):
        try:
            return ctypes.cast(getattr(ctypes.CDLL(library), name), ctypes.c_void_p).value
        except (OSError, AttributeError):
            continue
    return None


def _executable(contents: bytearray) -> int:
    """Address of a copy that can be executed and not written. It stays as long as the process:
    threads may be inside when Python ends.
    """
    libc, size = _libc(), len(contents)
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    address = libc.mmap(None, size, mmap.PROT_READ | mmap.PROT_WRITE, flags, -1, 0)
    if address == ctypes.c_void_p(-1).value:
        raise OSError(ctypes.get_errno(), "no memory for machine code")
    ctypes.memmove(address, (ctypes.c_char * size).from_buffer(contents), size)
    if libc.mprotect(address, size, mmap.PROT_READ | mmap.PROT_EXEC):
        raise OSError(ctypes.get_errno(), "this system does not let memory become executable")
    return address


@cache
def _libc() -> Any:
    library = ctypes.CDLL(None, use_errno=True)
    address, size, number = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    library.mmap.restype = address
    library.mmap.argtypes = (address, size, number, number, number, ctypes.c_long)
    library.mprotect.argtypes = (address, size, number)
    return library


class _Linker:
    """One object file on its way to an image."""

    def __init__(self, code: bytes):
        self.sections = _sections(code)
        tables = [s for s in self.sections if s.kind == SYMTAB]
        if len(tables) != 1:
            raise Unknown
        self.names = self.sections[tables[0].link].data
        self.symbols = list(SYMBOL.iter_unpack(tables[0].data))
        self.memory = bytearray()
        self.places: dict[int, int] = {}  # of sections, by their number
        self.calls: dict[str, list[tuple[int, int]]] = {}  # (place, addend) by external function

    def image(self, symbol: str) -> bytes:
        for number, section in enumerate(self.sections):
            if self._is_loaded(section):
                self.memory += bytes(-len(self.memory) % max(section.align, 1))
                self.places[number] = len(self.memory)
                self.memory += section.data
        for section in self.sections:
            if section.kind == RELA and section.info in self.places:
                for relocation in struct.iter_unpack(RELOCATION, section.data):
                    self._relocate(self.places[section.info], *relocation)
        table = self._link_calls()
        names = " ".join(self.calls).encode()
        entries = [self._place(s) for s in self.symbols if self._name(s) == symbol]
        if len(entries) != 1:
            raise Unknown
        return HEAD.pack(MAGIC, entries[0], table, len(names)) + names + bytes(self.memory)

    @staticmethod
    def _is_loaded(section: Section) -> bool:
        """Whether a section is needed to run. Tables for the unwinding of exceptions are not."""
        if not section.flags & ALLOC or not section.data or section.kind in (UNWIND, NOTE):
            return False
        if section.kind != PROGBITS or section.flags & WRITE:
            raise Unknown
        return True

    def _relocate(self, base: int, offset: int, info: int, addend: int) -> None:
        place, kind, symbol = base + offset, info & 0xFFFFFFFF, self.symbols[info >> 32]
        if kind not in RELATIVE:
            raise Unknown
        if symbol[3] == 0:  # undefined here
            if kind != PLT32:
                raise Unknown
            self.calls.setdefault(self._name(symbol), []).append((place, addend))
        else:
            self._refer(place, self._place(symbol) + addend, RELATIVE[kind])

    def _refer(self, place: int, target: int, form: str = "<i") -> None:
        struct.pack_into(form, self.memory, place, target - place)

    def _link_calls(self) -> int:
        """Jumps through the table of addresses, and the table; returns its place."""
        self.memory += bytes(-len(self.memory) % 8)
        table = len(self.memory) + STUB * len(self.calls)
        for number, (name, places) in enumerate(self.calls.items()):
            if external(name) is None:
                raise Unknown
            stub = len(self.memory)
            self.memory += JUMP + bytes(STUB - len(JUMP))
            self._refer(stub + len(JUMP), table + 8 * number - 4)
            for place, addend in places:
                self._refer(place, stub + addend)
        self.memory += bytes(8 * len(self.calls))
        return table

    def _place(self, symbol: tuple) -> int:
        _, _, _, section, value, _ = symbol
        if section not in self.places:
            raise Unknown
        return self.places[section] + value

    def _name(self, symbol: tuple) -> str:
        return self.names[symbol[0] : self.names.index(b"\0", symbol[0])].decode()


def _sections(code: bytes) -> list[Section]:
    kind, machine = struct.unpack_from("<HH", code, 16)
    if not code.startswith(b"\x7fELF\x02\x01") or (kind, machine) != (RELOCATABLE, X86_64):
        raise Unknown
    table = struct.unpack_from("<Q", code, 40)[0]
    size, count = struct.unpack_from("<HH", code, 58)
    found = []
    for at in range(table, table + size * count, size):
        _, kind, flags, _, offset, length, link, info, align, _ = SECTION.unpack_from(code, at)
        if kind == 8 and flags & ALLOC and length:  # zeros that are not in the file
            raise Unknown
        found.append(Section(kind, flags, code[offset : offset + length], link, info, align))
    return found
