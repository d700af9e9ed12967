"""`Config`: values by name, for scripts."""

import json
from collections.abc import Iterator
from typing import Any

from nbcnn.registry import suggest


class Config:
    """Values by name, as attributes and as items; after `freeze` they cannot be changed.

    Examples
    --------
    >>> settings = Config(rate=0.1)
    >>> settings.epochs = 5
    >>> settings["rate"], settings.epochs
    (0.1, 5)
    """

    def __init__(self, **kwargs: Any) -> None:
        object.__setattr__(self, "_config", dict(kwargs))
        object.__setattr__(self, "_frozen", False)

    @property
    def frozen(self) -> bool:
        """Whether values are fixed."""
        return self._frozen

    def freeze(self) -> None:
        """Values can no longer be changed."""
        object.__setattr__(self, "_frozen", True)

    def unfreeze(self) -> None:
        """Values can be changed again."""
        object.__setattr__(self, "_frozen", False)

    def _changing(self) -> dict[str, Any]:
        if self._frozen:
            raise ValueError("Config is frozen: its values cannot be changed")
        return self._config

    def as_dict(self) -> dict[str, Any]:
        """A copy as a dictionary."""
        return dict(self._config)

    def to_json(self) -> str:
        """The values as JSON."""
        return json.dumps(self._config)

    def keys(self) -> Any:
        return self._config.keys()

    def values(self) -> Any:
        return self._config.values()

    def items(self) -> Any:
        return self._config.items()

    def get(self, keyname: str, value: Any = None) -> Any:
        return self._config.get(keyname, value)

    def pop(self, *args: Any) -> Any:
        return self._changing().pop(*args)

    def update(self, *args: Any, **kwargs: Any) -> None:
        self._changing().update(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        values = object.__getattribute__(self, "_config")
        if name not in values:
            raise AttributeError(f"Config has no value {name!r}{suggest(name, values)}")
        return values[name]

    def __setattr__(self, name: str, value: Any) -> None:
        self._changing()[name] = value

    def __getitem__(self, key: str) -> Any:
        return self._config[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._changing()[key] = value

    def __delitem__(self, key: str) -> None:
        del self._changing()[key]

    def __contains__(self, key: str) -> bool:
        return key in self._config

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._config))

    def __len__(self) -> int:
        return len(self._config)

    def __repr__(self) -> str:
        return f"Config({self._config})"
