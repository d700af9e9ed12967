"""Where Keras keeps the variables of each layer in its files of weights.

Keras walks from the model to what it holds, by attributes in the order of their names, and names
what is in lists by its class: `layers/conv2d_1/vars/0`, `hidden/many/container/dense/vars/0`. What
has been met before is not met again. The names that users give are not part of it.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

from nbcnn.declare import snake_case
from nbcnn.layers.base import Layer
from nbcnn.layers.variable import Variable
from nbcnn.registry import is_own


class Place(NamedTuple):
    """A layer, where its own variables are, and which these are, in order."""

    path: str
    layer: Any
    variables: list[Variable]

    @property
    def group(self) -> str:
        """The path of the variables."""
        return f"{self.path}/vars" if self.path else "vars"


def places(model: Any) -> list[Place]:
    """The model and all layers inside it, in the order of the walk."""
    return list(_walk(model, "", set()))


def _walk(layer: Any, path: str, met: set[int]) -> Iterator[Place]:
    if id(layer) in met:
        return
    met.add(id(layer))
    yield Place(path, layer, sorted(layer._variables, key=lambda v: not v.trainable))
    for name, child in _children(layer):
        inner = f"{path}/{name}" if path else name
        if isinstance(child, Layer):
            yield from _walk(child, inner, met)
        elif isinstance(child, (list, tuple, dict)):
            yield from _walk_container(child, inner, met, set())


def _walk_container(container: Any, path: str, met: set[int], seen: set[int]) -> Iterator[Place]:
    if id(container) in seen:
        return
    seen.add(id(container))
    used: dict[str, int] = {}
    for child in container.values() if isinstance(container, dict) else container:
        if isinstance(child, Layer):
            yield from _walk(child, f"{path}/{numbered(_class_name(child), used)}", met)
        elif isinstance(child, (list, tuple, dict)):
            yield from _walk_container(child, f"{path}/{numbered('container', used)}", met, seen)


def _class_name(layer: Any) -> str:
    kind = type(layer)
    return "functional" if kind.__name__ == "Model" and is_own(kind) else snake_case(kind.__name__)


def numbered(name: str, used: dict[str, int]) -> str:
    """The name, with `_1`, `_2` where it has been used."""
    used[name] = used.get(name, -1) + 1
    return f"{name}_{used[name]}" if used[name] else name


def _children(layer: Any) -> Iterator[tuple[str, Any]]:
    is_model = hasattr(layer, "fit")
    is_graph = is_model and (layer._functional is not None or "_parts" in vars(layer))
    if is_graph:
        yield "layers", layer.layers
    if is_own(type(layer)) and is_model:
        return
    names = set(vars(layer)) - _base_names()
    if not is_own(type(layer)):
        names |= set(dir(type(layer))) - _base_names()
    if (is_model and not is_graph) or "layers" in type(layer).fields:
        names.add("layers")
    for name in sorted(names, key=lambda n: f"~{n}" if n.startswith("_") else n):
        if name.startswith("__") or (name.startswith("_") and is_own(type(layer))):
            continue
        try:
            child = getattr(layer, name)
        except Exception:  # a property that has nothing to say yet
            continue
        yield name, child
    if is_own(type(layer)):  # layers that draw some of several, of which Keras names each
        for child in (*vars(layer).get("_layers", ()), *vars(layer).get("_parts", ())):
            yield snake_case(type(child).__name__), child


@cache
def _base_names() -> frozenset[str]:
    """Attributes that every layer or model has."""
    from nbcnn.models.model import Model

    model = Model(name="model")
    return frozenset({*dir(model), *vars(model), "_parts", "_tensors", "_arguments", "layers"})
