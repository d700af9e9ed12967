import importlib.util
import re
import shutil

import pytest


def field(printed, name):
    return re.search(rf"^{name}: (.+)$", printed, re.MULTILINE).group(1)


@pytest.mark.parametrize(
    ("options", "reached"), [(["--epochs", "10"], 0.7), (["--epochs", "25", "--modern"], 0.95)]
)
def test_lenet5_trains_reports_and_saves(options, reached, root, python, tmp_path):
    script = root / "models" / "lenet5.py"
    printed = python(script, "--device", "cpu", "--verbose", "0", *options)
    assert field(printed, "device") == "cpu"
    assert "Total params" in printed
    assert field(printed, "multiply-adds") == "0.42 M a sample"
    assert reached < float(field(printed, "test accuracy")) <= 1
    assert float(field(printed, "training").removesuffix(" img/s").replace(",", "")) > 0
    assert float(field(printed, "peak memory").removesuffix(" MiB").replace(",", "")) > 0
    assert (tmp_path / "lenet5.nbcnn").stat().st_size > 4 * 60_000


def test_lenet5_saved_model_loads_and_repeats_with_its_seed(root, python, tmp_path):
    script = root / "models" / "lenet5.py"
    for name in ("first", "second"):
        python(script, "--epochs", "1", "--seed", "3", "--save", name + ".nbcnn", "--verbose", "0")
    compare = tmp_path / "compare.py"
    compare.write_text(
        "import numpy as np, nbcnn\n"
        "first, second = (nbcnn.models.load_model(f'{n}.nbcnn') for n in ('first', 'second'))\n"
        "for a, b in zip(first.get_weights(), second.get_weights(), strict=True):\n"
        "    np.testing.assert_array_equal(a, b)\n"
    )
    python(compare)


@pytest.mark.parametrize("algorithm", ["direct", "im2col"])
def test_lenet5_takes_an_algorithm(algorithm, root, python, tmp_path):
    script = root / "models" / "lenet5.py"
    options = ["--device", "cpu", "--epochs", "1", "--verbose", "2"]
    if importlib.util.find_spec("onnx"):
        options += ["--onnx", "lenet5.onnx"]
    printed = python(script, *options, "--conv-algorithm", algorithm)
    assert "accuracy" in printed
    assert ("exported: lenet5.onnx" in printed) == (tmp_path / "lenet5.onnx").exists()


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv2"])
def test_a_network_of_pytorch_is_used_and_trained(name, root, python, tmp_path):
    """Narrow ones that `models/to_onnx.py` has written, with what ONNX Runtime makes of them."""
    pytest.importorskip("onnx")
    for kind in ("onnx", "npz"):
        shutil.copy(root / "tests" / "onnx" / f"{name}.{kind}", tmp_path)
    script, options = (
        root / "models" / "from_onnx.py",
        ("--verbose", "0", "--learning-rate", "0.01"),
    )
    printed = python(script, tmp_path / f"{name}.onnx", *options, "--epochs", "4")
    far, by = re.match(
        r"(\S+) of the largest output .* of (.*)", field(printed, "predictions")
    ).groups()
    assert float(far) < 1e-4
    assert by.startswith("ONNX Runtime")
    normalizations = {"resnet18": 20, "mobilenetv2": 52}[name]
    assert field(printed, "batch normalization").startswith(f"{normalizations} layers, 0 steps")
    assert float(field(printed, "test accuracy")) > 0.5
    assert re.match(r"[\d,]+ MiB in \d+ packages \(.*llvmlite", field(printed, "nbcnn"))
    assert 0 < float(field(printed, "nbcnn import").removesuffix(" s")) < 60
    assert "names no interpreter" in field(printed, "PyTorch")
    assert (tmp_path / f"{name}.nbcnn").exists()


def test_a_missing_network_says_how_to_get_one(root, python, tmp_path):
    with pytest.raises(AssertionError, match=r"to_onnx\.py resnet18"):
        python(root / "models" / "from_onnx.py", tmp_path / "none.onnx")
