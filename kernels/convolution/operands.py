"""What the kernels of a convolution are given: arrays with their strides, and which block of the work is theirs."""

from typing import Any, NamedTuple

from ..jit import kernel
from ..strided import Strides


class Operand(NamedTuple):
    """An array and its strides in elements."""

    array: Any
    strides: Strides


class Operands(NamedTuple):
    """What a call computes with; each thread has a workspace of its own."""

    x: Operand
    w: Operand
    bias: Any
    out: Operand
    fill: Any  # one element, which padding holds
    workspace: Any


class OutputBlock(NamedTuple):
    """A block of the output: the first of each, and how many. `o` is counted within the group."""

    group: int
    o: int
    outputs: int
    n: int
    images: int
    p0: int
    p1: int
    rows: int
    p2: int
    columns: int


class ReductionBlock(NamedTuple):
    """A block of the terms of a sum: the first channel, counted within the group, the first taps, and how many."""

    c: int
    channels: int
    k0: int
    taps0: int
    k1: int
    taps1: int
    k2: int
    taps2: int


@kernel
def first_output(outs, call, block):
    """Where the first element of a block lies in the output."""
    where = block.n * outs.batch + (block.group * call.outputs + block.o) * outs.channel
    return where + block.p0 * outs.s0 + block.p1 * outs.s1 + block.p2 * outs.s2
