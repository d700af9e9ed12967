"""Implementations of operations: the record, and how one is chosen.

`kernels/<device>/lists.py` holds an ordered tuple of `Impl` per operation, special before general.
The first whose `accepts` returns None is taken; the reasons of the others are kept for printing.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np


class Scratch(NamedTuple):
    """Memory that an implementation needs beside inputs and outputs.

    `constant`: filled by calls that depend on weights only (`Call.weights_only`), so in inference
    it is kept between runs and refilled only when weights change.
    """

    shape: tuple[int, ...]
    dtype: str
    constant: bool = False

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


def no_scratch(spec: Any, dtype: str, caps: Any) -> dict[str, Scratch]:
    return {}


class Impl(NamedTuple):
    """One way of computing an operation on one device.

    name: unique within (device, op); appears in plans, benchmarks and test ids.
    accepts: (spec, dtype, caps) -> None, or the reason for refusing as a short string.
    bind: (spec, caps, inputs, outputs, scratch) -> list of calls over these arrays.
    scratch: (spec, dtype, caps) -> {name: Scratch}; planned, never allocated inside.
    inplace: pairs (output index, input index) that may share memory when the input is not read
    later.
    rtol: how many times the op's tolerance the result may be off; stated by algorithms that trade
    accuracy.
    """

    name: str
    accepts: Callable[[Any, str, Any], str | None]
    bind: Callable[[Any, Any, Sequence, Sequence, dict], list]
    scratch: Callable[[Any, str, Any], dict[str, Scratch]] = no_scratch
    inplace: tuple[tuple[int, int], ...] = ()
    rtol: float = 1.0


def no_pool(spec: Any, dtype: str, caps: Any) -> str | None:
    """`accepts` of a convolution that takes everything but a pool in its tail."""
    return "no pooling in the tail" if spec.pool else None


class Choice(NamedTuple):
    impl: Impl
    refused: tuple[tuple[str, str], ...]  # (implementation, reason), in list order


class Passes(NamedTuple):
    """Calls first..stop-1 of a program, run as often as there are `starts`: in each pass on the
    part of the `arrays` that begins there along axis 0. The calls are bound to the parts at 0.
    """

    first: int
    stop: int
    starts: tuple[int, ...]
    arrays: tuple[Any, ...]


def always(spec: Any, dtype: str, caps: Any) -> None:
    """`accepts` of an implementation that takes everything."""


def choose(
    impls: Iterable[Impl],
    spec: Any,
    dtype: str,
    caps: Any,
    preferred: Sequence[str] = (),
    excluded: Mapping[str, str] = {},
) -> Choice | None:
    """The first accepting implementation, or None. Names in `preferred` are asked before the
    others; those in `excluded` are refused for the reason given there.
    """
    refused: list[tuple[str, str]] = []
    rank = {name: i for i, name in enumerate(preferred)}
    candidates = sorted(impls, key=lambda impl: rank.get(impl.name, len(rank)))
    for impl in candidates:
        reason = excluded.get(impl.name) or impl.accepts(spec, dtype, caps)
        if reason is None:
            return Choice(impl, tuple(refused))
        refused.append((impl.name, reason))
    return None
