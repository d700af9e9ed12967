"""The count of Keras's names, and the document made of it."""

import subprocess
import sys
import types

import pytest
from compat import (
    DOCUMENT,
    SURFACE,
    covered,
    document,
    has,
    holder,
    read_reasons,
    read_surface,
    report,
    share,
    totals,
    unexplained,
)

import nbcnn


@pytest.fixture(scope="module")
def coverage():
    return covered(read_surface(SURFACE), nbcnn)


def test_absent_names_have_reasons(coverage):
    assert unexplained(coverage, read_reasons()) == []


def test_the_document_is_current(coverage):
    text = document(coverage, read_reasons())
    assert DOCUMENT.read_text(encoding="utf-8") == text, "run python -m tests.compat"
    assert "no reason given" not in text


def test_what_counts_as_present():
    class Owner:
        fields = {"field": None}

        def __init__(self):
            self.own = 1

        @property
        def part(self):
            raise AttributeError("not yet")

    package = types.SimpleNamespace(Owner=Owner, __name__="no_such_package")
    assert [n for n in ("field", "own", "part", "gone") if not has(Owner, n)] == ["gone"]
    assert holder(package, "Owner") is Owner
    assert holder(package, "nowhere.at.all") is None
    assert has(nbcnn, "optimizers.Adam")
    assert not has(nbcnn, "optimizers.Adma")


def test_shares_are_of_all_names_and_rounded_down():
    found = covered({"": ["Model", "Nothing"], "datasets": ["mnist_of_no_one"]}, nbcnn)
    assert totals(found) == (1, 3)
    assert totals(found, ("datasets",)) == (1, 2)
    assert "all: 1 of 3 names, 33.3 %" in report(found)
    assert "absent: Nothing" in report(found)
    assert unexplained(found, {("datasets", "*"): "why"}) == [("", "Nothing")]
    assert share(1999, 2000) == "99.9 %"


def run(root, *arguments):
    command = [sys.executable, "-m", "tests.compat", *map(str, arguments)]
    return subprocess.run(command, cwd=root, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("contents", "message"),
    [(None, "cannot be read"), ("{", "is no JSON"), ("[1]", "expected an object of lists")],
)
def test_a_bad_list_of_names_is_refused(root, tmp_path, contents, message):
    path = tmp_path / "surface.json"
    if contents is not None:
        path.write_text(contents)
    done = run(root, "--surface", path, "--document", tmp_path / "out.md")
    assert done.returncode == 2
    assert message in done.stderr
    assert not (tmp_path / "out.md").exists()


def test_the_command_writes_and_checks(root, tmp_path):
    surface, out = tmp_path / "surface.json", tmp_path / "out.md"
    surface.write_text('{"": ["Model"]}')
    options = ("--surface", surface, "--document", out)
    assert run(root, *options, "--check").returncode == 1
    assert run(root, *options).returncode == 0
    assert run(root, *options, "--check").returncode == 0
    surface.write_text('{"": ["Model", "Nothing"]}')
    done = run(root, *options)
    assert done.returncode == 1
    assert "no reason in reasons.json for .Nothing" in done.stderr
    assert "| `layers` |" in out.read_text(encoding="utf-8"), "modules that the list leaves out"
