"""Files of arrays: a zip of `.npy` members and one JSON index, written atomically and read with
care.

Nothing in such a file is code: arrays are read without pickle, names of classes go through the
registry. A reader first compares what a member declares with what is expected, then allocates.
Members are stored uncompressed, so that none grows when it is read; zip's checksum of each member
is verified.
"""

import json
import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

INDEX_LIMIT = 256 << 20  # bytes of a JSON index
DTYPES = frozenset(
    [
        "float16",
        "float32",
        "float64",
        "int8",
        "int16",
        "int32",
        "int64",
        "uint8",
        "uint16",
        "uint32",
        "bool",
    ]
)
EPOCH = (1980, 1, 1, 0, 0, 0)  # a fixed date: equal contents make equal files


class FormatError(ValueError):
    """A file that is damaged, or of another format; the message names the file and the member."""


def write(path: Path, members: Mapping[str, np.ndarray | str]) -> None:
    """Write arrays (as `.npy`) and texts to `path`, which is replaced in one step or not at all."""
    with replacing(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, value in members.items():
            info = zipfile.ZipInfo(name, EPOCH)
            with archive.open(info, "w", force_zip64=True) as member:
                if isinstance(value, str):
                    member.write(value.encode())
                else:
                    np.lib.format.write_array(member, value, allow_pickle=False)


@contextmanager
def replacing(path: Path) -> Iterator[Any]:
    """A new binary file beside `path` that takes its place when the block ends without an error."""
    beside = path.with_name(f".{path.name}.{os.urandom(4).hex()}.tmp")
    try:
        with open(beside, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


class Reader:
    """An archive opened for reading; a context manager."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise FileNotFoundError(f"no such file: {path}")
        with self._explaining(None):
            self.archive = zipfile.ZipFile(path)
        self.members = self.archive.namelist()
        try:
            if len(set(self.members)) != len(self.members):
                raise self.error(None, "two members have the same name")
            total = sum(info.compress_size for info in self.archive.infolist())
            if total > path.stat().st_size:
                raise self.error(None, "its members overlap")
        except FormatError:
            self.archive.close()
            raise

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *error: object) -> None:
        self.archive.close()

    def error(self, member: str | None, text: str) -> FormatError:
        where = str(self.path) if member is None else f"{self.path}: {member}"
        return FormatError(f"{where}: {text}")

    def json(self, member: str) -> dict[str, Any]:
        """The object that a JSON member holds."""
        info = self._info(member)
        self._require_stored(info)
        if info.file_size > INDEX_LIMIT:
            raise self.error(member, f"is too large: {info.file_size} bytes")
        with self._explaining(member):
            found = json.loads(self.archive.read(info))
        if not isinstance(found, dict):
            raise self.error(member, f"expected an object, got {type(found).__name__}")
        return found

    def array(self, member: str, shape: tuple[int, ...], compressed: bool = False) -> np.ndarray:
        """The array of a member, which must have this shape; nothing is allocated before it fits.

        compressed : allow deflated members, as `numpy.savez_compressed` writes.
        """
        info = self._info(member)
        if not compressed:
            self._require_stored(info)
        with self._explaining(member), self.archive.open(info) as file:
            dtype, offset = self._header(member, file, shape)
            size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
            if info.file_size != offset + size:
                raise self.error(
                    member, f"has {info.file_size} bytes, its header says {offset + size}"
                )
            array = np.empty(shape, dtype)
            self._read_into(array, file)
            return array

    def _header(self, member: str, file: Any, shape: tuple[int, ...]) -> tuple[np.dtype, int]:
        """The data type, and where the values begin."""
        version = np.lib.format.read_magic(file)
        readers = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }
        if version not in readers:
            raise self.error(member, f"has .npy version {version}, expected (1, 0)")
        found, fortran, dtype = readers[version](file)
        if found != shape:
            raise self.error(member, f"has shape {found}, expected {shape}")
        if dtype.name not in DTYPES:
            raise self.error(member, f"has dtype {dtype}, expected numbers")
        if fortran and len(shape) > 1:
            raise self.error(member, "is in Fortran order, expected C order")
        return dtype, file.tell()

    def _read_into(self, array: np.ndarray, file: Any) -> None:
        view = memoryview(array.reshape(-1).view(np.uint8).data if array.size else b"")
        done = 0
        while done < len(view):
            count = file.readinto(view[done:])
            if not count:
                raise EOFError("it ends too early")
            done += count
        file.read(1)  # at the end zipfile compares the checksum

    def _info(self, member: str) -> zipfile.ZipInfo:
        if member not in self.members:
            raise self.error(member, "is missing from the file")
        return self.archive.getinfo(member)

    def _require_stored(self, info: zipfile.ZipInfo) -> None:
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
            raise self.error(info.filename, "is compressed; nbcnn stores members as they are")

    @contextmanager
    def _explaining(self, member: str | None) -> Iterator[None]:
        """Whatever a damaged file provokes below becomes a `FormatError`."""
        try:
            yield
        except FormatError:
            raise
        except zipfile.BadZipFile as error:
            text = "is no zip archive" if member is None else "is damaged"
            raise self.error(member, f"{text}: {error}") from error
        except (
            ValueError, TypeError, KeyError, EOFError, RuntimeError, RecursionError, SyntaxError,
            NotImplementedError, OverflowError, zlib.error, OSError,
        ) as error:  # fmt: skip
            raise self.error(member, f"is damaged: {error}") from error
