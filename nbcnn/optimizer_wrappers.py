"""Optimizers around optimizers: a loss scale that follows the gradients, one optimizer for each
group of weights.
"""

import re
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any

from nbcnn.optimizer_base import LearningRate, Optimizer, Part, family
from nbcnn.registry import deserialize, serialize


class LossScaleOptimizer(Optimizer):
    """Multiplies the loss before gradients are computed, and divides these by as much, so that
    small ones do not vanish in a narrow type.

    A step whose gradients are not all finite changes no weight and halves the scale; after
    `dynamic_growth_steps` others in a row it doubles.

    Parameters
    ----------
    inner_optimizer : does the steps; its `loss_scale_factor` becomes None.
    initial_scale : default 2 ** 15.
    dynamic_growth_steps : default 2000.
    name : automatic by default.

    Raises
    ------
    ValueError
        For settings that belong to the inner optimizer.
    """

    needs_finite = True

    def __init__(
        self,
        inner_optimizer: Any,
        initial_scale: float = 2.0**15,
        dynamic_growth_steps: int = 2000,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        if not kwargs.pop("dynamic", True):
            raise ValueError(
                "LossScaleOptimizer: dynamic=False is not supported; give the inner optimizer a "
                "loss_scale_factor instead"
            )
        for setting, value in kwargs.items():
            if setting not in self.fields or setting == "learning_rate":
                raise ValueError(f"LossScaleOptimizer: unknown argument {setting!r}")
            if value != self.fields[setting].default:
                raise ValueError(f"LossScaleOptimizer: set {setting} on the inner_optimizer")
        if not isinstance(inner_optimizer, Optimizer) or inner_optimizer.needs_finite:
            raise ValueError(
                f"LossScaleOptimizer: inner_optimizer must be an optimizer, got {inner_optimizer!r}"
            )
        _positive("initial_scale", initial_scale, (int, float))
        _positive("dynamic_growth_steps", dynamic_growth_steps, int)
        self.inner_optimizer = inner_optimizer
        super().__init__(name=name)
        self.initial_scale = initial_scale
        self.dynamic_growth_steps = dynamic_growth_steps
        self.inner_optimizer.loss_scale_factor = None
        self.dynamic_scale, self.finite_steps = float(initial_scale), 0

    @property
    def learning_rate(self) -> LearningRate:
        """That of the inner optimizer."""
        return self.inner_optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        self.inner_optimizer.learning_rate = value

    @property
    def iterations(self) -> int:
        """That of the inner optimizer."""
        return self.inner_optimizer.iterations

    @iterations.setter
    def iterations(self, value: int) -> None:
        self.inner_optimizer.iterations = value

    @property
    def loss_scale(self) -> float | None:
        return self.dynamic_scale

    def part(self, variable: Any) -> Part:
        return self.inner_optimizer.part(variable)

    def judge(self, finite: bool) -> bool:
        """Whether the step is done, after a look at its gradients; the scale follows."""
        self.finite_steps += 1
        if not finite:
            self.dynamic_scale, self.finite_steps = 0.5 * self.dynamic_scale, 0
        elif self.finite_steps == self.dynamic_growth_steps:
            self.dynamic_scale, self.finite_steps = 2.0 * self.dynamic_scale, 0
        return finite

    def count(self) -> None:
        super().count()
        self.inner_optimizer.count()

    def get_state(self) -> dict[str, Any]:
        return {
            **super().get_state(),
            "dynamic_scale": self.dynamic_scale,
            "finite_steps": self.finite_steps,
            "inner": self.inner_optimizer.get_state(),
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        super().set_state(state)
        self.dynamic_scale = float(state["dynamic_scale"])
        self.finite_steps = int(state["finite_steps"])
        self.inner_optimizer.set_state(state["inner"])

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "inner_optimizer": serialize(self.inner_optimizer),
            "initial_scale": self.initial_scale,
            "dynamic_growth_steps": self.dynamic_growth_steps,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "LossScaleOptimizer":
        return cls(**{**config, "inner_optimizer": deserialize(config["inner_optimizer"])})


def _positive(name: str, value: Any, kinds: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, kinds) or not value > 0:
        raise ValueError(f"LossScaleOptimizer: {name} must be a positive number, got {value!r}")


def _plain(value: Any, what: str) -> Any:
    """`value`, which must be an optimizer that is no wrapper."""
    if not isinstance(value, Optimizer) or isinstance(value, (LossScaleOptimizer, MultiOptimizer)):
        raise ValueError(f"{what} must be an optimizer and no wrapper of others, got {value!r}")
    return value


class OptimizerMap(MutableMapping):
    """Which optimizer each weight has, by its path.

    A key is a path, or a regular expression that the whole path matches.

    Parameters
    ----------
    default_optimizer : for weights that no key names.
    optimizer_map : a dictionary of keys and optimizers.

    Examples
    --------
    >>> optimizers = OptimizerMap(SGD(0.1), {"head/.*": Adam()})
    """

    family = family

    def __init__(self, default_optimizer: Any, optimizer_map: dict | None = None) -> None:
        if not isinstance(default_optimizer, Optimizer):
            raise TypeError(
                f"OptimizerMap: default_optimizer must be an optimizer, got {default_optimizer!r}"
            )
        if optimizer_map is not None and not isinstance(optimizer_map, dict):
            raise TypeError(
                f"OptimizerMap: optimizer_map must be a dictionary, got {optimizer_map!r}"
            )
        self._default = default_optimizer
        self._optimizers: dict[str, Any] = {}
        for key, optimizer in (optimizer_map or {}).items():
            self[key] = optimizer

    @property
    def default_optimizer(self) -> Any:
        return self._default

    def __getitem__(self, key: str) -> Any:
        if key in self._optimizers:
            return self._optimizers[key]
        matching = [pattern for pattern in self._optimizers if re.fullmatch(pattern, key)]
        if len(matching) > 1:
            raise ValueError(f"OptimizerMap: {key!r} matches several keys: {matching}")
        return self._optimizers[matching[0]] if matching else self._default

    def __setitem__(self, key: str, optimizer: Any) -> None:
        if not isinstance(key, str):
            raise ValueError(f"OptimizerMap: keys must be strings, got {key!r}")
        if key in self._optimizers:
            raise ValueError(f"OptimizerMap: there is a key {key!r} already")
        self._optimizers[key] = _plain(optimizer, f"OptimizerMap: {key!r}")

    def __delitem__(self, key: str) -> None:
        del self._optimizers[key]

    def __len__(self) -> int:
        return len(self._optimizers)

    def __iter__(self) -> Iterator[str]:
        return iter(self._optimizers)

    def __call__(self, variable: Any) -> Any:
        return self[variable.path]

    def get_config(self) -> dict[str, Any]:
        return {
            "default_optimizer": serialize(self._default),
            "optimizer_map": serialize(self._optimizers),
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "OptimizerMap":
        return cls(deserialize(config["default_optimizer"]), deserialize(config["optimizer_map"]))


family.add(OptimizerMap)


class MultiOptimizer(Optimizer):
    """Gives each weight to an optimizer of several.

    Parameters
    ----------
    optimizer_map : an OptimizerMap, or a function of a weight, which has a `path`, that returns an
        optimizer.
    loss_scale_factor : takes the place of that of the optimizers.
    name : automatic by default.
    """

    def __init__(
        self,
        optimizer_map: Callable[[Any], Any],
        loss_scale_factor: float | None = None,
        name: str | None = None,
    ) -> None:
        if not callable(optimizer_map):
            raise ValueError(
                "MultiOptimizer: optimizer_map must be an OptimizerMap or a function, "
                f"got {optimizer_map!r}"
            )
        super().__init__(loss_scale_factor=loss_scale_factor, name=name)
        self.optimizer_map = optimizer_map
        self.optimizers: list[Any] = []
        self._chosen: dict[int, tuple[Any, Any]] = {}  # by weight, which is kept with it
        if isinstance(optimizer_map, OptimizerMap):
            for optimizer in (*optimizer_map.values(), optimizer_map.default_optimizer):
                self._take(optimizer)

    def _take(self, optimizer: Any) -> Any:
        _plain(optimizer, "MultiOptimizer: the optimizer of a weight")
        optimizer.loss_scale_factor = self.loss_scale_factor
        if optimizer not in self.optimizers:
            self.optimizers.append(optimizer)
        return optimizer

    @property
    def learning_rate(self) -> LearningRate:
        raise AttributeError("MultiOptimizer has no learning_rate; its optimizers have")

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        raise AttributeError("MultiOptimizer has no learning_rate; set that of its optimizers")

    def chosen(self, variable: Any) -> Any:
        """The optimizer of a weight."""
        if id(variable) not in self._chosen:
            optimizer = self._take(self.optimizer_map(variable))
            self._chosen[id(variable)] = optimizer, variable
        return self._chosen[id(variable)][0]

    def part(self, variable: Any) -> Part:
        return self.chosen(variable).part(variable)

    def count(self) -> None:
        super().count()
        for optimizer in {id(chosen): chosen for chosen, _ in self._chosen.values()}.values():
            optimizer.count()

    def get_state(self) -> dict[str, Any]:
        return {**super().get_state(), "inner": [each.get_state() for each in self.optimizers]}

    def set_state(self, state: Mapping[str, Any]) -> None:
        super().set_state(state)
        for optimizer, inner in zip(self.optimizers, state["inner"], strict=True):
            optimizer.set_state(inner)

    def get_config(self) -> dict[str, Any]:
        return {
            "optimizer_map": serialize(self.optimizer_map),
            "loss_scale_factor": self.loss_scale_factor,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "MultiOptimizer":
        return cls(**{**config, "optimizer_map": deserialize(config["optimizer_map"])})
