"""Event files, as TensorBoard reads them: a file of records, each a protocol buffer `Event`.

    record = length (8 bytes), its checksum (4), data, its checksum (4)
    Event = wall_time 1: double, step 2: int64, file_version 3: string, summary 5: Summary
    Summary = value 1: (tag 1: string, simple_value 2: float, histo 5: HistogramProto), repeated
    HistogramProto = min 1, max 2, num 3, sum 4, sum_squares 5: double,
                     bucket_limit 6, bucket 7: packed doubles

Numbers before the colon are the fields' in the buffers. The checksum is CRC-32C, rotated by 15 bits
and moved by a constant.
"""

import os
import socket
import struct
import time
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

POLYNOMIAL, MOVED_BY = 0x82F63B78, 0xA282EAD8
VARINT, DOUBLE, BYTES, FLOAT = 0, 1, 2, 5  # how a field is written
FORMATS = {DOUBLE: "<d", FLOAT: "<f"}
BINS = 30


@cache
def _table() -> tuple[int, ...]:
    found = []
    for number in range(256):
        for _ in range(8):
            number = number >> 1 ^ (POLYNOMIAL if number & 1 else 0)
        found.append(number)
    return tuple(found)


def checksum(data: bytes) -> int:
    """The masked CRC-32C."""
    table, crc = _table(), 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + MOVED_BY) & 0xFFFFFFFF


def _varint(number: int) -> bytes:
    number &= (1 << 64) - 1
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])


def _field(number: int, kind: int, value: Any) -> bytes:
    head = _varint(number << 3 | kind)
    if kind == BYTES:
        return head + _varint(len(value)) + value
    return head + (_varint(value) if kind == VARINT else struct.pack(FORMATS[kind], value))


def scalar(tag: str, value: float) -> bytes:
    """A `Summary` with one number."""
    return _field(1, BYTES, _field(1, BYTES, tag.encode()) + _field(2, FLOAT, value))


def histogram(tag: str, values: np.ndarray) -> bytes:
    """A `Summary` with the distribution of finite values."""
    flat = np.asarray(values, np.float64).reshape(-1)
    flat = flat[np.isfinite(flat)]
    low, high = (flat.min(), flat.max()) if flat.size else (0.0, 0.0)
    counts, edges = np.histogram(flat, BINS, (low, high) if low < high else (low - 0.5, high + 0.5))
    numbers = (low, high, flat.size, flat.sum(), (flat * flat).sum())
    proto = b"".join(_field(i, DOUBLE, float(value)) for i, value in enumerate(numbers, 1))
    proto += _field(6, BYTES, edges[1:].astype("<f8").tobytes())
    proto += _field(7, BYTES, counts.astype("<f8").tobytes())
    return _field(1, BYTES, _field(1, BYTES, tag.encode()) + _field(5, BYTES, proto))


class EventFile:
    """A new file of events in a folder, which is made."""

    count = 0  # of this process: names are unique

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        EventFile.count += 1
        parts = (int(time.time()), socket.gethostname(), os.getpid(), EventFile.count)
        self.path = folder / "events.out.tfevents.{}.{}.{}.{}".format(*parts)
        self._file = open(self.path, "xb")  # noqa: SIM115 - it stays open until `close`
        self._write(_field(3, BYTES, b"brain.Event:2"))

    def add(self, summary: bytes, step: int) -> None:
        """Append a summary that belongs to a step."""
        self._write(_field(2, VARINT, step) + _field(5, BYTES, summary))

    def _write(self, rest: bytes) -> None:
        event = _field(1, DOUBLE, time.time()) + rest
        length = struct.pack("<Q", len(event))
        self._file.write(length + struct.pack("<I", checksum(length)))
        self._file.write(event + struct.pack("<I", checksum(event)))

    def flush(self) -> None:
        """What was added is on disk."""
        self._file.flush()

    def close(self) -> None:
        """The file is complete."""
        self._file.close()
