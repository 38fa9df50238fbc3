"""The JSON API over a real uvicorn: what the demo and other programs rely on."""

from __future__ import annotations

from typing import Any

import pytest

from server.dataset.folder import Dataset
from server.web.app import create_app
from tests.server.dataset.moments import House, moment
from tests.server.web.serving import AUDITED, CORRECTED, FLAGGED, PUZZLING, ask, correct, post_json, served


def review(site: str, sample_id: str, **body: Any) -> tuple[int, Any]:
    """A decision about the row that stands now, unless another is named."""
    if "row_id" not in body:
        body["row_id"] = ask(f"{site}/api/samples/{sample_id}").json["row_id"]
    answer = post_json(f"{site}/api/samples/{sample_id}/review", body)
    return answer.status, answer.json


def ids(site: str, query: str = "") -> list[str]:
    return [row["sample_id"] for row in ask(f"{site}/api/samples{query}").json["samples"]]


def test_corrections_are_listed_first_with_counts_and_state(site: str) -> None:
    listing = ask(f"{site}/api/samples").json
    assert ids(site) == [CORRECTED, PUZZLING, FLAGGED, AUDITED]
    assert listing["counts"] == {"pending": 4, "reviewed": 0, "rejected": 0}
    first = listing["samples"][0]
    assert list(first)[:3] == ["frame_path", "audio_path", "instruction"]
    assert (first["state"], first["llm_correction"]) == ("pending", "Caution, cone on the left.")


def test_a_list_comes_in_pages(site: str) -> None:
    assert ids(site, "?state=all&limit=2&offset=1") == [PUZZLING, FLAGGED]
    assert ids(site, "?limit=2&offset=9") == []


@pytest.mark.parametrize("query", ["?state=some", "?limit=0", "?limit=501", "?offset=-1", "?limit=many"])
def test_a_list_that_can_not_be_meant_is_refused_with_the_name_of_the_field(site: str, query: str) -> None:
    answer = ask(f"{site}/api/samples{query}")
    assert answer.status == 422
    assert answer.json["detail"].startswith(query[1:].partition("=")[0])


def test_accept_confirms_the_proposed_wording_and_is_in_the_dataset_when_it_answers(site: str, house: House) -> None:
    status, row = review(site, CORRECTED, action="accept")
    assert status == 200
    assert (row["state"], row["ground_truth"], row["was_correct"]) == ("reviewed", "Caution, cone on the left.", False)
    assert (row["source"], row["author"]) == ("caregiver", "caregiver")
    assert next(r for r in Dataset(house.dataset.folder).rows() if r.sample_id == CORRECTED).reviewed
    assert ids(site, "?state=reviewed") == [CORRECTED]


def test_edited_words_become_the_vocabularys_once_these_are_confirmed(site: str) -> None:
    status, body = review(site, FLAGGED, action="edit", text="watch out, kerb ahead at the crosswalk")
    assert status == 422
    assert body == {
        "detail": "“watch out, kerb ahead at the crosswalk” would be taught as “Caution, curb ahead.”."
        " Left out: crosswalk.",
        "proposal": "Caution, curb ahead.",
        "wording": "Caution, curb ahead.",
        "lost": ["crosswalk"],
        "suggestions": [],
        "unknown": "",
    }
    assert ids(site, "?state=reviewed") == []
    status, row = review(site, FLAGGED, action="edit", text=body["wording"])
    assert (status, row["ground_truth"]) == (200, "Caution, curb ahead.")


def test_what_the_device_said_in_two_sentences_is_confirmed_as_the_one_that_is_taught(house: House) -> None:
    house.send(moment(1, raw_output="", spoken="Stop, curb ahead. Caution, bin on the left."))
    with served(create_app(house.store, house.dataset, clock=house.clock)) as site:
        status, body = review(site, FLAGGED, action="accept")
        assert (status, body["wording"]) == (422, "Stop, curb ahead.")
        assert "bin on the left" in body["lost"]
        row = review(site, FLAGGED, action="edit", text=body["wording"])[1]
    assert (row["ground_truth"], row["was_correct"]) == ("Stop, curb ahead.", True)


def test_what_the_device_should_never_have_said_can_not_be_accepted(house: House) -> None:
    house.send(moment(1, raw_output="Cross, vehicle ahead."))
    with served(create_app(house.store, house.dataset, clock=house.clock)) as site:
        status, body = review(site, FLAGGED, action="accept")
        assert (status, body["wording"], body["suggestions"]) == (422, "", ["Stop, vehicle ahead."])
        assert "walker's own to decide" in body["detail"]
        assert review(site, FLAGGED, action="edit", text="Stop, vehicle ahead.")[1]["was_correct"] is False


def test_nothing_and_reject_are_taken_and_can_be_changed(site: str) -> None:
    assert review(site, FLAGGED, action="nothing")[1]["ground_truth"] == ""
    assert review(site, FLAGGED, action="reject")[1]["state"] == "rejected"
    assert review(site, FLAGGED, action="edit", text="Caution, pole ahead.")[1]["state"] == "reviewed"
    one = ask(f"{site}/api/samples/{FLAGGED}").json
    assert [item["action"] for item in one["decisions"]] == ["nothing", "reject", "edit"]
    assert set(one["decisions"][0]) == {"at", "reviewer", "action", "before", "after"}
    assert one["state"] == "reviewed"


def test_the_same_decision_twice_changes_nothing(site: str) -> None:
    before = review(site, FLAGGED, action="accept")
    assert review(site, FLAGGED, action="accept") == before


def test_words_outside_the_vocabulary_are_refused_with_a_sentence_and_a_proposal(site: str) -> None:
    status, body = review(site, FLAGGED, action="edit", text="mind the stiars")
    assert status == 422
    assert body["suggestions"] == ["Stop, stairs down ahead.", "Caution, stairs up ahead."]
    assert body["proposal"] == ""  # up or down? a guess could send somebody the wrong way
    status, body = review(site, FLAGGED, action="edit", text="watch that barriar ahead")
    assert status == 422
    assert "'barriar' is not in the vocabulary" in body["detail"]
    assert body["proposal"] == "Caution, barrier ahead."
    assert body["proposal"] in body["detail"]
    assert review(site, FLAGGED, action="edit", text="  ")[0] == 422
    assert review(site, FLAGGED, action="edit", text="stop " * 100)[0] == 422
    assert ids(site, "?state=reviewed") == []


def test_a_correction_that_was_not_understood_can_not_be_accepted_unheard(site: str) -> None:
    status, body = review(site, PUZZLING, action="accept")
    assert status == 409
    assert "Listen to it" in body["detail"]
    assert review(site, PUZZLING, action="edit", text="Caution, dog ahead.")[0] == 200


@pytest.mark.parametrize(
    "body",
    [{}, {"action": "delete"}, {"action": ["accept"]}, {"action": "edit", "text": 3}, {"action": "accept", "who": "me"},
     {"action": "edit", "text": "x" * 5000}, [], "accept", None],
)  # fmt: skip
def test_a_body_that_is_no_decision_is_refused(site: str, body: Any) -> None:
    answer = post_json(f"{site}/api/samples/{FLAGGED}/review", body)
    assert answer.status == 422
    assert isinstance(answer.json["detail"], str)


def test_a_body_that_is_no_json_is_refused(site: str) -> None:
    for data, kind in (
        (b"{", "application/json"),
        (b'{"action": "accept"}', "text/plain"),
        (b"\xff", "application/json"),
    ):
        answer = ask(f"{site}/api/samples/{FLAGGED}/review", method="POST", data=data, headers={"Content-Type": kind})
        assert answer.status in (400, 422)
    assert ids(site, "?state=reviewed") == []


@pytest.mark.parametrize("sample_id", ["nobody", "..%2f..%2fetc", "%00", "a" * 500, "%F0%9F%A6%AE"])
def test_an_unknown_moment_is_not_found(site: str, sample_id: str) -> None:
    assert ask(f"{site}/api/samples/{sample_id}").status == 404
    assert post_json(f"{site}/api/samples/{sample_id}/review", {"action": "accept"}).status == 404


def test_nobody_confirms_another_persons_decision_unread(site: str) -> None:
    """A edits while B still reads the wording before: whatever B presses, B gets both wordings and nothing is saved."""
    read = ask(f"{site}/api/samples/{CORRECTED}").json["row_id"]
    assert review(site, CORRECTED, action="edit", text="Stop, curb ahead.", row_id=read)[0] == 200
    for own in ({"action": "accept"}, {"action": "edit", "text": "Caution, pole ahead."}, {"action": "reject"}):
        status, body = review(site, CORRECTED, row_id=read, **own)
        assert status == 409, own
        assert (body["read"], body["stands"]) == ("Caution, cone on the left.", "Stop, curb ahead.")
        assert (body["decided_by"], body["state"]) == ("caregiver", "reviewed")
        assert "Caution, cone on the left." in body["detail"]
        assert "caregiver decided" in body["detail"]
    stands = ask(f"{site}/api/samples/{CORRECTED}").json
    assert (stands["ground_truth"], len(stands["decisions"])) == ("Stop, curb ahead.", 1)
    assert review(site, CORRECTED, action="edit", text="Stop, curb ahead.", row_id=read)[0] == 200, "sent again"
    assert review(site, CORRECTED, action="accept", row_id=body["row_id"])[0] == 200, "read, then accepted"


def test_a_bulk_decision_keeps_out_what_was_decided_unread(site: str) -> None:
    rows = [ask(f"{site}/api/samples/{one}").json["row_id"] for one in (FLAGGED, AUDITED)]
    assert review(site, AUDITED, action="edit", text="Stop, curb ahead.")[0] == 200
    for action in ("accept", "nothing", "reject"):
        answer = post_json(f"{site}/api/batch", {"row_ids": rows, "action": action})
        assert (answer.status, answer.json["stands"]) == (409, "Stop, curb ahead.")
    assert ids(site, "?state=reviewed") == [AUDITED]


def test_which_row_was_read_has_to_be_said(site: str) -> None:
    status, body = review(site, FLAGGED, action="nothing", row_id="")
    assert (status, "row_id" in body["detail"]) == (422, True)
    assert review(site, FLAGGED, action="nothing", row_id=f"{AUDITED}#1")[0] == 409
    assert ids(site, "?state=reviewed") == []


def test_nobody_confirms_a_wording_that_came_in_after_the_page_was_opened(site: str, house: House) -> None:
    opened = ask(f"{site}/api/samples/{FLAGGED}").json["row_id"]
    correct(house, FLAGGED, n=4, transcript="stairs down", proposal="Stop, stairs down ahead.")
    status, body = review(site, FLAGGED, action="accept", row_id=opened)
    assert status == 409
    assert "look again" in body["detail"]
    seen = ask(f"{site}/api/samples/{FLAGGED}").json["row_id"]
    assert review(site, FLAGGED, action="accept", row_id=seen)[0] == 200


def test_a_decision_sent_again_is_no_conflict_but_another_ones_is(site: str) -> None:
    opened = ask(f"{site}/api/samples/{FLAGGED}").json["row_id"]
    assert review(site, FLAGGED, action="nothing", row_id=opened)[0] == 200
    assert review(site, FLAGGED, action="nothing", row_id=opened)[0] == 200
    assert review(site, FLAGGED, action="reject", row_id=opened)[0] == 409
    assert review(site, FLAGGED, action="reject", row_id="made-up#9")[0] == 409
    opened = ask(f"{site}/api/samples/{FLAGGED}").json["row_id"]
    assert [review(site, FLAGGED, action="return", row_id=opened)[0] for _ in range(2)] == [200, 200]


def test_a_clip_that_came_in_meanwhile_is_no_conflict(house: House) -> None:
    sent = moment(1, with_clip=True)
    house.merge.put_record("pi-1", "chunk", sent.record)
    for described in sent.record.parts[:2]:
        house.put_part("pi-1", FLAGGED, described, sent.payloads[described.kind])
    with served(create_app(house.store, house.dataset, clock=house.clock)) as site:
        opened = ask(f"{site}/api/samples/{FLAGGED}").json["row_id"]
        house.put_part("pi-1", FLAGGED, sent.record.parts[2], sent.payloads["clip"])
        assert review(site, FLAGGED, action="nothing", row_id=opened)[0] == 200


def test_stats_give_counts_the_model_and_how_often_it_was_right(site: str) -> None:
    review(site, CORRECTED, action="accept")
    review(site, AUDITED, action="accept")
    stats = ask(f"{site}/api/stats").json
    assert stats["counts"] == {"pending": 2, "reviewed": 2, "rejected": 0}
    assert stats["model"] == {"version": "night-7"}
    accuracy = stats["accuracy"]
    assert (accuracy["all"]["right"], accuracy["all"]["judged"]) == (1, 2)
    assert (accuracy["audit"]["right"], accuracy["audit"]["judged"]) == (1, 1)
    assert {group["name"]: group["all"]["rate"] for group in accuracy["by_object"]} == {"bin": 1.0, "cone": 0.0}
    assert [group["name"] for group in accuracy["by_model"]] == ["starter-1"]


def test_stats_of_a_new_server_are_empty_and_not_an_error(house: House) -> None:
    with served(create_app(house.store, house.dataset, clock=house.clock)) as site:
        stats = ask(f"{site}/api/stats").json
    assert stats["model"] == {"version": ""}
    assert stats["accuracy"]["all"] == {"right": 0, "judged": 0, "rate": None, "low": None, "high": None}


def test_a_full_disk_is_said_and_the_decision_is_written_later(
    site: str, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_self: Dataset, _values: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Dataset, "append", full)
        status, body = review(site, FLAGGED, action="nothing")
        assert status == 507
        assert "No space left" in body["detail"]
    assert review(site, FLAGGED, action="nothing")[0] == 200
    assert next(row for row in house.dataset.rows() if row.sample_id == FLAGGED).reviewed


def test_health_answers(site: str) -> None:
    assert ask(f"{site}/healthz").json == {"status": "ok"}
    assert ask(f"{site}/api/openapi.json").json["info"]["title"] == "waycue review"
    assert ask(f"{site}/docs").status == 404
