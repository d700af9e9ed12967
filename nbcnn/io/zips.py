"""Zip archives of uncompressed members, written so that equal contents make equal files, and read
with care.

A member's bytes lie in the file as they are, so none grows when it is read; the only exception are
`.npz` files, whose arrays say their size before they are read. Checksums are compared.
"""

import io
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from nbcnn.io.files import FormatError, Window, parse_json, refuse, replacing

EPOCH = (1980, 1, 1, 0, 0, 0)  # a fixed date
MEMBER_LIMIT = 1 << 20
HEADER = 30  # bytes of a member's own header, before its name
NPY_MAGIC, NPY_HEADER_LIMIT = b"\x93NUMPY", 1 << 14
NPY_HEADER = re.compile(
    rb"\{'descr': '([<>|=][fiub]\d{1,2})', 'fortran_order': (True|False), "
    rb"'shape': \(([\d, ]*)\),? ?\} *\n?"
)
DTYPES = frozenset(
    np.dtype(kind + str(size)).name
    for kind, sizes in (("f", (2, 4, 8)), ("i", (1, 2, 4, 8)), ("u", (1, 2, 4, 8)), ("b", (1,)))
    for size in sizes
)
Content = str | bytes | np.ndarray | Callable[[Any], None]


def write(path: Path, members: Mapping[str, Content]) -> None:
    """Write members to `path`, which is replaced in one step or not at all.

    A member is a text, bytes, an array (as `.npy`), or a function that writes to an open file.
    """
    with replacing(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            with archive.open(zipfile.ZipInfo(name, EPOCH), "w", force_zip64=True) as member:
                if isinstance(content, str):
                    member.write(content.encode())
                elif isinstance(content, bytes):
                    member.write(content)
                elif isinstance(content, np.ndarray):
                    np.lib.format.write_array(member, content, allow_pickle=False)
                else:
                    content(member)


class Reader:
    """An archive opened for reading; a context manager."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise FileNotFoundError(f"no such file: {path}")
        self.file = open(path, "rb")  # noqa: SIM115 - closed by __exit__
        try:
            self.whole = Window.whole(self.file, str(path))
            with self._explaining(None):
                self.archive = zipfile.ZipFile(self.file)
            self.members = self.archive.namelist()
            self._check_members()
        except BaseException:
            self.file.close()
            raise

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *error: object) -> None:
        self.archive.close()
        self.file.close()

    def _check_members(self) -> None:
        infos = self.archive.infolist()
        if len(infos) > MEMBER_LIMIT:
            self.refuse(None, f"has {len(infos)} members")
        if len(set(self.members)) != len(self.members):
            self.refuse(None, "two members have the same name")
        end = 0
        for info in sorted(infos, key=lambda info: info.header_offset):
            parts = info.filename.replace("\\", "/").split("/")
            if ".." in parts or parts[0] == "" or ":" in parts[0] or "\0" in info.filename:
                self.refuse(None, f"a member is named {info.filename!r}")
            if info.flag_bits & 0x1:
                self.refuse(info.filename, "is encrypted")
            if info.header_offset < end:
                self.refuse(None, "its members overlap")
            end = info.header_offset + HEADER + info.compress_size
        if end > self.whole.size:
            self.refuse(None, "its members overlap, or reach beyond its end")

    def refuse(self, member: str | None, text: str) -> Any:
        refuse(str(self.path), member, text)

    def window(self, member: str) -> Window:
        """Where an uncompressed member lies; its checksum is verified."""
        info = self._info(member)
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
            self.refuse(member, "is compressed, expected it as it is")
        header = self.whole.read(info.header_offset, HEADER)
        if header[:4] != b"PK\3\4":
            self.refuse(member, "is damaged: it has no header")
        name, extra = (int.from_bytes(header[at : at + 2], "little") for at in (26, 28))
        if self.whole.read(info.header_offset + HEADER, name) != _raw_name(info):
            self.refuse(member, "is damaged: its header has another name")
        start = info.header_offset + HEADER + name + extra
        found = self.whole.inside(start, info.file_size, member)
        if found.crc32() != info.CRC:
            self.refuse(member, "is damaged: Bad CRC")
        return found

    def json(self, member: str) -> dict[str, Any]:
        """The object that a JSON member holds."""
        window = self.window(member)
        return parse_json(window.read(0, window.size), str(self.path), member)

    def array(self, member: str, shape: tuple[int, ...], compressed: bool = False) -> np.ndarray:
        """The array of a `.npy` member, which must have this shape; nothing is allocated before it
        fits.

        compressed : allow deflated members, as `numpy.savez_compressed` writes.
        """
        info = self._info(member)
        if not compressed or info.compress_type == zipfile.ZIP_STORED:
            window = self.window(member)
            head = window.read(0, min(window.size, 2 * NPY_HEADER_LIMIT))
            dtype, offset = self._npy_header(member, io.BytesIO(head), shape, info.file_size)
            return window.array(offset, shape, dtype)
        if info.compress_type != zipfile.ZIP_DEFLATED:  # others take memory as the file says
            self.refuse(member, "is compressed in another way than NumPy's")
        with self._explaining(member), self.archive.open(info) as file:
            dtype, _ = self._npy_header(member, file, shape, info.file_size)
            return self._inflated(file, shape, dtype)

    def _npy_declared(self, member: str, file: Any) -> tuple[tuple[int, ...], bool, np.dtype]:
        """What a `.npy` member's header says: shape, order, data type."""
        head = file.read(len(NPY_MAGIC) + 2)
        sizes = {b"\1\0": 2, b"\2\0": 4}
        if head[:-2] != NPY_MAGIC or head[-2:] not in sizes:
            self.refuse(member, "is damaged: it is no .npy array of version 1 or 2")
        length = int.from_bytes(file.read(sizes[head[-2:]]), "little")
        if length > NPY_HEADER_LIMIT:
            self.refuse(member, f"has a header of {length} bytes")
        found = NPY_HEADER.fullmatch(file.read(length))
        if found is None:
            self.refuse(member, "has a header that does not describe numbers")
            raise AssertionError
        kind, fortran, sizes_text = (part.decode() for part in found.groups())
        numbers = [part.strip() for part in sizes_text.split(",")]
        if not all(numbers[:-1]) or len(numbers) > 33:
            self.refuse(member, "has a damaged shape")
        shape = tuple(int(part[:20]) for part in numbers if part)
        return shape, fortran == "True", np.dtype(kind)

    def _npy_header(
        self, member: str, file: Any, shape: tuple[int, ...], size: int
    ) -> tuple[np.dtype, int]:
        """The data type, and where the values begin; checked against shape and size."""
        with self._explaining(member):
            found, fortran, dtype = self._npy_declared(member, file)
        if found != shape:
            self.refuse(member, f"has shape {found}, expected {shape}")
        if dtype.name not in DTYPES:
            self.refuse(member, f"has dtype {dtype}, expected numbers")
        if fortran and len(shape) > 1:
            self.refuse(member, "is in Fortran order, expected C order")
        needed = dtype.itemsize
        for n in shape:
            needed *= n
        if size != file.tell() + needed:
            self.refuse(member, f"has {size} bytes, its header says {file.tell() + needed}")
        return dtype, file.tell()

    def _inflated(self, file: Any, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        array = np.empty(shape, dtype)
        view = memoryview(array.reshape(-1).view(np.uint8).data if array.size else b"")
        done = 0
        while done < len(view):
            count = file.readinto(view[done:])
            if not count:
                raise EOFError("it ends too early")
            done += count
        file.read(1)  # at the end zipfile compares the checksum
        return array

    def _info(self, member: str) -> zipfile.ZipInfo:
        if member not in self.members:
            self.refuse(member, "is missing from the file")
        return self.archive.getinfo(member)

    @contextmanager
    def _explaining(self, member: str | None) -> Iterator[None]:
        """Whatever a damaged file provokes below becomes a `FormatError`."""
        try:
            yield
        except FormatError:
            raise
        except zipfile.BadZipFile as error:
            text = "is no zip archive" if member is None else "is damaged"
            self.refuse(member, f"{text}: {error}")
        except (
            ValueError, TypeError, KeyError, EOFError, RuntimeError, RecursionError, SyntaxError,
            NotImplementedError, OverflowError, AttributeError, IndexError, zlib.error, OSError,
        ) as error:  # fmt: skip
            self.refuse(member, f"is damaged: {error}")


def _raw_name(info: zipfile.ZipInfo) -> bytes:
    return info.orig_filename.encode("utf-8" if info.flag_bits & 0x800 else "cp437")
