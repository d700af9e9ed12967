"""Keras's old module of sequences; see `nbcnn.utils`."""

from nbcnn.data_sources import pad_sequences

__all__ = ["pad_sequences"]
