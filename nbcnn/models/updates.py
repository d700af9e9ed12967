"""What a training step does with gradients, as plans that run one after the other.

    gradients into their buffer, divided by the loss scale, added up where they accumulate
    clipping, the optimizer's update                        every so many steps where they do
    the moving average of the weights, the weights from it  where the optimizer keeps one
    constraints

What happens at every step is part of the step's own plan as far as nothing conditional comes
before; each condition begins a plan of its own, and the host decides whether it runs.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from nbcnn import ops
from nbcnn.graph.graph import Graph, root_of
from nbcnn.graph.plan import Plan
from nbcnn.layers.context import Context
from nbcnn.models.storage import Group, Pool, Store, view
from nbcnn.ops.op import tracing
from nbcnn.ops.optimizer import (
    HYPER_SIZE,
    LEARNING_RATE,
    STEP,
    Assign,
    ClipGradients,
    Lamb,
    Mix,
)
from nbcnn.ops.tensor import Node, Tensor
from nbcnn.optimizer_base import ACCUMULATOR, AVERAGE

Due = Callable[[], bool]


def always() -> bool:
    return True


class Stage(NamedTuple):
    """A plan that runs when it is due."""

    plan: Plan
    due: Due


class Builder:
    """Puts the end of a training step together.

    `bindings`, `placements` and what is appended to the graph belong to the step's own plan, which
    must also keep `extremes`, if any: smallest and largest gradients.
    """

    def __init__(self, store: Store, state: Any) -> None:
        self.store, self.state = store, state
        self.bindings: dict[Tensor, Any] = {}
        self.placements: dict[Tensor, Any] = {}
        self.extremes: list[Tensor] = []
        self._later: list[tuple[Due, list[Node]]] = []
        self._main: list[Node] = []
        self._leaves: dict[int, Tensor] = {}  # by the array that they stand for
        self._keep: list[Any] = []
        self._hyper: dict[int, Tensor] = {}

    def scaled(self, loss: Tensor) -> Tensor:
        """The loss whose gradients are taken."""
        optimizer = self.store.optimizer
        if optimizer.loss_scale is None:
            return loss
        with tracing():
            if optimizer.needs_finite:
                return ops.multiply(loss, ops.cast(self._scale(0), loss.dtype))
            return ops.multiply(loss, float(optimizer.loss_scale))

    def build(self, graph: Graph, slopes: Sequence[Tensor | None]) -> None:
        """Append to the graph what updates weights by their gradients."""
        self._main = graph.effects
        self._place(slopes)
        if self.store.optimizer.needs_finite:
            with tracing():
                for pool in self.store.pools:
                    g = self._leaf(pool.gradients, pool.dtype, "gradients")
                    self.extremes += [ops.min(g), ops.max(g)]
            self._begin(always)
        for pool in self.store.pools:
            self._scale_and_accumulate(pool)
        for pool in self.store.pools:
            every = pool.optimizer.gradient_accumulation_steps
            if every:
                self._begin(_every(pool.optimizer, every))
            self._clip(pool)
            for group in pool.groups:
                self._update(group)
        self._averages()
        self._constraints()

    def stages(self, device: Any) -> list[Stage]:
        """The plans that come after the step's own."""
        return [
            Stage(Plan(Graph([], nodes), device, self.bindings, None, True, self.state.arena), due)
            for due, nodes in self._later
            if nodes
        ]

    # -- parts ----------------------------------------------------------------------------------

    def _begin(self, due: Due) -> None:
        """What is added from now on depends on a condition."""
        self._later.append((due, []))

    def _add(self, *nodes: Node) -> None:
        (self._later[-1][1] if self._later else self._main).extend(nodes)

    def _bind(self, leaf: Tensor, array: Any) -> Tensor:
        self.bindings[leaf] = array
        return leaf

    def _leaf(self, array: Any, dtype: str, name: str) -> Tensor:
        """What stands for an array in graphs."""
        if id(array) not in self._leaves:
            leaf = Tensor(tuple(array.shape), dtype, name=name)
            self._leaves[id(array)] = self._bind(leaf, array)
            self._keep.append(array)
        return self._leaves[id(array)]

    def _integers(self, values: np.ndarray, device: Any) -> Tensor:
        array = device.view(device.empty(values.nbytes), 0, values.shape, "int64")
        device.upload(array, values)
        return self._bind(Tensor(values.shape, "int64", name="places"), array)

    def _scale(self, place: int) -> Any:
        """The loss scale, or 1 / loss scale."""
        numbers = self.state.scale
        both: Any = self._leaf(numbers.array, numbers.host.dtype.name, "loss scale")
        return both[place]

    def _numbers(self, optimizer: Any) -> Tensor:
        return self._leaf(self.state.hyper(optimizer).array, "float64", "hyper")

    def _place(self, slopes: Sequence[Tensor | None]) -> None:
        """Gradients go where their group has them."""
        by_variable = {id(v): g for v, g in zip(self.store.variables, slopes)}
        taken: set[int] = set()
        for group in self.store.groups:
            for variable, start in zip(group.variables, group.starts):
                slope = by_variable[id(variable)]
                if slope is None:
                    continue
                place = view(group.gradients, start, variable.shape)
                root = root_of(slope)
                if root.node is None or id(root) in taken:
                    name = f"gradient of {variable.path}"
                    leaf = self._bind(Tensor(variable.shape, variable.dtype, name=name), place)
                    self._add(Node(Assign(), [leaf, slope]))
                else:
                    taken.add(id(root))
                    self.placements[slope] = place

    def _scale_and_accumulate(self, pool: Pool) -> None:
        g = self._leaf(pool.gradients, pool.dtype, "gradients")
        factor = 1.0 / (pool.optimizer.loss_scale_factor or 1.0)
        if self.store.optimizer.needs_finite:
            with tracing():
                self._add(Node(Assign(), [g, g * ops.cast(self._scale(1), pool.dtype)]))
        if not pool.optimizer.gradient_accumulation_steps:
            if factor != 1.0:
                self._add(Node(Mix(0.0, factor), [g, g]))
            return
        for group in pool.groups:
            part = self._leaf(group.gradients, group.dtype, "gradients")
            total = self._leaf(group.slots[ACCUMULATOR].values, group.dtype, ACCUMULATOR)
            self._add(Node(Mix(1.0, factor), [total, part]))

    def _clip(self, pool: Pool) -> None:
        optimizer = pool.optimizer
        if optimizer.gradient_accumulation_steps:
            for group in pool.groups:
                part = self._leaf(group.gradients, group.dtype, "gradients")
                total = self._leaf(group.slots[ACCUMULATOR].values, group.dtype, ACCUMULATOR)
                mean = Mix(0.0, 1.0 / optimizer.gradient_accumulation_steps)
                self._add(Node(mean, [part, total]), Node(Mix(0.0, 0.0), [total, total]))
        if optimizer.clipping is not None:
            mode, value = optimizer.clipping
            g = self._leaf(pool.gradients, pool.dtype, "gradients")
            bounds = self._integers(pool.bounds(), pool.device)
            self._add(Node(ClipGradients(mode, float(value)), [g, bounds]))

    def _update(self, group: Group) -> None:
        part = group.part
        if part.op is None:
            self._compose(group)
            return
        hyper = self._numbers(part.optimizer)
        w = self._leaf(group.values, group.dtype, "w")
        g = self._leaf(group.gradients, group.dtype, "g")
        own = [name for name in group.slots if name not in (AVERAGE, ACCUMULATOR)]
        state = [self._leaf(group.slots[n].values, group.dtype, n) for n in own]
        if isinstance(part.op, Lamb):
            state.append(self._integers(group.segments(), group.device))
        self._add(Node(part.op, [w, g, hyper, *state]))

    def _compose(self, group: Group) -> None:
        """The update of each weight in turn, from ordinary operations."""
        optimizer, decay = group.part.optimizer, group.part.weight_decay
        if optimizer.has_own_rule:
            self._own_rule(group)
            return
        with tracing():
            numbers: Any = ops.cast(self._numbers(optimizer), group.dtype)
            hyper = [numbers[i] for i in range(HYPER_SIZE)]
            for i, (variable, start) in enumerate(zip(group.variables, group.starts)):
                places = (
                    view(group.values, start, variable.shape),
                    view(group.gradients, start, variable.shape),
                )
                w, g = (self._leaf(a, group.dtype, n) for a, n in zip(places, "wg"))
                own = (n for n in group.slots if n not in (AVERAGE, ACCUMULATOR))
                state = {n: self._leaf(group.slots[n].views[i], group.dtype, n) for n in own}
                kept = w - w * (hyper[0] * decay) if decay else w
                new, renewed = optimizer.compose(kept, g, state, hyper)
                for name, value in renewed.items():
                    self._add(Node(Assign(), [state[name], value]))
                self._add(Node(Assign(), [w, new]))

    def _own_rule(self, group: Group) -> None:
        """The update of each weight by a user's `update_step`."""
        optimizer, decay = group.part.optimizer, group.part.weight_decay
        optimizer.build(self.store.variables)
        with Context() as context:
            both: Any = self._numbers(optimizer)
            rate = ops.cast(both[LEARNING_RATE], group.dtype)
            count = ops.subtract(ops.cast(both[STEP], "int32"), 1)
            with optimizer.at_step(count):
                for variable, start in zip(group.variables, group.starts):
                    place = view(group.gradients, start, variable.shape)
                    if decay:
                        variable.assign(variable - variable * (rate * decay))
                    optimizer.update_step(self._leaf(place, group.dtype, "g"), variable, rate)
        self._add(*context.updates)

    def _averages(self) -> None:
        """Before constraints, as in Keras: the average is of weights as the update leaves them."""
        for optimizer in self.store.optimizers:
            groups = [g for g in self.store.averaged() if g.part.optimizer is optimizer]
            if not groups:
                continue
            pairs = [
                (
                    self._leaf(group.slots[AVERAGE].values, group.dtype, AVERAGE),
                    self._leaf(group.values, group.dtype, "w"),
                )
                for group in groups
            ]
            keep = optimizer.ema_momentum
            self._begin(_at_first(optimizer))
            self._add(*(Node(Assign(), [average, w]) for average, w in pairs))
            self._begin(_later(optimizer))
            self._add(*(Node(Mix(keep, 1.0 - keep), [average, w]) for average, w in pairs))
            if optimizer.ema_overwrite_frequency:
                self._begin(_changes(optimizer, optimizer.ema_overwrite_frequency))
                self._add(*(Node(Assign(), [w, average]) for average, w in pairs))

    def _constraints(self) -> None:
        constrained = [v for v in self.store.variables if v.constraint is not None]
        if constrained and self._later:
            self._begin(always)
        with tracing():
            for variable in constrained:
                value = variable.constraint(variable.symbol)
                self._add(Node(Assign(), [variable.symbol, value]))


# Conditions: what of an optimizer happens at the coming step.


def _every(optimizer: Any, steps: int) -> Due:
    return lambda: (optimizer.step_count + 1) % steps == 0


def _at_first(optimizer: Any) -> Due:
    return lambda: optimizer.iterations == 0


def _later(optimizer: Any) -> Due:
    return lambda: optimizer.iterations > 0


def _changes(optimizer: Any, count: int) -> Due:
    return lambda: (optimizer.iterations + 1) % count == 0
