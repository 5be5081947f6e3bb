"""`scipy.signal`'s functions in compiled code: SciPy's results, within the rounding of sums."""

import itertools
from importlib.metadata import entry_points

import numba
import numpy as np
import oracle
import pytest
from cases import slow, values
from subprocesses import run_python

import fastconv
from fastconv import extending

signal = pytest.importorskip("scipy.signal")

if not any(point.value == "fastconv.extending:init" for point in entry_points(group="numba_extensions")):
    extending.init()

SHAPES = [
    ((7, 6, 5), (3, 2, 4)),
    ((3, 2, 4), (7, 6, 5)),
    ((5, 5, 5), (5, 5, 5)),
    ((4, 6, 5), (2, 4, 1)),
    ((6, 3, 5), (2, 7, 1)),
]


def compiled(name, **options):
    """A user's function that calls one of SciPy's with constants."""
    texts = ", ".join(["a", "b", *(f"{key}={value!r}" for key, value in options.items())])
    scope = {"signal": signal}
    exec(f"def user(a, b): return signal.{name}({texts})", scope)
    return numba.njit(scope["user"])


def check(got, want, a, b):
    assert got.shape == want.shape
    assert got.dtype == want.dtype
    if want.dtype.kind in "iu":
        np.testing.assert_array_equal(got, want)
        return
    magnitude = max(np.abs(a).max(), 1) * max(np.abs(b).max(), 1)
    bound = oracle.rounding_bound(2 * min(a.size, b.size), np.asarray(magnitude * min(a.size, b.size)), want.dtype)
    np.testing.assert_allclose(got, want, rtol=0, atol=float(bound))


@pytest.mark.parametrize("name", ["convolve", "correlate", "convolve2d", "correlate2d"])
@pytest.mark.parametrize(
    "mode, dtypes",
    [
        *itertools.product(["full", "same", "valid"], ["f8 f8"]),
        ("same", "f4 i2"),
        *map(slow, itertools.product(["full", "same", "valid"], ["c16 c16", "f8 c16"])),
        *map(slow, [("full", "f4 c8"), ("full", "f4 i2"), ("valid", "f4 i2")]),
    ],
)
def test_modes(name, mode, dtypes):
    function = compiled(name, mode=mode)
    for rank in (1, 2, 3) if dtypes == "f8 f8" and name in ("convolve", "correlate") else (2,):
        for shapes in SHAPES:
            a, b = (values(s[:rank], t, i) for i, (s, t) in enumerate(zip(shapes, dtypes.split(), strict=True)))
            a, b = (v % 9 if v.dtype.kind == "i" else v for v in (a, b))
            options = {} if name.endswith("2d") else {"method": "direct"}
            try:
                want = getattr(signal, name)(a, b, mode=mode, **options)
            except ValueError as error:
                with pytest.raises(ValueError, match=str(error)):
                    function(a, b)
            else:
                check(function(a, b), want, a, b)


@pytest.mark.parametrize("name", ["convolve2d", "correlate2d"])
@pytest.mark.parametrize(
    "mode, boundary",
    [
        *itertools.product(["full"], ["fill", "wrap", "symm"]),
        ("same", "symmetric"),
        ("valid", "circular"),
        ("valid", "pad"),
        *map(slow, itertools.product(["same", "valid"], ["fill", "wrap", "symm"])),
        *map(slow, itertools.product(["full"], ["circular", "symmetric", "pad"])),
        *map(slow, [("same", "circular"), ("same", "pad"), ("valid", "symmetric")]),
    ],
)
def test_boundaries(name, boundary, mode):
    options = {"mode": mode, "boundary": boundary, "fillvalue": 3}
    function = compiled(name, **options)
    for shapes in (((9, 8), (3, 4)), ((8, 9), (1, 5)), ((5, 6), (5, 6))):
        a, b = (values(shape, "f8", i) for i, shape in enumerate(shapes))
        check(function(a, b), getattr(signal, name)(a, b, **options), 3 * a, b)


def test_a_short_sequence_over_a_long_one_takes_no_longer_than_the_other_way_round():
    a, b = values((5,), "f8"), values((200_000,), "f8", 1)
    check(compiled("correlate")(a, b), signal.correlate(a, b, method="direct"), a, b)
    check(compiled("convolve")(a, b), signal.convolve(a, b, method="direct"), a, b)


@pytest.mark.parametrize(
    "name, options, words",
    [
        ("convolve", {"mode": "sam"}, "mode is 'sam', expected one of 'full', 'valid', 'same'"),
        ("correlate", {"method": "fft"}, "method is 'fft', expected one of 'auto', 'direct'"),
        ("convolve2d", {"boundary": "edge"}, "boundary is 'edge', expected one of 'fill'"),
    ],
)
def test_what_is_not_offered(name, options, words):
    with pytest.raises(numba.TypingError, match=words):
        compiled(name, **options)(np.ones((3, 3)), np.ones((2, 2)))


def test_what_does_not_fit():
    with pytest.raises(numba.TypingError, match="in1 and in2 have 2 and 1 dimensions, expected 1 to 3 of both"):
        compiled("convolve")(np.ones((3, 3)), np.ones(2))
    with pytest.raises(numba.TypingError, match="in1 has 1 dimensions, expected 2"):
        compiled("convolve2d")(np.ones(3), np.ones((2, 2)))
    with pytest.raises(ValueError, match="in1 or in2 is empty, expected at least one element"):
        compiled("convolve")(np.ones(0), np.ones(2))


LATE = """
import sys, numba, numpy as np
{tell}
assert numba.njit(lambda a: a + 1)(1) == 2  # Numba looks for extensions here
assert "scipy.signal" not in sys.modules
loaded = {{name for name in sys.modules if name.startswith("fastconv.")}}
light = "extending", "limits", "sources", "kernels", "kernels.sources"
assert loaded == {{f"fastconv.{{name}}" for name in light}}, loaded
from scipy.signal import convolve2d, correlate
both = numba.njit(lambda a, b: (convolve2d(a, b), correlate(a, b)))
a, b = np.arange(12.0).reshape(3, 4), np.ones((2, 2))
np.testing.assert_allclose(both(a, b), (convolve2d(a, b), correlate(a, b)))
"""


def test_scipy_imported_after_numba_asked_for_extensions():
    known = any(point.value == "fastconv.extending:init" for point in entry_points(group="numba_extensions"))
    code = LATE.format(tell="" if known else "from fastconv.extending import init; init()")
    run_python(code)


def test_a_direct_method_takes_no_transform():
    @numba.njit
    def call(x, w):
        return signal.convolve(x, w, "valid", "direct"), signal.convolve(x, w, "valid", "auto")

    x, w = values((30_000,), "f4"), values((900,), "f4", 1)
    direct, auto = call(x, w)
    expected = fastconv.convolve1d(x[None, None], w[None, None], algorithm="direct")[0, 0]
    np.testing.assert_array_equal(direct, expected)
    assert not np.array_equal(auto, direct)
