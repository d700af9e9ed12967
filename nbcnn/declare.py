"""Classes that are declarations: annotated fields give constructor, checks and configuration.

    class Dropout(Layer):
        rate: float = arg(check=fraction)
        seed: int | None = None

A layer, loss, optimizer or initializer built this way stores each argument under its own name, so
`get_config`, `from_config`, `repr` and saving need no code. A class with an `__init__` of its own
is left alone: that is Keras's idiom for a user's class, and `super().__init__(**kwargs)` there sets
the fields of its base.
"""

import inspect
import numbers
import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import numpy as np

from nbcnn.registry import Family, is_own, serialize, suggest

REQUIRED: Any = inspect.Parameter.empty


class Expected(ValueError):
    """Raised by a converter; its text says what was expected: `must be an integer or a pair of
    them`.
    """


class ArgumentError(TypeError, ValueError):
    """A constructor got a missing, unknown or repeated argument."""


class Arg:
    """One field: default, conversion, allowed values, check; made by `arg`."""

    def __init__(
        self,
        default: Any = REQUIRED,
        convert: Callable[[Any], Any] | None = None,
        choices: Iterable[Any] | None = None,
        check: Callable[[Any], str | None] | None = None,
        kw_only: bool = False,
        last: bool = False,
    ) -> None:
        self.default = default
        self.convert = convert
        self.choices = None if choices is None else tuple(choices)
        self.check = check
        self.kw_only = kw_only
        self.last = last
        self.kinds: frozenset[str] = frozenset()

    def with_default(self, default: Any) -> "Arg":
        changed = Arg(default, self.convert, self.choices, self.check, self.kw_only, self.last)
        changed.kinds = self.kinds
        return changed

    def prepare(self, owner: str, name: str, value: Any) -> Any:
        """`value` converted and checked; the error names owner, argument, value and expectation."""
        try:
            prepared = value if self.convert is None else self.convert(value)
            expectation = self._objection(prepared)
        except Expected as error:
            expectation = str(error)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{owner}: {name}: {error}") from error
        if expectation:
            raise ValueError(f"{owner}: {name} {expectation}, got {value!r}")
        if self.choices is not None and isinstance(prepared, str):
            return prepared.lower() if prepared not in self.choices else prepared
        return prepared.item() if isinstance(prepared, np.generic) else prepared

    def _objection(self, value: Any) -> str | None:
        if self.choices is not None:
            folded = value.lower() if isinstance(value, str) else value
            if value not in self.choices and folded not in self.choices:
                return f"must be {_either(self.choices)}"
            return None
        if self.kinds and not any(KINDS[kind](value) for kind in self.kinds):
            return f"must be {_either(sorted(self.kinds), KIND_WORDS.__getitem__)}"
        return self.check(value) if self.check and value is not None else None


def arg(
    default: Any = REQUIRED,
    *,
    convert: Callable[[Any], Any] | None = None,
    choices: Iterable[Any] | None = None,
    check: Callable[[Any], str | None] | None = None,
    kw_only: bool = False,
    last: bool = False,
) -> Any:
    """Describes a field beyond its annotation.

    Parameters
    ----------
    default : the value of an argument not given; without one the argument is required.
    convert : value -> stored value; raises `Expected("must be ...")` for what it cannot take.
    choices : allowed values; strings may come in any case.
    check : stored value -> None, or the expectation as text ("must be positive"). Not called for
        None.
    kw_only : cannot be given by position.
    last : comes after the fields of subclasses in the positional order.
    """
    return Arg(default, convert, choices, check, kw_only, last)


def _either(values: Iterable[Any], show: Callable[[Any], str] = repr) -> str:
    *head, tail = (show(v) for v in values)
    return f"{', '.join(head)} or {tail}" if head else tail


def _is_number(value: Any) -> bool:
    return isinstance(value, (numbers.Real, np.number)) and not isinstance(value, bool)


KINDS: dict[str, Callable[[Any], bool]] = {
    "int": lambda v: isinstance(v, numbers.Integral) and not isinstance(v, bool),
    "float": _is_number,
    "bool": lambda v: isinstance(v, (bool, np.bool_)),
    "str": lambda v: isinstance(v, str),
    "None": lambda v: v is None,
}
KIND_WORDS = {
    "int": "an integer",
    "float": "a number",
    "bool": "True or False",
    "str": "a string",
    "None": "None",
}


def _kinds(annotation: Any) -> frozenset[str]:
    """The simple types an annotation allows, or nothing when it says more than those."""
    text = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    parts = frozenset(part.strip() for part in text.split("|"))
    return parts if parts <= KINDS.keys() else frozenset()


def positive(value: Any) -> str | None:
    return None if np.all(np.asarray(value) > 0) else "must be positive"


def non_negative(value: Any) -> str | None:
    return None if np.all(np.asarray(value) >= 0) else "must not be negative"


def finite(value: Any) -> str | None:
    return None if np.all(np.isfinite(np.asarray(value))) else "must be finite"


def fraction(value: Any) -> str | None:
    return None if _is_number(value) and 0 <= value <= 1 else "must be between 0 and 1"


def integers(count: int) -> Callable[[Any], tuple[int, ...]]:
    """A converter to a tuple of `count` integers; one integer is repeated."""

    def convert(value: Any) -> tuple[int, ...]:
        items = (value,) * count if KINDS["int"](value) else value
        if isinstance(items, (tuple, list, np.ndarray)) and len(items) == count:
            if all(KINDS["int"](x) for x in items):
                return tuple(int(x) for x in items)
        raise Expected(f"must be an integer or a tuple of {count} integers")

    return convert


pair = integers(2)

_used_names: Counter[str] = Counter()


def snake_case(name: str) -> str:
    """`GlobalMaxPooling2D` -> `global_max_pooling2d`, as Keras spells it."""
    name = re.sub(r"\W+", "", name)
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def auto_name(prefix: str) -> str:
    """A name not given before: `conv2d`, `conv2d_1`, ..."""
    prefix = snake_case(prefix)
    number = _used_names[prefix]
    _used_names[prefix] += 1
    return f"{prefix}_{number}" if number else prefix


def reset_names() -> None:
    """Automatic names start again without a number."""
    _used_names.clear()


class _Signature:
    """`inspect.signature` of a class, made when asked for: its fields, or its own `__init__`."""

    def __get__(self, instance: Any, owner: type["Declared"]) -> inspect.Signature | None:
        if instance is not None:
            return None
        if not owner.is_declared():
            _, *own = inspect.signature(owner.__init__).parameters.values()
            return inspect.Signature(own)
        kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        return inspect.Signature(
            [
                inspect.Parameter(name, kinds[field.kw_only], default=field.default)
                for name, field in owner.fields.items()
            ]
        )


class Declared:
    """Base of everything configurable; see the module's text.

    `fields` lists the constructor's arguments in positional order, keyword-only ones last. After
    they are set, `__post_init__` runs: the place for checks that concern several fields, and for
    state. A subclass changes an inherited default with a plain class attribute (`name = "mse"`).
    """

    fields: ClassVar[dict[str, Arg]] = {}
    family: ClassVar[Family | None] = None
    __signature__ = _Signature()

    def __init_subclass__(
        cls, family: Family | None = None, first: tuple[str, ...] = (), **kwargs: Any
    ) -> None:
        """`family` starts a new kind; `first` names fields that come first in the positional
        order.
        """
        super().__init_subclass__(**kwargs)
        if family is not None:
            cls.family = family
        if cls.is_declared():
            cls.fields = _collect(cls, first)
        if cls.family is not None and is_own(cls) and not cls.__name__.startswith("_"):
            cls.family.add(cls, snake_case(cls.__name__))

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        instance = super().__new__(cls)
        if not cls.is_declared():
            object.__setattr__(instance, "_arguments", (args, kwargs))
        return instance

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        owner = type(self).__name__
        fields = type(self).fields
        for name, value in _bind(owner, fields, args, self._set_aside(kwargs)).items():
            setattr(self, name, fields[name].prepare(owner, name, value))
        self.__post_init__()

    def _set_aside(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        """The arguments without those that are taken but are no fields."""
        return kwargs

    def __post_init__(self) -> None:
        if "name" in type(self).fields and self.name is None:
            self.name: Any = auto_name(type(self).__name__)

    def _argument(self, name: str) -> Any:
        """What a field was given, converted."""
        return getattr(self, name, None)

    @classmethod
    def is_declared(cls) -> bool:
        """Whether the fields make the constructor, that is, no class up to here wrote an
        `__init__`.
        """
        return cls.__init__ is Declared.__init__

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain values, so that `from_config` makes an equal object.

        For a class with an `__init__` of its own that does not override this: the arguments it was
        called with.
        """
        writer = next(c for c in type(self).__mro__ if "get_config" in c.__dict__)
        if not self.is_declared() and is_own(writer):
            return _recorded(self)
        return {name: serialize(self._argument(name)) for name in type(self).fields}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """An object from the arguments `config` that `get_config` returned."""
        return cls(**config)

    def __repr__(self) -> str:
        shown = []
        for name, field in type(self).fields.items():
            value = self._argument(name)
            if not _is_default(type(self).__name__, name, field, value):
                text = getattr(value, "__name__", None) if callable(value) else None
                shown.append(f"{name}={text or repr(value)}")
        return f"{type(self).__name__}({', '.join(shown)})"


def _collect(cls: type[Declared], first: tuple[str, ...]) -> dict[str, Arg]:
    """The fields of `cls`: its bases' first, then its own; `last` ones after these; keyword-only at
    the end.
    """
    fields = dict(cls.fields)
    own = inspect.get_annotations(cls)
    for name in [*own, *(n for n in fields if n in cls.__dict__ and n not in own)]:
        value = cls.__dict__.get(name, REQUIRED)
        if name.startswith("_") or "ClassVar" in str(own.get(name)) or hasattr(value, "__get__"):
            continue
        known = fields.get(name) if not isinstance(value, Arg) else None
        field = value if isinstance(value, Arg) else (known or Arg()).with_default(value)
        field.kinds = _kinds(own[name]) if name in own and field.convert is None else field.kinds
        fields[name] = field
        if value is not REQUIRED:
            delattr(cls, name)
    names = [*first, *(n for n in fields if n not in first)]
    rank = {n: (n not in first and fields[n].last) + 2 * fields[n].kw_only for n in names}
    ordered = {name: fields[name] for name in sorted(names, key=rank.__getitem__)}
    _refuse_required_after_default(cls, ordered)
    return ordered


def _refuse_required_after_default(cls: type, fields: dict[str, Arg]) -> None:
    earlier = None
    for name, field in fields.items():
        if field.default is not REQUIRED:
            earlier = earlier or name
        elif earlier and not field.kw_only:
            raise TypeError(f"{cls.__name__}: required field {name!r} follows optional {earlier!r}")


def _bind(owner: str, fields: dict[str, Arg], args: tuple, kwargs: dict) -> dict[str, Any]:
    """Argument values by name, in field order."""
    positional = [name for name, field in fields.items() if not field.kw_only]
    if len(args) > len(positional):
        limit = len(positional)
        raise ArgumentError(f"{owner}: takes at most {limit} positional arguments, got {len(args)}")
    given = dict(zip(positional, args, strict=False))
    for name, value in kwargs.items():
        if name not in fields:
            raise ArgumentError(f"{owner}: unknown argument {name!r}{suggest(name, fields)}")
        if name in given:
            raise ArgumentError(f"{owner}: argument {name!r} was given twice")
        given[name] = value
    for name, field in fields.items():
        if name not in given and field.default is REQUIRED:
            raise ArgumentError(f"{owner}: argument {name!r} is missing")
    return {name: given.get(name, field.default) for name, field in fields.items()}


def _recorded(instance: Declared) -> dict[str, Any]:
    """Arguments that a class with its own `__init__` was called with, plus what its base may have
    changed.
    """
    args, kwargs = instance.__dict__["_arguments"]
    signature = inspect.signature(type(instance).__init__)
    config: dict[str, Any] = {}
    open_ended = False
    bound = signature.bind(instance, *args, **kwargs).arguments
    for name, parameter in list(signature.parameters.items())[1:]:
        if parameter.kind is parameter.VAR_POSITIONAL and bound.get(name):
            raise NotImplementedError(
                f"{type(instance).__name__}: *{name} needs a get_config method"
            )
        if parameter.kind is parameter.VAR_KEYWORD:
            open_ended = True
            config.update(bound.get(name, {}))
        elif name in bound:
            config[name] = bound[name]
    for name in ("name", "trainable"):
        if name in type(instance).fields and (open_ended or name in signature.parameters):
            config[name] = getattr(instance, name)
    return serialize(config)


def _is_default(owner: str, name: str, field: Arg, value: Any) -> bool:
    if field.default is REQUIRED:
        return False
    default = field.prepare(owner, name, field.default)
    return default is value or serialize(default) == serialize(value)
