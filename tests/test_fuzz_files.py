"""A small run of `fuzz_files.py`; `tests/reports/fuzz.md` and `fuzz_onnx.md` are large ones."""

import fuzz_files
import pytest

import nbcnn


def test_damaged_files_are_refused(tmp_path):
    with nbcnn.device("cpu"):
        counts, _, _ = fuzz_files.run(1000, 7, tmp_path, budget=60)
    assert all(count["refused"] for count in counts.values())


def test_a_reader_that_lets_errors_through_is_found(tmp_path, monkeypatch):
    def broken(*arguments):
        raise KeyError("x")

    monkeypatch.setattr("nbcnn.io.safetensors.Reader._entry", broken)
    with nbcnn.device("cpu"), pytest.raises((AssertionError, KeyError)):
        fuzz_files.run(50, 7, tmp_path)
