"""Threads that share a kernel's work, without the interpreter between them.

A team is a block of words. Who has work takes the team, writes down a function and its arguments and opens it; helpers
wait in `serve`, spinning, and run what they find: from sleep they would take some 100 us to come. Nobody waits for a
helper that did not come: those who run take numbered items from a counter until none is left. Who has the team gives it
back once all that came have left, so that nobody reads an array after the call that it belongs to. Helpers compute as
the caller does: with its rounding mode, and subnormal numbers where it has them.

What orders memory, on hardware that orders little by itself: the arguments are written before the exchange that opens
the team, which releases, and read after the addition by which a helper joins, which acquires. What helpers compute is
written before they add to those that left, and read after the team saw as many. Items are taken in no order: nothing is
handed from one to the next. Who gives the team back releases, and who takes it acquires, what the last call wrote.

A team is taken and given back within one call of a kernel. An interrupt is an exception between two instructions of the
interpreter: it finds the team free, or in the hands of another thread's compiled code, which gives it back.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic

from .jit import entry, kernel
from .strided import address, data_of

# Words that several threads write lie on cache lines of their own.
COUNTER, STATE, LEFT, JOINED, BODY, THREADS, FLOATS, BUSY, ARGUMENTS = 0, 16, 32, 48, 49, 50, 51, 56, 64
WORDS = 128
# The state: the number of the call, whether helpers may join it, how many have.
_OPEN = 1 << 20
_HELPERS = _OPEN - 1
_NUMBER = ~(2 * _OPEN - 1)
_PAUSES = 1000  # tens of microseconds, in which helpers end their last items; then the core is left to them

_INT32, _INT64 = ir.IntType(32), ir.IntType(64)
_BODY = types.void, (types.intp, types.intp)  # what helpers call, with the arguments' address and their number


def _word(context, builder, team, value, i):
    return builder.gep(data_of(context, builder, team, value), [i])


def _atomic(operation, team):
    """An operation on word `i`, which gives what it was."""

    def codegen(context, builder, signature, args):
        return builder.atomic_rmw(operation, _word(context, builder, team, *args[:2]), args[2], "seq_cst")

    return types.intp(team, types.intp, types.intp), codegen


@intrinsic
def add(typingctx, team, i, value):
    """Add to word `i`; what it was."""
    return _atomic("add", team)


@intrinsic
def exchange(typingctx, team, i, value):
    """Write word `i`; what it was."""
    return _atomic("xchg", team)


@intrinsic
def read(typingctx, team, i):
    """Word `i`, as another thread may have written it."""

    def codegen(context, builder, signature, args):
        return builder.load_atomic(_word(context, builder, team, *args), "acquire", 8)

    return types.intp(team, types.intp), codegen


@intrinsic
def take_item(typingctx, team):
    """The next number of what a call's threads share."""

    def codegen(context, builder, signature, args):
        where = _word(context, builder, team, args[0], _INT64(COUNTER))
        return builder.atomic_rmw("add", where, _INT64(1), "monotonic")

    return types.intp(team), codegen


def _machine():
    """The kind of processor that is compiled for."""
    triple = cpu_target.target_context.codegen().magic_tuple()[0]
    kinds = {"x86": ("x86", "i386", "i686"), "arm": ("aarch64", "arm64")}
    return next((kind for kind, heads in kinds.items() if triple.startswith(heads)), "")


def _call(builder, name, result, *arguments):
    kind = ir.FunctionType(result, [each.type for each in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)


def _float_state(builder):
    """How this thread rounds, and what it does with subnormal numbers."""
    if _machine() == "x86":
        place = cgutils.alloca_once(builder, _INT32)
        _call(builder, "llvm.x86.sse.stmxcsr", ir.VoidType(), builder.bitcast(place, cgutils.voidptr_t))
        return builder.zext(builder.load(place), _INT64)
    return _call(builder, "llvm.aarch64.get.fpcr", _INT64) if _machine() == "arm" else _INT64(0)


@intrinsic
def compute_like(typingctx, state):
    """Have this thread round, and treat subnormal numbers, as the one does that opened the team."""

    def codegen(context, builder, signature, args):
        if _machine() == "x86":
            place = cgutils.alloca_once(builder, _INT32)
            builder.store(builder.trunc(args[0], _INT32), place)
            _call(builder, "llvm.x86.sse.ldmxcsr", ir.VoidType(), builder.bitcast(place, cgutils.voidptr_t))
        elif _machine() == "arm":
            _call(builder, "llvm.aarch64.set.fpcr", ir.VoidType(), args[0])
        return context.get_dummy_value()

    return types.void(types.intp), codegen


@intrinsic
def pause(typingctx):
    """Tell the core that it waits."""
    machine = _machine()

    def codegen(context, builder, signature, args):
        if machine == "x86":
            _call(builder, "llvm.x86.sse2.pause", ir.VoidType())
        elif machine == "arm":
            _call(builder, "llvm.aarch64.hint", ir.VoidType(), _INT32(1))
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def leave_core(typingctx):
    """Let another thread have the core, where the C library can tell the system so."""
    has_call = "windows" not in cpu_target.target_context.codegen().magic_tuple()[0]

    def codegen(context, builder, signature, args):
        if has_call:
            _call(builder, "sched_yield", _INT32)
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def open_team(typingctx, team, arguments, threads):
    """Let helpers call the function that calls this, an entry with a boolean result, with `(*arguments, thread)`.

    The number of threads: 1 if another call has the team, which is then to be left alone.
    """

    def outline(context, builder):
        """That call as a function of the arguments' address and the thread: what helpers call is the same for all."""
        body = ir.Function(builder.module, context.call_conv.get_function_type(*_BODY), f"{builder.function.name}.body")
        body.linkage = "internal"
        place, thread = body.args[2:]
        caller, packed = ir.IRBuilder(body.append_basic_block()), context.get_value_type(arguments)
        values = caller.load(caller.inttoptr(place, packed.as_pointer()), typ=packed, align=8)
        values = [*cgutils.unpack_tuple(caller, values), thread]
        context.call_conv.call_function(caller, builder.function, types.boolean, (*arguments, types.intp), values)
        context.call_conv.return_value(caller, context.get_dummy_value())
        return builder.ptrtoint(body, _INT64)

    def codegen(context, builder, signature, args):
        words, values, count = args
        busy = builder.gep(data_of(context, builder, team, words), [_INT64(BUSY)])
        is_free = cgutils.is_null(builder, builder.atomic_rmw("xchg", busy, _INT64(1), "seq_cst"))
        with builder.if_then(is_free):
            open_taken(context, builder, words, values, count)
        return builder.select(is_free, count, _INT64(1))

    def open_taken(context, builder, words, values, count):
        if context.get_abi_sizeof(values.type) > 8 * (WORDS - ARGUMENTS):
            raise ValueError(f"{arguments} does not fit in a team")
        packed, state = (_word(context, builder, team, words, _INT64(i)) for i in (ARGUMENTS, STATE))
        builder.store(values, builder.bitcast(packed, values.type.as_pointer()), align=8)
        body, state_of_floats = outline(context, builder), _float_state(builder)
        for i, value in (
            (COUNTER, _INT64(0)), (LEFT, _INT64(0)), (BODY, body), (THREADS, count), (FLOATS, state_of_floats),
        ):  # fmt: skip
            builder.store(value, _word(context, builder, team, words, _INT64(i)))
        number = builder.and_(builder.load_atomic(state, "monotonic", 8), _INT64(_NUMBER))
        builder.atomic_rmw("xchg", state, builder.add(number, _INT64(3 * _OPEN)), "seq_cst")

    return types.intp(team, arguments, types.intp), codegen


@intrinsic
def invoke(typingctx, body, arguments, thread):
    """Call what `open_team` wrote down."""

    def codegen(context, builder, signature, args):
        kind = context.call_conv.get_function_type(*_BODY)
        function = builder.inttoptr(args[0], kind.as_pointer())
        context.call_conv.call_function(builder, function, *_BODY, args[1:])
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, types.intp), codegen


@intrinsic
def part_of(typingctx, workspace, offset):
    """The workspace from byte `offset` on."""

    def codegen(context, builder, signature, args):
        part = cgutils.create_struct_proxy(workspace)(context, builder, value=args[0])
        part.data = builder.gep(part.data, [args[1]])
        return part._getvalue()

    return workspace(workspace, types.intp), codegen


@kernel
def close_team(team):
    """Let no more helpers come, wait for those that are still at work, and give the team back."""
    words, turns = team.data, 0
    words[JOINED] = exchange(team, STATE, read(team, STATE) & _NUMBER) & _HELPERS
    while read(team, LEFT) != words[JOINED]:
        turns += 1
        if turns > _PAUSES:
            leave_core()
        pause()
    exchange(team, BUSY, 0)


@entry
def serve(team, pauses):
    """Help with what is asked for, until nothing was for so many pauses."""
    words, seen, quiet = team.data, 0, 0
    while quiet < pauses:
        state = read(team, STATE)
        if state & _OPEN and state & _NUMBER != seen:
            state = add(team, STATE, 1)
            seen = state & _NUMBER
            if state & _OPEN:  # still, or again
                thread = (state & _HELPERS) + 1
                if thread < words[THREADS]:
                    quiet = 0
                    compute_like(words[FLOATS])
                    invoke(words[BODY], address(team) + 8 * ARGUMENTS, thread)
                add(team, LEFT, 1)
        else:
            quiet += 1
            pause()
