"""A wrong kernel fails: each mistake that such code is prone to, put in the package's place, has to be noticed."""

import numpy as np
import oracle
import pytest
from cases import check_convolution, check_windows, values

import fastconv


def rounded(expected):
    """An oracle's answer as a result; adding zero makes it contiguous."""
    with np.errstate(over="ignore"):
        return expected.value.astype(oracle.accumulator(expected.dtype)).astype(expected.dtype)


def right(operation):
    return lambda x, w, **options: rounded(getattr(oracle, operation)(x, w, **options))


def shifted_tap(x, w, **options):
    return rounded(oracle.correlate(x, np.roll(w, 1, axis=-1), **options))


def last_tap_missing(x, w, **options):
    w = w.copy()
    w[..., -1, -1] = 0
    return rounded(oracle.correlate(x, w, **options))


def last_channel_missing(x, w, **options):
    w = w.copy()
    w[:, -1] = 0
    return rounded(oracle.correlate(x, w, **options))


def swapped(option):
    def wrong(x, w, **options):
        return rounded(oracle.correlate(x, w, **{**options, option: options[option][::-1]}))

    return wrong


def swapped_ends(x, w, **options):
    pads = tuple(pair[::-1] for pair in options.pop("padding_mode"))
    return rounded(oracle.correlate(x, w, padding_mode=pads, **options))


def interleaved_groups(x, w, **options):
    good = rounded(oracle.correlate(x, w, **options))
    n, o, *spatial = good.shape
    return np.ascontiguousarray(good.reshape(n, options["groups"], -1, *spatial).swapaxes(1, 2)).reshape(good.shape)


def without(option):
    return lambda x, w, **options: rounded(oracle.correlate(x, w, **{k: v for k, v in options.items() if k != option}))


def other_boundary(x, w, **options):
    return rounded(oracle.correlate(x, w, **{**options, "boundary": "symmetric"}))


def last_row_stale(x, w, **options):
    good = rounded(oracle.correlate(x, w, **options))
    good[..., -1, :] = 0
    return good


def one_element(x, w, **options):
    good = rounded(oracle.correlate(x, w, **options))
    good.flat[-1] += 1
    return good


def writes_its_input(x, w, **options):
    good = rounded(oracle.correlate(x, w, **options))
    x.flat[0] += 1
    return good


def other_dtype(x, w, **options):
    return rounded(oracle.correlate(x, w, **options)).astype(np.float64)


def strided_result(x, w, **options):
    return np.asfortranarray(rounded(oracle.correlate(x, w, **options)))


def conjugated(x, w, **options):
    return rounded(oracle.correlate(x, w.conj(), **options))


def accumulated_in(narrow):
    """One tap after the other, in arithmetic of too few digits."""

    def wrong(x, w, **options):
        total = rounded(oracle.correlate(x, np.zeros_like(w))).astype(narrow)
        for o, c, i, j in np.ndindex(*w.shape):
            rows, columns = total.shape[2:]
            total[:, o] += x[:, c, i : i + rows, j : j + columns].astype(narrow) * w[o, c, i, j].astype(narrow)
        return total.astype(x.dtype)

    return wrong


def saturated(x, w, **options):
    total = oracle.correlate(x.astype(np.int64), w.astype(np.int64), **options).value
    info = np.iinfo(x.dtype)
    return total.clip(info.min, info.max).astype(x.dtype)


def not_a_number_lost(x, w, **options):
    return np.nan_to_num(rounded(oracle.correlate(x, w, **options)))


MISTAKES = {
    "shifted tap": (shifted_tap, "f4", {}),
    "last tap missing": (last_tap_missing, "f4", {}),
    "last channel missing": (last_channel_missing, "f4", {}),
    "swapped strides": (swapped("stride"), "f4", {"stride": (1, 2), "padding_mode": 2}),
    "swapped dilation": (swapped("dilation"), "f4", {"dilation": (1, 2), "padding_mode": 2}),
    "swapped padding": (swapped("padding_mode"), "f4", {"padding_mode": (0, 1)}),
    "swapped ends": (swapped_ends, "f4", {"padding_mode": ((1, 0), (0, 1))}),
    "interleaved groups": (interleaved_groups, "f4", {"groups": 2}),
    "bias left out": (without("bias"), "f4", {"bias": np.ones(4, "f4")}),
    "fill value left out": (without("fillvalue"), "f4", {"fillvalue": 0.01, "padding_mode": 1}),
    "activation left out": (without("activation"), "f4", {"activation": "tanh"}),
    "other boundary": (other_boundary, "f4", {"boundary": "reflect", "padding_mode": 1}),
    "last row stale": (last_row_stale, "f4", {}),
    "one element off by one": (one_element, "i8", {}),
    "written input": (writes_its_input, "f4", {}),
    "other dtype": (other_dtype, "f4", {}),
    "strided result": (strided_result, "f4", {}),
    "conjugated": (conjugated, "c8", {}),
    "float16 accumulation": (accumulated_in(np.float16), "f2", {}),
    "float32 accumulation": (accumulated_in(np.float32), "f8", {}),
    "saturation": (saturated, "i1", {}),
    "NaN lost": (not_a_number_lost, "f4", {"fillvalue": np.nan, "padding_mode": 1}),
}


def problem(dtype, options):
    x = values((2, 4, 7, 7), dtype)
    return x, values((4, 4 // options.get("groups", 1), 3, 3), dtype, 1)


@pytest.mark.parametrize("name", MISTAKES)
def test_a_wrong_convolution_is_noticed(monkeypatch, name):
    wrong, dtype, options = MISTAKES[name]
    x, w = problem(dtype, options)
    monkeypatch.setattr(fastconv, "correlate2d", right("correlate"), raising=False)
    check_convolution("correlate", x, w, **options)
    monkeypatch.setattr(fastconv, "correlate2d", wrong)
    with pytest.raises(AssertionError):
        check_convolution("correlate", x, w, **options)


@pytest.mark.parametrize("kernel", [(3, 3), (2, 2)])
def test_a_missing_flip_is_noticed(monkeypatch, kernel):
    x, w = values((1, 2, 6, 6), "f4"), values((2, 2, *kernel), "f4", 1)
    monkeypatch.setattr(fastconv, "convolve2d", right("convolve"), raising=False)
    check_convolution("convolve", x, w)
    monkeypatch.setattr(fastconv, "convolve2d", right("correlate"))
    with pytest.raises(AssertionError):
        check_convolution("convolve", x, w)


def test_the_odd_element_of_same_on_the_wrong_side_is_noticed(monkeypatch):
    x, w = values((1, 1, 6, 6), "f4"), values((1, 1, 2, 2), "f4", 1)

    def wrong(x, w, padding_mode):
        return rounded(oracle.correlate(x, w[..., ::-1, ::-1], padding_mode=padding_mode))

    monkeypatch.setattr(fastconv, "convolve2d", wrong, raising=False)
    with pytest.raises(AssertionError):
        check_convolution("convolve", x, w, padding_mode="same")


def right_pool(pick, return_indices):
    return pick if return_indices else pick[0]


def last_of_equals(x, kernel, return_indices=False, **options):
    best, indices = oracle.max_pool(x[..., ::-1], kernel, **options)
    return right_pool((best[..., ::-1].copy(), x.shape[-1] - 1 - indices[..., ::-1]), return_indices)


def ignores_nan(x, kernel, return_indices=False, **options):
    return right_pool(oracle.max_pool(np.nan_to_num(x, nan=-np.inf), kernel, **options), return_indices)


def pads_with_zero(x, kernel, return_indices=False, **options):
    best, indices = oracle.max_pool(x, kernel, **options)
    return right_pool((np.maximum(best, 0), indices), return_indices)


POOL_MISTAKES = {
    "last of equals": (last_of_equals, np.ones((1, 1, 6)), {}),
    "NaN ignored": (ignores_nan, np.array([[[1.0, np.nan, 2, 3, 4, 5]]]), {}),
    "padding is zero": (pads_with_zero, -np.ones((1, 1, 6)), {"padding_spec": 1}),
}


@pytest.mark.parametrize("name", POOL_MISTAKES)
def test_a_wrong_max_pool_is_noticed(monkeypatch, name):
    wrong, x, options = POOL_MISTAKES[name]

    def good(x, kernel, return_indices=False, **options):
        return right_pool(oracle.max_pool(x, kernel, **options), return_indices)

    monkeypatch.setattr(fastconv, "max_pool1d", good, raising=False)
    check_windows("max_pool1d", x, 2, **options)
    monkeypatch.setattr(fastconv, "max_pool1d", wrong)
    with pytest.raises(AssertionError):
        check_windows("max_pool1d", x, 2, **options)


def test_a_wrong_divisor_is_noticed(monkeypatch):
    x = values((1, 1, 7), "f4")

    def wrong(x, kernel, padding_spec, count_include_pad):
        return rounded(oracle.avg_pool(x, kernel, padding_spec=padding_spec))

    monkeypatch.setattr(fastconv, "avg_pool1d", wrong, raising=False)
    check_windows("avg_pool1d", x, 3, padding_spec=1, count_include_pad=True)
    with pytest.raises(AssertionError):
        check_windows("avg_pool1d", x, 3, padding_spec=1, count_include_pad=False)
