"""The sources of the whole package: what the code of compiled callers is made of."""

from pathlib import Path

from . import kernels
from .kernels.sources import Sources

PACKAGE = Sources(Path(__file__).parent, Path(kernels.__file__).parent)
