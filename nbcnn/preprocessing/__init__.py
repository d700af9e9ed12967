"""Keras's old names for reading pictures and series."""

from nbcnn.data_sources import image_dataset_from_directory, timeseries_dataset_from_array
from nbcnn.preprocessing import image, sequence

__all__ = ["image", "image_dataset_from_directory", "sequence", "timeseries_dataset_from_array"]
