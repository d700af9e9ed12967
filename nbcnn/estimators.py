"""What `nbcnn.wrappers` offers; importing this imports scikit-learn."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
import sklearn
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, TransformerMixin
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_is_fitted, column_or_1d

from nbcnn.models import Model
from nbcnn.models.copying import renewed

MODULE = "nbcnn.wrappers"  # where the classes are found again when they are unpickled


def _validated(estimator: Any, *arrays: Any, **options: Any) -> Any:
    """The arrays, checked by scikit-learn; any number of axes, as pictures have."""
    options = {"allow_nd": True, **options}
    try:
        from sklearn.utils.validation import validate_data
    except ImportError:  # before scikit-learn 1.6
        return estimator._validate_data(*arrays, **options)
    return validate_data(estimator, *arrays, **options)


class _Wrapper(BaseEstimator):
    """A model with scikit-learn's `fit`, `predict` and parameters."""

    # Scikit-learn before 1.6 checks estimators without arguments unless it is told of these.
    _required_parameters: ClassVar[tuple[str, ...]] = ("model",)

    def __init__(
        self,
        model: Model | Callable[..., Model],
        warm_start: bool = False,
        model_kwargs: Mapping[str, Any] | None = None,
        fit_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        # Arguments are checked by `fit`: scikit-learn wants them stored just as they came.
        self.model = model
        self.warm_start = warm_start
        self.model_kwargs = model_kwargs
        self.fit_kwargs = fit_kwargs

    def fit(self, X: Any, y: Any, **kwargs: Any) -> Any:
        """Train a model.

        Parameters
        ----------
        X : array of samples.
        y : targets, one for each sample.
        kwargs : go to `Model.fit`, before those of `fit_kwargs`.

        Raises
        ------
        RuntimeError
            For a model that is not compiled with a loss and an optimizer.

        Whatever ends it early leaves the estimator with what it was fitted to before.
        """
        before = dict(vars(self))
        try:
            return self._fit(X, y, kwargs)
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise

    def _fit(self, X: Any, y: Any, options: Mapping[str, Any]) -> Any:
        X, y = _validated(self, X, y, multi_output=True)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        y = self._encoded(y)
        model = self._model_for(X, y)
        self.history_ = model.fit(X, y, **{**(self.fit_kwargs or {}), **options})
        self.model_ = model
        return self

    def predict(self, X: Any) -> np.ndarray:
        """What the model says of samples X, as the targets were given."""
        return self._decoded(self._outputs(X))

    @property
    def epoch_(self) -> int:
        """How many epochs the last `fit` ran; 0 before it."""
        return len(self.history_.epoch) if hasattr(self, "history_") else 0

    def set_fit_request(self, **requests: Any) -> Any:
        """Say which metadata `fit` takes from a pipeline or search, such as `sample_weight=True`.

        Raises RuntimeError unless `sklearn.set_config(enable_metadata_routing=True)` was called.
        """
        if not sklearn.get_config().get("enable_metadata_routing"):
            raise RuntimeError(
                "set_fit_request: call sklearn.set_config(enable_metadata_routing=True) first"
            )
        known = self._get_metadata_request()
        for name, alias in requests.items():
            known.fit.add_request(param=name, alias=alias)
        self._metadata_request = known
        return self

    # -- parts ----------------------------------------------------------------------------------

    def _model_for(self, X: np.ndarray, y: np.ndarray) -> Model:
        if self.warm_start and hasattr(self, "model_"):
            return self.model_
        if not isinstance(self.model, Model):
            model = self._made(X, y)
        elif self.model_kwargs:
            raise ValueError("model_kwargs are for a function that makes a model, model is one")
        else:
            model = self.model if self.warm_start else renewed(self.model)
        if model.optimizer is None or (model.loss is None and not model._has_own_step("train")):
            raise RuntimeError(
                f"{type(self).__name__}: the model must be compiled, with a loss and an optimizer"
            )
        return model

    def _made(self, X: np.ndarray, y: np.ndarray) -> Model:
        where = type(self).__name__
        if not callable(self.model):
            raise TypeError(f"{where}: model must be a Model or a function, got {self.model!r}")
        model = self.model(X=X, y=y, **(self.model_kwargs or {}))
        if not isinstance(model, Model):
            raise TypeError(f"{where}: the function must return a Model, got {model!r}")
        return model

    def _outputs(self, X: Any) -> np.ndarray:
        check_is_fitted(self, "model_")
        X = _validated(self, X, reset=False)
        # As quiet, or not, as `fit` was told to be.
        return self.model_.predict(X, verbose=(self.fit_kwargs or {}).get("verbose", "auto"))

    def _encoded(self, y: np.ndarray) -> np.ndarray:
        """Targets as the model sees them, with at least two axes."""
        if type_of_target(y, input_name="y") == "unknown":
            raise ValueError(f"Unknown label type: {y!r}")
        return y.reshape(-1, 1) if y.ndim == 1 else y

    def _decoded(self, outputs: np.ndarray) -> np.ndarray:
        single = outputs.ndim == 2 and outputs.shape[1] == 1
        return outputs[:, 0] if single else outputs

    # Training draws random numbers: fits are equal only where the program or the function that
    # makes the model sets a seed. Scikit-learn before 1.6 asks `_more_tags`.

    def _more_tags(self) -> dict[str, Any]:
        return {"non_deterministic": True}

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.non_deterministic = True
        return tags


class SKLearnClassifier(ClassifierMixin, _Wrapper):
    """A classifier of scikit-learn: a model with one output for each class.

    The model is trained on labels in one-hot form, with "categorical_crossentropy" for example, and
    predicts one of the labels that it was given, numbers or texts.

    Parameters
    ----------
    model : a compiled model, which is not changed (each `fit` trains one of the same architecture
        with new weights); or a function of `X`, `y` and `model_kwargs` that returns one.
    warm_start : go on with the weights of the last `fit`; the first then trains `model` itself.
        Default False.
    model_kwargs : further arguments of the function.
    fit_kwargs : arguments of `Model.fit`, such as `{"epochs": 5, "verbose": 0}`.

    Attributes
    ----------
    model_ : the trained model.
    history_ : the `History` that `Model.fit` returned.
    epoch_ : how many epochs it ran.
    classes_ : the labels, sorted; that of output i is `classes_[i]`.
    """

    classes_: np.ndarray

    def decision_function(self, X: Any) -> np.ndarray:
        """The model's outputs for X, by class; of two classes the second's less the first's."""
        outputs = self._outputs(X)
        return outputs[:, 1] - outputs[:, 0] if len(self.classes_) == 2 else outputs

    def _encoded(self, y: np.ndarray) -> np.ndarray:
        check_classification_targets(y)
        kind = type_of_target(y, input_name="y")
        if kind not in ("binary", "multiclass"):
            raise ValueError(f"y must have one label for each sample, got target type {kind!r}")
        classes, places = np.unique(y, return_inverse=True)
        if len(classes) == 1:
            raise ValueError(f"y must have at least two classes, got one class: {classes[0]!r}")
        if self.warm_start and hasattr(self, "model_"):  # whose outputs have their meaning
            if not np.isin(classes, self.classes_).all():
                raise ValueError(
                    f"warm_start: y has the labels {classes}, the last fit had {self.classes_}"
                )
            classes = self.classes_
            places = np.searchsorted(classes, y)
        self.classes_ = classes
        return np.eye(len(classes), dtype=np.float32)[places]

    def _decoded(self, outputs: np.ndarray) -> np.ndarray:
        return self.classes_[outputs.argmax(axis=-1)]

    def _more_tags(self) -> dict[str, Any]:
        return {**super()._more_tags(), "poor_score": True}

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.poor_score = True  # how good it is, is up to the model
        return tags


class SKLearnRegressor(RegressorMixin, _Wrapper):
    """A regressor of scikit-learn: a model with one output for each target.

    Parameters and attributes are those of `SKLearnClassifier`, but for `classes_`.
    """

    def _more_tags(self) -> dict[str, Any]:
        return {**super()._more_tags(), "poor_score": True}

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.regressor_tags.poor_score = True
        return tags


class SKLearnTransformer(TransformerMixin, _Wrapper):
    """A transformer of scikit-learn: what the model gives out is the next step's input.

    Parameters and attributes are those of `SKLearnClassifier`, but for `classes_`.
    """

    def transform(self, X: Any) -> np.ndarray:
        """The model's outputs for samples X."""
        return self._outputs(X)

    def _more_tags(self) -> dict[str, Any]:
        return {**super()._more_tags(), "preserves_dtype": []}

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []
        return tags


for _class in (SKLearnClassifier, SKLearnRegressor, SKLearnTransformer):
    _class.__module__ = MODULE
