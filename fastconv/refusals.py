"""How drop-ins for PyTorch refuse: it raises RuntimeError where users of NumPy expect ValueError, so they are both."""


class Refusal(ValueError, RuntimeError):
    """A wrong shape or value, under PyTorch's names of functions and arguments."""
