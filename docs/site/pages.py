"""The reference's pages: which public objects stand on which, and their Markdown."""

import re
from functools import cache
from typing import NamedTuple

import public as p


class Reference(NamedTuple):
    """A page for members of public modules, or those of them that some files define."""

    slug: str
    title: str
    modules: tuple[str, ...]  # without "nbcnn."
    files: str = ""  # pattern that the defining file's name starts with

    def takes(self, public: p.Public) -> bool:
        home = public.module.removeprefix("nbcnn").removeprefix(".")
        file = getattr(public.value, "__module__", "").rpartition(".")[2]
        return home in self.modules and bool(re.match(self.files, file))


# An object stands on the first page that takes it.
PAGES = (
    Reference("models", "Models", ("models",)),
    Reference("layers-convolution", "Layers: convolution", ("layers",), "conv|depthwise|local"),
    Reference("layers-pooling", "Layers: pooling", ("layers",), "pool|unpool|adaptive_pool"),
    Reference("layers-normalization", "Layers: normalization", ("layers",), "norm|spectral|resp"),
    Reference("layers-regularization", "Layers: regularization", ("layers",), "regular|noise"),
    Reference("layers-shapes", "Layers: shapes and merging", ("layers",), "reshape|merge|padding"),
    Reference("layers-images", "Layers: images", ("layers",), "image_|augmentation"),
    Reference("layers", "Layers: dense, activations, base", ("layers",)),
    Reference("activations", "Activations", ("activations",)),
    Reference("losses", "Losses", ("losses",)),
    Reference("metrics", "Metrics", ("metrics",)),
    Reference("optimizers", "Optimizers", ("optimizers",)),
    Reference("schedules", "Learning rate schedules", ("optimizers.schedules",)),
    Reference("callbacks", "Callbacks", ("callbacks",)),
    Reference("initializers", "Initializers", ("initializers",)),
    Reference("regularizers", "Regularizers and constraints", ("regularizers", "constraints")),
    Reference(
        "ops-networks",
        "Operations: networks",
        ("ops", "ops.nn"),
        "nn_|windows|unpool|response_norm",
    ),
    Reference("ops-images", "Operations: images", ("ops.image",)),
    Reference("ops-control", "Operations: control", ("ops",), "control"),
    Reference("ops-host", "Operations: on arrays only", ("ops", "ops.linalg"), "host"),
    Reference("ops", "Operations: arrays", ("ops", "ops.numpy")),
    Reference("random", "Random numbers", ("random",)),
    Reference("saving", "Files", ("saving", "onnx")),
    Reference(
        "utils",
        "Utilities",
        ("utils", "tree", "preprocessing", "preprocessing.image", "preprocessing.sequence")
        + ("datasets", "datasets.digits"),
    ),
    Reference("config", "Settings", ("config", "dtype_policies", "mixed_precision", "backend")),
    Reference("viz", "Seeing inside", ("viz",)),
    Reference("filters", "Classical filters", ("filters",)),
    Reference("wrappers", "scikit-learn", ("wrappers",)),
    Reference("analysis", "Analysis", ("analysis",)),
    Reference("nbcnn", "Devices and the top level", ("",)),
)


@cache
def contents() -> dict[str, list[p.Public]]:
    """Public objects by their page's slug, by name. Raises KeyError for one that none takes."""
    found: dict[str, list[p.Public]] = {page.slug: [] for page in PAGES}
    for public in p.objects():
        slug = next((page.slug for page in PAGES if page.takes(public)), "")
        found[slug].append(public)
    for objects in found.values():
        objects.sort(key=lambda o: o.names[0].lower())
    return found


def markdown(page: Reference) -> str:
    """A page's text: what the module says, its objects, and their further names."""
    module = p.modules()[f"nbcnn.{page.modules[0]}".removesuffix(".")]
    lines = [f"# {page.title}", ""]
    if not page.files:
        prose = [text for title, text in p.parse(p.text_of(module)).parts if not title]
        lines += [*prose, ""]
    objects = contents()[page.slug]
    lines += [f"::: {public.names[0]}\n" for public in objects]
    more = [(other, o.names[0]) for o in objects for other in o.names[1:]]
    if more:
        lines += ["## Other names", "", "| name | is |", "|---|---|"]
        lines += [f"| `{other}` | [`{name}`][{name}] |" for other, name in more]
    return "\n".join(lines) + "\n"
