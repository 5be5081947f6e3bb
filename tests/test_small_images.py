"""Images so small that `small` runs one: with others in a batch they have the same bits, whatever runs the batch."""

import itertools

import numpy as np
import oracle
import pytest
from cases import noise, prepare_by
from fastconv.kernels.convolution import dense, small
from fastconv.kernels.convolution.choose import FAMILIES
from fastconv.kernels.simd.vectors import MASKED
from hypothesis import event, given, settings
from hypothesis import strategies as st

import fastconv
from fastconv import dispatch
from fastconv import problem as problems

LAYERS = {  # x of an image, w, options
    "one": ((1, 4, 4), (1, 1, 3, 3), {}),
    "a signal": ((4, 13), (2, 4, 5), {}),
    "a box": ((3, 5), (6, 3, 1), {"padding_mode": 1}),
    "channels": ((2, 4, 7), (1, 2, 2, 3), {"padding_mode": 1, "dilation": (1, 2)}),
    "depthwise": ((8, 4, 5), (8, 1, 2, 2), {"groups": 8, "stride": (2, 1)}),
    "groups": ((2, 3, 4), (4, 1, 2, 2), {"groups": 2, "activation": "relu6", "padding_mode": ((2, 0), (0, 3))}),
    "many groups": ((16, 3, 4), (16, 1, 2, 2), {"groups": 16}),
}
pytestmark = pytest.mark.skipif(not MASKED, reason="small takes vectors with masks")


def operands(layer, batch, dtype, has_bias):
    x, w, options = LAYERS[layer]
    bias = noise(w[:1], dtype, 2) if has_bias else None
    return noise((batch, *x), dtype), noise(w, dtype, 1), bias, options


def alone(x, w, bias, **options):
    """Each image by `small`."""
    assert fastconv.explain(x[:1], w, bias=bias, **options).implementation == "small"
    return np.concatenate([fastconv.correlate_nd(x[n : n + 1], w, bias=bias, **options) for n in range(len(x))])


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("layer", LAYERS)
def test_all_families_that_add_in_order_have_the_bits_of_small(layer, dtype):
    for has_bias in (False, True):
        x, w, bias, options = operands(layer, 5, dtype, has_bias)
        expected = alone(x, w, bias, **options)
        oracle.check(expected, oracle.correlate(x, w, bias=bias, **options), layer)
        ran = []
        for family in FAMILIES:
            if not family.in_order:
                continue
            try:
                run, shape, _ = prepare_by(family.name, "correlate", x, w, has_bias=has_bias, **options)
            except ValueError:
                continue
            out = np.full(shape, np.nan, dtype)
            run(x, w, bias, np.zeros(1, dtype), out)
            assert out.tobytes() == expected.tobytes(), family.name
            ran.append(family.name)
        assert {"small_images", "dense"} <= set(ran)


@pytest.mark.parametrize("layer", LAYERS)
def test_any_batch_layout_and_number_of_threads_has_the_same_bits(layer):
    x, w, bias, options = operands(layer, 300, "f4", True)
    expected = fastconv.correlate_nd(x, w, bias=bias, **options)
    assert expected.tobytes() == alone(x, w, bias, **options).tobytes()
    for each in (x[:3], x[:40], np.asfortranarray(x), np.repeat(x, 2, axis=-1)[..., ::2]):
        assert fastconv.correlate_nd(each, w, bias=bias, **options).tobytes() == expected[: len(each)].tobytes()
    many = np.concatenate([x] * 40)
    with fastconv.num_threads(2):
        found = fastconv.correlate_nd(many, w, bias=bias, **options)
    assert found.tobytes() == expected.tobytes() * 40


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_batch_has_the_bits_of_each_image(data):
    """Around the size from which on an image is no longer small, too."""
    rank, groups = data.draw(st.integers(1, 2)), data.draw(st.sampled_from([1, 1, 2, 8]))
    channels, outputs = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 5))
    kernel = data.draw(st.lists(st.integers(1, 5), min_size=rank, max_size=rank))
    padding = [data.draw(st.integers(0, k)) for k in kernel]
    sizes = [data.draw(st.integers(max(k - 2 * p, 1), 12)) for k, p in zip(kernel, padding, strict=True)]
    x = noise((data.draw(st.integers(2, 30)), groups * channels, *sizes))
    w, bias = noise((groups * outputs, channels, *kernel), seed=1), noise(groups * outputs, seed=2)
    options = {"groups": groups, "padding_mode": padding, "bias": data.draw(st.sampled_from([None, bias]))}
    whole = fastconv.convolve_nd(x, w, **options)
    for first, end in itertools.pairwise([0, 1, len(x) // 2 + 1, len(x)]):
        part = fastconv.convolve_nd(x[first:end], w, **options)
        assert part.tobytes() == whole[first:end].tobytes()


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_dense_takes_all_that_small_takes(data):
    """Windows at the edge of what either takes, of which no memory is taken."""
    rank = data.draw(st.integers(1, 2))
    kernel = data.draw(st.lists(st.integers(1, 90), min_size=rank, max_size=rank))
    reach = [(k - 1) * data.draw(st.sampled_from([1, 2, 50, 120, 4000, 9000])) + 1 for k in kernel]
    dilation = [(r - 1) // (k - 1) if k > 1 else 1 for r, k in zip(reach, kernel, strict=True)]
    channels, dtype = data.draw(st.integers(0, 3)), np.dtype(data.draw(st.sampled_from(["f4", "f8", "u1", "i8"])))
    x = np.broadcast_to(np.zeros((), dtype), (1, channels, *(r + data.draw(st.integers(0, 9)) for r in reach)))
    w = np.broadcast_to(np.zeros((), dtype), (1, channels, *kernel))
    given = 1, 1, 0, dilation, "constant", None, "direct", False
    facts = dispatch.facts_of(problems.convolution("f", x, w, dtype, None, False, *given))
    event(f"small: {small.refuses_image(*facts)}, dense: {dense.refuses(*facts)}")
    assert small.refuses_image(*facts) or not dense.refuses(*facts)
