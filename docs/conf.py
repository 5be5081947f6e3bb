"""The site: `make docs`. What Sphinx makes it of lies here, in the docstrings, and in `examples/gallery`."""

import importlib
import re
import shutil
import sys
from pathlib import Path

import latex2mathml.converter
from docutils import nodes
from sphinx import addnodes
from sphinx.transforms import SphinxTransform

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

import fastconv  # noqa: E402

project, author, copyright = "fastconv", "fastconv contributors", "fastconv contributors"
version = release = fastconv.__version__
extensions = [
    "myst_parser", "numpydoc", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.intersphinx",
    "sphinx_copybutton", "sphinx_gallery.gen_gallery",
]  # fmt: skip
templates_path, exclude_patterns = ["_templates"], ["_build", "_templates"]
default_role = "py:obj"  # `x` in a docstring: a link where there is such a name
numpydoc_show_class_members, autodoc_typehints = False, "none"
myst_enable_extensions, myst_heading_anchors = ["dollarmath"], 3
copybutton_prompt_text, copybutton_prompt_is_regexp = r">>> |\.\.\. |\$ ", True
copybutton_exclude = ".linenos, .gp, .go"

# Their inventories are kept here, of what is linked to: building the site asks nothing of another host.
INVENTORIES = {
    "numpy": "https://numpy.org/doc/stable/",
    "scipy": "https://docs.scipy.org/doc/scipy/",
    "torch": "https://docs.pytorch.org/docs/stable/",
}
intersphinx_mapping = {name: (url, f"inventories/{name}.txt") for name, url in INVENTORIES.items()}

sphinx_gallery_conf = {
    "examples_dirs": "../examples/gallery",
    "gallery_dirs": "gallery",
    "filename_pattern": "plot_",
    "backreferences_dir": "gallery/backreferences",
    "doc_module": ("fastconv",),
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_signature": False,
    "min_reported_time": 1e9,  # the times of a machine that builds pages tell nothing
    "write_computation_times": False,
}

html_theme, html_title, html_show_sourcelink, html_copy_source = "pydata_sphinx_theme", "fastconv", False, False
html_math_renderer = "mathml"  # which browsers draw by themselves
html_favicon, html_context = "_static/favicon.svg", {"default_mode": "auto"}  # light or dark, as the reader's system
html_theme_options = {
    "header_links_before_dropdown": 6,
    "navigation_with_keys": False,
    "show_prev_next": False,
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
}
html_sidebars = {"index": [], "changelog": [], "contributing": []}
html_static_path, html_css_files = ["_static"], ["site.css"]

MODULES = [
    fastconv,
    *(importlib.import_module(f"fastconv.{name}") for name in ("functional", "grad", "ndimage", "signal")),
]
HOMES: dict[str, list[str]] = {}
for module in MODULES:
    for name in module.__all__:
        HOMES.setdefault(name, []).append(f"{module.__name__}.{name}")
QUALIFIED = re.compile(r"(fastconv|numpy|np|scipy|torch)\.[\w.]+")


class LinkedNames(SphinxTransform):
    """Names of functions in Markdown's code become links: full names, and others that only one function has."""

    default_priority = 200

    def apply(self):
        """Wrap each; what no inventory has stays as it is."""
        if self.env.docname.startswith(("api/", "gallery/")):
            return
        for literal in list(self.document.findall(nodes.literal)):
            text = literal.astext().removesuffix("()")
            homes = [text.replace("np.", "numpy.", 1)] if QUALIFIED.fullmatch(text) else HOMES.get(text, [])
            if len(homes) == 1 and not isinstance(literal.parent, (nodes.reference, addnodes.pending_xref)):
                link = addnodes.pending_xref(
                    "", literal.deepcopy(), refdomain="py", reftype="obj", reftarget=homes[0], refdoc=self.env.docname
                )
                literal.replace_self(link)


def mathml(writer, node):
    """A formula as MathML, between lines or in one."""
    display = "block" if isinstance(node, nodes.math_block) else "inline"
    writer.body.append(latex2mathml.converter.convert(node.astext(), display=display))
    raise nodes.SkipNode


def show_the_dashboard(app, docname, content):
    """Link to the benchmarks' history where `make docs` could make its pages."""
    if docname == "benchmarks" and DASHBOARD.exists():
        content[0] += (
            "\n## This project's history\n\n<a href=\"dashboard/index.html\">The pages of this project's history</a>\n"
        )


def copy_the_dashboard(app, error):
    """Put the benchmarks' history beside the pages."""
    if error is None and DASHBOARD.exists() and app.builder.format == "html":
        shutil.copytree(DASHBOARD, Path(app.outdir) / "dashboard", dirs_exist_ok=True)


DASHBOARD = ROOT / ".asv" / "page"


def setup(app):
    """Sphinx calls it."""
    app.add_transform(LinkedNames)
    app.add_html_math_renderer("mathml", (mathml, None), (mathml, None))
    app.connect("source-read", show_the_dashboard)
    app.connect("build-finished", copy_the_dashboard)
