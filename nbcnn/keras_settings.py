"""Settings of Keras that decide little here: limits of training, logging, switches of backends.

`nbcnn.config` has them all.
"""

from typing import Any

from nbcnn.config import _positive_int

_limits: dict[str, int | None] = {"epochs": None, "steps": None}
_switches = {"logging": True, "tracebacks": True}


def _limit(what: str, value: Any) -> int | None:
    return None if value is None else _positive_int(what, value)


def max_epochs() -> int | None:
    """The most epochs that any `fit` does, None without a limit."""
    return _limits["epochs"]


def set_max_epochs(max_epochs: int | None) -> None:
    """Limit the epochs of every `fit`, for a quick look whether a script runs. None: no limit.

    Parameters
    ----------
    max_epochs : the limit.
    """
    _limits["epochs"] = _limit("set_max_epochs", max_epochs)


def max_steps_per_epoch() -> int | None:
    """The most batches of an epoch, of `evaluate` and of `predict`; None without a limit."""
    return _limits["steps"]


def set_max_steps_per_epoch(max_steps_per_epoch: int | None) -> None:
    """Limit the batches of every epoch, `evaluate` and `predict`. None: no limit.

    Parameters
    ----------
    max_steps_per_epoch : the limit.
    """
    _limits["steps"] = _limit("set_max_steps_per_epoch", max_steps_per_epoch)


def enable_interactive_logging() -> None:
    """`fit` draws bars where there is a terminal: the default."""
    _switches["logging"] = True


def disable_interactive_logging() -> None:
    """`fit` writes a line an epoch, also where there is a terminal."""
    _switches["logging"] = False


def is_interactive_logging_enabled() -> bool:
    """Whether `fit` may draw bars."""
    return _switches["logging"]


def enable_traceback_filtering() -> None:
    """Kept for `is_traceback_filtering_enabled`; tracebacks are the same either way."""
    _switches["tracebacks"] = True


def disable_traceback_filtering() -> None:
    """Kept for `is_traceback_filtering_enabled`; tracebacks are the same either way."""
    _switches["tracebacks"] = False


def is_traceback_filtering_enabled() -> bool:
    """What was chosen last; True at first."""
    return _switches["tracebacks"]


def enable_unsafe_deserialization() -> None:
    """Changes nothing: files name only what is registered, never code."""


def backend() -> str:
    """The name of what runs below: 'numba'."""
    return "numba"


def set_backend(backend: str) -> None:
    """Accepts 'numba', the only one.

    Parameters
    ----------
    backend : the name.
    """
    if backend != "numba":
        raise ValueError(f"set_backend: the only backend is 'numba', got {backend!r}")


def enable_flash_attention() -> None:
    """Raises: there is no such kernel."""
    raise NotImplementedError("enable_flash_attention: there is no flash attention")


def disable_flash_attention() -> None:
    """Changes nothing: there is no flash attention."""


def is_flash_attention_enabled() -> bool:
    """False."""
    return False


def is_nnx_enabled() -> bool:
    """False: that is of Keras's JAX backend."""
    return False
