"""How many moments a minute a scripted reviewer deals with, who listens to each before deciding.

A real Chromium, keys only. Of a moment that the wearer corrected the reviewer hears what the wearer said to its end
(W), of another its clip and sound (R); then Enter, or N where nothing is proposed. Nothing is decided that was not
played: the players are asked how much they played. Hands and thinking take no time: it is what the page allows, at
most.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from benchmarks import _drawn_moments
from server.review import decisions
from server.web.app import create_app
from shared.clock import Clock, SystemClock
from tests.server.dataset.moments import House
from tests.server.web.serving import served

MOMENTS = 18
MOMENT_TIMEOUT_MS = 60_000
BROWSERS = ("chromium", "chromium-browser")
ARGUMENTS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--mute-audio", "--autoplay-policy=no-user-gesture-required",
)  # fmt: skip
_HEARD = """() => {
    const player = document.querySelector('[data-voice]') || document.querySelector('[data-sound]');
    return player.ended || (player.played.length > 0 && player.played.end(0) >= player.duration - 0.05);
}"""


def measure() -> float | None:
    """reviews_per_minute on a home of its own; None where there is no Chromium."""
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        house = House(Path(folder) / "home")
        try:
            _drawn_moments.fill(house, MOMENTS)
            app = create_app(house.store, house.dataset, clock=house.clock)
            with served(app) as site:
                rate = reviews_per_minute(site, program, MOMENTS, clock=SystemClock())
            assert decisions.counts(house.store)["pending"] == 0
        finally:
            house.close()
    return rate


def reviews_per_minute(site: str, program: str, count: int, *, clock: Clock) -> float:
    """Review so many moments of a server that has at least these; program: the browser's path."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(ARGUMENTS))
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(f"{site}/")
        began_s = clock.monotonic_s()
        for _ in range(count):
            _review(page)
        took_s = clock.monotonic_s() - began_s
        browser.close()
    return round(60.0 * count / took_s, 1)


def _review(page: Page) -> None:
    shown = page.locator(".moment").get_attribute("data-id")
    page.keyboard.press("w" if page.locator("[data-voice]").count() else "r")
    page.wait_for_function(_HEARD, timeout=MOMENT_TIMEOUT_MS)
    page.keyboard.press("Enter" if page.locator("[data-do=accept]").count() else "n")
    page.wait_for_function(
        "shown => document.querySelector('.moment')?.dataset.id !== shown", arg=shown, timeout=MOMENT_TIMEOUT_MS
    )


if __name__ == "__main__":
    print(measure())
