"""What no commit can change: a step in one of these curves is the machine's, and so are steps beside it."""

from .common import copy, matrix_product, samples_of, tracked


@tracked("seconds", "control: matrix product", rounds=2)
def track_matrix_product(dtype):
    return samples_of(matrix_product(dtype))


track_matrix_product.params = [["float32", "float64"]]
track_matrix_product.param_names = ["dtype"]


@tracked("seconds", "control: copy", rounds=2)
def track_copy(size):
    return samples_of(copy(size << 20))


track_copy.params = [[1, 16]]
track_copy.param_names = ["MB"]


@tracked("seconds", "control: Python", rounds=2)
def track_python():
    return samples_of(lambda: sum(i & 1 for i in range(10_000)))
