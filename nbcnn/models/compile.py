"""`compile`: what a model is trained for, and how; see `Model`."""

from collections.abc import Mapping
from typing import Any

from nbcnn.metrics import Mean
from nbcnn.models.compilation import CompileArguments, Compiled, check_options
from nbcnn.models.hooks import Hooks
from nbcnn.models.runners import Runners
from nbcnn.models.signature import Signature


class Compiling(Hooks):
    """The part of `Trainer` that holds what `compile` was given."""

    optimizer: Any
    loss: Any  # as `compile` was given it
    _run_eagerly: bool
    _jit_compile: Any
    _runners: Runners

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        run_eagerly: bool = False,
        steps_per_execution: int = 1,
        jit_compile: bool | str = "auto",
        auto_scale_loss: bool = True,
    ) -> None:
        """Says how to train.

        Parameters
        ----------
        optimizer : an optimizer or its name.
        loss : a loss, its name, or a function of (y_true, y_pred) made of `nbcnn.ops`; with several
            outputs a list, or a dictionary by output name.
        loss_weights : factors of the losses, likewise; default 1.
        metrics : list of metrics, names or functions; with several outputs a list of such lists, or
            a dictionary by output name.
        weighted_metrics : likewise; these count samples by `sample_weight`.
        run_eagerly : call an overridden `train_step`, `test_step`, `compute_loss` or
            `compute_metrics` on arrays, for each batch, to see what it does; default False. Layers
            and models are plans all the same.
        steps_per_execution, jit_compile, auto_scale_loss : accepted for Keras's sake; a step is
            always compiled.

        Raises
        ------
        ValueError
            For names that are unknown, with the nearest known one.
        """
        check_options(steps_per_execution)
        arguments = CompileArguments(optimizer, loss, loss_weights, metrics, weighted_metrics)
        self._set_compile_arguments(arguments)
        self.__dict__.update(
            _run_eagerly=bool(run_eagerly),
            _jit_compile=jit_compile if jit_compile != "auto" else not run_eagerly,
        )

    def _set_compile_arguments(self, arguments: CompileArguments) -> None:
        self._compile_arguments, self._compiled = arguments, None
        self.optimizer, self.loss = arguments.optimizer, arguments.loss
        self.__dict__.update(_loss_tracker=Mean(name="loss"), _part_trackers={})
        self._runners.forget()

    def _resolve_compiled(self, outputs: Signature, targets: list[Any], where: str) -> Compiled:
        """Losses and metrics as objects, made for the shapes of the first targets."""
        self._check_compiled(where)
        assert self._compile_arguments is not None
        if self._compiled is None:
            self._compiled = Compiled(self._compile_arguments, outputs, targets, where)
        return self._compiled

    def _check_compiled(self, where: str) -> None:
        if self._compile_arguments is None:
            raise ValueError(f"{where}: call compile() first, to say optimizer and loss")

    def get_compile_config(self) -> dict[str, Any]:
        """The arguments of `compile` as plain values; empty before it was called."""
        return {} if self._compile_arguments is None else self._compile_arguments.get_config()

    def compile_from_config(
        self, config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None
    ) -> None:
        """Compile as `config` of `get_compile_config` says, with `custom_objects` by name."""
        if config:
            self._set_compile_arguments(CompileArguments.from_config(config, custom_objects))

    @property
    def metrics_names(self) -> list[str]:
        """The names of what `evaluate` and `train_on_batch` return, in order; of a model whose
        steps are overridden those of its `metrics`.
        """
        if self._has_own_step("test") or self._has_own_step("train"):
            return [metric.name for metric in self.metrics]
        return ["loss"] if self._compiled is None else self._compiled.log_names

    @property
    def run_eagerly(self) -> bool:
        """Whether overridden steps are called on arrays, for each batch; see `compile`."""
        return self._run_eagerly

    @run_eagerly.setter
    def run_eagerly(self, value: bool) -> None:
        self.__dict__["_run_eagerly"] = bool(value)
        self._runners.forget()

    @property
    def jit_compile(self) -> Any:
        """What `compile` was given, for Keras's sake; steps are compiled in any case."""
        return self._jit_compile

    @jit_compile.setter
    def jit_compile(self, value: Any) -> None:
        self.__dict__["_jit_compile"] = value
