"""The page of `label`: what it answers, and to whom; in a real Chromium, by keyboard; one state with the terminal."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from server.labelling import folder as label
from server.labelling import footage
from server.labelling.desk import LabelDesk
from server.web import label_page
from server.web.label_page import LabelPage
from tests.device.capture.films import make
from tests.server.commands.terminal import at_terminal
from tests.server.web.browsing import ARGUMENTS, CHROMIUM, TARGET_PX
from tests.server.web.serving import ask, post_json

SUGGESTED = "Caution, pole ahead."


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("film") / "walk.mp4", seconds=8.0)


@contextmanager
def labelling(film: Path, root: Path) -> Iterator[tuple[LabelDesk, str]]:
    with label.opened(root) as folder, closing(LabelDesk(folder, [footage.find(film)])) as desk:
        page = LabelPage(
            desk,
            suggest=lambda _asked: SUGGESTED,
            note="Suggestions: m1.",
            guess=lambda *_: {"lighting": ("day", "picture")},
        )
        with label_page.served(page) as address:
            yield desk, address


@pytest.fixture
def open_desk(film: Path, tmp_path: Path) -> Iterator[tuple[LabelDesk, str]]:
    with labelling(film, tmp_path / "dataset") as opened:
        yield opened


def lines(desk: LabelDesk) -> list[dict[str, Any]]:
    path = desk.folder.root / "metadata.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_only_who_has_the_address_and_sits_at_this_machine_is_answered(open_desk: tuple[LabelDesk, str]) -> None:
    _, address = open_desk
    base, token = re.match(r"(http://127\.0\.0\.1:\d+)/([\w-]{20,})/$", address).groups()  # type: ignore[union-attr]
    assert ask(f"{base}/").status == 404
    other = token[:-1] + ("y" if token.endswith("x") else "x")
    assert ask(f"{base}/{other}/state").status == 404
    assert ask(address, headers={"Host": "evil.example"}).status == 421
    assert post_json(f"{address}check", {"text": "x"}, Origin="https://evil.example").status == 403
    for path in ("../metadata.jsonl", "frame/..%2f..%2fmetadata.jsonl", "film/9", "film/-1", "frame/7.jpg", "x.js"):
        assert ask(address + path).status == 404, path


def test_an_answer_is_on_disk_when_it_is_taken_and_a_late_one_is_refused(open_desk: tuple[LabelDesk, str]) -> None:
    desk, address = open_desk
    state = ask(f"{address}state").json
    assert ask(f"{address}frame/{state['turn']}.jpg").body == desk.asked().frame.read_bytes()  # type: ignore[union-attr]
    assert ask(f"{address}audio/{state['turn']}.wav").body[:4] == b"RIFF"
    taken = post_json(
        f"{address}answer",
        {"turn": state["turn"], "action": "save", "text": "Stop, curb ahead.", "fields": {"environment": "park"}},
    )
    assert (taken.status, taken.json) == (200, {"said": "Saved: Stop, curb ahead."})
    (line,) = lines(desk)
    assert line["instruction"] == "Stop, curb ahead."
    assert (line["environment"], line["environment_from"]) == ("park", "person")
    assert (line["lighting"], line["lighting_from"]) == ("day", "picture")
    late = post_json(f"{address}answer", {"turn": state["turn"], "action": "skip"})
    assert late.status == 409
    assert ask(f"{address}frame/{state['turn']}.jpg").status == 404


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ({"action": "save", "text": "mind the unicorn"}, 422),
        ({"action": "save", "text": "kerb"}, 422),
        ({"action": "save", "text": "Stop, curb ahead.", "fields": {"weather": "frogs"}}, 409),
        ({"action": "save", "text": "Stop, curb ahead.", "fields": {"instruction": "x"}}, 409),
        ({"action": "dance"}, 409),
        ({"action": "save", "text": "x" * 5000}, 422),
        ({"turn": "0", "action": "skip"}, 422),
    ],
)
def test_what_can_not_be_taken_is_named_and_nothing_is_written(
    open_desk: tuple[LabelDesk, str], answer: dict[str, Any], status: int
) -> None:
    desk, address = open_desk
    turn = ask(f"{address}state").json["turn"]
    refused = post_json(f"{address}answer", {"turn": turn, **answer})
    assert refused.status == status
    assert refused.json["detail"]
    assert lines(desk) == []


needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (apt install chromium)")


@contextmanager
def browsed(address: str, **options: Any) -> Iterator[Page]:
    complaints: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = browser.new_page(**options)
        page.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(address)
        yield page
        browser.close()
    assert [text for text in complaints if "status of 4" not in text] == []


@needs_chromium
def test_a_person_labels_by_keyboard_alone_and_reads_the_rules_while_typing(open_desk: tuple[LabelDesk, str]) -> None:
    desk, address = open_desk
    with browsed(address, viewport={"width": 390, "height": 844}) as page:
        field = page.get_by_label("What should be said?")
        expect(page.get_by_role("heading", level=1)).to_have_text("Chunk 1 of 4 of walk.mp4")
        expect(field).to_be_focused()
        field.press_sequentially("ledge and")
        rules = page.get_by_role("list", name="The rules")
        expect(rules).to_contain_text("begin with a verb")
        expect(rules).to_have_attribute("aria-live", "polite")
        field.fill("watch out kerb in front")
        field.press("Enter")
        offer = page.get_by_role("button", name="Teach “Caution, curb ahead.”")
        expect(offer).to_be_visible()
        assert lines(desk) == []  # the same Enter never takes other words
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_have_text("Chunk 2 of 4 of walk.mp4")
        expect(field).to_be_focused()
        page.keyboard.press("Enter")  # an empty field takes the suggestion
        expect(page.get_by_role("heading", level=1)).to_have_text("Chunk 3 of 4 of walk.mp4")
        expect(page.get_by_role("status")).to_have_text(f"Saved: {SUGGESTED}")
        page.get_by_role("button", name="lighting: day is right").click()
        page.get_by_label("Environment").select_option("sidewalk")
        page.get_by_role("button", name="Nothing should be said").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Chunk 4 of 4 of walk.mp4")
        expect(page.get_by_label("Environment")).to_have_value("sidewalk")  # it holds for the next chunk
        page.get_by_role("button", name="Undo").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Chunk 3 of 4 of walk.mp4")
        page.get_by_role("button", name="Skip").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Chunk 4 of 4 of walk.mp4")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        small = page.locator("button:visible, select:visible, input:visible, summary").evaluate_all(
            f"all => all.filter(e => e.getBoundingClientRect().height < {TARGET_PX}).map(e => e.outerHTML)"
        )
        assert small == []
        page.get_by_role("button", name="Stop here").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("That is all. This page can be closed.")
    assert [line["instruction"] for line in lines(desk)] == ["Caution, curb ahead.", SUGGESTED]


def test_a_page_and_a_terminal_answer_the_same_chunks(film: Path, tmp_path: Path) -> None:
    root = tmp_path / "dataset"
    with at_terminal(None, "label", film, "--dataset", root, "--quiet", "--model", "none") as terminal:
        terminal.expect("answer there or here: ")
        address = terminal.expect("/\n").strip()
        terminal.expect("Chunk 1 of 4")
        terminal.expect("Enter instruction")
        turn = ask(f"{address}state").json["turn"]
        assert post_json(f"{address}answer", {"turn": turn, "action": "skip"}).status == 200
        terminal.expect("Chunk 2 of 4")
        terminal.expect("Enter instruction")
        terminal.type("Stop, curb ahead.\n")
        terminal.expect("Saved: Stop, curb ahead.")
        terminal.expect("Chunk 3 of 4")
        assert ask(f"{address}state?after={turn + 1}").json["chunk"] == 3
        terminal.expect("Enter instruction")
        terminal.interrupt()
        terminal.expect("1 labelled, 1 skipped, 2 to go")
        assert terminal.end() == 130
