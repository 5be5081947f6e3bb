"""The system's Chromium, cut off from all other machines, and pages that are served to it."""

import contextlib
import functools
import shutil
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest

playwright = pytest.importorskip("playwright.sync_api")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
OPTIONS += ["--disable-sync", "--no-first-run", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]


@contextlib.contextmanager
def launched():
    """The browser; without one, tests are skipped that ask for it."""
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield browser
        browser.close()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@contextlib.contextmanager
def served(folder):
    """Address of a folder."""
    handler = functools.partial(Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@contextlib.contextmanager
def watched(browser, width, picture, **options):
    """A page that must not complain, scroll sideways, nor ask for what this machine does not serve; it is pictured."""
    page = browser.new_page(viewport={"width": width, "height": 950}, **options)
    page.set_default_timeout(120_000)  # the machine may be busy
    complaints, asked = [], []
    page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("requestfailed", lambda failed: complaints.append(f"{failed.url}: {failed.failure}"))
    page.on("request", lambda sent: asked.append(sent.url))
    yield page
    picture.parent.mkdir(parents=True, exist_ok=True)
    across, down = page.evaluate("() => [document.documentElement.scrollWidth, document.documentElement.scrollHeight]")
    page.screenshot(path=picture, full_page=True, clip={"x": 0, "y": 0, "width": width, "height": min(down, 4000)})
    page.close()
    # A click ends what the page before was still loading.
    complaints = [text for text in complaints if not text.endswith(": net::ERR_ABORTED")]
    assert complaints == [], complaints
    assert across <= width, f"{across} pixels"
    assert {urlsplit(url).hostname for url in asked if not url.startswith("data:")} == {"127.0.0.1"}
