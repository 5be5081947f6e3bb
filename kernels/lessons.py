"""The kernels as one would show them: plain loops over ordinary arrays, each with a twin in NumPy that gives the same.

All take arrays of any strides, `x (N, C, H, W)` and `w (O, C/groups, K, L)`, and may be called from Python and from any
compiled code. What fastconv runs computes the same: `generic`, `pool` and `patches` for any number of axes,
dtype, padding and boundary; `dense`, `depthwise` and `direct` with vectors, tiles in registers and packed blocks.
"""

import numpy as np
from numpy.lib.stride_tricks import as_strided, sliding_window_view

from .jit import lesson


@lesson
def windows(x, kernel, stride, dilation):
    """Every window as a view of shape `(N, C, P, Q, K, L)`: nothing is copied.

    To go on by a tap within a window and to move the window are steps over the same memory: of `dilation` and of
    `stride` elements. A view with six strides says both.

    >>> import numpy as np
    >>> from fastconv.kernels import lessons
    >>> lessons.windows(np.arange(9).reshape(1, 1, 3, 3), (2, 2), (1, 1), (1, 1))[0, 0, 1, 0]
    array([[3, 4],
           [6, 7]])
    """
    n, channels, rows, columns = x.shape
    p = (rows - dilation[0] * (kernel[0] - 1) - 1) // stride[0] + 1
    q = (columns - dilation[1] * (kernel[1] - 1) - 1) // stride[1] + 1
    if p < 1 or q < 1:
        raise ValueError("windows(): the kernel is larger than the input")
    image, channel, row, column = x.strides
    strides = image, channel, row * stride[0], column * stride[1], row * dilation[0], column * dilation[1]
    return as_strided(x, (n, channels, p, q, kernel[0], kernel[1]), strides)


def windows_numpy(x, kernel, stride, dilation):
    """The twin of `windows`: all windows without gaps, of which some are left out, and some of their elements."""
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation)]
    steps = [slice(None, None, step) for step in (*stride, *dilation)]
    return sliding_window_view(x, reach, axis=(2, 3))[:, :, steps[0], steps[1], steps[2], steps[3]]


@lesson
def correlate(x, w, groups, stride, dilation):
    """`out[n, o, p, q] = sum over c, k, l of w[o, c, k, l] * window[n, c, p, q, k, l]`, channels `c` of `o`'s group.

    A convolution is the same with `w[:, :, ::-1, ::-1]`.

    >>> import numpy as np
    >>> from fastconv.kernels import lessons
    >>> lessons.correlate(np.arange(9.0).reshape(1, 1, 3, 3), np.ones((1, 1, 2, 2)), 1, (1, 1), (1, 1))[0, 0]
    array([[ 8., 12.],
           [20., 24.]])
    """
    outputs, channels, rows, columns = w.shape
    view = windows(x, (rows, columns), stride, dilation)
    n, _, p, q, _, _ = view.shape
    out = np.empty((n, outputs, p, q), x.dtype)
    for image in range(n):
        for o in range(outputs):
            first = o // (outputs // groups) * channels  # of the group's channels
            for i in range(p):
                for j in range(q):
                    total = x.dtype.type(0)
                    for c in range(channels):
                        for k in range(rows):
                            for m in range(columns):
                                total += view[image, first + c, i, j, k, m] * w[o, c, k, m]
                    out[image, o, i, j] = total
    return out


def correlate_numpy(x, w, groups, stride, dilation):
    """The twin of `correlate`: the sum as Einstein would write it."""
    view = windows_numpy(x, w.shape[2:], stride, dilation)
    n, channels, p, q, rows, columns = view.shape
    view = view.reshape(n, groups, channels // groups, p, q, rows, columns)
    kernels = w.reshape(groups, len(w) // groups, *w.shape[1:])
    return np.einsum("ngcpqkl,gockl->ngopq", view, kernels).reshape(n, len(w), p, q)


@lesson
def im2col(x, kernel, stride, dilation):
    """The windows as columns of a matrix, `(N, C * K * L, P * Q)`, so that a matrix product is a correlation.

    Each element of the input is copied once for each tap that meets it.
    """
    view = windows(x, kernel, stride, dilation)
    n, channels, p, q, rows, columns = view.shape
    out = np.empty((n, channels * rows * columns, p * q), x.dtype)
    for image in range(n):
        for c in range(channels):
            for k in range(rows):
                for m in range(columns):
                    for i in range(p):
                        for j in range(q):
                            out[image, (c * rows + k) * columns + m, i * q + j] = view[image, c, i, j, k, m]
    return out


def im2col_numpy(x, kernel, stride, dilation):
    """The twin of `im2col`: the copy is made by `reshape`, for which no strides are left."""
    view = windows_numpy(x, kernel, stride, dilation)
    n, channels, p, q, rows, columns = view.shape
    return view.transpose(0, 1, 4, 5, 2, 3).reshape(n, channels * rows * columns, p * q)


@lesson
def col2im(columns, shape, kernel, stride, dilation):
    """The adjoint of `im2col`: every column is added back to where it was taken from, in an array of this shape."""
    out = np.zeros(shape, columns.dtype)
    view = windows(out, kernel, stride, dilation)  # its elements are those of `out`, some of them many times
    n, channels, p, q, rows, width = view.shape
    for image in range(n):
        for c in range(channels):
            for k in range(rows):
                for m in range(width):
                    for i in range(p):
                        for j in range(q):
                            view[image, c, i, j, k, m] += columns[image, (c * rows + k) * width + m, i * q + j]
    return out


def col2im_numpy(columns, shape, kernel, stride, dilation):
    """The twin of `col2im`: of all windows at once, one tap after the other, since a tap meets no element twice."""
    out = np.zeros(shape, columns.dtype)
    view = windows(out, kernel, stride, dilation)
    n, channels, p, q, rows, width = view.shape
    taps = columns.reshape(n, channels, rows, width, p, q)
    for k in range(rows):
        for m in range(width):
            view[:, :, :, :, k, m] += taps[:, :, k, m]
    return out


@lesson
def max_pool(x, kernel, stride, dilation):
    """The largest element of each window and its flat index in the plane; the first one wins, and a NaN before all."""
    view = windows(x, kernel, stride, dilation)
    n, channels, p, q, rows, columns = view.shape
    values, indices = np.empty((n, channels, p, q), x.dtype), np.empty((n, channels, p, q), np.int64)
    for image in range(n):
        for c in range(channels):
            for i in range(p):
                for j in range(q):
                    best, where = view[image, c, i, j, 0, 0], 0
                    for tap in range(1, rows * columns):
                        value = view[image, c, i, j, tap // columns, tap % columns]
                        if value > best or (value != value and best == best):
                            best, where = value, tap
                    row = i * stride[0] + where // columns * dilation[0]
                    column = j * stride[1] + where % columns * dilation[1]
                    values[image, c, i, j], indices[image, c, i, j] = best, row * x.shape[3] + column
    return values, indices


def max_pool_numpy(x, kernel, stride, dilation):
    """The twin of `max_pool`."""
    view = windows_numpy(x, kernel, stride, dilation)
    places = np.arange(x.shape[2] * x.shape[3]).reshape(1, 1, *x.shape[2:])
    places = windows_numpy(places, kernel, stride, dilation).reshape(1, 1, *view.shape[2:4], -1)
    flat = view.reshape(*view.shape[:4], -1)
    where = flat.argmax(-1)[..., None]
    return np.take_along_axis(flat, where, -1)[..., 0], np.take_along_axis(places, where, -1)[..., 0]


@lesson
def max_unpool(values, indices, shape):
    """The inverse of `max_pool`, as far as there is one: values where they were found, zeros elsewhere."""
    out = np.zeros(shape, values.dtype)
    n, channels, p, q = values.shape
    for image in range(n):
        for c in range(channels):
            for i in range(p):
                for j in range(q):
                    row, column = divmod(indices[image, c, i, j], shape[3])
                    out[image, c, row, column] = values[image, c, i, j]
    return out


def max_unpool_numpy(values, indices, shape):
    """The twin of `max_unpool`."""
    out = np.zeros((*shape[:2], shape[2] * shape[3]), values.dtype)
    np.put_along_axis(out, indices.reshape(*shape[:2], -1), values.reshape(*shape[:2], -1), -1)
    return out.reshape(shape)


@lesson
def avg_pool(x, kernel, stride, dilation):
    """The mean of each window."""
    view = windows(x, kernel, stride, dilation)
    n, channels, p, q, rows, columns = view.shape
    out = np.empty((n, channels, p, q), x.dtype)
    for image in range(n):
        for c in range(channels):
            for i in range(p):
                for j in range(q):
                    total = x.dtype.type(0)
                    for k in range(rows):
                        for m in range(columns):
                            total += view[image, c, i, j, k, m]
                    out[image, c, i, j] = total / (rows * columns)
    return out


def avg_pool_numpy(x, kernel, stride, dilation):
    """The twin of `avg_pool`."""
    return windows_numpy(x, kernel, stride, dilation).mean((4, 5))
