"""Steps of one's own: `train_step`, `test_step` and `predict_step` as plans.

Such a method is called once, on symbolic tensors. Each `optimizer.apply` in it ends a part of the
step: what was computed up to there is one plan, the update is the optimizer's own plans, and what
comes after, another plan, reads the new weights. Values that later parts need are kept.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from nbcnn import config, ops
from nbcnn.graph.aliases import RESHAPES_BEHIND, WITHOUT_GRADIENTS
from nbcnn.graph.fuse import fuse
from nbcnn.graph.graph import Graph, rewrite, root_of
from nbcnn.graph.plan import Plan
from nbcnn.graph.rewrite import INDICES, INFERENCE, TRAINING
from nbcnn.graph.settle import settle
from nbcnn.layers.structure import flatten, map_structure
from nbcnn.layers.variable import Clock
from nbcnn.metric_results import Pending
from nbcnn.models.applying import Application, Applied, StepContext, send_scale
from nbcnn.models.own_data import OwnSpecs, rows_of
from nbcnn.models.steps import Numbers, StepState, accepted_by, variables_of
from nbcnn.ops.op import apply_symbolic, tracing
from nbcnn.ops.optimizer import Assign
from nbcnn.ops.tensor import Constant, Node, Tensor, VariableTensor


class OwnRunner:
    """A traced step; see `steps.Runner` for how runners are used."""

    def __init__(
        self,
        function: Callable[[Any], Any],
        specs: OwnSpecs,
        device: Any,
        state: StepState,
        training: bool,
    ) -> None:
        self.device, self._state = device, state
        self._leaves = [Tensor(s, d, name=f"data{i}") for i, (s, d) in enumerate(specs.x)]
        context = StepContext()
        with context, _advising():
            logs = as_logs(function(specs.nesting.pack(self._leaves)))
            self._logs = map_structure(_owned, logs)
        self._applied = context.applied
        self._scales = [
            (optimizer, leaf, Numbers(device, 2, "float32"))
            for optimizer, leaf in context.scales.values()
        ]
        self.updates = [
            Application(each.optimizer, each.variables, device, state.arena)
            for each in self._applied
        ]
        for update in self.updates:
            if not update.valid():
                raise ValueError(
                    "train_step: several optimizers update the same variable, or one of them two "
                    "sets of variables that overlap in this step; compile with run_eagerly=True"
                )
        self.results_wanted = [t for t in flatten(self._logs) if isinstance(t, Tensor)]
        inference = not (training or context.differentiated or self._applied)
        rules = (
            (WITHOUT_GRADIENTS, INFERENCE) if inference else (RESHAPES_BEHIND, TRAINING, INDICES)
        )
        self._parts = _Parts(self, context, rules)
        self.plans = self._parts.plans
        self.plan = self.plans[0]
        self._feeds = self._parts.feeds
        self._bound = [(v, v.array) for plan in self.plans for v in variables_of(plan.graph)]
        self._places = Clock.places

    def valid(self) -> bool:
        """Whether all variables are still in the memory that the plans were bound to."""
        if self._places != Clock.places:
            if any(v.array is not array for v, array in self._bound):
                return False
            if not all(update.valid() for update in self.updates):
                return False
            self._places = Clock.places
        return True

    def load(self, arrays: Sequence[Any], order: np.ndarray | None = None, start: int = 0) -> None:
        """The next run works on these rows, see `Runner.load`."""
        for place, feed in self._feeds:
            feed.load(arrays[place], order, start)

    def release(self) -> None:
        for _, feed in self._feeds:
            feed.release()

    def warm(self) -> None:
        for _, feed in self._feeds:
            feed.warm()

    def run(self) -> None:
        if self._parts.random:
            self._state.draw_anew()
        for optimizer, _, numbers in self._scales:
            send_scale(optimizer, numbers)
        for place, plan in enumerate(self.plans):
            plan.run()
            if place < len(self.updates):
                self.updates[place].run()
        Clock.values += 1

    def results(self) -> dict[str, Any]:
        """The logs of the last run, as numbers."""
        arrays = iter([self.device.download(a) for a in self._parts.results])
        found = map_structure(
            lambda value: next(arrays) if isinstance(value, Tensor) else value, self._logs
        )
        return plain_logs(found)

    def reset(self) -> None:
        """Metrics belong to the model, which resets them."""


class _Parts:
    """The plans of a step, made in order."""

    def __init__(self, runner: OwnRunner, context: StepContext, rules: Sequence[Any]) -> None:
        self.device, self.state = runner.device, runner._state
        self.rules, self.context = rules, context
        self.plans: list[Plan] = []
        self.feeds: list[tuple[int, Any]] = []
        self.random = False
        applied = runner._applied
        cuts = [each.order for each in applied]
        wanted = [*runner.results_wanted, *(g for each in applied for g in each.slopes)]
        nodes = Graph(wanted, context.updates).nodes
        self.place = {id(n): bisect_left(cuts, n.order) for n in nodes}
        self.last = self._last_readers(nodes, applied, runner.results_wanted, len(cuts))
        self.kept: dict[int, tuple[Tensor, Any]] = {}  # leaf and array of a value for later parts
        self._scale_arrays = {leaf: n.array for _, leaf, n in runner._scales}
        for part in range(len(cuts) + 1):
            update = runner.updates[part] if part < len(cuts) else None
            slopes = applied[part].slopes if part < len(cuts) else []
            inside = [n for n in nodes if self.place[id(n)] == part]
            self._make(part, inside, slopes, update, runner._leaves)
        self.results = [self.kept[id(t)][1] for t in runner.results_wanted]

    def _last_readers(
        self, nodes: Sequence[Node], applied: Sequence[Applied], results: Sequence[Tensor], end: int
    ) -> dict[int, int]:
        """The last part that reads a value, one after all parts where the logs do."""
        last: dict[int, int] = {}
        for node in nodes:
            for t in node.inputs:
                last[id(t)] = max(last.get(id(t), 0), self.place[id(node)])
        for part, each in enumerate(applied):
            last.update({id(t): max(last.get(id(t), 0), part) for t in each.slopes})
        last.update({id(t): end + 1 for t in results})
        return last

    def _make(
        self,
        part: int,
        nodes: Sequence[Node],
        slopes: Sequence[Tensor],
        update: Application | None,
        leaves: Sequence[Tensor],
    ) -> None:
        made = [t for n in nodes for t in n.outputs]
        later = [t for t in made if self.last.get(id(t), 0) > part]
        effects = [n for n in nodes if n.op.stateful]
        graph = settle(self._again(nodes, [*slopes, *later], effects))
        for rule in self.rules:
            graph = rewrite(graph, rule)
        graph = rewrite(graph, ())  # equal nodes, which rules have made, become one
        if config.fuse():
            graph = fuse(graph, accepted_by(self.device))
        found = graph.outputs
        if update is not None:
            found = found[len(slopes) :]
        bindings = {self.context.seed: self.state.seed, **self._scale_arrays}
        bindings.update(dict(self.kept.values()))
        placements: dict[Tensor, Any] = {}
        if update is not None:
            _into_places(graph, graph.outputs[: len(slopes)], found, update, bindings, placements)
        plan = Plan(graph, self.device, bindings, placements, True, self.state.arena)
        plan.prepare()
        for old, new in zip(later, found):
            leaf = Tensor(old.shape, old.dtype, name="kept")
            self.kept[id(old)] = leaf, plan.array(new)
        read = {id(t) for n in graph.nodes for t in n.inputs}
        self.random = self.random or id(self.context.seed) in read
        self.feeds += [(i, plan.feed(t)) for i, t in enumerate(leaves) if id(t) in read]
        self.plans.append(plan)

    def _again(
        self, nodes: Sequence[Node], outputs: Sequence[Tensor], effects: Sequence[Node]
    ) -> Graph:
        """The nodes over leaves that stand for what earlier parts have kept."""
        new = {key: leaf for key, (leaf, _) in self.kept.items()}
        written: dict[int, Node] = {}
        for node in nodes:
            inputs = [new.get(id(t), t) for t in node.inputs]
            if node.op.stateful:
                written[id(node)] = Node(node.op, inputs)
                continue
            again = apply_symbolic(node.op, inputs)
            results = again if isinstance(again, tuple) else (again,)
            new.update((id(old), fresh) for old, fresh in zip(node.outputs, results))
        found = [_apart(new.get(id(t), t)) for t in outputs]
        return Graph(found, [written[id(n)] for n in effects])


def _into_places(
    graph: Graph,
    slopes: Sequence[Tensor],
    others: Sequence[Tensor],
    update: Application,
    bindings: dict[Tensor, Any],
    placements: dict[Tensor, Any],
) -> None:
    """Gradients are computed where the update wants them; copied there where they are also needed
    elsewhere.
    """
    taken = {id(root_of(t)) for t in others}
    for variable, slope in zip(update.variables, slopes):
        place, root = update.places[id(variable)], root_of(slope)
        if root.node is None or id(root) in taken or slope.dtype != variable.dtype:
            leaf = Tensor(variable.shape, variable.dtype, name=f"gradient of {variable.path}")
            bindings[leaf] = place
            value = slope if slope.dtype == variable.dtype else _cast(slope, variable.dtype)
            graph.effects.append(Node(Assign(), [leaf, value]))
        else:
            taken.add(id(root))
            placements[slope] = place


def _cast(tensor: Tensor, dtype: str) -> Tensor:
    from nbcnn.ops.elementwise import Cast

    return apply_symbolic(Cast(dtype), [tensor])


def _owned(value: Any) -> Any:
    """A tensor of the logs that is no variable's, constant's or input's memory."""
    if isinstance(value, Constant):
        return value.value
    if isinstance(value, Tensor) and root_of(value).node is None:
        return ops.add(value, 0)
    return value


def _apart(tensor: Tensor) -> Tensor:
    """A tensor that does not change when a variable does."""
    if not isinstance(root_of(tensor), VariableTensor):
        return tensor
    with tracing():
        return ops.add(tensor, 0)


@contextmanager
def _advising() -> Iterator[None]:
    """Errors about tensors without values say what can be done."""
    try:
        yield
    except TypeError as error:
        if "symbolic tensor" not in str(error) and "while a step is traced" not in str(error):
            raise
        text = f"{error}; compile(run_eagerly=True) calls the step on arrays, for each batch"
        raise TypeError(text) from error


# -- logs -----------------------------------------------------------------------------------------


def as_logs(found: Any) -> dict[str, Any]:
    """What a step returned, which must be a dictionary."""
    if not isinstance(found, Mapping):
        kind = type(found).__name__
        raise ValueError(f"train_step, test_step: expected a dictionary of logs, got {kind}")
    return dict(found)


def plain_logs(logs: Mapping[str, Any]) -> dict[str, Any]:
    """Logs as numbers (arrays where there are several), sorted by name; a dictionary inside gives
    its own entries.
    """
    found: dict[str, Any] = {}
    for name, value in sorted(logs.items()):
        value = value.value() if isinstance(value, Pending) else value
        if isinstance(value, Mapping):
            found.update(plain_logs(value))
        else:
            array = np.asarray(value)
            found[name] = float(array) if array.size == 1 and array.dtype != object else value
    return found


class EagerRunner:
    """A step that runs on arrays, anew for each batch."""

    plan: Any = None

    def __init__(self, function: Callable[[Any], Any], specs: OwnSpecs) -> None:
        self._function, self._specs = function, specs
        self._batch: list[np.ndarray] = []
        self._logs: dict[str, Any] = {}

    def valid(self) -> bool:
        return True

    def load(self, arrays: Sequence[Any], order: np.ndarray | None = None, start: int = 0) -> None:
        types, size = [s.dtype for s in self._specs.x], self._specs.x[0].shape[0]
        self._batch = list(rows_of(arrays, types, order, start, size))

    def release(self) -> None:
        self._batch = []

    def warm(self) -> None:
        """Nothing is known before."""

    def run(self) -> None:
        self._logs = as_logs(self._function(self._specs.nesting.pack(self._batch)))

    def results(self) -> dict[str, Any]:
        return plain_logs(self._logs)

    def reset(self) -> None:
        """As for `OwnRunner`."""
