"""The pages as plain HTML and forms: what is there without JavaScript."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict
from html.parser import HTMLParser
from urllib.parse import urlencode

import pytest

from server.evaluation.measures import Proportion
from server.releases.sheet import ModelSheet, rows_of
from server.review import leases, searching
from server.web import filters, keys
from server.web.app import create_app
from server.web.moments_page import PAGE_SIZE
from server.web.page import STATIC
from server.web.person import Person
from server.web.view import card, paging
from shared import vocabulary
from shared.model_card import SightCard, spoken
from tests.server.dataset.moments import House, moment
from tests.server.web.serving import (
    AUDITED,
    CORRECTED,
    FLAGGED,
    PUZZLING,
    Answer,
    ask,
    asked_as,
    correct,
    post_json,
    seed,
    served,
)

VOID = frozenset("area base br col embed hr img input link meta source track wbr".split())


class Page(HTMLParser):
    """Tags with their attributes, and whether every tag was closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self._open: list[str] = []
        self.feed(html)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def all(self, name: str) -> list[dict[str, str]]:
        return [attributes for tag, attributes in self.tags if tag == name]


def submit(site: str, sample_id: str, **fields: str) -> Answer:
    """A form about the row that stands now, unless another is named."""
    known = ask(f"{site}/api/samples/{sample_id}")
    fields = {"row_id": known.json["row_id"] if known.status == 200 else "", **fields}
    return ask(
        f"{site}/moments/{sample_id}/review",
        method="POST",
        data=urlencode(fields).encode(),
        headers={"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin"},
    )


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/moments?state=all&words=bin",
        f"/moments/{CORRECTED}",
        f"/moments/{PUZZLING}",
        "/moments/nobody",
        "/moments?page=x",
        "/models",
        "/keys",
        "/ear",
        "/offline",
        "/batch",
        f"/moments/{AUDITED}/alike",
    ],
)
def test_a_page_is_well_formed_with_one_h1_unique_ids_and_no_inline_code(site: str, path: str) -> None:
    page = Page(ask(f"{site}{path}").text)
    assert len(page.all("h1")) == 1
    assert [len(page.all(tag)) for tag in ("main", "footer", "title")] == [1, 1, 1]
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert all("src" in script for script in page.all("script"))
    assert page.all("style") == []
    assert [a for _, a in page.tags if "style" in a or any(name.startswith("on") for name in a)] == []
    for attributes in (a for _, a in page.tags):
        for name in ("aria-labelledby", "aria-describedby", "for", "list"):
            assert all(target in ids for target in attributes.get(name, "").split())
    assert all("alt" in image for image in page.all("img"))


def test_a_moment_shows_picture_clip_sounds_and_words(site: str) -> None:
    html = ask(f"{site}/").text
    page = Page(html)
    assert len(page.all("article")) == 1, "one moment a screen"
    [clip] = page.all("video")
    assert "Camera picture. The device said: Caution, bin ahead." in clip["aria-label"]
    assert "controls" in clip
    assert clip["poster"].startswith("/media/frames/")
    assert len([audio for audio in page.all("audio") if "controls" in audio]) == 2
    for words in (
        "What the device said",
        "Caution, bin ahead.",
        "What the wearer said",
        "cone on the left",
        "Caution, cone on the left.",
        "Correction by Ada",
        "heard from the wearer, 95 % sure",
        "the device, 42 % sure",
        "2 s before: Caution, bin ahead.",
        "Drawn over the picture: the device: bin, ahead; proposed: cone, on the left.",
        "night-7",
    ):
        assert words in html, words
    assert html.index('value="accept"') < html.index("<audio")
    other = Page(ask(f"{site}/moments/{PUZZLING}").text)
    assert "Camera picture. The device said: Caution, bin ahead." in [image["alt"] for image in other.all("img")]


def test_every_suggestion_may_be_said(site: str) -> None:
    options = re.findall(r'<option value="([^"]+)"></option>', ask(f"{site}/").text)
    assert "Stop, curb ahead." in options
    assert len(options) > 100
    assert [(o, vocabulary.problems(o)) for o in options if vocabulary.problems(o)] == []
    assert [o for o in options if vocabulary.normalise(o) != o] == []


def test_words_from_a_device_can_not_become_html(house: House) -> None:
    evil = '<script>alert(1)</script>"><img src=x onerror=alert(2)>'
    house.send(moment(0, raw_output=evil, spoken=evil, wearer=evil, context=evil))
    correct(house, AUDITED, n=1, transcript=evil, proposal="")
    with served(create_app(house.store, house.dataset, clock=house.clock, model=lambda: evil)) as site:
        for path in ("/", f"/moments/{AUDITED}"):
            html = ask(f"{site}{path}").text
            assert "<script>alert" not in html
            assert "<img src=x" not in html
            Page(html)


def test_a_form_that_is_taken_leads_to_the_next_moment_and_says_so(site: str, house: House) -> None:
    answer = submit(site, CORRECTED, action="accept", row_id=read(site, CORRECTED), within="wearer=Ada")
    assert answer.status == 303
    assert answer.headers["location"] == f"/?wearer=Ada&done={CORRECTED}"
    html = ask(site + answer.headers["location"]).text
    assert "Confirmed: “Caution, cone on the left.”" in html
    assert f'id="moment-{PUZZLING}"' in html
    assert next(row for row in house.dataset.rows() if row.sample_id == CORRECTED).reviewed
    assert ask(f"{site}/?state=reviewed").headers["location"] == "/moments?state=reviewed", "the old address"
    assert f'href="/moments/{CORRECTED}"' in ask(f"{site}/moments?state=reviewed").text
    assert 'value="accept"' not in ask(f"{site}/moments/{CORRECTED}").text


def read(site: str, sample_id: str) -> str:
    """The row_id that a page of this moment has."""
    fields = Page(ask(f"{site}/moments/{sample_id}").text).all("input")
    return next(field["value"] for field in fields if field.get("name") == "row_id")


def test_what_is_done_beside_a_decision_is_a_form_each(site: str, house: House) -> None:
    def post(path: str, **fields: str) -> str:
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin"}
        answer = ask(f"{site}{path}", method="POST", data=urlencode(fields).encode(), headers=headers)
        assert answer.status == 303, answer.text
        return answer.headers["location"]

    assert post(f"/moments/{CORRECTED}/mark", mark="skip", within="wearer=Ada") == "/?wearer=Ada&told=skipped"
    assert f'id="moment-{PUZZLING}"' in ask(f"{site}/").text, "what was skipped is no longer in front"
    assert post(f"/moments/{CORRECTED}/mark", mark="difficult") == "/?told=difficult"
    assert post(f"/moments/{CORRECTED}/comment", comment="A cone, I think. <b>") == (
        f"/moments/{CORRECTED}?told=commented"
    )
    post(f"/moments/{CORRECTED}/assign", name="Ben")
    html = ask(f"{site}/moments/{CORRECTED}?told=commented").text
    for words in ("Difficult, says caregiver.", "For Ben.", "A cone, I think. &lt;b&gt;", "Comment added."):
        assert words in html
    assert post(f"/moments/{CORRECTED}/mark", mark="easy") == f"/moments/{CORRECTED}?told=easy"
    submit(site, CORRECTED, action="reject", row_id=read(site, CORRECTED))
    assert post("/undo").startswith(f"/moments/{CORRECTED}?told=undone")
    submit(site, CORRECTED, action="nothing", row_id=read(site, CORRECTED))
    post(f"/moments/{CORRECTED}/mark", mark="return", row_id=read(site, CORRECTED))
    row = next(row for row in house.dataset.rows() if row.sample_id == CORRECTED)
    assert row.state == "pending"


def test_moments_like_one_are_found_from_its_page(site: str, house: House) -> None:
    house.send(moment(30, seed=3, walk_id="another-walk"))  # the picture of CORRECTED
    assert f'href="/moments?state=all&amp;like={CORRECTED}"' in ask(f"{site}/moments/{CORRECTED}").text
    for sample_id in (CORRECTED, "pi-1-b00t-000030"):
        html = ask(f"{site}/moments?state=all&like={sample_id}").text
    assert f'href="/moments/{CORRECTED}"' in html
    assert f'href="/moments/{PUZZLING}"' not in html


def test_somebody_else_has_it_and_gets_another_one(site: str, house: House) -> None:
    leases.take(house.store, CORRECTED, "Ana", now_s=house.clock.utc_s())
    assert f'id="moment-{PUZZLING}"' in ask(f"{site}/").text
    assert "Ana has this one." in ask(f"{site}/moments/{CORRECTED}").text
    assert "Ana has this one." in ask(f"{site}/moments").text


def test_a_person_sees_only_their_wearers_moments_on_every_page(house: House) -> None:
    seed(house)
    house.send(moment(9, wearer="Ben", raw_output="Stop, curb ahead.", walk_id="walk-1"))
    bens = "pi-1-b00t-000009"
    app = create_app(house.store, house.dataset, clock=house.clock)
    asked_as(app, lambda _: Person("Ada", wearers=frozenset(("Ada",))))
    with served(app) as site:
        assert ask(f"{site}/moments/{CORRECTED}").status == 200
        for path in ("", "/alike", "/review", "/mark", "/comment", "/assign", "/where"):
            fields = {"row_id": f"{bens}#1", "action": "accept", "mark": "skip"}
            body = None if path in ("", "/alike") else urlencode({k: v for k, v in fields.items() if k in NEEDS[path]})
            answer = ask(
                f"{site}/moments/{bens}{path}",
                method="GET" if body is None else "POST",
                data=body.encode() if body is not None else None,
                headers={"Content-Type": "application/x-www-form-urlencoded"},
            )
            assert answer.status == 404, path
        for path in ("/", "/moments?state=all", f"/moments/{FLAGGED}", "/?words=curb", "/moments?words=curb"):
            assert bens not in ask(f"{site}{path}").text, path
        told = [post_json(f"{site}/api/ear/{bens}/do", {"act": "accept", "row_id": f"{bens}#1"}).status]
        told.append(ask(f"{site}/api/ear/{bens}/say?what=wearer").status)
        assert told == [404, 404]
        for _ in range(5):
            following = post_json(f"{site}/api/ear/next", {"done": 0}).json
            assert following["id"] != bens
            if following["id"]:
                post_json(f"{site}/api/ear/{following['id']}/do", {"act": "nothing", "row_id": following["row_id"]})
        assert following["parts"][-1]["text"].startswith("Nothing is left")
    row = next(row for row in house.dataset.rows() if row.sample_id == bens)
    assert row.state == "pending"


NEEDS = {
    "/review": ("row_id", "action"), "/mark": ("mark",), "/comment": (), "/assign": (), "/where": (),
}  # fmt: skip


def test_the_keys_of_the_script_are_those_of_the_table() -> None:
    text = (STATIC / "keys.js").read_text("utf-8")
    first = text[text.index("FIRST = {") :].partition("};")[0]
    assert dict(re.findall(r'(\w+): "([^"]+)"', first)) == {item.name: item.key for item in keys.ACTIONS}


def test_a_search_in_an_address_is_read_back_as_it_was_written() -> None:
    query = filters.PageSearch.model_validate(
        {"words": "cone & left", "wearer": "Ada", "since": "2026-01-02", "marked": "difficult"}
    )
    assert filters.read(query.within) == query
    assert filters.told(query) == "words: cone & left, wearer: Ada, from (day): 2026-01-02, marked: difficult"
    texts = dict.fromkeys(("words", "assigned"), "縁" * 96)
    long = filters.PageSearch.model_validate({**texts, "wearer": "\U0001d518" * 256, "marked": "difficult"})
    assert filters.read(long.within) == long, "a condition that is lost shows other moments"
    assert filters.read("since=never&words=x" * 500) == filters.PageSearch.model_validate({})


def test_a_form_that_is_not_taken_keeps_the_words_and_says_why_beside_them(site: str) -> None:
    answer = submit(site, FLAGGED, action="edit", text="mind the thingy", row_id=read(site, FLAGGED))
    assert answer.status == 422
    page = Page(answer.text)
    field = next(a for a in page.all("input") if a.get("name") == "text")
    assert (field["value"], field["aria-invalid"]) == ("mind the thingy", "true")
    assert re.search(r'role="alert"[^>]*>“mind the thingy” can not be taught: &#39;thingy&#39; is not', answer.text)
    assert "<title>Not saved" in answer.text


def test_a_form_about_a_moment_that_changed_meanwhile_shows_both_wordings(site: str, house: House) -> None:
    row_id = read(site, FLAGGED)
    correct(house, FLAGGED, n=4, transcript="stairs down", proposal="Stop, stairs down ahead.")
    answer = submit(site, FLAGGED, action="edit", text="Caution, dog ahead.", row_id=row_id)
    assert answer.status == 409
    box = answer.text[answer.text.index('class="conflict"') : answer.text.index("<article")]
    assert "Caution, pole ahead." in box
    assert "Stop, stairs down ahead." in box
    [typed] = [
        field["value"] for field in Page(answer.text).all("input") if field.get("name") == "text" and "id" in field
    ]
    assert typed == "Caution, dog ahead."


@pytest.mark.parametrize(
    "fields", [{}, {"action": "delete"}, {"action": "accept", "within": "x" * 9000}, {"action": "edit", "x": "y"}]
)
def test_a_form_that_is_none_of_ours_is_refused_with_a_page(site: str, fields: dict[str, str]) -> None:
    answer = submit(site, FLAGGED, **fields)
    assert answer.status == 422
    assert "Back to the moments" in answer.text


def test_a_moment_of_its_own_shows_its_past(site: str) -> None:
    submit(site, FLAGGED, action="nothing", row_id=read(site, FLAGGED))
    submit(site, FLAGGED, action="edit", text="Caution, pole ahead.", row_id=read(site, FLAGGED))
    html = ask(f"{site}/moments/{FLAGGED}").text
    assert html.index("Nothing should be said</strong> by caregiver") < html.index("<strong>Edited</strong>")
    assert "Caution, pole ahead." in html


def test_an_unknown_page_is_a_page(site: str) -> None:
    for path in ("/moments/nobody", "/nowhere"):
        answer = ask(f"{site}{path}")
        assert answer.status == 404
        assert "Back to the moments" in answer.text


@pytest.fixture
def empty(house: House) -> Iterator[str]:
    with served(create_app(house.store, house.dataset, clock=house.clock)) as url:
        yield url


def test_an_empty_list_says_what_to_do(empty: str) -> None:
    assert "Check that the device is switched on" in ask(f"{empty}/").text
    assert "Start with the" in ask(f"{empty}/moments?state=reviewed").text
    assert "can be taken back" in ask(f"{empty}/moments?state=rejected").text
    assert "No moment is like that" in ask(f"{empty}/moments?words=cone").text
    assert "No model has been released yet" in ask(f"{empty}/").text


def test_a_long_list_comes_in_pages(house: House) -> None:
    house.send_all([moment(n) for n in range(PAGE_SIZE + 2)])
    with served(create_app(house.store, house.dataset, clock=house.clock)) as site:
        first, second = Page(ask(f"{site}/moments").text), Page(ask(f"{site}/moments?page=2").text)
        beyond = Page(ask(f"{site}/moments?page=99").text)
    ticks = [len([tag for tag in page.all("input") if tag.get("name") == "chosen"]) for page in (first, second, beyond)]
    assert ticks == [PAGE_SIZE, 2, 2]
    assert [a["href"] for a in first.all("a") if a.get("rel") == "next"] == ["/moments?state=pending&page=2"]
    assert [a["href"] for a in second.all("a") if a.get("rel") == "prev"] == ["/moments?state=pending&page=1"]


def test_a_search_counts_to_a_bound_and_says_so(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.send_all([moment(n) for n in range(5)])
    monkeypatch.setattr(searching, "COUNTED", 3)

    with served(create_app(house.store, house.dataset, clock=house.clock)) as site:
        searched, whole = (ask(f"{site}/moments?{query}").text for query in ("device=pi-1", ""))
        beyond = ask(f"{site}/moments?device=pi-1&page=9").text
    assert [found.strip() for found in re.findall(r'class="count"[^>]*>([^<]*)<', searched)] == [
        "5",
        "3+",
        "0",
        "0",
        "3+",
    ]
    assert "Moments 1 to 3 of more than 3. To see the others, search for less." in searched
    assert "Moments 1 to 3 of more than 3." in beyond
    assert [found.strip() for found in re.findall(r'class="count"[^>]*>([^<]*)<', whole)] == ["5", "5", "0", "0", "5"]


def test_a_page_beyond_the_end_is_the_last_one() -> None:
    assert (paging(0, page=1, size=10).last, paging(0, page=5, size=10).first_item) == (1, 0)
    assert (paging(20, page=3, size=10).page, paging(21, page=3, size=10).first_item) == (2, 21)


def test_a_moment_that_nobody_spoke_in_says_what_was_held_back(house: House) -> None:
    house.send(moment(0, raw_output="Caution, bin ahead.", spoken="", wearer=""))
    shown = card(house.dataset.rows()[0])
    with served(create_app(house.store, house.dataset, clock=house.clock)) as site:
        html = ask(f"{site}/").text
    assert 'Nothing aloud. <span class="aside">It held back <q>Caution, bin ahead.</q></span>' in html
    assert shown.alt == "Camera picture. The device said nothing aloud. It held back: Caution, bin ahead."
    assert shown.why == "The wearer pressed the button."


EYES = SightCard(sees=("vehicle", "person"), unseen=("curb", "pole"), unknown=("cone",))
FIGURES = {"vehicle": {"recall": asdict(Proportion.of(18, 20)), "precision": asdict(Proportion.of(18, 24))}}


def sheet(version: str, role: str, *, trouble: str = "") -> ModelSheet:
    return ModelSheet(version, role, "trial", "base", spoken(EYES), 40, rows_of(EYES, FIGURES), trouble)


def test_the_models_page_tells_what_each_sees_and_how_well_the_worst_first(house: House) -> None:
    models = [sheet("eyes-2", "champion"), sheet("<b>", "previous", trouble="Its manifest <i> is damaged.")]
    with served(create_app(house.store, house.dataset, clock=house.clock, models=lambda: models)) as url:
        text = ask(f"{url}/models").text
    page = Page(text)
    assert len(page.all("h1")) == 1
    assert (
        text.index("does not see") < text.index("not known") < text.index("not measured") < text.index("<strong>90 %")
    )
    assert "18 of 20, 95 %: 70 to 97 %" in text
    assert "<strong>75 %</strong>" in text
    assert "It does not see curbs or poles." in text
    assert "&lt;b&gt;" in text
    assert "Its manifest &lt;i&gt; is damaged." in text
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_without_models_the_page_says_how_to_begin(site: str) -> None:
    assert "waycue-server models add eyes" in ask(f"{site}/models").text
    assert 'href="/models"' in ask(site).text
