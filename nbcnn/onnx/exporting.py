"""A model as an ONNX file: the graph of operations of its inference, each as ONNX's operators."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from nbcnn.graph.aliases import WITHOUT_GRADIENTS, differentiated
from nbcnn.graph.graph import Graph, Rewriting, rewrite
from nbcnn.io.files import as_target, replacing
from nbcnn.layers.base import flatten
from nbcnn.layers.context import Context
from nbcnn.onnx import operators
from nbcnn.onnx.files import package
from nbcnn.ops.tensor import Constant, Node, Tensor, VariableTensor
from nbcnn.version import __version__

OPSET = 17


def _simpler(node: Node, inputs: Sequence[Tensor], context: Rewriting) -> Any:
    """As everywhere, but convolutions of volumes stay as they are: ONNX has them."""
    return None if node.op.name == "conv3d" else differentiated(node, inputs, context)


REWRITES = tuple(_simpler if rule is differentiated else rule for rule in WITHOUT_GRADIENTS)


def save(model: Any, filepath: Any) -> None:
    """Writes the inference of a model as an ONNX file, of operators of version 17.

    Inputs and outputs have the model's shapes, channels last, any number of samples; in front of
    each convolution and pool the file has transpositions, which runtimes take out again.

    Parameters
    ----------
    filepath : the file.

    Raises
    ------
    ValueError
        For a model that has not been built, and for operations that ONNX does not have (all are
        named), or that need the number of samples.
    ImportError
        Without the package onnx.
    """
    path = as_target(filepath, "export")
    data = exported(model).SerializeToString()
    with replacing(path) as file:
        file.write(data)


def exported(model: Any) -> Any:
    """The `ModelProto`."""
    onnx = package()
    if not model.built:
        raise ValueError(f"export: model {model.name!r} has not been built yet; call it on data")
    network = getattr(model, "_functional", None)
    inputs = flatten(model.inputs) if network is None else flatten(network.inputs)
    leaves = [Tensor(t.shape, t.dtype, name=t.name) for t in inputs]
    with Context(training=False) as context:
        outputs = flatten(_call(model, network, leaves))
    if context.updates:
        raise ValueError("export: the model changes its variables when it predicts")
    graph = rewrite(Graph(outputs), REWRITES)
    return _Writer(onnx, model.name).model(leaves, graph)


def _call(model: Any, network: Any, leaves: list[Tensor]) -> Any:
    if network is not None:
        return network.call(leaves[0] if len(leaves) == 1 else leaves)
    return model(leaves[0] if len(leaves) == 1 else leaves)


class _Writer:
    """Collects nodes and arrays; `operators` calls its methods."""

    def __init__(self, onnx: Any, name: str) -> None:
        self.onnx, self.model_name = onnx, name or "model"
        self.nodes: list[Any] = []
        self.arrays: dict[str, np.ndarray] = {}
        self.names: dict[int, str] = {}
        self.taken: set[str] = set()
        self.turned: dict[str, tuple[str, tuple[int, ...]]] = {}  # results of transpositions
        self.reshaped: dict[str, tuple[str, tuple[Any, ...]]] = {}  # and of reshapes: of what
        self.biased: dict[str, Any] = {}  # results of convolutions that may still get a bias
        self.recorded: dict[str, Any] = {}  # places of pools: ONNX's indices, for which image
        self.values: dict[int, np.ndarray] = {}  # of tensors that follow from weights
        self.readers: dict[int, int] = {}  # how many read a tensor
        self.kept: list[Tensor] = []  # ids stay theirs while the tensors live

    def unique(self, name: str) -> str:
        candidate, number = name, 0
        while candidate in self.taken:
            number += 1
            candidate = f"{name}_{number}"
        self.taken.add(candidate)
        return candidate

    def model(self, leaves: Sequence[Tensor], graph: Graph) -> Any:
        helper = self.onnx.helper
        for i, leaf in enumerate(leaves):
            self.names[id(leaf)] = self.unique(leaf.name or f"input{i}")
        problems = []
        for tensor in [*graph.outputs, *(t for node in graph.nodes for t in node.inputs)]:
            self.readers[id(tensor)] = self.readers.get(id(tensor), 0) + 1
        for node in graph.nodes:
            try:
                self._add(node)
            except operators.Unknown as error:
                problems.append(str(error))
                for tensor in node.outputs:
                    self.names[id(tensor)] = "?"
        if problems:
            found = ", ".join(sorted(set(problems)))
            raise ValueError(f"export: operations that ONNX files cannot hold: {found}")
        results = []
        for i, tensor in enumerate(graph.outputs):
            name = self.unique(f"output{i}" if len(graph.outputs) > 1 else "output")
            self.nodes.append(helper.make_node("Identity", [self.name(tensor)], [name]))
            results.append(self._info(name, tensor))
        self._drop_unread({result.name for result in results})
        made = helper.make_graph(
            self.nodes,
            self.model_name,
            [self._info(self.names[id(t)], t) for t in leaves],
            results,
            [self.onnx.numpy_helper.from_array(a, n) for n, a in self.arrays.items()],
        )
        return helper.make_model(
            made,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=8,
            producer_name="nbcnn",
            producer_version=__version__,
        )

    def _drop_unread(self, read: set[str]) -> None:
        """Leaves out operators and arrays that others have made superfluous."""
        kept = []
        for node in reversed(self.nodes):
            if not read.isdisjoint(node.output):
                kept.append(node)
                read.update(node.input)
        self.nodes = kept[::-1]
        self.arrays = {name: array for name, array in self.arrays.items() if name in read}

    def _info(self, name: str, tensor: Tensor) -> Any:
        dtype = self.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(tensor.dtype))
        sizes = ["batch" if n is None else n for n in tensor.shape]
        return self.onnx.helper.make_tensor_value_info(name, dtype, sizes)

    def _add(self, node: Node) -> None:
        rule = operators.RULES.get(node.op.name)
        if rule is None:
            raise operators.Unknown(str(node.op.name))
        found = rule(self, node.op, node.inputs, node.outputs)
        results = found if isinstance(found, list) else [found]
        for tensor, name in zip(node.outputs, results):
            self.names[id(tensor)] = name
        self.kept += node.outputs

    def name(self, tensor: Tensor) -> str:
        """A tensor's name; variables and constants become arrays of the file."""
        if id(tensor) not in self.names:
            if isinstance(tensor, VariableTensor):
                found = self.array(tensor.variable.numpy(), tensor.variable.path)
            elif isinstance(tensor, Constant):
                found = self.array(tensor.value)
            else:
                raise operators.Unknown("a tensor that nothing makes (random numbers?)")
            self.names[id(tensor)] = found
            self.kept.append(tensor)
        return self.names[id(tensor)]

    def named(self, value: Any) -> str:
        """The name of a tensor, or of an array that joins the file."""
        return self.name(value) if isinstance(value, Tensor) else self.array(value)

    def array(self, value: Any, name: str = "constant") -> str:
        name = self.unique(name or "constant")
        self.arrays[name] = np.ascontiguousarray(value).reshape(np.shape(value))
        return name

    def value(self, tensor: Tensor) -> np.ndarray | None:
        """The numbers of a variable or constant."""
        if isinstance(tensor, VariableTensor):
            return np.asarray(tensor.variable.numpy())
        return tensor.value if isinstance(tensor, Constant) else self.values.get(id(tensor))

    def folded(self, value: np.ndarray, tensor: Tensor, source: Tensor) -> str:
        """The name of an array that follows from that of another tensor."""
        self.values[id(tensor)] = value
        return self.array(value, getattr(getattr(source, "variable", None), "path", ""))

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """An operator with one output, whose name is returned; two transpositions that undo each
        other are left out.
        """
        if kind == "Transpose":
            source, perm = self.turned.get(inputs[0], ("", ()))
            if [perm[p] for p in attributes["perm"] if perm] == list(range(len(perm))) and perm:
                return source
        output = self.unique(kind.lower())
        if kind == "Transpose":
            self.turned[output] = (inputs[0], tuple(attributes["perm"]))
        self.nodes.append(self.onnx.helper.make_node(kind, inputs, [output], output, **attributes))
        return output

    def nodes_of(self, kind: str, count: int, *inputs: str, **attributes: Any) -> list[str]:
        """An operator with several outputs, and their names."""
        outputs = [self.unique(kind.lower()) for _ in range(count)]
        made = self.onnx.helper.make_node(kind, inputs, outputs, outputs[0], **attributes)
        self.nodes.append(made)
        return outputs

    def ints(self, *values: int) -> str:
        return self.array(np.array(values, "int64"))

    def number(self, value: float, like: Tensor) -> str:
        return self.array(np.array(value, like.dtype))
