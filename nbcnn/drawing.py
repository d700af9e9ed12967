"""Models as graphs for Graphviz: `model_to_dot`, `plot_model`.

They need `pydot` (`pip install 'nbcnn[plot]'`), and Graphviz itself to make pictures.
"""

import importlib
import itertools
import os
import shutil
from typing import Any

from nbcnn.layers.base import flatten
from nbcnn.layers.layer_call import LayerCall
from nbcnn.models import summary


def _pydot(where: str) -> Any:
    try:
        return importlib.import_module("pydot")
    except ImportError:
        raise ImportError(
            f"{where} needs pydot, which is not installed: pip install 'nbcnn[plot]'"
        ) from None


def model_to_dot(
    model: Any,
    show_shapes: bool = False,
    show_dtype: bool = False,
    show_layer_names: bool = True,
    rankdir: str = "TB",
    expand_nested: bool = False,
    dpi: int = 200,
    subgraph: bool = False,
    show_layer_activations: bool = False,
    show_trainable: bool = False,
    splines: str = "ortho",
) -> Any:
    """The model as a `pydot.Dot`.

    Parameters
    ----------
    model : built.
    show_shapes, show_dtype, show_layer_activations, show_trainable : default False.
    show_layer_names : default True.
    rankdir : "TB" (default), from top to bottom, or "LR", from left to right.
    expand_nested : draw models inside as their layers, in a frame; default False.
    dpi : default 200.
    subgraph : return a `pydot.Cluster`.
    splines : how lines are drawn; default "ortho".

    Raises
    ------
    ImportError
        Without pydot.
    ValueError
        For a model that is not built.
    """
    pydot = _pydot("model_to_dot")
    if not model.built:
        raise ValueError(f"model_to_dot: {model.name!r} is not built yet; call build() or fit it")
    if rankdir not in ("TB", "LR", "BT", "RL"):
        raise ValueError(f"model_to_dot: rankdir must be TB, LR, BT or RL, got {rankdir!r}")
    shown = (show_layer_names, show_layer_activations, show_dtype, show_shapes, show_trainable)
    if subgraph:
        graph = pydot.Cluster(graph_name=model.name, label=model.name, style="dashed")
    else:
        graph = pydot.Dot(rankdir=rankdir, dpi=str(dpi), splines=splines, concentrate="true")
        graph.set_node_defaults(shape="record", fontname="Helvetica")
    _draw(pydot, graph, model, shown, expand_nested, "")
    return graph


def _draw(
    pydot: Any, graph: Any, model: Any, shown: tuple, expand: bool, prefix: str
) -> tuple[list[str], list[str]]:
    """Add a model's layers and lines; returns the keys of what its inputs and outputs are."""
    network = model._functional
    if network is None:
        layers = [layer for layer in model.layers if not layer._symbolic_calls] or model.layers
        keys = [_node(pydot, graph, layer, shown, f"{prefix}{layer.name}") for layer in layers]
        if hasattr(model, "add"):  # sequential: one after the other
            for first, second in itertools.pairwise(keys):
                graph.add_edge(pydot.Edge(first, second))
            return keys[:1], keys[-1:]
        return keys, keys
    source: dict[int, list[str]] = {}
    entries = []
    for given, tensor in zip(network.input_layers, flatten(network.inputs)):
        entries.append(_node(pydot, graph, given, shown, f"{prefix}{given.name}"))
        source[id(tensor)] = entries[-1:]
    drawn: dict[int, tuple[list[str], list[str]]] = {}
    for number, maker in enumerate(network.makers):
        layer: Any = maker.layer if isinstance(maker, LayerCall) else None
        known = drawn.get(id(layer if layer is not None else maker))
        if known is None:
            if layer is None:
                key = f"{prefix}{maker.op.name}_{number}"
                graph.add_node(pydot.Node(key, label=maker.op.name))
                known = [key], [key]
            elif expand and hasattr(layer, "layers") and layer._functional is not None:
                inner = pydot.Cluster(graph_name=f"{prefix}{layer.name}", label=layer.name,
                                      style="dashed")  # fmt: skip
                known = _draw(pydot, inner, layer, shown, True, f"{prefix}{layer.name}/")
                graph.add_subgraph(inner)
            else:
                key = _node(pydot, graph, layer, shown, f"{prefix}{layer.name}")
                known = [key], [key]
            drawn[id(layer if layer is not None else maker)] = known
        for place, tensor in enumerate(maker.inputs):
            for origin in source.get(id(tensor), ()):
                graph.add_edge(pydot.Edge(origin, known[0][min(place, len(known[0]) - 1)]))
        for tensor in flatten(maker.outputs):
            source[id(tensor)] = known[1]
    return entries, [key for t in flatten(network.outputs) for key in source.get(id(t), ())]


def _node(pydot: Any, graph: Any, layer: Any, shown: tuple, key: str) -> str:
    names, activations, dtype, shapes, trainable = shown
    rows = [f"{layer.name} ({type(layer).__name__})" if names else type(layer).__name__]
    activation = getattr(layer, "activation", None)
    if activations and activation is not None:
        rows.append(f"activation: {getattr(activation, '__name__', activation)}")
    if shapes:
        rows.append(f"output: {summary.shape_of(layer)}")
    if dtype:
        rows.append(f"dtype: {layer.dtype}")
    if trainable and layer.weights:
        rows.append("trainable" if layer.trainable else "not trainable")
    text = "\\n".join(rows).replace("{", "(").replace("}", ")")
    graph.add_node(pydot.Node(key, label=text))
    return key


def plot_model(
    model: Any,
    to_file: Any = "model.png",
    show_shapes: bool = False,
    show_dtype: bool = False,
    show_layer_names: bool = False,
    rankdir: str = "TB",
    expand_nested: bool = False,
    dpi: int = 200,
    show_layer_activations: bool = False,
    show_trainable: bool = False,
    splines: str = "ortho",
) -> Any:
    """Draws the model into a file.

    Parameters
    ----------
    to_file : its ending says the format, as "model.png" (default), "model.svg" or "model.pdf"; text
        for Graphviz, "model.dot", needs pydot only.

    Other parameters are those of `model_to_dot`, `show_layer_names` being False by default. In a
    notebook the picture is returned for display.
    """
    pydot = _pydot("plot_model")
    dot = model_to_dot(
        model, show_shapes, show_dtype, show_layer_names, rankdir, expand_nested, dpi, False,
        show_layer_activations, show_trainable, splines,
    )  # fmt: skip
    path = os.fspath(to_file)
    kind = os.path.splitext(path)[1][1:].lower() or "png"
    path = path if os.path.splitext(path)[1] else f"{path}.png"
    if kind != "dot" and shutil.which(dot.prog) is None:
        raise ImportError(  # as in Keras: scripts that can do without pictures catch it
            f"plot_model: cannot draw {path}: program {dot.prog!r} is not found; pictures need "
            "Graphviz, see https://graphviz.org/download"
        )
    try:
        dot.write(path, format="raw" if kind == "dot" else kind)
    except (OSError, pydot.PydotException) as error:
        raise OSError(f"plot_model: cannot draw {path}: {error}") from error
    return _shown(path) if kind in ("png", "jpg", "jpeg", "svg") else None


def _shown(path: str) -> Any:
    try:
        display = importlib.import_module("IPython.display")
    except ImportError:
        return None
    return display.SVG(path) if path.endswith("svg") else display.Image(filename=path)
