"""`TensorBoard`: results of training in files that TensorBoard shows."""

import os
import time
from pathlib import Path
from typing import Any

from nbcnn import event_file
from nbcnn.callback_base import Callback, Logs
from nbcnn.declare import Expected, arg, non_negative
from nbcnn.event_file import EventFile


def _frequency(value: Any) -> str | int:
    if value in ("epoch", "batch"):
        return 1 if value == "batch" else "epoch"
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise Expected("must be 'epoch', 'batch' or a positive integer")
    return value


def _none(value: Any) -> Any:
    if value:
        raise Expected("must be 0 or False: it is not supported")
    return value


class TensorBoard(Callback):
    """Writes results for TensorBoard, which reads them with `tensorboard --logdir logs`.

    Results of training go to the folder `train`, those of validation to `validation`: after each
    epoch `epoch_loss` and the like and the learning rate, after batches `batch_loss` and the like,
    after `evaluate` `evaluation_loss_vs_iterations` and the like.

    Parameters
    ----------
    log_dir : the folder; default "logs".
    histogram_freq : write distributions of weights every so many epochs; default 0, never.
    write_graph : accepted for Keras's sake.
    write_steps_per_second : also write how many steps were done in a second; default False.
    update_freq : "epoch" (default), "batch", or write batches' results every so many of them.
    write_images, profile_batch, embeddings_freq, embeddings_metadata : not supported.
    """

    kept_in_backups = ("_batches",)

    log_dir: str = arg("logs", convert=os.fspath)
    histogram_freq: int = arg(0, check=non_negative)
    write_graph: bool = True
    write_images: bool = arg(False, convert=_none)
    write_steps_per_second: bool = False
    update_freq: Any = arg("epoch", convert=_frequency)
    profile_batch: Any = arg(0, convert=_none)
    embeddings_freq: int = arg(0, convert=_none)
    embeddings_metadata: Any = arg(None, convert=_none)

    def __post_init__(self) -> None:
        self._files: dict[str, EventFile] = {}
        self._batches = self._steps_before = 0
        self._epoch_start = self._batch_start = 0.0
        self._training = False

    def _file(self, kind: str) -> EventFile:
        if kind not in self._files:
            self._files[kind] = EventFile(Path(self.log_dir, kind))
        return self._files[kind]

    def _scalars(self, kind: str, values: dict[str, Any], step: int) -> None:
        for tag, value in values.items():
            self._file(kind).add(event_file.scalar(tag, float(value)), step)

    def _close(self) -> None:
        for file in self._files.values():
            file.close()
        self._files.clear()

    def _uses(self, hook: str) -> bool:
        return "batch" not in hook or self.update_freq != "epoch" or self.write_steps_per_second

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._batches, self._training = 0, True

    def on_train_end(self, logs: Logs | None = None) -> None:
        self._training = False
        self._close()

    def on_test_end(self, logs: Logs | None = None) -> None:
        values = {f"evaluation_{name}_vs_iterations": v for name, v in (logs or {}).items()}
        self._scalars("validation", values, self.model.optimizer.iterations)
        if not self._training:
            self._close()

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        self._batches += 1
        self._batch_start = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        if self.write_steps_per_second:
            seconds = max(time.perf_counter() - self._batch_start, 1e-9)
            self._scalars("train", {"batch_steps_per_second": 1.0 / seconds}, self._batches)
        if self.update_freq != "epoch" and self._batches % self.update_freq == 0:
            values = {f"batch_{name}": value for name, value in (logs or {}).items()}
            self._scalars("train", values, self._batches)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._steps_before = self.model.optimizer.iterations
        self._epoch_start = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        logs = logs or {}
        train = {n: v for n, v in logs.items() if not n.startswith("val_")}
        train.update(_rates(self.model.optimizer))
        if self.write_steps_per_second:
            seconds = max(time.perf_counter() - self._epoch_start, 1e-9)
            steps = self.model.optimizer.iterations - self._steps_before
            train["steps_per_second"] = steps / seconds
        self._scalars("train", {f"epoch_{name}": value for name, value in train.items()}, epoch)
        validation = {n.removeprefix("val_"): v for n, v in logs.items() if n.startswith("val_")}
        values = {f"epoch_{name}": value for name, value in validation.items()}
        self._scalars("validation", values, epoch)
        if self.histogram_freq and epoch % self.histogram_freq == 0:
            for weight in self.model.weights:
                summary = event_file.histogram(f"{weight.path}/histogram", weight.numpy())
                self._file("train").add(summary, epoch)
        for file in self._files.values():
            file.flush()


def _rates(optimizer: Any) -> dict[str, float]:
    """The learning rate, or those of several optimizers by their names."""
    if hasattr(optimizer, "optimizers"):
        return {f"learning_rate_{o.name}": float(o.learning_rate) for o in optimizer.optimizers}
    return {"learning_rate": float(optimizer.learning_rate)}
