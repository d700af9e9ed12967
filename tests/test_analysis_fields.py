"""`analysis.receptive_field` against loops over single elements, on random stacks of layers."""

import math
import warnings
from fractions import Fraction

import numpy as np
import pytest
from random_stacks import STACKS, fields_of, stacks

import nbcnn
from nbcnn import analysis, layers


def hull(mask):
    return tuple((int(p.min()), int(p.max())) for p in np.nonzero(mask)) if mask.any() else None


def test_fields_of_units_in_random_stacks():
    seen = 0
    for stack in stacks(STACKS):
        report = fields_of(stack.model)
        assert not report.unknown
        assert {row.layer for row in report.layers} == set(stack.reads)
        for name in list(stack.reads)[-2:]:
            if None in report.axes_of(name):  # of one element, where nothing says which axis it is
                continue
            for unit in stack.units(name, 4):
                found = report.of(*unit, layer=name)
                assert (found.mask == stack.reads[name][unit]).all(), (name, unit)
                assert found.clipped == hull(found.mask)
                seen += 1
    assert seen > 4 * STACKS


def test_what_a_unit_sees_without_borders_holds_what_it_sees():
    """And is the same where it lies inside, and nothing is cropped or dilated past an edge."""
    equal = 0
    for stack in stacks(60):
        report = fields_of(stack.model)
        name = list(stack.reads)[-1]
        if None in report.axes_of(name):
            continue
        for unit in stack.units(name, 4):
            found = report.of(*unit, layer=name)
            if found.clipped is None:
                continue
            for (a, b), (c, d) in zip(found.unclipped, found.clipped):
                assert a <= c <= d <= b
            equal += found.unclipped == found.clipped
    assert equal > 40


def test_gradients_reach_what_units_see():
    """With real kernels: what a linear model with positive weights makes of single pixels."""
    for stack in stacks(6, weighted_only=True):
        model, sizes = stack.model, stack.input.shape[1:-1]
        for weight in model.weights:
            weight.assign(
                np.ones(weight.shape) if len(weight.shape) > 1 else np.zeros(weight.shape)
            )
        pixels = np.eye(math.prod(sizes), dtype=np.float32).reshape(-1, *sizes, 1)
        x = np.broadcast_to(pixels, (*pixels.shape[:-1], stack.channels))
        y = model.predict(x, verbose=0).max(axis=-1)
        reads = np.moveaxis(y > 0, 0, -1).reshape(*y.shape[1:], *sizes)
        name = list(stack.reads)[-1]
        assert (reads == stack.reads[name]).all()


def test_sizes_and_jumps_follow_the_formula():
    """r += (k - 1) * j, j *= s, for chains of windows without padding."""
    rng = np.random.default_rng(1)
    for _ in range(20):
        parts, size, jump = [nbcnn.Input((200, 1))], 1, 1
        for _ in range(int(rng.integers(1, 6))):
            k, s = (int(n) for n in rng.integers(1, 4, 2))
            convolves = rng.random() < 0.5
            parts.append(layers.Conv1D(1, k, s) if convolves else layers.MaxPooling1D(k, s))
            size, jump = size + (k - 1) * jump, jump * s
        row = fields_of(nbcnn.Sequential(parts)).layers[-1]
        assert (row.size, row.jump, row.start) == ((size,), (jump,), (0,))
        assert row.centre == ((size - 1) / 2,)


def test_known_fields():
    """AlexNet's and VGG's as the literature has them (Araujo, Norris and Sim 2019)."""
    alexnet = [nbcnn.Input((227, 227, 3)), layers.Conv2D(1, 11, 4), layers.MaxPooling2D(3, 2),
               layers.Conv2D(1, 5, padding="same"), layers.MaxPooling2D(3, 2),
               *(layers.Conv2D(1, 3, padding="same") for _ in range(3)),
               layers.MaxPooling2D(3, 2)]  # fmt: skip
    row = fields_of(nbcnn.Sequential(alexnet)).layers[-1]
    assert (row.size, row.jump) == ((195, 195), (32, 32))
    vgg = [nbcnn.Input((224, 224, 3))]
    for count in (2, 2, 3, 3, 3):
        vgg += [layers.Conv2D(1, 3, padding="same") for _ in range(count)]
        vgg.append(layers.MaxPooling2D(2))
    row = fields_of(nbcnn.Sequential(vgg)).layers[-1]
    assert (row.size, row.jump) == ((212, 212), (32, 32))


def test_upsampling_has_fractions_of_elements_between_units():
    finer = layers.UpSampling2D(2, interpolation="bilinear")
    last = layers.Conv2DTranspose(1, 4, 2, "same")
    model = nbcnn.Sequential([nbcnn.Input((8, 8, 1)), layers.Conv2D(1, 3), finer, last])
    report = fields_of(model)
    assert report[finer.name].jump == (Fraction(1, 2),) * 2
    assert report[last.name].jump == (Fraction(1, 4),) * 2
    assert report.of(5, 0, layer=finer.name).clipped == ((2, 5), (0, 2))  # rows 2 and 3 are mixed


def test_layers_that_join_everything_see_everything():
    model = nbcnn.Sequential([nbcnn.Input((9, 7, 2)), layers.Conv2D(3, 3), layers.Flatten(),
                              layers.Dense(4)])  # fmt: skip
    report = fields_of(model)
    assert report.layers[-1].size == (9, 7)
    assert report.layers[-1].jump == (0, 0)
    assert report.of(layer=model.layers[-1].name).mask.all()
    assert report.of(6, 4).clipped == ((6, 8), (4, 6))


def test_borders_that_are_copies_and_weights_of_their_own():
    x = nbcnn.Input((6, 5, 2))
    y = layers.Conv2D(2, 5, padding="same", padding_mode="reflect", name="mirrored")(x)
    y = layers.LocallyConnected2D(2, 3, name="own")(y)
    report = fields_of(nbcnn.Model(x, layers.GlobalResponseNormalization(name="all")(y)))
    assert not report.unknown
    assert report.of(0, 0, layer="mirrored").clipped == ((0, 2), (0, 2))
    assert report.of(5, 2, layer="mirrored").clipped == ((3, 5), (0, 4))
    assert report.of(1, 0, layer="own").clipped == ((0, 5), (0, 4))
    assert report.of(3, 2, layer="own").clipped == ((1, 5), (0, 4))
    assert report["all"].size == (6, 5)


def test_channels_first_and_models_inside():
    inner = nbcnn.Sequential(
        [nbcnn.Input((3, 12, 10)), layers.Conv2D(2, 3, 2, data_format="channels_first", name="a")],
        name="inner",
    )
    x = nbcnn.Input((3, 12, 10))
    y = layers.MaxPooling2D(2, data_format="channels_first", name="b")(inner(x))
    report = fields_of(nbcnn.Model(x, y))
    assert [row.layer for row in report.layers] == ["inner/a", "b"]
    assert report.input_size == (12, 10)
    assert report.of(1, 1).clipped == ((4, 8), (4, 8))


def test_fields_along_words():
    """An input of whole numbers has no channels: its only axis is that of the words."""
    words = nbcnn.Input((12,), dtype="int32")
    x = layers.Embedding(20, 3)(words)
    y = layers.Conv1D(2, 4, padding="same", name="four")(layers.Conv1D(2, 3, name="three")(x))
    model = nbcnn.Model(words, layers.GlobalMaxPooling1D(name="all")(y))
    report = fields_of(model)
    assert report.input_size == (12,)
    assert [report[name].size for name in ("three", "four")] == [(3,), (6,)]
    assert report.of(4, layer="four").clipped == ((3, 8),)
    assert report.of(layer="all").clipped == ((0, 11),)
    shifts = analysis.equivariance(model, shifts=[2]).of("four")
    assert shifts[0].multiple
    assert shifts[0].inside < 1e-5


def test_whose_input_has_no_spatial_axes():
    model = nbcnn.Sequential([nbcnn.Input((4,)), layers.Dense(3)])
    for look in (analysis.receptive_field, analysis.equivariance):
        with pytest.raises(ValueError, match=rf"^{look.__name__}: .* has no spatial axes"):
            look(model)


def test_a_warning_where_the_last_convolution_does_not_see_all():
    small = [layers.Conv2D(1, 3), layers.GlobalAveragePooling2D(), layers.Dense(2)]
    with pytest.warns(UserWarning, match=r"sees 3 x 3 of 8 x 8 elements"):
        report = analysis.receptive_field(nbcnn.Sequential([nbcnn.Input((8, 8, 1)), *small]))
    assert not report.sees_all
    assert "3 x 3 of 8 x 8" in str(report)
    whole = nbcnn.Sequential([nbcnn.Input((8, 8, 1)), layers.Conv2D(1, 5), layers.Conv2D(1, 4)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert analysis.receptive_field(whole).sees_all


def test_an_operation_that_nobody_knows_reads_everything():
    class Reversed(nbcnn.layers.Layer):
        def call(self, x):
            return nbcnn.ops.scatter(
                nbcnn.ops.expand_dims(nbcnn.ops.arange(2), -1), x[0, :2, 0], (2,)
            ) + nbcnn.ops.sum(x)

    x = nbcnn.Input((4, 1))
    report = fields_of(nbcnn.Model(x, Reversed()(x)))
    assert report.unknown == ["scatter"]
    assert "scatter" in str(report)


def test_a_graph_inside_a_call_of_ones_own_is_not_taken_for_the_model():
    class Twice(nbcnn.Model):
        def call(self, x):
            return super().call(super().call(x))

    x = nbcnn.Input((9, 9, 1))
    y = layers.Conv2D(1, 3, padding="same")(x)
    assert fields_of(nbcnn.Model(x, y)).layers[-1].size == (3, 3)
    assert fields_of(Twice(x, y, name="twice"))["twice"].size == (5, 5)
    assert analysis.operation_count(Twice(x, y)).multiply_adds == 2 * 81 * 9
