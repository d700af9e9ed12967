"""Settings of the whole program: data type, device, threads, choice of implementations, verbosity.

Each is set by a function here or by an environment variable, read when the package is first used:

| variable | sets | values |
|---|---|---|
| `NBCNN_DEVICE` | `set_device` | auto, cpu, cuda, cuda:1, ... |
| `NBCNN_NUM_THREADS` | `set_num_threads` | a positive number |
| `NBCNN_FLOATX` | `set_floatx` | float32, float64 |
| `NBCNN_CONV_ALGORITHM` | `set_conv_algorithm` | auto, direct, im2col |
| `NBCNN_WINOGRAD` | `set_winograd` | auto, f2, off |
| `NBCNN_MATMUL_PRECISION` | `set_matmul_precision` | highest, high |
| `NBCNN_FORCE` | `force` | conv2d=im2col,conv2d_dw=plain |
| `NBCNN_FUSE` | `set_fuse` | 1, 0 |
| `NBCNN_VERBOSE` | `set_verbosity` | select |
| `NBCNN_CUDA_SYNC` | waiting after every kernel on a GPU, so that errors name it | 0, 1 |
"""

import dataclasses
import importlib
import math
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

FLOAT_TYPES = ("float32", "float64")
DATA_FORMATS = ("channels_last", "channels_first")
CONV_ALGORITHMS = ("auto", "direct", "im2col")
WINOGRAD = ("auto", "f2", "off")
MATMUL_PRECISIONS = ("highest", "high")
TOPICS = ("select",)  # what NBCNN_VERBOSE may ask for


def available_threads() -> int:
    """Processors that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        return os.cpu_count() or 1


@dataclasses.dataclass(frozen=True)
class Settings:
    """All settings at one moment. `device` None: the best there is, chosen without a word."""

    device: str | None = None
    threads: int = dataclasses.field(default_factory=available_threads)
    floatx: str = "float32"
    dtype_policy: str | None = None
    epsilon: float = 1e-7
    image_data_format: str = "channels_last"
    conv_algorithm: str = "auto"
    winograd: str = "auto"
    matmul_precision: str = "highest"
    forced: Mapping[str, str] = dataclasses.field(default_factory=dict)
    fuse: bool = True
    verbosity: frozenset[str] = frozenset()
    cuda_sync: bool = False


# Checks: each gives the value to store, or raises ValueError naming `what`.


def _choice(what: str, value: Any, choices: tuple[str, ...]) -> str:
    if value not in choices:
        expected = ", ".join(map(repr, choices))
        raise ValueError(f"{what}: expected one of {expected}, got {value!r}")
    return value


def _positive_int(what: str, value: Any) -> int:
    if isinstance(value, str) and value.strip().isdigit():
        value = int(value)
    if isinstance(value, (bool, float, str)) or not hasattr(value, "__index__") or value < 1:
        raise ValueError(f"{what}: expected a positive whole number, got {value!r}")
    return int(value)


def _flag(what: str, value: Any) -> bool:
    names = {"1": True, "true": True, "on": True, "0": False, "false": False, "off": False}
    if isinstance(value, str) and value.lower() in names:
        return names[value.lower()]
    if not isinstance(value, bool):
        raise ValueError(
            f"{what}: expected True or False (1 or 0 in the environment), got {value!r}"
        )
    return value


def _forced(what: str, text: Any) -> dict[str, str]:
    """{operation: implementation} of "conv2d=im2col,conv2d_dw=plain"."""
    pairs: dict[str, str] = {}
    for item in str(text).split(","):
        op, equals, name = (part.strip() for part in item.partition("="))
        if not item.strip():
            continue
        if not (op and equals and name):
            raise ValueError(
                f"{what}: expected operation=implementation, as conv2d=im2col, got {item!r}"
            )
        pairs[op] = name
    return pairs


def _topics(what: str, value: Any) -> frozenset[str]:
    names = value.split(",") if isinstance(value, str) else tuple(value)
    return frozenset(_choice(what, name.strip(), TOPICS) for name in names if name.strip())


def _device_name(what: str, value: Any) -> str | None:
    """Any text: which devices there are is known to `runtime.device` only, which checks it."""
    return value


def _one_of(choices: tuple[str, ...]) -> Callable[[str, Any], str]:
    return lambda what, value: _choice(what, value, choices)


ENVIRONMENT: dict[str, tuple[str, Callable[[str, Any], Any]]] = {
    "NBCNN_DEVICE": ("device", _device_name),
    "NBCNN_NUM_THREADS": ("threads", _positive_int),
    "NBCNN_FLOATX": ("floatx", _one_of(FLOAT_TYPES)),
    "NBCNN_CONV_ALGORITHM": ("conv_algorithm", _one_of(CONV_ALGORITHMS)),
    "NBCNN_WINOGRAD": ("winograd", _one_of(WINOGRAD)),
    "NBCNN_MATMUL_PRECISION": ("matmul_precision", _one_of(MATMUL_PRECISIONS)),
    "NBCNN_FORCE": ("forced", _forced),
    "NBCNN_FUSE": ("fuse", _flag),
    "NBCNN_VERBOSE": ("verbosity", _topics),
    "NBCNN_CUDA_SYNC": ("cuda_sync", _flag),
}


# Variables that are read where they are needed: of the compiled kernels on disk; of the scripts in
# `models/`, where data is; of the tests, whether to run long ones.
ELSEWHERE = {
    "NBCNN_CACHE_DIR",
    "NBCNN_BUILD_PROCESSES",
    "NBCNN_DATA",
    "NBCNN_SCRIPTS",
    "NBCNN_ZOO",
}


def from_environment(environment: Mapping[str, str]) -> Settings:
    """Defaults, changed by the variables of `ENVIRONMENT`; empty ones count as absent. A name that
    is none of ours is warned about.

    Raises ValueError that names the variable, what it holds and what was expected.
    """
    for name in environment:
        if name.startswith("NBCNN_") and name not in ENVIRONMENT and name not in ELSEWHERE:
            known = ", ".join(sorted({*ENVIRONMENT, *ELSEWHERE}))
            warnings.warn(f"{name} means nothing to nbcnn; there are {known}", stacklevel=2)
    given = {
        field: check(variable, environment[variable])
        for variable, (field, check) in ENVIRONMENT.items()
        if environment.get(variable)
    }
    return Settings(**given)


_settings = from_environment(os.environ)


def settings() -> Settings:
    """A snapshot of all settings; it does not change when they do."""
    return _settings


def _set(**changes: Any) -> None:
    global _settings
    _settings = dataclasses.replace(_settings, **changes)


@contextmanager
def _changed(**changes: Any) -> Iterator[None]:
    before = {field: getattr(_settings, field) for field in changes}
    _set(**changes)
    try:
        yield
    finally:
        _set(**before)


def floatx() -> str:
    """The default floating-point type of layers and models: 'float32' or 'float64'."""
    return _settings.floatx


def set_floatx(value: str) -> None:
    """Set the default floating-point type. Raises ValueError for other types than float32 and
    float64.

    Parameters
    ----------
    value : "float32" (at first) or "float64".
    """
    _set(floatx=_choice("set_floatx", value, FLOAT_TYPES))


def dtype_policy_name() -> str:
    """The name of the policy of layers that are given none: that of `set_dtype_policy`, or
    `floatx`.
    """
    return _settings.dtype_policy or _settings.floatx


def choose_dtype_policy(name: str | None) -> None:
    """Store the program's policy, None to follow `floatx`; `set_dtype_policy` checks that it is
    one.
    """
    _set(dtype_policy=name)


def epsilon() -> float:
    """The small number that keeps divisions and logarithms of the user's formulas finite; 1e-7."""
    return _settings.epsilon


def set_epsilon(value: float) -> None:
    """Set `epsilon`. Raises ValueError if it is not a positive finite number.

    Parameters
    ----------
    value : 1e-7 at first.
    """
    if isinstance(value, (bool, str)) or not (math.isfinite(value) and value > 0):
        raise ValueError(f"set_epsilon: expected a positive number, got {value!r}")
    _set(epsilon=float(value))


def image_data_format() -> str:
    """Where layers expect the channels of images: 'channels_last' (default) or 'channels_first'."""
    return _settings.image_data_format


def set_image_data_format(data_format: str) -> None:
    """Set `image_data_format`. Raises ValueError for other values.

    Parameters
    ----------
    data_format : "channels_last" (at first) or "channels_first".
    """
    _set(image_data_format=_choice("set_image_data_format", data_format, DATA_FORMATS))


def get_num_threads() -> int:
    """Threads that CPU kernels run on; by default the processors that this process may use."""
    return _settings.threads


def set_num_threads(threads: int) -> None:
    """Set how many threads CPU kernels run on. Results do not depend on it, to the last bit.

    Raises ValueError if it is not a positive whole number.
    """
    _set(threads=_positive_int("set_num_threads", threads))


def conv_algorithm() -> str:
    """The program's choice for convolutions whose layer makes none: 'auto', 'direct' or
    'im2col'.
    """
    return _settings.conv_algorithm


def set_conv_algorithm(algorithm: str) -> None:
    """Prefer a family of convolution kernels; 'auto' leaves it to the implementation list.

    A layer's own `conv_algorithm` comes first. Raises ValueError for unknown names.

    Parameters
    ----------
    algorithm : "auto" (at first), "direct" or "im2col".
    """
    _set(conv_algorithm=_choice("set_conv_algorithm", algorithm, CONV_ALGORITHMS))


def winograd() -> str:
    """Which of Winograd's convolutions may be chosen: 'auto', 'f2' or 'off'."""
    return _settings.winograd


def set_winograd(form: str) -> None:
    """Allow Winograd's convolutions: "auto" takes tiles of four or of two outputs a side,
    say F(4x4, 3x3) or F(2x2, 3x3), where they are faster than others, "f2" only those of two, whose
    rounding errors are several times smaller, "off" none. Raises ValueError for other values.

    Parameters
    ----------
    form : "auto" (at first), "f2" or "off".
    """
    _set(winograd=_choice("set_winograd", form, WINOGRAD))


def matmul_precision() -> str:
    """How exactly GPUs multiply float32 matrices: 'highest' or 'high'."""
    return _settings.matmul_precision


def set_matmul_precision(precision: str) -> None:
    """Set how exactly GPUs multiply float32 numbers in matrix products and convolutions.

    "highest" (default): in float32. "high": their tensor cores may take factors rounded to TF32,
    which keeps the range of float32 and 10 bits of its fraction; sums stay in float32. CPUs always
    compute in float32. Raises ValueError for other values.

    Parameters
    ----------
    precision : "highest" or "high".
    """
    _set(matmul_precision=_choice("set_matmul_precision", precision, MATMUL_PRECISIONS))


def fuse() -> bool:
    """Whether plans join neighbouring operations into one kernel."""
    return _settings.fuse


def set_fuse(value: bool) -> None:
    """Switch fusion on or off. Raises ValueError unless given True or False.

    Parameters
    ----------
    value : True (at first) or False.
    """
    _set(fuse=_flag("set_fuse", value))


def choice_of_kernels() -> tuple:
    """All settings that decide which kernels a plan is made of: part of the key of those kept."""
    now = _settings
    algorithms = now.conv_algorithm, now.winograd, now.matmul_precision
    return now.fuse, *algorithms, tuple(sorted(now.forced.items()))


def verbosity() -> frozenset[str]:
    """What is printed beside results: 'select' shows which implementation runs each operation, and
    why.
    """
    return _settings.verbosity


def set_verbosity(topics: str) -> None:
    """Set `verbosity`, as "select"; "" is silence. Raises ValueError for unknown topics."""
    _set(verbosity=_topics("set_verbosity", topics))


def choose_device(name: str) -> None:
    """Store the program's device; `nbcnn.set_device` checks that there is such a device."""
    _set(device=name)


def forced(op: str) -> str | None:
    """The implementation that the user wants for an operation, or None."""
    return _settings.forced.get(op)


def force(choices: str) -> Any:
    """Inside `with force("conv2d=im2col,conv2d_dw=plain"):` these implementations come first where
    they accept.

    Blocks may be nested; the inner one's choices are added. Raises ValueError for text of another
    form.
    """
    return _changed(forced={**_settings.forced, **_forced("force", choices)})


def fusing(value: bool) -> Any:
    """Inside `with fusing(False):` fusion is off.

    Parameters
    ----------
    value : True or False.
    """
    return _changed(fuse=_flag("fusing", value))


# Settings of Keras that are defined elsewhere.
KERAS = {
    **dict.fromkeys(("dtype_policy", "set_dtype_policy"), "nbcnn.dtype_policies"),
    **dict.fromkeys(
        (
            "backend", "disable_flash_attention", "disable_interactive_logging",
            "disable_traceback_filtering", "enable_flash_attention", "enable_interactive_logging",
            "enable_traceback_filtering", "enable_unsafe_deserialization",
            "is_flash_attention_enabled", "is_interactive_logging_enabled", "is_nnx_enabled",
            "is_traceback_filtering_enabled", "max_epochs", "max_steps_per_epoch", "set_backend",
            "set_max_epochs", "set_max_steps_per_epoch",
        ),
        "nbcnn.keras_settings",
    ),
}  # fmt: skip
__all__ = [
    "conv_algorithm", "epsilon", "floatx", "force", "fuse", "fusing", "get_num_threads",
    "image_data_format", "matmul_precision", "set_conv_algorithm", "set_epsilon", "set_floatx",
    "set_fuse", "set_image_data_format", "set_matmul_precision", "set_num_threads",
    "set_verbosity", "set_winograd", "verbosity", "winograd", *KERAS,
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in KERAS:
        return getattr(importlib.import_module(KERAS[name]), name)
    raise AttributeError(f"module 'nbcnn.config' has no attribute {name!r}")
