"""What type checkers say of results; `make check` runs mypy over this file, and no line of it is ever executed."""

from typing import Any, assert_type

import numpy as np
from numpy.typing import NDArray

import fastconv
import fastconv.numpy as fnp

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Complex = NDArray[np.complex64]
Bytes = NDArray[np.int8]
Indices = NDArray[np.int64]


def convolutions(x: Floats, w: Floats, d: Doubles, z: Complex, i: Indices, u: NDArray[np.uint64]) -> None:
    assert_type(fastconv.correlate1d(x, w), Floats)
    assert_type(fastconv.correlate2d(d, d, stride=(2, 1), padding_mode="same", dilation=np.array([1, 2])), Doubles)
    assert_type(fastconv.correlate3d(i, i, padding_mode=((0, 1), 2, [3, 4]), fillvalue=-1), Indices)
    assert_type(fastconv.correlate2d(x, x, padding=(1, (0, 2)), out=d), Doubles)
    assert_type(fastconv.correlate_nd(x, w, boundary=("edge", "wrap"), activation="relu", algorithm="im2col"), Floats)
    assert_type(fastconv.convolve1d(x > 0, w > 0, groups=np.int64(2)), NDArray[np.bool])
    assert_type(fastconv.convolve2d(x, w, bias=[1.0, 2.0], fillvalue=np.float32(3)), Floats)
    assert_type(fastconv.convolve3d(z, z), Complex)
    assert_type(fastconv.convolve_nd(x, w, stride=[1, 2]), Floats)
    # What promotes may become a third type: uint64 and int64 give float64.
    assert_type(fastconv.correlate2d(x, d), NDArray[Any])
    assert_type(fastconv.correlate2d(u, i), NDArray[Any])
    assert_type(fastconv.correlate1d([[[1.0, 2.0]]], [[[1]]]), NDArray[Any])
    assert_type(fastconv.correlate1d(x, [[[1]]]), NDArray[Any])
    assert_type(fastconv.correlate2d(x, d, out=d), Doubles)
    assert_type(fastconv.correlate2d(x, [[[[1]]]], out=x), Floats)
    assert_type(fastconv.correlate2d(u, x, dtype=np.float64), Doubles)
    assert_type(fastconv.correlate2d(x, x, dtype=d.dtype), Doubles)
    assert_type(fastconv.correlate2d(x, x, dtype="float64"), NDArray[Any])
    assert_type(fastconv.correlate2d(u, x, dtype=np.float64, out=d), Doubles)


def pools(x: Floats, i: Bytes, z: Complex, indexed: bool) -> None:
    assert_type(fastconv.avg_pool1d(x, 2, count_include_pad=False), Floats)
    assert_type(fastconv.avg_pool2d(z, (2, 3), stride=1, padding_spec="full"), Complex)
    assert_type(fastconv.avg_pool3d(i, [2, 2, 2], ceil_mode=True), Doubles)
    assert_type(fastconv.avg_pool1d(x > 0, 2), Doubles)
    assert_type(fastconv.avg_pool1d([[[1, 2]]], 2), NDArray[Any])
    assert_type(fastconv.avg_pool1d(i, 2, dtype=np.float32), Floats)
    assert_type(fastconv.avg_pool1d(i, 2, dtype="float32"), NDArray[Any])
    assert_type(fastconv.max_pool1d(x, 2, padding_spec=1), Floats)
    assert_type(fastconv.max_pool1d(i, 2, dtype=np.float32), Floats)
    assert_type(fastconv.max_pool1d(i, 2, dtype=np.float32, return_indices=True), tuple[Floats, Indices])
    assert_type(fastconv.max_pool1d(x, 2, padding="same"), Floats)
    assert_type(fastconv.max_pool2d(i, 2, return_indices=False), Bytes)
    assert_type(fastconv.max_pool3d(x, 2, return_indices=True), tuple[Floats, Indices])
    assert_type(fastconv.min_pool1d(x > 0, 2, dilation=2), NDArray[np.bool])
    assert_type(fastconv.min_pool2d([[[[1, 2]]]], (1, 2)), NDArray[Any])
    assert_type(fastconv.min_pool3d([[[[[1, 2]]]]], (1, 1, 2), return_indices=True), tuple[NDArray[Any], Indices])
    assert_type(fastconv.min_pool2d(x, 2, return_indices=indexed), NDArray[Any] | tuple[NDArray[Any], Indices])
    values, indices = fastconv.max_pool2d(x, 2, return_indices=True)
    assert_type(fastconv.max_unpool1d(values, indices, 2, output_size=(4,)), Floats)
    assert_type(fastconv.max_unpool2d(values, indices, 2, stride=None), Floats)
    assert_type(fastconv.max_unpool3d([[[[[1]]]]], [[[[[0]]]]], 1), NDArray[Any])
    assert_type(fastconv.maximum_filter(x, (3, 3)), Floats)
    assert_type(fastconv.minimum_filter(i, (3,), stride=1), Bytes)
    assert_type(fastconv.uniform_filter(x, [3, 3]), Floats)
    assert_type(fastconv.uniform_filter(i, (3, 3)), Doubles)
    assert_type(fastconv.uniform_filter([1, 2, 3], (3,)), NDArray[Any])


def patches(x: Floats, i: Bytes) -> None:
    assert_type(fastconv.extract_patches(x, (3, 3), stride=2, padding="same"), Floats)
    assert_type(fastconv.combine_patches(i, (4, 4), (3, 3)), Bytes)
    assert_type(fastconv.im2col(x, 3, dilation=2), Floats)
    assert_type(fastconv.col2im(x, (4, 4), (3, 3), padding=((1, 0), 1)), Floats)
    assert_type(fastconv.extract_patches([1, 2, 3], (2,)), NDArray[Any])
    assert_type(fastconv.im2col([[[1, 2, 3]]], 2), NDArray[Any])


def sequences(x: Floats, d: Doubles) -> None:
    assert_type(fnp.convolve(x, x), Floats)
    assert_type(fnp.correlate(d, d, "full"), Doubles)
    assert_type(fnp.convolve(x, d, mode="same"), NDArray[Any])
    assert_type(fnp.correlate([1, 2, 3], [0, 1, 0.5]), NDArray[Any])


def the_rest() -> None:
    assert_type(fastconv.__version__, str)
    assert_type(fastconv.get_num_threads(), int)
    with fastconv.num_threads(2):
        fastconv.set_num_threads(1)
    assert_type(fastconv.show_config("dicts"), dict[str, Any])
    fastconv.show_config()
    fastconv.release_workspace()


def kept(x: Floats, w: Floats, options: dict[str, Any]) -> None:
    """Functions are values like any other, and options may come in a dictionary."""
    for pool in (fastconv.max_pool2d, fastconv.min_pool2d):
        assert_type(pool(x, 2), Floats)
    result: Floats = fastconv.correlate2d(x, w, **options)
    assert_type(fastconv.correlate2d(result, w), Floats)


# An error that a checker no longer finds fails, too: mypy refuses comments that nothing needs.
def mistakes(x: Floats, w: Floats) -> None:
    fastconv.correlate2d(x, w, 1)  # type: ignore[call-overload]
    fastconv.correlate2d(x, w, strides=2)  # type: ignore[call-overload]
    fastconv.correlate2d(x, w, padding="sane")  # type: ignore[arg-type]
    fastconv.correlate2d(x, w, padding_mode="sane")  # type: ignore[arg-type]
    fastconv.correlate2d(x, w, boundary="mirror")  # type: ignore[arg-type]
    fastconv.correlate2d(x, w, stride=1.5)  # type: ignore[call-overload]
    fastconv.correlate2d(x, w, fillvalue="0")  # type: ignore[call-overload]
    fastconv.max_pool2d(x)  # type: ignore[call-overload]
    fastconv.maximum_filter(x, 3)  # type: ignore[call-overload]
    fastconv.extract_patches(x, 3)  # type: ignore[call-overload]
    fnp.convolve(x, w, "Full")  # type: ignore[call-overload]
    fastconv.correlate4d(x, w)  # type: ignore[attr-defined]
