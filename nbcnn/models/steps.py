"""One step of training, testing or prediction, as a plan over fixed arrays.

The training graph is: the model's forward pass, losses and metrics; their rewrites; gradients;
fusions; and last
what is written: moving averages, running sums of loss and metrics, the clipped gradients and the
optimizer.
"""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from nbcnn import config
from nbcnn.graph.aliases import RESHAPES_BEHIND, WITHOUT_GRADIENTS
from nbcnn.graph.choosing import select
from nbcnn.graph.fuse import fuse
from nbcnn.graph.graph import Graph, rewrite
from nbcnn.graph.memory import Arena
from nbcnn.graph.plan import Plan
from nbcnn.graph.rewrite import INDICES, INFERENCE, TRAINING
from nbcnn.graph.settle import settle
from nbcnn.kernels.impl import Choice
from nbcnn.layers.context import Context
from nbcnn.layers.variable import Clock
from nbcnn.models import updates
from nbcnn.models.objective import Objective, Watched
from nbcnn.models.slopes import slopes_of
from nbcnn.models.storage import Store
from nbcnn.ops.op import Op
from nbcnn.ops.optimizer import HYPER_SIZE, Accumulate
from nbcnn.ops.tensor import Node, Tensor, TensorSpec, VariableTensor


class Numbers:
    """A few numbers on the host and on a device."""

    def __init__(self, device: Any, size: int, dtype: str) -> None:
        self.device, self.host = device, np.zeros(size, dtype)
        self.array = _array(device, (size,), dtype)
        self.send()

    def send(self) -> None:
        """The device gets what the host has."""
        self.device.upload(self.array, self.host)


class StepState:
    """What the runners of a model share on one device: per-step numbers and running sums.

    `hyper(optimizer)`: learning rate, step and what else it takes. `seed`: for random layers.
    `totals`: a (weighted sum, weight) pair for every watched value. `arena`: what a run needs while
    it lasts.
    """

    def __init__(self, device: Any, seed: int, totals: int, arena: Arena):
        dtype = config.floatx()
        self.device, self.arena = device, arena
        self.seed_host = np.array([seed, 0], dtype=np.int64)
        self.scale = Numbers(device, 2, dtype)  # of the loss, and what undoes it
        self._hyper: dict[int, tuple[Numbers, Any]] = {}
        self.seed = _array(device, (2,), "int64")
        self.totals = _array(device, (max(totals, 1), 2), "float64")
        self._zero_totals = np.zeros((max(totals, 1), 2))
        device.upload(self.seed, self.seed_host)
        self.reset()

    def hyper(self, optimizer: Any) -> "Numbers":
        """The numbers that change from step to step, of one optimizer."""
        if id(optimizer) not in self._hyper:
            self._hyper[id(optimizer)] = Numbers(self.device, HYPER_SIZE, "float64"), optimizer
        return self._hyper[id(optimizer)][0]

    def reset(self) -> None:
        self.device.upload(self.totals, self._zero_totals)

    def draw_anew(self) -> None:
        """Random layers of the next run draw other numbers."""
        self.seed_host[1] += 1
        self.device.upload(self.seed, self.seed_host)

    def means(self) -> list[float]:
        sums = self.device.download(self.totals)
        with np.errstate(invalid="ignore", divide="ignore"):
            return [float(v) for v in sums[:, 0] / sums[:, 1]]


class Runner:
    """A step on fixed shapes: `load` a batch, call `run`, read `results`; for outputs `run_into`.

    Until `release`, the arrays of the last batch must hold still. `writes`: whether a run changes
    variables, of which other plans may have made something. `random`: whether it draws numbers,
    new ones each time.
    """

    writes = random = False

    def __init__(
        self, plan: Plan, state: StepState, feeds: "Feeds", names: list[str], outputs: list[Tensor]
    ):
        self.plan, self.device, self._state, self._names = plan, plan.device, state, names
        self.feed_specs = [t.spec for t in feeds.leaves]
        self._feeds = [plan.feed(t) for t in feeds.leaves]
        self._outlets = [plan.outlet(t) for t in outputs]
        self.outputs = [t.spec for t in outputs]
        self._bound = [(v, v.array) for v in variables_of(plan.graph)]
        self._places, self._values = Clock.places, -1

    def valid(self) -> bool:
        """Whether all variables are still in the memory that the plan was bound to."""
        if self._places != Clock.places:
            if any(v.array is not array for v, array in self._bound):
                return False
            self._places = Clock.places
        return True

    def load(
        self, arrays: Sequence[np.ndarray | None], order: np.ndarray | None = None, start: int = 0
    ) -> None:
        """The next run works on rows `order[start], order[start + 1], ...` of the arrays of inputs,
        targets and weights; without an order on rows start, start + 1, ... None keeps what is
        there.
        """
        for feed, array in zip(self._feeds, arrays, strict=True):
            if array is not None:
                feed.load(array, order, start)

    def warm(self) -> None:
        """Compile what loading batches will need; the step itself is compiled."""
        for feed in self._feeds:
            feed.warm()

    def release(self) -> None:
        """Let go of the arrays of the last batch."""
        for user in (*self._feeds, *self._outlets):
            user.release()

    def run_into(self, targets: Sequence[np.ndarray]) -> None:
        """Run; the model's flat outputs are written to these arrays."""
        for outlet, target in zip(self._outlets, targets, strict=True):
            outlet.aim(target)
        self.run()
        for outlet in self._outlets:
            outlet.collect()

    def run(self) -> None:
        if self._values != Clock.values:
            self.plan.prepare()
            self._values = Clock.values
        if self.random:
            self._state.draw_anew()
        self.plan.run()
        if self.writes:
            Clock.values += 1

    def results(self) -> dict[str, float]:
        """Loss and metrics averaged since the last `reset`."""
        return dict(zip(self._names, self._state.means()))

    def reset(self) -> None:
        self._state.reset()


class TrainRunner(Runner):
    """A step that also updates weights; counts the optimizer's iterations."""

    store: Store
    stages: Sequence[updates.Stage]
    gradients: Sequence[Tensor]  # extremes of the gradients, where the optimizer looks at them

    def run(self) -> None:
        state, optimizer = self._state, self.store.optimizer
        for each in self.store.optimizers:
            each.fill(state.hyper(each).host)
            state.hyper(each).send()
        if optimizer.needs_finite:
            state.scale.host[:] = optimizer.loss_scale, 1.0 / optimizer.loss_scale
            state.scale.send()
        state.seed_host[1] = optimizer.step_count + 1
        self.device.upload(state.seed, state.seed_host)
        self.plan.run()
        if self._are_taken():
            for stage in self.stages:
                if stage.due():
                    stage.plan.run()
            optimizer.count()
        Clock.values += 1

    def _are_taken(self) -> bool:
        """Whether the optimizer, if it looks at gradients, lets them change the weights."""
        if not self.store.optimizer.needs_finite:
            return True
        extremes = (self.device.download(self.plan.array(t)) for t in self.gradients)
        finite = all(np.isfinite(values).all() for values in extremes)
        return self.store.optimizer.judge(finite)


class Feeds:
    """Leaves for inputs, targets and sample weights."""

    def __init__(
        self, x: Sequence[TensorSpec], y: Sequence[TensorSpec] = (), weighted: Sequence[Any] = ()
    ):
        self.x = [Tensor(shape, dtype, name=f"x{i}") for i, (shape, dtype) in enumerate(x)]
        self.y = [Tensor(shape, dtype, name=f"y{i}") for i, (shape, dtype) in enumerate(y)]
        self.w = [
            None if sizes is None else Tensor((shape[0], *sizes), config.floatx(), name=f"w{i}")
            for i, ((shape, _), sizes) in enumerate(zip(y, weighted))
        ]

    @property
    def leaves(self) -> list[Tensor]:
        """All that is there."""
        return [*self.x, *self.y, *(t for t in self.w if t is not None)]


def predict_runner(forward: Any, x: Sequence[TensorSpec], device: Any, state: StepState) -> Runner:
    """`forward(tensors, context)` -> flat list of output tensors."""
    feeds = Feeds(x)
    with Context(training=False) as context:
        outputs = forward(feeds.x, context)
    graph = _optimized(Graph(outputs, context.updates), INFERENCE, device)
    writes, bindings = bool(context.updates), {context.seed: state.seed}
    batch = [] if writes else feeds.x
    plan = Plan(graph, device, bindings, None, writes, state.arena, batch)
    runner = Runner(plan, state, feeds, [], graph.outputs)
    runner.writes, runner.random = writes, _reads(graph, context.seed)
    return runner


def test_runner(
    forward: Any, objective: Objective, feeds: Feeds, device: Any, state: StepState
) -> Runner:
    with Context(training=False) as context:
        watched, _ = objective.trace(forward(feeds.x, context), feeds, context)
    graph, totals = _watching(watched, Graph([], context.updates), state, INFERENCE, device)
    # A metric or a layer with variables of its own writes them: then none may be read once and
    # kept.
    writes, bindings = bool(context.updates), {context.seed: state.seed, **totals}
    batch = [] if writes else feeds.leaves
    plan = Plan(graph, device, bindings, None, writes, state.arena, batch)
    runner = Runner(plan, state, feeds, [w.name for w in watched], [])
    runner.writes, runner.random = writes, _reads(graph, context.seed)
    return runner


def train_runner(
    forward: Any, objective: Objective, feeds: Feeds, store: Store, device: Any, state: StepState
) -> TrainRunner:
    with Context(training=True) as context:
        watched, loss = objective.trace(forward(feeds.x, context), feeds, context)
    values = [t for w in watched for t in (w.value, w.weight)]
    graph = rewrite(Graph([loss, *values], context.updates), RESHAPES_BEHIND)
    graph = rewrite(rewrite(graph, TRAINING), INDICES)
    loss, values = graph.outputs[0], graph.outputs[1:]
    builder = updates.Builder(store, state)
    slopes = slopes_of(builder.scaled(loss), store.variables, context)
    found = [g for g in slopes if g is not None]
    if not found and store.variables:
        raise ValueError("fit: the loss does not depend on any trainable weight")
    if not store.variables:
        warnings.warn("fit: no weight is trainable, so none will change", stacklevel=2)
    graph = settle(Graph([*found, *values], graph.effects))
    if config.fuse():
        graph = fuse(graph, accepted_by(device))
    slopes_now = iter(graph.outputs[: len(found)])
    renewed = [None if g is None else next(slopes_now) for g in slopes]
    totals = _accumulate(graph, graph.outputs[len(found) :], state)
    builder.build(graph, renewed)
    bindings = {context.seed: state.seed, **totals, **builder.bindings}
    outputs = [*(t for t in renewed if t is not None), *builder.extremes]
    with_outputs = Graph(outputs, graph.effects)
    plan = Plan(with_outputs, device, bindings, builder.placements, True, state.arena)
    runner = TrainRunner(plan, state, feeds, [w.name for w in watched], [])
    runner.store, runner.gradients = store, builder.extremes
    runner.stages = builder.stages(device)
    return runner


def _optimized(graph: Graph, rules: Sequence, device: Any) -> Graph:
    graph = rewrite(rewrite(graph, WITHOUT_GRADIENTS), rules)
    return fuse(graph, accepted_by(device)) if config.fuse() else graph


def accepted_by(device: Any):
    """The implementation that the device chooses for an op on given inputs, as a function."""

    def accepts(op: Op, inputs: Sequence[Tensor]) -> Choice | None:
        return select(op, inputs, device)[1]

    return accepts


def _watching(
    watched: Sequence[Watched], graph: Graph, state: StepState, rules: Sequence, device: Any
):
    values = [t for w in watched for t in (w.value, w.weight)]
    graph = _optimized(Graph(values, graph.effects), rules, device)
    totals = _accumulate(graph, graph.outputs, state)
    return Graph([], graph.effects), totals


def _accumulate(graph: Graph, values: Sequence[Tensor], state: StepState) -> dict[Tensor, Any]:
    """Add to each watched value's running sum; returns the bindings of the sums."""
    bindings = {}
    for index in range(len(values) // 2):
        total = Tensor((2,), "float64", name=f"total{index}")
        bindings[total] = state.totals[index]
        graph.effects.append(Node(Accumulate(), [total, values[2 * index], values[2 * index + 1]]))
    return bindings


def _reads(graph: Graph, leaf: Tensor) -> bool:
    return any(t is leaf for node in graph.nodes for t in node.inputs)


def variables_of(graph: Graph) -> list[Any]:
    """The variables that a graph reads or writes."""
    leaves = [t for node in graph.nodes for t in node.inputs] + list(graph.outputs)
    return list({id(t): t.variable for t in leaves if isinstance(t, VariableTensor)}.values())


def _array(device: Any, shape: tuple[int, ...], dtype: str) -> Any:
    nbytes = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    return device.view(device.empty(nbytes), 0, shape, dtype)
