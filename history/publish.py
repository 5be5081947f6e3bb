"""Make asv's page and all that it loads, so that it works without a network: `python -m history.publish`.

asv's page takes its libraries from elsewhere and shows an error page without them. Here npm fetches them once, at the
versions and with the checksums of package-lock.json, and the page is rewritten to load them from beside itself.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from history import ROOT

HTML = ROOT / ".asv" / "html"  # as asv.conf.json has it
LIBRARIES = ROOT / ".asv" / "libraries"

# File names in asv's page, and where npm's packages have the same.
FILES = {
    "bootstrap.min.css": "bootstrap/dist/css/bootstrap.min.css",
    "bootstrap.min.js": "bootstrap/dist/js/bootstrap.min.js",
    "jquery-3.3.1.min.js": "jquery/dist/jquery.min.js",
    "jquery.flot.categories.min.js": "flot/jquery.flot.categories.js",
    "jquery.flot.min.js": "flot/jquery.flot.js",
    "jquery.flot.orderBars.js": "flot-orderbars/js/jquery.flot.orderBars.js",
    "jquery.flot.selection.min.js": "flot/jquery.flot.selection.js",
    "jquery.flot.time.min.js": "flot/jquery.flot.time.js",
    "md5.min.js": "blueimp-md5/js/md5.min.js",
    "stupidtable.min.js": "stupid-table-plugin/stupidtable.min.js",
}
# Their checksums are those of the copies elsewhere.
LOADED = re.compile(r'(<(?:script|link)\b[^>]*?)\b(src|href)="https?://[^"]*/([^"/]+)"[^>]*?( onerror="[^"]*"|)>')
# Of the window's height, asv gives the small graph below the large one less than it takes.
LAYOUT = {"bottom: 100px;": "bottom: 124px;", "height: 100px; left: 0;": "height: 124px; left: 0;"}


def localised(page: str) -> str:
    """The page with every script and style sheet loaded from `vendor/`."""
    page = LOADED.sub(lambda found: f'{found[1]}{found[2]}="vendor/{found[3]}"{found[4]}>', page)
    if unknown := set(re.findall(r'="vendor/([^"]+)"', page)) - set(FILES):
        raise SystemExit(f"publish: asv's page loads {', '.join(sorted(unknown))}: name in FILES where npm has it")
    for before, after in LAYOUT.items():
        page = page.replace(before, after)
    return page


def fetch_libraries() -> Path:
    """Folder of npm's packages, fetched where the lock file is newer."""
    modules, lock = LIBRARIES / "node_modules", LIBRARIES / "package-lock.json"
    source = ROOT / "history" / "package-lock.json"
    if not modules.exists() or lock.read_bytes() != source.read_bytes():
        npm = shutil.which("npm")
        if npm is None:
            raise SystemExit("publish: npm is needed, once, to fetch what asv's page loads")
        LIBRARIES.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(ROOT / "history" / name, LIBRARIES)
        subprocess.run([npm, "ci", "--ignore-scripts", "--no-audit", "--silent"], cwd=LIBRARIES, check=True)
    return modules


def main() -> int:
    """Publish, and bring along what the page loads."""
    modules = fetch_libraries()
    subprocess.run([sys.executable, "-m", "history.asv", "publish", "--no-pull"], cwd=ROOT, check=True)
    (HTML / "vendor").mkdir()
    for name, path in FILES.items():
        shutil.copy(modules / path, HTML / "vendor" / name)
    index = HTML / "index.html"
    index.write_text(localised(index.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
