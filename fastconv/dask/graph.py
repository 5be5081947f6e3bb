"""From a plan of each axis to a Dask array: one task for each block of the result, which takes blocks of the input.

A task takes these whole, cuts what it needs out of them and lays that together: no other tasks stand between two
operations. What all tasks of a call have in common, its weights among it, is one key of the graph.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

import dask.array as da
import numpy as np
from dask._task_spec import Task, TaskRef
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph

from ..problem import Array
from ..problem import as_array as as_numpy
from ..threads import alone
from .halo import Channels, Part

Parts: TypeAlias = tuple[Any, ...]  # one `Part`, or for channels a `Channels`, for each axis of the input


def as_dask(function: str, name: str, value: Any) -> da.Array:
    """`value` as a Dask array with NumPy blocks of known sizes; what is no Dask array has to be one for NumPy."""
    if not isinstance(value, da.Array):
        value = as_numpy(function, name, value)
        return da.from_array(value, name=f"array-{tokenize(value)}")
    meta = value._meta
    if type(meta) is not np.ndarray:
        kind = "masked arrays" if isinstance(meta, np.ma.MaskedArray) else f"{type(meta).__name__} blocks"
        raise TypeError(f"{function}(): {name} is a Dask array of {kind}, expected one of plain NumPy arrays")
    if any(np.isnan(n) for chunks in value.chunks for n in chunks):
        raise ValueError(
            f"{function}(): {name} has unknown chunk sizes {value.chunks}, expected known ones; "
            f"call {name}.compute_chunk_sizes() first"
        )
    return value


def standing_in(x: Any) -> Any:
    """For checks: an array of the same shape and dtype without elements of its own, if `x` is a Dask array."""
    return np.broadcast_to(np.empty((), x.dtype), x.shape) if isinstance(x, da.Array) else x


def as_operand(value: Any) -> Any:
    """What a task takes: a Dask array in one block, and anything else as it is."""
    return value.rechunk(-1) if isinstance(value, da.Array) else value


class Graph:
    """The layers of one call. `run(*operands, parts, blocks)` makes a block of the result."""

    def __init__(self, function: str, x: da.Array, run: Callable[..., Any], *operands: Any) -> None:
        self.token = tokenize(function, x.name, run, *operands)
        self.function, self._x = function, x
        self._sources = [x, *[operand for operand in operands if isinstance(operand, da.Array)]]
        self._shared = f"{function}-call-{self.token}"
        taken = [
            TaskRef((operand.name, *[0] * operand.ndim)) if isinstance(operand, da.Array) else operand
            for operand in operands
        ]
        self._call = Task(self._shared, partial, run, *taken)

    def array(
        self,
        plan: Sequence[Sequence[Any]],
        chunks: Sequence[Sequence[int]],
        dtype: np.dtype[Any],
        place: Callable[[tuple[int, ...]], tuple[int, ...]] = tuple,
    ) -> da.Array:
        """The result of one array; `place`: of a block, by the numbers of its parts."""
        name = f"{self.function}-{self.token}"
        graph = HighLevelGraph.from_collections(name, self._tasks(name, plan, place), dependencies=self._sources)
        return da.Array(graph, name, tuple(map(tuple, chunks)), dtype=dtype, meta=_meta(chunks, dtype))

    def pair(
        self, plan: Sequence[Sequence[Any]], chunks: Sequence[Sequence[int]], dtypes: Sequence[np.dtype[Any]]
    ) -> tuple[da.Array, ...]:
        """The results of several arrays, whose blocks one task makes."""
        both = f"{self.function}-blocks-{self.token}"
        graph = HighLevelGraph.from_collections(both, self._tasks(both, plan, tuple), dependencies=self._sources)
        results = []
        for i, dtype in enumerate(dtypes):
            name = f"{self.function}-{i}-{self.token}"
            tasks = {
                (name, *index): Task((name, *index), _item, TaskRef((both, *index)), i)
                for index in itertools.product(*[range(len(axis)) for axis in chunks])
            }
            layers, needs = {**graph.layers, name: tasks}, {**graph.dependencies, name: {both}}
            results.append(
                da.Array(HighLevelGraph(layers, needs), name, chunks, dtype=dtype, meta=_meta(chunks, dtype))
            )
        return tuple(results)

    def _tasks(
        self,
        name: str,
        plan: Sequence[Sequence[Any]],
        place: Callable[[tuple[int, ...]], tuple[int, ...]],
    ) -> dict[Any, Task]:
        source, call = self._x.name, TaskRef(self._shared)
        refs = {
            index: TaskRef((source, *index)) for index in itertools.product(*[range(len(n)) for n in self._x.chunks])
        }
        numbered = [list(enumerate(zip(parts, map(_chunks_of, parts)))) for parts in plan]
        tasks: dict[Any, Task] = {self._shared: self._call}
        for chosen in itertools.product(*numbered):
            key = (name, *place(tuple([number for number, _ in chosen])))
            parts = tuple([part for _, (part, _) in chosen])
            blocks = [refs[index] for index in itertools.product(*[found for _, (_, found) in chosen])]
            tasks[key] = Task(key, run_block, call, parts, *blocks)
        return tasks


def _meta(chunks: Sequence[Any], dtype: np.dtype[Any]) -> Array:
    return np.empty((0,) * len(chunks), dtype)


def _item(results: tuple[Array, ...], i: int) -> Array:
    return results[i]


def empty(shape: Sequence[int], dtype: np.dtype[Any]) -> da.Array:
    """A result without elements, in one block."""
    return da.zeros(tuple(shape), dtype=dtype, chunks=tuple(shape))


# ---- inside a task


def run_block(call: Callable[..., Any], parts: Parts, *blocks: Array) -> Any:
    """A block of the result, made by one thread."""
    found = dict(zip(itertools.product(*map(_chunks_of, parts)), blocks))
    with alone():
        return call(parts, found)


def _chunks_of(part: Part | Channels) -> list[int]:
    """The chunks of an axis that a part takes something of."""
    return list(dict.fromkeys(piece.chunk for piece in part.pieces))
