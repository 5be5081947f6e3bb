"""Gradients of weights called from compiled code: what the frontend does in Python, without the interpreter."""

from ..convolution import weights
from ..jit import entry, kernel
from ..shapes import (
    GIVEN,
    TOO_FAR,
    Call,
    Element,
    count_outputs,
    drop_steps,
    is_addressable,
    misfit,
    pad_axis,
)
from ..strided import address, load_tuple
from .frame import (
    AT,
    array_at,
    give_block,
    is_aligned,
    is_true,
    load_axis,
    memory_at,
    shape_of,
    take_block,
    words_at,
    write_ends,
    write_steps,
)

_OUTPUTS = AT.call + Call._fields.index("outputs")


@entry
def resolve_gradient(frame):
    """Check a frame's numbers and write the sizes of the output among them. True: ask `explain`.

    The gradient of the output stands where weights do; `outputs` counts the channels of all groups before, of one group
    after.
    """
    words = frame.data
    call = load_tuple(words, AT.call, Call)
    if call.outputs < 1 or call.channels < 0 or misfit(call, shape_of(words, AT.x, 1), 0) != 0:
        return True
    if shape_of(words, AT.w, 0) != call.batch or shape_of(words, AT.w, 1) != call.outputs:
        return True
    is_empty, elements, first = False, float(call.outputs) * float(call.channels), 3 - call.rank
    for i in range(first, 3):
        is_empty = is_empty or load_axis(words, i).size == 0
    if is_empty and call.batch != 0:
        return True
    for i in range(first, 3):
        axis = load_axis(words, i)
        before, after, room = pad_axis(axis, GIVEN, False)
        if room < (TOO_FAR + 1 if is_empty else 0):
            return True
        out = 0 if is_empty else count_outputs(axis, room)
        if shape_of(words, AT.w, 2 + i - first) != out:
            return True
        elements *= float(axis.kernel)
        write_ends(words, i, before, after, out)
    if not is_addressable(elements, words[AT.itemsize]):
        return True
    for i in range(first, 3):
        write_steps(words, i, drop_steps(load_axis(words, i)))
    words[_OUTPUTS] = call.outputs // call.groups
    words[AT.is_resolved] = 1
    return False


@entry
def run_gradient(frame):
    """Run a resolved frame as the frontend would. False: there is no memory, or elements lie where no type may."""
    words, itemsize, alignment = frame.data, frame.data[AT.itemsize], frame.data[AT.alignment]
    call, element = load_tuple(words, AT.call, Call), load_tuple(words, AT.element, Element)
    axes = load_axis(words, 0), load_axis(words, 1), load_axis(words, 2)
    if call.channels == 0:
        return True
    if call.batch == 0:
        clear(words, call, axes)
        return True
    if not (is_aligned(words, AT.x, call.rank + 2, itemsize, alignment)
            and is_aligned(words, AT.w, call.rank + 2, itemsize, alignment)):  # fmt: skip
        return False
    words[AT.numbers] = address(frame) + 8 * AT.call
    weights.write_plan(call, axes, element, words_at(words[AT.numbers]).data)
    table = words_at(words[AT.table])
    block = take_block(table)
    if block == 0:
        return False
    arrays = array_at(frame, AT.x), array_at(frame, AT.w), array_at(frame, AT.out), array_at(frame, AT.numbers)
    is_done = is_true(table.data[words[AT.kernels]], (*arrays, memory_at(block), frame, 1, 0))
    give_block(table, block)
    return is_done


@kernel
def clear(words, call, axes):
    """Set the result of sums of nothing to zero."""
    a0, a1, a2 = axes
    elements = call.groups * call.outputs * call.channels * a0.kernel * a1.kernel * a2.kernel
    memory = memory_at(words[AT.out]).data
    for i in range(elements * words[AT.itemsize]):
        memory[i] = 0
