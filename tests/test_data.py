"""Sources of batches, apart from any model."""

import threading
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nbcnn
from nbcnn.models import data, prepare
from nbcnn.models.signature import Signature, Slot, is_several, signature_of_data
from nbcnn.runtime.cpu import CpuDevice
from nbcnn.runtime.transfers import Feed


class Host:
    """As much of a device as copying into a step's inputs takes."""

    def upload(self, target, source):
        assert target.shape == source.shape
        np.copyto(target, source, casting="unsafe")


def prepared(x, y=None, w=None):
    ys = [] if y is None else [y]
    ws = [] if y is None else [w]
    return prepare.Prepared(len(x), [x], ["float32"], ys, ["int32"] * len(ys), ws, "float32")


class Runner:
    """A step that does nothing: `run` only makes sure that its inputs hold the batch."""

    def __init__(self, batch, kind):
        specs = batch.specs
        sizes = [(s.shape[0], *w) for s, w in zip(specs.y, specs.weighted) if w is not None]
        self.x = [np.empty(*s) for s in specs.x]
        self.y = [np.empty(*s) for s in specs.y]
        self.w = [np.empty(shape, "float32") for shape in sizes]
        device = CpuDevice(2)
        self.program = device.program([])
        self.feeds = [
            device.feed(self.program, target, False) if kind == "cpu" else Feed(Host(), target)
            for target in (*self.x, *self.y, *self.w)
        ]

    def load(self, arrays, order, start):
        for feed, array in zip(self.feeds, arrays, strict=True):
            feed.load(array, order, start)

    def run(self):
        self.program.run()


def taken(source, limit=None, kind="cpu"):
    """What the batches of a source put into a step: lists of x and y."""
    xs, ys = [], []
    for batch in source.batches(limit):
        runner = Runner(batch, kind)
        batch.load(runner)
        runner.run()
        assert len(runner.x[0]) == batch.size
        xs.append(runner.x[0])
        ys += runner.y[:1]
    return xs, ys


DTYPES = ["float32", "float64", "float16", ">f4", "uint8", "int64", "bool"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["cpu", "gpu"])
@pytest.mark.parametrize("shuffle", [False, True, "batch"])
def test_batches_hold_every_sample_once_in_matching_order(dtype, kind, shuffle):
    nbcnn.utils.set_random_seed(0)
    x = np.arange(10 * 2 * 3).reshape(10, 2, 3).astype(dtype)
    y = np.arange(10)
    source = data.ArraySource(prepared(x, y), 4, shuffle)
    xs, ys = taken(source, kind=kind)
    assert source.steps == 3
    assert sorted(map(len, xs)) == [2, 4, 4]
    labels = np.concatenate(ys)
    assert sorted(labels) == list(range(10))
    np.testing.assert_array_equal(np.concatenate(xs), x[labels].astype("float32"))
    assert (shuffle is False) == (list(labels) == list(range(10)))


@given(samples=st.integers(1, 40), batch=st.integers(1, 50), shuffle=st.sampled_from([True, False]))
def test_any_batch_size_covers_all_samples(samples, batch, shuffle):
    x = np.arange(samples, dtype="float32")[:, None]
    xs, _ = taken(data.ArraySource(prepared(x), batch, shuffle))
    assert len(xs) == -(-samples // batch)
    assert sorted(np.concatenate(xs)[:, 0]) == list(range(samples))


def test_shuffling_follows_the_global_seed():
    def order(seed):
        nbcnn.utils.set_random_seed(seed)
        source = data.ArraySource(prepared(np.arange(50.0)[:, None]), 8, True)
        return np.concatenate(taken(source)[0] + taken(source)[0]).ravel()

    np.testing.assert_array_equal(order(1), order(1))
    assert (order(1) != order(2)).any()
    assert (order(1)[:50] != order(1)[50:]).any()


def test_a_limit_goes_on_where_the_last_epoch_ended():
    source = data.ArraySource(prepared(np.arange(6.0)[:, None]), 2)
    firsts = [[x[0, 0] for x in taken(source, 2)[0]] for _ in range(3)]
    assert firsts == [[0, 2], [4, 0], [2, 4]]


def test_strided_and_fortran_arrays_give_the_same_batches():
    x = np.arange(48, dtype="float32").reshape(8, 6)
    for same in (np.asfortranarray(x), np.repeat(x, 2, axis=1)[:, ::2]):
        np.testing.assert_array_equal(taken(data.ArraySource(prepared(same), 3))[0][1], x[3:6])


def test_filling_batches_allocates_nothing_large():
    x = np.zeros((512, 40, 40), "float32")
    source = data.ArraySource(prepared(x, np.zeros(512, "int64")), 64, True)
    batches = list(source.batches())
    runner = Runner(batches[0], "cpu")
    for batch in batches:
        batch.load(runner)
        runner.run()
    tracemalloc.start()
    for batch in batches:
        batch.load(runner)
        runner.run()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8192


class Numbered(nbcnn.utils.PyDataset):
    def __init__(self, count):
        super().__init__()
        self.count, self.ended = count, 0

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return np.full((2, 1), index, "float32"), np.full(2, index)

    def on_epoch_end(self):
        self.ended += 1


def stream(items, shuffle=False):
    return data.StreamSource(items, lambda x, y, w: prepared(x, y, w), shuffle)


def test_sequences_of_batches_start_again_and_hear_of_the_end():
    numbered = Numbered(3)
    source = stream(numbered)
    assert source.steps == 3
    assert source.peek().samples == 2
    for _ in range(2):
        assert [y[0] for y in taken(source)[1]] == [0, 1, 2]
    assert numbered.ended == 2
    assert [y[0] for y in taken(source, 4)[1]] == [0, 1, 2, 0]


class Slow(Numbered):
    """Says which threads and processes have made batches; later ones are made sooner."""

    def __init__(self, count, wrong=None, **options):
        super().__init__(count)
        nbcnn.utils.PyDataset.__init__(self, **options)
        self.wrong = wrong

    def __getitem__(self, index):
        if index == self.wrong:
            raise OSError("no such picture")
        time.sleep(0.002 * (self.count - index))
        return np.full((2, 1), threading.get_native_id()), np.full(2, index)


@pytest.mark.parametrize("processes", [False, True], ids=["threads", "processes"])
def test_workers_make_batches_ahead_and_in_order(processes):
    options = {"workers": 2, "use_multiprocessing": processes, "max_queue_size": 3}
    xs, ys = taken(stream(Slow(9, **options)))
    assert [y[0] for y in ys] == list(range(9))
    makers = {int(x[0, 0]) for x in xs}
    assert len(makers) <= 2
    assert threading.get_native_id() not in makers
    with pytest.raises(OSError, match="no such picture"):
        taken(stream(Slow(9, wrong=4, **options)))


def test_sequences_are_shuffled_by_batches():
    nbcnn.utils.set_random_seed(1)
    order = [int(y[0]) for y in taken(stream(Numbered(20), True))[1]]
    assert sorted(order) == list(range(20))
    assert order != list(range(20))


def test_generators_run_once_and_peeking_loses_nothing():
    source = stream((np.full((1, 1), i), np.array([i])) for i in range(3))
    assert source.steps is None
    source.peek()
    assert [y[0] for y in taken(source)[1]] == [0, 1, 2]
    assert taken(source)[1] == []


def test_loaders_that_can_be_read_again_are():
    batches = [(np.full((1, 1), i), np.array([i])) for i in range(2)]

    class Loader:
        def __iter__(self):
            return iter(batches)

    source = stream(Loader())
    source.peek()
    for _ in range(2):
        assert [y[0] for y in taken(source)[1]] == [0, 1]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.zeros(3), False),
        ([np.zeros(3)], False),
        ({"a": np.zeros(3)}, False),
        ((x for x in ()), True),
        (iter([1]), True),
        (Numbered(1), True),
        ("text", False),
        (None, False),
    ],
)
def test_what_counts_as_batches(value, expected):
    assert data.is_stream(value) is expected


def test_arrange_takes_lists_names_and_nests():
    two = Signature({"a": 0, "b": 0}, [Slot("a", (None, 1), "float32"), Slot("b", (None, 2), "x")])
    p, q = np.zeros((3, 1)), np.zeros((3, 2))
    for value in ({"b": q, "a": p}, [p, q], (p, q)):
        first, second = two.arrange(value, "x")
        assert first is p
        assert second is q
    assert two.arrange(None, "y") == [None, None]
    assert two.pack([1, 2]) == {"a": 1, "b": 2}
    deep = Signature({"a": 0, "c": [0, {"b": 0}]}, [Slot(n, (None, 1), "float32") for n in "abc"])
    assert deep.arrange({"c": [q, {"b": None}], "a": p}, "y") == [p, q, None]
    assert deep.listed({"a": "mse"}) == {"a": "mse"}
    for wrong in (p, [p], [p, q, q], {"c": p}):
        with pytest.raises(ValueError, match="y: expected"):
            two.arrange(wrong, "y")


def test_plain_lists_of_numbers_are_data():
    assert not is_several([[1, 2], [3, 4]])
    assert not is_several([np.float32(1), np.float32(2)])
    assert is_several([np.zeros(2), np.zeros(2)])
    one = Signature(0, [Slot("a", (None, 2), "float32")])
    assert one.arrange([[1, 2], [3, 4]], "x") == [[[1, 2], [3, 4]]]
    assert one.arrange([np.zeros((3, 2))], "x")[0].shape == (3, 2)


def test_signature_of_data_keeps_names_and_nesting():
    found = signature_of_data({"a": np.zeros((4, 2)), "b": np.zeros((4, 3, 1))}, "float32")
    assert found.names == ["a", "b"]
    assert found.example == [(None, 2), (None, 3, 1)]
    assert found.pack([1, 2]) == {"a": 1, "b": 2}


def test_weights_of_classes():
    table = {0: 2.0, 2: 3.0}
    np.testing.assert_array_equal(
        prepare.weights_of_classes(np.array([0, 1, 2, 5]), 6, table), [2, 1, 3, 1]
    )
    one_hot = np.eye(3)[[2, 0, 1]]
    np.testing.assert_array_equal(prepare.weights_of_classes(one_hot, 3, table), [3, 2, 1])
    labels = np.array([[0, 1, 2], [2, 2, 0]])  # of pixels, and not one-hot
    expected = [[2, 1, 3], [3, 3, 2]]
    np.testing.assert_array_equal(prepare.weights_of_classes(labels, 4, table), expected)
    others = np.array([-1, 10**12, 2])  # which no class has
    np.testing.assert_array_equal(prepare.weights_of_classes(others, 3, table), [1, 1, 3])


def test_the_validation_part_is_the_last_one():
    first, last = prepare.split_off("fit", prepared(np.arange(10.0)[:, None]), 0.25)
    assert first.x[0].ravel().tolist() == list(range(7))
    assert last.x[0].ravel().tolist() == [7, 8, 9]
    with pytest.raises(ValueError, match="leaves one part empty"):
        prepare.split_off("fit", prepared(np.zeros((1, 1))), 0.5)
