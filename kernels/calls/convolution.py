"""Convolutions called from compiled code: what the frontend does in Python, without the interpreter."""

from ..convolution.choose import FAMILIES, choose, is_transformed, plan_words, write_plan
from ..jit import entry, kernel
from ..shapes import (
    AUTO,
    AXIS_FIELDS,
    CALL_FIELDS,
    DIRECT,
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
    FRAME,
    IN_TABLE,
    allocate,
    array_at,
    free,
    give_block,
    is_aligned,
    is_true,
    load_axis,
    memory_at,
    shape_of,
    step_of,
    take_block,
    tell,
    words_at,
    write_ends,
    write_steps,
)

_OUTPUTS = AT.call + Call._fields.index("outputs")
# Of each family a bit.
_NEED_WORKSPACE = sum((family.module.WORKSPACE_BYTES > 0) << place for place, family in enumerate(FAMILIES))
_WANT_ROWS = sum(family.wants_rows << place for place, family in enumerate(FAMILIES))


@kernel
def overlaps(words, array, rank, out_rank):
    """Whether the memory from `out`'s first byte to its last holds some of another array's."""
    begin, end = extent(words, AT.out, out_rank, words[AT.itemsize])
    first, last = extent(words, array, rank, words[AT.x_itemsize if array == AT.x else AT.itemsize])
    return begin < last and first < end


@kernel
def extent(words, array, rank, itemsize):
    begin = words[array]
    end = begin + itemsize
    for i in range(rank):
        reach = (shape_of(words, array, i) - 1) * step_of(words, array, i)
        begin, end = begin + min(reach, 0), end + max(reach, 0)
    return begin, end


@kernel
def overlaps_itself(words, rank):
    """Whether elements of `out` may share an address: no order of its axes has each step over all that is before it."""
    reach, taken = words[AT.itemsize], 0
    for _ in range(rank):
        best = -1
        for i in range(rank):
            step = abs(step_of(words, AT.out, i))
            if not (taken >> i) & 1 and (best < 0 or step < abs(step_of(words, AT.out, best))):
                best = i
        taken |= 1 << best
        if shape_of(words, AT.out, best) > 1:
            if abs(step_of(words, AT.out, best)) < reach:
                return True
            reach += abs(step_of(words, AT.out, best)) * (shape_of(words, AT.out, best) - 1)
    return False


@entry
def resolve(frame):
    """Check a frame's numbers and write the padding and the sizes of the output among them. True: ask `explain`.

    `outputs` counts the channels of all groups before, of one group after.
    """
    words = frame.data
    call, has_out = load_tuple(words, AT.call, Call), words[AT.has_out]
    if misfit(call, shape_of(words, AT.x, 1), words[AT.biases]) != 0:
        return True
    is_empty, elements, first = False, float(call.batch) * float(call.outputs), max(3 - call.rank, 0)
    for i in range(first, first + call.rank):
        is_empty = is_empty or load_axis(words, i).size == 0
    for i in range(first, first + call.rank):
        axis = load_axis(words, i)
        before, after, room = pad_axis(axis, words[AT.padding], call.flip)
        if room < (TOO_FAR + 1 if is_empty else 0):
            return True
        out = 0 if is_empty else count_outputs(axis, room)
        if has_out and shape_of(words, AT.out, 2 + i - first) != out:
            return True
        elements *= float(out)
        write_ends(words, i, before, after, out)
    if not is_addressable(elements, words[AT.itemsize]):
        return True
    if has_out and (shape_of(words, AT.out, 0) != call.batch or shape_of(words, AT.out, 1) != call.outputs):
        return True
    for i in range(first, first + call.rank):
        write_steps(words, i, drop_steps(load_axis(words, i)))
    words[_OUTPUTS] = call.outputs // call.groups if call.groups > 1 else call.outputs
    words[AT.padding], words[AT.is_resolved] = GIVEN, 1
    if words[AT.algorithm] > DIRECT and is_refused(words):
        return True
    if not has_out or elements == 0:
        return False
    rank = call.rank + 2
    shared = overlaps(words, AT.x, rank, rank) or overlaps(words, AT.w, rank, rank)
    return shared or (call.has_bias and overlaps(words, AT.bias, 1, rank)) or overlaps_itself(words, rank)


@kernel
def is_refused(words):
    """Whether no family takes a resolved call by the transform that it asks for."""
    call, element = load_tuple(words, AT.call, Call), load_tuple(words, AT.element, Element)
    axes = load_axis(words, 0), load_axis(words, 1), load_axis(words, 2)
    return not is_transformed(call, axes, element, words[AT.algorithm])


@entry
def run(frame):
    """Run a resolved frame as the frontend would. False: there is no memory, or elements lie where no type may."""
    words = frame.data
    call, element = load_tuple(words, AT.call, Call), load_tuple(words, AT.element, Element)
    if call.has_bias and not is_aligned(words, AT.bias, 1, words[AT.itemsize], words[AT.alignment]):
        return False
    axes, algorithm = (load_axis(words, 0), load_axis(words, 1), load_axis(words, 2)), words[AT.algorithm]
    table = words_at(words[AT.table])
    if algorithm == AUTO:
        algorithm = table.data[IN_TABLE.meaning]
    outputs = call.batch * call.groups * call.outputs * axes[0].out * axes[1].out * axes[2].out
    for i in range(3, call.rank):
        outputs *= load_axis(words, i).out
    if outputs == 0:
        return True
    family, is_done = -1, False
    words[AT.numbers] = address(frame) + 8 * AT.call
    while not is_done and (family < 0 or (_WANT_ROWS >> family) & 1):
        family = choose(call, axes, element, algorithm, family + 1)
        if table.data[words[AT.kernels] + family] == 0:
            tell(table.data[IN_TABLE.load], address(frame), family)
            if table.data[words[AT.kernels] + family] == 0:  # interrupted: others were loaded with the caller
                algorithm, family = DIRECT, -1
                continue
        if (_NEED_WORKSPACE >> family) & 1:
            is_done = run_planned(frame, family)
        else:
            is_done = is_true(table.data[words[AT.kernels] + family], arrays(frame))
    return is_done


@kernel
def run_planned(frame, family):
    """Plan a call, and run it with a workspace; False as `run`."""
    words, heap, is_done = frame.data, 0, False
    table, element = words_at(words[AT.table]), load_tuple(words, AT.element, Element)
    call, axes = load_tuple(words, AT.call, Call), (load_axis(words, 0), load_axis(words, 1), load_axis(words, 2))
    room = plan_words(family, call, axes, element)
    if room > FRAME - AT.call:
        heap = allocate(8 * room)
        if heap == 0:
            return False
        for i in range(CALL_FIELDS + 3 * AXIS_FIELDS):
            words_at(heap).data[i] = words[AT.call + i]
        words[AT.numbers] = heap
    write_plan(family, call, axes, element, words_at(words[AT.numbers]).data)
    block = take_block(table)
    if block != 0:
        alone = memory_at(block), frame, 1, 0  # the words of a team are not read
        is_done = is_true(table.data[words[AT.kernels] + family], arrays(frame) + alone)
        give_block(table, block)
    if heap != 0:
        free(heap)
    return is_done


@kernel
def arrays(frame):
    return (array_at(frame, AT.x), array_at(frame, AT.w), array_at(frame, AT.bias), array_at(frame, AT.out),
            array_at(frame, AT.fill), array_at(frame, AT.numbers))  # fmt: skip
