"""The libraries that `bench` compares with: each loader gives a `Peer`, or raises ImportError.

All but SciPy correlate, so that their kernel is flipped beforehand. Each runs on one thread, but for JAX, which has no
such setting.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Call = Callable[[], Any]


class Peer(NamedTuple):
    """A library's valid convolution: `prepare(x, w)` gives a call without arguments, or None where it has none."""

    prepare: Callable[[Array, Array], Call | None]
    traced: bool  # whether tracemalloc sees the library's memory


def _flip(w: Array) -> Array:
    return np.ascontiguousarray(w[:, :, ::-1, ::-1])


def load_torch() -> Peer:
    """PyTorch, without gradients."""
    import torch

    torch.set_num_threads(1)

    def prepare(x: Array, w: Array) -> Call:
        tensors = torch.from_numpy(x), torch.from_numpy(_flip(w))

        def call() -> Any:
            with torch.inference_mode():
                return torch.nn.functional.conv2d(*tensors)

        return call

    return Peer(prepare, traced=False)


def _onnx_model(x: Array, w: Array) -> bytes:
    """A model of one Conv node with the kernel as a constant."""
    import onnx
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"])],
        "conv",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(_flip(w), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8  # old enough for every runtime that takes opset 17
    data: bytes = model.SerializeToString()
    return data


def load_onnxruntime() -> Peer:
    """ONNX Runtime; its kernel is prepared once, outside the call."""
    import onnx  # noqa: F401  # the model is built with it
    import onnxruntime

    def prepare(x: Array, w: Array) -> Call:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(_onnx_model(x, w), options, providers=["CPUExecutionProvider"])
        return lambda: session.run(None, {"x": x})[0]

    return Peer(prepare, traced=False)


def load_openvino() -> Peer:
    """OpenVINO; its kernel is prepared once, outside the call."""
    import onnx  # noqa: F401  # the model is built with it
    import openvino

    core = openvino.Core()
    options = {"INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}

    def prepare(x: Array, w: Array) -> Call:
        compiled = core.compile_model(core.read_model(_onnx_model(x, w)), "CPU", options)
        request = compiled.create_infer_request()
        request.set_input_tensor(openvino.Tensor(x))

        def call() -> Any:
            request.infer()
            return request.get_output_tensor().data

        return call

    return Peer(prepare, traced=False)


def load_jax() -> Peer:
    """JAX, compiled."""
    import jax

    convolve = jax.jit(lambda x, w: jax.lax.conv_general_dilated(x, w, (1, 1), "VALID"))

    def prepare(x: Array, w: Array) -> Call:
        arrays = jax.numpy.asarray(x), jax.numpy.asarray(_flip(w))
        return lambda: convolve(*arrays).block_until_ready()

    return Peer(prepare, traced=False)


def _one_plane(x: Array, w: Array) -> bool:
    return x.shape[:2] == w.shape[:2] == (1, 1)


def load_opencv() -> Peer:
    """OpenCV, for one plane: its filter keeps the size of the image, so the valid part is cut out."""
    import cv2

    cv2.setNumThreads(1)

    def prepare(x: Array, w: Array) -> Call | None:
        if not _one_plane(x, w):
            return None
        image, kernel = x[0, 0], _flip(w)[0, 0]
        valid = tuple(slice(k // 2, k // 2 + i - k + 1) for i, k in zip(image.shape, kernel.shape))
        return lambda: cv2.filter2D(image, -1, kernel)[valid]

    return Peer(prepare, traced=False)


def load_scipy() -> Peer:
    """SciPy, for one plane."""
    from scipy import signal

    def prepare(x: Array, w: Array) -> Call | None:
        if not _one_plane(x, w):
            return None
        return lambda: signal.convolve2d(x[0, 0], w[0, 0], "valid")

    return Peer(prepare, traced=True)


PEERS: dict[str, Callable[[], Peer]] = {
    "torch": load_torch,
    "onnxruntime": load_onnxruntime,
    "openvino": load_openvino,
    "jax": load_jax,
    "opencv": load_opencv,
    "scipy": load_scipy,
}
