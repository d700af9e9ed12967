"""An optimizer's state as Keras's files hold it: one list of variables.

First the number of steps and, where it is a number, the learning rate; then what belongs to every
weight, in the order in which Keras's optimizers make it.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from nbcnn import optimizers
from nbcnn.declare import snake_case
from nbcnn.models.keras_tree import numbered
from nbcnn.optimizer_base import ACCUMULATOR, AVERAGE
from nbcnn.schedules import LearningRateSchedule

GROUP = "optimizer/vars"
# The rules' state, by class: names together are made weight by weight, groups one after the other.
MADE = {
    "RMSprop": (("velocity",), ("momentum",), ("average_gradient",)),
    "Adam": (("momentum", "velocity"), ("velocity_hat",)),
    "AdamW": (("momentum", "velocity"), ("velocity_hat",)),
    "Adafactor": (("row", "column", "velocity"),),
}
WHOLE = ("iteration", "finite_steps")  # numbers that count


class Item(NamedTuple):
    """One variable: a number by its name, or the state `slot` of the weight number `weight`.

    kept : False for what Keras has and this package does not need; then `value` is written.
    owner : which optimizer inside this one it belongs to, by number.
    """

    name: str
    shape: tuple[int, ...] = ()
    weight: int | None = None
    kept: bool = True
    value: float = 0.0
    owner: int | None = None


def is_known(optimizer: Any) -> bool:
    """Whether Keras has a list for the optimizer: not for several inside one that scales."""
    return not hasattr(getattr(optimizer, "inner_optimizer", None), "optimizers")


def _inside(optimizer: Any) -> list[Any]:
    """The optimizers that an optimizer hands its weights to."""
    if hasattr(optimizer, "inner_optimizer"):
        return [optimizer.inner_optimizer]
    return list(getattr(optimizer, "optimizers", []))


def copies(optimizer: Any) -> list[tuple[str, int, Any]]:
    """Where Keras writes the lists of optimizers inside a second time: group, number, optimizer."""
    inside = _inside(optimizer)
    if hasattr(optimizer, "inner_optimizer"):
        return [("optimizer/inner_optimizer/vars", 0, inside[0])]
    used: dict[str, int] = {}
    names = [numbered(snake_case(type(each).__name__), used) for each in inside]
    return [(f"optimizer/optimizers/{n}/vars", i, inside[i]) for i, n in enumerate(names)]


def items(optimizer: Any, weights: Sequence[Any]) -> list[Item]:
    """The list's contents, for an optimizer of these weights."""
    found = [Item("iteration")]
    inside = _inside(optimizer)
    if hasattr(optimizer, "inner_optimizer"):
        found += [Item("learning_rate", kept=False), Item("finite_steps"), Item("dynamic_scale")]
    elif inside:
        found += [Item("learning_rate", kept=False)]
    for number, each in enumerate(inside):
        its = [i for i, w in enumerate(weights) if len(inside) == 1 or optimizer.chosen(w) is each]
        for item in items(each, [weights[i] for i in its]):
            weight = None if item.weight is None else its[item.weight]
            found.append(item._replace(weight=weight, owner=number))
    if inside:
        return found
    rate = optimizer._learning_rate
    if not isinstance(rate, LearningRateSchedule) and not callable(rate):
        found.append(Item("learning_rate"))
    for group in _groups(optimizer):
        for i, weight in enumerate(weights):
            found += _items_of(optimizer, group, i, weight)
    own = getattr(optimizer, "_own_variables", ())
    found += [Item(f"own {i}", tuple(v.shape)) for i, v in enumerate(own)]
    if isinstance(optimizer, optimizers.Nadam) and weights:
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


def arrays(optimizer: Any, store: Any) -> list[tuple[Item, np.ndarray]]:
    """The list for an optimizer with its state."""
    values, inside = store.slot_values(), _inside(optimizer)
    numbers: dict[int | None, dict[str, float]] = {None: _numbers(optimizer)}
    numbers.update({i: _numbers(each) for i, each in enumerate(inside)})
    found = []
    for item in items(optimizer, store.variables):
        if item.weight is not None and item.kept:
            array = values[item.name][item.weight]
            assert array is not None
        elif item.name.startswith("own "):
            owner = optimizer if item.owner is None else inside[item.owner]
            array = owner._own_variables[int(item.name[4:])].numpy()
        elif item.weight is not None:
            array = np.zeros(item.shape, np.float32)
        else:
            kind = np.int64 if item.name in WHOLE else np.float32
            array = np.array(numbers[item.owner].get(item.name, item.value), kind)
        found.append((item, array))
    return found


def _numbers(optimizer: Any) -> dict[str, float]:
    state = optimizer.get_state()
    found = {"iteration": state["step_count"]}
    if hasattr(optimizer, "inner_optimizer"):
        found.update({name: state[name] for name in ("finite_steps", "dynamic_scale")})
    elif not _inside(optimizer) and not callable(optimizer._learning_rate):
        found["learning_rate"] = float(optimizer._learning_rate)
    return found


def problem(items: Sequence[Item], found: Sequence[np.ndarray]) -> str | None:
    """What is wrong with the list's numbers; its shapes are right."""
    for item, array in zip(items, found):
        if item.weight is not None or not item.kept or item.name.startswith("own "):
            continue
        number = array.item()
        whole = isinstance(number, int) or item.name not in WHOLE
        if not whole or not 0 <= number < 2**62:  # which no NaN is
            return f"the optimizer's {item.name} is {number}"
    return None


def restore(optimizer: Any, store: Any, found: Sequence[np.ndarray]) -> None:
    """Continue from a list whose shapes are those of `items`, and which has no `problem`."""
    slots: dict[str, list[Any]] = {
        name: [None] * len(store.variables) for name in store.slot_shapes()
    }
    inside = _inside(optimizer)
    numbers: dict[int | None, dict[str, Any]] = {None: {}, **{i: {} for i in range(len(inside))}}
    for item, array in zip(items(optimizer, store.variables), found, strict=True):
        if not item.kept:
            continue
        if item.name.startswith("own "):
            owner = optimizer if item.owner is None else inside[item.owner]
            owner._own_variables[int(item.name[4:])].assign(array)
        elif item.weight is None:
            numbers[item.owner][item.name] = array.item()
        else:
            slots[item.name][item.weight] = array
    store.set_slot_values(slots)
    for number, each in enumerate(inside):
        _set_numbers(each, numbers[number])
    _set_numbers(optimizer, numbers[None])


def _set_numbers(optimizer: Any, numbers: Mapping[str, Any]) -> None:
    state = {**optimizer.get_state(), "step_count": int(numbers["iteration"])}
    if hasattr(optimizer, "inner_optimizer"):
        # Keras counts the inner optimizer's steps only.
        state["step_count"] = state["inner"]["step_count"]
        state.update({name: numbers[name] for name in ("finite_steps", "dynamic_scale")})
    rate = numbers.get("learning_rate")
    # The configuration has more digits of the rate than the variable, which is a float32.
    if rate is not None and np.float32(optimizer._learning_rate) != np.float32(rate):
        optimizer.learning_rate = float(rate)
    optimizer.set_state(state)
