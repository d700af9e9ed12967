"""Metrics with variables in `compile`: by name and by object, over epochs, weighted, saved."""

import numpy as np
import pytest
from small_models import RNG, compiled, linear

import nbcnn
from nbcnn import layers, metrics, ops
from nbcnn.threshold_counts import PIECE, in_pieces

X = RNG.normal(size=(23, 3)).astype("float32")
LABELS = (RNG.random((23, 2)) < 0.4).astype("int32")
WEIGHTS = RNG.uniform(0.5, 2, 23).astype("float32")


def model_with(*args, weighted=None):
    model = linear(2, activation="sigmoid")
    return compiled(model, loss="bce", metrics=list(args), weighted_metrics=weighted)


def expected(metric, model, weights=None):
    metric.update_state(LABELS, model.predict(X, verbose=0), weights)
    return metric.result()


def test_by_name_and_by_object():
    named = ["AUC", "precision", "Recall", "FalseNegatives", "r2_score", "binary_io_u"]
    model = model_with(*named, metrics.SensitivityAtSpecificity(0.5, name="best"), metrics.AUC)
    logs = model.evaluate(X, LABELS, batch_size=9, verbose=0, return_dict=True)
    assert model.metrics_names[1:7] == named
    assert model.metrics_names[7] == "best"
    assert list(logs) == sorted(model.metrics_names)
    (by_class,) = (value for name, value in logs.items() if name.startswith("auc"))
    assert by_class == logs["AUC"]
    assert all(type(value) is float for value in logs.values())
    for metric, name in (
        (metrics.AUC(), "AUC"),
        (metrics.Precision(), "precision"),
        (metrics.Recall(), "Recall"),
        (metrics.FalseNegatives(), "FalseNegatives"),
        (metrics.R2Score(), "r2_score"),
        (metrics.BinaryIoU(), "binary_io_u"),
        (metrics.SensitivityAtSpecificity(0.5), "best"),
    ):
        assert logs[name] == pytest.approx(expected(metric, model), rel=1e-5)


def test_every_epoch_and_every_validation_starts_again():
    counts = (
        metrics.TruePositives(0.0, name="true_positives"),
        metrics.FalsePositives(0.0, name="false_positives"),
    )
    history = model_with(*counts).fit(
        X, LABELS, epochs=2, batch_size=9, validation_data=(X[:7], LABELS[:7]), verbose=0
    )
    seen = {k: np.asarray(v) for k, v in history.history.items() if "positives" in k}
    np.testing.assert_array_equal(seen["true_positives"] + seen["false_positives"], [46, 46])
    validated = seen["val_true_positives"] + seen["val_false_positives"]
    np.testing.assert_array_equal(validated, [14, 14])


def test_several_results_are_an_array(capsys):
    model = model_with(metrics.F1Score(), metrics.Precision([0.3, 0.6], name="p"))
    logs = model.evaluate(X, LABELS, batch_size=9, verbose=2, return_dict=True)
    assert (logs["f1_score"].shape, logs["p"].shape) == ((2,), (2,))
    np.testing.assert_allclose(logs["f1_score"], expected(metrics.F1Score(), model), rtol=1e-5)
    assert f"f1_score: {logs['f1_score'].mean():.4f}" in capsys.readouterr().out
    history = model.fit(X, LABELS, epochs=2, verbose=0)
    assert np.shape(history.history["f1_score"]) == (2, 2)
    stop = nbcnn.callbacks.EarlyStopping("f1_score", mode="max")
    with pytest.raises(ValueError, match=r"EarlyStopping: monitor must be one number, 'f1_score'"):
        model.fit(X, LABELS, verbose=0, callbacks=[stop])
    assert metrics.F1Score()(LABELS, LABELS * 0.9).numpy().shape == (2,)


def test_weighted_metrics_count_by_weight():
    weighted = [metrics.AUC(name="area"), metrics.BinaryIoU(name="i", dtype="float32"), "R2Score"]
    model = model_with("AUC", weighted=weighted)
    logs = model.evaluate(X, LABELS, 9, 0, sample_weight=WEIGHTS, return_dict=True)
    assert logs["AUC"] == pytest.approx(expected(metrics.AUC(), model), rel=1e-5)
    for metric, name in (
        (metrics.AUC(), "area"),
        (metrics.BinaryIoU(dtype="float32"), "i"),
        (metrics.R2Score(), "R2Score"),
    ):
        assert logs[name] == pytest.approx(expected(metric, model, WEIGHTS), rel=1e-5)


def test_ignored_labels_have_no_weight():
    model = linear(4, activation="softmax")
    ignoring = [metrics.SparseCategoricalCrossentropy(ignore_class=1, name=n) for n in "ab"]
    compiled(
        model,
        loss="sparse_categorical_crossentropy",
        metrics=ignoring[:1],
        weighted_metrics=ignoring[1:],
    )
    labels = np.arange(23) % 4
    logs = model.evaluate(X, labels, 9, 0, sample_weight=WEIGHTS, return_dict=True)
    each = -np.log(model.predict(X, verbose=0)[np.arange(23), labels])
    kept = labels != 1
    assert logs["a"] == pytest.approx((each * kept).mean(), rel=1e-4)
    assert logs["b"] == pytest.approx((each * WEIGHTS)[kept].sum() / WEIGHTS[kept].sum(), rel=1e-4)


class Distance(metrics.Mean):
    """Keras's idiom: what is averaged is handed to the base."""

    def update_state(self, y_true, y_pred, sample_weight=None):
        super().update_state(ops.abs(ops.cast(y_true, "float32") - y_pred), sample_weight)


class Total(metrics.Sum):
    def update_state(self, y_true, y_pred, sample_weight=None):
        super().update_state(y_pred, sample_weight)


class OfDoubled(metrics.MeanSquaredError):
    """The formula of the base, on other values."""

    def update_state(self, y_true, y_pred, sample_weight=None):
        super().update_state(y_true, 2.0 * y_pred, sample_weight)


class FromScores(metrics.MeanIoU):
    def update_state(self, y_true, y_pred, sample_weight=None):
        super().update_state(y_true, ops.greater(y_pred, 0.5), sample_weight)


def test_metrics_that_build_on_others():
    def made():
        return [Distance("d"), Total("t"), OfDoubled("o"), FromScores(2, name="f", dtype="float32")]

    model = model_with(*made(), weighted=made())
    for _ in range(2):
        logs = model.evaluate(X, LABELS, 9, 0, sample_weight=WEIGHTS, return_dict=True)
    for metric in made():
        assert logs[metric.name] == pytest.approx(expected(metric, model), rel=1e-5)
        metric.reset_state()
        by_weight = expected(metric, model, WEIGHTS)
        assert logs[f"weighted_{metric.name}"] == pytest.approx(by_weight, rel=1e-5)


def test_segmentation():
    images = RNG.normal(size=(5, 4, 3, 2)).astype("float32")
    classes = RNG.integers(0, 3, (5, 4, 3))
    model = nbcnn.Sequential([nbcnn.Input((4, 3, 2)), layers.Conv2D(3, 1, activation="softmax")])
    mean = metrics.MeanIoU(3, name="mean", sparse_y_pred=False)
    compiled(model, loss="sparse_categorical_crossentropy", metrics=[mean])
    logs = model.evaluate(images, classes, 2, 0, return_dict=True)
    found = model.predict(images, verbose=0).argmax(-1)
    both = [((classes == c) & (found == c)).sum() for c in range(3)]
    either = [((classes == c) | (found == c)).sum() for c in range(3)]
    values = [b / e for b, e in zip(both, either) if e]
    assert logs["mean"] == pytest.approx(np.mean(values), rel=1e-5)


def test_a_saved_model_has_its_metrics_again(tmp_path):
    model = model_with("AUC", metrics.Precision(top_k=1, class_id=1), metrics.F1Score("macro"))
    first = model.evaluate(X, LABELS, verbose=0, return_dict=True)
    model.save(tmp_path / "model.nbcnn")
    again = nbcnn.models.load_model(tmp_path / "model.nbcnn")
    assert again.evaluate(X, LABELS, verbose=0, return_dict=True) == pytest.approx(first)


def test_what_is_compared_at_once_is_limited():
    """Sums over pieces are those over everything."""
    rows = PIECE // 1000 * 2 + 7
    values = np.arange(rows, dtype="float64")
    sizes = []

    def total(part):
        sizes.append(len(part))
        return (part.sum(),)

    assert in_pieces(total, (values,), 1000)[0] == values.sum()
    assert max(sizes) * 1000 <= PIECE
    assert len(sizes) == 3


P, T = np.full((4, 3), 0.3, "float32"), np.eye(3, dtype="int32")[[0, 1, 2, 0]]
ERRORS = [
    (lambda: metrics.Precision(1.5), "Precision: thresholds must be a number between 0 and 1"),
    (lambda: metrics.Recall([]), "Recall: thresholds must be a number between 0 and 1 or a list"),
    (lambda: metrics.Precision(top_k=0), "Precision: top_k must be positive, got 0"),
    (lambda: metrics.Precision(class_id=-1), "Precision: class_id must not be negative, got -1"),
    (lambda: metrics.Precision(top_k=4)(T, P), "top_k must be at most the number of classes, 3"),
    (lambda: metrics.Recall(class_id=3)(T, P), "class_id 3 needs predictions (batch, ..., classes"),
    (lambda: metrics.Recall()(T[:2], P), "y_true and y_pred must have one shape, got (2, 3) and"),
    (lambda: metrics.Recall()(T, P, [1, 2]), "sample_weight of shape (2, 1) does not fit values"),
    (lambda: metrics.AUC(1), "AUC: num_thresholds must be at least 2, got 1"),
    (lambda: metrics.AUC(curve="RCO"), "AUC: curve must be 'ROC', 'PR' or 'PRGAIN', got 'RCO'"),
    (lambda: metrics.AUC(num_labels=3), "AUC: num_labels needs multi_label=True"),
    (lambda: metrics.AUC(thresholds=0.5), "AUC: thresholds must be a list of numbers, got 0.5"),
    (lambda: metrics.AUC(multi_label=True)(T[0], P[0]), "(batch, labels), got (3,)"),
    (lambda: metrics.AUC(multi_label=True, num_labels=2)(T, P), "(batch, 2), got (4, 3)"),
    (lambda: metrics.PrecisionAtRecall(), "PrecisionAtRecall: argument 'recall' is missing"),
    (lambda: metrics.PrecisionAtRecall(2), "PrecisionAtRecall: recall must be between 0 and 1"),
    (lambda: metrics.RecallAtPrecision(0.5, 0), "num_thresholds must be positive, got 0"),
    (lambda: metrics.IoU(2, [2]), "IoU: target_class_ids must be below num_classes=2, got 2"),
    (lambda: metrics.IoU(2, 1), "IoU: target_class_ids must be a list of class numbers, got 1"),
    (lambda: metrics.MeanIoU(0), "MeanIoU: num_classes must be positive, got 0"),
    (lambda: metrics.MeanIoU(2)([1, 0], [1]), "must hold as many classes, got shapes (2,) and"),
    (lambda: metrics.OneHotMeanIoU(3, axis=2)(T, P), "y_true has no axis 2 of classes"),
    (lambda: metrics.F1Score("mean"), "F1Score: average must be None, 'micro', 'macro' or"),
    (lambda: metrics.FBetaScore(beta=0), "FBetaScore: beta must be positive, got 0"),
    (lambda: metrics.F1Score(threshold=0), "threshold must be above 0 and at most 1, got 0"),
    (lambda: metrics.F1Score()(T[0], P[0]), "expected shapes (batch, outputs), got (3,) and (3,)"),
    (lambda: metrics.R2Score("mean"), "class_aggregation must be 'uniform_average'"),
    (lambda: metrics.R2Score(num_regressors=-1), "num_regressors must not be negative, got -1"),
    (lambda: metrics.get("Precison"), "unknown metric 'Precison'; did you mean '"),
    (lambda: metrics.Persision, "has no attribute 'Persision'"),
]


@pytest.mark.parametrize(("wrong", "text"), ERRORS, ids=[t for _, t in ERRORS])
def test_errors_say_what_came_and_what_was_expected(wrong, text):
    with pytest.raises((ValueError, AttributeError)) as error:
        wrong()
    assert text in str(error.value)


def test_outputs_may_not_change_their_number():
    metric = metrics.F1Score()
    metric.update_state(T, P)
    before = metric.result()
    with pytest.raises(ValueError, match=r"expected 3 outputs as before, got shape \(4, 2\)"):
        metric.update_state(T[:, :2], P[:, :2])
    np.testing.assert_array_equal(metric.result(), before)


def test_weights_of_integer_counts_are_cut_with_a_warning():
    metric = metrics.MeanIoU(2)
    with pytest.warns(UserWarning, match="cut to whole numbers; pass dtype='float32'"):
        metric.update_state([0, 1, 1], [0, 1, 0], [1.9, 1.0, 0.5])
    np.testing.assert_array_equal(metric.total_cm.numpy(), [[1, 0], [0, 1]])


def test_too_many_regressors_are_told():
    metric = metrics.R2Score(num_regressors=5)
    metric.update_state([[1.0], [2.0], [4.0]], [[1.0], [2.5], [4.0]])
    with pytest.warns(UserWarning, match="needs more than 6 samples, got 3"):
        result = metric.result()
    assert result == pytest.approx(1 - 0.25 / np.var([1, 2, 4]) / 3)
