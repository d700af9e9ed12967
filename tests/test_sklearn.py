"""Models as scikit-learn's estimators."""

import copy
import pickle
import sys

import numpy as np
import pytest

import nbcnn
from nbcnn import layers

joblib = pytest.importorskip("joblib")
pytest.importorskip("sklearn")

from sklearn.base import clone  # noqa: E402
from sklearn.datasets import make_classification, make_regression  # noqa: E402
from sklearn.exceptions import DataConversionWarning, NotFittedError  # noqa: E402
from sklearn.model_selection import GridSearchCV  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402
from sklearn.utils.estimator_checks import check_estimator  # noqa: E402

from nbcnn.wrappers import SKLearnClassifier, SKLearnRegressor, SKLearnTransformer  # noqa: E402

QUIET = {"verbose": 0, "batch_size": 64}


def network(X, y, loss="mse", activation=None, units=8, rate=0.02):
    """A small model for these data; with a seed, so that equal fits have equal results."""
    nbcnn.utils.set_random_seed(3)
    model = nbcnn.Sequential(
        [
            nbcnn.Input(X.shape[1:]),
            layers.Dense(units, activation="tanh"),
            layers.Dense(y.shape[1], activation=activation),
        ]
    )
    model.compile(nbcnn.optimizers.Adam(rate), loss)
    return model


def classifier(**changes):
    options = {"loss": "categorical_crossentropy", "activation": "softmax"}
    arguments = {"model_kwargs": options, "fit_kwargs": {**QUIET, "epochs": 8}, **changes}
    return SKLearnClassifier(network, **arguments)


def regressor(**changes):
    return SKLearnRegressor(network, **{"fit_kwargs": {**QUIET, "epochs": 2}, **changes})


def compiled(units=1):
    return network(np.zeros((1, 4)), np.zeros((1, units)))


@pytest.fixture(scope="module")
def classes():
    X, y = make_classification(90, 6, n_informative=4, n_classes=3, random_state=0)
    return X, np.array(["red", "green", "blue"])[y]


@pytest.fixture(scope="module")
def numbers():
    X, y = make_regression(40, 4, random_state=0)
    return X, y / y.std()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "estimator",
    [classifier(), regressor(), SKLearnTransformer(network, fit_kwargs=QUIET)],
    ids=lambda estimator: type(estimator).__name__,
)
def test_scikit_learn_accepts_it(estimator):
    done = check_estimator(estimator)
    if done is not None:  # since scikit-learn 1.6 it says what it did
        assert {check["status"] for check in done} <= {"passed", "skipped"}
        assert sum(check["status"] == "passed" for check in done) > 30


def test_a_classifier_predicts_the_labels_that_it_was_given(classes):
    X, y = classes
    fitted = classifier().fit(X, y, epochs=60)
    assert fitted.classes_.tolist() == ["blue", "green", "red"]
    assert fitted.epoch_ == len(fitted.history_.history["loss"]) == 60
    assert fitted.score(X, y) > 0.8
    outputs = fitted.decision_function(X)
    np.testing.assert_array_equal(outputs, fitted.model_.predict(X, verbose=0))
    np.testing.assert_array_equal(fitted.predict(X), fitted.classes_[outputs.argmax(1)])
    assert fitted.fit_kwargs == {**QUIET, "epochs": 8}, "changed by arguments of fit"


def test_two_classes_have_one_decision(classes):
    X, y = classes
    X, y = X[y != "red"], y[y != "red"]
    fitted = classifier().fit(X, y)
    decision = fitted.decision_function(X)
    assert decision.shape == (len(X),)
    np.testing.assert_array_equal(fitted.predict(X) == "green", decision > 0)


def test_pictures_and_several_targets():
    generator = np.random.default_rng(0)
    X, y = generator.normal(size=(20, 6, 6, 1)), generator.normal(size=(20, 2))

    def pictures(X, y):
        model = nbcnn.Sequential(
            [
                nbcnn.Input(X.shape[1:]),
                layers.Conv2D(2, 3),
                layers.Flatten(),
                layers.Dense(y.shape[1]),
            ]
        )
        model.compile("sgd", "mse")
        return model

    fitted = SKLearnRegressor(pictures, fit_kwargs=QUIET).fit(X, y)
    assert fitted.predict(X).shape == (20, 2)
    with pytest.warns(DataConversionWarning):
        fitted.fit(X, y[:, :1])
    assert fitted.predict(X).shape == (20,)


def test_a_model_that_is_given_is_not_changed_and_trained_from_new_weights(numbers):
    model = compiled()
    before = model.get_weights()
    estimator = SKLearnRegressor(model, fit_kwargs={**QUIET, "epochs": 3})
    fitted = estimator.fit(*numbers)
    assert fitted.model_ is not model
    assert type(fitted.model_.optimizer) is nbcnn.optimizers.Adam
    for a, b in zip(before, model.get_weights()):
        np.testing.assert_array_equal(a, b)
    first = fitted.model_
    assert fitted.fit(*numbers).model_ is not first


def test_warm_start_goes_on(numbers):
    for given in (network, compiled()):
        estimator = SKLearnRegressor(given, warm_start=True, fit_kwargs={**QUIET, "epochs": 5})
        first = estimator.fit(*numbers).history_.history["loss"]
        model = estimator.model_
        assert (model is given) == (given is not network)
        second = estimator.fit(*numbers).history_.history["loss"]
        assert estimator.model_ is model
        assert model.optimizer.iterations == 10
        assert second[0] < first[-1]


def scaled_error(y_true, y_pred):
    return nbcnn.ops.mean(nbcnn.ops.square(y_true - y_pred), axis=-1) / 2


@pytest.mark.parametrize("loss", ["mse", scaled_error], ids=["named", "own"])
def test_clones_and_copies_of_estimators_with_models(numbers, tmp_path, loss):
    X, y = numbers
    model = network(X, y[:, None], loss)
    estimator = SKLearnRegressor(model, fit_kwargs=QUIET)
    other = clone(estimator.fit(X, y))
    assert not hasattr(other, "model_")
    assert other.model is not model
    assert other.fit_kwargs == QUIET
    for a, b in zip(model.get_weights(), other.model.get_weights()):
        np.testing.assert_array_equal(a, b)
    other.fit(X, y)
    joblib.dump(estimator, tmp_path / "estimator.joblib")
    copies = [
        joblib.load(tmp_path / "estimator.joblib"),
        pickle.loads(pickle.dumps(estimator)),
        copy.deepcopy(estimator),
    ]
    for twin in copies:
        assert type(twin) is SKLearnRegressor
        np.testing.assert_array_equal(twin.predict(X), estimator.predict(X))
        assert twin.history_.history == estimator.history_.history


def test_a_search_over_a_pipeline_with_two_workers(classes):
    X, y = classes
    steps = make_pipeline(StandardScaler(), classifier())
    options = [
        {"loss": "categorical_crossentropy", "activation": "softmax", "rate": rate}
        for rate in (0.0, 0.05)
    ]
    search = GridSearchCV(
        steps, {"sklearnclassifier__model_kwargs": options}, cv=2, n_jobs=2, error_score="raise"
    )
    search.fit(X, y, sklearnclassifier__epochs=20)
    assert search.best_params_["sklearnclassifier__model_kwargs"]["rate"] == 0.05
    bad, good = search.cv_results_["mean_test_score"]
    assert good > bad
    assert search.best_estimator_[-1].epoch_ == 20


def test_a_transformer_in_a_pipeline(numbers):
    X, y = numbers
    steps = make_pipeline(SKLearnTransformer(network, fit_kwargs=QUIET), regressor())
    steps.fit(X, y)
    assert steps[0].transform(X).shape == (40, 1)
    assert steps.predict(X).shape == (40,)


def test_weights_of_samples_are_routed_where_they_are_asked_for(numbers):
    import sklearn

    with pytest.raises(RuntimeError, match="enable_metadata_routing"):
        regressor().set_fit_request(sample_weight=True)
    seen = []

    def recording(X, y):
        model = network(X, y)
        fit = model.fit
        model.__dict__["fit"] = lambda *a, **k: seen.append(k.get("sample_weight")) or fit(*a, **k)
        return model

    with sklearn.config_context(enable_metadata_routing=True):
        estimator = SKLearnRegressor(recording, fit_kwargs=QUIET)
        steps = make_pipeline(
            StandardScaler().set_fit_request(sample_weight=False),
            estimator.set_fit_request(sample_weight=True),
        )
        steps.fit(*numbers, sample_weight=np.ones(40))
    assert seen[0].shape == (40,)


def uncompiled(X, y):
    return nbcnn.Sequential([nbcnn.Input(X.shape[1:]), layers.Dense(1)])


@pytest.mark.parametrize(
    ("estimator", "error", "message"),
    [
        (SKLearnRegressor(uncompiled), RuntimeError, "SKLearnRegressor: .* compiled, with a loss"),
        (SKLearnRegressor(7), TypeError, "model must be a Model or a function, got 7"),
        (SKLearnRegressor(lambda X, y: 8), TypeError, "must return a Model, got 8"),
        (SKLearnRegressor(compiled(), model_kwargs={"a": 1}), ValueError, "model_kwargs are for"),
        (classifier(), ValueError, "Unknown label type"),
    ],
)
def test_bad_models_and_targets_are_refused(numbers, estimator, error, message):
    with pytest.raises(error, match=message):
        estimator.fit(*numbers)
    with pytest.raises(NotFittedError):
        estimator.predict(numbers[0])


def test_a_classifier_wants_two_classes_and_one_label_each(classes):
    X, _ = classes
    with pytest.raises(ValueError, match="at least two classes, got one class"):
        classifier().fit(X, np.ones(len(X)))
    with pytest.raises(ValueError, match="multilabel-indicator"):
        classifier().fit(X, np.eye(2)[np.arange(len(X)) % 2])


def test_classes_stay_those_of_the_outputs(classes):
    X, y = classes
    estimator = classifier().set_params(warm_start=True).fit(X, y)
    known = estimator.classes_
    with pytest.raises(ValueError, match="batch_size"):
        estimator.fit(X, np.where(y == known[0], known[1], y), batch_size=0)
    with pytest.raises(ValueError, match="warm_start: y has the labels"):
        estimator.fit(X, np.where(y == known[0], "another", y))
    with pytest.raises(ValueError, match="expected input"):
        estimator.fit(X[:, :2], y)
    assert estimator.n_features_in_ == 6
    np.testing.assert_array_equal(estimator.classes_, known)
    some = y != known[0]
    estimator.fit(X[some], y[some])
    np.testing.assert_array_equal(estimator.classes_, known)
    assert set(estimator.predict(X)) <= set(known)


def test_without_scikit_learn_the_error_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.delitem(vars(nbcnn.wrappers), "SKLearnClassifier", raising=False)
    with pytest.raises(ImportError, match=r"needs scikit-learn.* pip install 'nbcnn\[sklearn\]'"):
        _ = nbcnn.wrappers.SKLearnClassifier
    with pytest.raises(AttributeError, match="no attribute 'SKLearn'"):
        _ = nbcnn.wrappers.SKLearn


def test_nothing_else_loads_scikit_learn(python, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, nbcnn\n"
        "names = dir(nbcnn.wrappers), nbcnn.models.Model\n"
        "assert 'sklearn' not in sys.modules\n"
        "nbcnn.wrappers.SKLearnRegressor\n"
        "assert 'sklearn' in sys.modules\n"
    )
    python(script)
