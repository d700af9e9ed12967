"""An optimizer's state as Keras's files hold it: one list of variables.

First the number of steps and, where it is a number, the learning rate; then what belongs to every
weight, in the order in which Keras's optimizers make it.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from nbcnn import optimizers
from nbcnn.optimizer_base import ACCUMULATOR, AVERAGE
from nbcnn.schedules import LearningRateSchedule

GROUP, INNER = "optimizer/vars", "optimizer/inner_optimizer/vars"
# The rules' state, by class: names together are made weight by weight, groups one after the other.
MADE = {
    "RMSprop": (("velocity",), ("momentum",), ("average_gradient",)),
    "Adam": (("momentum", "velocity"), ("velocity_hat",)),
    "AdamW": (("momentum", "velocity"), ("velocity_hat",)),
    "Adafactor": (("row", "column", "velocity"),),
}


class Item(NamedTuple):
    """One variable: a number by its name, or the state `slot` of the weight number `weight`.

    kept : False for what Keras has and this package does not need; then `value` is written.
    """

    name: str
    shape: tuple[int, ...] = ()
    weight: int | None = None
    kept: bool = True
    value: float = 0.0


def is_known(optimizer: Any) -> bool:
    """Whether Keras has a list for the optimizer."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    return not hasattr(inner, "optimizers")


def items(optimizer: Any, weights: Sequence[Any]) -> list[Item]:
    """The list's contents, for an optimizer of these weights."""
    if hasattr(optimizer, "inner_optimizer"):
        inner = items(optimizer.inner_optimizer, weights)
        head = [Item("iteration"), Item("learning_rate", kept=False)]
        return [*head, Item("finite_steps"), Item("dynamic_scale"), *inner]
    found = [Item("iteration")]
    rate = optimizer._learning_rate
    if not isinstance(rate, LearningRateSchedule) and not callable(rate):
        found.append(Item("learning_rate"))
    for group in _groups(optimizer):
        for i, weight in enumerate(weights):
            found += _items_of(optimizer, group, i, weight)
    own = getattr(optimizer, "_own_variables", ())
    found += [Item(f"own {i}", tuple(v.shape)) for i, v in enumerate(own)]
    if isinstance(optimizer, optimizers.Nadam):
        product = optimizer._product_at(optimizer.iterations)
        found.append(Item("product", kept=False, value=product))
    return found


def _groups(optimizer: Any) -> Iterator[tuple[str, ...]]:
    if optimizer.use_ema:
        yield (AVERAGE,)
    if optimizer.gradient_accumulation_steps:
        yield (ACCUMULATOR,)
    if isinstance(optimizer, optimizers.Muon):
        yield ("momentum", "velocity")
        return
    for group in MADE.get(type(optimizer).__name__, (optimizer.slots,)):
        if group and (group[0] in optimizer.slots or isinstance(optimizer, optimizers.Adafactor)):
            yield group


def _items_of(optimizer: Any, group: tuple[str, ...], number: int, weight: Any) -> Iterator[Item]:
    there = optimizer.part(weight).slots
    for slot in group:
        if slot in there:
            yield Item(slot, optimizer.slot_shape(slot, weight.shape), number)
        elif isinstance(optimizer, optimizers.Adafactor):
            shape = weight.shape if slot == "velocity" else ()
            yield Item(slot, shape, number, kept=False)


def arrays(optimizer: Any, store: Any) -> list[np.ndarray]:
    """The list for an optimizer with its state."""
    values, state = store.slot_values(), optimizer.get_state()
    numbers = _numbers(optimizer, state)
    found = []
    for item in _with_owner(items(optimizer, store.variables)):
        if item.weight is not None and item.kept:
            array = values[item.name][item.weight]
            assert array is not None
            found.append(array)
        elif item.name.startswith("own "):
            found.append(optimizer._own_variables[int(item.name[4:])].numpy())
        elif item.weight is not None:
            found.append(np.zeros(item.shape, np.float32))
        else:
            kind = np.int64 if item.name.endswith(("iteration", "finite_steps")) else np.float32
            found.append(np.array(numbers.get(item.name, item.value), kind))
    return found


def _with_owner(found: list[Item]) -> list[Item]:
    """Numbers of an inner optimizer get names of their own: `inner iteration`."""
    starts = [i for i, item in enumerate(found) if item.name == "iteration"]
    if len(starts) < 2:
        return found
    inner = [
        item._replace(name=f"inner {item.name}") if item.weight is None else item
        for item in found[starts[1] :]
    ]
    return [*found[: starts[1]], *inner]


def _numbers(optimizer: Any, state: Mapping[str, Any]) -> dict[str, float]:
    if hasattr(optimizer, "inner_optimizer"):
        inner = _numbers(optimizer.inner_optimizer, state["inner"])
        return {
            "iteration": state["step_count"],
            "finite_steps": state["finite_steps"],
            "dynamic_scale": state["dynamic_scale"],
            **{f"inner {name}": value for name, value in inner.items()},
        }
    rate = optimizer._learning_rate
    given = {} if callable(rate) else {"learning_rate": float(rate)}
    return {"iteration": state["step_count"], **given}


def restore(optimizer: Any, store: Any, found: Sequence[np.ndarray]) -> None:
    """Continue from a list whose shapes are those of `items`."""
    slots: dict[str, list[Any]] = {
        name: [None] * len(store.variables) for name in store.slot_shapes()
    }
    numbers: dict[str, Any] = {}
    for item, array in zip(_with_owner(items(optimizer, store.variables)), found, strict=True):
        if not item.kept:
            continue
        if item.name.startswith("own "):
            optimizer._own_variables[int(item.name[4:])].assign(array)
        elif item.weight is None:
            numbers[item.name] = array.item()
        else:
            slots[item.name][item.weight] = array
    store.set_slot_values(slots)
    _set_numbers(optimizer, numbers, "")


def _set_numbers(optimizer: Any, numbers: Mapping[str, Any], prefix: str) -> None:
    state = {"step_count": int(numbers[f"{prefix}iteration"])}
    if hasattr(optimizer, "inner_optimizer"):
        _set_numbers(optimizer.inner_optimizer, numbers, "inner ")
        more = {name: numbers[name] for name in ("finite_steps", "dynamic_scale")}
        inner = optimizer.inner_optimizer.get_state()
        # Keras counts the inner optimizer's steps only.
        optimizer.set_state({"step_count": inner["step_count"], **more, "inner": inner})
        return
    rate = numbers.get(f"{prefix}learning_rate")
    # The configuration has more digits of the rate than the variable, which is a float32.
    if rate is not None and np.float32(optimizer._learning_rate) != np.float32(rate):
        optimizer.learning_rate = float(rate)
    optimizer.set_state({**optimizer.get_state(), **state})
