"""`fastconv.numpy` against NumPy itself."""

import numpy as np
import oracle
import pytest
from cases import representative, values
from hypothesis import given
from hypothesis import strategies as st

import fastconv.numpy as fnp

DTYPES = ["f2", "f4", "f8", "c8", "c16", "i1", "i2", "u1", "u2", "i8", "?"]


def expect(name, a, v, mode):
    """What NumPy says in a wider type, with the dtype that it has for these arrays."""
    expected, bound = getattr(np, name)(a, v, mode), None
    dtype = expected.dtype
    if oracle.is_inexact(dtype):
        a, v = (np.asarray(array).astype(dtype).astype(oracle.wide(dtype)) for array in (a, v))
        expected, magnitude = getattr(np, name)(a, v, mode), getattr(np, name)(abs(a), abs(v), mode)
        bound = oracle.rounding_bound(min(len(a), len(v)), magnitude, dtype)
    return oracle.Expected(expected, bound, dtype)


def check(name, a, v, mode):
    oracle.check(getattr(fnp, name)(a, v, mode), expect(name, a, v, mode), f"{name}, {mode}, {len(a)} and {len(v)}")


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize("name", ["convolve", "correlate"])
@pytest.mark.parametrize("dtype", representative(DTYPES))
def test_every_dtype_and_mode(name, dtype, mode):
    for n, m in [(1, 1), (5, 1), (7, 2), (20, 5), (3, 8), (40, 40), (2, 31)]:
        check(name, values((n,), dtype), values((m,), dtype, 1), mode)


@given(st.integers(1, 60), st.integers(1, 60), st.sampled_from(["full", "same", "valid"]), st.booleans())
def test_any_lengths(n, m, mode, reverse):
    a, v = values((2 * n,), "f8")[:: -2 if reverse else 2], values((m,), "f8", 1)
    check("convolve", a, v, mode)
    check("correlate", a, v, mode)


@pytest.mark.parametrize("name", ["convolve", "correlate"])
def test_what_numpy_takes_is_taken(name):
    check(name, [1, 2, 3], [0, 1, 0.5], "full")
    check(name, values((9,), "f4"), values((3,), "i2"), "same")
    long = np.arange(5, dtype=np.longdouble) / 3
    np.testing.assert_array_equal(getattr(fnp, name)(long, long), getattr(np, name)(long, long))
    objects = np.array([1, 2, 10**30], dtype=object)
    np.testing.assert_array_equal(getattr(fnp, name)(objects, objects), getattr(np, name)(objects, objects))


def test_a_number_is_a_sequence_to_convolve_alone():
    np.testing.assert_array_equal(fnp.convolve(3, [1, 2]), np.convolve(3, [1, 2]))
    with pytest.raises(ValueError, match=r"correlate\(\): a has shape \(\), expected one dimension"):
        fnp.correlate(3, [1, 2])


def test_defaults_are_numpys():
    a, v = values((9,), "f8"), values((4,), "f8", 1)
    assert fnp.convolve(a, v).shape == np.convolve(a, v).shape == (12,)
    assert fnp.correlate(a, v).shape == np.correlate(a, v).shape == (6,)


def test_an_infinity_reaches_the_outputs_that_see_it():
    a = np.ones(50)
    a[20] = np.inf
    assert np.flatnonzero(~np.isfinite(fnp.convolve(a, np.ones(3)))).tolist() == [20, 21, 22]


@pytest.mark.parametrize("name", ["convolve", "correlate"])
def test_errors(name):
    f = getattr(fnp, name)
    with pytest.raises(ValueError, match=rf"{name}\(\): a is empty, expected at least one element"):
        f([], [1])
    with pytest.raises(ValueError, match=rf"{name}\(\): v is empty, expected at least one element"):
        f([1], [])
    with pytest.raises(ValueError, match=rf"{name}\(\): v has shape \(2, 2\), expected one dimension"):
        f([1], np.ones((2, 2)))
    with pytest.raises(ValueError, match=rf"{name}\(\): mode is 'most', expected one of 'full', 'same', 'valid'"):
        f([1], [1], "most")
    with pytest.raises(TypeError, match=rf"{name}\(\): mode is 1, expected one of"):
        f([1], [1], 1)
