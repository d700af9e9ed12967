"""A graph: what must come out, what must be written, and the nodes that are needed for it."""

import dataclasses
from collections import Counter
from collections.abc import Callable, Container, Sequence

from nbcnn.ops.op import apply_symbolic
from nbcnn.ops.shape import ALIASES
from nbcnn.ops.tensor import Node, Tensor, made_for

MOST_JOINED = 8  # nodes that a rule makes one of


@dataclasses.dataclass
class Graph:
    """`outputs` are kept readable after a run; `effects` are stateful nodes (updates), run for what
    they write.
    """

    outputs: list[Tensor]
    effects: list[Node] = dataclasses.field(default_factory=list)

    @property
    def nodes(self) -> list[Node]:
        """The needed nodes in order of creation, which respects both data flow and the order of
        effects.
        """
        found: dict[int, Node] = {}
        pending = [t.node for t in self.outputs if t.node is not None] + list(self.effects)
        while pending:
            node = pending.pop()
            if node.order not in found:
                found[node.order] = node
                pending += [t.node for t in node.inputs if t.node is not None]
        return [found[order] for order in sorted(found)]

    def readers(self) -> Counter:
        """How often each tensor is read; being an output counts as a reading."""
        count: Counter = Counter(id(t) for node in self.nodes for t in node.inputs)
        count.update(id(t) for t in self.outputs)
        return count


# (node, its inputs in the new graph, context) -> its outputs in the new graph, or None where the
# rule does not apply.
Rule = Callable[[Node, Sequence[Tensor], "Rewriting"], Sequence[Tensor] | None]


class Rewriting:
    """One pass over a graph that builds a new one; see `rewrite`."""

    def __init__(self, graph: Graph):
        self.readers = graph.readers()
        self.new: dict[int, Tensor] = {}
        self._seen: dict[tuple, tuple[Tensor, ...]] = {}

    def lookup(self, old: Tensor) -> Tensor:
        return self.new.get(id(old), old)

    def only_reader(self, old: Tensor) -> bool:
        """Whether a tensor of the old graph is read exactly once, so what happens between may be
        fused.
        """
        return self.readers[id(old)] == 1

    def place(self, node: Node, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The node again over new inputs; an equal one that exists already is shared."""
        key = (node.op, *map(id, inputs))
        if node.op.stateful:
            again = Node(node.op, inputs)
            self.effects[id(node)] = again
            return ()
        if key not in self._seen:
            outputs = apply_symbolic(node.op, inputs)
            self._seen[key] = outputs if isinstance(outputs, tuple) else (outputs,)
        return self._seen[key]

    effects: dict[int, Node]


def rewrite(graph: Graph, rules: Sequence[Rule], nodes: Sequence[Node] | None = None) -> Graph:
    """Apply rules to every node in order; nodes that none applies to are taken over.

    All nodes are made anew, so that creation order stays the order of execution. `nodes`: those of
    the graph in another order.
    """
    context = Rewriting(graph)
    context.effects = {}
    for node in graph.nodes if nodes is None else nodes:
        inputs = [context.lookup(t) for t in node.inputs]
        with made_for(node.origins):
            outputs, before = None, next(Node._count)
            for rule in rules:
                outputs = rule(node, inputs, context)
                if outputs is not None:
                    name_joined(node, inputs, outputs, before)
                    break
            if outputs is None:
                outputs = context.place(node, inputs)
        for old, new in zip(node.outputs, outputs):
            context.new[id(old)] = new
    return Graph(
        [context.lookup(t) for t in graph.outputs], [context.effects[id(n)] for n in graph.effects]
    )


def name_joined(
    node: Node, inputs: Sequence[Tensor], outputs: Sequence[Tensor], before: int
) -> None:
    """What a rule has made of a node (nodes of higher order than `before`) does its work, and that
    of the nodes before it that the new ones do without. The work of nodes of the same kind comes
    first. A gradient's node takes over no work of what it is the gradient of.
    """
    made = _reached(outputs, lambda new: new.order > before)
    if not made:  # a rule has made it before, at a node in front of this one
        for old in {id(t.node): t.node for t in outputs}.values():
            if old is not None and type(old.op) is type(node.op):
                old.origins = tuple(dict.fromkeys((*node.origins, *old.origins)))
        return
    kept = {id(t) for new in made for t in new.inputs}
    left = [t for t in inputs if id(t) not in kept]
    joined = _reached(left, lambda old: old.order < before, kept)
    backward = any(origin.backward for origin in node.origins)
    for new in made:
        alike = [old for old in (*joined, node) if type(old.op) is type(new.op)]
        found = [o for old in (*alike, *joined, node) for o in old.origins]
        new.origins = tuple(dict.fromkeys(o for o in found if o.backward or not backward))


def _reached(
    tensors: Sequence[Tensor], wanted: Callable[[Node], bool], but: Container[int] = ()
) -> list[Node]:
    """The nodes behind tensors that are wanted, in order; not those behind some tensors, by id."""
    found: dict[int, Node] = {}
    pending = list(tensors)
    while pending and len(found) < MOST_JOINED:
        tensor = pending.pop()
        node = tensor.node
        if node is not None and id(tensor) not in but and wanted(node):
            if node.order not in found:
                found[node.order] = node
                pending += node.inputs
    return [found[order] for order in sorted(found)]


def root_of(tensor: Tensor) -> Tensor:
    """The tensor whose memory this one shares: reshapes are followed back to what they reshape."""
    while tensor.node is not None and tensor.node.op.name in ALIASES:
        tensor = tensor.node.inputs[0]
    return tensor
