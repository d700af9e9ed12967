"""What callbacks are: the hooks that training calls, the list that calls them, and the record of
all epochs.
"""

from collections.abc import Callable, Iterable
from typing import Any, ClassVar, cast

from nbcnn.declare import Declared

Logs = dict[str, Any]


class Callback(Declared):
    """Base of callbacks: override the hooks of interest.

    `self.model` is the model and `self.params` a dictionary with "epochs", "steps" and "verbose".
    `logs` maps names of the loss and metrics to their values so far; values put into the `logs` of
    `on_epoch_end` are recorded in `History`. Setting `self.model.stop_training = True` ends
    training after the current batch's epoch.

    Parameters
    ----------
    epoch, batch : in the methods: numbers, from 0.
    logs : in the methods: results by name, those so far; a dictionary, or None.

    Examples
    --------
    >>> class Bell(Callback):
    ...     def on_train_end(self, logs=None):
    ...         print("done")
    """

    model = cast(Any, None)
    params = cast(Any, None)
    draws_progress: ClassVar[bool] = False  # in the place of the bar that `fit` draws
    ends_last: ClassVar[bool] = False  # hears of the end of batches, epochs and training after all
    kept_in_backups: ClassVar[tuple[str, ...]] = ()  # attributes: numbers, texts, weights

    def set_params(self, params: dict[str, Any]) -> None:
        self.params = params

    def set_model(self, model: Any) -> None:
        self.model = model

    def _uses(self, hook: str) -> bool:
        """Whether a hook that is overridden does anything, as set up: results for batches are only
        made where somebody takes them.
        """
        return True

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Before an epoch of `fit`; `epoch` counts from 0."""

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """After an epoch of `fit`; `logs` has the epoch's results, those of validation with the
        prefix `val_`.
        """

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Before `fit`."""

    def on_train_end(self, logs: Logs | None = None) -> None:
        """After `fit`; `logs` are those of the last epoch."""

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Before `evaluate` or a validation."""

    def on_test_end(self, logs: Logs | None = None) -> None:
        """After `evaluate` or a validation."""

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        """Before `predict`."""

    def on_predict_end(self, logs: Logs | None = None) -> None:
        """After `predict`."""

    def on_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Another name of `on_train_batch_begin`."""

    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Another name of `on_train_batch_end`."""

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Before a training step; `batch` counts from 0 in each epoch."""
        self.on_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """After a training step; `logs` are means over the epoch so far."""
        self.on_batch_end(batch, logs)

    def on_test_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Before a batch of `evaluate` or a validation."""

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """After a batch of `evaluate` or a validation."""

    def on_predict_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Before a batch of `predict`."""

    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """After a batch of `predict`; `logs["outputs"]` holds the predictions."""


HOOKS = tuple(name for name in vars(Callback) if name.startswith("on_"))
ALIASES = {"on_train_batch_begin": "on_batch_begin", "on_train_batch_end": "on_batch_end"}


class History(Callback):
    """Every epoch's results: `history` maps names to lists, `epoch` lists the epochs' numbers.

    `fit` adds one by itself and returns it.
    """

    def __post_init__(self) -> None:
        self.history: dict[str, list[Any]] = {}
        self.epoch: list[int] = []

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self.epoch = []

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)


class CallbackList(Callback):
    """Calls the hooks of several callbacks, in their order.

    Parameters
    ----------
    callbacks : callbacks, in lists nested at will, or one, or None.
    add_history : add a `History` if there is none.
    model : given to each callback.
    params : given to each callback.
    """

    def __init__(
        self, callbacks: Any = None, add_history: bool = False, model: Any = None, **params: Any
    ) -> None:
        self.callbacks = list(_flatten(callbacks))
        self.history = next((c for c in self.callbacks if isinstance(c, History)), None)
        if add_history and self.history is None:
            self.history = History()
            self.callbacks.append(self.history)
        self._takers = {hook: self._takers_of(hook) for hook in HOOKS}
        self.set_params(params)
        if model is not None:
            self.set_model(model)

    def _takers_of(self, hook: str) -> list[Any]:
        takers = [c for c in self.callbacks if overrides(c, hook)]
        if hook.endswith("_end"):
            takers.sort(key=lambda callback: getattr(callback, "ends_last", False))
        return takers

    @property
    def draw_progress(self) -> bool:
        """Whether one of them does."""
        return any(getattr(callback, "draws_progress", False) for callback in self.callbacks)

    def append(self, callback: Any) -> None:
        """Adds one at the end."""
        self.callbacks.append(callback)
        self._takers = {hook: self._takers_of(hook) for hook in HOOKS}

    def set_params(self, params: dict[str, Any]) -> None:
        self.params = params
        for callback in self.callbacks:
            callback.set_params(params)

    def set_model(self, model: Any) -> None:
        self.model = model
        if self.history is not None:
            model.history = self.history
        for callback in self.callbacks:
            callback.set_model(model)

    def wants(self, hook: str) -> bool:
        """Whether any callback overrides that hook; where none does, its logs need not be made."""
        return bool(self._takers[hook])


def _flatten(callbacks: Any) -> Iterable[Any]:
    if callbacks is None:
        return
    if not isinstance(callbacks, (list, tuple)):
        callbacks = [callbacks]
    for callback in callbacks:
        if isinstance(callback, (list, tuple)):
            yield from _flatten(callback)
        elif isinstance(callback, type) or not hasattr(callback, "set_model"):
            raise ValueError(f"callbacks: expected instances of Callback, got {callback!r}")
        else:
            yield callback


def overrides(callback: Any, hook: str) -> bool:
    """Whether a callback does anything at that hook, in its class or as an attribute."""
    if isinstance(callback, Callback) and not callback._uses(hook):
        return False
    names = [name for name in (hook, ALIASES.get(hook)) if name and hasattr(callback, name)]
    given = (getattr(getattr(callback, name), "__func__", None) for name in names)
    return any(function is not vars(Callback)[name] for function, name in zip(given, names))


def _to_all(hook: str) -> Callable[..., None]:
    """The hook of a list; every callback gets the same `logs`, a dictionary in any case."""
    counts = "batch" in hook or "epoch" in hook  # then the number comes before `logs`

    def call_takers(self: CallbackList, *args: Any, logs: Logs | None = None) -> None:
        given = args[counts] if len(args) > counts else logs
        shared = {} if given is None else given
        for callback in self._takers[hook]:
            getattr(callback, hook)(*args[:counts], shared)

    call_takers.__name__ = hook
    call_takers.__doc__ = vars(Callback)[hook].__doc__
    return call_takers


for _hook in HOOKS:
    setattr(CallbackList, _hook, _to_all(_hook))
