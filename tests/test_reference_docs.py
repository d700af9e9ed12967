"""The reference under `docs/site/` covers every public name, and docstrings every parameter."""

import re
import sys
from pathlib import Path

import pytest
from compat import SURFACE, holder, read_surface

import nbcnn

ROOT = Path(__file__).parents[1]
SITE = ROOT / "docs" / "site"
sys.path.insert(0, str(SITE))

import pages  # noqa: E402
import public  # noqa: E402


@pytest.fixture(scope="module", autouse=True)
def _with_scikit_learn():
    pytest.importorskip("sklearn", reason="the wrappers' names are there only with it")


def named(text):
    """Names that a page describes, and those that it lists as further ones."""
    return {
        *re.findall(r"^::: ([\w.]+)$", text, re.M),
        *re.findall(r"^\| `(nbcnn[\w.]*)` \|", text, re.M),
    }


def test_every_name_of_a_public_module_is_in_the_reference():
    shown = set().union(*(named(pages.markdown(page)) for page in pages.PAGES))
    modules = public.modules()
    wanted = {f"{path}.{name}" for path, module in modules.items() for name in module.__all__}
    assert wanted - shown == set(modules) - {"nbcnn"}
    assert shown <= wanted


def test_public_modules_list_what_keras_has():
    """`__all__`, from which the reference is made, against the list of Keras's names."""
    modules = public.modules()
    listed = {name for public_object in public.objects() for name in public_object.names}
    for module, names in read_surface(SURFACE).items():
        if module in ("Model", "Layer"):
            assert set(names) & set(public.METHODS[f"nbcnn.{module.lower()}s.{module}"].split())
            continue
        owner = holder(nbcnn, module)
        prefix = f"nbcnn.{module}." if module else "nbcnn."
        there = {n for n in names if owner is not None and "." not in n and hasattr(owner, n)}
        missing = {n for n in there if prefix + n not in listed and prefix + n not in modules}
        assert not missing, module


def test_an_object_stands_on_one_page():
    stands = [o.names[0] for objects in pages.contents().values() for o in objects]
    assert len(stands) == len(set(stands)) == len(public.objects())
    assert all(pages.contents().values()), "a page without objects"


@pytest.mark.parametrize("page", pages.PAGES, ids=lambda page: page.slug)
def test_docstrings_say_what_every_parameter_is(page):
    silent = {o.names[0]: public.undescribed(o) for o in pages.contents()[page.slug]}
    assert not {name: missing for name, missing in silent.items() if missing}
    assert all(public.text_of(o.value) for o in pages.contents()[page.slug])


def test_parameters_are_found_in_docstrings():
    doc = public.parse(
        "Sums.\n\nParameters\n----------\nfirst, second : numbers, of\n    any size.\n"
        "*rest : more.\n\nShapes: none.\n\nRaises\n------\nValueError\n    Never."
    )
    assert doc.parameters == {
        "first": "numbers, of any size.",
        "second": "numbers, of any size.",
        "rest": "more.",
    }
    assert [title for title, _ in doc.parts] == ["", "Parameters", "", "Raises"]
    assert doc.parts[2][1] == "Shapes: none."


def test_a_parameter_that_nothing_describes_is_noticed():
    def function(told, untold):
        """Uses `told`."""

    assert public.undescribed(public.Public(function, ("nbcnn.utils.function",))) == ["untold"]
