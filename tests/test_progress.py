import io
import itertools

import pytest

from nbcnn import progress
from nbcnn.progress import Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def run(file, verbose, epochs=2, steps=5):
    """Epochs of training steps; gives how often the numbers were asked for."""
    asked = itertools.count()

    def read_logs():
        next(asked)
        return {"loss": 0.5}

    shown = Progress(verbose, epochs, file)
    for epoch in range(epochs):
        shown.begin_epoch(epoch, steps)
        for _ in range(steps):
            shown.update(32, read_logs)
        shown.end_epoch({"loss": 0.25, "accuracy": 0.75, "val_loss": 1e-5})
    shown.close()
    return next(asked)


@pytest.mark.parametrize("verbose", [1, 2, "auto"])
def test_pipe_gets_one_line_an_epoch_without_control_characters(verbose):
    file = io.StringIO()
    assert run(file, verbose) == 0
    first, second = file.getvalue().splitlines()
    assert first.startswith("Epoch 1/2 - ")
    assert second.startswith("Epoch 2/2 - ")
    assert "img/s - loss: 0.2500 - accuracy: 0.7500 - val_loss: 1.0000e-05" in first
    assert all(character == "\n" or character.isprintable() for character in file.getvalue())


def test_silent():
    for file in (io.StringIO(), Terminal()):
        run(file, 0)
        assert file.getvalue() == ""


def test_terminal_gets_a_bar_with_steps_time_left_rate_and_results():
    file = Terminal()
    run(file, 1)
    last = file.getvalue().replace("\n", "").split("\r")[-1]
    assert last.startswith("Epoch 2/2 5/5 |")
    assert "img/s - loss: 0.2500 - accuracy: 0.7500" in last
    assert Progress.drawing is None


def test_bar_asks_for_numbers_only_when_it_draws(monkeypatch):
    now = itertools.count(step=0.1)
    monkeypatch.setattr(progress.time, "perf_counter", lambda: next(now))
    asked = run(Terminal(), 1, epochs=1, steps=100)
    assert 20 <= asked <= 40  # 10 s and more, a few times a second


def test_unknown_number_of_steps():
    file = Terminal()
    shown = Progress(1, 1, file)
    shown.begin_epoch(0, None)
    shown.update(3)
    shown.end_epoch({})
    assert "Epoch 1/1 1 steps, " in file.getvalue()


def test_line_for_evaluation_has_no_epoch():
    file = io.StringIO()
    shown = Progress(1, file=file)
    shown.begin_epoch(0, 2)
    shown.update(10)
    shown.end_epoch({"loss": 2.0}, training_seconds=2.0)
    assert file.getvalue().endswith("s - 5.00 img/s - loss: 2.0000\n")


def test_messages_do_not_break_a_bar(capsys):
    progress.message("plain")
    assert capsys.readouterr().out == "plain\n"
    file = Terminal()
    shown = Progress(1, 1, file)
    shown.begin_epoch(0, 2)
    progress.message("between")
    shown.close()
    assert capsys.readouterr().out == "between\n"


def test_interrupted_run_can_be_closed_twice():
    shown = Progress(1, 1, Terminal())
    shown.begin_epoch(0, 2)
    shown.close()
    shown.close()
    assert Progress.drawing is None


def test_unknown_verbosity_is_refused():
    with pytest.raises(ValueError, match="verbose must be 'auto', 0, 1 or 2, got 3"):
        Progress(3)
