import re
import shlex
from configparser import ConfigParser

import pytest

FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"<!-- command: (\w+) -->\n```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def readme(root):
    return (root / "README.md").read_text(encoding="utf-8")


def test_readme_snippets_run_one_after_the_other(readme, python, tmp_path):
    snippets = [code for language, code in FENCED.findall(readme) if language == "python"]
    assert snippets
    script = tmp_path / "snippets.py"
    script.write_text("\n".join(snippets), encoding="utf-8")
    printed = python(script, NBCNN_DEVICE="cpu")
    accuracy = float(re.search(r"accuracy (\d\.\d+), the first five", printed).group(1))
    assert accuracy > 0.95


def test_snippets_about_custom_training_run(root, python, tmp_path):
    text = (root / "docs" / "custom_training.md").read_text(encoding="utf-8")
    snippets = [code for language, code in FENCED.findall(text) if language == "python"]
    script = tmp_path / "snippets.py"
    script.write_text("\n".join([*snippets, "print(history.history)"]), encoding="utf-8")
    printed = python(script, NBCNN_DEVICE="cpu")
    assert float(re.search(r"loss (\d\.\d+)", printed).group(1)) < 2.2
    assert {"critic_loss", "maker_loss"} <= set(re.findall(r"'(\w+)'", printed))


def test_snippets_about_onnx_run(root, python, tmp_path):
    pytest.importorskip("onnx")
    text = (root / "docs" / "onnx.md").read_text(encoding="utf-8")
    snippets = [code for language, code in FENCED.findall(text) if language == "python"]
    script = tmp_path / "snippets.py"
    code = "\n".join(snippets).replace("tests/onnx", (root / "tests" / "onnx").as_posix())
    script.write_text(code.replace('"own.onnx"', repr(str(tmp_path / "own.onnx"))), "utf-8")
    assert python(script, NBCNN_DEVICE="cpu").split("\n")[:2] == ["(2, 5)", "True"]


def test_snippets_about_deploying_run(root, python, tmp_path):
    pytest.importorskip("onnx")
    text = (root / "docs" / "deploying.md").read_text(encoding="utf-8")
    snippets = [code for language, code in FENCED.findall(text) if language == "python"]
    script = tmp_path / "snippets.py"
    code = "\n".join(snippets).replace("tests/onnx", (root / "tests" / "onnx").as_posix())
    script.write_text(code, encoding="utf-8")
    printed = python(script, NBCNN_DEVICE="cpu")
    assert float(re.search(r"largest difference (\S+)", printed).group(1)) < 1e-4
    assert "20 layers, 0 steps of a prediction" in printed
    assert float(re.search(r"accuracy (\S+)", printed).group(1)) > 0.3


def test_readme_has_both_commands_and_they_make_their_own_environment(readme):
    commands = dict(COMMAND.findall(readme))
    assert set(commands) == {"train", "test"}
    for command in commands.values():
        words = shlex.split(command)
        assert words[:4] == ["{", "python3", "-m", "venv"]
        assert "pip" in words
    assert "models/lenet5.py" in commands["train"]
    assert "pytest" in commands["test"]


def test_readme_links_lead_to_files(readme, root):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", readme):
        assert (root / target).exists(), target


def test_extras_named_in_the_readme_exist(readme, root):
    config = ConfigParser()
    config.read(root / "setup.cfg")
    named = set(re.findall(r"'\.\[(\w+)\]'", readme))
    assert named
    assert named <= set(config["options.extras_require"])
