"""What MkDocs and mkdocstrings run: the reference's pages, and what stands on them.

Signatures and names of this package exist at run time only (arguments are fields, names are loaded
when they are first used). So griffe is given its objects from the imported package, in place of
what it reads from the sources.
"""

import inspect
import re
import sys
from pathlib import Path
from typing import Any

import griffe
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

sys.path.insert(0, str(Path(__file__).parent))

import pages as reference
import public as p

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"\[([^\]]+)\]\(((?!https?:|#)[^)]+)\)")


# -- pages ----------------------------------------------------------------------------------


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """The navigation's last entry lists the reference's pages."""
    pages = [{page.title: f"reference/{page.slug}.md"} for page in reference.PAGES]
    assert config.nav is not None
    config.nav.append({"API reference": pages})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the reference's pages."""
    for page in reference.PAGES:
        source = f"reference/{page.slug}.md"
        files.append(File.generated(config, source, content=reference.markdown(page)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links to files of the repository that are no pages become their paths."""

    def kept(match: re.Match) -> str:
        target = (Path(config.docs_dir) / page.file.src_uri).parent / match[2].partition("#")[0]
        if target.resolve().is_relative_to(Path(config.docs_dir).resolve()):
            return match[0]
        return f"{match[1]} (`{target.resolve().relative_to(ROOT).as_posix()}`)"

    return LINK.sub(kept, markdown)


# -- objects --------------------------------------------------------------------------------


class Runtime(griffe.Extension):
    """Replaces what was read of `nbcnn` by its public objects."""

    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:
        if pkg.name != "nbcnn":
            return
        for name in list(pkg.members):
            pkg.del_member(name)
        for path, module in p.modules().items():
            if path != "nbcnn":
                made = griffe.Module(path.rpartition(".")[2], filepath=Path(module.__file__ or ""))
                pkg.set_member(path.split(".")[1:], made)
        for public in p.objects():
            parent = pkg[public.module.split(".")[1:]] if public.module != "nbcnn" else pkg
            name = public.names[0].rpartition(".")[2]
            parent.set_member(name, _object(name, public, parent))


def _object(name: str, public: p.Public, parent: Any) -> Any:
    value = public.value
    if isinstance(value, type):
        made = griffe.Class(name, parent=parent)
        made.set_member("__init__", _function("__init__", value, made))
        for method, member in p.methods(public).items():
            made.set_member(method, _member(method, member, made, public))
    elif callable(value):
        made = _function(name, value, parent)
    else:
        made = griffe.Attribute(name, parent=parent, value=repr(value))
        made.docstring = griffe.Docstring("The version as text.", parent=made)
        return made
    made.docstring = _docstring(made, value, public.module, p.described(value, public.module))
    return made


def _member(name: str, member: Any, parent: Any, public: p.Public) -> Any:
    if isinstance(member, property):
        made: Any = griffe.Attribute(name, parent=parent)
        made.labels.add("property")
        text = inspect.cleandoc(member.__doc__ or "")
        made.docstring = griffe.Docstring(_linked(text, public.module), parent=made)
        return made
    function = getattr(member, "__func__", member)
    made = _function(name, function, parent)
    texts = p.described_method(function, public)
    made.docstring = _docstring(made, function, public.module, texts)
    return made


def _function(name: str, value: Any, parent: Any) -> Any:
    try:
        found = list(inspect.signature(value).parameters.values())
    except (TypeError, ValueError):
        found = []
    shown = [q for q in found if q.name not in ("self", "cls")]
    made = griffe.Function(name, parent=parent)
    made.parameters = griffe.Parameters(
        *(
            griffe.Parameter(
                q.name,
                kind=getattr(griffe.ParameterKind, q.kind.name.lower()),
                default=None if q.default is q.empty else _short(q.default),
            )
            for q in shown
        )
    )
    return made


def _short(value: Any) -> str:
    return getattr(value, "__name__", None) or repr(value)


def _docstring(made: Any, value: Any, module: str, texts: dict[str, str]) -> griffe.Docstring:
    """A docstring whose parts are known already."""
    doc = p.parse(p.text_of(value))
    docstring = griffe.Docstring(p.text_of(value), parent=made)
    names = [n for n in p.parameters(value) if n in texts and n not in ("self", "cls")]
    names += [n for n in doc.parameters if n in ("args", "kwargs", "hooks", "options")]
    table = griffe.DocstringSectionParameters(
        [griffe.DocstringParameter(n, description=_linked(texts[n], module)) for n in names]
    )
    sections: list[Any] = []
    for title, text in doc.parts:
        if title == "Parameters":
            sections.append(table)
        elif title == "Raises":
            sections.append(griffe.DocstringSectionRaises(_raised(text, module)))
        elif title == "Examples":
            sections.append(griffe.DocstringSectionText(f"```pycon\n{text}\n```", title=title))
        else:
            heading = f"**{title}**\n\n" if title else ""
            sections.append(griffe.DocstringSectionText(heading + _linked(text, module)))
    if names and table not in sections:
        sections.insert(1, table)
    docstring.__dict__["parsed"] = sections
    return docstring


def _raised(text: str, module: str) -> list[griffe.DocstringRaise]:
    """Of "ValueError", and what is indented below it."""
    found: list[tuple[str, list[str]]] = []
    for line in text.split("\n"):
        if line.startswith(" ") and found:
            found[-1][1].append(line.strip())
        elif line:
            found.append((line, []))
    return [
        griffe.DocstringRaise(annotation=name, description=_linked(" ".join(lines), module))
        for name, lines in found
    ]


def _linked(text: str, module: str) -> str:
    """Names in backquotes as links to where they are described; what Markdown would take for its
    own is kept as it is.
    """

    def line(given: str) -> str:
        if given.startswith("    "):
            return given
        return "".join(shown(part) for part in re.split(r"(`[^`]+`)", given))

    def shown(part: str) -> str:
        if not part.startswith("`"):
            return re.sub(r"([*\[\]])", r"\\\1", part.replace("<", "&lt;"))
        target = p.address(part.strip("`"), module)
        return f"[{part}][{target}]" if target else part

    return "\n".join(map(line, text.split("\n")))
