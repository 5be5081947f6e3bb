"""Inputs for tests: values by dtype, views by memory layout, and calls that are checked against the oracle."""

import numpy as np
import oracle
import pytest

import fastconv

# One dtype for each way to compute: real in each width, complex, integers. Tests take longest to compile, so that the
# others are left to the slow ones, but for convolutions of halves, which some tests ask for by name.
REPRESENTATIVE = {np.dtype(name) for name in ("f4", "f8", "c8", "u1")}

# What does every call, with a bound of the error for each output.
ALGORITHMS = "auto", "direct", "im2col"

RANK_NAMES = {1: "1d", 2: "2d", 3: "3d"}


def representative(cases, dtype_of=np.dtype):
    """Cases to parametrize with: where the dtype of a case is not representative, the case is slow."""
    return [case if np.dtype(dtype_of(case)) in REPRESENTATIVE else slow(case) for case in cases]


def slow(case):
    return pytest.param(*case if isinstance(case, tuple) else (case,), marks=pytest.mark.slow)


def rng(*seed):
    return np.random.default_rng([20240229, *seed])


def values(shape, dtype, seed=0):
    """Full-range integers (products must wrap), normal floats."""
    dtype = np.dtype(dtype)
    random = rng(seed, *np.atleast_1d(shape))
    native = dtype.newbyteorder("=")
    if native == np.bool_:
        return random.random(shape) < 0.3
    if native in oracle.INTEGERS:
        info = np.iinfo(native)
        return random.integers(info.min, info.max, shape, dtype=native, endpoint=True).astype(dtype)
    if native in oracle.COMPLEX:
        return (random.standard_normal(shape) + 1j * random.standard_normal(shape)).astype(dtype)
    return random.standard_normal(shape).astype(dtype)


def ties(shape, dtype, seed=0):
    """Values of which many are equal, so that the first of equals is told from the last."""
    random = rng(seed, 1, *np.atleast_1d(shape))
    return random.integers(0, 3, shape).astype(dtype)


def noise(shape, dtype="f4", seed=0):
    """Normal random numbers, of which no sum is exact."""
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def poison(shape, dtype):
    """What lies between the elements of a strided view: a value that spoils every result that it enters."""
    dtype = np.dtype(dtype)
    if dtype.newbyteorder("=") in (*oracle.INTEGERS, np.dtype(np.bool_)):
        return np.ones(shape, dtype) if dtype == np.bool_ else np.full(shape, 77, dtype)
    return np.full(shape, np.nan, dtype)


def _between(a, step, offset):
    """A view of ``a``'s values inside a larger array: every ``|step|``-th element of each axis, backwards if < 0."""
    store = poison([n * abs(step) + 2 * offset for n in a.shape], a.dtype)
    cut = slice(offset, None, abs(step)) if offset else slice(None, None, abs(step))
    view = store[(cut,) * a.ndim][tuple(slice(0, n) for n in a.shape)]
    if step < 0:
        view = np.flip(view)
    view[...] = a
    return view


def unaligned(a):
    raw = np.zeros(a.nbytes + 1, np.uint8)
    view = raw[1:].view(a.dtype).reshape(a.shape)
    view[...] = a
    return view


def channels_last(a):
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 1, -1)), -1, 1)


LAYOUTS = {
    "contiguous": lambda a: a,
    "fortran": np.asfortranarray,
    "channels_last": channels_last,
    "stepped": lambda a: _between(a, 2, 1),
    "offset": lambda a: _between(a, 1, 1),
    "reversed": lambda a: _between(a, -1, 0),
    "reversed_stepped": lambda a: _between(a, -3, 1),
    "swapped_axes": lambda a: np.ascontiguousarray(a.swapaxes(-1, -2)).swapaxes(-1, -2),
    "unaligned": unaligned,
    "byteswapped": lambda a: a.astype(a.dtype.newbyteorder(">")),
}
# What an output may look like: the dtype has to stay.
OUT_LAYOUTS = [name for name in LAYOUTS if name != "byteswapped"]


def call_convolution(operation, x, w, **options):
    """Through the name for the rank, or ``_nd`` where there is none."""
    rank = np.ndim(w) - 2
    return getattr(fastconv, f"{operation}{RANK_NAMES.get(rank, '_nd')}")(x, w, **options)


def check_convolution(operation, x, w, **options):
    """Call it, hold the result against the oracle's, and see that no input changed. ``algorithm`` and ``out`` are the
    package's business and not handed to the oracle."""
    inputs = [a for a in (x, w, options.get("bias")) if isinstance(a, np.ndarray)]
    before = [a.copy() for a in inputs]
    got = call_convolution(operation, x, w, **options)
    expected_options = {k: v for k, v in options.items() if k not in ("algorithm", "out")}
    note = f"{operation}(x {np.shape(x)}, w {np.shape(w)}, {options if 'out' not in options else expected_options})"
    expected = getattr(oracle, operation)(x, w, **expected_options)
    oracle.check(got, expected, note)
    if options.get("out") is None:
        assert got.flags.c_contiguous, f"{note}: a new result is contiguous"
    else:
        assert got is options["out"], f"{note}: out is what is returned"
    if options.get("algorithm", "auto") in ("auto", "direct") and got.size:
        check_others(operation, np.asarray(x), np.asarray(w), expected, options)
    for a, b in zip(inputs, before, strict=True):
        oracle.assert_same(a, b, f"{note}: an input has changed")
    return got


OPTIONS = {"groups": 1, "stride": 1, "padding_mode": "valid", "dilation": 1, "boundary": "constant", "activation": None}


def prepare_by(family, operation, x, w, *, algorithm="auto", has_bias=False, **options):
    """What runs a call by one family, whatever others would: it, the shape of the result, and its dtype."""
    from fastconv import conv  # not before guarded.py has replaced what it takes from NumPy

    assert options.keys() <= OPTIONS.keys()
    given = x, w, *(OPTIONS | options).values(), algorithm, has_bias
    run, shape, dtype, _ = conv.prepare_call(f"{operation}_nd", None, operation == "convolve", *given, only=family)
    return run, shape, dtype


def run_by(family, x, w, bias=None, **options):
    """The correlation that a family makes, whatever others would."""
    run, shape, dtype = prepare_by(family, "correlate", x, w, has_bias=bias is not None, **options)
    out = poison(shape, dtype)
    run(x, w, bias, np.zeros(1, dtype), out)
    return out


def check_others(operation, x, w, expected, options):
    """Whatever runs a call, all other families of direct sums that take it must agree."""
    from fastconv.kernels.convolution.choose import FAMILIES, choose, refusals
    from fastconv.kernels.shapes import ALGORITHMS

    from fastconv.dispatch import facts_of
    from fastconv.problem import as_bias, as_fill, common_dtype, convolution

    name = f"{operation}{RANK_NAMES.get(w.ndim - 2, '_nd')}"
    named = {key: options.get(key, default) for key, default in OPTIONS.items()}
    bias, dtype = options.get("bias"), common_dtype(name, x=x, w=w)
    given = name, x, w, dtype, w.ndim - 2, operation == "convolve", *named.values(), "direct", bias is not None
    facts = facts_of(convolution(*given))
    asked = ALGORITHMS.index("direct")
    chosen = FAMILIES[choose(*facts, asked, 0)].name
    bias = None if bias is None else as_bias(name, bias, w.shape[0], dtype)
    for family, refuses in zip(FAMILIES, refusals, strict=True):
        if family.name in (chosen, "generic") or refuses(*facts, asked):
            continue
        run, *_ = prepare_by(family.name, operation, x, w, algorithm="direct", has_bias=bias is not None, **named)
        out = poison(expected.value.shape, expected.dtype)
        run(x, w, bias, as_fill(name, options.get("fillvalue", 0), dtype), out)
        oracle.check(out, expected, f"{family.name}: {name}(x {x.shape}, w {w.shape}, {options})")


def _oracle_of(name):
    return getattr(oracle, name[:-2] if name[-2:] in ("1d", "2d", "3d") else name)


def check_windows(name, x, *sizes, **options):
    """The same for pools, patches and filters; the pools that can are asked for indices as well."""
    before = x.copy() if isinstance(x, np.ndarray) else None
    note = f"{name}({np.asarray(x).dtype} {np.shape(x)}, {', '.join(map(str, sizes))}, {options})"
    expected = _oracle_of(name)(x, *sizes, **options)
    got = getattr(fastconv, name)(x, *sizes, **options)
    if name.startswith(("max_pool", "min_pool")):
        expected, expected_indices = expected
        again, indices = getattr(fastconv, name)(x, *sizes, return_indices=True, **options)
        oracle.check(indices, oracle.expect_equal(expected_indices), f"indices of {note}")
        oracle.check(again, oracle.expect_equal(expected), f"values beside indices of {note}")
    if not isinstance(expected, oracle.Expected):
        expected = oracle.expect_equal(expected)
    oracle.check(got, expected, note)
    assert got.flags.c_contiguous, f"{note}: a new result is contiguous"
    if before is not None:
        oracle.assert_same(x, before, f"{note}: an input has changed")
    return got
