"""Callbacks that exchange a model's weights, or keep all that training has come to in a file."""

import os
from pathlib import Path
from typing import Any

from nbcnn.callback_base import Callback, Logs
from nbcnn.declare import Expected, arg


class SwapEMAWeights(Callback):
    """Evaluates and predicts with the moving averages of weights, which an optimizer keeps with
    `use_ema=True`.

    Before, weights and averages change places; afterwards they change back.

    Parameters
    ----------
    swap_on_epoch : also between the end of an epoch and the start of the next, so that callbacks
        that come after this one, such as `ModelCheckpoint`, find the averages; default False.
    """

    kept_in_backups = ("_swapped",)

    swap_on_epoch: bool = False

    def __post_init__(self) -> None:
        self._swapped = False

    def _store(self) -> Any:
        store = self.model._runners.filled_store
        if store is None or not store.averaged():
            raise ValueError(
                "SwapEMAWeights: there are no moving averages; give the optimizer use_ema=True "
                "and train first"
            )
        return store

    def _set(self, swapped: bool) -> None:
        if swapped != self._swapped:
            self._store().swap_averages()
            self._swapped = swapped

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        if self.swap_on_epoch:
            self._set(False)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if self.swap_on_epoch:
            self._set(True)
            if epoch == self.params["epochs"] - 1 or self.model.stop_training:
                self._store().keep_as_averages()  # `fit` ends by taking them as weights
                self._swapped = False

    def on_test_begin(self, logs: Logs | None = None) -> None:
        self._set(True)

    def on_test_end(self, logs: Logs | None = None) -> None:
        self._set(False)

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        self._set(True)

    def on_predict_end(self, logs: Logs | None = None) -> None:
        self._set(False)


def _folder(value: Any) -> str:
    if not value:
        raise Expected("must be a folder")
    return os.fspath(value)


def _frequency(value: Any) -> Any:
    whole = isinstance(value, int) and not isinstance(value, bool) and value > 0
    if value != "epoch" and value is not False and not whole:
        raise Expected("must be 'epoch', False or a positive integer")
    return value


class BackupAndRestore(Callback):
    """Lets training that was interrupted go on at the next `fit` with the same arguments.

    One file holds weights, the states of optimizer, metrics, callbacks and random generators, and
    how far training is; it is replaced in one step, after all other callbacks have ended a batch or
    an epoch. `fit` with a callback for the same folder goes on from there, within an epoch too, and
    comes to the same weights, bit for bit, as if it had not been interrupted. A `fit` that ends
    removes the file. Callbacks of one's own start again, but for attributes (numbers) that they
    name in `kept_in_backups`. A generator has to give its data again from the start.

    Parameters
    ----------
    backup_dir : the folder, which is made; for one training run.
    save_freq : "epoch" (default): after each; after so many batches; or False, never.
    double_checkpoint : also keep the file before, for the case that the newest is damaged; default
        False.
    delete_checkpoint : default True; False leaves the file when training ends.
    """

    ends_last = True

    backup_dir: str = arg(convert=_folder)
    save_freq: Any = arg("epoch", convert=_frequency)
    double_checkpoint: bool = False
    delete_checkpoint: bool = True

    def __post_init__(self) -> None:
        self._epoch = self._step = self._batches = 0

    def _uses(self, hook: str) -> bool:
        return "batch" not in hook or self.save_freq not in ("epoch", False)

    @property
    def _files(self) -> tuple[Path, Path]:
        """The newest, and the one before."""
        folder = Path(self.backup_dir)
        return folder / "latest.backup", folder / "previous.backup"

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._batches = 0
        for path in Path(self.backup_dir).glob(".latest.backup.*.tmp"):
            path.unlink(missing_ok=True)  # half of a file: what wrote it was killed
        found = [path for path in self._files if path.exists()]
        for i, path in enumerate(found):
            try:
                self._epoch = self._restored(path)
                self.model._first_epoch = self._epoch
                return
            except ValueError:
                if i == len(found) - 1:
                    raise

    def _restored(self, path: Path) -> int:
        from nbcnn.models import backup

        return backup.read(self.model, path)

    def _save(self) -> None:
        from nbcnn.models import backup

        latest, previous = self._files
        latest.parent.mkdir(parents=True, exist_ok=True)
        if self.double_checkpoint and latest.exists():
            os.replace(latest, previous)
        backup.write(self.model, latest, self._epoch, self._step)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._epoch, self._step = epoch, 0

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self._epoch, self._step = epoch + 1, 0
        if self.save_freq == "epoch":
            self._save()

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self._batches, self._step = self._batches + 1, batch + 1
        if self.save_freq not in ("epoch", False) and self._batches % self.save_freq == 0:
            self._save()

    def on_train_end(self, logs: Logs | None = None) -> None:
        if not self.delete_checkpoint:
            return
        for path in self._files:
            path.unlink(missing_ok=True)
        folder = Path(self.backup_dir)
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
