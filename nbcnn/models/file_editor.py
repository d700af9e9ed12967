"""Looking into files of weights, and changing what they hold, without the model."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nbcnn.io import hdf5_write, zips
from nbcnn.io.files import replacing
from nbcnn.models import keras_files, keras_tree
from nbcnn.progress import message

VARIABLES = "vars"
Tree = dict[str, Any]


class KerasFileEditor:
    """The contents of a `.keras` or `.weights.h5` file, to look at, change and write again.

    Objects are layers and the optimizer, named by their place, "layers/dense_1", or by the last
    part of it where no other has that; their weights are "0", "1", ...

    Parameters
    ----------
    filepath : the file, which is read whole.

    Attributes
    ----------
    weights_dict : arrays, in dictionaries of objects inside each other.
    config, metadata : of a `.keras` file, otherwise None.

    Raises
    ------
    FormatError
        For a damaged file.

    Examples
    --------
    >>> editor = KerasFileEditor("model.weights.h5")
    >>> editor.delete_object("layers/dense_2")
    >>> editor.resave_weights("shorter.weights.h5")
    """

    def __init__(self, filepath: Any) -> None:
        path = Path(filepath)
        if not path.name.endswith((".keras", ".weights.h5")):
            raise ValueError(
                f"KerasFileEditor: filepath must end in .keras or .weights.h5, got {str(path)!r}"
            )
        self.filepath = str(path)
        self.config = self.metadata = None
        if path.suffix == ".keras":
            with zips.Reader(path) as reader:
                self.config = reader.json(keras_files.CONFIG)
                self.metadata = reader.json(keras_files.METADATA)
        self.weights_dict: Tree = {}
        self.object_metadata: dict[str, dict[str, str]] = {}
        with keras_files.opened(path) as weights:
            for place in weights.arrays:
                group, _, name = place.rpartition("/")
                self._made(_object(group))[name] = weights.array(place)
            for group, texts in weights.attributes.items():
                names = {key: values[0] for key, values in texts.items() if key == "name"}
                if names:
                    self.object_metadata[_object(group)] = names

    def summary(self) -> None:
        """Print all objects with their weights' shapes and types."""
        message(f"Weights of {self.filepath!r}")
        for path, value in _walk(self.weights_dict):
            depth, name = path.count("/") + 1, path.rpartition("/")[2]
            if isinstance(value, dict):
                given = self.object_metadata.get(path, {}).get("name")
                message("  " * depth + name + (f" ({given!r})" if given else ""))
            else:
                message("  " * depth + f"{name}: shape={value.shape}, dtype={value.dtype}")

    def compare(self, reference_model: Any) -> dict[str, Any]:
        """Print where the file differs from what a model needs.

        Parameters
        ----------
        reference_model : the model, with weights.

        Returns
        -------
        dict
            `status`, "success" or "error"; `error_count` and `match_count`, of weights.
        """
        wanted = {
            f"{place.path}/{i}".lstrip("/"): tuple(variable.shape)
            for place in keras_tree.places(reference_model)
            for i, variable in enumerate(place.variables)
        }
        found = {p: v.shape for p, v in _walk(self.weights_dict) if not isinstance(v, dict)}
        found = {p: shape for p, shape in found.items() if not p.startswith("optimizer/")}
        errors = 0
        for path in dict.fromkeys([*wanted, *found]):
            if wanted.get(path) == found.get(path):
                continue
            errors += 1
            model = wanted.get(path, "not there")
            message(f"{path}: in the model {model}, in the file {found.get(path, 'not there')}")
        status = "error" if errors else "success"
        matches = sum(found.get(path) == shape for path, shape in wanted.items())
        message(f"{status}: {matches} weights match, {errors} do not")
        return {"status": status, "error_count": errors, "match_count": matches}

    def rename_object(self, object_name: str, new_name: str) -> None:
        """Give the object `object_name` another name, `new_name`, which is the last part of its
        place.
        """
        if "/" in new_name:
            raise ValueError(f"rename_object: new_name must be no path, got {new_name!r}")
        holder, name = self._find(object_name)
        holder[new_name] = holder.pop(name)

    def delete_object(self, object_name: str) -> None:
        """Remove the object `object_name` with all that is inside it."""
        holder, name = self._find(object_name)
        del holder[name]

    def add_object(self, object_path: str, weights: Mapping[str, Any]) -> None:
        """Add an object at `object_path` with `weights` by name, such as `{"0": kernel}`."""
        parent, _, name = object_path.rpartition("/")
        holder = self.weights_dict if not parent else self._object(parent)
        holder[name] = _arrays("add_object", weights)

    def delete_weight(self, object_name: str, weight_name: str) -> None:
        """Remove the weight `weight_name` of the object `object_name`."""
        held = self._object(object_name)
        if weight_name not in held:
            known = ", ".join(held)
            raise ValueError(f"delete_weight: {object_name!r} has no {weight_name!r}, but {known}")
        del held[weight_name]

    def add_weights(self, object_name: str, weights: Mapping[str, Any]) -> None:
        """Add `weights` by name to the object `object_name`, or replace them."""
        self._object(object_name).update(_arrays("add_weights", weights))

    def save(self, filepath: Any) -> None:
        """Write all weights to `filepath`, a `.weights.h5` file, which is replaced in one step."""
        path = Path(filepath)
        if not path.name.endswith(".weights.h5"):
            raise ValueError(f"save: filepath must end in .weights.h5, got {str(path)!r}")
        arrays = {}
        for place, value in _walk(self.weights_dict):
            if not isinstance(value, dict):
                parent, _, name = place.rpartition("/")
                arrays[f"{_group(parent)}/{name}"] = value
        with replacing(path) as file:
            hdf5_write.write(file, arrays)

    resave_weights = save

    def _made(self, path: str) -> Tree:
        found = self.weights_dict
        for part in path.split("/") if path else []:
            found = found.setdefault(part, {})
        return found

    def _object(self, object_name: str) -> Tree:
        holder, name = self._find(object_name)
        return holder[name]

    def _find(self, object_name: str) -> tuple[Tree, str]:
        """The dictionary that holds an object, and its name there."""
        paths = [p for p, value in _walk(self.weights_dict) if isinstance(value, dict)]
        found = [path for path in paths if object_name in (path, path.rpartition("/")[2])]
        if len(found) != 1:
            problem = f"is there {len(found)} times: give its place" if found else "is not there"
            raise ValueError(f"KerasFileEditor: the object {object_name!r} {problem}")
        parent, _, name = found[0].rpartition("/")
        return self._made(parent), name


def _object(group: str) -> str:
    """The place of the object whose variables are in a group."""
    return group.removesuffix(VARIABLES).rstrip("/")


def _group(place: str) -> str:
    return f"{place}/{VARIABLES}" if place else VARIABLES


def _walk(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Everything in it by path, objects before what is inside them."""
    for name, value in tree.items():
        yield f"{prefix}{name}", value
        if isinstance(value, dict):
            yield from _walk(value, f"{prefix}{name}/")


def _arrays(where: str, weights: Any) -> dict[str, np.ndarray]:
    if not isinstance(weights, Mapping):
        raise ValueError(f"{where}: weights must be a dictionary of arrays, got {weights!r}")
    return {str(name): np.asarray(value) for name, value in weights.items()}
