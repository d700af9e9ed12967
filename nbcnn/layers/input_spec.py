"""What a layer expects of its inputs."""

from collections.abc import Mapping
from typing import Any

import numpy as np


class InputSpec:
    """Rank, data type and sizes of an input; a layer that sets `self.input_spec` to one, or to a
    list of them, refuses other inputs.

    Parameters
    ----------
    dtype : data type.
    shape : sizes, None where any will do.
    ndim, max_ndim, min_ndim : number of axes.
    axes : sizes by axis.
    allow_last_axis_squeeze : whether a last axis of size 1 may be absent, or there.
    name : of the input.
    optional : whether the input may be None.
    """

    def __init__(
        self,
        dtype: Any = None,
        shape: Any = None,
        ndim: int | None = None,
        max_ndim: int | None = None,
        min_ndim: int | None = None,
        axes: Mapping[Any, int | None] | None = None,
        allow_last_axis_squeeze: bool = False,
        name: str | None = None,
        optional: bool = False,
    ) -> None:
        self.dtype = None if dtype is None else str(np.dtype(dtype))
        self.shape = None if shape is None else tuple(shape)
        self.ndim = ndim if self.shape is None else len(self.shape)
        self.max_ndim = max_ndim
        self.min_ndim = min_ndim
        self.name = name
        self.optional = optional
        self.allow_last_axis_squeeze = allow_last_axis_squeeze
        try:
            self.axes = {int(axis): size for axis, size in dict(axes or {}).items()}
        except (ValueError, TypeError):
            raise TypeError(
                f"InputSpec: axes must be a dictionary with integer keys, got {axes!r}"
            ) from None
        most = self.ndim or self.max_ndim
        if self.axes and most is not None and max(self.axes) >= most:
            raise ValueError(f"InputSpec: axes must be below {most}, got {max(self.axes)}")

    def __repr__(self) -> str:
        names = ("dtype", "shape", "ndim", "max_ndim", "min_ndim", "axes")
        shown = [f"{n}={getattr(self, n)}" for n in names if getattr(self, n)]
        return f"InputSpec({', '.join(shown)})"

    def get_config(self) -> dict[str, Any]:
        """The arguments."""
        names = ("dtype", "shape", "ndim", "max_ndim", "min_ndim", "axes", "optional")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "InputSpec":
        """An object from the arguments `config` that `get_config` returned."""
        return cls(**config)

    def objection(self, x: Any) -> str | None:
        """What is wrong with an input, or None."""
        if x is None:
            return None if self.optional else "got None"
        shape = tuple(x.shape)
        rank = len(shape)
        if self.ndim not in (None, rank) and not self.allow_last_axis_squeeze:
            return f"expected ndim={self.ndim}, got shape {shape}"
        if self.max_ndim is not None and rank > self.max_ndim:
            return f"expected max_ndim={self.max_ndim}, got shape {shape}"
        if self.min_ndim is not None and rank < self.min_ndim:
            return f"expected min_ndim={self.min_ndim}, got shape {shape}"
        if self.dtype is not None and str(x.dtype) != self.dtype:
            return f"expected dtype={self.dtype}, got {x.dtype}"
        for axis, size in self.axes.items():
            if size is not None and shape[axis] not in (size, None):
                return f"expected size {size} along axis {axis}, got shape {shape}"
        if self.shape is not None and not self._fits(shape):
            return f"expected shape {self.shape}, got {shape}"
        return None

    def _fits(self, shape: tuple) -> bool:
        wanted = self.shape or ()
        if self.allow_last_axis_squeeze:
            shape, wanted = (s[:-1] if s[-1:] == (1,) else s for s in (shape, wanted))
        return all(w in (None, n) or n is None for w, n in zip(wanted, shape))


def check_inputs(spec: Any, inputs: Any, who: str) -> None:
    """Raises ValueError where inputs, one or a list, do not fit their specifications, if any."""
    if spec is None:
        return
    specs = list(spec) if isinstance(spec, (list, tuple)) else [spec]
    values = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
    if isinstance(inputs, Mapping):
        values = [inputs.get(s.name) for s in specs]
    if len(values) != len(specs):
        raise ValueError(f"{who}: expected {len(specs)} inputs, got {len(values)}")
    for number, (one, value) in enumerate(zip(specs, values)):
        wrong = one.objection(value) if one is not None else None
        if wrong:
            raise ValueError(f"{who}: input {number}: {wrong}")
