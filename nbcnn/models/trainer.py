"""`fit` and `evaluate`, with which the training side of a model is whole."""

import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from nbcnn import keras_settings
from nbcnn.callback_base import CallbackList, History
from nbcnn.models import checks
from nbcnn.models.data import ArraySource, Batch, Source, StreamSource, is_stream
from nbcnn.models.own_data import OwnPreparer, OwnStream
from nbcnn.models.prepare import Preparer
from nbcnn.models.resuming import Training
from nbcnn.models.stepping import (
    Logs,
    Stepping,
    batch_size_or_default,
    limit_or_none,
    warn_of_fewer,
    within_limit,
)
from nbcnn.progress import Progress
from nbcnn.utils import unpack_x_y_sample_weight


class Trainer(Stepping):
    """The training side of a model; see `Model`."""

    stop_training: bool
    _first_epoch: int
    _fit_in_progress: Training | None = None  # the `fit` that runs
    history: History | None

    # -- fit ------------------------------------------------------------------------------------

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: int | str = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool | str = True,
        class_weight: Mapping[int, float] | None = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: Any = 1,
    ) -> History:
        """Train.

        Parameters
        ----------
        x : inputs: an array (samples, ...), or with several inputs a list in order or a dictionary
            by name; or batches of (x, y) or (x, y, sample_weight): a generator, a `PyDataset`, or
            another iterable.
        y : targets, likewise; not given where x gives batches.
        batch_size : samples per step; default 32.
        epochs : the number of the last epoch to run; default 1.
        verbose : 0 silent, 1 or "auto" a progress bar, 2 a line an epoch.
        callbacks : callbacks, or a `CallbackList`.
        validation_split : this share of the samples, the last ones before shuffling, is not trained
            on but evaluated after each epoch; from 0 to below 1.
        validation_data : evaluated after each epoch: (x, y), (x, y, sample_weight), or batches.
        shuffle : a new order of samples in each epoch (default), or with "batch" of batches.
        class_weight : factors of the loss by class number.
        sample_weight : factors of the loss by sample, shape (samples,), or by pixel or step where
            outputs have such: the output's shape without its last axis.
        initial_epoch : the epoch to begin with; default 0.
        steps_per_epoch : batches in an epoch; by default all that the data gives.
        validation_steps, validation_batch_size : likewise for the validation.
        validation_freq : validate every so many epochs, or after the epochs listed, counted from 1.

        Returns
        -------
        History, whose `history` maps names to a list of values by epoch.

        Raises
        ------
        ValueError, TypeError
            For data that does not fit the model, before any weight changes. Whatever ends training
            early, an error or Ctrl-C, leaves the weights as after the last whole step.
        """
        self._check_compiled("fit")
        epochs = checks.whole_number("fit", "epochs", epochs, 0)
        most = keras_settings.max_epochs()
        epochs = epochs if most is None else min(epochs, most)
        initial_epoch = checks.whole_number("fit", "initial_epoch", initial_epoch, 0)
        share = checks.fraction("fit", "validation_split", validation_split)
        limit = limit_or_none("fit", "steps_per_epoch", steps_per_epoch)
        if not isinstance(shuffle, (int, str)) or shuffle not in (True, False, "batch"):
            raise ValueError(f"fit: shuffle must be True, False or 'batch', got {shuffle!r}")
        size = batch_size_or_default("fit", batch_size)
        validation = Validation(
            size
            if validation_batch_size is None
            else batch_size_or_default("fit", validation_batch_size, "validation_batch_size"),
            limit_or_none("fit", "validation_steps", validation_steps),
            _validation_epochs(validation_freq),
        )
        progress = Progress(verbose, epochs)
        source = self._data_source(
            "fit", "train", x, y, sample_weight, size, shuffle, class_weight, share
        )
        if validation_data is not None:
            validation.source = self._validation_source(validation_data, validation.batch_size)
        elif isinstance(source, ArraySource) and share:
            # Prepared anew: class_weight is for training, and one step alone may be overridden.
            whole = self._data_source("fit", "test", x, y, sample_weight, size)
            assert isinstance(whole, ArraySource)
            source, _ = source.split("fit", share, validation.batch_size)
            _, validation.source = whole.split("fit", share, validation.batch_size)
        limit = within_limit(limit, source)
        self._runners.warn_of_freezing("fit")
        if validation.source is not None:
            validation.limit = within_limit(validation.limit, validation.source)
        if not isinstance(callbacks, CallbackList):
            steps = limit or source.steps
            callbacks = CallbackList(
                callbacks, True, self, epochs=epochs, steps=steps, verbose=progress.verbose
            )
        progress.hide_if(callbacks.draw_progress)
        self.stop_training = False
        try:
            numbers = range(initial_epoch, epochs)
            self._fit_epochs(numbers, source, limit, validation, callbacks, progress)
        finally:
            self._fit_in_progress = None  # it holds the user's arrays
            progress.close()
        assert self.history is not None
        return self.history

    def _fit_epochs(
        self,
        epochs: range,
        source: Source,
        limit: int | None,
        validation: "Validation",
        callbacks: CallbackList,
        progress: Progress,
    ) -> None:
        self._first_epoch = epochs.start
        training = self._fit_in_progress = Training(
            source, validation.source, limit, callbacks.callbacks
        )
        callbacks.on_train_begin()  # which may set the first epoch, and say that it is resumed
        training.go_on()
        logs: Logs = {}
        for epoch in range(self._first_epoch, epochs.stop):
            callbacks.on_epoch_begin(epoch)
            progress.begin_epoch(epoch, limit or source.steps)
            start = time.perf_counter()
            left = limit and limit - training.done
            steps = self._run_batches("train", source.batches(left), callbacks, progress, training)
            if not steps or (limit and steps < limit and not self.stop_training):
                self._ran_out(epoch, steps, limit)
            logs = self._logs_so_far("train") if steps else {}
            seconds = time.perf_counter() - start
            if steps and validation.source is not None and validation.due(epoch):
                logs.update(
                    self._validate_after_epoch(validation.source, validation.limit, callbacks)
                )
            progress.end_epoch(logs, seconds)
            callbacks.on_epoch_end(epoch, logs)
            if self.stop_training:
                break
        if epochs and self.optimizer is not None:
            self.optimizer.finalize_variable_values(self._runners.trained)
        callbacks.on_train_end(logs)

    def _ran_out(self, epoch: int, steps: int, limit: int | None) -> None:
        wanted = "" if limit is None else f" of {limit}"
        text = f"fit: the data ran out after {steps}{wanted} batches of epoch {epoch + 1}; "
        if epoch == 0 and steps == 0:
            raise ValueError("fit: x yields no batches")
        warnings.warn(text + "training ends", stacklevel=4)
        self.stop_training = True

    def _validate_after_epoch(
        self, source: Source, limit: int | None, callbacks: CallbackList
    ) -> Logs:
        """Results by name; none, with a warning, once a generator has nothing left."""
        callbacks.on_test_begin()
        steps = self._run_batches("test", source.batches(limit, anew=True), callbacks)
        warn_of_fewer("fit (validation_data)", steps, limit)
        logs = self._logs_so_far("test") if steps else {}
        callbacks.on_test_end(logs)
        return {f"val_{name}": value for name, value in logs.items()}

    def _run_batches(
        self,
        mode: str,
        batches: Iterator[Batch],
        callbacks: CallbackList,
        progress: Progress | None = None,
        training: Training | None = None,
    ) -> int:
        """Train or test on batches; returns how many there were, those before a resumption too."""
        self._reset_means(mode)
        steps = 0 if training is None else training.restore_sums(self)
        begin = getattr(callbacks, f"on_{mode}_batch_begin")
        end = getattr(callbacks, f"on_{mode}_batch_end")
        wants_logs = callbacks.wants(f"on_{mode}_batch_end")
        runners: dict[Any, Any] = {}
        try:
            for batch in batches:
                begin(steps)
                with self._runners.lock:
                    runner = runners[batch.specs] = self._runners.renewed(
                        runners.get(batch.specs), mode, batch.specs
                    )
                    batch.load(runner)
                    runner.run()
                end(steps, self._logs_so_far(mode) if wants_logs else None)
                steps += 1
                if progress is not None:
                    progress.update(batch.size, lambda: self._logs_so_far(mode))
                if mode == "train" and self.stop_training:
                    break
        finally:
            self._runners.release(runners.values())
        return steps

    def _data_source(
        self,
        where: str,
        mode: str,
        x: Any,
        y: Any,
        sample_weight: Any,
        batch_size: int,
        shuffle: bool | str = False,
        class_weight: Any = None,
        split: float = 0.0,
    ) -> Source:
        """Data for training or evaluation, checked as far as it is there."""
        own = self._has_own_step(mode)
        prepare: Any = (OwnPreparer if own else Preparer)(where, self, class_weight=class_weight)
        if not is_stream(x):
            return ArraySource(prepare(x, y, sample_weight), batch_size, shuffle)
        apart = {"y": y, "sample_weight": sample_weight, "validation_split": split or None}
        for name, value in apart.items():
            if value is not None:
                raise ValueError(f"{where}: {name} cannot be given where x gives batches")
        source = (OwnStream if own else StreamSource)(x, prepare, shuffle)
        source.peek()
        return source

    def _validation_source(self, data: Any, batch_size: int) -> Source:
        where = "fit (validation_data)"
        if is_stream(data):
            return self._data_source(where, "test", data, None, None, batch_size)
        if not isinstance(data, (tuple, list)) or not 1 <= len(data) <= 3:
            kind = type(data).__name__
            raise ValueError(f"{where}: expected (x, y) or (x, y, sample_weight), got {kind}")
        x, y, sample_weight = unpack_x_y_sample_weight(data)
        return self._data_source(where, "test", x, y, sample_weight, batch_size)

    # -- evaluate -------------------------------------------------------------------------------

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Any = None,
        return_dict: bool = False,
    ) -> Any:
        """Loss and metrics on data, of `steps` batches where given; arguments as for `fit`.

        Returns
        -------
        A number where there is only a loss, else a list in the order of `metrics_names`; with
        `return_dict` a dictionary.
        """
        self._check_compiled("evaluate")
        limit = limit_or_none("evaluate", "steps", steps)
        progress = Progress(verbose)
        size = batch_size_or_default("evaluate", batch_size)
        source = self._data_source("evaluate", "test", x, y, sample_weight, size)
        limit = within_limit(limit, source)
        if not isinstance(callbacks, CallbackList):
            steps_known, verbose = limit or source.steps, progress.verbose
            callbacks = CallbackList(callbacks, model=self, steps=steps_known, verbose=verbose)
        progress.hide_if(callbacks.draw_progress)
        try:
            callbacks.on_test_begin()
            progress.begin_epoch(steps=limit or source.steps)
            done = self._run_batches("test", source.batches(limit, anew=True), callbacks, progress)
            if not done:
                raise ValueError("evaluate: x yields no batches")
            warn_of_fewer("evaluate", done, limit)
            logs = self._logs_so_far("test")
            progress.end_epoch(logs)
            callbacks.on_test_end(logs)
        finally:
            progress.close()
        return logs if return_dict else self._in_order(logs, "test")


class Validation:
    """When `fit` validates, and on what."""

    def __init__(self, batch_size: int, limit: int | None, due: Callable[[int], bool]) -> None:
        self.batch_size, self.limit, self.due = batch_size, limit, due
        self.source: Source | None = None


def _validation_epochs(value: Any) -> Callable[[int], bool]:
    """Whether to validate after an epoch, counted from 0, by `validation_freq`."""
    if isinstance(value, (list, tuple, set, range)):
        return lambda epoch: epoch + 1 in value
    every = checks.whole_number("fit", "validation_freq", value, 1)
    return lambda epoch: (epoch + 1) % every == 0
