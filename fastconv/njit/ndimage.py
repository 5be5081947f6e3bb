"""`scipy.ndimage`'s filters, and `fastconv.ndimage`'s, in compiled code, on the same kernels and plans.

A call is a few numbers for `kernels.calls.filters`: a row for each pass, and weights behind what lies outside.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic
from numba.np.numpy_support import from_dtype

from ..kernels.calls.filters import FILTERED_FIELDS, FIRST_WEIGHT, Request
from ..kernels.calls.frame import AT, IN_TABLE, MOST_AXES
from ..kernels.jit import part
from ..kernels.shapes import BOUNDARIES, MAXIMUM, MEAN, MINIMUM, SUM
from ..kernels.simd.lines import FORMATS
from ..ndimage import arguments as checks
from .arguments import array_of, checked, constant, message_at, name_of
from .frames import Frame, table_of
from .linking import Needs

_INT64 = ir.IntType(64)
_KINDS = {"uniform": MEAN, "maximum": MAXIMUM, "minimum": MINIMUM}


class Filter(NamedTuple):
    """What is known of a call when its caller is compiled."""

    name: str
    kind: int
    is_window: bool
    dtype: np.dtype[Any]  # of the array, bytes where it is bool
    is_bool: bool
    rank: int
    boundary: int


# ---- types


def filter_of(name: str, kind: int, input: Any, output: Any, mode: Any, cval: Any, is_window: bool = False) -> Filter:
    """Check what the types of the arguments tell that all filters have; what is wrong with them is a typing error."""
    given = array_of(name, "input", input)
    if given.name not in checks.REAL:
        raise TypingError(
            f"{name}(): input has dtype {given}, expected bool, an integer, float32 or float64 inside compiled code"
        )
    if not 1 <= input.ndim <= MOST_AXES:
        raise TypingError(
            f"{name}(): input has {input.ndim} dimensions, expected 1 to {MOST_AXES} inside compiled code"
        )
    refuse(name, output=output)
    boundary = checked(checks.as_boundary, name, name_of(name, "mode", mode))
    if constant(cval) is ... and not isinstance(cval, (types.Float, types.Integer, types.Boolean)):
        raise TypingError(f"{name}(): cval is {cval}, expected a real number")
    if constant(cval) is not ...:
        checked(checks.as_cval, name, constant(cval), False)
    is_bool = given.kind == "b"
    dtype = np.dtype(np.uint8) if is_bool else given
    return Filter(name, kind, is_window, dtype, is_bool, input.ndim, BOUNDARIES.index(boundary))


def refuse(name: str, **arguments: Any) -> None:
    """Refuse arguments for which there is no compiled code."""
    for label, kind in arguments.items():
        if constant(kind) is not None:
            shown = kind if constant(kind) is ... else repr(constant(kind))
            raise TypingError(f"{name}(): {label} is {shown}, expected None inside compiled code")


def refuse_derivatives(name: str, order: Any) -> None:
    """Refuse derivatives of a Gaussian."""
    found = constant(order)
    if found is ... or np.any(np.asarray(found) != 0):
        shown = order if found is ... else repr(found)
        raise TypingError(f"{name}(): order is {shown}, expected 0, a constant, inside compiled code")


def weights_of(name: str, weights: Any, rank: int) -> None:
    """Refuse weights that are no real array of so many dimensions."""
    dtype = array_of(name, "weights", weights)
    if dtype.name not in checks.REAL:
        raise TypingError(f"{name}(): weights has dtype {dtype}, expected real numbers inside compiled code")
    if weights.ndim != rank:
        raise TypingError(f"{name}(): weights has {weights.ndim} dimensions, expected {rank}")


def numbers_of(name: str, option: str, kind: Any, count: int, scalar: Any = types.int64) -> Callable[..., Any]:
    """What makes a tuple of an argument that is a number, or one for each axis."""
    wanted = "an int" if scalar is types.int64 else "a number"
    numbers = (types.Integer,) if scalar is types.int64 else (types.Integer, types.Float)
    known = constant(kind)
    if known is not ...:
        known = [*known] if isinstance(known, tuple) else [known] * count
    items = list(kind) if isinstance(kind, types.BaseTuple) else [kind] * count
    if known is not ... and not isinstance(kind, types.BaseTuple):
        accepted = all(isinstance(each, (int, np.integer) if len(numbers) < 2 else (int, float)) for each in known)
    else:
        accepted = all(isinstance(each, numbers) for each in items)
    if not accepted or len(items) != count:
        more = f" or {count} of them, one for each axis" if count > 1 else ""
        shown = kind if constant(kind) is ... else repr(constant(kind))
        raise TypingError(f"{name}(): {option} is {shown}, expected {wanted}{more} inside compiled code")

    @intrinsic  # type: ignore[untyped-decorator]
    def spread(typingctx: Any, value: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            if isinstance(value, types.BaseTuple):
                found = [
                    context.cast(builder, builder.extract_value(args[0], i), value[i], scalar) for i in range(count)
                ]
            elif isinstance(value, types.Omitted):
                found = [context.get_constant(scalar, value.value)] * count
            else:
                found = [context.cast(builder, args[0], value, scalar)] * count
            return context.make_tuple(builder, signature.return_type, found)

        return types.UniTuple(scalar, count)(value), codegen

    return spread  # type: ignore[no-any-return]


# ---- running


def runner(known: Filter, compute: np.dtype[Any]) -> Callable[..., Any]:
    """What runs passes, or a window, that compute in a type: a message's address, or 0."""
    kind, dtype = known.kind, known.dtype
    is_extremum, is_integer = kind >= MAXIMUM, dtype.kind != "f"
    needs = Needs("extrema" if is_extremum else "sums", compute.name, compute.name)
    stored, own = FORMATS.index(dtype.name), is_extremum and compute == dtype
    numbers = Request(
        rank=known.rank, is_window=int(known.is_window), passes=0, kind=kind, x_format=stored, out_format=stored,
        compute_format=FORMATS.index(compute.name), itemsize=compute.itemsize, is_integer=int(compute.kind != "f"),
        rounded=dtype.itemsize if is_integer and not own else 0,
        in_order=int(compute == np.float64 and kind == SUM), commutes=0,
    )  # fmt: skip

    @intrinsic  # type: ignore[untyped-decorator]
    def call(
        typingctx: Any, x: Any, out: Any, weights: Any, fill: Any, filtered: Any, passes: Any, commutes: Any
    ) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            context.environment.consts.append(needs)
            frame = Frame(context, builder, known.name, "")
            frame.put(AT.kernels, needs.kernels)
            frame.put(AT.itemsize, dtype.itemsize)
            frame.put(AT.alignment, dtype.alignment)
            places = AT.x, AT.out, AT.w, AT.fill, AT.indices
            for at, given, value in zip(places, signature.args, args, strict=False):
                frame.put_array(at, given, value)
            count, is_free = (context.cast(builder, args[i], signature.args[i], types.int64) for i in (5, 6))
            frame.put(AT.call, *numbers._replace(passes=count, commutes=is_free))
            answer = frame.call(IN_TABLE.run_filter)
            return builder.select(answer, _INT64(0), frame.word_of_table(IN_TABLE.failed))

        return types.intp(x, out, weights, fill, filtered, passes, commutes), codegen

    return call  # type: ignore[no-any-return]


def running(known: Filter) -> Callable[..., Any]:
    """What gives the result of passes, or of a window: of an array, the rows of all, weights, and what lies outside."""
    dtype, is_bool = known.dtype, known.is_bool
    stored: Any = from_dtype(dtype)
    is_padded = BOUNDARIES[known.boundary] == "constant"
    is_extremum, is_floating = known.kind >= MAXIMUM, dtype.kind == "f"
    double = np.dtype(np.float64)
    compute = dtype if is_extremum or is_floating else double
    scalar: Any = from_dtype(compute)
    call = runner(known, compute)
    asks = is_extremum and is_padded and compute != double  # whether the type holds what lies outside
    call_double = runner(known, double) if asks else call
    low, high = (0.0, 0.0) if is_floating else (float(np.iinfo(dtype).min), float(np.iinfo(dtype).max))
    always, never = is_extremum or (is_floating and not is_padded), not is_extremum and not is_floating

    # Numba compiles what follows; it drops the branches of what is known by now.
    @part
    def is_held(cval):  # type: ignore[no-untyped-def]
        if not asks:
            return True
        if is_floating:
            return not np.isfinite(cval) or np.float64(np.float32(cval)) == cval
        return low <= cval <= high and cval == np.floor(cval)

    @part
    def perform(input, out, filtered, passes, weights, cval):  # type: ignore[no-untyped-def]
        fill = np.zeros(1, scalar)
        if is_held(cval):
            if is_extremum:
                fill[0] = scalar(cval) if is_padded else scalar(0)
            commutes = not never and (always or cval == 0)
            return call(input, out, weights, fill, filtered, passes, commutes)
        return call_double(input, out, weights, weights, filtered, passes, False)

    def run(input, filtered, passes, weights, cval):  # type: ignore[no-untyped-def]
        out = np.empty(input.shape, stored)
        message = perform(input, out, filtered, passes, weights, cval)
        if message != 0:
            raise ValueError(message_at(message))
        return out

    def run_bool(input, filtered, passes, weights, cval):  # type: ignore[no-untyped-def]
        out = np.empty(input.shape, stored)
        message = perform(input, out, filtered, passes, weights, cval)
        if message != 0:
            raise ValueError(message_at(message))
        return out != 0

    compiled: Callable[..., Any] = part(run_bool if is_bool else run)
    return compiled


@part
def write_row(filtered, i, axis, size, before, boundary, weights):  # type: ignore[no-untyped-def]
    """Write what a pass does, a `Filtered`."""
    row = filtered[i * FILTERED_FIELDS : (i + 1) * FILTERED_FIELDS]
    row[0], row[1], row[2], row[3], row[4] = axis, size, before, boundary, weights


@part
def axis_of(name, axis, rank):  # type: ignore[no-untyped-def]
    """An axis counted from the first."""
    if not -rank <= axis < rank:
        raise ValueError(f"{name}(): axis {axis} is out of range, expected one of {rank} dimensions")
    return axis % rank


@part
def before_of(name, origin, size):  # type: ignore[no-untyped-def]
    """How many elements of a window lie before the output."""
    before = size // 2 + origin
    if not 0 <= before < size:
        first, last = -(size // 2), (size - 1) // 2
        raise ValueError(f"{name}(): invalid origin: it is {origin}, expected {first} to {last} for a window of {size}")
    return before


# ---- sums


def weighted_axis(
    name: str, input: Any, weights: Any, axis: Any, output: Any, mode: Any, cval: Any, origin: Any
) -> Callable[..., Any]:
    """The implementation of `correlate1d` and `convolve1d`."""
    known = filter_of(name, SUM, input, output, mode, cval)
    weights_of(name, weights, 1)
    axes, origins = numbers_of(name, "axis", axis, 1), numbers_of(name, "origin", origin, 1)
    run, flip, rank, boundary = running(known), name == "convolve1d", known.rank, known.boundary
    empty = f"{name}(): no filter weights given: weights has shape (0,), expected one dimension and an element"

    def implementation(  # type: ignore[no-untyped-def]
        input, weights, axis=-1, output=None, mode="reflect", cval=0.0, origin=0
    ):
        size = weights.size
        if size == 0:
            raise ValueError(empty)
        place, before = axis_of(name, axes(axis)[0], rank), before_of(name, origins(origin)[0], size)
        given, filtered = np.empty(FIRST_WEIGHT + size), np.empty(FILTERED_FIELDS, np.int64)
        given[0] = cval
        for i in range(size):
            given[FIRST_WEIGHT + i] = weights[size - 1 - i if flip else i]
        write_row(filtered, 0, place, size, size - 1 - before if flip else before, boundary, FIRST_WEIGHT)
        return run(input, filtered, 1, given, np.float64(cval))

    return implementation


def weighted_window(
    name: str, input: Any, weights: Any, output: Any, mode: Any, cval: Any, origin: Any, axes: Any
) -> Callable[..., Any]:
    """The implementation of `correlate` and `convolve`."""
    known = filter_of(name, SUM, input, output, mode, cval, is_window=True)
    refuse(name, axes=axes)
    rank, boundary, flip = known.rank, known.boundary, name == "convolve"
    weights_of(name, weights, rank)
    origins, run = numbers_of(name, "origin", origin, rank), running(known)
    empty = f"{name}(): weights is empty, expected a length of 1 or more for each axis that is filtered"

    def implementation(  # type: ignore[no-untyped-def]
        input, weights, output=None, mode="reflect", cval=0.0, origin=0, axes=None
    ):
        count = weights.size
        if count == 0:
            raise ValueError(empty)
        given, filtered = np.empty(FIRST_WEIGHT + count), np.empty(rank * FILTERED_FIELDS, np.int64)
        given[0] = cval
        is_zero = True
        for i, weight in enumerate(weights.flat):
            given[FIRST_WEIGHT + (count - 1 - i if flip else i)] = weight
            is_zero = is_zero and weight == 0
        each = origins(origin)
        for axis in range(rank):
            size = weights.shape[axis]
            before = before_of(name, each[axis], size)
            write_row(filtered, axis, axis, size, size - 1 - before if flip else before, boundary, 0)
        if is_zero:
            return np.zeros(input.shape, input.dtype)
        return run(input, filtered, rank, given, np.float64(cval))

    return implementation


def loop_of(at: int, operands: tuple[int, ...], steps: tuple[int, ...]) -> Callable[..., Any]:
    """What calls one of NumPy's own loops, so that numbers have the bits that NumPy gives them.

    It takes how many there are and two arrays; `operands` says which of these the loop is given, `steps` how it goes.
    """

    @intrinsic  # type: ignore[untyped-decorator]
    def call(typingctx: Any, count: Any, first: Any, second: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            table, pointer = table_of(builder), ir.IntType(8).as_pointer()
            loop, data = (builder.load(builder.gep(table, [_INT64(at + i)])) for i in range(2))
            arrays = [context.make_array(signature.args[1 + i])(context, builder, args[1 + i]) for i in operands]
            places = [builder.ptrtoint(array.data, _INT64) for array in arrays]
            lists = [cgutils.alloca_once(builder, ir.ArrayType(_INT64, len(operands))) for _ in range(2)]
            for found, numbers in zip(lists, (places, map(_INT64, steps)), strict=True):
                for i, number in enumerate(numbers):
                    builder.store(number, builder.gep(found, [_INT64(0), _INT64(i)]))
            size = cgutils.alloca_once_value(builder, args[0])
            given = [builder.bitcast(each, pointer) for each in (lists[0], size, lists[1])]
            kind = ir.FunctionType(ir.VoidType(), [pointer] * 4).as_pointer()
            builder.call(builder.inttoptr(loop, kind), [*given, builder.inttoptr(data, pointer)])
            return context.get_dummy_value()

        return types.void(types.intp, first, second), codegen

    return call  # type: ignore[no-any-return]


exponential, addition = loop_of(IN_TABLE.exponential, (0, 1), (8, 8)), loop_of(IN_TABLE.addition, (0, 1, 0), (0, 8, 0))


@part
def write_gaussian(given, first, sigma, radius):  # type: ignore[no-untyped-def]
    """Write the weights of a Gaussian, as the frontend has them."""
    size, scale, total = 2 * radius + 1, -0.5 / (sigma * sigma), np.zeros(1)
    x, bell = np.empty(size), given[first : first + size]
    for i in range(size):
        x[i] = scale * ((i - radius) * (i - radius))
    exponential(size, x, bell)
    addition(size, total, bell)
    for i in range(size):
        bell[i] /= total[0]


@part
def radius_of(name, sigma, truncate):  # type: ignore[no-untyped-def]
    """How far a Gaussian reaches."""
    reach = truncate * sigma + 0.5
    if not np.isfinite(reach):
        raise ValueError(f"{name}(): sigma or truncate is not finite, expected finite numbers")
    radius = int(reach)
    if radius < 0:
        raise ValueError(f"{name}(): radius is {radius}, expected a nonnegative integer")
    if sigma * sigma == 0:
        raise ValueError(f"{name}(): sigma is 0, expected a number whose square is above 0")
    return radius


def gaussian_axis(
    name: str, input: Any, sigma: Any, axis: Any, order: Any, output: Any, mode: Any, cval: Any, truncate: Any,
    radius: Any,
) -> Callable[..., Any]:  # fmt: skip
    """The implementation of `gaussian_filter1d`."""
    known = filter_of(name, SUM, input, output, mode, cval)
    refuse(name, radius=radius)
    refuse_derivatives(name, order)
    axes, sigmas = numbers_of(name, "axis", axis, 1), numbers_of(name, "sigma", sigma, 1, types.float64)
    truncates, run = numbers_of(name, "truncate", truncate, 1, types.float64), running(known)
    rank, boundary = known.rank, known.boundary

    def implementation(  # type: ignore[no-untyped-def]
        input, sigma, axis=-1, order=0, output=None, mode="reflect", cval=0.0, truncate=4.0, radius=None
    ):
        place, deviation = axis_of(name, axes(axis)[0], rank), sigmas(sigma)[0]
        reach = radius_of(name, deviation, truncates(truncate)[0])
        given, filtered = np.empty(FIRST_WEIGHT + 2 * reach + 1), np.empty(FILTERED_FIELDS, np.int64)
        given[0] = cval
        write_gaussian(given, FIRST_WEIGHT, deviation, reach)
        write_row(filtered, 0, place, 2 * reach + 1, reach, boundary, FIRST_WEIGHT)
        return run(input, filtered, 1, given, np.float64(cval))

    return implementation


def gaussian(
    name: str, input: Any, sigma: Any, order: Any, output: Any, mode: Any, cval: Any, truncate: Any, radius: Any,
    axes: Any,
) -> Callable[..., Any]:  # fmt: skip
    """The implementation of `gaussian_filter`."""
    known = filter_of(name, SUM, input, output, mode, cval)
    refuse(name, radius=radius, axes=axes)
    refuse_derivatives(name, order)
    rank, boundary, run = known.rank, known.boundary, running(known)
    sigmas = numbers_of(name, "sigma", sigma, rank, types.float64)
    truncates = numbers_of(name, "truncate", truncate, 1, types.float64)

    def implementation(  # type: ignore[no-untyped-def]
        input, sigma, order=0, output=None, mode="reflect", cval=0.0, truncate=4.0, radius=None, axes=None
    ):
        each, end, filtered = sigmas(sigma), truncates(truncate)[0], np.empty(rank * FILTERED_FIELDS, np.int64)
        at, passes = FIRST_WEIGHT, 0
        for axis in range(rank):
            if each[axis] > 1e-15:
                reach = radius_of(name, each[axis], end)
                write_row(filtered, passes, axis, 2 * reach + 1, reach, boundary, at)
                at, passes = at + 2 * reach + 1, passes + 1
        if passes == 0:
            return input.copy()
        given = np.empty(at)
        given[0] = cval
        for i in range(passes):
            row = filtered[i * FILTERED_FIELDS : (i + 1) * FILTERED_FIELDS]
            write_gaussian(given, row[4], each[row[0]], row[2])
        return run(input, filtered, passes, given, np.float64(cval))

    return implementation


# ---- means and extrema


def kind_of(name: str) -> int:
    """What a filter with a name makes of a window."""
    kind: int = _KINDS[name.partition("_")[0]]
    return kind


def box_axis(
    name: str, input: Any, size: Any, axis: Any, output: Any, mode: Any, cval: Any, origin: Any
) -> Callable[..., Any]:
    """The implementation of `uniform_filter1d`, `maximum_filter1d` and `minimum_filter1d`."""
    known = filter_of(name, kind_of(name), input, output, mode, cval)
    axes, sizes = numbers_of(name, "axis", axis, 1), numbers_of(name, "size", size, 1)
    origins, run, rank, boundary = numbers_of(name, "origin", origin, 1), running(known), known.rank, known.boundary

    def implementation(  # type: ignore[no-untyped-def]
        input, size, axis=-1, output=None, mode="reflect", cval=0.0, origin=0
    ):
        place, width = axis_of(name, axes(axis)[0], rank), sizes(size)[0]
        if width < 1:
            raise ValueError(f"{name}(): incorrect filter size: it is {width}, expected 1 or more")
        before = before_of(name, origins(origin)[0], width)
        if width == 1:
            return input.copy()
        filtered = np.empty(FILTERED_FIELDS, np.int64)
        write_row(filtered, 0, place, width, before, boundary, 0)
        return run(input, filtered, 1, np.full(FIRST_WEIGHT, np.float64(cval)), np.float64(cval))

    return implementation


def boxes(known: Filter, size: Any, origin: Any) -> Callable[..., Any]:
    """What filters along each axis whose window is longer than 1."""
    name, rank, boundary, run = known.name, known.rank, known.boundary, running(known)
    sizes, origins = numbers_of(name, "size", size, rank), numbers_of(name, "origin", origin, rank)

    def slide(input, size, cval, origin):  # type: ignore[no-untyped-def]
        widths, moved, filtered, passes = sizes(size), origins(origin), np.empty(rank * FILTERED_FIELDS, np.int64), 0
        for axis in range(rank):
            if widths[axis] > 1:
                before = before_of(name, moved[axis], widths[axis])
                write_row(filtered, passes, axis, widths[axis], before, boundary, 0)
                passes += 1
        if passes == 0:
            return input.copy()
        return run(input, filtered, passes, np.full(FIRST_WEIGHT, np.float64(cval)), np.float64(cval))

    compiled: Callable[..., Any] = part(slide)
    return compiled


def mean(
    name: str, input: Any, size: Any, output: Any, mode: Any, cval: Any, origin: Any, axes: Any
) -> Callable[..., Any]:
    """The implementation of `uniform_filter`."""
    known = filter_of(name, MEAN, input, output, mode, cval)
    refuse(name, axes=axes)
    slide = boxes(known, size, origin)

    def implementation(  # type: ignore[no-untyped-def]
        input, size=3, output=None, mode="reflect", cval=0.0, origin=0, axes=None
    ):
        return slide(input, size, cval, origin)

    return implementation


def extremum(
    name: str, input: Any, size: Any, footprint: Any, output: Any, mode: Any, cval: Any, origin: Any, axes: Any
) -> Callable[..., Any]:
    """The implementation of `maximum_filter` and `minimum_filter`."""
    known = filter_of(name, kind_of(name), input, output, mode, cval)
    refuse(name, footprint=footprint, axes=axes)
    if constant(size) is None:
        raise TypingError(f"{name}(): size is None, expected an int or several inside compiled code")
    slide = boxes(known, size, origin)

    def implementation(  # type: ignore[no-untyped-def]
        input, size=None, footprint=None, output=None, mode="reflect", cval=0.0, origin=0, axes=None
    ):
        return slide(input, size, cval, origin)

    return implementation
