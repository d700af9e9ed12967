"""Files and configurations, under Keras's names."""

from nbcnn.io.files import FormatError
from nbcnn.models.file_editor import KerasFileEditor
from nbcnn.models.saving import load_model, load_weights, save_model, save_weights
from nbcnn.registry import (
    CustomObjectScope,
    get_custom_objects,
    get_registered_name,
    get_registered_object,
    register_keras_serializable,
)
from nbcnn.registry import deserialize as deserialize_keras_object
from nbcnn.registry import serialize as serialize_keras_object

custom_object_scope = CustomObjectScope

__all__ = [
    "CustomObjectScope",
    "FormatError",
    "KerasFileEditor",
    "custom_object_scope",
    "deserialize_keras_object",
    "get_custom_objects",
    "get_registered_name",
    "get_registered_object",
    "load_model",
    "load_weights",
    "register_keras_serializable",
    "save_model",
    "save_weights",
    "serialize_keras_object",
]
