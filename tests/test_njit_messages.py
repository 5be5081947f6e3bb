"""Errors of compiled code that several threads raise at once: each has its own text, whole."""

from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
import pytest

import fastconv

THREADS, ERRORS = 5, 1500


@numba.njit(nogil=True)
def correlate(x, w):
    return fastconv.correlate2d(x, w)


@numba.njit(nogil=True)
def pool(x, size):
    return fastconv.max_pool2d(x, size)


def test_each_thread_reads_its_own_message():
    x = np.zeros((1, 1, 2, 2), "f4")
    kernels = [np.zeros((1, 1, 3 + i, 3 + i), "f4") for i in range(THREADS)]

    def refused(function, *arguments):
        try:
            function(*arguments)
        except ValueError as error:
            return str(error)
        raise AssertionError("not refused")

    def work(i):
        return {refused(correlate, x, kernels[i]) for _ in range(ERRORS)}, {
            refused(pool, x, 3 + i) for _ in range(ERRORS)
        }

    work(0)
    with ThreadPoolExecutor(THREADS) as threads:
        for i, (of_correlation, of_pool) in enumerate(threads.map(work, range(THREADS))):
            for texts in (of_correlation, of_pool):
                assert len(texts) == 1
                assert f"* (kernel {3 + i} - 1) + 1 = {3 + i} > 2" in texts.pop()


def test_a_long_message_is_cut():
    from fastconv.njit import linking

    place, words = linking.ctypes.create_string_buffer(b"x" * 2 * linking.TEXT_BYTES), np.zeros(linking.FRAME, np.int64)
    check = linking._check_frame
    try:
        linking._check_frame = lambda frame: {}["7" * 4000]
        linking._explain(words.ctypes.data, linking.ctypes.addressof(place))
    finally:
        linking._check_frame = check
    assert words[linking.AT.message] == linking.ctypes.addressof(place)
    assert len(place.value) == linking.TEXT_BYTES - 1
    assert place.raw[linking.TEXT_BYTES :] == b"x" * linking.TEXT_BYTES + b"\0"


def test_all_that_is_wrong_is_told():
    words = (
        r"x has 2 dimensions, expected 4 dimensions \(N, C, H, W\): write x\[None, None\]; w has 3 dimensions, "
        r"expected 4 dimensions \(O, I, H, W\): write w\[None\] for one output channel, w\[:, None\] for one input"
    )
    with pytest.raises(numba.TypingError, match=words):
        correlate(np.ones((2, 3)), np.ones((2, 3, 3)))
    with pytest.raises(numba.TypingError, match=r"x has 3 dimensions, .*: write x\[None\] for one image, x\[:, None\]"):
        pool(np.ones((2, 3, 3)), 2)

    @numba.njit
    def with_bias(x, w, bias, out):
        return fastconv.correlate2d(x, w, bias=bias, out=out)

    x, w, bias = np.ones((1, 2, 4, 4)), np.ones((3, 2, 5, 6)), np.ones(2)
    tallness = "the kernel is larger than the padded input on spatial axis 0: dilation 1 * (kernel 5 - 1) + 1 = 5 > 4"
    with pytest.raises(ValueError) as caught:
        with_bias(x, w, bias, np.ones((1, 1, 1, 1)))
    text = str(caught.value)
    assert tallness in text and "on spatial axis 1: dilation 1 * (kernel 6 - 1)" in text
    assert text.endswith("; bias has shape (2,), expected (3,), one for each output channel")
    with pytest.raises(
        ValueError, match=r"bias has shape \(2,\).*; out has shape \(1, 1, 1, 1\), expected \(1, 3, 2, 2\)"
    ):
        with_bias(x, w[..., :3, :3], bias, np.ones((1, 1, 1, 1)))
