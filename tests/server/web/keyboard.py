"""A person without a mouse, and without eyes where the page is black: they press keys, and know where they are by the
accessible name of what has the focus."""

from __future__ import annotations

import re
from dataclasses import dataclass

from playwright.sync_api import Page, expect

MOST_STOPS = 80
SLOW_MS = 20_000
_FOCUSED = """() => {
    const at = document.activeElement;
    if (!at || at === document.body) return { name: '', seen: true };
    const spoken = e => [...e.childNodes].map(n => n.nodeType === 3 ? n.data : n.nodeType !== 1
        || n.getAttribute('aria-hidden') === 'true' || n.hidden ? '' : spoken(n)).join('');
    const labels = [...(at.labels || [])].map(spoken).join(' ');
    const name = at.getAttribute('aria-label') || labels || spoken(at) || at.value || at.id;
    const style = getComputedStyle(at);
    const seen = style.outlineStyle !== 'none' || !at.matches(':focus-visible');
    return { name: name.replace(/\\s+/g, ' ').trim(), seen };
}"""


@dataclass(frozen=True, slots=True)
class Keyboard:
    """Keys pressed on a page, never a focus set by the test."""

    page: Page

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def type(self, text: str) -> None:
        self.page.keyboard.type(text)

    def at(self) -> str:
        """The accessible name of what has the focus."""
        return str(self.page.evaluate(_FOCUSED)["name"])

    def go(self, name: str, *, back: bool = False) -> None:
        """Tab on until something of this name has the focus, which must be seen. Shift+Tab with `back`.

        name: a pattern for its beginning
        """
        stops: list[str] = []
        for _ in range(MOST_STOPS):
            self.press("Shift+Tab" if back else "Tab")
            focused = self.page.evaluate(_FOCUSED)
            if re.match(name, focused["name"]):
                assert focused["seen"], f"{name}: nobody sees that it has the focus"
                return
            stops.append(focused["name"])
        raise AssertionError(f"{name!r} is no stop: {stops}")

    def open(self, name: str, *, heading: str = "") -> None:
        """Go to a link or a button of this name and press it. heading: of the page that comes, waited for"""
        self.go(name)
        self.press("Enter")
        if heading:
            self.arrive(heading)

    def arrive(self, heading: str) -> None:
        """Wait for a page, and until it listens to keys."""
        expect(self.page.get_by_role("heading", level=1, name=heading)).to_be_visible(timeout=SLOW_MS)
        self.page.wait_for_load_state()
