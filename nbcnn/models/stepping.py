"""Single steps, and `predict`: the part of a model's training side that needs no epochs."""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from nbcnn import config, keras_settings
from nbcnn.callback_base import CallbackList
from nbcnn.models import checks
from nbcnn.models.compile import Compiling
from nbcnn.models.data import ArraySource, Batch, Source, StreamSource, is_stream, whole_batch
from nbcnn.models.hooks import CompiledMetrics
from nbcnn.models.outputs import Growing, Outputs, Pieces, Whole
from nbcnn.models.own_data import OwnPreparer, OwnStream
from nbcnn.models.prepare import Preparer, Specs
from nbcnn.models.signature import Signature
from nbcnn.progress import Progress

Logs = dict[str, float]


class Stepping(Compiling):
    """What `Trainer` builds on; see `Model`."""

    _own_outputs: Signature | None  # of `predict_step`
    _input_signature_for: Callable[..., Signature]
    _output_signature_for: Callable[..., Signature]

    @property
    def compiled(self) -> bool:
        """Whether `compile` was called."""
        return self._compile_arguments is not None

    def reset_metrics(self) -> None:
        """The running means of loss and metrics start again."""
        for mode in ("train", "test"):
            self._runners.reset(mode)
        if self._compiled is not None:
            self._compiled.reset()
        for metric in self.metrics:
            metric.reset_state()

    def _reset_means(self, mode: str) -> None:
        if self._has_own_step(mode):
            self.reset_metrics()
            return
        self._runners.reset(mode)
        if self._compiled is not None:
            self._compiled.reset()

    def _logs_so_far(self, mode: str) -> Logs:
        if self._has_own_step(mode):
            return self._runners.results(mode)
        assert self._compiled is not None
        return self._compiled.finished(self._runners.results(mode))

    def _in_order(self, logs: Logs, mode: str) -> Any:
        """The values of logs, a single one alone; those of steps of one's own come as the metrics
        do, then others.
        """
        if not self._has_own_step(mode):
            assert self._compiled is not None
            return self._compiled.in_order(logs)
        names: list[str] = []
        for metric in self.metrics:
            if isinstance(metric, CompiledMetrics):
                names += [part.name for part in metric.metrics]
            else:
                names.append(metric.name)
        known = {name: logs[name] for name in names if name in logs}
        values = [*known.values(), *(logs[name] for name in logs if name not in known)]
        return values[0] if len(values) == 1 else values

    # -- one batch ------------------------------------------------------------------------------

    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: Mapping[int, float] | None = None,
        return_dict: bool = False,
    ) -> Any:
        """One training step on a batch; arguments as for `fit`.

        Returns loss and metrics of this batch, with `return_dict` as a dictionary, as `evaluate`.
        """
        self._check_compiled("train_on_batch")
        prepare = self._preparer("train_on_batch", "train", class_weight)
        return self._on_batch("train", prepare, (x, y, sample_weight), return_dict)

    def test_on_batch(
        self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False
    ) -> Any:
        """Loss and metrics of one batch, as `train_on_batch`; `return_dict` gives a dictionary."""
        self._check_compiled("test_on_batch")
        prepare = self._preparer("test_on_batch", "test")
        return self._on_batch("test", prepare, (x, y, sample_weight), return_dict)

    def _preparer(self, where: str, mode: str, class_weight: Any = None) -> Any:
        """What checks data for steps of a mode."""
        if self._has_own_step(mode):
            return OwnPreparer(where, self, class_weight)
        supervised = mode != "predict"
        return Preparer(where, self, supervised, class_weight)

    def _on_batch(self, mode: str, prepare: Any, data: tuple, return_dict: bool) -> Any:
        return_dict = bool(return_dict)  # an array has no truth: no step is taken then
        batch = whole_batch(prepare(*data))
        with self._runners.lock:
            runner = self._runners.get(mode, batch.specs)
            self._reset_means(mode)
            try:
                batch.load(runner)
                runner.run()
            finally:
                runner.release()
            logs = self._logs_so_far(mode)
        return logs if return_dict else self._in_order(logs, mode)

    def predict_on_batch(self, x: Any, on_device: bool = False) -> Any:
        """The outputs for one batch x, as arrays nested like the model's outputs; `on_device` as
        for `predict`.
        """
        batch = whole_batch(self._preparer("predict_on_batch", "predict")(x))
        with self._runners.lock:
            runner = self._runners.get("predict", batch.specs)
            try:
                outputs = _predicted(
                    runner, batch, Outputs(self._home_of_outputs(on_device)).new(runner)
                )
            finally:
                runner.release()
        return self._latest_signature.pack(outputs)

    # -- predict --------------------------------------------------------------------------------

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        steps: int | None = None,
        callbacks: Any = None,
        on_device: bool = False,
    ) -> Any:
        """The outputs for all samples.

        Parameters
        ----------
        x : inputs as for `fit`, or batches of them; targets beside them are not looked at.
        batch_size : samples per step; default 32.
        verbose : 0 silent, 1 or "auto" a progress bar, 2 a line.
        steps : how many batches to take; by default all.
        callbacks : callbacks.
        on_device : leave the outputs where they are computed. On a GPU they are objects with
            `__cuda_array_interface__`, which CuPy, PyTorch and Numba take without a copy; on the
            CPU NumPy arrays as ever.

        Returns
        -------
        Arrays (samples, ...), nested like the model's outputs.
        """
        limit = limit_or_none("predict", "steps", steps)
        size = batch_size_or_default("predict", batch_size)
        progress = Progress(verbose)
        prepare = self._preparer("predict", "predict")
        source: Source
        if is_stream(x) and self._has_own_step("predict"):
            source = OwnStream(x, prepare)
        elif is_stream(x):
            source = StreamSource(x, lambda x, y, w: prepare(x))
        else:
            source = ArraySource(prepare(x), size)
        limit = within_limit(limit, source)
        if not isinstance(callbacks, CallbackList):
            steps_known, verbose = limit or source.steps, progress.verbose
            callbacks = CallbackList(callbacks, model=self, steps=steps_known, verbose=verbose)
        progress.hide_if(callbacks.draw_progress)
        try:
            callbacks.on_predict_begin()
            progress.begin_epoch(steps=limit or source.steps)
            results = self._results_of(source, limit, self._home_of_outputs(on_device))
            outputs = self._predict_all(source, limit, results, callbacks, progress)
            progress.end_epoch({})
            callbacks.on_predict_end()
        finally:
            progress.close()
        return self._latest_signature.pack(outputs)

    def _predict_all(
        self,
        source: Source,
        limit: int | None,
        results: Growing,
        callbacks: CallbackList,
        progress: Progress,
    ) -> list[Any]:
        """Flat outputs."""
        used: dict[Any, Any] = {}
        try:
            step = -1
            for step, batch in enumerate(source.batches(limit, anew=True)):
                callbacks.on_predict_batch_begin(step)
                with self._runners.lock:
                    runner = used[batch.specs] = self._runners.renewed(
                        used.get(batch.specs), "predict", batch.specs
                    )
                    outputs = _predicted(runner, batch, results.next(runner))
                callbacks.on_predict_batch_end(step, {"outputs": outputs})
                progress.update(batch.size)
        finally:
            self._runners.release(used.values())
        if step < 0:
            raise ValueError("predict: x yields no batches")
        warn_of_fewer("predict", step + 1, limit)
        return results.whole()

    def _home_of_outputs(self, on_device: bool) -> Any:
        """The device that outputs stay on, None for the host."""
        return self._runners.device if on_device else None

    @staticmethod
    def _results_of(source: Source, limit: int | None, home: Any) -> Growing:
        """Outputs go into arrays of the final size where that is known before."""
        if isinstance(source, ArraySource) and not limit:
            return Whole(home, source.samples)
        return Pieces(home)

    @property
    def _latest_signature(self) -> Signature:
        if self._own_outputs is not None:
            return self._own_outputs
        return self._output_signature_for(None, None)

    # -- plans ----------------------------------------------------------------------------------

    def plan(self, batch: int = 32, training: bool = True) -> Any:
        """The plan of a training step on `batch` samples, or of a prediction; `.show()` prints it.

        A model without `compile` has plans for prediction only.

        Parameters
        ----------
        batch : samples; default 32.
        training : default True.
        """
        return self._example_step(batch, training).plan

    def _example_step(self, batch: int, training: bool) -> Any:
        """The step of `plan`, on data that looks as the model's inputs and losses say."""
        size = checks.whole_number("plan", "batch", batch, 1)
        with self._as_example("plan", training) as specs:
            return self._runners.get("train" if training else "predict", specs.of(size))

    @contextmanager
    def _as_example(self, where: str, training: bool) -> Iterator[Specs]:
        """Specs of one sample that looks as the model's inputs and losses say."""
        inputs = self._input_signature_for(None)
        for slot, shape in zip(inputs.slots, inputs.example):
            if None in shape[1:]:
                raise ValueError(f"{where}: input {slot.name!r} has no fixed shape: {shape}")
        if training and self._has_own_step("train"):
            raise ValueError(f"{where}: what data train_step takes is not known before fit")
        x = [
            np.empty((1, *(n or 1 for n in shape[1:])), slot.dtype)
            for slot, shape in zip(inputs.slots, inputs.example)
        ]
        if not training:
            yield Preparer(where, self, supervised=False)(inputs.pack(x)).specs(1)
            return
        self._check_compiled(where)
        y = self._example_targets(1)
        unknown = self._compiled is None
        yield Preparer(where, self)(inputs.pack(x), self._latest_signature.pack(y)).specs(1)
        if unknown:  # what targets look like is for the first data to say
            self._compiled = None
            self._runners.forget()

    def _example_targets(self, size: int) -> list[np.ndarray | None]:
        """Targets as the losses usually take them, all zero."""
        assert self._compile_arguments is not None
        wanted = self._compile_arguments.losses_of(self._latest_signature.slots)
        targets: list[np.ndarray | None] = []
        for loss, slot in zip(wanted, self._latest_signature.slots):
            shape = (size, *(n or 1 for n in slot.shape[1:]))
            if loss is None:
                targets.append(None)
            elif checks.formula_of(loss) in checks.SPARSE:
                targets.append(np.zeros(shape[:-1], np.int32))
            else:
                targets.append(np.zeros(shape, config.floatx()))
        return targets


def _predicted(runner: Any, batch: Batch, targets: list[Any]) -> list[Any]:
    batch.load(runner)
    runner.run_into(targets)
    return targets


def batch_size_or_default(where: str, value: Any, name: str = "batch_size") -> int:
    return 32 if value is None else checks.whole_number(where, name, value, 1)


def limit_or_none(where: str, name: str, value: Any) -> int | None:
    return None if value is None else checks.whole_number(where, name, value, 1)


def within_limit(limit: int | None, source: Source) -> int | None:
    """How many batches to take at most, which `set_max_steps_per_epoch` may make fewer."""
    most = keras_settings.max_steps_per_epoch()
    fewer = any(steps and most is not None and steps <= most for steps in (limit, source.steps))
    return limit if most is None or fewer else most


def warn_of_fewer(where: str, steps: int, limit: int | None) -> None:
    """Warn where there were no batches, or fewer than asked for."""
    if steps < (limit or 1):
        wanted = "" if limit is None else f" of {limit}"
        warnings.warn(f"{where}: the data ran out after {steps}{wanted} batches", stacklevel=4)
