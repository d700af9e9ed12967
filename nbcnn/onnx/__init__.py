"""Networks as ONNX files: `load` makes a trainable model of one, `save` writes a model as one.

Both need the package onnx: `pip install nbcnn[onnx]`.
"""

from typing import Any

from nbcnn.onnx.exporting import save
from nbcnn.onnx.importing import load

__all__ = ["load", "save"]


def __dir__() -> list[Any]:
    return list(__all__)
