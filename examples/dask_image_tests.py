"""Run dask-image's own tests of its filters with fastconv's functions in the place of its own.

git clone https://github.com/dask/dask-image
python examples/dask_image_tests.py dask-image
"""

import argparse
import inspect
import sys
from pathlib import Path

import pytest
from dask_image import ndfilters

from fastconv import dask as lazy

NAMES = [name for name in lazy.ndimage.__all__ if hasattr(ndfilters, name)]
FILES = "test__conv.py", "test__diff.py", "test__edge.py", "test__gaussian.py", "test__order.py", "test__smooth.py"


def in_place_of(name):
    """Arguments by dask-image's names, in its order, which has no `output`."""
    signature, own = inspect.signature(getattr(ndfilters, name)), getattr(lazy.ndimage, name)

    def function(*args, **kwargs):
        arguments = signature.bind(*args, **kwargs).arguments
        image = arguments.pop("image")
        return own(image, **arguments, **arguments.pop("kwargs", {}))

    return function


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path)
    parser.add_argument("rest", nargs="*", help="for pytest, after --")
    args = parser.parse_args(arguments)
    for name in NAMES:
        setattr(ndfilters, name, in_place_of(name))
    print(f"in place of dask-image's: {', '.join(NAMES)}")
    folder = args.checkout / "tests" / "test_dask_image" / "test_ndfilters"
    files = [str(folder / file) for file in FILES]
    return pytest.main(["-q", "-p", "no:cacheprovider", "--rootdir", str(folder), *args.rest, *files])


if __name__ == "__main__":
    sys.exit(main())
