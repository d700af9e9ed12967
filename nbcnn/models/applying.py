"""Optimizers applied to gradients: on arrays at once, in a training step as a part of it."""

import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from nbcnn import ops
from nbcnn.graph.eager import lock
from nbcnn.graph.graph import Graph
from nbcnn.graph.memory import Arena
from nbcnn.graph.plan import Plan
from nbcnn.layers.context import Context, current, is_active
from nbcnn.layers.variable import Clock, Variable
from nbcnn.models.steps import Numbers, StepState
from nbcnn.models.storage import Group, Store, pools_of, renewed, view
from nbcnn.models.updates import Builder
from nbcnn.ops.op import as_tensor
from nbcnn.ops.tensor import Node, Tensor
from nbcnn.runtime.device import current_device


class Applied:
    """One call of `optimizer.apply` in a step: what came before it is of nodes up to `order`."""

    def __init__(self, optimizer: Any, variables: list[Variable], slopes: list[Tensor]) -> None:
        self.optimizer, self.variables, self.slopes = optimizer, variables, slopes
        self.order = next(Node._count)


class StepContext(Context):
    """The tracing of a `train_step`, `test_step` or `predict_step`.

    applied: the calls of `optimizer.apply`, in order. scales: loss scales that change from step to
    step, by optimizer.
    """

    def __init__(self) -> None:
        super().__init__(None)
        self.applied: list[Applied] = []
        self.scales: dict[int, tuple[Any, Tensor]] = {}

    def scale_of(self, optimizer: Any) -> Tensor:
        leaf = Tensor((2,), "float32", name="loss scale")
        return self.scales.setdefault(id(optimizer), (optimizer, leaf))[1]


def apply(optimizer: Any, slopes: list[Any], variables: list[Variable]) -> None:
    """Updates variables by their gradients, now or in the step that is traced."""
    _note_subset(optimizer, variables)
    if is_active():
        context = current()
        if not isinstance(context, StepContext):
            raise RuntimeError("apply: of all that is traced only train_step may update weights")
        tensors = [as_tensor(g, v.symbol) for g, v in zip(slopes, variables)]
        context.applied.append(Applied(optimizer, variables, tensors))
        return
    with lock():
        kept = optimizer.__dict__.setdefault("_applications", {})
        device = current_device()
        key = (device.name, *map(id, variables))
        if key not in kept or not kept[key].valid():
            kept[key] = Application(optimizer, variables, device, Arena(device))
        kept[key].take([np.asarray(g) for g in slopes])
        kept[key].run()


def scaled(optimizer: Any, loss: Any) -> Any:
    """The loss times the loss scale, which is a leaf of the step where it changes."""
    context = current()
    if is_active() and optimizer.needs_finite and isinstance(context, StepContext):
        scale: Any = context.scale_of(optimizer)
        return ops.multiply(loss, ops.cast(scale[0], loss.dtype))
    return ops.multiply(loss, float(optimizer.loss_scale))


def _note_subset(optimizer: Any, variables: Sequence[Variable]) -> None:
    """Groups are updated as a whole: each set of variables that comes must be made of groups."""
    subset = frozenset(map(id, variables))
    everything = frozenset(map(id, optimizer._trainable_variables))
    if subset != everything and subset not in optimizer._subsets:
        optimizer._subsets = [*optimizer._subsets, subset]


def store_of(optimizer: Any, device: Any) -> Store:
    """The optimizer's state on a device, for all variables that it was built with; what a model
    holds for just these is taken over.
    """
    known = list(optimizer._trainable_variables)
    kept = optimizer.__dict__.get("_kept_store")
    latest = None if optimizer.store is None else optimizer.store()
    if latest is not None and latest.serves(known, optimizer):
        kept = latest
    store = renewed(kept, known, optimizer, device)
    optimizer._kept_store, optimizer.store = store, weakref.ref(store)
    return store


class Members:
    """The groups of a store that hold some variables; looks like a store to `Builder`."""

    def __init__(self, store: Store, variables: Sequence[Variable]) -> None:
        wanted = set(map(id, variables))
        self.device, self.optimizer, self.variables = store.device, store.optimizer, list(variables)
        self.groups = [group for group in store.groups if id(group.variables[0]) in wanted]
        same = len(self.groups) == len(store.groups)
        self.pools = store.pools if same else pools_of(self.groups, store.device)

    @property
    def optimizers(self) -> list[Any]:
        return list({id(pool.optimizer): pool.optimizer for pool in self.pools}.values())

    def averaged(self) -> list[Group]:
        wanted = set(map(id, self.groups))
        return [g for g in self.groups if "average" in g.slots and id(g) in wanted]


class Application:
    """An update of some variables, as plans over gradients that lie in `places`, by variable."""

    def __init__(
        self, optimizer: Any, variables: Sequence[Variable], device: Any, arena: Arena
    ) -> None:
        self.optimizer, self.variables, self.device = optimizer, list(variables), device
        self.store = store_of(optimizer, device)
        self.members = Members(self.store, variables)
        self.state = StepState(device, 0, 0, arena)
        builder = Builder(self.members, self.state)  # type: ignore[arg-type]
        graph = Graph([], [])
        builder.build(graph, [None] * len(self.variables))
        found = Graph(list(builder.extremes), graph.effects)
        self.plan = Plan(found, device, builder.bindings, None, True, arena)
        self.extremes = builder.extremes
        self.stages = builder.stages(device)
        self.places = {
            id(v): view(group.gradients, start, v.shape)
            for group in self.members.groups
            for v, start in zip(group.variables, group.starts)
        }

    def valid(self) -> bool:
        """Whether the store is still the optimizer's, and holds its variables."""
        return self.optimizer.__dict__.get("_kept_store") is self.store and self.store.intact()

    def take(self, slopes: Sequence[np.ndarray]) -> None:
        """Gradients from the host, in the order of the variables."""
        for variable, slope in zip(self.variables, slopes):
            array = np.ascontiguousarray(slope, variable.dtype).reshape(variable.shape)
            self.device.upload(self.places[id(variable)], array)

    def run(self) -> None:
        """One update by the gradients as they are."""
        optimizer = self.optimizer
        for each in self.members.optimizers:
            each.fill(self.state.hyper(each).host)
            self.state.hyper(each).send()
        if optimizer.needs_finite:
            send_scale(optimizer, self.state.scale)
        self.plan.run()
        if not optimizer.needs_finite or optimizer.judge(self._finite()):
            for stage in self.stages:
                if stage.due():
                    stage.plan.run()
            optimizer.count()
        Clock.values += 1

    def _finite(self) -> bool:
        arrays = (self.device.download(self.plan.array(t)) for t in self.extremes)
        return all(np.isfinite(values).all() for values in arrays)


def send_scale(optimizer: Any, numbers: Numbers) -> None:
    """The loss scale of the coming step, and what undoes it."""
    numbers.host[:] = optimizer.loss_scale, 1.0 / optimizer.loss_scale
    numbers.send()


# -- the state as variables -----------------------------------------------------------------------


class StateVariable(Variable):
    """A number that an optimizer keeps on the host: reading and assigning go to the optimizer."""

    def __init__(self, optimizer: Any, attribute: str, dtype: str) -> None:
        value = getattr(optimizer, attribute)
        super().__init__(np.asarray(value, dtype), (), dtype, False, attribute)
        self.path = f"{optimizer.name}/{attribute}"
        self.optimizer, self.attribute = optimizer, attribute

    def numpy(self) -> np.ndarray:
        return np.asarray(getattr(self.optimizer, self.attribute), self.dtype)

    def assign(self, value: Any) -> Any:
        if self.attribute == "iterations" or not callable(self.optimizer._learning_rate):
            setattr(self.optimizer, self.attribute, np.asarray(value).item())
        return self


def variables_of(optimizer: Any) -> list[Variable]:
    """The optimizer's state; arrays are where it updates them."""
    found: list[Variable] = [StateVariable(optimizer, "iterations", "int32")]
    if hasattr(optimizer, "_learning_rate"):
        found.append(StateVariable(optimizer, "learning_rate", "float32"))
    if not optimizer.built:
        return [*found, *optimizer._own_variables]
    store = store_of(optimizer, current_device())
    views = store.slot_views()
    for weight in store.variables:
        for name, by_weight in views.items():
            if id(weight) in by_weight:
                array = by_weight[id(weight)]
                zeros = np.zeros(tuple(array.shape), weight.dtype)
                variable = Variable(zeros, None, weight.dtype, False, name)
                variable.path = f"{optimizer.name}/{weight.path.replace('/', '_')}_{name}"
                variable.move(array, store.device)
                found.append(variable)
    return [*found, *optimizer._own_variables]


def stateless(
    optimizer: Any, state: Sequence[Any], slopes: Sequence[Any], weights: Sequence[Any]
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """What weights and state become by an update; both are then as before."""
    own, known = optimizer.variables, list(optimizer._trainable_variables)
    for name, given, expected in (
        ("optimizer_variables", state, own),
        ("grads", slopes, known),
        ("trainable_variables", weights, known),
    ):
        if len(given) != len(expected):
            raise ValueError(
                f"stateless_apply: {name} must have {len(expected)} entries, got {len(given)}"
            )
    with lock(), as_before([*known, *own], lambda: [*known, *optimizer.variables]):
        for variable, value in zip([*known, *own], [*weights, *state]):
            variable.assign(value)
        optimizer.apply(slopes, known)
        return [v.numpy() for v in known], [v.numpy() for v in optimizer.variables]


@contextmanager
def as_before(variables: Sequence[Variable], now: Any = None) -> Iterator[None]:
    """Variables have their values again when it ends; `now()`: the variables then."""
    values = [v.numpy() for v in variables]
    try:
        yield
    finally:
        for variable, value in zip(variables if now is None else now(), values):
            variable.assign(value)
