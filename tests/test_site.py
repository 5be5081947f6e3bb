"""The documentation's site in a browser, as its readers use it: they look for a function, at pictures, on a phone.

`make test-docs` builds the site and runs these. Screenshots are left in `docs/_build/screenshots`.
"""

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from browser import launched, served, watched

pytestmark = [
    pytest.mark.site,
    # Playwright's
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.timeout(900),
]

ROOT = Path(__file__).parent.parent
HTML = ROOT / "docs" / "_build" / "html"
EXAMPLES = sorted(path.stem for path in (ROOT / "examples" / "gallery").glob("plot_*.py"))
READ = [
    "index", "guide", "coming-from/scipy", "coming-from/pytorch", "api/index", "api/ndimage", "gallery/index",
    "api/generated/fastconv.correlate2d", "notebooks/01_from_reshapes_to_register_tiles", "performance", "accuracy",
    "how-it-works", "changelog",
]  # fmt: skip


class Page(HTMLParser):
    """What a page leads to, what it loads, and the places in it."""

    def __init__(self, text):
        super().__init__()
        self.links, self.loads, self.places = [], [], set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.places |= {given[key] for key in ("id", "name") if given.get(key)}
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        if given.get("src"):
            self.loads.append(given["src"])
        if tag == "link" and given.get("rel") in ("stylesheet", "icon", "shortcut icon", "preload"):
            self.loads.append(given["href"])


@pytest.fixture(scope="session")
def pages():
    if not (HTML / "index.html").exists():
        pytest.skip("there is no site: `make docs` builds it")
    found = sorted(path for path in HTML.rglob("*.html") if "_static" not in path.parts)
    return {path: Page(path.read_text(encoding="utf-8")) for path in found}


@pytest.fixture(scope="session")
def site(pages):
    with served(HTML) as address:
        yield address


@pytest.fixture(scope="session")
def browser():
    with launched() as browser:
        yield browser


@pytest.fixture
def page(browser, request):
    name = re.sub(r"\W+", "-", request.node.name.removeprefix("test_")).strip("-")
    with watched(browser, 1400, HTML.parent / "screenshots" / f"{name}.png") as page:
        yield page


def test_every_link_leads_somewhere_and_nothing_is_loaded_from_elsewhere(pages):
    wrong, links = [], 0
    for path, page in pages.items():
        for target in page.links + page.loads:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                if target in page.loads and parts.scheme != "data":
                    wrong.append(f"{path.relative_to(HTML)} loads {target}")
                continue
            links += 1
            there = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            there = there / "index.html" if there.is_dir() else there
            places = pages[there].places if there in pages else ()
            if not there.exists() or (parts.fragment and there in pages and unquote(parts.fragment) not in places):
                wrong.append(f"{path.relative_to(HTML)}: {target}")
    assert wrong == []
    assert len(pages) > 200
    assert links > 10_000
    print(f"{len(pages)} pages, {links} links within the site")


@pytest.mark.parametrize("name", READ)
@pytest.mark.parametrize(("width", "scheme"), [(1400, "dark"), (390, "light")])  # the others are wide and light
def test_pages_are_quiet_and_fit(browser, site, name, width, scheme):
    picture = HTML.parent / "screenshots" / f"{name.replace('/', '-')}-{width}-{scheme}.png"
    with watched(browser, width, picture, color_scheme=scheme) as page:
        page.goto(f"{site}{name}.html")
        assert page.locator("h1").count() == 1
        assert page.evaluate("() => document.documentElement.dataset.theme") == scheme
        assert all(page.eval_on_selector_all("article img", "all => all.map(one => one.naturalWidth > 0)"))


@pytest.mark.parametrize(
    ("sought", "found"),
    [
        ("gaussian_filter", "fastconv.ndimage.gaussian_filter"),
        ("max_unpool2d", "fastconv.max_unpool2d"),
        ("conv_transpose2d", "fastconv.functional.conv_transpose2d"),
    ],
)
def test_search_finds_a_function(page, site, sought, found):
    page.goto(f"{site}search.html?q={sought}")
    result = page.locator(f'#search-results a[href*="{found}.html"]').first
    result.wait_for()
    result.click()
    assert page.locator("h1").inner_text().startswith(found.rpartition(".")[2])


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("a table of scipy.ndimage and scipy.signal", "fastconv.signal.savgol_filter"),
        ("a table of torch.nn.functional", "fastconv.functional.conv2d"),
        ("a table of cv2’s filters", "fastconv.ndimage.gaussian_filter"),
        ("all functions, by what you have", "Convolution"),
    ],
)
def test_two_clicks_lead_to_a_function(page, site, first, second):
    page.goto(site)
    page.locator("article").get_by_role("link", name=first).click()
    page.locator("article").get_by_role("link", name=second, exact=True).first.click()
    assert page.locator("h1").inner_text().startswith(second.rpartition(".")[2])


def test_the_gallery_shows_each_example(page, site):
    page.goto(f"{site}gallery/index.html")
    assert page.locator(".sphx-glr-thumbcontainer img").count() == len(EXAMPLES) >= 12
    page.locator(".sphx-glr-thumbcontainer a").first.click()
    assert page.locator("h1").inner_text().startswith("Edges")


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_show_pictures(pages, name):
    page = pages[HTML / "gallery" / f"{name}.html"]
    shown = [source for source in page.loads if re.search(rf"sphx_glr_{name}_\d+\.png$", source)]
    assert shown
    for source in shown:
        assert (HTML / "gallery" / source).resolve().stat().st_size > 5_000


def test_code_is_copied_without_prompts(page, site):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(f"{site}api/generated/fastconv.ndimage.sobel.html")
    page.locator("div.highlight").first.hover()
    page.locator("button.copybtn").first.click()
    copied = page.evaluate("() => navigator.clipboard.readText()")
    assert "ndimage" in copied
    assert ">>>" not in copied
