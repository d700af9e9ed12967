"""What `fit`, `evaluate` and `predict` print: a tqdm bar in a terminal or notebook, plain lines
elsewhere.

The numbers are asked for only when something is drawn, a few times a second, so that they can stay
on the device between. Where output is no terminal (a pipe, a file) there are no control characters:
one line an epoch.
"""

import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, TextIO

from nbcnn import keras_settings

Logs = Mapping[str, float]
SECONDS_BETWEEN_DRAWS = 0.25
BAR_FORMAT = "{desc} {n_fmt}/{total_fmt} |{bar:20}| {elapsed}<{remaining}{postfix}"
BAR_FORMAT_WITHOUT_TOTAL = "{desc} {n_fmt} steps, {elapsed}{postfix}"


def message(text: str) -> None:
    """Prints a line without breaking a bar that is being drawn."""
    if Progress.drawing is not None:
        Progress.drawing.write(text, file=sys.stdout)
    else:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()


def format_logs(logs: Logs) -> str:
    """`loss: 0.1234 - accuracy: 0.9876`; small numbers in scientific notation, of several the
    mean.
    """
    return " - ".join(f"{name}: {_format(value)}" for name, value in logs.items())


def _format(value: Any) -> str:
    try:
        number = float(value.mean() if getattr(value, "ndim", 0) else value)
    except (TypeError, ValueError):
        return str(value)
    return f"{number:.4f}" if abs(number) > 1e-3 or number == 0 else f"{number:.4e}"


def format_rate(samples: int, seconds: float) -> str:
    """`12345 img/s`."""
    rate = samples / max(seconds, 1e-9)
    return f"{rate:.0f} img/s" if rate >= 10 else f"{rate:.2f} img/s"


def in_notebook() -> bool:
    """Whether this runs in a Jupyter kernel."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return type(shell).__name__ == "ZMQInteractiveShell"


class Progress:
    """Shows one run of `fit`, `evaluate` or `predict`.

    Call `begin_epoch`, then `update` after each step, then `end_epoch`; and `close` whatever
    happens.

    Parameters
    ----------
    verbose : 0 silent, 1 or "auto" a bar, 2 one line an epoch.
    epochs : how many epochs there will be; None for a run that has none (`evaluate`).
    file : where to write; standard output by default.
    """

    drawing: Any = None  # the tqdm bar on the screen, whoever drew it

    def __init__(
        self, verbose: int | str = 1, epochs: int | None = None, file: TextIO | None = None
    ) -> None:
        if not isinstance(verbose, (int, str)) or verbose not in (0, 1, 2, "auto"):
            raise ValueError(f"verbose must be 'auto', 0, 1 or 2, got {verbose!r}")
        self.verbose = 1 if verbose == "auto" else int(verbose)
        self.epochs = epochs
        self.file = file or sys.stdout
        terminal = getattr(self.file, "isatty", lambda: False)()
        bars = keras_settings.is_interactive_logging_enabled()
        self.has_bar = bars and self.verbose == 1 and (terminal or in_notebook())
        self.bar: Any = None
        self.steps_done = self.samples = 0
        self.started = self.drawn = 0.0
        self.title = ""

    def hide_if(self, others_draw: bool) -> None:
        """Show nothing where a callback does."""
        if others_draw:
            self.verbose, self.has_bar = 0, False

    def begin_epoch(self, epoch: int = 0, steps: int | None = None, title: str = "") -> None:
        """Starts a bar.

        Parameters
        ----------
        epoch : its number from 0.
        steps : how many there will be, or None where that is unknown.
        title : in place of "Epoch 1/5".
        """
        self.close()
        self.title = title or (f"Epoch {epoch + 1}/{self.epochs}" if self.epochs else "")
        self.steps_done = self.samples = 0
        self.started = self.drawn = time.perf_counter()
        if self.has_bar:
            self.bar = _new_bar(self.title, steps, self.file)
            Progress.drawing = self.bar

    def update(self, samples: int, read_logs: Callable[[], Logs] = dict) -> None:
        """Counts one step of `samples` samples; `read_logs()` is called only if the bar is drawn
        now.
        """
        self.steps_done += 1
        self.samples += samples
        if self.bar is not None:
            now = time.perf_counter()
            if now - self.drawn >= SECONDS_BETWEEN_DRAWS:
                self.drawn = now
                self._draw(read_logs(), now - self.started)

    def end_epoch(self, logs: Logs, training_seconds: float | None = None) -> None:
        """Shows the epoch's final numbers.

        Parameters
        ----------
        logs : names and values in the order to be shown.
        training_seconds : what img/s refers to; by default the time since `begin_epoch`.
        """
        seconds = time.perf_counter() - self.started
        if self.bar is not None:
            self._draw(logs, training_seconds or seconds)
            self.close()
        elif self.verbose:
            rate = format_rate(self.samples, training_seconds or seconds)
            parts = [self.title, f"{seconds:.1f}s", rate, format_logs(logs)]
            self.file.write(" - ".join(part for part in parts if part) + "\n")
            self.file.flush()

    def _draw(self, logs: Logs, seconds: float) -> None:
        rate = format_rate(self.samples, seconds)
        self.bar.n = self.steps_done
        self.bar.set_postfix_str(" - ".join(filter(None, (rate, format_logs(logs)))), refresh=False)
        self.bar.refresh()

    def close(self) -> None:
        """Ends the bar, leaving its last state on the screen."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None
            Progress.drawing = None


def _new_bar(title: str, steps: int | None, file: TextIO) -> Any:
    if in_notebook():
        from tqdm.auto import tqdm
    else:
        from tqdm import tqdm
    options = {} if in_notebook() else {"file": file, "dynamic_ncols": True}
    tqdm.monitor_interval = 0  # bars are drawn from `update` alone: no watching thread
    return tqdm(
        total=steps,
        desc=title,
        bar_format=BAR_FORMAT_WITHOUT_TOTAL if steps is None else BAR_FORMAT,
        leave=True,
        **options,
    )
