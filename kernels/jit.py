"""Compiling and caching: the only module that spells Numba's flags.

`kernel` marks inner functions, inlined into whoever calls them; `entry` marks what the frontend calls. Entries are
kept on disk. Numba's own cache looks only at the file of the function that it keeps, and two processes that fill it
together can swap their files; here the folder's name holds a hash of all kernel sources and each file's name a hash of
what it was compiled for; `store` reads and writes them. A process whose sources have changed under it does neither.

Numba optimises each function alone and makes machine code of it, and then does so again for each of its callers. Here
inner functions stay as they were lowered until an entry, with all that it calls, is optimised, once. Of Numba's own
passes only those run that kernels need: they use no arrays of Numba's, no closures and no comprehensions.

What `overload_part` and `part` mark becomes a part of users' own functions. All of Numba's passes run on it, and it is
optimised with its caller alone, likewise: which takes half the time.
"""

import functools
import hashlib
import pickle
import sys
from pathlib import Path
from types import FunctionType

import llvmlite
import llvmlite.binding
import numba
from numba import _dynfunc
from numba.core import config
from numba.core.caching import _Cache
from numba.core.codegen import JITCodeLibrary, JITCPUCodegen
from numba.core.compiler import CompilerBase, CompileResult, DefaultPassBuilder
from numba.core.compiler_lock import global_compiler_lock
from numba.core.compiler_machinery import PassManager, register_pass
from numba.core.typed_passes import (
    IRLegalization,
    NativeLowering,
    NoPythonBackend,
    NopythonTypeInference,
    PreLowerStripPhis,
)
from numba.core.untyped_passes import (
    DeadBranchPrune,
    FixupArgs,
    GenericRewrites,
    IRProcessing,
    ReconstructSSA,
    TranslateByteCode,
)
from numba.extending import overload as numba_overload
from numba.extending import register_jitable

from . import store
from .process import guard_forks, uninterrupted
from .sources import KERNELS

if config.DISABLE_JIT:
    raise RuntimeError("NUMBA_DISABLE_JIT is set, but fastconv's kernels run compiled only: unset it to use fastconv")

guard_forks()

# Contraction makes fused multiply-adds; nothing that reorders a sum is allowed, so the same call has the same bits.
# Nothing in a kernel has a count of references; with "_nrt" Numba would look for one in each field of each tuple.
_FLAGS = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}, "no_cfunc_wrapper": True, "_nrt": False}

# What the environment may tell Numba that changes the code; nothing here sets any of it.
_SETTINGS = "OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "BOUNDSCHECK", "DEBUGINFO_DEFAULT"

_names: dict[str, FunctionType] = {}
_offered: set[FunctionType] = set()  # to Numba, by `plain`


# What is used or overridden of Numba beyond its documented interface, each with the tests that fail without it. An
# override whose name Numba no longer calls does nothing, and nothing says so: hence the check. Attributes of instances
# (`_codegen`, `_final_module`, `_linking_libraries`) fail aloud, in every compiled call.
_INTERNALS = {
    JITCodeLibrary: (
        "_optimize_functions", "_optimize_final_module", "finalize", "_finalized", "add_linking_library",  # test_warmup
        "enable_object_caching", "has_dynamic_globals",  # test_cache
        "_finalize_final_module",  # test_njit
    ),
    JITCPUCodegen: ("_create_empty_module", "_add_module", "set_env"),  # test_njit_ndimage
    CompilerBase: ("define_pipelines",),  # test_warmup
    DefaultPassBuilder: ("define_nopython_pipeline",),  # test_njit
    NativeLowering: ("run_pass", "_name"),  # every compiled call
    _Cache: ("cache_path", "load_overload", "save_overload", "enable", "disable", "flush"),  # test_cache, test_places
    CompileResult: ("_reduce", "_rebuild", "_replace"),  # test_cache
    global_compiler_lock: ("_lock", "is_locked"),  # test_forks, test_njit_threads; `process` takes it before a fork
    config: ("CACHE_DIR", "DISABLE_JIT", *_SETTINGS),  # test_places, test_cache
}  # fmt: skip
_missing = [f"{owner}.{name}" for owner, names in _INTERNALS.items() for name in names if not hasattr(owner, name)]
assert not _missing, f"Numba {numba.__version__} has no {', '.join(_missing)}, which fastconv builds on"


class _InnerLibrary(JITCodeLibrary):
    """The code of an inner function: neither optimised nor made machine code, nor linked with what it calls."""

    def _optimize_functions(self, module):
        module.data_layout = self._codegen._data_layout

    def finalize(self):
        self._finalized = True


class _PartLibrary(_InnerLibrary):
    """The code of a part of callers, and of what it calls: neither optimised nor made machine code."""

    finalize = JITCodeLibrary.finalize

    def _optimize_final_module(self):
        """Left to the caller's library."""

    def _finalize_final_module(self):
        self._finalized = True


class _EntryLibrary(JITCodeLibrary):
    """The code of an entry and of all that it calls, directly or not."""

    def add_linking_library(self, library):
        if library not in self._linking_libraries:
            super().add_linking_library(library)
            for callee in library._linking_libraries:
                self.add_linking_library(callee)

    def _optimize_functions(self, module):
        module.data_layout = self._codegen._data_layout

    def _optimize_final_module(self):
        """Numba's own begins with a pass for counts of references, of which there are none.

        Without any optimisation, inner functions would stay functions, which is not what they are written for.
        """
        manager, builder = self._codegen._module_pass_manager(opt=max(1, config.OPT))
        manager.run(self._final_module, builder)


@register_pass(mutates_CFG=True, analysis_only=False)
class _InnerLowering(NativeLowering):
    _name, _library = "fastconv_inner_lowering", _InnerLibrary

    def run_pass(self, state):
        state.library = self._library(state.targetctx.codegen(), state.func_id.func_qualname)
        state.flags.no_compile = True
        super().run_pass(state)
        # What callers know the function by; never called, it has no address.
        described = state.cr.fndesc
        module, name = described.lookup_module(), described.qualname
        function = _dynfunc.make_function(module, name, "", 0, state.cr.env, (state.library,))
        state.targetctx.insert_user_function(function, described, [state.library])
        state.cr = state.cr._replace(cfunc=function)
        return True


@register_pass(mutates_CFG=True, analysis_only=False)
class _PartLowering(_InnerLowering):
    _name, _library = "fastconv_part_lowering", _PartLibrary

    def run_pass(self, state):
        super().run_pass(state)
        # Where a function looks for its environment, which errors of texts made at run time do. Numba gives each one
        # its own when its machine code is there: this is all that there is, before callers have the same symbol.
        codegen, name = state.targetctx.codegen(), state.targetctx.get_env_name(state.cr.fndesc)
        module = f'{codegen._create_empty_module(name)}\n@"{name}" = common global i8* null'
        codegen._add_module(llvmlite.binding.parse_assembly(module))
        codegen.set_env(name, state.cr.env)
        return True


@register_pass(mutates_CFG=True, analysis_only=False)
class _EntryLowering(NativeLowering):
    _name = "fastconv_entry_lowering"

    def run_pass(self, state):
        state.library = _EntryLibrary(state.targetctx.codegen(), state.func_id.func_qualname)
        state.library.enable_object_caching()
        return super().run_pass(state)


class _InnerCompiler(CompilerBase):
    """The passes of Numba's compiler that kernels need, in its order."""

    _lowering = _InnerLowering

    def define_pipelines(self):
        manager = PassManager("fastconv")
        for each in (
            TranslateByteCode,
            FixupArgs,
            IRProcessing,
            DeadBranchPrune,
            GenericRewrites,
            ReconstructSSA,
            NopythonTypeInference,
            PreLowerStripPhis,
            IRLegalization,
            self._lowering,
            NoPythonBackend,
        ):
            manager.add_pass(each)
        manager.finalize()
        return [manager]


class _EntryCompiler(_InnerCompiler):
    _lowering = _EntryLowering


class _PartCompiler(CompilerBase):
    """All passes of Numba's compiler, the last but for machine code."""

    def define_pipelines(self):
        manager = PassManager("fastconv")
        for each, reason in DefaultPassBuilder.define_nopython_pipeline(self.state).passes:
            manager.add_pass(_PartLowering if each is NativeLowering else each, reason)
        manager.finalize()
        return [manager]


# Said of each function, since Numba hands `forceinline` on to callees that are silent about it.
_INNER = {"pipeline_class": _InnerCompiler, "no_cpython_wrapper": True, "forceinline": False, **_FLAGS}
_INLINED = {**_INNER, "forceinline": True}
_PART = {"pipeline_class": _PartCompiler, "no_cfunc_wrapper": True}


def kernel(function):
    """An inner function, part of the entries that call it."""
    return numba.njit(**_INNER)(_named(function))


def inlined(function):
    """A `kernel` for one caller, made part of it at any size: left apart, its groups of arguments go through memory."""
    return numba.njit(**_INLINED)(_named(function))


def plain(function):
    """A function of plain Python that kernels call, too: compiled there, and interpreted elsewhere."""
    return _offer(function, _INNER)


def plain_inlined(function):
    """A function of plain Python that is made part of each kernel that calls it."""
    return _offer(function, _INLINED)


def _offer(function, options):
    if function not in _offered:  # by an import that failed afterwards
        numba_overload(_named(function), jit_options=options, strict=False)(lambda *args: function)
        _offered.add(function)
    return function


lesson = numba.njit(nogil=True)  # a function of ordinary arrays, compiled when it is first called, for anyone


def overload(function):
    """Numba's `overload`, whose implementations are inner functions."""
    return numba_overload(function, jit_options=_INNER)


def overload_part(function):
    """Numba's `overload` for users' code, whose implementations are made part of each caller."""
    return numba_overload(function, prefer_literal=True, jit_options=_PART)


def part(function):
    """A function of plain Python that implementations of `overload_part` call."""
    return register_jitable(**_PART)(function)


def entry(function):
    """Compile `function` when a signature is first asked for, and keep the machine code on disk where possible."""
    dispatcher = numba.njit(pipeline_class=_EntryCompiler, **_FLAGS)(_named(function))
    dispatcher._cache = _EntryCache(function)
    return dispatcher


def _named(function):
    """The function, named after what it closes over, too.

    Numba tells functions of one name apart by a number that differs from process to process: machine code kept by two
    processes, loaded into a third, would call each other's functions. So no two of a module may have one name, but for
    the same again: a module whose first import failed is imported once more, and calls what makes functions for it.
    """
    for cell in function.__closure__ or ():
        value = getattr(cell.cell_contents, "py_func", cell.cell_contents)
        is_function = isinstance(value, FunctionType)
        function.__qualname__ += f"_{f'{value.__module__}.{value.__qualname__}' if is_function else repr(value)}"
    name = f"{function.__module__}.{function.__qualname__}"
    known = _names.get(name, function)
    if known.__code__ is not function.__code__ and known.__globals__ is function.__globals__:
        raise RuntimeError(f"two compiled functions are called {name}")
    _names[name] = function
    return function


@functools.cache
def compiled(dispatcher, *types):
    """The C function of an entry for the given argument types; called directly, it skips Numba's type resolution."""
    if global_compiler_lock.is_locked():  # a caller is being compiled by this thread, no other can do it meanwhile
        return dispatcher.compile(types)
    return uninterrupted(dispatcher.compile, types)


_BASE = store.base(config.CACHE_DIR)  # the working directory may change


def cache_directory():
    """Folder of the compiled kernels; None where there is none and none can be made, or sources have changed.

    It may be one that can only be read, but none that others may write.
    """
    sources = KERNELS.hash()
    if sources is None or _BASE is None:
        return None
    versions = f"{sources} {numba.__version__} {llvmlite.__version__} {sys.version}"
    folder = store.open_folder(_BASE, hashlib.sha256(versions.encode()).hexdigest()[:20])
    return folder and str(folder)


class _EntryCache(_Cache):
    """One file for each entry, signature and CPU, written whole or not at all."""

    def __init__(self, function):
        self._name = f"{function.__module__.partition('.kernels.')[2]}.{function.__name__}"

    @property
    def cache_path(self):
        return cache_directory()

    def _path(self, signature, codegen):
        """The file of an entry; None where there can be none."""
        folder = cache_directory()
        if folder is None:
            return None
        key = repr((str(signature), codegen.magic_tuple(), [str(getattr(config, name)) for name in _SETTINGS]))
        return Path(folder, f"{self._name}.{hashlib.sha256(key.encode()).hexdigest()[:20]}")

    def load_overload(self, sig, target_context):
        target_context.refresh()
        path = self._path(sig, target_context.codegen())
        payload = path and store.read(path)
        if not payload:
            return None
        try:
            return CompileResult._rebuild(target_context, *pickle.loads(payload))
        except Exception:  # whoever wrote it, it holds no code of this entry: compile and write it anew
            return None

    def save_overload(self, sig, data):
        if data.library.has_dynamic_globals:
            raise RuntimeError(f"{self._name} holds an address of this process and cannot be cached")
        path = self._path(sig, data.codegen)
        if path is None:
            return
        try:
            reduced = data._reduce()
        except RuntimeError:  # LLVM's code came while an interrupt did, which ends in C: it can be run, but not kept
            return
        store.write(path, numba.core.serialize.dumps(reduced))

    def enable(self):
        """Nothing to switch: every entry has this cache."""

    disable = flush = enable
