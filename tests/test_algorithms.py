"""What "auto" means and chooses: the setting of the process, the cost model, and what `explain` tells of them."""

import math
import threading

import numba
import numpy as np
import pytest
from cases import values
from fastconv.kernels.convolution import choose
from fastconv.kernels.simd.vectors import VECTOR_BYTES
from subprocesses import run_python

import fastconv
from fastconv import algorithms, dispatch
from fastconv import problem as problems

# What each family is for: shapes of x and w, options.
PLACES = {
    "small": ((1, 1, 8, 8), (1, 1, 3, 3), {}),
    "small_images": ((100, 1, 8, 8), (1, 1, 3, 3), {}),
    "depthwise": ((1, 32, 56, 56), (32, 1, 3, 3), {"groups": 32, "padding": 1}),
    "grouped": ((1, 64, 14, 14), (64, 1, 3, 3), {"groups": 64, "stride": 3}),
    "dense": ((1, 64, 28, 28), (64, 64, 1, 1), {}),
    "direct": ((1, 32, 28, 28), (32, 4, 3, 3), {"groups": 8}),
    "generic": ((1, 1, 3, 3, 3, 3), (1, 1, 2, 2, 2, 2), {}),
    "winograd": ((1, 64, 56, 56), (64, 64, 3, 3), {"padding": 1}),
    "fft_tiles": ((1, 64, 56, 56), (64, 64, 7, 7), {"padding": 3}),
    "fft_planes": ((1, 1, 300, 300), (1, 1, 41, 41), {"padding": "same"}),
}


def arrays(x, w, dtype="f4"):
    return values(x, dtype), values(w, dtype, 1)


@pytest.fixture(autouse=True)
def keep_meaning():
    before = fastconv.get_algorithm()
    yield
    assert fastconv.get_algorithm() == before


@pytest.mark.skipif(VECTOR_BYTES < 32, reason="short vectors leave these calls to other families")
def test_every_family_is_chosen_for_what_it_is_for():
    assert set(PLACES) == {family.name for family in choose.FAMILIES}
    for name, (x, w, options) in PLACES.items():
        found = fastconv.explain(*arrays(x, w), **options)
        assert (found.implementation, found.algorithm) == (name, choose.FAMILIES[place(name)].algorithm), found


def place(name):
    return [family.name for family in choose.FAMILIES].index(name)


@pytest.mark.parametrize("name", ["winograd", "fft_tiles", "fft_planes"])
def test_auto_means_what_it_is_told_to(name):
    x, w, options = PLACES[name]
    x, w = arrays(x, w)
    auto, direct = (fastconv.correlate_nd(x, w, algorithm=a, **options) for a in ("auto", "direct"))
    assert not np.array_equal(auto, direct)  # a transform rounds otherwise
    with fastconv.algorithm("direct"):
        assert fastconv.get_algorithm() == "direct"
        np.testing.assert_array_equal(fastconv.correlate_nd(x, w, **options), direct)
        assert fastconv.explain(x, w, **options).algorithm == "direct"
        with fastconv.algorithm("auto"):
            np.testing.assert_array_equal(fastconv.correlate_nd(x, w, **options), auto)
    np.testing.assert_array_equal(fastconv.correlate_nd(x, w, **options), auto)


def test_compiled_code_means_the_same():
    @numba.njit
    def call(x, w):
        return fastconv.correlate2d(x, w, padding_mode=1)

    x, w = arrays((1, 64, 56, 56), (64, 64, 3, 3))
    auto = call(x, w)
    np.testing.assert_array_equal(auto, fastconv.correlate2d(x, w, padding_mode=1))
    with fastconv.algorithm("direct"):
        direct = call(x, w)
    assert not np.array_equal(auto, direct)
    np.testing.assert_array_equal(direct, fastconv.correlate2d(x, w, padding_mode=1, algorithm="direct"))
    np.testing.assert_array_equal(call(x, w), auto)


def test_all_threads_see_the_setting():
    seen = []
    with fastconv.algorithm("direct"):
        thread = threading.Thread(target=lambda: seen.append(fastconv.get_algorithm()))
        thread.start()
        thread.join()
    assert seen == ["direct"]


def test_the_setting_comes_back_after_an_error():
    with pytest.raises(ZeroDivisionError), fastconv.algorithm("direct"):
        raise ZeroDivisionError


@pytest.mark.parametrize("name", ["fft", "", 1, None, ["auto"]])
def test_other_meanings_are_refused(name):
    with pytest.raises((ValueError, TypeError), match=r"set_algorithm\(\): name is .*expected.*'auto'.*'direct'"):
        fastconv.set_algorithm(name)


@pytest.mark.parametrize("asked", ["", "auto", "direct"])
def test_the_environment_sets_it(asked):
    printed = run_python("import fastconv; print(fastconv.get_algorithm())", FASTCONV_ALGORITHM=asked).stdout
    assert printed.strip() == (asked or "auto")


def test_the_environment_is_checked():
    code = "import fastconv\ntry:\n    fastconv.correlate1d\nexcept ValueError as error:\n    print(error)"
    printed = run_python(code, FASTCONV_ALGORITHM="winograd").stdout
    assert printed.strip() == "FASTCONV_ALGORITHM is 'winograd', expected 'auto' or 'direct'"


# ---- the choice


def facts(x, w, dtype="f4", algorithm="auto", **options):
    x, w = (np.broadcast_to(np.zeros((), dtype), shape) for shape in (x, w))
    given = {"groups": 1, "stride": 1, "padding": 0, "dilation": 1, **options}
    return dispatch.facts_of(
        problems.convolution(
            "f", x, w, np.dtype(dtype), None, False, *given.values(), "constant", None, algorithm, False
        )
    )


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_batch_and_threads_make_no_difference(dtype):
    for name, (x, w, options) in PLACES.items():
        if name == "small_images":  # `small` runs few of them, with the same bits
            continue
        chosen = {choose.choose(*facts((n, *x[1:]), w, dtype, **options), 0, 1) for n in (1, 2, 16, 100)}
        assert len(chosen) == 1
    x, w = arrays((5, 64, 20, 20), (64, 64, 3, 3), dtype)
    whole = fastconv.correlate2d(x, w)
    for i in range(5):
        with fastconv.num_threads(1 + i % 2):
            np.testing.assert_array_equal(fastconv.correlate2d(x[i : i + 1], w)[0], whole[i])


def test_costs_grow_with_the_work():
    for name in PLACES:
        cost = choose.costs[place(name)]
        if name in ("small", "generic"):
            continue
        x, w, options = PLACES[name]
        sizes = [(1, x[1], *(s * k for s in x[2:])) for k in (1, 2, 4)]
        found = [cost(*facts(each, w, **options)) for each in sizes]
        assert 0 < found[0] < found[1] < found[2] < math.inf, name
        assert cost(*facts(x, w, "f8", **options)) > found[0]


def test_a_name_that_several_have_is_the_cheapest():
    planes = fastconv.explain(*arrays((1, 1, 200, 200), (1, 1, 15, 15)), algorithm="fft")
    assert planes.implementation == "fft_planes"
    tiles = fastconv.explain(*arrays((1, 32, 40, 40), (32, 32, 5, 5)), algorithm="fft")
    assert tiles.implementation == "fft_tiles"


def test_integers_are_always_direct():
    for name in ("winograd", "fft_tiles", "fft_planes"):
        x, w, options = PLACES[name]
        for dtype in ("i4", "?", "u1", "i8", "f2"):
            assert fastconv.explain(np.zeros(x, dtype), np.zeros(w, dtype), **options).algorithm == "direct"


# ---- what is told


def test_an_explanation_has_a_row_for_everything():
    found = fastconv.explain(*arrays((2, 64, 28, 28), (64, 64, 3, 3)), padding=1)
    names = [row.implementation for row in found.candidates]
    assert names == [*(family.name for family in choose.FAMILIES), "im2col"]
    for row in found.candidates:
        assert (row.refusal is None) or (row.microseconds is None and len(row.refusal) > 10)
    times = {row.implementation: row.microseconds for row in found.candidates if row.microseconds}
    assert min(times, key=times.get) == found.implementation == "winograd"
    assert found.reason == "predicted to take the least time"
    one = fastconv.explain(*arrays((1, 64, 28, 28), (64, 64, 3, 3)), padding=1)
    assert found.candidates[place("dense")].microseconds == 2 * one.candidates[place("dense")].microseconds


def test_an_explanation_prints_as_a_table():
    lines = str(fastconv.explain(*arrays((1, 64, 28, 28), (64, 64, 3, 3)), padding=1)).splitlines()
    assert lines[0].split() == ["implementation", "algorithm", "predicted", "refused"]
    assert [line[0] for line in lines[1:-1]].count("*") == 1
    (chosen,) = [line for line in lines if line.startswith("*")]
    assert chosen.split()[1:3] == ["winograd", "winograd"]
    assert chosen.endswith("us")
    assert lines[-1] == "winograd runs it: predicted to take the least time"


def test_an_explanation_follows_what_is_asked_for():
    x, w = arrays((1, 64, 28, 28), (64, 64, 3, 3))
    for algorithm in ("direct", "winograd", "fft", "im2col"):
        found = fastconv.explain(x, w, algorithm=algorithm)
        assert found.algorithm == algorithm
        others = [row for row in found.candidates if row.algorithm != algorithm]
        assert all(row.refusal == f"it is for algorithm {row.algorithm!r}" for row in others)
    assert fastconv.explain(x, w, operation="convolve", dtype="f8").implementation == "winograd"
    assert fastconv.explain(x.astype("i4"), w.astype("i4")).reason.startswith("predicted to take")
    tiny, four = arrays((1, 1, 4, 4), (1, 1, 2, 2)), arrays((1, 1, 3, 3, 3, 3), (1, 1, 2, 2, 2, 2))
    assert fastconv.explain(*tiny).reason == "it runs all calls that are as small"
    assert fastconv.explain(*four).reason == "no other can do it"


def test_an_explanation_refuses_what_a_call_would():
    x, w = arrays((1, 64, 28, 28), (64, 64, 3, 3))
    with pytest.raises(ValueError, match=r"explain\(\): operation is 'conv', expected"):
        fastconv.explain(x, w, operation="conv")
    with pytest.raises(ValueError, match=r"explain\(\).*padding"):
        fastconv.explain(x, w, padding=1, padding_mode=1)
    with pytest.raises(ValueError, match=r"explain\(\): algorithm is 'winograd', which cannot do .*winograd: "):
        fastconv.explain(x, w, stride=2, algorithm="winograd")
    with pytest.raises(ValueError, match=r"explain\(\).*channels"):
        fastconv.explain(x[:, :3], w)


def test_rows_are_named_tuples():
    assert algorithms.Candidate._fields == ("implementation", "algorithm", "microseconds", "refusal")
    assert algorithms.Explanation._fields == ("implementation", "algorithm", "reason", "candidates")
