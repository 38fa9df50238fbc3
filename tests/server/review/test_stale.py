"""A decision is about the row that was read, whatever anybody else wrote meanwhile."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from server.database.store import open_store
from server.dataset import folder
from server.review import decisions, export, stats
from server.review.decisions import ReviewDecision, Stale
from shared.errors import Refused
from tests.server.dataset.moments import House, moment
from tests.server.review.deciding import NOW_S, decide, name, row_of

CONE, CURB = "Caution, cone on the left.", "Stop, curb ahead."


def test_what_was_read_is_compared_not_what_stands(desk: House) -> None:
    desk.send(moment(0, raw_output=CONE))
    read = row_of(desk, name(0))
    decide(desk, read.row_id, by="Ana", action="edit", text=CURB)
    for action, text in (("accept", ""), ("edit", CONE), ("nothing", ""), ("reject", ""), ("return", "")):
        with pytest.raises(Stale) as caught:
            decide(desk, read.row_id, by="Ben", action=action, text=text)
        stale = caught.value
        assert (stale.read, stale.stands, stale.decided_by, stale.decided_at) == (CONE, CURB, "Ana", NOW_S)
        assert all(part in str(stale) for part in (CONE, CURB, "Ana", "Nothing was saved"))
    assert row_of(desk, name(0)).ground_truth == CURB
    assert [past.reviewer for past in decisions.history(desk.store, name(0))] == ["Ana"]


def test_the_same_decision_sent_again_is_none_whoever_sends_it(desk: House) -> None:
    desk.send(moment(0, raw_output=CONE))
    read = row_of(desk, name(0)).row_id
    decide(desk, read, by="Ana")
    (again,) = decide(desk, read, by="Ben", action="edit", text=CONE)
    assert (again.author, again.ground_truth) == ("Ana", CONE)
    assert len(decisions.history(desk.store, name(0))) == 1


def test_a_row_that_never_was_is_no_row_that_was_read(desk: House) -> None:
    desk.send(moment(0, raw_output=CONE))
    with pytest.raises(Stale) as caught:
        decide(desk, f"{name(0)}#7", by="Ben")
    assert (caught.value.read, caught.value.stands) == ("", CONE)
    with pytest.raises(KeyError):
        decide(desk, "nobody#1", by="Ben")


def test_of_two_who_decide_at_once_in_two_processes_one_is_refused(desk: House) -> None:
    desk.send(moment(0, raw_output=CONE))
    read = row_of(desk, name(0)).row_id
    program = (
        "import sys\nfrom pathlib import Path\nfrom server.database.store import open_store\n"
        "from server.dataset.folder import Dataset\nfrom server.review import decisions\n"
        "home, row_id, text = Path(sys.argv[1]), sys.argv[2], sys.argv[3]\n"
        "store = open_store(home)\nprint('ready', flush=True)\nsys.stdin.readline()\n"
        "decision = decisions.ReviewDecision('edit', text, text)\n"
        "try:\n    decisions.review_read(store, Dataset(home / 'dataset'), [row_id], decision, now_s=1.0)\n"
        "except decisions.Stale:\n    sys.exit(9)\n"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    both = [
        subprocess.Popen([sys.executable, "-c", program, str(desk.home), read, text], **pipes)  # type: ignore[call-overload]
        for text in (CONE, CURB)
    ]
    for one in both:
        assert one.stdout.readline() == b"ready\n"
    for one in both:
        one.stdin.write(b"\n")
        one.stdin.flush()
    for one in both:
        one.communicate(timeout=60)
    assert sorted(one.returncode for one in both) == [0, 9]
    (past,) = decisions.history(desk.store, name(0))
    assert row_of(desk, name(0)).ground_truth == past.reviewer


def test_of_many_threads_that_read_the_same_row_one_wins(desk: House) -> None:
    desk.send(moment(0, raw_output=CONE))
    read, start = row_of(desk, name(0)).row_id, threading.Barrier(6)
    texts = [f"Caution, {thing} ahead." for thing in ("bin", "pole", "furniture", "bollard", "person", "barrier")]

    def one(text: str) -> bool:
        store, dataset = open_store(desk.home), folder.Dataset(desk.home / "dataset")
        start.wait(60)
        try:
            decision = ReviewDecision("edit", text, text)
            decisions.review_read(store, dataset, [read], decision, now_s=NOW_S)
        except Stale:
            return False
        finally:
            store.close()
        return True

    with ThreadPoolExecutor(len(texts)) as pool:
        assert sum(pool.map(one, texts)) == 1
    assert len(decisions.history(desk.store, name(0))) == 1


@pytest.mark.parametrize("said", ["It is safe to cross.", "Cross now.", "Stop, curb ahead. It is safe to cross."])
def test_accept_refuses_what_edit_refuses(desk: House, said: str) -> None:
    desk.send(moment(0, raw_output=said))
    read = row_of(desk, name(0)).row_id
    for action, text in (("accept", ""), ("edit", said)):
        with pytest.raises(Refused, match="can not be taught"):
            decide(desk, read, by="Ana", action=action, text=text)
    assert row_of(desk, name(0)).state == "pending"


def test_what_was_confirmed_under_an_older_table_is_neither_counted_nor_exported(desk: House) -> None:
    desk.send(moment(0, raw_output=CONE))
    (good,) = decide(desk, row_of(desk, name(0)).row_id, by="Ana")
    old = replace(good, ground_truth="It is safe to cross.", instruction="It is safe to cross.")
    wanted = export.Wanted(silence="Continue straight, path is clear.")
    assert (stats.is_judged(good), stats.is_judged(old)) == (True, False)
    assert (export.objection(good, wanted), "may not be taught" in export.objection(old, wanted)) == ("", True)


def test_a_moment_returned_to_review_is_as_if_nobody_had_decided(desk: House) -> None:
    desk.send(moment(0, raw_output=CONE))
    before = row_of(desk, name(0))
    for action, text in (("edit", CURB), ("nothing", ""), ("reject", "")):
        (decided,) = decide(desk, row_of(desk, name(0)).row_id, by="Ana", action=action, text=text)
        (back,) = decide(desk, decided.row_id, by="Ben", action="return")
        assert back.state == "pending"
        same = ("ground_truth", "instruction", "was_correct", "source", "author", "batch", "llm_correction")
        assert all(getattr(back, one) == getattr(before, one) for one in same)
    assert decisions.counts(desk.store) == {"pending": 1, "reviewed": 0, "rejected": 0}
    assert decide(desk, back.row_id, by="Ben", action="return") == [back], "it waits already"
