"""How a batch gets from a user's arrays into a step, and results out of it, on any device.

A device may know a faster way: see `cpu_transfers`.
"""

from typing import Any

import numpy as np


class Feed:
    """Fills one input of a program with rows of a host array."""

    def __init__(self, device: Any, target: Any):
        self._device, self._target = device, target
        self._staging: np.ndarray | None = None

    def load(self, source: np.ndarray, order: np.ndarray | None, start: int) -> None:
        """The next run works on rows `order[start], order[start + 1], ...` of `source`; without an
        order on rows start, start + 1, ...

        As many rows as the input has. The arrays must hold still until `release`.
        """
        stop = start + len(self._target)
        if order is None:
            self._device.upload(self._target, source[start:stop])
            return
        staging = self._staging
        if staging is None or staging.dtype != source.dtype:
            shape = (len(self._target), *source.shape[1:])
            staging = self._staging = np.empty(shape, source.dtype)
        np.take(source, order[start:stop], axis=0, out=staging, mode="clip")
        self._device.upload(self._target, staging)

    def release(self) -> None:
        """Let go of the arrays of the last `load`."""

    def warm(self) -> None:
        """Compile what loading arrays of the usual types will need."""


class Outlet:
    """Brings one result of a program into host arrays, or into others of the device's."""

    def __init__(self, device: Any, source: Any):
        self._device, self._source = device, source
        self._target: Any = None

    def aim(self, target: Any) -> None:
        """Before a run: its result belongs into this array, of the result's shape and type."""
        self._target = target

    def collect(self) -> None:
        """After a run: now the array must hold the result."""
        if isinstance(self._target, np.ndarray):
            self._target[...] = self._device.download(self._source)
        elif self._target is not None:
            self._device.copy(self._target, self._source)
            self._device.synchronize()

    def release(self) -> None:
        """Let go of the array of the last `aim`."""
        self._target = None
