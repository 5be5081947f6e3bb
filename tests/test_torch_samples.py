"""PyTorch's own sample inputs, of all functions of `fastconv.functional` that it has some of: values, and errors."""

import warnings

import numpy as np
import pytest

import fastconv.functional as F
from fastconv.torch_names import Refusal

pytestmark = pytest.mark.slow

OPERATIONS = [
    *(f"{name}{rank}d" for name in ("conv", "conv_transpose", "max_pool", "avg_pool") for rank in (1, 2, 3)),
    *(f"{name}{rank}d" for name in ("adaptive_avg_pool", "adaptive_max_pool", "max_unpool") for rank in (1, 2, 3)),
    "unfold",
]


def as_arrays(torch, value):
    """A sample's argument with NumPy arrays for tensors."""
    if isinstance(value, torch.Tensor):
        return value.detach().resolve_conj().resolve_neg().numpy()
    return tuple(as_arrays(torch, each) for each in value) if isinstance(value, (tuple, list)) else value


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", [name for name in OPERATIONS if hasattr(F, name)])
def test_samples(name, dtype):
    torch = pytest.importorskip("torch")
    methods = pytest.importorskip("torch.testing._internal.common_methods_invocations")
    found = [each for each in methods.op_db if each.name == f"nn.functional.{name}" and not each.variant_test_name]
    assert found, f"PyTorch has no samples of {name}"
    count, limit = 0, 1e-4 if dtype == "float32" else 1e-11
    for sample in found[0].sample_inputs("cpu", getattr(torch, dtype), requires_grad=False):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a copy that PyTorch makes for even kernels
            expected = found[0](sample.input, *sample.args, **sample.kwargs)
        arguments = [as_arrays(torch, each) for each in (sample.input, *sample.args)]
        got = getattr(F, name)(*arguments, **{key: as_arrays(torch, each) for key, each in sample.kwargs.items()})
        pairs = zip(*(each if isinstance(each, tuple) else (each,) for each in (got, expected)), strict=True)
        for mine, theirs in pairs:
            assert mine.shape == tuple(theirs.shape) and mine.dtype.name == str(theirs.dtype).partition(".")[2]
            np.testing.assert_allclose(mine, theirs.numpy(), rtol=limit, atol=limit, err_msg=str(sample))
        count += 1
    assert count


@pytest.mark.parametrize("name", [name for name in OPERATIONS if hasattr(F, name)])
def test_samples_of_errors(name):
    torch = pytest.importorskip("torch")
    methods = pytest.importorskip("torch.testing._internal.common_methods_invocations")
    (operation,) = (
        each for each in methods.op_db if each.name == f"nn.functional.{name}" and not each.variant_test_name
    )
    if operation.error_inputs_func is None:
        pytest.skip("PyTorch has no samples of errors")
    for wrong in operation.error_inputs("cpu"):
        sample = wrong.sample_input
        arguments = [as_arrays(torch, each) for each in (sample.input, *sample.args)]
        with pytest.raises((Refusal, TypeError)):
            getattr(F, name)(*arguments, **{key: as_arrays(torch, each) for key, each in sample.kwargs.items()})
