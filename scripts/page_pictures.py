"""`python -m scripts.page_pictures [FOLDER]`: the pages as pictures, on drawn walks, for docs/ and to be looked at.

Without FOLDER those of docs/pictures are made anew; with one, every page at two widths, light and dark.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright

from benchmarks import _drawn_moments
from server.review import marks
from server.web.app import create_app
from tests.server.dataset.moments import House
from tests.server.web.serving import served

DOCS = Path("docs/pictures")
MOMENTS = 8
BROWSERS = ("chromium", "chromium-browser")
DESK: dict[str, Any] = {"viewport": {"width": 1180, "height": 760}}
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
PATHS = {
    "review": "/", "moments": "/moments?state=all", "batch": "/batch", "keys": "/keys", "ear": "/ear",
    "offline": "/offline", "models": "/models",
}  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: 0 done, 1 there is no Chromium."""
    options = argparse.ArgumentParser(
        prog="python -m scripts.page_pictures", description=(__doc__ or "").split("\n\n")[0]
    )
    options.add_argument("folder", type=Path, nargs="?", help=f"where all pages go (default: some, into {DOCS})")
    folder: Path | None = options.parse_args(argv).folder
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        print("There is no Chromium here: apt install chromium.", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as home, sync_playwright() as playwright:
        house = House(Path(home) / "home")
        ids = _drawn_moments.fill(house, MOMENTS)
        marks.mark_difficult(house.store, ids[1], "Ana", difficult=True, now_s=1.0)
        marks.comment(house.store, ids[1], "Ana", "Is this a bollard or a pole?", now_s=house.clock.utc_s())
        app = create_app(house.store, house.dataset, clock=house.clock, model=lambda: "night-7")
        with served(app) as site:
            browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--mute-audio"])
            if folder is None:
                _for_docs(browser, site)
            else:
                _all(browser, site, folder)
            browser.close()
        house.close()
    return 0


def _for_docs(browser: Browser, site: str) -> None:
    DOCS.mkdir(exist_ok=True)
    for name, path, options in (("review", "/", DESK), ("review-phone", "/", PHONE), ("ear", "/ear", DESK)):
        _picture(browser, f"{site}{path}", DOCS / f"{name}.jpg", options)


def _all(browser: Browser, site: str, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for scheme in ("light", "dark"):
        for width, options in (("wide", DESK), ("phone", PHONE)):
            for name, path in PATHS.items():
                target = folder / f"{name}-{width}-{scheme}.jpg"
                _picture(browser, f"{site}{path}", target, {**options, "color_scheme": scheme})


def _picture(browser: Browser, address: str, target: Path, options: dict[str, Any]) -> None:
    context = browser.new_context(locale="en-GB", **options)
    page = context.new_page()
    page.goto(address, wait_until="networkidle")
    page.screenshot(path=target, type="jpeg", quality=75)
    print(f"{target}: {target.stat().st_size // 1024} kB")
    context.close()


if __name__ == "__main__":
    sys.exit(main())
