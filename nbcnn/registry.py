"""Names for things: string lookup with suggestions, and configurations that survive a file.

A `Family` holds everything of one kind (optimizers, losses, ...). A configuration is Keras's
dictionary `{"module", "class_name", "config", "registered_name"}`; reading one resolves classes
only through the families, `register_keras_serializable`, `CustomObjectScope` and an explicit
`custom_objects`, so a file cannot name arbitrary code.
"""

import base64
import builtins
import difflib
import importlib
import marshal
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, Token
from typing import Any

import numpy as np

OWN = __name__.partition(".")[0]  # package of the names of what Keras does not have
FAMILIES: dict[str, "Family"] = {}
_custom: dict[str, Any] = {}
_scopes: ContextVar[tuple[Mapping[str, Any], ...]] = ContextVar("scopes", default=())
_collected: ContextVar[dict[str, Any] | None] = ContextVar("collected", default=None)
_is_unsafe: ContextVar[bool] = ContextVar("unsafe", default=False)


def suggest(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the nearest known name, or an empty string."""
    by_folded = {fold(k): k for k in known}
    near = difflib.get_close_matches(fold(name), by_folded, n=3)
    letters = sorted(fold(name))
    swapped = [found for found in near if sorted(found) == letters]  # adma: adam before adamax
    return f"; did you mean {by_folded[(swapped or near)[0]]!r}?" if near else ""


def fold(name: str) -> str:
    """One spelling for `GlorotUniform`, `glorot_uniform` and `glorotuniform`."""
    return name.replace("_", "").lower()


def is_own(obj: Any) -> bool:
    """Whether a class or function is part of this package."""
    return (getattr(obj, "__module__", None) or "").partition(".")[0] == OWN


class Family:
    """Everything of one kind that can be asked for by name.

    kind: for messages, "optimizer". module: as Keras files name it, "keras.optimizers".
    """

    def __init__(self, kind: str, module: str) -> None:
        self.kind = kind
        self.module = module
        self.members: dict[str, Any] = {}
        self._folded: dict[str, Any] = {}
        self._elsewhere: dict[str, str] = {}
        FAMILIES[module] = self

    def add(self, member: Any, *names: str) -> Any:
        """Enters a class or function under its own name and `names`; returns it."""
        for name in (member.__name__, *names):
            self.members[name] = member
            self._folded.setdefault(fold(name), member)
        return member

    def functions(self, aliases: Mapping[Callable, tuple[str, ...]]) -> None:
        """Enters functions with their further names."""
        for function, names in aliases.items():
            self.add(function, *names)

    def add_elsewhere(self, places: Mapping[str, str]) -> None:
        """Says for names in which modules they are; these are loaded when asked for, and enter
        their classes themselves.
        """
        self._elsewhere.update({fold(name): module for name, module in places.items()})

    def load(self, name: str) -> None:
        """Makes sure that what is elsewhere under that name is a member."""
        module = self._elsewhere.get(fold(name))
        if module is not None:
            importlib.import_module(module)

    def find(self, name: str, custom_objects: Mapping[str, Any] | None = None) -> Any:
        """The class or function of that name.

        Raises
        ------
        ValueError
            For an unknown name, with the nearest known one.
        """
        found = find_custom(name, custom_objects)
        if found is None:
            self.load(name)
            found = self.members.get(name)
        if found is None:
            found = self._folded.get(fold(name))
        if found is None:
            for module in set(self._elsewhere.values()):
                importlib.import_module(module)
            hint = suggest(name, self.members) or f"; known are {', '.join(sorted(self.members))}"
            raise ValueError(f"unknown {self.kind} {name!r}{hint}")
        return found

    def get(self, identifier: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
        """The object that `identifier` means.

        None stays None; a name or a class gives a new instance with default arguments (a name of a
        function gives that function); a configuration is read; an instance or any other callable is
        returned as it is.

        Parameters
        ----------
        custom_objects : further names, looked at first; default none.
        """
        found = identifier
        if isinstance(identifier, str):
            found = self.find(identifier, custom_objects)
        elif isinstance(identifier, Mapping):
            found = deserialize(identifier, custom_objects, self)
        if isinstance(found, type):
            found = found()
        own = getattr(found, "family", self) is self  # not an optimizer, where a loss is asked for
        if found is None or callable(found) or (own and hasattr(found, "get_config")):
            return found
        article = "an" if self.kind[0] in "aeiou" else "a"
        raise ValueError(
            f"expected {article} {self.kind}, its name or its configuration, got {identifier!r}"
        )


def find_custom(name: str, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """A user's class or function by its name or registered name (`package>name`), or None."""
    for scope in (custom_objects or {}, *reversed(_scopes.get()), _custom):
        for key in (name, f"Custom>{name}"):
            if key in scope:
                return scope[key]
    return None


def register_keras_serializable(package: str = "Custom", name: str | None = None) -> Callable:
    """Decorator that lets files and configurations name a user's class or function.

    Parameters
    ----------
    package : the first part of the registered name `package>name`.
    name : the second part; the class's own name by default.

    Examples
    --------
    >>> @register_keras_serializable("my_package")
    ... class Swirl(Layer): ...
    """

    def register(member: Any) -> Any:
        if isinstance(member, type) and not hasattr(member, "get_config"):
            raise ValueError(
                f"register_keras_serializable: {member.__name__} has no get_config method"
            )
        _custom[f"{package}>{name or member.__name__}"] = member
        return member

    return register


def get_custom_objects() -> dict[str, Any]:
    """The dictionary of registered classes and functions; entries may be added to it."""
    return _custom


def get_registered_name(member: Any) -> str:
    """`package>name` of a registered class or function, its plain name otherwise.

    Parameters
    ----------
    member : class or function.
    """
    names = (key for key, registered in _custom.items() if registered is member)
    return next(names, getattr(member, "__name__", repr(member)))


@contextmanager
def collecting() -> Iterator[dict[str, Any]]:
    """Within, what is serialized names users' classes and functions by the keys of the dictionary
    that this gives, each by one of its own, however many are called alike.
    """
    found: dict[str, Any] = {}
    before = _collected.set(found)
    try:
        yield found
    finally:
        _collected.reset(before)


def _name_to_keep(member: Any) -> str:
    """What names a user's class or function in a configuration."""
    name, collected = get_registered_name(member), _collected.get()
    if collected is None:
        return name
    key, number = name, 0
    while collected.setdefault(key, member) is not member:
        number += 1
        key = f"{name}~{number}"
    return key


def get_registered_object(name: str, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """The class or function registered under `name`, or None.

    Parameters
    ----------
    custom_objects : further names, looked at first; default none.
    """
    return find_custom(name, custom_objects)


class CustomObjectScope:
    """Makes names known inside a `with` block, to its thread.

    Parameters
    ----------
    custom_objects : dictionary of classes and functions by name.

    Examples
    --------
    >>> with CustomObjectScope({"Swirl": Swirl}):
    ...     model = load_model("swirls.keras")
    """

    def __init__(self, custom_objects: Mapping[str, Any]) -> None:
        self.custom_objects = dict(custom_objects)
        self._tokens: list[Token] = []

    def __enter__(self) -> "CustomObjectScope":
        self._tokens.append(_scopes.set((*_scopes.get(), self.custom_objects)))
        return self

    def __exit__(self, *exception: Any) -> None:
        _scopes.reset(self._tokens.pop())


@contextmanager
def unsafe(allowed: bool = True) -> Iterator[None]:
    """Within, configurations may name anything that can be imported, and contain code."""
    before = _is_unsafe.set(allowed)
    try:
        yield
    finally:
        _is_unsafe.reset(before)


def _code(config: Any) -> Any:
    """The function that Keras has written as code. Raises ValueError where that is not allowed."""
    if not _is_unsafe.get():
        raise ValueError(
            "a function is given as code, which could do anything; pass the function in "
            "custom_objects, or safe_mode=False if the file is your own"
        )
    value = config["value"]
    code, defaults, closure = (value, None, None) if isinstance(value, str) else (
        value["code"], value.get("defaults"), value.get("closure")
    )  # fmt: skip
    cells = tuple(types.CellType(item) for item in closure) if closure else None
    loaded = marshal.loads(base64.b64decode(code))
    given = tuple(defaults) if defaults else None
    return types.FunctionType(loaded, {"__builtins__": builtins}, loaded.co_name, given, cells)


def serialize(obj: Any) -> Any:
    """`obj` as plain values: numbers, strings, lists, tuples and dictionaries that JSON can hold.

    Configurable objects become `{"module", "class_name", "config", "registered_name"}`; functions
    of this package become their names.
    """
    if isinstance(obj, (str, bool, int, type(None))):
        return obj
    if isinstance(obj, (float, np.floating)):
        return float(obj)
    if isinstance(obj, (list, tuple)):
        items = [serialize(x) for x in obj]
        return tuple(items) if type(obj) is tuple else items
    if isinstance(obj, Mapping) and not hasattr(obj, "get_config"):
        return {key: serialize(value) for key, value in obj.items()}
    if isinstance(obj, np.generic):
        return obj.item()
    if isinstance(obj, np.ndarray):
        return _described("builtins", "__numpy__", {"value": obj.tolist(), "dtype": obj.dtype.name})
    if isinstance(obj, np.dtype):
        return obj.name
    if hasattr(obj, "get_config"):
        return _serialize_instance(obj)
    if callable(obj) and hasattr(obj, "__name__"):
        return _serialize_function(obj)
    raise ValueError(f"serialize: {obj!r} has no get_config and is no plain value")


def _described(module: str | None, class_name: str, config: Any, registered: Any = None) -> dict:
    return {
        "module": module,
        "class_name": class_name,
        "config": config,
        "registered_name": registered,
    }


def _serialize_instance(obj: Any) -> dict:
    cls = type(obj)
    family = getattr(cls, "family", None)
    if is_own(cls):
        module = family.module if family else "keras"
        if getattr(cls, "_beyond_keras", False):
            module = module.replace("keras", OWN, 1)
            return _described(module, cls.__name__, obj.get_config(), f"{OWN}>{cls.__name__}")
        return _described(module, cls.__name__, obj.get_config())
    return _described(cls.__module__, cls.__name__, obj.get_config(), _name_to_keep(cls))


def _serialize_function(function: Any) -> Any:
    name = function.__name__
    if is_own(function) and any(name in family.members for family in FAMILIES.values()):
        return name
    return _described("builtins", "function", name, _name_to_keep(function))


def deserialize(
    config: Any, custom_objects: Mapping[str, Any] | None = None, family: Family | None = None
) -> Any:
    """The object that `serialize` described.

    Parameters
    ----------
    config : what `serialize` returned; it may have been through JSON. Plain values come back as
        they are.
    custom_objects : names of classes and functions that are not part of this package.
    family : where to look when the configuration does not say its module.

    Raises
    ------
    ValueError
        For a class or function that nothing above names.
    """
    if isinstance(config, (list, tuple)):
        return type(config)(deserialize(x, custom_objects) for x in config)
    if not isinstance(config, Mapping):
        return config
    if "class_name" not in config or "config" not in config:
        return {key: deserialize(value, custom_objects) for key, value in config.items()}
    name, inner = config["class_name"], config["config"]
    if name == "__numpy__":
        return _array(inner)
    if name == "__tuple__":
        return tuple(deserialize(x, custom_objects) for x in config.get("items", inner))
    if name == "__lambda__":
        return _code(inner)
    if name == "function":
        return _find(config, inner, custom_objects, family)
    cls = _find(config, name, custom_objects, family)
    with CustomObjectScope(custom_objects or {}):
        return cls.from_config(inner)


def _array(config: Mapping) -> np.ndarray:
    dtype = np.dtype(config["dtype"])
    if dtype.kind not in "biuf":  # texts can be of any length
        raise ValueError(f"an array has dtype {dtype}, expected numbers")
    return np.array(config["value"], dtype=dtype)


def _find(config: Mapping, name: str, custom_objects: Any, family: Family | None) -> Any:
    found = find_custom(config.get("registered_name") or name, custom_objects)
    if found is None:
        found = find_custom(name, custom_objects)
    if found is not None:
        return found
    family = FAMILIES.get(_keras_module(config.get("module")), family)
    if family is not None:
        return family.find(name)
    for f in FAMILIES.values():
        f.load(name)
    holders = [f for f in FAMILIES.values() if name in f.members]
    if len(holders) == 1 and not config.get("module"):
        return holders[0].members[name]
    if _is_unsafe.get() and config.get("module"):
        return getattr(importlib.import_module(config["module"]), name)
    raise ValueError(
        f"unknown class or function {name!r} of module {config.get('module')!r}; "
        f"pass custom_objects={{{name!r}: ...}} or register it with register_keras_serializable"
    )


def _keras_module(module: str | None) -> str:
    """`keras.layers` for `keras.layers`, `keras.src.layers.core.dense` and `nbcnn.layers.dense`."""
    parts = (module or "").split(".")
    if parts[0] not in ("keras", OWN):
        return ""
    known = [p for p in parts[1:] if f"keras.{p}" in FAMILIES]
    is_schedule = known[:1] == ["optimizers"] and "schedules" in parts
    return "keras.optimizers.schedules" if is_schedule else f"keras.{known[0]}" if known else ""
