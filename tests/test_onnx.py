"""ONNX files: twelve networks exported by PyTorch, beside what onnxruntime makes of them and what
PyTorch's gradients are (`tests/onnx`); models written, read by ONNX's own evaluator; bad files.
"""

import random

import numpy as np
import pytest

import nbcnn as keras
from nbcnn import layers
from nbcnn.saving import FormatError

onnx = pytest.importorskip("onnx")
helper, numpy_helper = pytest.importorskip("onnx.helper"), pytest.importorskip("onnx.numpy_helper")

NETWORKS = [
    "resnet", "mobilenet", "unet", "inception", "shuffle", "convnext", "upsampling", "sequence",
    "decoder", "lenet", "volume", "sequential_dilated",
]  # fmt: skip
# Networks whose first kernel is in the file as it is in PyTorch, not with a normalization in it.
KERNELS_AS_THEY_WERE = ["resnet", "mobilenet", "shuffle", "upsampling", "lenet", "volume"]
UNLIKE_ITSELF = {"upsampling", "volume"}  # what is written of them holds reshapes over samples


@pytest.fixture(scope="module")
def expected(root):
    return np.load(root / "tests" / "onnx" / "expected.npz")


@pytest.fixture
def network(root):
    return lambda name, **options: keras.onnx.load(
        root / "tests" / "onnx" / f"{name}.onnx", **options
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_predictions_are_those_of_onnxruntime(name, network, expected):
    x, y = expected[f"{name}/x"], expected[f"{name}/y"]
    model = network(name)
    assert model.output_shape == (None, *y.shape[1:])
    np.testing.assert_allclose(model.predict(x, verbose=0), y, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", KERNELS_AS_THEY_WERE)
def test_gradients_are_those_of_pytorch(name, network, expected):
    model = network(name)
    kernel = next(layer for layer in model.layers if layer.trainable_variables).kernel
    slope = keras.value_and_grad(lambda x: keras.ops.mean(model(x) ** 2), [kernel])
    _, (found,) = slope(expected[f"{name}/x"])
    wanted = expected[f"{name}/grad"]
    wanted = wanted.transpose(*range(2, wanted.ndim), 1, 0)
    found = np.asarray(found)
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-3 * np.abs(wanted).max())


def test_an_imported_network_trains_and_is_saved(network, expected, tmp_path):
    model = network("mobilenet")
    x, y = expected["mobilenet/x"], np.zeros_like(expected["mobilenet/y"])
    model.compile(optimizer=keras.optimizers.Adam(0.01), loss="mse")
    losses = model.fit(x, y, epochs=5, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    model.save(tmp_path / "model.nbcnn")
    again = keras.models.load_model(tmp_path / "model.nbcnn")
    np.testing.assert_array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))
    assert [layer.name for layer in again.layers] == [layer.name for layer in model.layers]


def test_channels_last(network, expected):
    x, y = expected["unet/x"], expected["unet/y"]
    found = network("unet", channels_last=True).predict(x.transpose(0, 2, 3, 1), verbose=0)
    np.testing.assert_allclose(found, y.transpose(0, 2, 3, 1), rtol=1e-4, atol=1e-5)


# -- writing --------------------------------------------------------------------------------------


def evaluated(path, x):
    from onnx.reference import ReferenceEvaluator

    model = onnx.load(path)
    onnx.checker.check_model(model)
    evaluator = ReferenceEvaluator(model)
    return evaluator.run(None, {evaluator.input_names[0]: x})[0]


OWN = {
    "image": (
        (12, 11, 3),
        lambda: [
            layers.Conv2D(4, 3, 2, "same", activation="gelu"),
            layers.BatchNormalization(),
            layers.SeparableConv2D(6, 3, activation="silu"),
            layers.Conv2DTranspose(4, 3, 2, "same"),
            layers.MaxPooling2D(2),
            layers.LayerNormalization(),
            layers.UpSampling2D(2),
            layers.GlobalAveragePooling2D(),
            layers.Dense(3, activation="softmax"),
        ],
    ),
    "sequence": (
        (16, 2),
        lambda: [
            layers.Conv1D(4, 3, padding="causal", dilation_rate=2, activation="elu"),
            layers.AveragePooling1D(2),
            layers.GroupNormalization(2),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(2, activation="sigmoid"),
        ],
    ),
}


@pytest.mark.parametrize("name", OWN)
def test_written_models_compute_the_same(name, tmp_path):
    shape, made = OWN[name]
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input(shape), *made()])
    x = np.random.default_rng(0).normal(size=(2, *shape)).astype("float32")
    y = model.predict(x, verbose=0)
    model.export(tmp_path / "model.onnx")
    np.testing.assert_allclose(evaluated(tmp_path / "model.onnx", x), y, rtol=1e-4, atol=1e-5)
    again = keras.onnx.load(tmp_path / "model.onnx")
    np.testing.assert_allclose(again.predict(x, verbose=0), y, rtol=1e-4, atol=1e-5)
    assert [p.name for p in tmp_path.iterdir()] == ["model.onnx"]


@pytest.mark.parametrize("name", [n for n in NETWORKS if n not in UNLIKE_ITSELF])
def test_imported_networks_are_written_again(name, network, expected, tmp_path):
    model, x = network(name), expected[f"{name}/x"]
    model.export(tmp_path / "again.onnx")
    again = keras.onnx.load(tmp_path / "again.onnx")
    y = expected[f"{name}/y"]
    np.testing.assert_allclose(again.predict(x, verbose=0), y, rtol=1e-4, atol=1e-5)


def test_what_cannot_be_written(tmp_path):
    model = keras.Sequential([keras.Input((4,)), layers.Lambda(keras.ops.cumsum)])
    with pytest.raises(ValueError, match="cannot hold: cumulative"):
        model.export(tmp_path / "model.onnx")
    with pytest.raises(ValueError, match="format must be 'onnx', got 'tf'"):
        model.export(tmp_path / "model", format="tf")
    with pytest.raises(ValueError, match="not been built"):
        keras.Sequential([layers.Dense(2)]).export(tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


# -- single operators, and bad files --------------------------------------------------------------


def graph(nodes, shape=("n", 4, 6, 6), arrays=None, opset=17, out="y", path=None):
    arrays = [numpy_helper.from_array(np.asarray(a), n) for n, a in (arrays or {}).items()]
    x = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)
    y = helper.make_empty_tensor_value_info(out)
    made = helper.make_graph(nodes, "g", [x], [y], arrays)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


OPERATORS = {
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
    "gelu_in_parts": (
        [
            helper.make_node("Div", ["x", "r"], ["d"]),
            helper.make_node("Erf", ["d"], ["e"]),
            helper.make_node("Add", ["e", "one"], ["p"]),
            helper.make_node("Mul", ["x", "p"], ["t"]),
            helper.make_node("Mul", ["t", "half"], ["y"]),
        ],
        {"r": np.float32(2**0.5), "one": np.float32(1), "half": np.float32(0.5)},
    ),
    "gates": (
        [
            helper.make_node("Sigmoid", ["x"], ["s"]),
            helper.make_node("Mul", ["x", "s"], ["a"]),
            helper.make_node("HardSigmoid", ["a"], ["h"], alpha=1 / 6),
            helper.make_node("Mul", ["h", "a"], ["b"]),
            helper.make_node("Sigmoid", ["b"], ["g"]),
            helper.make_node("Mul", ["a", "g"], ["y"]),  # no gate: of another tensor
        ],
        {},
    ),
    "shuffle": (
        [
            helper.make_node("MaxPool", ["x"], ["m"], kernel_shape=[1, 1]),
            helper.make_node("Reshape", ["m", "apart"], ["a"]),
            helper.make_node("Transpose", ["a"], ["b"], perm=[0, 2, 1, 3, 4]),
            helper.make_node("Reshape", ["b", "back"], ["y"]),
        ],
        {"apart": np.array([0, 2, 2, 6, 6]), "back": np.array([0, 4, 6, 6])},
    ),
    "no_shuffle": (
        [
            helper.make_node("Reshape", ["x", "apart"], ["a"]),
            helper.make_node("Transpose", ["a"], ["b"], perm=[0, 2, 1, 3, 4]),
            helper.make_node("Reshape", ["b", "back"], ["y"]),
        ],
        {"apart": np.array([0, 3, 4, 3, 4]), "back": np.array([0, 12, 3, 4])},
    ),
    "means": (
        [
            helper.make_node("ReduceMean", ["x"], ["m"], axes=[2], keepdims=0),
            helper.make_node("Unsqueeze", ["m", "a"], ["u"]),
            helper.make_node("Sub", ["x", "u"], ["y"]),
        ],
        {"a": np.array([2])},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OPERATORS)
def test_operators_beside_the_reference(name):
    from onnx.reference import ReferenceEvaluator

    nodes, arrays = OPERATORS[name]
    model = graph(nodes, arrays=arrays)
    x = np.random.default_rng(0).normal(size=(2, 4, 6, 6)).astype("float32")
    (y,) = ReferenceEvaluator(model).run(None, {"x": x})
    found = keras.onnx.load(model.SerializeToString()).predict(x, verbose=0)
    np.testing.assert_allclose(found, y, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "name, steps",
    [("gelu_in_parts", ["gelu"]), ("gates", ["silu", "hard_silu", "sigmoid", "multiply"])],
)
def test_what_exporters_write_for_one_function_is_one_again(name, steps):
    nodes, arrays = OPERATORS[name]
    plan = keras.onnx.load(graph(nodes, arrays=arrays).SerializeToString()).plan(2, training=False)
    found = [getattr(step.node.op, "function", None) for step in plan.steps]
    assert [name for name in found if name] == steps


def refused(model, text):
    data = model if isinstance(model, bytes) else model.SerializeToString()
    with pytest.raises(FormatError, match=text):
        keras.onnx.load(data)


def test_unsupported_operators_are_all_listed():
    nodes = [
        helper.make_node("NonZero", ["x"], ["a"]),
        helper.make_node("Einsum", ["a"], ["b"], equation="i->i"),
        helper.make_node("NonZero", ["b"], ["c"]),
        helper.make_node("Gizmo", ["c"], ["y"], domain="com.example"),
    ]
    refused(graph(nodes), r"Einsum \(1\), NonZero \(2\), com.example.Gizmo \(1\)")
    nodes = [
        helper.make_node("Concat", ["x", "x"], ["a"], axis=0, name="one"),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Transpose", ["x"], ["c"], perm=[1, 0, 2, 3], name="two"),
        helper.make_node("Add", ["b", "c"], ["y"]),
    ]
    refused(graph(nodes), "Concat 'one': along the batch; Transpose 'two': moves the batch")


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


def test_mutated_files_are_read_or_refused(root):
    """Whatever the bytes say: a model, or a FormatError."""
    draw = random.Random(0)
    files = [(root / "tests" / "onnx" / f"{n}.onnx").read_bytes() for n in ("lenet", "decoder")]
    refusals = 0
    for _ in range(300):
        data = bytearray(draw.choice(files))
        for _ in range(draw.choice((1, 1, 2, 4))):
            place = draw.randrange(len(data))
            if draw.random() < 0.7:
                data[place] = draw.choice((0, 1, 127, 255, draw.randrange(256)))
            else:
                del data[place : place + draw.randrange(1, 5)]
        try:
            keras.onnx.load(bytes(data))
        except FormatError:
            refusals += 1
    assert 0 < refusals < 300


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


def test_without_the_package(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(ImportError, match=r"pip install nbcnn\[onnx\]"):
        keras.onnx.load(b"anything")
    model = keras.Sequential([keras.Input((4,)), layers.Dense(2)])
    with pytest.raises(ImportError, match=r"pip install nbcnn\[onnx\]"):
        model.export("nowhere.onnx")
