"""What every reader and writer of files shares: replacing one in a single step, reading a part of
one within bounds, and the error for what a file should not hold.
"""

import hashlib
import json
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

TEXT_LIMIT = 64 << 20  # bytes of a JSON text; as objects it takes up to thirty times as much
DEPTH_LIMIT = 200  # of lists and objects inside each other; each model inside a model takes four
BLOCK = 1 << 20


MESSAGE_LIMIT = 2000  # letters; names come from files


class FormatError(ValueError):
    """A file that is damaged, or of another format; the message names the file and the member."""


def as_path(filepath: Any, where: str, argument: str = "filepath") -> Path:
    """The `argument` of the function `where`. Raises TypeError for what is no path."""
    try:
        return Path(os.fspath(filepath))
    except TypeError:
        raise TypeError(f"{where}: {argument} must be a path, got {filepath!r:.80}") from None


def as_target(filepath: Any, where: str) -> Path:
    """A path that a file can be written to. Raises FileNotFoundError where its folder is missing,
    IsADirectoryError where it is a folder.
    """
    path = as_path(filepath, where)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{where}: there is no folder {path.parent}")
    if path.is_dir():
        raise IsADirectoryError(f"{where}: filepath {str(path)!r} is a folder")
    return path


@contextmanager
def replacing(path: Path) -> Iterator[Any]:
    """A new binary file beside `path` that takes its place when the block ends without an error.

    Its contents are on the disk before it has the name, and the name is before this returns: after
    a crash there is the old file or the new one.
    """
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
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Writes a folder's list of names to the disk, where the system can."""
    try:
        number = os.open(folder, os.O_RDONLY)
    except OSError:  # Windows opens no folders, and writes names through
        return
    try:
        os.fsync(number)
    except OSError:  # some network file systems refuse this for folders
        pass
    finally:
        os.close(number)


def refuse(source: str, member: str | None, text: str) -> NoReturn:
    inside = "" if member is None else f"{_short(member)}: "
    raise FormatError(f"{source}: {inside}{_short(text)}")


def _short(text: str) -> str:
    """Of bounded length, and printable whatever letters it has."""
    cut = text if len(text) <= MESSAGE_LIMIT else f"{text[:MESSAGE_LIMIT]}..."
    return cut.encode(errors="backslashreplace").decode()


class Window:
    """A stretch of an open file; reading beyond it is refused.

    source, member : what errors name.
    """

    def __init__(
        self, file: Any, start: int, size: int, source: str, member: str | None = None
    ) -> None:
        self.file, self.start, self.size = file, start, size
        self.source, self.member = source, member

    @classmethod
    def whole(cls, file: Any, source: str) -> "Window":
        return cls(file, 0, os.fstat(file.fileno()).st_size, source)

    def refuse(self, text: str) -> NoReturn:
        refuse(self.source, self.member, text)

    def inside(self, offset: int, size: int, member: str | None = None) -> "Window":
        """The stretch of `size` bytes at `offset` of this one."""
        self._check(offset, size)
        name = self.member if member is None else member
        return Window(self.file, self.start + offset, size, self.source, name)

    def read(self, offset: int, size: int) -> bytes:
        self._check(offset, size)
        self.file.seek(self.start + offset)
        data = self.file.read(size)
        if len(data) != size:
            self.refuse("ends too early")
        return data

    def array(self, offset: int, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """The numbers at `offset`; allocated only if the file has as many bytes."""
        size = dtype.itemsize
        for n in shape:  # Python's integers: no product is too large for them
            size *= n
        self._check(offset, size)
        array = np.empty(shape, dtype)
        view = memoryview(array.reshape(-1).view(np.uint8).data) if array.size else memoryview(b"")
        self.file.seek(self.start + offset)
        done = 0
        while done < len(view):
            count = self.file.readinto(view[done:])
            if not count:
                self.refuse("ends too early")
            done += count
        return array

    def crc32(self) -> int:
        """The checksum that zip files hold."""
        self.file.seek(self.start)
        total, left = 0, self.size
        while left:
            block = self.file.read(min(BLOCK, left))
            if not block:
                self.refuse("ends too early")
            total, left = zlib.crc32(block, total), left - len(block)
        return total

    def _check(self, offset: int, size: int) -> None:
        if offset < 0 or size < 0 or offset + size > self.size:
            self.refuse(f"is damaged: bytes {offset}..{offset + size} of {self.size} are needed")


def parse_json(text: bytes, source: str, member: str | None) -> dict[str, Any]:
    """The object that a JSON text is; nesting is limited, and a key comes once."""
    if len(text) > TEXT_LIMIT:
        refuse(source, member, f"is too large: {len(text)} bytes")
    try:
        found = json.loads(text, object_pairs_hook=_object)
    except RecursionError:
        refuse(source, member, f"is nested more than {DEPTH_LIMIT} deep")
    except ValueError as error:
        refuse(source, member, f"is damaged: {error}")
    if _is_deep(found):
        refuse(source, member, f"is nested more than {DEPTH_LIMIT} deep")
    if not isinstance(found, dict):
        refuse(source, member, f"expected an object, got {type(found).__name__}")
    return found


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key occurs twice in an object")
    return found


def _is_deep(found: Any) -> bool:
    """Whether lists and objects are inside each other deeper than the limit."""
    level = [found]
    for _ in range(DEPTH_LIMIT):
        inner = [x for x in level if isinstance(x, (list, dict))]
        level = [y for x in inner for y in (x.values() if isinstance(x, dict) else x)]
        if not level:
            return False
    return True


def digest(arrays: Any) -> str:
    """One checksum over names, types, shapes and contents of arrays: pairs of name and array."""
    total = hashlib.sha256()
    for name, array in sorted(arrays, key=lambda pair: pair[0]):
        total.update(f"{name}\0{array.dtype.str}\0{array.shape}\0".encode())
        total.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return total.hexdigest()
