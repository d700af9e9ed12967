"""nbcnn's side of `ops.py`: a case becomes a graph, differentiated and fused as in training, and
its nodes are bound one by one to memory of their own.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from op_cases import Case

from nbcnn import layers, ops
from nbcnn.graph.aliases import RESHAPES_BEHIND
from nbcnn.graph.autodiff import gradients
from nbcnn.graph.choosing import main_dtype, select
from nbcnn.graph.fuse import fuse
from nbcnn.graph.graph import Graph, rewrite, root_of
from nbcnn.graph.rewrite import INDICES, TRAINING
from nbcnn.layers import padding
from nbcnn.layers.context import Context
from nbcnn.ops.conv import conv2d
from nbcnn.ops.elementwise import unary
from nbcnn.ops.local import Local2D, kernel_shape
from nbcnn.ops.norm import BatchNorm
from nbcnn.ops.op import apply
from nbcnn.ops.optimizer import HYPER_SIZE, SGD, Adam
from nbcnn.ops.pool import avg_pool2d, max_pool2d
from nbcnn.ops.random import Dropout
from nbcnn.ops.shape import ALIASES, Concat
from nbcnn.ops.tensor import Constant, Node, Tensor, TensorSpec, VariableTensor
from nbcnn.ops.unpool import MaxUnpool2D, max_pool_with_places


class Formula(NamedTuple):
    """y as a function of inputs and weights, all tensors."""

    y: Tensor
    inputs: list[Tensor]
    weights: list[Tensor]


class Prepared(NamedTuple):
    """A case ready to run. `programs`: of each implementation that accepts where the case is one
    node, otherwise one for all nodes; `chosen` is the name of the one that a plan takes.
    """

    programs: dict[str, Any]
    chosen: str
    flops: int
    nbytes: int


def leaf(*shape: int, dtype: str = "float32") -> Tensor:
    return Tensor(shape, dtype)


def convolution(args, what) -> Formula:
    x, w, b = leaf(*args["x"]), leaf(*args["w"]), leaf(args["w"][3])
    pads = tuple((p, p) for p in args["pad"])
    y = conv2d(x, w, tuple(args["stride"]), pads, tuple(args["dilation"]), args["groups"])
    if args["bias"] and what != "dx":
        y = y + b
    if args["relu"] and what == "forward":
        y = ops.relu(y)
    return Formula(y, [x], [w, b] if args["bias"] else [w])


def along(args, what) -> Formula:
    """Convolutions over one axis, two or three."""
    x, channels, filters = leaf(*args["x"]), args["x"][-1], args["filters"]
    if args["transposed"]:
        w = leaf(*args["kernel"], filters, channels)
        return Formula(ops.conv_transpose(x, w, args["stride"], "same"), [x], [w])
    w = leaf(*args["kernel"], channels, filters)
    y = ops.conv(x, w, args["stride"], "same", dilation_rate=args["dilation"])
    return Formula(y, [x], [w])


def dense(args, what) -> Formula:
    x, w, b = leaf(args["m"], args["k"]), leaf(args["k"], args["n"]), leaf(args["n"])
    y = ops.matmul(x, w)
    if what != "dx":
        y = y + b
    if args["relu"] and what == "forward":
        y = ops.relu(y)
    return Formula(y, [x], [w, b])


def pooling(function) -> Callable:
    def build(args, what) -> Formula:
        x = leaf(*args["x"])
        window, stride, pads = (args["window"],) * 2, (args["stride"],) * 2, (args["pad"],) * 2
        return Formula(function(x, window, stride, (pads, pads)), [x], [])

    return build


def batchnorm(args, what) -> Formula:
    x, gamma, beta = leaf(*args["x"]), leaf(args["x"][3]), leaf(args["x"][3])
    y = apply(BatchNorm(), x, gamma, beta)[0]
    return Formula(ops.relu(y) if args["relu"] else y, [x], [gamma, beta])


def of_layer(make: Callable) -> Callable:
    """A formula of one map, by what `make(args)` makes: a layer, or several one after the other."""

    def build(args, what) -> Formula:
        x, made = leaf(*args["x"]), make(args)
        y, weights = x, []
        for layer in made if isinstance(made, list) else [made]:
            y = layer(y)
            weights += [v.symbol for v in layer.trainable_variables]
        return Formula(y, [x], weights)

    return build


def upsample_conv(args):
    return layers.UpsampleConv2D(args["filters"], args["kernel"], use_bias=False)


def downsampling(args):
    """A convolution with stride 2, or one with stride 1 and a pool."""
    stride = 1 if args["pool"] else 2
    conv = layers.Conv2D(args["filters"], args["kernel"], stride, "same", use_bias=False)
    return [conv, layers.MaxPooling2D()] if args["pool"] else conv


def crossentropy(args, what) -> Formula:
    x, labels = leaf(args["rows"], args["classes"]), leaf(args["rows"], dtype="int32")
    return Formula(ops.sparse_categorical_crossentropy(labels, x, from_logits=True), [x], [])


def of_map(function) -> Callable:
    """A formula of one map."""

    def build(args, what) -> Formula:
        x = leaf(*args["x"])
        return Formula(function(x, args), [x], [])

    return build


def local(args, what) -> Formula:
    x, window = leaf(*args["x"]), (args["window"],) * 2
    op = Local2D(window, (args["stride"],) * 2)
    w = leaf(*kernel_shape(op.geometry(tuple(args["x"]), args["filters"])))
    return Formula(apply(op, x, w), [x], [w])


def recorded(args, what) -> Formula:
    """The indices, which cannot do without the pool."""
    x, window, stride = leaf(*args["x"]), (args["window"],) * 2, (args["stride"],) * 2
    return Formula(max_pool_with_places(x, window, stride, "valid")[1], [x], [])


def unpool(args, what) -> Formula:
    """To places as a pool records them."""
    n, h, w, c = args["x"]
    step, rng = args["stride"], np.random.default_rng(0)
    i, j = np.indices((h // step, w // step))[:, None, :, :, None] * step
    u, v = rng.integers(0, args["window"], (2, n, h // step, w // step, c))
    places = ((i + u) * w + j + v).astype("int32")
    x = leaf(*places.shape)
    op = MaxUnpool2D((args["window"],) * 2, (step,) * 2, (0, 0), (h, w))
    return Formula(apply(op, x, Constant(places)), [x], [])


def border(x, args):
    sides = (args["border"],) * 2
    widths = ((0, 0), sides, sides, (0, 0))
    return padding.border(x, widths, args["mode"], 0.0)


def add_relu(args, what) -> Formula:
    a, b = leaf(*args["x"]), leaf(*args["x"])
    return Formula(ops.relu(a + b), [a, b], [])


def concat(args, what) -> Formula:
    xs = [leaf(*args["x"][:3], c) for c in (args["x"][3], *args["others"])]
    return Formula(apply(Concat(3), *xs), xs, [])


def scale(args, what) -> Formula:
    n, _, _, c = args["x"]
    x, s = leaf(*args["x"]), leaf(n, 1, 1, c)
    return Formula(x * s, [x, s], [])


FORMULAS: dict[str, Callable[[dict, str], Formula]] = {
    "conv2d": convolution,
    "along": along,
    "dense": dense,
    "maxpool": pooling(max_pool2d),
    "avgpool": pooling(avg_pool2d),
    "global_mean": of_map(lambda x, args: ops.mean(x, axis=(1, 2))),
    "batchnorm": batchnorm,
    "layernorm": of_layer(lambda args: layers.LayerNormalization()),
    "upsample_conv": of_layer(upsample_conv),
    "downsampling": of_layer(downsampling),
    "global_response": of_layer(lambda args: layers.GlobalResponseNormalization()),
    "activation": of_map(lambda x, args: activation(x, args["function"])),
    "crossentropy": crossentropy,
    "add_relu": add_relu,
    "scale": scale,
    "dropout": of_map(lambda x, args: apply(Dropout(0.5), x, leaf(2, dtype="int64"))),
    "concat": concat,
    "local": local,
    "recorded": recorded,
    "unpool": unpool,
    "response": of_map(lambda x, args: ops.local_response_normalization(x)),
    "border": of_map(border),
    "upsampling": of_map(lambda x, args: layers.UpSampling2D(2)(x)),
}
PARAMETERS = {"leaky_relu": (0.01,), "elu": (1.0,)}


def activation(x, function):
    return unary(function, x, *PARAMETERS.get(function, ()))


def update(args, optimizer) -> Graph:
    n = sum(int(np.prod(shape)) for shape in args["shapes"])
    flat = [leaf(n) for _ in range(4)]
    hyper = leaf(HYPER_SIZE, dtype="float64")
    if optimizer == "momentum":
        return Graph([], [Node(SGD(0.9), [flat[0], flat[1], hyper, flat[2]])])
    return Graph([], [Node(Adam(), [flat[0], flat[1], hyper, flat[2], flat[3]])])


def graph_of(case: Case, device: Any) -> tuple[Graph, Tensor | None]:
    """The case's graph, and the gradient that comes in where there is one."""
    if case.kind in ("momentum", "adam"):
        return update(case.args, case.kind), None
    with Context(training=True):
        y, inputs, weights = FORMULAS[case.kind](case.args, case.what)
    graph = rewrite(rewrite(rewrite(Graph([y]), RESHAPES_BEHIND), TRAINING), INDICES)
    dy = None
    if case.what != "forward":
        (y,) = graph.outputs
        dy = leaf(*y.spec.shape)
        wanted = {"dx": inputs, "dw": weights}.get(case.what, inputs + weights)
        found = [g for g in gradients(y, wanted, seed=dy) if g is not None]
        graph = Graph([y, *found] if case.what == "both" else found)

    def accepts(op, inputs):
        return select(op, inputs, device)[1]

    return fuse(graph, accepts), dy


class Binder:
    """Memory and kernel calls of a graph's nodes."""

    def __init__(self, device: Any):
        self.device = device
        self.rng = np.random.default_rng(0)
        self.arrays: dict[int, Any] = {}

    def array(self, tensor: Tensor) -> Any:
        root = root_of(tensor)
        if id(root) not in self.arrays:
            self.arrays[id(root)] = self.filled(root)
        return self.arrays[id(root)].reshape(tensor.spec.shape)

    def empty(self, spec: TensorSpec) -> Any:
        return self.device.view(self.device.empty(spec.nbytes), 0, spec.shape, spec.dtype)

    def filled(self, tensor: Tensor) -> Any:
        """A leaf's array: small whole numbers, or positive reals near 1."""
        array = self.empty(tensor.spec)
        self.device.upload(array, self.values(tensor))
        return array

    def values(self, tensor: Tensor) -> np.ndarray:
        shape, dtype = tensor.spec.shape, np.dtype(tensor.dtype)
        if isinstance(tensor, Constant):
            return np.broadcast_to(tensor.value, shape)
        if isinstance(tensor, VariableTensor):
            return tensor.variable.numpy()
        if dtype.kind in "iu":
            return self.rng.integers(0, 4, shape)
        drawn = self.rng.standard_normal(shape, dtype=np.float32)
        return np.abs(drawn) if tensor.dtype == "float64" else drawn

    def results(self, node: Node) -> list[Any]:
        for t in node.outputs:
            self.arrays.setdefault(id(t), self.empty(t.spec))
        return [self.arrays[id(t)] for t in node.outputs]

    def calls(self, node: Node, impl: Any, spec: Any) -> list:
        inputs, outputs = [self.array(t) for t in node.inputs], self.results(node)
        dtype = main_dtype(node.op, [t.spec for t in node.inputs])
        wanted = impl.scratch(spec, dtype, self.device.caps)
        scratch = {name: self.empty(TensorSpec(s.shape, s.dtype)) for name, s in wanted.items()}
        return impl.bind(spec, self.device.caps, inputs, outputs, scratch)


def prepare(case: Case, device: Any, only_chosen: bool = False) -> Prepared:
    graph, dy = graph_of(case, device)
    nodes, timed = computing(graph.nodes), measured(case, graph, dy)
    binder = Binder(device)
    chosen: dict[int, str] = {}
    calls: dict[int, list] = {}
    for node in nodes:
        spec, choice = select(node.op, node.inputs, device)
        assert choice is not None, node
        chosen[id(node)] = choice.impl.name
        calls[id(node)] = binder.calls(node, choice.impl, spec)
    timed_ids = {id(node) for node in timed}
    before = [c for node in nodes if id(node) not in timed_ids for c in calls[id(node)]]
    device.program(before).run()
    name = " + ".join(chosen[id(node)] for node in timed)
    programs = {name: device.program([c for node in timed for c in calls[id(node)]])}
    if len(timed) == 1 and not only_chosen:
        programs |= others(timed[0], name, binder)
    flops = sum(node.op.flops(*(t.spec for t in node.inputs)) for node in timed)
    return Prepared(programs, name, flops, traffic(timed, graph))


def others(node: Node, chosen: str, binder: Binder) -> dict[str, Any]:
    """Programs of the other implementations that accept a node."""
    device = binder.device
    specs = [t.spec for t in node.inputs]
    spec, dtype = node.op.spec(*specs), main_dtype(node.op, specs)
    return {
        impl.name: device.program(binder.calls(node, impl, spec))
        for impl in device.impls(node.op)
        if impl.name != chosen and impl.accepts(spec, dtype, device.caps) is None
    }


def computing(nodes: list[Node]) -> list[Node]:
    return [node for node in nodes if node.op.name not in ALIASES]


def measured(case: Case, graph: Graph, dy: Tensor | None) -> list[Node]:
    """The nodes of the case's time: all, or in a backward pass those that dy reaches."""
    if case.what in ("forward", "both"):
        return computing(graph.nodes)
    reached, found = {id(dy)}, []
    for node in graph.nodes:
        if any(id(t) in reached for t in node.inputs):
            reached.update(id(t) for t in node.outputs)
            found.append(node)
    return computing(found)


def traffic(timed: list[Node], graph: Graph) -> int:
    """Bytes that must be read and written at least: what comes in and what is wanted."""
    made = {id(t) for node in timed for t in node.outputs}
    read = {id(r): r for node in timed for t in node.inputs if id(r := root_of(t)) not in made}
    written = {id(t): t for t in map(root_of, graph.outputs) if id(t) in made}
    if not graph.outputs:
        written = {id(node.inputs[0]): node.inputs[0] for node in timed}
    return sum(t.spec.nbytes for t in (*read.values(), *written.values()))
