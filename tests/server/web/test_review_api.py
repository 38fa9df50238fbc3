"""Whose turn, leases, undo, marks, comments, words: over a real uvicorn, as a page or a script asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi import FastAPI

from server.review import searching
from server.review.moment_filter import ALL_PENDING
from server.web.app import create_app
from server.web.person import Person, Role
from shared import vocabulary
from shared.messages import FLAGS
from tests.server.dataset.moments import House, moment
from tests.server.web.serving import (
    AUDITED,
    CORRECTED,
    FLAGGED,
    PUZZLING,
    Answer,
    ask,
    asked_as,
    post_json,
    seed,
    served,
)

PEOPLE = {
    "Ana": Person("Ana"),
    "Ben": Person("Ben"),
    "Root": Person("Root", Role.ADMIN),
    "Stranger": Person("Stranger", wearers=frozenset({"Bea"})),
}
Call = Callable[..., Answer]


@pytest.fixture
def people(house: House) -> Iterator[str]:
    """The address of a server with four moments, at which several people work."""
    seed(house)
    app: FastAPI = create_app(house.store, house.dataset, clock=house.clock)
    asked_as(app, lambda scope: PEOPLE[dict(scope["headers"]).get(b"x-who", b"Ana").decode()])
    with served(app) as url:
        yield url


@pytest.fixture
def call(people: str) -> Call:
    """One request: (method, path, body, who) → its answer."""

    def called(method: str, path: str, body: Any = None, who: str = "Ana") -> Answer:
        if body is not None:
            return post_json(f"{people}{path}", body, **{"X-Who": who})
        return ask(f"{people}{path}", method=method, data=b"" if method != "GET" else None, headers={"X-Who": who})

    return called


def read(call: Call, sample_id: str) -> str:
    row_id: str = call("GET", f"/api/samples/{sample_id}").json["row_id"]
    return row_id


def test_two_reviewers_never_hold_one_moment_and_a_decision_is_in_ones_own_name(call: Call) -> None:
    first = call("POST", "/api/next", who="Ana").json
    assert (first["sample"]["sample_id"], first["lease"]["person"]) == (CORRECTED, "Ana")
    assert call("POST", "/api/next", who="Ben").json["sample"]["sample_id"] == PUZZLING
    held = call("POST", f"/api/samples/{CORRECTED}/lease", who="Ben")
    assert (held.status, held.json["detail"]) == (409, "Ana has this one.")
    assert call("POST", f"/api/samples/{CORRECTED}/lease", who="Ana").status == 200
    body = {"action": "accept", "row_id": first["sample"]["row_id"]}
    done = post = call("POST", f"/api/samples/{CORRECTED}/review", body, who="Ana")
    assert (done.status, post.json["author"]) == (200, "Ana")
    assert call("GET", f"/api/samples/{CORRECTED}/marks").json["lease"] is None
    assert call("POST", "/api/next?flag=audit", who="Ana").json["sample"]["sample_id"] == AUDITED
    assert call("DELETE", f"/api/samples/{AUDITED}/lease", who="Ana").status == 200
    assert call("POST", "/api/next?flag=audit", who="Ben").json["sample"]["sample_id"] == AUDITED
    assert call("POST", "/api/next?wearer=Nobody").json == {"sample": None, "lease": None}


def test_undo_brings_back_what_one_decided_and_nothing_of_others(call: Call) -> None:
    row_ids = [read(call, one) for one in (FLAGGED, AUDITED)]
    assert call("POST", "/api/batch", {"row_ids": row_ids, "action": "nothing"}).status == 200
    (act,) = call("GET", "/api/undo").json["acts"]
    assert (act["sample_ids"], act["action"], act["undone"]) == ([FLAGGED, AUDITED], "nothing", False)
    assert call("GET", "/api/undo", who="Ben").json == {"acts": []}
    assert call("POST", "/api/undo", {}, who="Ben").status == 409
    undone = call("POST", "/api/undo", {"act": act["act"]})
    assert (undone.status, undone.json["sample_id"], undone.json["state"]) == (200, FLAGGED, "pending")
    assert call("GET", "/api/samples").json["counts"]["pending"] == 4
    again = call("POST", "/api/undo", {})
    assert (again.status, "nothing to undo" in again.json["detail"]) == (409, True)
    assert call("POST", "/api/undo", {"act": 0}).status == 422


def test_marks_comments_and_skips(call: Call) -> None:
    assert call("POST", f"/api/samples/{FLAGGED}/difficult", {"difficult": True}).json["difficult_by"] == "Ana"
    assert call("POST", f"/api/samples/{FLAGGED}/assign", {"to": "Ben"}).json["assigned_to"] == "Ben"
    comment = call("POST", f"/api/samples/{FLAGGED}/comments", {"text": "Which <b>side</b>?"}).json
    assert comment["text"] == "Which <b>side</b>?"
    assert call("POST", f"/api/samples/{FLAGGED}/comments", {"text": " "}).status == 422
    for query in ("difficult=true", "commented=true", "assigned=Ben"):
        found = call("GET", f"/api/samples?{query}").json
        assert ([row["sample_id"] for row in found["samples"]], found["total"]) == ([FLAGGED], 1)
    assert call("GET", "/api/samples?assigned=me", who="Ben").json["total"] == 1
    path = f"/api/samples/{FLAGGED}/comments/{comment['id']}"
    assert [call("DELETE", path, who=who).status for who in ("Ben", "Ana", "Ana")] == [404, 200, 404]
    assert call("POST", f"/api/samples/{CORRECTED}/skip").status == 200
    assert [row["sample_id"] for row in call("GET", "/api/samples").json["samples"]][-1] == CORRECTED
    assert [row["sample_id"] for row in call("GET", "/api/samples?skipped=true").json["samples"]] == [CORRECTED]
    assert call("GET", "/api/samples", who="Ben").json["samples"][0]["sample_id"] == CORRECTED
    assert call("DELETE", f"/api/samples/{CORRECTED}/skip").status == 200
    assert call("GET", "/api/samples").json["samples"][0]["sample_id"] == CORRECTED


def test_filters_near_choices_and_wording(call: Call) -> None:
    assert call("GET", "/api/samples?thing=pole&words=POLE&since=2023-11-14&until=2023-11-14").json["total"] == 1
    assert call("GET", "/api/samples?since=2023-11-15").json["total"] == 0
    assert call("GET", "/api/samples?since=soon").status == 422
    near = call("GET", f"/api/samples/{FLAGGED}/near").json
    assert [row["sample_id"] for row in near["before"]] == [AUDITED]
    assert [row["sample_id"] for row in near["after"]] == [PUZZLING, CORRECTED]
    assert near["beside"] == []
    choices = call("GET", "/api/choices").json
    assert (choices["wearer"], choices["device"], choices["flag"]) == (["Ada"], ["pi-1"], sorted(FLAGS))
    told = call("GET", "/api/wording?text=watch%20out,%20kerb%20ahead%20at%20the%20crosswalk").json
    assert (told["wording"], told["lost"], told["as_written"]) == ("Caution, curb ahead.", ["crosswalk"], False)
    assert call("GET", "/api/wording?text=a%20plank%20ahead").json["suggestions"] == ["Caution, obstacle ahead."]


def test_an_unknown_thing_is_offered_as_an_obstacle_and_becomes_a_word(call: Call, house: House) -> None:
    body = {"action": "edit", "text": "a plank ahead", "row_id": read(call, FLAGGED)}
    refused = call("POST", f"/api/samples/{FLAGGED}/review", body)
    assert (refused.status, refused.json["unknown"]) == (422, "plank")
    assert refused.json["proposal"] == "Caution, obstacle ahead."
    assert call("GET", "/api/words").status == 403
    (word,) = call("GET", "/api/words", who="Root").json["words"]
    assert (word["words"], word["people"], word["sample_ids"]) == ("plank", ["Ana"], [FLAGGED])
    assert call("POST", "/api/words", {"words": "plank", "thing": "obstacle"}).status == 403
    try:
        wrong = call("POST", "/api/words", {"words": "plank", "thing": "tree house"}, who="Root")
        assert (wrong.status, "no thing of the vocabulary" in wrong.json["detail"]) == (422, True)
        assert call("POST", "/api/words", {"words": "plank", "thing": "obstacle"}, who="Root").json == {"version": 1}
        again = call("POST", f"/api/samples/{FLAGGED}/review", body)
        assert (again.status, again.json["wording"]) == (422, "Caution, obstacle ahead.")
        assert call("GET", "/api/words", who="Root").json == {"words": []}
    finally:
        vocabulary.use_own_words({})
    assert call("DELETE", "/api/words?words=plank", who="Root").json == {"dropped": 1}


ABOUT_ONE: tuple[tuple[str, str, dict[str, Any] | None], ...] = (
    ("GET", "", None), ("POST", "/review", {"action": "nothing"}), ("POST", "/lease", None), ("DELETE", "/lease", None),
    ("POST", "/skip", None), ("DELETE", "/skip", None), ("GET", "/marks", None), ("POST", "/difficult", {}),
    ("POST", "/assign", {"to": "x"}), ("POST", "/comments", {"text": "x"}), ("DELETE", "/comments/1", None),
    ("GET", "/near", None),
)  # fmt: skip


def test_what_a_person_may_not_see_is_not_there(call: Call, house: House) -> None:
    row_id = read(call, FLAGGED)
    for method, path, body in ABOUT_ONE:
        own = {**body, "row_id": row_id} if path == "/review" and body else body
        hidden = call(method, f"/api/samples/{FLAGGED}{path}", own, who="Stranger")
        missing = call(method, f"/api/samples/nobody{path}", own, who="Stranger")
        assert (hidden.status, missing.status) == (404, 404), path
    seen = call("GET", "/api/samples?state=all", who="Stranger").json
    assert (seen["total"], seen["counts"]) == (0, {"pending": 0, "reviewed": 0, "rejected": 0})
    assert call("POST", "/api/next", who="Stranger").json["sample"] is None
    assert call("POST", "/api/batch", {"row_ids": [row_id], "action": "nothing"}, who="Stranger").status == 404
    assert call("GET", "/api/choices", who="Stranger").json["wearer"] == []
    assert searching.count(house.store, ALL_PENDING) == 4


@pytest.mark.parametrize("said", ["It is safe to cross.", "Cross now."])
def test_what_may_not_be_said_is_accepted_by_no_door(call: Call, house: House, said: str) -> None:
    house.send(moment(9, raw_output=said))
    sample_id = "pi-1-b00t-000009"
    row_id = read(call, sample_id)
    path = f"/api/samples/{sample_id}/review"
    for body in ({"action": "accept"}, {"action": "edit", "text": said}):
        assert call("POST", path, {**body, "row_id": row_id}).status == 422
    assert call("POST", "/api/batch", {"row_ids": [row_id], "action": "accept"}).status == 422
    assert call("GET", f"/api/samples/{sample_id}").json["state"] == "pending"
