"""Every example in a docstring, the README and the guide runs and prints what it says; what they name exists."""

import doctest
import importlib
import importlib.util
import inspect
import pkgutil
import re
import tomllib
from pathlib import Path

import pytest

import fastconv
from fastconv.cli import COMMANDS

ROOT = Path(__file__).parent.parent
PUBLIC = [name for name in fastconv.__all__ if name != "__version__"]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
RENDERED = {path.stem: ROOT / "docs" / "notebooks" / f"{path.stem}.md" for path in (ROOT / "notebooks").glob("*.py")}
READ = [page for page in PAGES if "```python" in page.read_text(encoding="utf-8") and page.parent.name != "notebooks"]

# Where examples stand beside those of the public names: the drop-ins for other libraries' functions, and the lessons.
MODULES = [
    *(f"fastconv.{module.name}" for module in pkgutil.iter_modules([str(Path(fastconv.__file__).parent)])),
    *(
        f"{package.__name__}.{module.name}"
        for package in (fastconv.functional, fastconv.grad, fastconv.ndimage, fastconv.signal)
        for module in pkgutil.iter_modules(package.__path__)
    ),
    "fastconv.kernels.lessons",
]
MODULES.remove("fastconv.__main__")  # imported, it runs the command line
if importlib.util.find_spec("dask"):
    MODULES += [f"fastconv.dask.{module.name}" for module in pkgutil.iter_modules(fastconv.dask.__path__)]
else:
    MODULES.remove("fastconv.dask")

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
every_page_with_code = pytest.mark.parametrize("page", READ, ids=lambda page: page.name)
every_name = pytest.mark.parametrize("name", PUBLIC)


def run_examples(text, name, names):
    """Run the examples of a text; ``names`` are what they start with, and what they leave behind."""
    test = doctest.DocTestParser().get_doctest(text, names, name, None, 0)
    report = []
    runner = doctest.DocTestRunner(verbose=False)
    runner.run(test, out=report.append, clear_globs=False)
    assert not runner.summarize(verbose=False).failed, "".join(report)
    names.update(test.globs)
    return len(test.examples)


def code_blocks(page):
    return re.findall(r"^```python\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def sections_of(text):
    """The sections of a numpydoc docstring, by title; the summary under ''."""
    pieces = re.split(r"^([A-Z]\w+)\n(-+)$", inspect.cleandoc(text), flags=re.MULTILINE)
    for title, rule in zip(pieces[1::3], pieces[2::3], strict=True):
        assert len(title) == len(rule), f"the line under {title}"
    return {"": pieces[0], **dict(zip(pieces[1::3], pieces[3::3], strict=True))}


# Docstrings ----------------------------------------------------------------------------------------------------------


@every_name
def test_examples_of_docstrings(name):
    assert run_examples(getattr(fastconv, name).__doc__, name, {}) >= 2


def test_examples_of_modules():
    """A module that is added is found by itself."""
    ran, others = {}, {getattr(fastconv, name).__doc__ for name in PUBLIC}
    for name in MODULES:
        for example in doctest.DocTestFinder().find(importlib.import_module(name)):
            if example.examples and example.docstring not in others:
                ran[example.name] = run_examples(example.docstring, example.name, {})
    assert {"fastconv.numpy.convolve", "fastconv.numpy.correlate"} <= set(ran)
    assert {"fastconv.functional.convolution.conv2d", "fastconv.grad.inputs.conv2d_input"} <= set(ran)
    assert {"fastconv.signal.convolution.convolve", "fastconv.signal.filters.upfirdn"} <= set(ran)
    assert {"fastconv.ndimage.linear.correlate1d", "fastconv.ndimage.extrema.maximum_filter"} <= set(ran)
    assert {"fastconv.kernels.lessons.windows", "fastconv.kernels.lessons.correlate"} <= set(ran)
    assert min(ran.values()) >= 2


@every_name
def test_docstrings_have_their_sections(name):
    function = getattr(fastconv, name)
    signature = inspect.signature(function)
    sections = sections_of(function.__doc__)
    order = ["", "Parameters", "Returns", "Raises", "Examples"]
    assert list(sections) == [title for title in order if title in sections]
    summary = sections[""].splitlines()[0]
    assert summary.endswith(".")
    assert len(summary) < 120
    example = sections["Examples"]
    assert f"fastconv.{name}(" in example

    headings = re.findall(r"^(\w[\w, ]*?)(?: : .+)?$", sections.get("Parameters", ""), re.MULTILINE)
    documented = [parameter for heading in headings for parameter in heading.split(", ")]
    assert sorted(documented) == sorted(signature.parameters)
    if signature.parameters:
        assert "Raises" in sections
    if signature.return_annotation not in (None, "None"):
        assert sections["Returns"].strip()


def test_examples_that_are_wrong_are_found():
    with pytest.raises(AssertionError, match="Expected"):
        run_examples(">>> 1 + 1\n3\n", "wrong", {})


def test_every_module_has_a_docstring():
    for folder in ("fastconv", "kernels", "asv_benchmarks", "history"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            assert re.match(r'(?:#.*\n)*r?"""\S', path.read_text(encoding="utf-8")), path.relative_to(ROOT)


# Pages ---------------------------------------------------------------------------------------------------------------


@every_page_with_code
def test_examples_of_pages(page):
    """In the order of the page, with the names of the examples before."""
    names, ran = {}, 0
    for module in {"scikit-image": ("skimage",), "dask": ("dask", "xarray", "zarr")}.get(page.stem, ()):
        pytest.importorskip(module)
    try:
        for block in code_blocks(page):
            if block.startswith(">>>"):
                ran += run_examples(block, page.name, names)
            elif "import" in block:
                exec(compile(block, page.name, "exec"), names)
                ran += 1
    finally:
        fastconv.unpatch_scipy()  # some examples patch it
    assert ran


def test_the_readmes_example_blurs():
    names = {}
    block = next(block for block in code_blocks(ROOT / "README.md") if "fastconv.correlate2d" in block)
    assert len(block.splitlines()) <= 6
    exec(compile(block, "README.md", "exec"), names)
    image, blurred = names["image"], names["blurred"]
    assert blurred.shape == image.shape
    assert blurred.dtype == image.dtype
    middle = image[0, 1, 98:103, 198:203].mean()
    assert blurred[0, 1, 100, 200] == pytest.approx(middle, rel=1e-5)
    corner = image[0, 2][[2, 1, 0, 1, 2]][:, [2, 1, 0, 1, 2]].mean()  # reflected
    assert blurred[0, 2, 0, 0] == pytest.approx(corner, rel=1e-5)


def signatures(block):
    """``name, arguments`` of each signature in a block; `a1d, 2d` is short for `a1d, a2d`."""
    for names, arguments in re.findall(r"^(\w[\w, ]*)\(([^()]*)\)", block, re.MULTILINE):
        first, *others = names.split(", ")
        yield first, arguments
        for other in others:
            yield (first.replace("1d", other) if other[0].isdigit() else other), arguments


@every_page_with_code
def test_signatures_in_pages(page):
    blocks = [block for block in code_blocks(page) if not block.startswith(">>>") and "import" not in block]
    found = [pair for block in blocks for pair in signatures(block)]
    for name, arguments in found:
        parameters = inspect.signature(getattr(fastconv, name)).parameters.values()
        bare = inspect.Signature([p.replace(annotation=p.empty) for p in parameters])
        real = str(bare).replace("'", '"')[1:-1]
        written = " ".join(arguments.split())
        if written.endswith("..."):
            assert real.startswith(written.removesuffix("...")), name
        else:
            assert real == written, name
    if page.name == "guide.md":
        assert len({name for name, _ in found}) >= 25


def test_the_guide_and_the_changelog_name_every_function():
    def mentioned(text):
        """`correlate1d/2d/_nd`, `max_pool1d, 2d` and `max_pool*` in full."""
        names = set(re.findall(r"\w+", text))
        for stem, endings in re.findall(r"(\w+?)1d((?:(?:/|, )(?:2d|3d|_nd))+)", text):
            names |= {stem + ending for ending in re.findall(r"\w+", endings)}
        for stem in re.findall(r"(\w+)\*", text):
            names |= {name for name in PUBLIC if re.fullmatch(rf"{stem}(1d|2d|3d|_nd)", name)}
        return names

    for page in (ROOT / "docs" / "guide.md", ROOT / "CHANGELOG.md"):
        missing = set(PUBLIC) - mentioned(page.read_text(encoding="utf-8"))
        assert not missing, page.name


@every_page
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target.partition("#")[0]).exists(), target


def test_every_function_is_listed_for_a_page_of_its_own():
    listed, module = {}, ""
    for path in (ROOT / "docs" / "api").glob("*.rst"):
        for new, name in re.findall(
            r"^(?:\.\. currentmodule:: (\S+)|   (\w+))$", path.read_text("utf-8"), re.MULTILINE
        ):
            module = new or module
            listed.setdefault(module, set()).add(name)
    assert set(PUBLIC) <= listed["fastconv"]
    for module in (fastconv.functional, fastconv.grad, fastconv.ndimage, fastconv.signal):
        assert set(module.__all__) <= listed[module.__name__]


@pytest.mark.parametrize("name", ["scipy", "pytorch"])
def test_tables_for_those_who_come_from_elsewhere_have_all_that_is_here(name):
    """And what they name exists, here and among what the site can link to."""
    text = (ROOT / "docs" / "coming-from" / f"{name}.md").read_text(encoding="utf-8")
    modules = {"scipy": (fastconv.ndimage, fastconv.signal), "pytorch": (fastconv.functional,)}[name]
    theirs = {"fastconv.functional": "torch.nn.functional"}
    kept = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs" / "inventories").glob("*.txt"))
    for module in modules:
        home = theirs.get(module.__name__, module.__name__.replace("fastconv", "scipy"))
        for function in module.__all__:
            assert f"| `{home}.{function}` | `{module.__name__}.{function}` |" in text
            assert f"\n{home}.{function} function " in kept


def test_functions_that_pages_name_in_full_exist():
    named = {name for page in PAGES for name in re.findall(r"`(fastconv(?:\.\w+)+)`", page.read_text(encoding="utf-8"))}
    assert len(named) > 100
    for name in named - {"fastconv.dask"}:
        module, _, attribute = name.rpartition(".")
        assert hasattr(importlib.import_module(module), attribute), name


def test_the_citation_and_the_recipe_are_of_this_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    recipe = (ROOT / "conda" / "recipe.yaml").read_text(encoding="utf-8")
    assert f'\n  version: "{fastconv.__version__}"\n' in recipe
    runs = re.search(r"\n  run:\n((?:    - .*\n)+)", recipe)[1]
    needed = [line.removeprefix("    - ").replace(" ", "", 1) for line in runs.splitlines()]
    assert needed == ["python>=${{ python_min }}", *project["dependencies"]]
    for command, target in project["scripts"].items():
        assert f"- {command} = {target}\n" in recipe
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {fastconv.__version__}\nlicense: {project['license']}\n" in citation


def cells(notebook):
    """``kind, text`` of each cell of a notebook in jupytext's percent format, without blank lines."""
    _, *pieces = re.split(r"^# %%(.*)\n", notebook.read_text(encoding="utf-8"), flags=re.MULTILINE)
    for kind, text in zip(pieces[::2], pieces[1::2], strict=True):
        lines = [line.removeprefix("#").removeprefix(" ") if kind else line for line in text.splitlines()]
        yield kind.strip(), "\n".join(line for line in lines if line)


def test_every_notebook_has_its_page():
    assert len(RENDERED) >= 2
    assert set(RENDERED.values()) == set((ROOT / "docs" / "notebooks").glob("*.md"))


@pytest.mark.parametrize("name", RENDERED)
def test_pages_of_notebooks_are_of_their_text(name):
    """Every cell stands in its page, in order; `make docs-notebooks` makes the pages."""
    page = re.sub(r"\n\n+", "\n", RENDERED[name].read_text(encoding="utf-8"))
    at = 0
    for kind, text in cells(ROOT / "notebooks" / f"{name}.py"):
        text = text if kind == "[markdown]" else f"```python\n{text}\n```"
        at = page.find(text, at)
        assert at >= 0, text


@pytest.mark.parametrize("name", RENDERED)
def test_pages_of_notebooks_tell_nothing_of_their_machine(name):
    assert not re.search(r"/(home|root|tmp|Users|work)/|site-packages|Traceback", RENDERED[name].read_text("utf-8"))


@every_page
def test_commands_in_pages_exist(page):
    text = page.read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for listed in re.findall(
        r"(?:python -m |`)fastconv ((?:[a-z]+(?: \| )?)+)|^fastconv ([a-z]+) +#", text, re.MULTILINE
    ):
        listed = "".join(listed)
        assert set(listed.split(" | ")) <= set(COMMANDS)
    assert set(re.findall(r"^fastconv ([a-z]+) +#", text, re.MULTILINE)) <= set(COMMANDS)
    for target in re.findall(r"(?:`|^)make ([a-z-]+)", text, re.MULTILINE):
        assert target in targets


def test_every_target_of_the_makefile_is_described():
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = set(re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)[1].split())
    assert phony == set(re.findall(r"^([a-z][a-z-]*):.*## \S", text, re.MULTILINE))
