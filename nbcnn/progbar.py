"""A progress bar of plain text, and the callback that draws it."""

import sys
import time
from collections.abc import Iterable
from typing import Any

from nbcnn.callback_base import Callback, Logs
from nbcnn.progress import format_logs


class Progbar:
    """Shows how many of so many steps are done, and values.

    Parameters
    ----------
    target : number of steps, None where it is unknown.
    width : characters of the bar; default 20.
    verbose : 0 silent, 1 (default) a bar, 2 a line at the end.
    interval : seconds between two drawings, at least; default 0.05.
    stateful_metrics : names of values that are shown as they are; others are averaged.
    stateless_metrics : names of values that are averaged; others are shown as they are. Not both.
    unit_name : of a step; default "step".

    Examples
    --------
    >>> bar = Progbar(100)
    >>> for i in range(100):
    ...     bar.add(1, [("loss", work())])
    """

    def __init__(
        self,
        target: int | None,
        width: int = 20,
        verbose: int = 1,
        interval: float = 0.05,
        stateful_metrics: Iterable[str] | None = None,
        stateless_metrics: Iterable[str] | None = None,
        unit_name: str = "step",
    ) -> None:
        if stateful_metrics is not None and stateless_metrics is not None:
            raise ValueError("Progbar: give stateful_metrics or stateless_metrics, not both")
        self.target, self.width, self.verbose = target, width, verbose
        self.interval, self.unit_name = interval, unit_name
        self.stateful_metrics = None if stateful_metrics is None else set(stateful_metrics)
        self.stateless_metrics = None if stateless_metrics is None else set(stateless_metrics)
        self._sums: dict[str, tuple[float, float]] = {}  # weighted sum, weight
        self._done, self._drawn, self._length = 0, -float("inf"), 0
        self._start = time.perf_counter()

    def _averages(self, name: str) -> bool:
        if self.stateless_metrics is not None:
            return name in self.stateless_metrics
        return name not in (self.stateful_metrics or ())

    def update(self, current: int, values: Any = None, finalize: bool | None = None) -> None:
        """So many steps are done.

        Parameters
        ----------
        current : steps from the start.
        values : pairs of a name and the value since the last call.
        finalize : whether this is the last call; by default when `target` is reached.
        """
        last = (
            finalize
            if finalize is not None
            else (self.target or -1) <= current and bool(self.target)
        )
        for name, value in values or ():
            steps = max(current - self._done, 1)
            total, weight = self._sums.get(name, (0.0, 0.0))
            if self._averages(name):
                self._sums[name] = total + float(value) * steps, weight + steps
            else:
                self._sums[name] = float(value), 1.0
        self._done = current
        now = time.perf_counter()
        if self.verbose == 1 and (last or now - self._drawn >= self.interval):
            self._drawn = now
            self._draw(now - self._start, last)
        elif self.verbose == 2 and last:
            self._write(self._text(now - self._start) + "\n")

    def add(self, n: int, values: Any = None) -> None:
        """`n` more steps are done; `values` as for `update`."""
        self.update(self._done + n, values)

    def _text(self, seconds: float) -> str:
        total = "Unknown" if self.target is None else str(self.target)
        count = f"{self._done:>{len(total)}}/{total}" if self.target else str(self._done)
        each = seconds / max(self._done, 1)
        pace = f"{seconds:.0f}s {1e3 * each:.0f}ms/{self.unit_name}"
        means = {name: total / max(weight, 1e-12) for name, (total, weight) in self._sums.items()}
        return " - ".join(part for part in (f"{count} {{bar}}{pace}", format_logs(means)) if part)

    def _draw(self, seconds: float, last: bool) -> None:
        bar = ""
        if self.target:
            full = min(self.width, self.width * self._done // self.target)
            bar = f"[{'=' * full}{'.' * (self.width - full)}] "
        line = self._text(seconds).replace("{bar}", bar)
        room = " " * max(0, self._length - len(line))
        self._length = len(line)
        if getattr(sys.stdout, "isatty", lambda: False)():
            self._write(f"\r{line}{room}" + ("\n" if last else ""))
        elif last:
            self._write(line + "\n")

    def _write(self, text: str) -> None:
        sys.stdout.write(text.replace("{bar}", ""))
        sys.stdout.flush()


class ProgbarLogger(Callback):
    """Draws a `Progbar` of each epoch; `fit`, `evaluate` and `predict` then draw no bar of their
    own. It is as silent as their `verbose` says.
    """

    draws_progress = True

    def __post_init__(self) -> None:
        self._bar: Progbar | None = None
        self._fitting = False

    def _begin(self) -> None:
        params = self.params or {}
        verbose = params.get("verbose", 1)
        steps, verbose = params.get("steps"), 1 if verbose == "auto" else int(verbose)
        self._bar = Progbar(steps, verbose=verbose, stateless_metrics=())

    def _update(self, batch: int, logs: Logs | None) -> None:
        if self._bar is not None:
            self._bar.update(batch + 1, (logs or {}).items(), finalize=False)

    def _end(self, logs: Logs | None) -> None:
        if self._bar is not None:
            self._bar.update(self._bar.target or self._bar._done, (logs or {}).items(), True)
        self._bar = None

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._fitting = True

    def on_train_end(self, logs: Logs | None = None) -> None:
        self._fitting = False

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._begin()
        epochs = (self.params or {}).get("epochs") or 1
        if self._bar is not None and self._bar.verbose and epochs > 1:
            sys.stdout.write(f"Epoch {epoch + 1}/{epochs}\n")

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self._end(logs)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self._update(batch, logs)

    def on_test_begin(self, logs: Logs | None = None) -> None:
        if not self._fitting:
            self._begin()

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        if not self._fitting:
            self._update(batch, logs)

    def on_test_end(self, logs: Logs | None = None) -> None:
        if not self._fitting:
            self._end(logs)

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        self._begin()

    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self._update(batch, None)

    def on_predict_end(self, logs: Logs | None = None) -> None:
        self._end(None)
