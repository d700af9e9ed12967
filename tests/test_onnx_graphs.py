"""Small ONNX graphs: single operators beside ONNX's own evaluator; bad and hostile files."""

import numpy as np
import pytest

import nbcnn as keras
from nbcnn.saving import FormatError

onnx = pytest.importorskip("onnx")
helper, numpy_helper = pytest.importorskip("onnx.helper"), pytest.importorskip("onnx.numpy_helper")


def graph(nodes, shape=("n", 4, 6, 6), arrays=None, opset=17, out="y", path=None):
    arrays = [numpy_helper.from_array(np.asarray(a), n) for n, a in (arrays or {}).items()]
    x = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)
    y = helper.make_empty_tensor_value_info(out)
    made = helper.make_graph(nodes, "g", [x], [y], arrays)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def branch(kind, source):
    out = helper.make_empty_tensor_value_info("inner")
    return helper.make_graph([helper.make_node(kind, [source], ["inner"])], "branch", [], [out])


OPERATORS = {
    "shuffle": (
        [
            helper.make_node("MaxPool", ["x"], ["m"], kernel_shape=[1, 1]),
            helper.make_node("Reshape", ["m", "apart"], ["a"]),
            helper.make_node("Transpose", ["a"], ["b"], perm=[0, 2, 1, 3, 4]),
            helper.make_node("Reshape", ["b", "back"], ["y"]),
        ],
        {"apart": np.array([0, 2, 2, 6, 6]), "back": np.array([-1, 4, 6, 6])},
    ),
    "no_shuffle": (
        [
            helper.make_node("Reshape", ["x", "apart"], ["a"]),
            helper.make_node("Transpose", ["a"], ["b"], perm=[0, 2, 1, 3, 4]),
            helper.make_node("Reshape", ["b", "back"], ["y"]),
        ],
        {"apart": np.array([0, 3, 4, 3, 4]), "back": np.array([0, 12, 3, 4])},
    ),
    "slice": (
        [helper.make_node("Slice", ["x", "s", "e", "a", "t"], ["y"])],
        {"s": np.array([-1, 1]), "e": np.array([-9, 5]), "a": np.array([1, 3]),
         "t": np.array([-1, 2])},
    ),
    "split": (
        [
            helper.make_node("Split", ["x", "s"], ["a", "b"], axis=1),
            helper.make_node("Concat", ["b", "a"], ["y"], axis=1),
        ],
        {"s": np.array([1, 3])},
    ),
    "cubic": (
        [helper.make_node("Resize", ["x", "", "s"], ["y"], mode="cubic",
                          coordinate_transformation_mode="align_corners")],
        {"s": np.array([1, 1, 1.5, 2], "float32")},
    ),
    "pads": (
        [helper.make_node("Pad", ["x", "p"], ["y"], mode="edge")],
        {"p": np.array([0, 0, 1, 2, 0, 0, 0, 1])},
    ),
    "same_lower": (
        [helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], auto_pad="SAME_LOWER")],
        {},
    ),
    "depth_to_space": ([helper.make_node("DepthToSpace", ["x"], ["y"], blocksize=2)], {}),
    "space_to_depth": ([helper.make_node("SpaceToDepth", ["x"], ["y"], blocksize=2)], {}),
    "clip_and_hard_sigmoid": (
        [
            helper.make_node("Clip", ["x", "low"], ["c"]),
            helper.make_node("HardSigmoid", ["c"], ["h"]),
            helper.make_node("Div", ["h", "f"], ["y"]),
        ],
        {"low": np.float32(-0.5), "f": np.arange(1, 5, dtype="float32").reshape(4, 1, 1)},
    ),
    "means": (
        [
            helper.make_node("ReduceMean", ["x"], ["m"], axes=[2], keepdims=0),
            helper.make_node("Unsqueeze", ["m", "a"], ["u"]),
            helper.make_node("Sub", ["x", "u"], ["y"]),
        ],
        {"a": np.array([2])},
    ),
    "axes_as_input": (
        [
            helper.make_node("ReduceMean", ["x", "a"], ["m"], keepdims=0),
            helper.make_node("ReduceL2", ["m", "b"], ["n"]),
            helper.make_node("LogSoftmax", ["n"], ["l"], axis=1),
            helper.make_node("ReduceLogSumExp", ["l", "b"], ["y"], keepdims=0),
        ],
        {"a": np.array([-1]), "b": np.array([2])},
        18,
    ),
    "dilated_pool": (
        [helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[2, 3], dilations=[3, 2],
                          strides=[2, 1], pads=[1, 1, 1, 0], ceil_mode=1)],
        {},
    ),
    "padded_pool": (
        [helper.make_node("AveragePool", ["x"], ["y"], kernel_shape=[3, 3], pads=[1, 1, 1, 1],
                          strides=[2, 2], count_include_pad=1)],
        {},
    ),
    "einsum": ([helper.make_node("Einsum", ["x", "w", "x"], ["y"], equation="nchw,ck,nkhw->nkh")],
               {"w": np.arange(16, dtype="float32").reshape(4, 4) / 8}),
    "choice": (
        [
            helper.make_node("Greater", ["x", "z"], ["g"]),
            helper.make_node("Not", ["g"], ["n"]),
            helper.make_node("Where", ["n", "w", "x"], ["y"]),
        ],
        {"z": np.float32(0.1), "w": np.linspace(0, 1, 6, dtype="float32")},
    ),
    "one_slope": ([helper.make_node("PRelu", ["x", "s"], ["y"])],
                  {"s": np.full((1, 1, 1), 0.3, "float32")}),
    "expand_and_tile": (
        [
            helper.make_node("ReduceMax", ["x"], ["m"], axes=[2]),
            helper.make_node("Shape", ["x"], ["s"]),
            helper.make_node("Expand", ["m", "s"], ["e"]),
            helper.make_node("Tile", ["e", "r"], ["t"]),
            helper.make_node("Expand", ["c", "s"], ["d"]),
            helper.make_node("Concat", ["t", "d"], ["y"], axis=1),
        ],
        {"r": np.array([1, 2, 1, 1]), "c": np.linspace(0, 1, 6, dtype="float32")},
    ),
    "axes_joined_to_the_batch": (
        [
            helper.make_node("Flatten", ["x"], ["f"], axis=2),
            helper.make_node("Softmax", ["f"], ["p"], axis=1),
            helper.make_node("Shape", ["x"], ["s"]),
            helper.make_node("Reshape", ["p", "s"], ["y"]),
        ],
        {},
    ),
    "picked_along_the_first_axis": (
        [
            helper.make_node("Transpose", ["x"], ["t"], perm=[2, 3, 0, 1]),
            helper.make_node("GatherND", ["t", "i"], ["g"]),
            helper.make_node("Transpose", ["g"], ["y"], perm=[1, 2, 0]),
        ],
        {"i": np.array([[0, 5], [-1, 2], [3, 3]])},
    ),
    "numbers_of_samples": (
        [
            helper.make_node("ReduceMean", ["x"], ["m"], axes=[2, 3]),
            helper.make_node("Reshape", ["m", "all"], ["f"]),
            helper.make_node("Shape", ["x"], ["s"], end=1),
            helper.make_node("Squeeze", ["s"], ["n"]),
            helper.make_node("Range", ["zero", "n", "one"], ["r"]),
            helper.make_node("Mul", ["r", "four"], ["k"]),
            helper.make_node("Unsqueeze", ["k", "u"], ["v"]),
            helper.make_node("Add", ["v", "o"], ["i"]),
            helper.make_node("Gather", ["f", "i"], ["y"]),
        ],
        {"all": np.array([-1]), "zero": np.int64(0), "one": np.int64(1), "four": np.int64(4),
         "u": np.array([1]), "o": np.array([[3, 2, 0]])},
    ),
    "groups": (
        [helper.make_node("GroupNormalization", ["x", "g", "b"], ["y"], num_groups=2)],
        {"g": np.linspace(1, 2, 4, dtype="float32"), "b": np.linspace(0, 1, 4, dtype="float32")},
        21,
    ),
    "known_condition": (
        [
            helper.make_node("Relu", ["x"], ["r"]),
            helper.make_node("Shape", ["x"], ["s"], start=1, end=2),
            helper.make_node("Equal", ["s", "four"], ["c"]),
            helper.make_node("If", ["c"], ["i"], then_branch=branch("Exp", "r"),
                             else_branch=branch("Sqrt", "r")),
            helper.make_node("Add", ["i", "r"], ["y"]),
        ],
        {"four": np.array([4])},
    ),
    "half_precision": (
        [
            helper.make_node("Cast", ["w"], ["c"], to=onnx.TensorProto.FLOAT),
            helper.make_node("Conv", ["x", "c"], ["y"]),
        ],
        {"w": np.linspace(-1, 1, 24, dtype="float16").reshape(2, 4, 1, 3)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OPERATORS)
def test_operators_beside_the_reference(name):
    from onnx.reference import ReferenceEvaluator

    nodes, arrays, opset = (*OPERATORS[name], 17)[:3]
    model = graph(nodes, arrays=arrays, opset=opset)
    x = np.random.default_rng(0).normal(size=(2, 4, 6, 6)).astype("float32")
    (y,) = ReferenceEvaluator(model).run(None, {"x": x})
    found = keras.onnx.load(model.SerializeToString()).predict(x, verbose=0)
    np.testing.assert_allclose(found, y, rtol=1e-4, atol=1e-5)


def test_channels_are_shuffled_where_they_are():
    nodes, arrays = OPERATORS["shuffle"]
    model = keras.onnx.load(graph(nodes, arrays=arrays).SerializeToString())
    steps = [step.node.op.name for step in model.plan(2, training=False).steps]
    assert steps.count("transpose") == 3  # at the input, the shuffle, at the output


def test_operators_that_the_evaluator_has_not_or_not_right():
    x = np.random.default_rng(0).normal(size=(2, 4, 6, 6)).astype("float32")

    def found(kind, opset, arrays=None, **attributes):
        inputs = ["x", *(arrays or {})]
        model = graph(
            [helper.make_node(kind, inputs, ["y"], **attributes)], (2, 4, 6, 6), arrays, opset
        )
        return keras.onnx.load(model.SerializeToString()).predict(x, verbose=0)

    exp = np.exp(x)
    wanted = exp / exp.sum((1, 2, 3), keepdims=True)  # all axes behind `axis` count as one
    np.testing.assert_allclose(found("Softmax", 11), wanted, rtol=1e-5)
    around = np.pad(x**2, ((0, 0), (1, 1), (0, 0), (0, 0)))
    sums = around[:, :-2] + around[:, 1:-1] + around[:, 2:]
    wanted = x / (1.5 + 0.5 / 3 * sums) ** 0.6
    lrn = found("LRN", 17, size=3, alpha=0.5, beta=0.6, bias=1.5)
    np.testing.assert_allclose(lrn, wanted, rtol=1e-4)
    wanted = x / (1.0 + 0.5 / 2 * (around[:, 1:-1] + around[:, 2:])) ** 0.75
    np.testing.assert_allclose(found("LRN", 17, size=2, alpha=0.5), wanted, rtol=1e-4)
    kernel = {"w": np.linspace(-1, 1, 72, dtype="float32").reshape(4, 2, 3, 3)}
    shared = {"strides": [2, 2], "output_padding": [0, 1]}
    sized = found("ConvTranspose", 17, kernel, output_shape=[12, 13], **shared)
    padded = found("ConvTranspose", 17, kernel, pads=[1, 1, 0, 0], **shared)
    np.testing.assert_array_equal(sized, padded)


def test_biases_are_found_behind_other_operators():
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv"),
        helper.make_node("Transpose", ["c"], ["t"], perm=[0, 2, 3, 1]),
        helper.make_node("Cast", ["t"], ["k"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Add", ["b", "k"], ["y"]),
    ]
    bias = np.arange(2, dtype="float32").reshape(1, 1, 1, 2)
    arrays = {"w": np.ones((2, 4, 1, 1), "float32"), "b": bias}
    model = keras.onnx.load(graph(nodes, arrays=arrays).SerializeToString())
    assert [v.path for v in model.trainable_variables] == ["conv/kernel", "conv/bias"]
    found = model.predict(np.ones((1, 4, 6, 6), "float32"), verbose=0)
    np.testing.assert_array_equal(found, np.broadcast_to(4 + bias, (1, 6, 6, 2)))


def refused(model, text):
    data = model if isinstance(model, bytes) else model.SerializeToString()
    with pytest.raises(FormatError, match=text):
        keras.onnx.load(data)


def test_unsupported_operators_are_all_listed():
    nodes = [
        helper.make_node("NonZero", ["x"], ["a"]),
        helper.make_node("GridSample", ["a"], ["b"]),
        helper.make_node("NonZero", ["b"], ["c"]),
        helper.make_node("Gizmo", ["c"], ["y"], domain="com.example"),
    ]
    refused(graph(nodes), r"GridSample \(1\), NonZero \(2\), com.example.Gizmo \(1\)")
    nodes = [
        helper.make_node("Concat", ["x", "x"], ["a"], axis=0, name="one"),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("ReduceMean", ["x"], ["c"], axes=[0], name="two"),
        helper.make_node("Add", ["b", "c"], ["y"]),
    ]
    refused(graph(nodes), "Concat 'one': along the batch; ReduceMean 'two': over the batch")


def test_indices_of_pools_are_read_by_unpooling_alone():
    pool = helper.make_node("MaxPool", ["x"], ["p", "i"], kernel_shape=[2, 2], strides=[2, 2])
    refused(graph([pool], out="i"), "'i' numbers the pixels of all samples")
    other = helper.make_node("Cast", ["i"], ["y"], to=1)
    refused(graph([pool, other]), "Cast: of a pool's indices, which count through all samples")


def test_what_is_no_path_or_no_place_for_a_file(tmp_path):
    with pytest.raises(TypeError, match=r"onnx\.load: source must be a path, got None"):
        keras.onnx.load(None)
    with pytest.raises(FileNotFoundError, match=r"onnx\.load: no such file"):
        keras.onnx.load(tmp_path)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    with pytest.raises(TypeError, match="export: filepath must be a path, got 3"):
        model.export(3)
    with pytest.raises(FileNotFoundError, match="export: there is no folder"):
        model.export(tmp_path / "none" / "m.onnx")
    with pytest.raises(IsADirectoryError, match=r"export: filepath .* is a folder"):
        model.export(tmp_path)
    assert not list(tmp_path.iterdir())


def test_damaged_and_foreign_files(root, tmp_path):
    relu = [helper.make_node("Relu", ["x"], ["y"])]
    refused(b"no protobuf at all", "no ONNX file")
    refused(b"", "no ONNX file")
    data = (root / "tests" / "onnx" / "lenet.onnx").read_bytes()
    for size in range(0, len(data), 401):
        with pytest.raises(FormatError):
            keras.onnx.load(data[:size])
    refused(graph(relu, opset=5), "opset")
    refused(graph(relu, opset=99), "opset")
    refused(graph(relu, shape=("n", 4, "h", "w")), "all sizes but that of the batch must be fixed")
    refused(graph([helper.make_node("Relu", ["z"], ["y"])]), "reads 'z', which nothing")
    refused(graph(relu, out="other"), "output 'other'")
    weight = {"w": np.zeros((2, 3, 3, 3), "float32")}  # for 3 channels; there are 4
    refused(graph([helper.make_node("Conv", ["x", "w"], ["y"], name="c")], arrays=weight), "'c'")
    refused(graph(relu, shape=("n", 1 << 20, 1 << 20)), "too large")
    pads = {"p": np.array([0, 0, 0, 0, 0, 0, 0, 1 << 40])}
    refused(graph([helper.make_node("Pad", ["x", "p"], ["y"], mode="edge")], arrays=pads), "pads")
    shape = {"s": np.array([1 << 20, 1 << 20])}
    nodes = [
        helper.make_node("ConstantOfShape", ["s"], ["c"]),
        helper.make_node("Add", ["x", "c"], ["y"]),
    ]
    refused(graph(nodes, arrays=shape), "too large")
    with pytest.raises(FileNotFoundError):
        keras.onnx.load(tmp_path / "none.onnx")


def test_hostile_graphs():
    relu = helper.make_node("Relu", ["x"], ["y"])
    ring = [helper.make_node("Add", ["x", "b"], ["y"]), helper.make_node("Relu", ["y"], ["b"])]
    refused(graph(ring), "reads 'b', which nothing")
    refused(graph([relu, relu]), "same name: y")
    refused(graph([helper.make_node("Relu", ["x"], ["x"])], out="x"), "same name: x")
    refused(graph([helper.make_node("LeakyRelu", ["x"], ["y"], alpha=float("nan"))]), "no number")
    refused(graph([relu] * 100_000), "100000 operators")
    refused(graph([relu], shape=("n", -4, 6)), "fixed and positive")
    refused(nested(100_000), "no ONNX file")
    model = graph(
        [helper.make_node("Conv", ["x", "w"], ["y"])], arrays={"w": np.zeros((1, 4, 1, 1))}
    )
    for sizes in ((1 << 40, 4, 1, 1), (-1, 4, 1, 1), (1, 4, 1, 1 << 62)):
        model.graph.initializer[0].dims[:] = sizes
        refused(model, "tensor 'w'")
    for nodes, arrays in LARGE:
        refused(
            graph(nodes, arrays={k: np.asarray(v) for k, v in arrays.items()}), "too large|sizes"
        )


def nested(depth):
    """The bytes of a graph with an operator that has a graph with an operator, and so on."""
    heads, size = [], 0
    for level in range(depth):
        for field in ((6, 5, 1)[level % 3],):  # graph of an attribute, attribute, node
            number, length = size, bytearray()
            while number > 127:
                length.append(number & 127 | 128)
                number >>= 7
            heads.append(bytes([field << 3 | 2, *length, number]))
            size += len(heads[-1])
    body = b"".join(reversed(heads))
    return helper.make_model(helper.make_graph([], "g", [], [])).SerializeToString() + body


# What would make arrays or layers far larger than the file.
LARGE = [
    ([helper.make_node("Add", ["a", "b"], ["c"]), helper.make_node("Add", ["x", "c"], ["y"])],
     {"a": np.zeros((20000, 1), "float32"), "b": np.zeros((1, 20000), "float32")}),
    ([helper.make_node("Tile", ["a", "r"], ["c"]), helper.make_node("Add", ["x", "c"], ["y"])],
     {"a": np.zeros((10, 10), "float32"), "r": [1 << 20, 1 << 20]}),
    ([helper.make_node("ReduceMax", ["x"], ["m"], axes=[2, 3]),
      helper.make_node("Expand", ["m", "s"], ["y"])], {"s": [1, 4, 1 << 12, 1 << 12]}),
    ([helper.make_node("Resize", ["x", "", "", "s"], ["y"])], {"s": [1, 4, 1 << 20, 1 << 20]}),
    ([helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[1, 1], pads=[1 << 30] * 4)], {}),
]  # fmt: skip


@pytest.mark.parametrize(
    "location, text",
    [
        ("../secret.bin", "outside"),
        ("/etc/passwd", "outside"),
        ("link.bin", "outside"),
        ("none.bin", "missing"),
        ("short.bin", "too short"),
    ],
)
def test_external_data_stays_in_the_folder(location, text, tmp_path):
    (tmp_path / "secret.bin").write_bytes(bytes(576))
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "short.bin").write_bytes(bytes(100))
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    weight = numpy_helper.from_array(np.zeros((4, 4, 3, 3), "float32"), "w")
    model = graph([helper.make_node("Conv", ["x", "w"], ["y"])])
    weight.ClearField("raw_data")
    weight.data_location = onnx.TensorProto.EXTERNAL
    weight.external_data.add(key="location", value=location)
    model.graph.initializer.append(weight)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(FormatError, match=text):
        keras.onnx.load(folder / "model.onnx")
    (folder / "whole.bin").write_bytes(bytes(576))
    model.graph.initializer[0].external_data[0].value = "whole.bin"
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    assert keras.onnx.load(folder / "model.onnx").output_shape == (None, 4, 4, 4)
