"""The jobs of docs/examples.md: on fastconv and on SciPy they have the same results, and as many lines."""

import numpy as np
import pytest

from asv_benchmarks import examples

pytest.importorskip("scipy")
pytest.importorskip("matplotlib")
FIRST, JOBS = examples.read()


@pytest.fixture(scope="module")
def names():
    """What the page's blocks find, in its order."""
    found = {}
    exec(FIRST, found)
    return found


def results(block, names):
    """The arrays that a block makes, and those that it replaces."""
    found = dict(names)
    exec(block, found)
    return {name: value for name, value in found.items() if value is not names.get(name) and hasattr(value, "dtype")}


def test_there_are_ten():
    assert len(JOBS) == 10


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.title)
def test_jobs_have_scipys_results_and_no_more_lines(job, names):
    exec(job.setup, names)
    got, wanted = results(job.ours, names), results(job.theirs, names)
    assert "fastconv" in job.ours
    assert "fastconv" not in job.theirs
    assert len(job.ours.splitlines()) <= len(job.theirs.splitlines())
    name = examples.last_name(job.ours)
    assert got[name].dtype == wanted[name].dtype
    assert got[name].size
    if job.setup == "":
        assert got.keys() == wanted.keys()
    bound = 1e-6 if wanted[name].dtype == np.float32 else 1e-13  # as the page says
    np.testing.assert_allclose(got[name], wanted[name], rtol=0, atol=bound * abs(wanted[name]).max())
    names.update(got)
