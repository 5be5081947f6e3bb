"""The code that fills a frame of words on a caller's stack and hands it to the functions of `kernels`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from ..extending import SYMBOL
from ..kernels.calls.frame import AT, FRAME, IN_TABLE, WORDS
from ..kernels.shapes import AXIS_FIELDS, Axis

_INT64, _BYTE = ir.IntType(64), ir.IntType(8)
TEXT_BYTES = 1024  # of a message, with the zero at its end; what is longer is cut


def table_of(builder: Any) -> Any:
    """The table of what is called, in the code that is emitted."""
    table = builder.module.globals.get(SYMBOL)
    return ir.GlobalVariable(builder.module, _INT64, SYMBOL) if table is None else table


class Frame:
    """A frame of one call, while the code of its caller is emitted."""

    def __init__(self, context: Any, builder: Any, function: str, padding_name: str) -> None:
        self.context, self.builder = context, builder
        with builder.goto_entry_block():  # `cgutils.alloca_once` would fill both with zeros in each call
            place, self._text = (builder.alloca(ir.ArrayType(*kind)) for kind in ((_INT64, FRAME), (_BYTE, TEXT_BYTES)))
        self._words = builder.bitcast(place, _INT64.as_pointer())
        self._table = table_of(builder)
        self.put(AT.table, self._table)
        self.put(AT.function, *(context.insert_const_string(builder.module, text) for text in (function, padding_name)))
        self.put(AT.bad_index, -1)
        self.put(AT.is_resolved, 0)

    def put(self, at: int, *values: Any) -> None:
        """Write numbers or pointers from a word on."""
        for i, value in enumerate(values):
            if isinstance(value, (int, np.integer)):
                value = _INT64(int(value))
            elif isinstance(value.type, ir.PointerType):
                value = self.builder.ptrtoint(value, _INT64)
            self.builder.store(value, self.builder.gep(self._words, [_INT64(at + i)]))

    def put_array(self, at: int, kind: Any, value: Any) -> list[Any]:
        """Write where an array lies, its shape and its strides; the numbers of its shape."""
        array = self.context.make_array(kind)(self.context, self.builder, value)
        shape, steps = (cgutils.unpack_tuple(self.builder, t, kind.ndim) for t in (array.shape, array.strides))
        self.put_memory(at, array.data, shape, steps)
        return list(shape)

    def put_memory(self, at: int, data: Any, shape: Sequence[Any], steps: Sequence[Any]) -> None:
        """Write where an array of another shape lies in memory."""
        self.put(at, data, self._held(shape), self._held(steps))

    def put_scalar(self, at: int, pointer: Any, size: int) -> None:
        """Write where a number of so many bytes lies, as an array of one element."""
        self.put_memory(at, pointer, [_INT64(1)], [_INT64(size)])

    def _held(self, numbers: Sequence[Any]) -> Any:
        place = cgutils.alloca_once(self.builder, ir.ArrayType(_INT64, len(numbers)))
        for i, number in enumerate(numbers):
            self.builder.store(number, self.builder.gep(place, [_INT64(0), _INT64(i)]))
        return place

    def put_axis(self, i: int, *numbers: Any) -> None:
        """Write one of the axes."""
        self.put(AT.axes + i * AXIS_FIELDS, *numbers)

    def out_size(self, i: int) -> Any:
        """The size of the output along one of the axes, once the frame is resolved."""
        return self.word(AT.axes + i * AXIS_FIELDS + Axis._fields.index("out"))

    def word(self, at: int) -> Any:
        """A word of the frame."""
        return self.builder.load(self.builder.gep(self._words, [_INT64(at)]))

    def word_of_table(self, at: int) -> Any:
        """A word of the table."""
        return self.builder.load(self.builder.gep(self._table, [_INT64(at)]))

    def perform(self, resolve: int, run: int, allocate: Callable[[], None], is_lost: Any = cgutils.false_bit) -> Any:
        """Have the frame resolved, make room for results, and have it run; the address of a message, or 0."""
        builder = self.builder
        message = cgutils.alloca_once_value(builder, _INT64(0))
        with builder.if_then(self.call(resolve), likely=False):
            text = self.explain()
            # Nothing may be wrong with a frame that is resolved: arrays in each other's gaps seem to overlap.
            accepted = builder.or_(
                cgutils.is_not_null(builder, text), cgutils.is_not_null(builder, self.word(AT.is_resolved))
            )
            builder.store(builder.select(accepted, text, self.word_of_table(IN_TABLE.refused)), message)
        with builder.if_then(is_lost, likely=False):
            builder.store(self.word_of_table(IN_TABLE.unheld), message)
        with builder.if_then(cgutils.is_null(builder, builder.load(message))):
            allocate()
            with builder.if_then(builder.not_(self.call(run)), likely=False):
                builder.store(self.word_of_table(IN_TABLE.failed), message)
                with builder.if_then(builder.icmp_signed(">=", self.word(AT.bad_index), _INT64(0))):
                    builder.store(self.explain(), message)
        with builder.if_then(cgutils.is_not_null(builder, builder.load(message)), likely=False):
            self._tell_what_is_lost(builder.load(message))
        return builder.load(message)

    def call(self, at: int) -> Any:
        """What a function of the table answers to this frame."""
        convention = self.context.call_conv
        kind = convention.get_function_type(types.boolean, (WORDS,))
        array = cgutils.create_struct_proxy(WORDS)(self.context, self.builder)
        array.data = self._words
        function = self.builder.inttoptr(self.word_of_table(at), kind.as_pointer())
        _, answer = convention.call_function(self.builder, function, types.boolean, (WORDS,), [array._getvalue()])
        return self.context.is_true(self.builder, types.boolean, answer)

    def explain(self) -> Any:
        """The address of the interpreter's words for what is wrong, 0 if nothing is. They lie on the caller's stack."""
        self.put(AT.message, self.word_of_table(IN_TABLE.refused))  # if an interrupt comes before its first word
        self._ask(IN_TABLE.explain, self._text)
        return self.word(AT.message)

    def _tell_what_is_lost(self, message: Any) -> None:
        """Give the interpreter a message for which it has no thread: what `prange` raises there, Numba drops."""
        builder = self.builder
        kind = ir.FunctionType(_BYTE.as_pointer(), [])
        thread = cgutils.get_or_insert_function(builder.module, kind, "PyGILState_GetThisThreadState")
        with builder.if_then(cgutils.is_null(builder, builder.call(thread, []))):
            self._ask(IN_TABLE.lose, builder.inttoptr(message, _BYTE.as_pointer()))

    def _ask(self, at: int, place: Any) -> None:
        """Have the interpreter look at this frame and a place.

        A thread of `prange` may ask, too: who runs a loop has given the interpreter's lock away.
        """
        builder = self.builder
        function = ir.FunctionType(ir.VoidType(), [_INT64, _INT64]).as_pointer()
        function = builder.inttoptr(self.word_of_table(at), function)
        builder.call(function, [builder.ptrtoint(given, _INT64) for given in (self._words, place)])
