"""What tests in a real Chromium share: which program, its arguments, and pages that fail on what a console complains
about."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from server.review import decisions
from tests.server.dataset.moments import House

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    " --disable-component-update --disable-sync --autoplay-policy=no-user-gesture-required --mute-audio"
).split()
TARGET_PX = 44  # WCAG 2.5.5
NewPage = Callable[..., Page]
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (apt install chromium)")


@contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@contextmanager
def pages(browser: Browser, site: str) -> Iterator[NewPage]:
    """Opens a path in a fresh profile; whatever the console complains about fails the test."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def open_page(path: str = "/", **options: Any) -> Page:
        context = browser.new_context(**{"timezone_id": "Europe/Berlin", "locale": "en-GB", **options})
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"{site}{path}")
        return page

    yield open_page
    for context in contexts:
        context.close()
    # Chromium reports each refused request in the console, and each without a connection.
    away = ("ERR_INTERNET_DISCONNECTED", "error occurred when fetching the script")
    refusals = ("status of 422", "status of 409", *away)
    assert [text for text in complaints if not any(refusal in text for refusal in refusals)] == []


def state(house: House, sample_id: str) -> tuple[str, str]:
    row = decisions.get(house.store, sample_id)
    assert row is not None
    return row.state, row.ground_truth


def field(page: Page) -> Any:
    return page.get_by_label("What should have been said")


def shown(page: Page, sample_id: str) -> None:
    """Wait until this is the moment on the page."""
    expect(page.locator(f"#moment-{sample_id}")).to_be_visible()


def covered(page: Page) -> list[str]:
    """Headings and controls that something else lies upon: a finger or a mouse would not reach them."""
    found: list[str] = page.evaluate(
        """() => [...document.querySelectorAll('main h1, main h2, main h3, a[href], button, input, select, summary')]
            .filter(e => e.checkVisibility() && !e.closest('.sr, .skip') && e.type !== 'hidden')
            .filter(e => {
                e.scrollIntoView({ block: 'center', behavior: 'instant' });
                const box = [...e.getClientRects()].find(one => one.width > 0 && one.height > 0);
                if (!box) return false;
                const hit = document.elementFromPoint(box.left + box.width / 2, box.top + box.height / 2);
                return !hit || !(e.contains(hit) || hit.contains(e));
            }).map(e => e.outerHTML.slice(0, 120))"""
    )
    return found


def broken_words(page: Page) -> list[str]:
    """Words of buttons, keys and heads of tables that stand on several lines, a few letters on each."""
    found: list[str] = page.evaluate(
        """() => [...document.querySelectorAll('button, .button, kbd, thead th')].filter(e => e.checkVisibility())
            .flatMap(e => {
                const texts = document.createTreeWalker(e, NodeFilter.SHOW_TEXT), words = [];
                while (texts.nextNode()) {
                    const node = texts.currentNode;
                    if (node.parentElement.closest('.sr')) continue;
                    for (const { 0: word, index } of node.data.matchAll(/[\\p{L}\\p{N}]+/gu)) {
                        const range = document.createRange();
                        range.setStart(node, index);
                        range.setEnd(node, index + word.length);
                        const lines = new Set([...range.getClientRects()].map(box => Math.round(box.top)));
                        if (lines.size > 1) words.push(word);
                    }
                }
                return words;
            })"""
    )
    return found
