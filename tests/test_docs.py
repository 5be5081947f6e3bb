"""Every public name has a docstring whose examples run and print what they say."""

import doctest
import inspect

import pytest

import fastconv

FUNCTIONS = [name for name in fastconv.__all__ if callable(getattr(fastconv, name))]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_examples(name):
    function = getattr(fastconv, name)
    assert function.__name__ == name
    tests = [t for t in doctest.DocTestFinder(recurse=False).find(function, name, globs={}) if t.examples]
    assert tests, f"{name} has no example"
    report = []
    for test in tests:
        runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
        runner.run(test, out=report.append)
    assert not report, "".join(report)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_parameter_is_described(name):
    function = getattr(fastconv, name)
    text = inspect.getdoc(function)
    for parameter in inspect.signature(function).parameters:
        assert parameter in text, f"{name} says nothing of {parameter}"
