"""Least time of products, as the benchmark of operations compares them with."""

import importlib

import pytest

from nbcnn.kernels.cpu.blocking import Tile

TILE = Tile(8, 2, 16, 4)
PEAK, BANDWIDTH, CACHE = 1e9, 1e8, 1000


@pytest.fixture(scope="module")
def bounds(root):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(root / "bench")
        yield importlib.import_module("bounds")


def bound_of(bounds, m, k, n, what, cache=1 << 40):
    spec = bounds.product({"m": m, "k": k, "n": n}, what)
    return bounds.product_bound(spec, TILE, PEAK, BANDWIDTH, cache)


@pytest.mark.parametrize("what", ["forward", "dx", "dw"])
def test_whole_tiles_take_their_multiply_adds(bounds, what):
    seconds, by = bound_of(bounds, 64, 96, 32, what)
    assert seconds == pytest.approx(2 * 64 * 96 * 32 / PEAK)
    assert by == bounds.UNITS


@pytest.mark.parametrize(
    ("what", "filled"),
    [
        ("forward", 24 * 32),
        ("dx", 24 * 112),  # six vectors in three tiles of 8 rows, one in two of 12
        ("dw", 8 * 96),  # transposed; 96 * 16 as it is
    ],
)
def test_lanes_and_rows_of_tiles_are_filled(bounds, what, filled):
    m, k, n = {"forward": (20, 5, 30), "dx": (20, 100, 5), "dw": (5, 96, 8)}[what]
    seconds, by = bound_of(bounds, m, k, n, what)
    steps = {"forward": k, "dx": n, "dw": m}[what]
    assert seconds == pytest.approx(2 * filled * steps / PEAK)
    assert by == (bounds.UNITS if what == "dw" else bounds.LANES)


def test_a_row_by_itself_fills_no_tile(bounds):
    seconds, by = bound_of(bounds, 1, 50, 40, "forward")
    assert seconds == pytest.approx(2 * 50 * 48 / PEAK)
    assert by == bounds.LANES


def test_what_the_cache_cannot_hold_is_moved(bounds):
    numbers = 8 * 32 + 32 * 32 + 8 * 32
    seconds, by = bound_of(bounds, 8, 32, 32, "forward", CACHE)
    assert seconds == pytest.approx((4 * numbers - CACHE) / BANDWIDTH)
    assert by == bounds.MEMORY
    assert bound_of(bounds, 8, 32, 32, "forward", 4 * numbers).by == bounds.UNITS


def test_the_table_of_products_shows_both_shares(root):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(root / "bench")
        tables = importlib.import_module("tables")
    row = {"what": "dx", "case": "a", "ms": 0.5, "peak_share": 0.62}
    other = row | {"what": "dw"}  # of another family: no bound
    row |= {"bound_share": 0.93, "bound_by": "memory"}
    text = tables.products_table({"results": [row, other]})
    assert "| dx a | 0.500 | 62% | 93% | memory |" in text
    assert "dw a" not in text
