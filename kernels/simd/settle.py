"""Sums of integers that float32 holds nearly, made what float64 makes of them."""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .elements import lanes_in, outline, rounded
from .vectors import broadcast, load_vector, store_vector

_INT64 = ir.IntType(64)


@intrinsic
def settle_line(typingctx, target, at, table, entry, shift, weights, weight, taps, count, order, error):
    """Truncate a line of sums of integers, made in float32, as if they had been made as `order` says, in float64.

    A sum farther than `error` from all integers is truncated; others are made again, in float64, from what the table
    says about elements in the workspace. `order` is 0 for terms one by one, 1 for pairs and 2 for differences.
    """
    vector = ir.VectorType(ir.FloatType(), lanes_in(types.float32))
    wide = ir.VectorType(ir.DoubleType(), vector.count)

    def emit(context, builder, signature, args):
        if target.dtype != types.float32:
            return context.get_dummy_value()

        def call(inner, name, value):
            double = value.type == wide
            kind = ir.FunctionType(value.type, [value.type])
            name = f"llvm.{name}.v{vector.count}{'f64' if double else 'f32'}"
            return inner.call(cgutils.get_or_insert_function(inner.module, kind, name), [value])

        def again(inner, table, weights, shift, taps, paired, sign, out):
            """Sums of a vector in float64."""

            def element(index):
                place = inner.add(inner.load(inner.gep(table, [index])), shift)
                value = load_vector(inner, inner.inttoptr(place, vector.element.as_pointer()), vector)
                return inner.fpext(value, wide)

            def weigh(tap):
                return broadcast(inner, inner.load(inner.gep(weights, [tap])), wide)

            step = inner.add(paired, _INT64(1))
            total = cgutils.alloca_once(inner, wide)
            inner.store(inner.fmul(element(_INT64(0)), weigh(_INT64(0))), total)
            with cgutils.for_range_slice(inner, _INT64(1), taps, _INT64(1), inc=True) as (tap, _):
                index = inner.mul(tap, step)
                first, second = element(index), element(inner.add(index, paired))
                # One by one, the other element counts nothing; 0 is added, and -1 times it for differences.
                both = inner.fadd(first, inner.fmul(second, broadcast(inner, sign, wide)))
                has_two = inner.icmp_signed("!=", paired, _INT64(0))
                value = inner.select(broadcast(inner, has_two, ir.VectorType(ir.IntType(1), wide.count)), both, first)
                product = rounded(inner, inner.fmul(value, weigh(tap)))
                inner.store(inner.fadd(inner.load(total), product), total)
            whole = inner.fptrunc(call(inner, "trunc", inner.load(total)), vector)
            store_vector(inner, whole, out)

        def body(inner, data, table, shift, weights, taps, count, paired, sign, error):
            near = broadcast(inner, error, vector)
            kinds = [table.type, weights.type, _INT64, _INT64, _INT64, sign.type, data.type]
            with cgutils.for_range_slice(inner, _INT64(0), count, _INT64(vector.count), inc=True) as (offset, _):
                where = inner.gep(data, [offset])
                value = load_vector(inner, where, vector)
                apart = call(inner, "fabs", inner.fsub(value, call(inner, "rint", value)))
                store_vector(inner, call(inner, "trunc", value), where)
                mask = inner.bitcast(inner.fcmp_ordered("<", apart, near), ir.IntType(vector.count))
                with inner.if_then(inner.icmp_unsigned("!=", mask, mask.type(0)), likely=False):
                    place = inner.add(shift, inner.mul(offset, _INT64(4)))
                    outline(inner, "settle_again", kinds, again)([table, weights, place, taps, paired, sign, where])

        data, at, table, entry, shift, weights, weight, taps, count, order, error = args
        table, weights = builder.gep(table, [entry]), builder.gep(weights, [weight])
        paired = builder.zext(builder.icmp_signed("!=", order, _INT64(0)), _INT64)
        double = ir.DoubleType()
        sign = builder.select(builder.icmp_signed("==", order, _INT64(2)), double(-1.0), double(1.0))
        error = builder.fptrunc(error, ir.FloatType())
        values = [builder.gep(data, [at]), table, shift, weights, taps, count, paired, sign, error]
        outline(builder, "settle_line", [value.type for value in values], body)(values)
        return context.get_dummy_value()

    n = types.intp
    return types.void(target, n, table, n, n, weights, n, n, n, n, types.float64), emit
