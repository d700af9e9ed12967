import re

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
def test_lenet5_takes_an_algorithm(algorithm, root, python):
    script = root / "models" / "lenet5.py"
    options = ["--device", "cpu", "--epochs", "1", "--verbose", "2"]
    printed = python(script, *options, "--conv-algorithm", algorithm)
    assert "accuracy" in printed
