"""Weights in several files, as Keras 3.15 writes them: `m.weights.json` says in which of
`m_00000.weights.h5`, `m_00001.weights.h5`, ... the variables of each layer are.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from nbcnn.io import hdf5, hdf5_write
from nbcnn.io.files import Window, digest, parse_json, refuse, replacing

ENDING, SHARD = ".weights.json", ".weights.h5"
DIGEST = "nbcnn_sha256"
GIBIBYTE = 1 << 30

Arrays = Mapping[str, np.ndarray]
Texts = Mapping[str, Mapping[str, str]]


def write(path: Path, arrays: Arrays, attributes: Texts, max_shard_size: float) -> None:
    """Write arrays by path, and texts of groups.

    All files are on the disk before the first gets its name, the index its own last. What was there
    before can only be lost between these; its checksum then says so.

    max_shard_size : in GiB.

    Raises
    ------
    ValueError
        For an array that is larger than that.
    """
    shards = _divided(arrays, max_shard_size * GIBIBYTE)
    names = [_name(path, number) for number in range(len(shards))]
    weight_map: dict[str, Any] = {}
    for name, shard in zip(names, shards):
        for group in dict.fromkeys(f"/{each.rpartition('/')[0]}" for each in shard):
            weight_map.setdefault(group, []).append(name)
    total = sum(array.nbytes for array in arrays.values())
    index = {
        "metadata": {"total_size": total, DIGEST: digest(arrays.items())},
        "weight_map": {g: n if len(n) > 1 else n[0] for g, n in weight_map.items()},
    }
    with ExitStack() as stack:
        places = [path, *(path.with_name(name) for name in names)]
        text, *files = [stack.enter_context(replacing(place)) for place in places]
        text.write(json.dumps(index, indent=4).encode())
        for number, (file, shard) in enumerate(zip(files, shards)):
            groups = {each.rpartition("/")[0] for each in shard}
            empty = set(attributes) - {each.rpartition("/")[0] for each in arrays} - {""}
            held = groups | (set() if number else empty)
            hdf5_write.write(file, shard, {g: t for g, t in attributes.items() if g in held})
        for file in (text, *files):
            file.flush()
            os.fsync(file.fileno())


def _divided(arrays: Arrays, limit: float) -> list[dict[str, np.ndarray]]:
    """Arrays in order, as many in each part as fit."""
    shards: list[dict[str, np.ndarray]] = [{}]
    left = limit
    for path, array in arrays.items():
        if array.nbytes > limit:
            raise ValueError(
                f"save_weights: {path} has {array.nbytes} bytes, more than max_shard_size="
                f"{limit / GIBIBYTE} GiB"
            )
        if array.nbytes > left:
            shards.append({})
            left = limit
        shards[-1][path] = array
        left -= array.nbytes
    return shards


def _name(path: Path, number: int) -> str:
    return f"{path.name.removesuffix(ENDING)}_{number:05}{SHARD}"


class Shards(hdf5.Reader):
    """The arrays of all files together; `window` is the index."""

    def __init__(self, window: Window, readers: list[hdf5.Reader], checksum: Any) -> None:
        self.window = window
        self.attributes = {"": {DIGEST: [checksum]} if isinstance(checksum, str) else {}}
        self.arrays, self.groups, self._holders = {}, {}, {}
        for reader in readers:
            for path, entry in reader.arrays.items():
                if path in self.arrays:
                    window.refuse(f"{path} is in two files")
                self.arrays[path], self._holders[path] = entry, reader
            for group, held in reader.groups.items():
                self.groups.setdefault(group, {}).update(held)

    def array(self, path: str) -> np.ndarray:
        return self._holders[path].array(path)


@contextmanager
def opened(path: Path) -> Iterator[Shards]:
    """The arrays that an index names; only files beside it that are named after it are opened."""
    with ExitStack() as stack:
        file = stack.enter_context(open(path, "rb"))
        window = Window.whole(file, str(path))
        index = parse_json(window.read(0, window.size), str(path), None)
        weight_map, metadata = index.get("weight_map"), index.get("metadata")
        if not isinstance(weight_map, dict):
            window.refuse("has no weight_map")
        names: dict[Any, None] = {}
        for found in weight_map.values():
            names.update(dict.fromkeys(str(n) for n in (found if type(found) is list else [found])))
        expected = re.escape(path.name.removesuffix(ENDING)) + r"_\d{5,9}" + re.escape(SHARD)
        readers = []
        for name in names:
            shard = path.with_name(name) if re.fullmatch(expected, name) else None
            if shard is None or not shard.is_file():
                refuse(str(path), name, "is missing, or not named after the index")
            held = stack.enter_context(open(shard, "rb"))
            size = os.fstat(held.fileno()).st_size
            readers.append(hdf5.Reader(Window(held, 0, size, str(path), name)))
        checksum = metadata.get(DIGEST) if isinstance(metadata, dict) else None
        yield Shards(window, readers, checksum)
