"""A model's steps: made when a shape first needs them, kept while they fit."""

import os
import threading
import warnings
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from nbcnn import config, random_state
from nbcnn.graph.eager import lock
from nbcnn.graph.memory import Arena
from nbcnn.graph.room import Measuring
from nbcnn.layers.base import flatten
from nbcnn.layers.context import Context
from nbcnn.models import steps, storage
from nbcnn.models.objective import Objective
from nbcnn.models.own_data import OwnSpecs
from nbcnn.models.own_step import EagerRunner, OwnRunner
from nbcnn.models.prepare import Specs
from nbcnn.models.signature import Signature, Slot
from nbcnn.ops.tensor import Tensor
from nbcnn.runtime.device import DeviceError, OutOfMemory, current_device, get_device
from nbcnn.utils import unpack_x_y_sample_weight

CAPACITY = 12  # steps kept for each model; the one unused for longest goes first

# All of this process. No WeakSet: Ctrl-C in the middle of what that does when one goes is lost.
_every: list[weakref.ref["Runners"]] = []
_every_lock = threading.Lock()


def _enter(runners: "Runners") -> None:
    with _every_lock:
        if len(_every) % 64 == 0:
            _every[:] = [known for known in _every if known() is not None]
        _every.append(weakref.ref(runners))


class Runners:
    """The steps of one model, with what they share: optimizer state and running sums."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.lock = threading.RLock()  # a step's arrays serve one thread at a time
        self.store: storage.Store | None = None
        self.device_name: str | None = None  # set by Model.to
        self.only_device: Any = None  # in the place of all others
        self._kept: OrderedDict[tuple, Any] = OrderedDict()
        self._latest: dict[str, Any] = {}
        self._states: dict[str, steps.StepState] = {}
        self._arenas: dict[str, Arena] = {}  # by device
        self._seed: int | None = None
        self.drawn: dict[str, int] = {}  # how often new states have drawn, where that is not 0
        self._trained: list[Any] | None = None
        _enter(self)

    def after_fork(self) -> None:
        """In a new process, which has this thread only: another may have been in a step."""
        if self.lock.acquire(blocking=False):
            self.lock.release()
        else:
            self.lock = threading.RLock()
            self.forget()

    @property
    def device(self) -> Any:
        """Where the model runs: where `to` moved it, else the current device."""
        if self.only_device is not None:
            return self.only_device
        return current_device() if self.device_name is None else get_device(self.device_name)

    def forget(self) -> None:
        """Drop all steps, as after `compile`; the optimizer's state stays."""
        self._kept.clear()
        self._states.clear()
        self._arenas.clear()
        self._latest.clear()
        self._trained = None

    def get(self, mode: str, specs: Any) -> Any:
        """The step for mode "train", "test" or "predict" on these shapes."""
        device = self.device
        own = isinstance(specs, OwnSpecs)
        if own and self.model.run_eagerly and mode != "predict":
            self._latest[mode] = EagerRunner(self._own(mode), specs)
            return self._latest[mode]
        if mode == "train" and not own:
            self.renew_store(device)
        key = (mode, device, specs, *config.choice_of_kernels())
        runner = self._kept.get(key)
        if runner is None or not runner.valid():
            self._kept.pop(key, None)
            try:
                with lock():  # tracing writes to variables, which other models may share
                    runner = self._kept[key] = self._make(mode, specs, device)
            except OutOfMemory as error:
                raise DeviceError(f"{error}. {self._advice(mode, specs, error.free)}") from None
            while len(self._kept) > CAPACITY:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        self._latest[mode] = runner
        return runner

    def renewed(self, runner: Any, mode: str, specs: Any) -> Any:
        """`runner` if it still fits, else the one that `get` finds."""
        if runner is not None and runner.valid():
            return runner
        return self.get(mode, specs)

    def release(self, runners: Iterable[Any]) -> None:
        """No longer use the arrays of their last batches."""
        with self.lock:
            for runner in runners:
                runner.release()

    @property
    def trained(self) -> list[Any]:
        """The weights that training changes."""
        if self._trained is None:
            self._trained = self.model.trainable_weights
        return self._trained

    def warn_of_freezing(self, where: str) -> None:
        """Warn where `trainable` is no longer as it was when training steps were made."""
        now = {id(variable) for variable in self.model.trainable_weights}
        if self._trained is not None and now != {id(variable) for variable in self._trained}:
            text = f"{where}: trainable has changed; compile() again for it to take effect"
            warnings.warn(text, stacklevel=4)

    def renew_store(self, device: Any) -> storage.Store:
        """The optimizer's buffers on `device`, made or moved there where necessary."""
        optimizer, store = self.model.optimizer, self.store
        if store is None or store.optimizer is not optimizer:
            store = self.filled_store
        self.store = storage.renewed(store, self.trained, optimizer, device, self.store)
        return self.store

    @property
    def filled_store(self) -> storage.Store | None:
        """What holds the state of the model's optimizer: here, or, where steps are overridden, with
        the optimizer; None where it has none yet.
        """
        optimizer = self.model.optimizer
        if optimizer is None:
            return None
        latest = None if optimizer.store is None else optimizer.store()
        fits = latest is not None and latest.serves(self.trained, optimizer)
        store = latest if fits else self.store
        return store if store is not None and store.optimizer is optimizer else None

    def move(self, device: Any) -> None:
        """Weights and optimizer state continue on `device`."""
        self.device_name = device.name
        for variable in self.model.weights:
            variable.array_on(device)
        if self.store is not None:
            self.renew_store(device)

    def results(self, mode: str) -> dict[str, float]:
        """Means of loss and metrics since the last `reset`; empty before the first step."""
        runner = self._latest.get(mode)
        return {} if runner is None else runner.results()

    def totals(self, mode: str) -> Any:
        """The running sums, and their weights; None before the first step."""
        state = self._states.get(mode)
        return None if state is None else state.device.download(state.totals)

    def draws(self, mode: str) -> int:
        """How often steps have drawn random numbers."""
        return int(self._states[mode].seed_host[1]) if mode in self._states else 0

    def set_totals(self, mode: str, totals: Any) -> None:
        """Continue from what `totals` returned. Raises ValueError for another number of them."""
        state = self._states[mode]
        if totals.shape != tuple(state.totals.shape):
            raise ValueError(f"there are {state.totals.shape[0]} sums, got {totals.shape[0]}")
        state.device.upload(state.totals, totals)

    def reset(self, mode: str) -> None:
        """Running sums start again."""
        state = self._states.get(mode)
        if state is not None:
            state.reset()

    @property
    def seed(self) -> int:
        """What dropout and other random layers start from."""
        if self._seed is None:
            self._seed = random_state.next_seed()
        return self._seed

    @seed.setter
    def seed(self, value: int) -> None:
        self._seed = value
        self.forget()

    @property
    def peak_bytes(self) -> int | None:
        """The most memory that a step so far needs beside weights, None before the first."""
        return max((runner.plan.peak_bytes for runner in self._kept.values()), default=None)

    def _state(self, mode: str, device: Any) -> steps.StepState:
        state = self._states.get(mode)
        if state is None or state.device is not device:
            compiled = self.model._compiled
            totals = 0 if mode == "predict" or compiled is None else compiled.watched
            arena = self._arenas.setdefault(device.name, Arena(device))
            state = self._states[mode] = steps.StepState(device, self.seed, totals, arena)
            state.seed_host[1] = self.drawn.pop(mode, 0)
        return state

    def _advice(self, mode: str, specs: Specs, free: int) -> str:
        """How many samples fit."""
        fits, size = 0, specs.x[0].shape[0]
        too_many = size
        while too_many - fits > max(1, fits // 16):
            tried = (fits + too_many) // 2
            if self._refused(mode, specs.of(tried)).needed <= free:
                fits = tried
            else:
                too_many = tried
        if fits == 0:
            return "It does not fit with batch_size=1 either"
        return f"batch_size={size} is too large, batch_size={fits} fits"

    def needs(self, mode: str, specs: Any) -> Any:
        """What a step has to have memory for, a `graph.room.Needs`; none of it is allocated."""
        if mode == "train":
            self.renew_store(self.device)
        return self._refused(mode, specs).needs

    def _refused(self, mode: str, specs: Any) -> OutOfMemory:
        """What a step for which there is no memory says."""
        try:
            with lock():
                self._make(mode, specs, Measuring(self.device))
        except OutOfMemory as error:
            return error
        raise AssertionError("a plan has found room where there is none")

    def _make(self, mode: str, specs: Any, device: Any) -> Any:
        state = self._state(mode, self.device)
        if isinstance(specs, OwnSpecs):
            return self._make_own(mode, specs, device, state)
        if mode == "predict":
            return steps.predict_runner(self._forward, specs.x, device, state)
        feeds = steps.Feeds(specs.x, specs.y, specs.weighted)
        objective = Objective(self.model, self.model._compiled)
        if mode == "test":
            return steps.test_runner(self._forward, objective, feeds, device, state)
        assert self.store is not None
        return steps.train_runner(self._forward, objective, feeds, self.store, device, state)

    def _own(self, mode: str) -> Callable[[Any], Any]:
        """The model's method for a step."""
        return getattr(self.model, f"{mode}_step")

    def _make_own(self, mode: str, specs: OwnSpecs, device: Any, state: Any) -> Any:
        model, function = self.model, self._own(mode)
        if not model.built and model._can_be_called:
            leaves = [Tensor(shape, dtype) for shape, dtype in specs.x]
            with Context():
                model(unpack_x_y_sample_weight(specs.nesting.pack(leaves))[0])
        if mode != "predict":
            return OwnRunner(function, specs, device, state, mode == "train")

        def forward(tensors: Sequence[Tensor], context: Context) -> list[Tensor]:
            outputs = function(specs.nesting.pack(tensors))
            flat = flatten(outputs)
            slots = [Slot(f"output_{i}", (None, *t.shape[1:]), t.dtype) for i, t in enumerate(flat)]
            model.__dict__["_own_outputs"] = Signature(outputs, slots)
            return flat

        return steps.predict_runner(forward, specs.x, device, state)

    def _forward(self, tensors: Sequence[Tensor], context: Context) -> list[Tensor]:
        signature = self.model._input_signature_for(None)
        return flatten(self.model(signature.pack(tensors)))


def _after_fork() -> None:
    global _every_lock
    _every_lock = threading.Lock()
    for known in list(_every):
        runners = known()
        if runners is not None:
            runners.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
