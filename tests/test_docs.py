import importlib.util
import re
import shlex
import shutil
from configparser import ConfigParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
WITH_SNIPPETS = [page for page in PAGES if "```python" in page.read_text(encoding="utf-8")]
# A snippet after <!-- needs: NAME --> is left out where that module cannot be imported; a page with
# <!-- page needs: NAME --> is skipped.
SNIPPET = re.compile(r"(?:<!-- needs: (\w+) -->\n)?^```(\w*)\n(.*?)^```$", re.M | re.DOTALL)
NEEDS = re.compile(r"<!-- page needs: (\w+) -->")
COMMAND = re.compile(r"<!-- command: (\w+) -->\n```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def snippets(text):
    """The Python snippets that can be run here."""
    return [
        code
        for needs, language, code in SNIPPET.findall(text)
        if language == "python" and (not needs or importlib.util.find_spec(needs))
    ]


def number(pattern, printed):
    return float(re.search(pattern, printed).group(1))


# What is to be seen in what a page's snippets print.
SEEN = {
    "analysis": lambda printed: (
        "178,640 entries that are not zero, of 8,003,072,000" in printed
        and number(r"planned (\S+) % off", printed) < 5
        and "largest difference 0.0" in printed
    ),
    "README": lambda printed: number(r"accuracy (\d\.\d+), the first five", printed) > 0.95,
    "course": lambda printed: number(r"accuracy (\d\.\d+)", printed) > 0.8,
    "custom_training": lambda printed: number(r"loss (\d\.\d+)", printed) < 2.2,
    "deploying": lambda printed: (
        number(r"largest difference (\S+)", printed) < 1e-4
        and "20 layers, 0 steps of a prediction" in printed
        and number(r"accuracy (\S+)", printed) > 0.3
    ),
    "from_keras": lambda printed: (
        number(r"accuracy (\d\.\d+)", printed) > 0.8 and "did you mean 'adam'" in printed
    ),
    "from_pytorch": lambda printed: number(r"loss (\d\.\d+)", printed) < 1.0,
    "getting_started": lambda printed: (
        "['accuracy', 'loss', 'val_accuracy', 'val_loss']\nTrue\n" in printed
    ),
    "onnx": lambda printed: printed.split("\n")[:2] == ["(2, 5)", "True"],
    "scikit_learn": lambda printed: number(r"accuracy (\d\.\d+)", printed) > 0.9,
}


@pytest.mark.parametrize("page", WITH_SNIPPETS, ids=lambda page: page.stem)
def test_snippets_of_a_page_run_one_after_the_other(page, python, tmp_path):
    text = page.read_text(encoding="utf-8")
    for name in NEEDS.findall(text):
        pytest.importorskip(name)
    code = "\n".join(snippets(text))
    files = ROOT / "tests" / "docs" / page.stem  # what only other programs can write
    if files.is_dir():
        shutil.copytree(files, tmp_path, dirs_exist_ok=True)
    script = tmp_path / "snippets.py"
    for folder in ("tests", "models"):
        code = code.replace(f'"{folder}/', f'"{ROOT.as_posix()}/{folder}/')
    script.write_text(code, encoding="utf-8")
    printed = python(script, NBCNN_DEVICE="cpu")
    if page.stem in SEEN:
        assert SEEN[page.stem](printed), printed


@pytest.fixture(scope="module")
def readme(root):
    return (root / "README.md").read_text(encoding="utf-8")


REWRITING = """
import h5py
with h5py.File("model.weights.h5") as old:
    arrays = {}
    old.visititems(lambda n, x: arrays.update({n: x[()]}) if isinstance(x, h5py.Dataset) else None)
with h5py.File("model.weights.h5", "w", libver="latest") as new:
    for name, array in arrays.items():
        new.create_dataset(name, data=array, compression="gzip" if array.ndim else None)
try:
    again.load_weights("model.weights.h5")
except ValueError as error:
    print(error)
"""


def test_snippets_about_files_run(root, python, tmp_path):
    """The last one is for files that are compressed and in the newer layout."""
    pytest.importorskip("h5py")
    text = (root / "docs" / "files.md").read_text(encoding="utf-8")
    *first, last = snippets(text)
    script = tmp_path / "snippets.py"
    start = f"import os\nos.chdir({str(tmp_path)!r})"
    script.write_text("\n".join([start, *first, REWRITING, last]), encoding="utf-8")
    assert "docs/files.md says how to rewrite" in python(script, NBCNN_DEVICE="cpu")


def test_readme_has_both_commands_and_they_make_their_own_environment(readme):
    commands = dict(COMMAND.findall(readme))
    assert set(commands) == {"train", "test"}
    for command in commands.values():
        words = shlex.split(command)
        assert words[:4] == ["{", "python3", "-m", "venv"]
        assert "pip" in words
    assert "models/lenet5.py" in commands["train"]
    assert "pytest" in commands["test"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_to_files(page):
    text = SNIPPET.sub("", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)[^)]*\)", text):
        assert (page.parent / target).exists(), target


def test_extras_named_in_the_readme_exist(readme, root):
    config = ConfigParser()
    config.read(root / "setup.cfg")
    named = set(re.findall(r"'\.\[(\w+)\]'", readme))
    assert named
    assert named <= set(config["options.extras_require"])
