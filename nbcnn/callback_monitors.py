"""Callbacks that watch one result: stop, save or slow down depending on whether it improves."""

import math
import os
import warnings
from typing import Any, cast

import numpy as np

from nbcnn.callback_base import Callback, Logs
from nbcnn.declare import arg, non_negative, positive
from nbcnn.progress import message


def _mode(value: Any) -> str:
    if value not in ("auto", "min", "max"):
        warnings.warn(f"mode {value!r} is unknown; 'auto' is used", stacklevel=6)
        return "auto"
    return value


class Monitor(Callback):
    """Base of callbacks with a `monitor` (a name in the logs) and a `mode`.

    mode "min": smaller is better; "max": larger; "auto": by the name and the metric.
    """

    monitor = "val_loss"
    mode = "auto"
    min_delta = cast(float, 0)

    def __post_init__(self) -> None:
        self.best: float | None = None
        self.sign: int | None = None  # 1: larger is better, -1: smaller

    def current(self, logs: Logs | None) -> float | None:
        """The monitored value, or None with a warning that names what there is."""
        logs, owner = logs or {}, type(self).__name__
        if self.monitor in logs:
            value = np.asarray(logs[self.monitor])
            if value.size != 1:
                raise ValueError(
                    f"{owner}: monitor must be one number, {self.monitor!r} has shape {value.shape}"
                )
            return float(value.item())
        known = ", ".join(logs) or "nothing"
        warnings.warn(f"{owner}: {self.monitor!r} is not available; there is {known}", stacklevel=4)
        return None

    def improves(self, value: float, reference: float | None) -> bool:
        """Whether `value` is better than `reference` by more than `min_delta`."""
        if self.sign is None:
            self.sign = self._find_sign()
        return reference is None or self.sign * (value - reference) > abs(self.min_delta)

    def _find_sign(self) -> int:
        if self.mode != "auto":
            return 1 if self.mode == "max" else -1
        name = self.monitor.removeprefix("val_")
        if name == "loss" or name.endswith("_loss"):
            return -1
        for metric in getattr(self.model, "metrics", None) or ():
            direction = getattr(metric, "_direction", None)
            if direction and (name == metric.name or name.endswith(f"_{metric.name}")):
                return 1 if direction == "up" else -1
        raise ValueError(
            f"{type(self).__name__}: cannot tell whether {self.monitor!r} should rise or fall; "
            "pass mode='max' or mode='min'"
        )


class EarlyStopping(Monitor):
    """Stops training when the monitored value has not improved for some epochs.

    Parameters
    ----------
    monitor : default "val_loss".
    min_delta : a change smaller than this is no improvement; default 0.
    patience : how many epochs without improvement end training; default 0.
    verbose : 1 prints when it stops; default 0.
    mode : "auto" (default), "min" or "max".
    baseline : patience also runs out while the value is no better than this; default None.
    restore_best_weights : at the end give the model the weights of its best epoch; default False.
    start_from_epoch : epochs before this one, counted from 0, are not looked at; default 0.
    """

    kept_in_backups = ("wait", "stopped_epoch", "best_epoch", "best", "best_weights")

    monitor: str = "val_loss"
    min_delta: float = 0
    patience: int = arg(0, check=non_negative)
    verbose: bool | int = 0
    mode: str = arg("auto", convert=_mode)
    baseline: float | None = None
    restore_best_weights: bool = False
    start_from_epoch: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.on_train_begin()

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self.wait = self.stopped_epoch = self.best_epoch = 0
        self.best = None
        self.best_weights: Any = None

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        value = self.current(logs)
        if value is None or epoch < self.start_from_epoch:
            return
        self.wait += 1
        improved = self.improves(value, self.best)
        if self.restore_best_weights and (improved or self.best_weights is None):
            self.best_weights = self.model.get_weights()
            self.best_epoch = epoch
        if improved:
            self.best, self.best_epoch = value, epoch
            if self.improves(value, self.baseline):
                self.wait = 0
        elif self.wait >= self.patience and epoch > 0:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def on_train_end(self, logs: Logs | None = None) -> None:
        if self.stopped_epoch and self.verbose:
            message(f"Epoch {self.stopped_epoch + 1}: early stopping")
        if self.best_weights is not None:
            if self.verbose:
                message(f"Restoring the weights of epoch {self.best_epoch + 1}, the best one")
            self.model.set_weights(self.best_weights)


class ReduceLROnPlateau(Monitor):
    """Multiplies the learning rate by `factor` when the monitored value has stopped improving.

    Parameters
    ----------
    monitor : default "val_loss".
    factor : below 1; default 0.1.
    patience : how many epochs without improvement make a reduction; default 10.
    verbose : 1 prints each reduction; default 0.
    mode : "auto" (default), "min" or "max".
    min_delta : a change smaller than this is no improvement; default 0.0001.
    cooldown : epochs after a reduction that are not counted; default 0.
    min_lr : the rate goes no lower; default 0.
    """

    kept_in_backups = ("best", "wait", "cooldown_counter")

    monitor: str = "val_loss"
    factor: float = arg(
        0.1, check=lambda value: None if 0 < value < 1 else "must be between 0 and 1"
    )
    patience: int = arg(10, check=non_negative)
    verbose: bool | int = 0
    mode: str = arg("auto", convert=_mode)
    min_delta: float = 0.0001
    cooldown: int = arg(0, check=non_negative)
    min_lr: float = arg(0.0, check=non_negative)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.on_train_begin()

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self.best = None
        self.wait = self.cooldown_counter = 0

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        logs = {} if logs is None else logs
        logs["learning_rate"] = float(self.model.optimizer.learning_rate)
        value = self.current(logs)
        if value is None:
            return
        if self.cooldown_counter:
            self.cooldown_counter -= 1
            self.wait = 0
        if self.improves(value, self.best):
            self.best = value
            self.wait = 0
        elif not self.cooldown_counter:
            self.wait += 1
            if self.wait >= self.patience:
                self._reduce(epoch)

    def _reduce(self, epoch: int) -> None:
        optimizer = self.model.optimizer
        old = float(optimizer.learning_rate)
        if old <= self.min_lr:
            return
        optimizer.learning_rate = max(old * self.factor, self.min_lr)
        self.cooldown_counter = self.cooldown
        self.wait = 0
        if self.verbose:
            new = float(optimizer.learning_rate)
            message(f"Epoch {epoch + 1}: learning rate reduced from {old:.4g} to {new:.4g}")


class ModelCheckpoint(Monitor):
    """Saves the model or its weights while training.

    Parameters
    ----------
    filepath : where to; may contain `{epoch}` (from 1), `{batch}` (from 1) and names of results,
        with formats:
        "best-{epoch:02d}-{val_loss:.3f}.nbcnn". Folders are made.
    monitor : default "val_loss".
    verbose : 1 prints what happens; default 0.
    save_best_only : only when the monitored value is better than ever; default False.
    save_weights_only : `model.save_weights` in place of `model.save`; default False.
    mode : "auto" (default), "min" or "max".
    save_freq : "epoch" (default), or a number of training batches.
    initial_value_threshold : only values better than this count as best; default None.
    """

    kept_in_backups = ("best", "batches_since_saving", "last_batch")

    filepath: str = arg(convert=os.fspath)
    monitor: str = "val_loss"
    verbose: bool | int = 0
    save_best_only: bool = False
    save_weights_only: bool = False
    mode: str = arg("auto", convert=_mode)
    save_freq: str | int = arg(
        "epoch",
        check=lambda value: positive(value) if value != "epoch" else None,
    )
    initial_value_threshold: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        from nbcnn.models import saving

        endings = saving.WEIGHT_FILES if self.save_weights_only else saving.MODELS
        if not self.filepath.endswith(endings):
            raise ValueError(
                f"ModelCheckpoint: filepath must end in {' or '.join(endings)} with "
                f"save_weights_only={self.save_weights_only}, got {self.filepath!r}"
            )
        self.best = self.initial_value_threshold
        self.epoch = self.batches_since_saving = 0
        self.last_batch = -1
        if isinstance(self.save_freq, int):
            self.saving_interval = self.save_freq
            self.on_train_batch_end = self._after_batch  # type: ignore[method-assign]

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self.epoch = epoch
        self.last_batch = -1

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if self.save_freq == "epoch":
            self._save(logs or {}, None)

    def _after_batch(self, batch: int, logs: Logs | None = None) -> None:
        self.batches_since_saving += batch - self.last_batch
        self.last_batch = batch
        if self.batches_since_saving >= self.saving_interval:
            self.batches_since_saving = 0
            self._save(logs or {}, batch)

    def _save(self, logs: Logs, batch: int | None) -> None:
        path = self._path(logs, batch)
        if not self._should_save(logs, path):
            return
        if os.path.isdir(path):
            raise IsADirectoryError(f"ModelCheckpoint: filepath is a folder: {path}")
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        save = self.model.save_weights if self.save_weights_only else self.model.save
        save(path, overwrite=True)

    def _path(self, logs: Logs, batch: int | None) -> str:
        values = dict(logs) if batch is None else {"batch": batch + 1, **logs}
        try:
            return self.filepath.format(**{"epoch": self.epoch + 1, **values})
        except KeyError as error:
            raise KeyError(
                f"ModelCheckpoint: filepath {self.filepath!r} names {error}, which is unknown; "
                f"there is epoch, {', '.join(values)}"
            ) from None

    def _should_save(self, logs: Logs, path: str) -> bool:
        what = f"Epoch {self.epoch + 1}: "
        value = self.current(logs) if self.save_best_only else None
        if value is None:
            what += f"saving to {path}"
            saves = True
        else:
            saves = self.improves(value, self.best) and not math.isnan(value)
            was = "none" if self.best is None else f"{self.best:.5f}"
            if saves:
                self.best = value
                what += f"{self.monitor} improved from {was} to {value:.5f}, saving to {path}"
            else:
                what += f"{self.monitor} did not improve from {was}"
        if self.verbose:
            message(what)
        return saves
