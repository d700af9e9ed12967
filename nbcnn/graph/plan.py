"""A plan: a graph bound to kernels and memory on one device.

Leaves are arrays that exist before (inputs, weights, constants); everything between lives in one
arena. Values that do not change from run to run are computed apart: those of constants once, and in
inference those of weights (packed kernels, folded batch normalization) once per weight change.
"""

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nbcnn import config
from nbcnn.graph.graph import Graph, root_of
from nbcnn.graph.memory import Arena, Lifetime, pack
from nbcnn.graph.report import describe
from nbcnn.kernels.impl import Choice, Scratch, choose
from nbcnn.ops.op import Op
from nbcnn.ops.shape import ALIASES
from nbcnn.ops.tensor import Constant, Node, Tensor, TensorSpec, VariableTensor

CONSTANT, WEIGHTS, STEP = 0, 1, 2  # how often a node runs: once, per weight change, every time


@dataclasses.dataclass
class Step:
    """A node with its chosen implementation and, once bound, its kernel calls."""

    node: Node
    spec: Any
    choice: Choice
    scratch: dict[str, Scratch]
    phase: int
    calls: list = dataclasses.field(default_factory=list)

    @property
    def flops(self) -> int:
        return self.node.op.flops(*(t.spec for t in self.node.inputs))

    @property
    def nbytes(self) -> int:
        return sum(t.spec.nbytes for t in (*self.node.inputs, *self.node.outputs))


def select(op: Op, inputs: Sequence[Tensor], device: Any) -> tuple[Any, Choice | None]:
    """The op's spec on these inputs and the chosen implementation."""
    specs = [t.spec for t in inputs]
    spec = op.spec(*specs)
    wanted = preferred(op), excluded(op)
    return spec, choose(device.impls(op), spec, main_dtype(op, specs), device.caps, *wanted)


# The families of convolution kernels that a user can pick between, as the implementations they
# stand for.
CONV_FAMILIES = {"auto": (), "direct": ("direct", "plain"), "im2col": ("im2col",)}


# What `set_winograd` rules out.
EXCLUDED: dict[str, tuple[str, ...]] = {
    "auto": (),
    "f2": ("winograd_f4",),
    "off": ("winograd_f4", "winograd_f2"),
}


def preferred(op: Op) -> tuple[str, ...]:
    """Implementations to try first: forced ones, then the layer's choice, then the program's."""
    forced = config.forced(op.name)
    if forced is not None:
        return (forced,)
    if not hasattr(op, "algorithm"):
        return ()
    return CONV_FAMILIES[op.algorithm or config.conv_algorithm()]


def excluded(op: Op) -> dict[str, str]:
    """Implementations that the program's settings rule out, and why; forcing one overrides that."""
    allowed = config.winograd()
    names = EXCLUDED[allowed] if config.forced(op.name) is None else ()
    return dict.fromkeys(names, f"set_winograd is {allowed!r}")


def main_dtype(op: Op, inputs: Sequence[TensorSpec]) -> str:
    """The dtype that decides which kernels fit: the first float among the inputs, else the first
    input's.
    """
    return next(
        (s.dtype for s in inputs if np.dtype(s.dtype).kind == "f"),
        inputs[0].dtype if inputs else "float32",
    )


class Plan:
    """Run a graph again and again over fixed memory.

    bindings: arrays on the device for leaves (by tensor); leaves without one get memory of their
    own, reachable through `array(tensor)`. placements: arrays that tensors of the graph must be
    written to. arena: memory for what lives within a run, shared with other plans.
    """

    def __init__(
        self,
        graph: Graph,
        device: Any,
        bindings: Mapping[Tensor, Any] | None = None,
        placements: Mapping[Tensor, Any] | None = None,
        weights_change: bool = False,
        arena: Arena | None = None,
    ):
        self.graph, self.device = graph, device
        self._arena = arena or Arena(device)
        self.input_bytes = 0  # of inputs and outputs
        self._arrays: dict[int, Any] = {}
        self._keep: list[Any] = [graph]
        self._weights_change = weights_change
        for tensor, array in (bindings or {}).items():
            self._arrays[id(tensor)] = array
            self._keep.append(tensor)
        self.steps = self._select_steps()
        self._place(placements or {})
        self._bind()

    def run(self) -> None:
        """One pass: every step that depends on inputs. Call `prepare` first whenever weights
        changed.
        """
        self._programs[STEP].run()

    def prepare(self) -> None:
        """Recompute what depends on weights only."""
        self._programs[WEIGHTS].run()

    @property
    def peak_bytes(self) -> int:
        """All memory that a run touches, without that of weights and their gradients."""
        return self.arena_bytes + self.lasting_bytes + self.input_bytes

    @property
    def regions(self) -> int:
        """How often a run starts its threads (on a GPU, a kernel)."""
        return self._programs[STEP].regions

    def array(self, tensor: Tensor) -> Any:
        """The device array of a leaf, an output, or (only valid within a run) a value in between.

        A leaf that the graph does not read gets memory when it is asked for.
        """
        found = self._arrays.get(id(tensor))
        if found is None:
            found = self._own_memory(tensor) if tensor.node is None else self._alias(tensor)
            self._keep.append(tensor)
        return found

    def feed(self, leaf: Tensor) -> Any:
        """What fills an input with batches; see `runtime.device.Device.feed`."""
        movable = all(root_of(t) is not leaf for t in self.graph.outputs)
        return self.device.feed(self._programs[STEP], self.array(leaf), movable)

    def outlet(self, output: Tensor) -> Any:
        """What brings an output to the host; see `runtime.device.Device.outlet`."""
        root = root_of(output)
        once = sum(root_of(t) is root for t in self.graph.outputs) == 1
        movable = once and id(root) in self._apart
        return self.device.outlet(self._programs[STEP], self.array(output), movable)

    def show(self) -> str:
        """Print and return a table of steps, implementations, shapes, bytes and floating-point
        operations.
        """
        text = describe(self)
        sys.stdout.write(text + "\n")
        return text

    def profile(self, repeats: int = 5) -> list[tuple[Step, float]]:
        """Best time in seconds of each step, run alone and in order."""
        return profile(self, repeats)

    # -- building --------------------------------------------------------------------------------

    def _select_steps(self) -> list[Step]:
        phases: dict[int, int] = {}
        steps = []
        for node in self.graph.nodes:
            phase = self._phase(node, phases)
            for t in node.outputs:
                phases[id(t)] = phase
            if node.op.name in ALIASES:
                continue
            spec, choice = select(node.op, node.inputs, self.device)
            if choice is None:
                raise NotImplementedError(_no_implementation(node, self.device))
            dtype = main_dtype(node.op, [t.spec for t in node.inputs])
            scratch = choice.impl.scratch(spec, dtype, self.device.caps)
            steps.append(Step(node, spec, choice, scratch, phase))
            if "select" in config.verbosity():
                sys.stderr.write(_explain(steps[-1]) + "\n")
        return steps

    def _phase(self, node: Node, phases: dict[int, int]) -> int:
        if node.op.stateful:
            return STEP
        return max(
            (self._leaf_phase(t) if t.node is None else phases[id(t)] for t in node.inputs),
            default=CONSTANT,
        )

    def _leaf_phase(self, tensor: Tensor) -> int:
        if isinstance(tensor, Constant):
            return CONSTANT
        if isinstance(tensor, VariableTensor) and not self._weights_change:
            return WEIGHTS
        return STEP

    def _place(self, placements: Mapping[Tensor, Any]) -> None:
        """Give every tensor and scratch its memory."""
        for tensor, array in placements.items():
            root = root_of(tensor)
            self._arrays[id(root)] = self._reshaped(array, root)
        owner, last = self._owners()
        self._apart: set[int] = set()  # outputs: memory of their own, so that it can be elsewhere
        requests: list[tuple[Any, TensorSpec, Lifetime]] = []
        lasting: list[tuple[Any, TensorSpec]] = []
        for index, step in enumerate(self.steps):
            for t in step.node.outputs:
                if id(t) in self._arrays or owner.get(id(t), t) is not t:
                    continue
                until = last.get(id(t), index)
                if step.phase == STEP and until == len(self.steps):
                    self._own_memory(t)
                    self._apart.add(id(t))
                elif step.phase == STEP:
                    requests.append((t, t.spec, Lifetime(t.spec.nbytes, index, until)))
                else:
                    lasting.append((t, t.spec))
            for name, scratch in step.scratch.items():
                spec = TensorSpec(scratch.shape, scratch.dtype)
                if step.phase == STEP and not (scratch.constant and self._weights_constant(step)):
                    requests.append(
                        ((id(step.node), name), spec, Lifetime(spec.nbytes, index, index))
                    )
                else:
                    lasting.append(((id(step.node), name), spec))
        self._allocate(requests, lasting)
        for step in self.steps:
            for t in step.node.outputs:
                if id(t) not in self._arrays:
                    first = owner[id(t)]
                    self._arrays[id(t)] = self._reshaped(self._arrays[id(first)], t)
                    if id(first) in self._apart:
                        self._apart.add(id(t))
        self._leaves()

    def _owners(self):
        """Which tensor owns the memory of each (in-place results share), and the last step that
        reads it.
        """
        last: dict[int, int] = {}
        for index, step in enumerate(self.steps):
            for t in step.node.inputs:
                last[id(root_of(t))] = index
        for t in self.graph.outputs:
            last[id(root_of(t))] = len(self.steps)
        owner: dict[int, Tensor] = {}
        for index, step in enumerate(self.steps):
            for out, into in step.choice.impl.inplace:
                source = root_of(step.node.inputs[into])
                target = step.node.outputs[out] if out < len(step.node.outputs) else None
                if target is not None and self._may_share(step, source, target, last, index):
                    first = owner.get(id(source), source)
                    owner[id(target)] = first
                    last[id(first)] = max(last[id(first)], last.get(id(target), index))
                    break
        return owner, last

    def _may_share(
        self, step: Step, source: Tensor, target: Tensor, last: Mapping[int, int], index: int
    ) -> bool:
        """In place is safe where this step is the last reader, through this one input only, of plan
        memory.
        """
        if source.node is None or id(source) in self._arrays or id(target) in self._arrays:
            return False
        if (
            last[id(source)] != index
            or step.phase != STEP
            or source.spec.nbytes != target.spec.nbytes
        ):
            return False
        if sum(root_of(t) is source for t in step.node.inputs) != 1:
            return False
        producer = next((s for s in self.steps if s.node is source.node), None)
        return producer is not None and producer.phase == STEP

    def _weights_constant(self, step: Step) -> bool:
        """Whether all inputs of a step but the first hold still between runs, so that packed copies
        stay valid.
        """
        others = [root_of(t) for t in step.node.inputs[1:]]
        steps = {id(s.node): s.phase for s in self.steps}
        return all(
            (self._leaf_phase(t) if t.node is None else steps[id(t.node)]) != STEP for t in others
        )

    def _allocate(self, requests: list, lasting: list) -> None:
        alignment = 256
        offsets, self.arena_bytes = pack([life for _, _, life in requests], alignment)
        arena = self._arena.take(self.arena_bytes)
        self.lasting_bytes = sum(-(-spec.nbytes // alignment) * alignment for _, spec in lasting)
        store = self.device.empty(self.lasting_bytes)
        cursor = 0
        for (key, spec, _), offset in zip(requests, offsets):
            self._arrays[_key(key)] = self.device.view(arena, offset, spec.shape, spec.dtype)
        for key, spec in lasting:
            self._arrays[_key(key)] = self.device.view(store, cursor, spec.shape, spec.dtype)
            cursor += -(-spec.nbytes // alignment) * alignment

    def _leaves(self) -> None:
        """Memory for leaves that nobody bound: constants are copied in, inputs wait for
        `array(...)` writes.
        """
        for tensor in {id(t): t for t in self._all_leaves()}.values():
            if id(tensor) in self._arrays:
                continue
            if isinstance(tensor, VariableTensor):
                self._arrays[id(tensor)] = tensor.variable.array_on(self.device)
            else:
                self._own_memory(tensor)

    def _own_memory(self, leaf: Tensor) -> Any:
        spec = leaf.spec
        array = self.device.view(self.device.empty(spec.nbytes), 0, spec.shape, spec.dtype)
        self.input_bytes += spec.nbytes
        if isinstance(leaf, Constant):
            self.device.upload(array, leaf.value)
        self._arrays[id(leaf)] = array
        return array

    def _all_leaves(self):
        for node in self.graph.nodes:
            yield from (t for t in node.inputs if t.node is None)
        yield from (t for t in self.graph.outputs if t.node is None)

    def _alias(self, tensor: Tensor) -> Any:
        found = self._arrays[id(tensor)] = self._reshaped(self.array(root_of(tensor)), tensor)
        return found

    def _reshaped(self, array: Any, tensor: Tensor) -> Any:
        return array if array.shape == tensor.spec.shape else array.reshape(tensor.spec.shape)

    def _bind(self) -> None:
        by_phase: dict[int, list] = {CONSTANT: [], WEIGHTS: [], STEP: []}
        for step in self.steps:
            inputs = [self.array(t) for t in step.node.inputs]
            outputs = [self.array(t) for t in step.node.outputs]
            scratch = {name: self._arrays[_key((id(step.node), name))] for name in step.scratch}
            step.calls = step.choice.impl.bind(
                step.spec, self.device.caps, inputs, outputs, scratch
            )
            constant = step.phase == STEP and self._weights_constant(step)
            for call in step.calls:
                early = constant and getattr(call, "weights_only", False)
                by_phase[WEIGHTS if early else step.phase].append(call)
        self._programs = {phase: self.device.program(calls) for phase, calls in by_phase.items()}
        self._programs[CONSTANT].run()


def _key(key: Any) -> Any:
    return id(key) if isinstance(key, Tensor) else key


def _explain(step: Step) -> str:
    refused = "; ".join(f"{name}: {reason}" for name, reason in step.choice.refused)
    shapes = ", ".join("x".join(map(str, t.spec.shape)) for t in step.node.inputs)
    return f"{step.node.op.name} {shapes}: {step.choice.impl.name}" + (
        f"; {refused}" if refused else ""
    )


def _no_implementation(node: Node, device: Any) -> str:
    specs = ", ".join(f"{t.spec.shape} {t.dtype}" for t in node.inputs)
    return f"no implementation of {node.op.name} on {device.name} takes inputs {specs}"


def profile(plan: Plan, repeats: int) -> list[tuple[Step, float]]:
    import time

    programs = [
        (step, plan.device.program(step.calls)) for step in plan.steps if step.phase == STEP
    ]
    best = [float("inf")] * len(programs)
    for _ in range(repeats):
        for index, (_, program) in enumerate(programs):
            start = time.perf_counter()
            program.run()
            plan.device.synchronize()
            best[index] = min(best[index], time.perf_counter() - start)
    return [(step, seconds) for (step, _), seconds in zip(programs, best)]
