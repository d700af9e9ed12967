"""A plan: a graph bound to kernels and memory on one device.

Leaves are arrays that exist before (inputs, weights, constants); everything between lives in one
arena. Values that do not change from run to run are computed apart: those of constants once, and in
inference those of weights (packed kernels, folded batch normalization) once per weight change.
"""

import dataclasses
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from nbcnn import config
from nbcnn.graph.choosing import CONSTANT, STEP, WEIGHTS, Step, step_for
from nbcnn.graph.graph import Graph, root_of
from nbcnn.graph.memory import ALIGNMENT, Arena, Lifetime, pack
from nbcnn.graph.report import describe, explain, no_implementation
from nbcnn.graph.room import check_room
from nbcnn.graph.stretches import Batch, Stretch, find_stretches
from nbcnn.kernels.impl import Passes
from nbcnn.ops.shape import ALIASES
from nbcnn.ops.tensor import Constant, Node, Tensor, TensorSpec, VariableTensor


class Plan:
    """Run a graph again and again over fixed memory.

    bindings: arrays on the device for leaves (by tensor); leaves without one get memory of their
    own, reachable through `array(tensor)`. placements: arrays that tensors of the graph must be
    written to. arena: memory for what lives within a run, shared with other plans. batch: inputs
    that have a sample in every place along axis 0, so that steps may work in passes.
    """

    def __init__(
        self,
        graph: Graph,
        device: Any,
        bindings: Mapping[Tensor, Any] | None = None,
        placements: Mapping[Tensor, Any] | None = None,
        weights_change: bool = False,
        arena: Arena | None = None,
        batch: Sequence[Tensor] = (),
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
        self._batch = Batch(graph, batch)
        self.stretches = find_stretches(self.steps, self._batch, device)
        self._within: dict[int, int] = {}  # tensors of one stretch: samples of a pass
        for stretch in self.stretches:
            self._cut(stretch)
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
        """The device array of a leaf, an output, or (only valid within a run) a value in between,
        of one pass where it is computed in passes.

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
        steps = [step for step in self.steps if step.phase == STEP]
        programs = []
        for step in steps:
            passes = [] if step.stretch is None else [self._passes(step.stretch, [step], 0)]
            programs.append(self.device.program(step.steady, passes))
        best = [float("inf")] * len(steps)
        for _ in range(repeats):
            for index, program in enumerate(programs):
                start = time.perf_counter()
                program.run()
                self.device.synchronize()
                best[index] = min(best[index], time.perf_counter() - start)
        return list(zip(steps, best))

    # -- building --------------------------------------------------------------------------------

    def _select_steps(self) -> list[Step]:
        """All steps in order of execution: phase by phase."""
        phases: dict[int, int] = {}
        steps = []
        for node in self.graph.nodes:
            phase = self._phase(node, phases)
            for t in node.outputs:
                phases[id(t)] = phase
            if node.op.name in ALIASES:
                continue
            specs = [t.spec for t in node.inputs]
            step = step_for(node, node.op, specs, phase, self.device)
            if step is None:
                raise NotImplementedError(no_implementation(node, self.device))
            steps.append(step)
            if "select" in config.verbosity():
                sys.stderr.write(explain(steps[-1]) + "\n")
        return sorted(steps, key=lambda step: step.phase)

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

    def _cut(self, stretch: Stretch) -> None:
        """Let the steps of a stretch work in passes."""
        for index in range(stretch.first, stretch.stop):
            step = self._batch.step(self.steps[index], stretch.size, self.device)
            assert step is not None
            self.steps[index] = dataclasses.replace(step, stretch=stretch)
        inside = {id(s.node) for s in self.steps[stretch.first : stretch.stop]}
        outside = {id(root_of(t)) for t in self.graph.outputs}
        for step in self.steps:
            if id(step.node) not in inside:
                outside.update(id(root_of(t)) for t in step.node.inputs)
        for step in self.steps[stretch.first : stretch.stop]:
            for t in step.node.outputs:
                if id(t) not in outside:
                    self._within[id(t)] = stretch.size

    def _planned(self, tensor: Tensor) -> TensorSpec:
        """What the tensor needs memory for: samples of a pass, or all."""
        size = self._within.get(id(root_of(tensor)))
        return tensor.spec if size is None else self._batch.part(tensor, size)

    def _place(self, placements: Mapping[Tensor, Any]) -> None:
        """Give every tensor and scratch its memory."""
        for tensor, array in placements.items():
            root = root_of(tensor)
            self._arrays[id(root)] = self._reshaped(array, root)
        owner, last = self._owners()
        self._apart: set[int] = set()  # outputs: memory of their own, so that it can be elsewhere
        requests: list[tuple[Any, TensorSpec, Lifetime]] = []
        lasting: list[tuple[Any, TensorSpec]] = []
        results: list[Tensor] = []
        for index, step in enumerate(self.steps):
            for t in step.node.outputs:
                if id(t) in self._arrays or owner.get(id(t), t) is not t:
                    continue
                spec, until = self._planned(t), last.get(id(t), index)
                if step.phase == STEP and until == len(self.steps):
                    results.append(t)
                    self._apart.add(id(t))
                elif step.phase == STEP:
                    life = Lifetime(spec.nbytes, *self._life(t, index, until))
                    requests.append((t, spec, life))
                else:
                    lasting.append((t, spec))
            for name, scratch in step.scratch.items():
                spec = TensorSpec(scratch.shape, scratch.dtype)
                if step.phase == STEP and not (scratch.constant and self._weights_constant(step)):
                    requests.append(
                        ((id(step.node), name), spec, Lifetime(spec.nbytes, index, index))
                    )
                else:
                    lasting.append(((id(step.node), name), spec))
        self._allocate(requests, lasting, results)
        for step in self.steps:
            for t in step.node.outputs:
                if id(t) not in self._arrays:
                    first = owner[id(t)]
                    self._arrays[id(t)] = self._reshaped(self._arrays[id(first)], t)
                    if id(first) in self._apart:
                        self._apart.add(id(t))
        self._leaves()

    def _life(self, tensor: Tensor, first: int, last: int) -> tuple[int, int]:
        """The steps during which a tensor needs its memory, from those that write and read it: all
        of a stretch, unless every pass has its own.
        """
        if id(root_of(tensor)) in self._within:
            return first, last
        for stretch in self.stretches:
            if stretch.first <= first < stretch.stop:
                first = stretch.first
            if stretch.first <= last < stretch.stop:
                last = stretch.stop - 1
        return first, last

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
        memory, and element by element of one type: half as many int64 have as many bytes as
        float32, and the memory is an array of its owner's type.
        """
        if source.node is None or id(source) in self._arrays or id(target) in self._arrays:
            return False
        kinds = {(spec.size, spec.dtype) for spec in map(self._planned, (source, target))}
        if last[id(source)] != index or step.phase != STEP or len(kinds) > 1:
            return False
        if step.stretch is not None and id(source) not in self._within:
            return False  # passes may overlap: the second would read what the first has written
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

    def _allocate(self, requests: list, lasting: list, results: list) -> None:
        offsets, self.arena_bytes = pack([life for _, _, life in requests], ALIGNMENT)
        self.lasting_bytes = sum(-(-spec.nbytes // ALIGNMENT) * ALIGNMENT for _, spec in lasting)
        growth = self._arena.growth(self.arena_bytes)
        sizes = self.arena_bytes, growth, self.lasting_bytes
        check_room(self.device, *sizes, requests, results, self._unbound_leaves(), self.steps)
        for t in results:
            self._own_memory(t)
        arena = self._arena.take(self.arena_bytes)
        store = self.device.empty(self.lasting_bytes)
        cursor = 0
        for (key, spec, _), offset in zip(requests, offsets):
            self._arrays[_key(key)] = self.device.view(arena, offset, spec.shape, spec.dtype)
        for key, spec in lasting:
            self._arrays[_key(key)] = self.device.view(store, cursor, spec.shape, spec.dtype)
            cursor += -(-spec.nbytes // ALIGNMENT) * ALIGNMENT

    def _leaves(self) -> None:
        """Memory for leaves that nobody bound: constants are copied in, inputs wait for
        `array(...)` writes.
        """
        for tensor in self._unbound_leaves():
            self._own_memory(tensor)
        for tensor in self._all_leaves():
            if isinstance(tensor, VariableTensor) and id(tensor) not in self._arrays:
                self._arrays[id(tensor)] = tensor.variable.array_on(self.device)

    def _unbound_leaves(self) -> list[Tensor]:
        """Leaves that have no memory yet, each once, without variables."""
        leaves = {id(t): t for t in self._all_leaves() if not isinstance(t, VariableTensor)}
        return [t for key, t in leaves.items() if key not in self._arrays]

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
        shape = self._planned(tensor).shape
        return array if array.shape == shape else array.reshape(shape)

    def _part(self, tensor: Tensor, step: Step) -> Any:
        """What a step is bound to: of a whole batch's array the part of the first pass."""
        array = self.array(tensor)
        if step.stretch is None or not self._has_all(tensor):
            return array
        return array[: step.stretch.size]

    def _has_all(self, tensor: Tensor) -> bool:
        """Whether the tensor has samples, and memory for all of them."""
        return tensor in self._batch and id(root_of(tensor)) not in self._within

    def _passes(self, stretch: Stretch, steps: Sequence[Step], first: int) -> Passes:
        """The passes of steps whose calls stand in a program from `first` on."""
        touched = (t for s in steps for t in (*s.node.inputs, *s.node.outputs))
        roots = {id(root_of(t)): root_of(t) for t in touched if self._has_all(t)}
        stop = first + sum(len(step.steady) for step in steps)
        return Passes(first, stop, stretch.starts, tuple(map(self.array, roots.values())))

    def _bind(self) -> None:
        by_phase: dict[int, list] = {CONSTANT: [], WEIGHTS: [], STEP: []}
        for step in self.steps:
            inputs = [self._part(t, step) for t in step.node.inputs]
            outputs = [self._part(t, step) for t in step.node.outputs]
            scratch = {name: self._arrays[_key((id(step.node), name))] for name in step.scratch}
            step.calls = step.choice.impl.bind(
                step.spec, self.device.caps, inputs, outputs, scratch
            )
            if step.phase == STEP and self._weights_constant(step):
                by_phase[WEIGHTS] += [call for call in step.calls if call.weights_only]
                step.steady = [call for call in step.calls if not call.weights_only]
            else:
                step.steady = step.calls
            by_phase[step.phase] += step.steady
        passes = []
        for stretch in self.stretches:
            before = self.steps[: stretch.first]
            first = sum(len(step.steady) for step in before if step.phase == STEP)
            passes.append(self._passes(stretch, self.steps[stretch.first : stretch.stop], first))
        self._programs = {
            phase: self.device.program(calls, passes if phase == STEP else ())
            for phase, calls in by_phase.items()
        }
        self._programs[CONSTANT].run()


def _key(key: Any) -> Any:
    return id(key) if isinstance(key, Tensor) else key
