"""Cutting a batch, so that what operations hand to each other stays in a cache.

A *stretch* is a run of steps that work in passes: all of them on the first few samples, then all of
them on the next. What one step writes is then still close when the next reads it, and what only the
stretch reads needs memory for the samples of one pass alone.

    whole:  a a a a  b b b b  c c c c        in passes:  a b c  a b c  a b c  a b c

A step can be part of a stretch if it treats samples each on its own (`ops.samples`); what else it
reads must be complete before. It joins if its implementation on so few samples is the same as on
the whole batch, and if the weights that every pass reads again are no more than what it reads and
writes of samples. Otherwise the stretch ends, and another may begin.

The passes are as few as let each step work within the device's `close_bytes`. Steps that do so on
the whole batch need no passes: a stretch begins and ends with one that does not. All passes have
the same size. Where that does not divide the batch, the last begins early and computes some samples
again.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

from nbcnn.graph.choosing import STEP, Step, step_for
from nbcnn.graph.graph import Graph, root_of
from nbcnn.ops.samples import for_samples, per_sample
from nbcnn.ops.tensor import Tensor, TensorSpec


class Stretch(NamedTuple):
    """Steps first..stop-1 in passes of `size` samples; `starts` has the first sample of each."""

    first: int
    stop: int
    size: int
    starts: tuple[int, ...]


class Batch:
    """The tensors of a graph that have a sample in every place along axis 0: `leaves`, and what
    follows from them sample by sample.
    """

    def __init__(self, graph: Graph, leaves: Sequence[Tensor]):
        sizes = {t.spec.shape[:1] for t in leaves}
        agreed = len(sizes) == 1 and () not in sizes
        self.samples = sizes.pop()[0] if agreed else 0
        self._tensors = {id(t) for t in leaves if agreed}
        for node in graph.nodes if agreed else ():
            whole = all(t.spec.shape[:1] == (self.samples,) for t in node.outputs)
            batched = [t in self for t in node.inputs]
            if whole and per_sample(node.op, batched, [t.spec for t in node.inputs]):
                self._tensors.update(map(id, node.outputs))

    def __contains__(self, tensor: Tensor) -> bool:
        return id(tensor) in self._tensors

    def part(self, tensor: Tensor, size: int) -> TensorSpec:
        """The spec that the tensor has on a batch of so many samples."""
        shape, dtype = tensor.spec
        return TensorSpec((size, *shape[1:]) if tensor in self else shape, dtype)

    def step(self, step: Step, size: int, device: Any) -> Step | None:
        """A step on so many samples; None where another implementation would do it."""
        op = for_samples(step.node.op, size)
        inputs = [self.part(t, size) for t in step.node.inputs]
        if list(op.infer(*inputs)) != [self.part(t, size) for t in step.node.outputs]:
            return None
        found = step_for(step.node, op, inputs, step.phase, device)
        same = found is not None and found.choice.impl.name == step.choice.impl.name
        return found if same else None


def find_stretches(steps: Sequence[Step], batch: Batch, device: Any) -> list[Stretch]:
    """The stretches of a plan, in order."""
    if batch.samples < 2 or not device.close_bytes:
        return []
    search, found = _Search(steps, batch, device), []
    for index in range(len(steps)):
        if not search.join(index):
            found.append(search.close())
            search.join(index)
    found.append(search.close())
    return [stretch for stretch in found if stretch is not None]


class _Search:
    """The steps of one stretch after the other: those that have joined follow each other."""

    def __init__(self, steps: Sequence[Step], batch: Batch, device: Any):
        self._steps, self._batch, self._device = steps, batch, device
        self._fits = cache(self._asked)  # again whenever the passes get smaller
        self._members: list[int] = []
        self._size = batch.samples

    def join(self, index: int) -> bool:
        """Make a step the next one of the stretch, if it can be."""
        if not self._independent(self._steps[index]):
            return False
        size = min(self._size, self._size_of(index))
        smaller = size < self._size
        asked = [*self._members, index] if smaller else [index]
        if size < self._batch.samples and not all(self._fits(i, size) for i in asked):
            return False
        self._size = size
        self._members.append(index)
        return True

    def close(self) -> Stretch | None:
        """The stretch so far, where it pays; the next begins empty."""
        members, size, samples = self._members, self._size, self._batch.samples
        self._members, self._size = [], samples
        large = [i for i in members if self._size_of(i) < samples]
        if len(large) < 2:
            return None
        starts = tuple(min(k, samples - size) for k in range(0, samples, size))
        return Stretch(large[0], large[-1] + 1, size, starts)

    def _independent(self, step: Step) -> bool:
        """Whether it treats samples each on its own, and what else it reads is complete."""
        if step.phase != STEP or not step.node.outputs:
            return False
        if any(t not in self._batch for t in step.node.outputs):
            return False
        nodes = {id(self._steps[i].node) for i in self._members}
        others = [root_of(t) for t in step.node.inputs if t not in self._batch]
        return all(id(t.node) not in nodes for t in others)

    def _size_of(self, index: int) -> int:
        """Samples that the step may work on at a time. Of up to half more passes than it takes, so
        many that fewest samples are computed again.
        """
        samples = self._batch.samples
        most = max(1, self._device.close_bytes // max(self._sample_bytes(index), 1))
        fewest = -(-samples // most)
        several = range(fewest, min(fewest * 3 // 2, samples) + 1)
        passes = min(several, key=lambda count: count * -(-samples // count))
        return -(-samples // passes)

    def _sample_bytes(self, index: int) -> int:
        """What the step reads and writes of one sample."""
        node = self._steps[index].node
        touched = {id(t): t for t in (*node.inputs, *node.outputs) if t in self._batch}
        return sum(self._batch.part(t, 1).nbytes for t in touched.values())

    def _asked(self, index: int, size: int) -> bool:
        step = self._batch.step(self._steps[index], size, self._device)
        if step is None:
            return False
        read = sum(t.spec.nbytes for t in step.node.inputs if t not in self._batch)
        packed = sum(s.nbytes for s in step.scratch.values() if s.constant)
        return max(read, packed) <= size * self._sample_bytes(index)
