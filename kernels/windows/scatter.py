"""Values that go to flat positions of planes: what maximum pools took is put back, or gradients are added there.

A plane of the result is set to zero and then written in the order of its values, by one thread: of values for one
position the last is there in the end, or their sum, made in that order. Threads share planes.

Elements whose memory is narrower than what is computed with, as halves', are summed in blocks of the plane that fit in
the workspace, and rounded once.
"""

from typing import NamedTuple

import numpy as np

from ..jit import entry, inlined, kernel
from ..strided import convert, is_plain, load, scratch, store, stride, zero
from ..team import close_team, open_team, part_of, take_item
from ..window import axes_of_windows, load_axis, load_windows

_BLOCK = 8192  # elements of a plane that are summed apart
_ITEM = 8192  # elements of planes that a thread takes at a time
WORKSPACE_BYTES = 8 * _BLOCK


class Plane(NamedTuple):
    """The values of a plane: how many along three axes, and the steps of the values and of their positions."""

    n0: int
    n1: int
    n2: int
    v0: int
    v1: int
    v2: int
    i0: int
    i1: int
    i2: int


@kernel
def plane_of(values, indices, axes, trailing):
    """All planes are alike; axes that they do not have are of size 1, and rows that follow each other are one."""
    last = axes.rank - 1
    n0 = n1 = 1
    v0 = v1 = i0 = i1 = 0
    if trailing > 1:
        n1, v1, i1 = load_axis(axes, last - 1).size, stride(values, last - 1), stride(indices, last - 1)
    if trailing > 2:
        n0, v0, i0 = load_axis(axes, last - 2).size, stride(values, last - 2), stride(indices, last - 2)
    n2, v2, i2 = load_axis(axes, last).size, stride(values, last), stride(indices, last)
    if v1 == n2 * v2 and i1 == n2 * i2:
        n0, n1, n2, v0, v1, i0, i1 = 1, n0, n1 * n2, 0, v0, 0, i0
        if v1 == n2 * v2 and i1 == n2 * i2:
            n1, n2, v1, i1 = 1, n1 * n2, 0, 0
    return Plane(n0, n1, n2, v0, v1, v2, i0, i1, i2)


@kernel
def offset_of(array, axes, leading, number):
    """Where the plane of a number begins."""
    offset = 0
    for a in range(leading - 1, -1, -1):
        number, i = divmod(number, load_axis(axes, a).size)
        offset += i * stride(array, a)
    return offset


@inlined
def first_outside(indices, plane, first, size):
    """The number of the first value of a plane that has no place there, or -1."""
    bits = np.int64(0)
    for p0 in range(plane.n0):
        for p1 in range(plane.n1):
            bits |= outside(indices, first + p0 * plane.i0 + p1 * plane.i1, plane.i2, plane.n2, size)
    if bits >= 0:
        return -1
    for p0 in range(plane.n0):
        for p1 in range(plane.n1):
            for p2 in range(plane.n2):
                if outside(indices, first + p0 * plane.i0 + p1 * plane.i1 + p2 * plane.i2, 1, 1, size) < 0:
                    return (p0 * plane.n1 + p1) * plane.n2 + p2
    return -1


@kernel
def outside(indices, first, step, count, size):
    """A number less than 0 if one of some indices is outside of a plane."""
    bits = np.int64(0)
    if step == 1:
        for j in range(count):
            index = indices.data[first + j]
            bits |= index | (size - 1 - index)
    else:
        for j in range(count):
            index = indices.data[first + j * step]
            bits |= index | (size - 1 - index)
    return bits


@inlined
def write_row(adds, values, indices, out, v, i, v2, i2, count, to):
    if not adds:
        for p2 in range(count):
            out.data[to + indices.data[i + p2 * i2]] = values.data[v + p2 * v2]
        return
    for p2 in range(count):
        at = to + indices.data[i + p2 * i2]
        store(out, at, convert(out, load(out, at) + load(values, v + p2 * v2)))


@inlined
def write_plane(adds, values, indices, out, plane, start, first, to, size):
    """Copy the values of a plane to zeros, or add them there."""
    for j in range(size):
        store(out, to + j, zero(out))
    for p0 in range(plane.n0):
        for p1 in range(plane.n1):
            v, i = start + p0 * plane.v0 + p1 * plane.v1, first + p0 * plane.i0 + p1 * plane.i1
            if plane.v2 == 1 and plane.i2 == 1:
                write_row(adds, values, indices, out, v, i, 1, 1, plane.n2, to)
            else:
                write_row(adds, values, indices, out, v, i, plane.v2, plane.i2, plane.n2, to)


@kernel
def add_in_blocks(values, indices, out, plane, start, first, to, size, sums):
    """Add the values of a plane by way of wider sums, a block of the plane at a time."""
    for begin in range(0, size, _BLOCK):
        count = min(_BLOCK, size - begin)
        for j in range(count):
            sums[j] = zero(out)
        for p0 in range(plane.n0):
            for p1 in range(plane.n1):
                v, i = start + p0 * plane.v0 + p1 * plane.v1, first + p0 * plane.i0 + p1 * plane.i1
                for p2 in range(plane.n2):
                    index = indices.data[i + p2 * plane.i2] - begin
                    if 0 <= index < count:
                        sums[index] += load(values, v + p2 * plane.v2)
        for j in range(count):
            store(out, to + begin + j, sums[j])


@inlined
def scatter_plane(adds, values, indices, out, plane, start, first, to, size, workspace):
    """One plane of the result. The number of the first value that has no place there, or -1."""
    found = first_outside(indices, plane, first, size)
    if found >= 0:
        return found
    if not adds or is_plain(out):
        write_plane(adds, values, indices, out, plane, start, first, to, size)
    else:
        add_in_blocks(values, indices, out, plane, start, first, to, size, scratch(workspace, 0, out))
    return -1


def scatter(adds, name):
    """The kernel that puts values, or the one that `adds` them."""

    def run(values, indices, out, bad, numbers, workspace, team, threads, thread):
        """Write `out`, which is contiguous. `values` and `indices` have the shape that the axes of `numbers` say.

        `bad` has an element for each thread: the flat number of its first value whose index lies outside the plane, or
        what was there before. False, if there is one: then what `out` holds is of no use.
        """
        if threads > 1 and thread == 0:
            threads = open_team(team, (values, indices, out, bad, numbers, workspace, team, threads), threads)
        windows = load_windows(numbers.data)
        axes = axes_of_windows(numbers.data, windows)
        leading, planes = windows.rank - windows.trailing, 1
        for a in range(leading):
            planes *= load_axis(axes, a).size
        plane, own = plane_of(values, indices, axes, windows.trailing), part_of(workspace, thread * WORKSPACE_BYTES)
        row = load_axis(axes, leading - 1).size if leading > 0 else 1
        together, is_good = max(_ITEM // max(windows.plane, 1), 1), True
        item = 0 if threads == 1 else take_item(team)
        while is_good and item * together < planes:
            alike = np.int64(0)  # planes that follow along the last axis before theirs
            start = first = np.int64(0)
            for number in range(item * together, min((item + 1) * together, planes)):
                if alike == 0:
                    start, first = offset_of(values, axes, leading, number), offset_of(indices, axes, leading, number)
                    alike = row - number % row
                else:
                    start, first = start + stride(values, leading - 1), first + stride(indices, leading - 1)
                alike -= 1
                to = number * windows.plane
                found = scatter_plane(adds, values, indices, out, plane, start, first, to, windows.plane, own)
                if found >= 0:
                    bad.data[thread] = number * plane.n0 * plane.n1 * plane.n2 + found
                    is_good = False
                    break
            item = item + 1 if threads == 1 else take_item(team)
        if threads > 1 and thread == 0:
            close_team(team)
        return is_good

    run.__name__ = run.__qualname__ = name
    return entry(run)


unpool, scatter_add = scatter(False, "unpool"), scatter(True, "scatter_add")
