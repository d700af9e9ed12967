"""ONNX graphs for `fuzz_files.py`: which are mutated, and how."""

from pathlib import Path

try:
    import onnx
except ImportError:
    AVAILABLE = False
else:
    AVAILABLE = True

FOLDER = Path(__file__).parent / "onnx"
NETWORKS = ["mobilenet.onnx", "decoder.onnx", "detector.onnx", "attention.onnx"]
SIZES = [-(2**63), -2, -1, 0, 1, 2, 3, 7, 255, 2**16, 2**31 - 1, 2**31, 2**40, 2**63 - 1]
FLOATS = [0.0, -1.0, 1e-30, 1e30, float("inf"), float("-inf"), float("nan")]
KINDS = [
    "Relu", "Conv", "ConvTranspose", "Gemm", "MatMul", "Reshape", "Transpose", "Concat", "Slice",
    "Pad", "Expand", "Tile", "Gather", "Resize", "Shape", "ConstantOfShape", "Range", "Split",
    "ReduceMean", "Squeeze", "Unsqueeze", "Where", "Einsum", "If", "Loop", "Scan", "NonZero",
    "LSTM", "Identity", "Constant", "BatchNormalization", "MaxPool", "Softmax", "Dropout",
]  # fmt: skip


def mutated_graph(content, rng):
    """The file with one to three parts of its graph exchanged."""
    model = onnx.ModelProto()
    model.ParseFromString(content)
    for _ in range(rng.choice([1, 1, 2, 3])):
        rng.choice([_node, _node, _attribute, _attribute, _array, _array, _header, _order])(
            model, rng
        )
    return model.SerializeToString()


def _names(graph):
    names = [name for node in graph.node for name in (*node.input, *node.output)]
    return [*names, *(array.name for array in graph.initializer), "", "nowhere"]


def _node(model, rng):
    graph = model.graph
    if not graph.node:
        return
    node = rng.choice(graph.node)
    kind = rng.randrange(6)
    if kind == 0:
        node.op_type = rng.choice([*KINDS, *(n.op_type for n in graph.node)])
    elif kind == 1 and node.input:
        node.input[rng.randrange(len(node.input))] = rng.choice(_names(graph))
    elif kind == 2 and node.output:
        node.output[rng.randrange(len(node.output))] = rng.choice(_names(graph))
    elif kind == 3 and node.input:
        del node.input[rng.randrange(len(node.input))]
    elif kind == 4:
        node.input.append(rng.choice(_names(graph)))
    else:
        node.domain = rng.choice(["ai.onnx", "ai.onnx.ml", "x"])


def _attribute(model, rng):
    attributes = [a for node in model.graph.node for a in node.attribute]
    if not attributes:
        return
    a = rng.choice(attributes)
    kind = rng.randrange(5)
    if kind == 0:
        a.name = rng.choice([other.name for other in attributes])
    elif kind == 1:
        a.type = rng.randrange(15)
    elif a.ints:
        if kind == 2:
            a.ints.append(rng.choice(SIZES))
        elif kind == 3:
            del a.ints[rng.randrange(len(a.ints)) :]
        else:
            a.ints[rng.randrange(len(a.ints))] = rng.choice(SIZES)
    elif a.type == onnx.AttributeProto.TENSOR:
        _tensor(a.t, rng)
    else:
        a.i, a.f = rng.choice(SIZES), rng.choice(FLOATS)
        a.s = rng.choice([b"", b"SAME_UPPER", b"linear", b"nearest", b"\xff", b"wrap", b"i->i"])


def _array(model, rng):
    if model.graph.initializer:
        _tensor(rng.choice(model.graph.initializer), rng)


def _tensor(tensor, rng):
    kind = rng.randrange(6)
    if kind == 0 and tensor.dims:
        tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice(SIZES)
    elif kind == 1:
        tensor.dims.append(rng.choice(SIZES))
    elif kind == 2:
        tensor.data_type = rng.randrange(26)
    elif kind == 3:
        tensor.raw_data = tensor.raw_data[: rng.randrange(len(tensor.raw_data) + 1)]
    elif kind == 4 and tensor.data_type == onnx.TensorProto.INT64:
        number = rng.choice(SIZES).to_bytes(8, "little", signed=True)
        at = rng.randrange(max(len(tensor.raw_data) // 8, 1)) * 8
        tensor.raw_data = tensor.raw_data[:at] + number + tensor.raw_data[at + 8 :]
    else:
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=rng.choice(["../x", "/etc/passwd", "w"]))


def _header(model, rng):
    graph, kind = model.graph, rng.randrange(5)
    if kind == 0:
        model.opset_import[0].version = rng.choice([*range(6, 27), *SIZES])
    elif kind == 1 and graph.input[0].type.tensor_type.shape.dim:
        dims = graph.input[0].type.tensor_type.shape.dim
        dims[rng.randrange(len(dims))].dim_value = rng.choice(SIZES)
    elif kind == 2:
        graph.input[0].type.tensor_type.elem_type = rng.randrange(26)
    elif kind == 3:
        graph.output[0].name = rng.choice(_names(graph))
    else:
        graph.input.append(graph.input[0])


def _order(model, rng):
    graph = model.graph
    nodes = list(graph.node)
    kind = rng.randrange(4)
    if kind == 0:
        rng.shuffle(nodes)
    elif kind == 1:
        nodes.append(nodes[rng.randrange(len(nodes))])
    elif kind == 2:
        del nodes[rng.randrange(len(nodes))]
    elif graph.initializer:
        del graph.initializer[rng.randrange(len(graph.initializer))]
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)
