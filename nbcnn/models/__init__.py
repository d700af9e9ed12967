"""Models: the functional `Model`, `Sequential`, and their files."""

from nbcnn.models.cloning import clone_model
from nbcnn.models.model import Model
from nbcnn.models.saving import load_model, model_from_json, save_model
from nbcnn.models.sequential import Sequential

__all__ = ["Model", "Sequential", "clone_model", "load_model", "model_from_json", "save_model"]
