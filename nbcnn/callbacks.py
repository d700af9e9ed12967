"""Callbacks: objects that `fit`, `evaluate` and `predict` call at set points."""

import csv
import inspect
import math
import os
from collections.abc import Callable, Iterable
from typing import Any, TextIO

from nbcnn.callback_base import HOOKS, Logs
from nbcnn.callback_base import Callback as Callback
from nbcnn.callback_base import CallbackList as CallbackList
from nbcnn.callback_base import History as History
from nbcnn.callback_events import TensorBoard as TensorBoard
from nbcnn.callback_monitors import EarlyStopping as EarlyStopping
from nbcnn.callback_monitors import ModelCheckpoint as ModelCheckpoint
from nbcnn.callback_monitors import ReduceLROnPlateau as ReduceLROnPlateau
from nbcnn.callback_state import BackupAndRestore as BackupAndRestore
from nbcnn.callback_state import SwapEMAWeights as SwapEMAWeights
from nbcnn.converters import function
from nbcnn.declare import arg
from nbcnn.progbar import ProgbarLogger as ProgbarLogger
from nbcnn.progress import message
from nbcnn.registry import suggest

__all__ = [
    "BackupAndRestore", "CSVLogger", "Callback", "CallbackList", "EarlyStopping", "History",
    "LambdaCallback", "LearningRateScheduler", "ModelCheckpoint", "ProgbarLogger",
    "ReduceLROnPlateau", "SwapEMAWeights", "TensorBoard", "TerminateOnNaN",
]  # fmt: skip


class LambdaCallback(Callback):
    """A callback made of functions, one for each hook given by name.

    Parameters
    ----------
    on_epoch_begin, on_epoch_end : functions (epoch, logs); default none.
    on_train_begin, on_train_end : functions (logs).
    on_train_batch_begin, on_train_batch_end : functions (batch, logs).
    **hooks : functions for the other methods of `Callback` by their names, with their arguments.

    Examples
    --------
    >>> LambdaCallback(on_epoch_end=lambda epoch, logs: print(epoch, logs["loss"]))
    """

    def __init__(
        self,
        on_epoch_begin: Any = None,
        on_epoch_end: Any = None,
        on_train_begin: Any = None,
        on_train_end: Any = None,
        on_train_batch_begin: Any = None,
        on_train_batch_end: Any = None,
        **hooks: Any,
    ) -> None:
        super().__init__()
        hooks.update(
            on_epoch_begin=on_epoch_begin,
            on_epoch_end=on_epoch_end,
            on_train_begin=on_train_begin,
            on_train_end=on_train_end,
            on_train_batch_begin=on_train_batch_begin,
            on_train_batch_end=on_train_batch_end,
        )
        for name, hook in hooks.items():
            if name not in HOOKS:
                raise ValueError(f"LambdaCallback: unknown hook {name!r}{suggest(name, HOOKS)}")
            if hook is not None and not callable(hook):
                raise ValueError(f"LambdaCallback: {name} must be a function, got {hook!r}")
            if hook is not None:
                setattr(self, name, hook)


class LearningRateScheduler(Callback):
    """Sets the learning rate at the start of each epoch.

    Parameters
    ----------
    schedule : function (epoch from 0, current rate) -> rate, or (epoch) -> rate.
    verbose : 1 prints the rates; default 0.
    """

    schedule: Callable[..., float] = arg(convert=function)
    verbose: bool | int = 0

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        optimizer = self.model.optimizer
        rate = self._call(epoch, float(optimizer.learning_rate))
        try:
            rate = float(rate)
        except (TypeError, ValueError):
            raise ValueError(
                f"LearningRateScheduler: schedule must return a number, got {rate!r}"
            ) from None
        optimizer.learning_rate = rate
        if self.verbose:
            message(f"Epoch {epoch + 1}: learning rate set to {rate:.4g}")

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if logs is not None:
            logs["learning_rate"] = float(self.model.optimizer.learning_rate)

    def _call(self, epoch: int, rate: float) -> Any:
        return self.schedule(epoch, rate) if _takes_two(self.schedule) else self.schedule(epoch)


def _takes_two(function: Callable[..., Any]) -> bool:
    """Whether a function can be called with two arguments; builtins that do not say count as taking
    one.
    """
    try:
        inspect.signature(function).bind(0, 0.0)
    except (TypeError, ValueError):
        return False
    return True


class TerminateOnNaN(Callback):
    """Stops training when the loss is NaN or infinite; with `raise_error` by a `RuntimeError`."""

    raise_error: bool = False

    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        loss = (logs or {}).get("loss")
        if loss is None or math.isfinite(loss):
            return
        if self.raise_error:
            raise RuntimeError(f"the loss is {loss} at batch {batch}")
        message(f"Batch {batch}: the loss is {loss}, training ends")
        self.model.stop_training = True


class CSVLogger(Callback):
    """Writes a line of results after each epoch.

    Parameters
    ----------
    filename : the file.
    separator : between values; default a comma.
    append : keep what is in the file, as is always done where training is resumed by
        `BackupAndRestore`; default False.
    """

    filename: str = arg(convert=os.fspath)
    separator: str = ","
    append: bool = False

    def __post_init__(self) -> None:
        self.file: TextIO | None = None
        self.writer: Any = None

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self.on_train_end()

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        if self.file is not None:
            return
        training = getattr(self.model, "_fit_in_progress", None)
        resumed = training is not None and training.is_resumed
        if resumed and os.path.exists(self.filename):
            self._cut(epoch)
        keeps = self.append or resumed
        has_header = keeps and os.path.exists(self.filename)
        self.needs_header = not (has_header and os.path.getsize(self.filename))
        self.file = open(  # noqa: SIM115 - it stays open until training ends
            self.filename, "a" if keeps else "w", newline="", encoding="utf-8"
        )

    def _cut(self, epoch: int) -> None:
        """Leave out what the interrupted training has written of epochs that come again."""
        with open(self.filename, "r+b") as file:
            lines = file.readlines()
            while lines:
                first = lines[-1].split(self.separator.encode())[0].strip()
                if not first.isdigit() or int(first) < epoch:
                    break
                lines.pop()
            file.truncate(sum(map(len, lines)))

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        logs = logs or {}
        if self.file is None:
            return
        if self.writer is None:
            names = ["epoch", *_columns(logs)]
            self.writer = csv.DictWriter(
                self.file, names, "NA", "ignore", delimiter=self.separator, lineterminator="\n"
            )
            if self.needs_header:
                self.writer.writeheader()
        self.writer.writerow({"epoch": epoch, **logs})
        self.file.flush()

    def on_train_end(self, logs: Logs | None = None) -> None:
        if self.file is not None:
            self.file.close()
        self.file = self.writer = None


def _columns(names: Iterable[str]) -> list[str]:
    """The results in order of name; with places for those of validation if the first epoch had
    none.
    """
    columns = sorted(names)
    if not any(name.startswith("val_") for name in columns):
        columns += [f"val_{name}" for name in columns]
    return columns
