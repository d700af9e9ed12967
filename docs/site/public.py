"""What is public in nbcnn, under which names, and what docstrings say about its parameters.

A name is public if it stands in the `__all__` of `nbcnn` or of a module that is public itself.
The reference is made from this (`hooks.py`), and `tests/test_reference_pages.py` checks it.
"""

import inspect
import re
from functools import cache
from types import ModuleType
from typing import Any, NamedTuple

import nbcnn
from nbcnn.declare import Declared

# Where something is described that has names in several modules: in the first of these.
FIRST = ("saving", "config", "models", "layers", "losses", "ops")
LAST = ("backend", "mixed_precision", "preprocessing", "")

# Methods and properties that users call or override, of classes that inherit others besides.
METHODS = {
    "nbcnn.models.Model": "compile fit evaluate predict train_on_batch test_on_batch "
    "predict_on_batch summary plan to save export save_weights load_weights get_config from_config "
    "to_json get_compile_config compile_from_config layers get_layer inputs outputs input output "
    "output_shape metrics_names reset_metrics train_step test_step predict_step compute_loss "
    "compute_metrics get_metrics_result call build run_eagerly jit_compile",
    "nbcnn.models.Sequential": "add pop",
    "nbcnn.layers.Layer": "build call add_weight add_loss compute_output_shape compute_output_spec "
    "weights trainable_weights non_trainable_weights get_weights set_weights count_params input "
    "output path losses metrics metrics_variables compute_dtype variable_dtype stateless_call "
    "save_own_variables load_own_variables get_config from_config",
    "nbcnn.layers.Normalization": "adapt",
    "nbcnn.losses.Loss": "call get_config from_config",
    "nbcnn.metrics.Metric": "update_state result reset_state add_variable add_weight get_config "
    "from_config",
    "nbcnn.optimizers.Optimizer": "apply apply_gradients build stateless_apply iterations "
    "learning_rate variables exclude_from_weight_decay finalize_variable_values update_step "
    "add_variable add_variable_from_reference add_optimizer_variables assign assign_add "
    "assign_sub get_config from_config",
    "nbcnn.callbacks.Callback": "on_train_begin on_train_end on_epoch_begin on_epoch_end "
    "on_train_batch_begin on_train_batch_end on_test_begin on_test_end on_test_batch_begin "
    "on_test_batch_end on_predict_begin on_predict_end on_predict_batch_begin "
    "on_predict_batch_end on_batch_begin on_batch_end",
    "nbcnn.initializers.Initializer": "clone get_config from_config",
    "nbcnn.regularizers.Regularizer": "get_config from_config",
    "nbcnn.constraints.Constraint": "get_config from_config",
    "nbcnn.Variable": "numpy assign assign_add assign_sub",
    "nbcnn.layers.InputSpec": "get_config from_config",
    "nbcnn.wrappers.SKLearnClassifier": "fit predict decision_function",
    "nbcnn.wrappers.SKLearnRegressor": "fit predict",
    "nbcnn.wrappers.SKLearnTransformer": "fit transform",
}

# "arguments as `Conv2D`", "see `Conv2D`", "`median` of the elements that are not NaN"
REFERENCE = re.compile(
    r"(?:\A|\b(?:[Aa]s(?:\s+in|\s+for)?|[Ss]ee|those\s+of|windows\s+of)\s+)`([\w.]+)`"
)
ENTRY = re.compile(r"(\*{0,2}\w+(?:, \*{0,2}\w+)*) : (.*)")


class Public(NamedTuple):
    """An object with its names, the first of which is the one that it is described under."""

    value: Any
    names: tuple[str, ...]

    @property
    def module(self) -> str:
        return self.names[0].rpartition(".")[0]


class Doc(NamedTuple):
    """A docstring in parts: (title, text) in order, "" for prose; and the parameters' texts."""

    parts: tuple[tuple[str, str], ...]
    parameters: dict[str, str]


@cache
def modules() -> dict[str, ModuleType]:
    """Public modules by their dotted names, in the order of precedence."""
    found: dict[str, ModuleType] = {}
    pending = [("nbcnn", nbcnn)]
    while pending:
        path, module = pending.pop(0)
        found[path] = module
        inner = [(f"{path}.{name}", getattr(module, name)) for name in module.__all__]
        pending += [(p, m) for p, m in inner if isinstance(m, ModuleType) and p not in found]

    def rank(path: str) -> tuple[int, int]:
        name = path.removeprefix("nbcnn").removeprefix(".")
        top = name.split(".")[0]
        place = FIRST.index(top) if top in FIRST else len(FIRST)
        return (place if top not in LAST else len(FIRST) + 1, name.count("."))

    return dict(sorted(found.items(), key=lambda pair: rank(pair[0])))


@cache
def objects() -> tuple[Public, ...]:
    """Everything public that is no module, each once."""
    names: dict[int, list[str]] = {}
    values: dict[int, Any] = {}
    for path, module in modules().items():
        for name in module.__all__:
            value = getattr(module, name)
            if not isinstance(value, ModuleType):
                values[id(value)] = value
                names.setdefault(id(value), []).append(f"{path}.{name}")
    return tuple(Public(value, _own_name_first(value, names[key])) for key, value in values.items())


def _own_name_first(value: Any, names: list[str]) -> tuple[str, ...]:
    """`Conv2D` before `Convolution2D`: within the first module the name it was defined with."""
    home = names[0].rpartition(".")[0]
    own = f"{home}.{getattr(value, '__name__', '')}"
    return (own, *(n for n in names if n != own)) if own in names else tuple(names)


def parameters(value: Any) -> dict[str, inspect.Parameter]:
    """Of the constructor or function, without `self`, `*args` and `**kwargs`."""
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):  # exceptions have those of their builtin base
        return {}
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return {n: p for n, p in signature.parameters.items() if p.kind not in variable}


@cache
def text_of(value: Any) -> str:
    """The docstring of an object itself, not that of a base."""
    found = value.__dict__.get("__doc__") if isinstance(value, type) else value.__doc__
    return inspect.cleandoc(found or "")


@cache
def parse(text: str) -> Doc:
    """A docstring: prose, and sections whose titles are underlined with dashes.

    "Common parameters" is a module's section, for what its members do not say themselves.
    """
    parts: list[tuple[str, list[str]]] = [("", [])]
    known: dict[str, list[str]] = {}
    entry: list[str] | None = None
    lines = text.split("\n")
    for number, line in enumerate(lines):
        following = lines[number + 1] if number + 1 < len(lines) else ""
        if re.fullmatch(r"-{3,}", line):
            continue
        if re.fullmatch(r"-{3,}", following) and line and line == line.strip():
            parts.append(("Parameters" if line == "Common parameters" else line, []))
            entry = None
            continue
        if parts[-1][0] == "Parameters" and line:
            match = ENTRY.fullmatch(line)
            if match:
                entry = [match[2]]
                known.update(dict.fromkeys(match[1].replace("*", "").split(", "), entry))
                continue
            if line.startswith(" ") and entry is not None:
                entry.append(line.strip())
                continue
        if parts[-1][0] and line and not line.startswith(" ") and not _holds_lines(parts[-1][0]):
            parts.append(("", []))
        parts[-1][1].append(line)
    joined = ((title, "\n".join(body).strip("\n")) for title, body in parts)
    kept = tuple(part for part in joined if part[1] or part[0] == "Parameters")
    return Doc(kept, {name: " ".join(filter(None, body)) for name, body in known.items()})


def _holds_lines(title: str) -> bool:
    """Whether lines of a section start at its left edge."""
    return title != "Parameters"


@cache
def _values() -> dict[str, Any]:
    return {name: o.value for o in objects() for name in o.names if callable(o.value)}


def _named(name: str, module: str) -> Any:
    """What a docstring of a module's member means by a name, or None."""
    values = _values()
    if f"{module}.{name}" in values:
        return values[f"{module}.{name}"]
    return next((v for key, v in values.items() if key.endswith(f".{name}")), None)


def described(value: Any, module: str, seen: tuple = ()) -> dict[str, str]:
    """Texts of an object's parameters: its own; those of its bases; those of objects that it names
    ("arguments as `Conv2D`"); and what the public module's docstring says of all its members.
    """
    text = text_of(value)
    own = dict(parse(text).parameters)
    bases = value.__mro__[1:] if isinstance(value, type) else ()
    for base in bases:
        if base.__module__.startswith("nbcnn"):
            own = {**parse(text_of(base)).parameters, **own}
    for name in REFERENCE.findall(text):
        other = _named(name, module)
        if other is not None and other is not value and other not in seen:
            own = {**described(other, module, (*seen, value)), **own}
    while module and not seen:
        own = {**parse(text_of(modules()[module])).parameters, **own}
        module = module.rpartition(".")[0]
    return own


def undescribed(public: Public) -> list[str]:
    """Parameters, also of methods, of which nothing is said in a list or in the own prose; and
    methods without a text.
    """
    missing = _unsaid(public.value, described(public.value, public.module))
    for name, member in (methods(public) if isinstance(public.value, type) else {}).items():
        function = getattr(member, "__func__", member)
        if not function.__doc__:
            missing.append(f"{name}()")
        if inspect.isfunction(function):
            said = described_method(function, public)
            missing += [f"{name}({p})" for p in _unsaid(function, said)]
    return missing


def _unsaid(value: Any, texts: dict[str, str]) -> list[str]:
    own = text_of(value)
    names = (name for name in parameters(value) if name not in ("self", "cls"))
    return [n for n in names if n not in texts and not re.search(rf"\b{n}\b", own)]


def methods(public: Public) -> dict[str, Any]:
    """Methods and properties to show of a class, by name: those of `METHODS`; of classes whose
    arguments are no fields, all of their own that have a text.
    """
    cls = public.value
    if public.names[0] in METHODS:
        named = METHODS[public.names[0]].split()
        return {name: inspect.getattr_static(cls, name) for name in named}
    if issubclass(cls, Declared):
        return {}
    own = ((name, member) for name, member in vars(cls).items() if not name.startswith("_"))
    return {name: member for name, member in own if _is_method(member) and member.__doc__}


def _is_method(member: Any) -> bool:
    return isinstance(member, property) or inspect.isfunction(getattr(member, "__func__", member))


def described_method(function: Any, public: Public, seen: tuple = ()) -> dict[str, str]:
    """Texts of a method's parameters: its own; those of methods that it names; and what the class
    says of them.
    """
    text = text_of(function)
    own = dict(parse(text).parameters)
    for name in REFERENCE.findall(text):
        other = getattr(public.value, name, None) or _named(name, public.module)
        if other is not None and other is not function and other not in seen:
            own = {**described_method(other, public, (*seen, function)), **own}
    return {**parse(text_of(public.value)).parameters, **own}


def address(name: str, module: str) -> str | None:
    """Where a name in a docstring of a module's member is described, as a dotted path."""
    exact = [f"{module}.{name}", f"nbcnn.{name}", name]
    for public in objects():
        if any(known in exact for known in public.names):
            return public.names[0]
    ends = {o.names[0] for o in objects() if any(n.endswith(f".{name}") for n in o.names)}
    return ends.pop() if len(ends) == 1 else None
