"""Optimizers as they are used directly: on gradients, and with a rule of one's own."""

import importlib
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from nbcnn import initializers

if TYPE_CHECKING:
    from nbcnn.layers.variable import Variable


class Applying:
    """What `Optimizer` adds for `train_step` and for optimizers of one's own; see there."""

    built = False  # whether the weights that it updates are known
    _trainable_variables: Sequence[Any] = ()
    _subsets: Sequence[frozenset[int]] = ()  # what gradients have come for together, by id
    _own_variables: Sequence[Any] = ()
    _step: Any = None  # stands for the count of updates while a rule of one's own is traced

    if TYPE_CHECKING:
        name: Any
        loss_scale: Any

    # -- gradients ------------------------------------------------------------------------------

    def build(self, variables: Iterable[Any]) -> None:
        """Says which weights it will update; the first `apply` does that too.

        An optimizer of one's own makes its state here, after `super().build(variables)`.
        """
        if not self.built:
            self._trainable_variables = list(variables)
            self.built = True

    def apply(self, grads: Iterable[Any], trainable_variables: Iterable[Any] | None = None) -> None:
        """Updates weights: in `train_step` as a part of the step, else at once.

        Parameters
        ----------
        grads : one for each weight, of its shape; None leaves the weight as it is.
        trainable_variables : the weights; by default those that it was built with.

        Raises
        ------
        ValueError
            For gradients that do not fit the weights, weights that it was not built with, and where
            no weight has a gradient.
        """
        slopes = list(grads)
        if not slopes:
            return
        variables = self._variables_for(slopes, trainable_variables)
        pairs = [(g, v) for g, v in zip(slopes, variables) if g is not None]
        if not pairs:
            raise ValueError("apply: no gradients are given for any variable")
        missing = [v.path for g, v in zip(slopes, variables) if g is None]
        if missing:
            text = f"apply: no gradients for {', '.join(missing)}; does the loss depend on them?"
            warnings.warn(text, stacklevel=2)
        for slope, variable in pairs:
            shape = tuple(slope.shape) if hasattr(slope, "shape") else np.shape(slope)
            if shape != variable.shape:
                raise ValueError(
                    f"apply: the gradient of {variable.path} must have shape {variable.shape}, "
                    f"got {shape}"
                )
        applying = importlib.import_module("nbcnn.models.applying")
        applying.apply(self, [g for g, _ in pairs], [v for _, v in pairs])

    def _variables_for(self, slopes: list[Any], given: Iterable[Any] | None) -> list[Any]:
        if given is None and not self.built:
            raise ValueError(
                "apply: without variables the optimizer must be built first, by "
                "build(trainable_variables)"
            )
        variables = list(self._trainable_variables if given is None else given)
        if len(slopes) != len(variables):
            raise ValueError(f"apply: {len(slopes)} gradients for {len(variables)} variables")
        if not self.built:
            self.build(variables)
        known = {id(v) for v in self._trainable_variables}
        for variable in variables:
            if id(variable) not in known:
                raise ValueError(
                    f"apply: {getattr(variable, 'path', variable)!s} is not among the variables "
                    f"that {self.name!r} was built with; make another optimizer for it, or build() "
                    "this one with all variables"
                )
        return variables

    def apply_gradients(self, grads_and_vars: Iterable[tuple[Any, Any]]) -> None:
        """`apply` for pairs of gradients and weights, `grads_and_vars`."""
        pairs = list(grads_and_vars)
        self.apply([g for g, _ in pairs], [v for _, v in pairs])

    def scale_loss(self, loss: Any) -> Any:
        """The loss whose gradients `apply` expects: times the loss scale, where there is one."""
        if self.loss_scale is None:
            return loss
        applying = importlib.import_module("nbcnn.models.applying")
        return applying.scaled(self, loss)

    def stateless_apply(
        self,
        optimizer_variables: Sequence[Any],
        grads: Sequence[Any],
        trainable_variables: Sequence[Any],
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """`apply` without a trace: what weights and the optimizer's variables would become.

        Parameters
        ----------
        optimizer_variables : values for `variables`.
        grads : one for each weight that it was built with.
        trainable_variables : values for these weights.

        Returns
        -------
        New values of the weights, and of `variables`.
        """
        if not self.built:
            raise ValueError("stateless_apply: call build(trainable_variables) first")
        applying = importlib.import_module("nbcnn.models.applying")
        return applying.stateless(self, optimizer_variables, grads, trainable_variables)

    @property
    def variables(self) -> list[Any]:
        """The state: the count of updates, the learning rate, and all arrays. Empty of arrays
        before it is built.
        """
        return importlib.import_module("nbcnn.models.applying").variables_of(self)

    def partition(self, variable: Any) -> tuple[bool, ...]:
        """Weights that differ in this get gradients apart from each other."""
        return tuple(id(variable) in subset for subset in self._subsets)

    # -- a rule of one's own --------------------------------------------------------------------

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """The rule, to be defined by optimizers of one's own: from `gradient` and `learning_rate`,
        `assign` new values to the weight `variable` and to the state made in `build`. Traced once,
        with tensors.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define update_step")

    @property
    def has_own_rule(self) -> bool:
        """Whether `update_step` updates the weights."""
        return type(self).update_step is not Applying.update_step

    @contextmanager
    def at_step(self, count: Any) -> Iterator[None]:
        """Within it `iterations` is this tensor."""
        self._step = count
        try:
            yield
        finally:
            self._step = None

    def add_variable(
        self,
        shape: Sequence[int],
        initializer: Any = "zeros",
        dtype: str | None = None,
        aggregation: str = "none",
        layout: Any = None,
        name: str | None = None,
    ) -> "Variable":
        """A new variable of the optimizer's state. `aggregation` and `layout` are accepted for
        Keras's sake.

        Parameters
        ----------
        shape : its sizes.
        initializer : default "zeros".
        dtype : default `config.floatx()`.
        name : default "variable".
        """
        from nbcnn import config
        from nbcnn.layers.variable import Variable

        start = initializers.get(initializer)
        kind = dtype or config.floatx()
        variable = Variable(start, tuple(shape), kind, False, name or "variable")
        variable.path = f"{self.name}/{variable.name}"
        self._own_variables = [*self._own_variables, variable]
        return variable

    def add_variable_from_reference(
        self, reference_variable: Any, name: str | None = None, initializer: Any = "zeros"
    ) -> "Variable":
        """A new variable of the shape and type of a weight.

        Parameters
        ----------
        reference_variable : the weight.
        name, initializer : as for `add_variable`.
        """
        of = str(getattr(reference_variable, "path", "")).replace("/", "_")
        full = f"{of}_{name or 'variable'}"
        shape, dtype = reference_variable.shape, reference_variable.dtype
        return self.add_variable(shape, initializer, dtype, name=full)

    def add_optimizer_variables(
        self, trainable_variables: Sequence[Any], name: Any, initializer: Any = "zeros"
    ) -> Any:
        """One new variable for each weight, as a list; for several names a list of such.

        Parameters
        ----------
        trainable_variables : the weights.
        name : of the variables, or several.
        initializer : default "zeros"; or one for each name.
        """
        if isinstance(name, str):
            return [
                self.add_variable_from_reference(v, name, initializer) for v in trainable_variables
            ]
        several = isinstance(initializer, (list, tuple))
        starts = initializer if several else [initializer] * len(name)
        return [
            self.add_optimizer_variables(trainable_variables, n, s) for n, s in zip(name, starts)
        ]

    def _get_variable_index(self, variable: Any) -> int:
        """The place of a weight among those that the optimizer was built with."""
        return [id(v) for v in self._trainable_variables].index(id(variable))

    def _var_key(self, variable: Any) -> int:
        return id(variable)

    def assign(self, variable: Any, value: Any) -> None:
        """Gives a weight or a variable of the state a new value."""
        variable.assign(value)

    def assign_add(self, variable: Any, value: Any) -> None:
        """Adds `value` to a variable."""
        variable.assign_add(value)

    def assign_sub(self, variable: Any, value: Any) -> None:
        """Subtracts `value` from a variable."""
        variable.assign_sub(value)
