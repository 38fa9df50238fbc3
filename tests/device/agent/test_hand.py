"""The wearer's hand on whole walks: questions, pauses, forgetting, discarding, by a script of presses."""

from __future__ import annotations

import re
import threading
from pathlib import Path

import pytest

from device.agent.run import SAID_BEFOREHAND
from device.health.how_are_you import HOW_TEXTS, Wellbeing, line
from device.moments.collector import MOMENT_TEXTS
from device.moments.pausing import PAUSE_TEXTS, PauseEvent, Pausing, step
from shared import monitor, policy, vocabulary
from shared.runtime.seen import Hazard
from tests.device.agent.stage import CLEAR, Seen, StoryModel, agent, config, film, nothing, presses, run, says

CURB, POLE = Hazard("curb", "ahead", 0.95), Hazard("pole", "on the left", 0.9)


def pole(_look: int) -> Seen:
    return (POLE,), says("Caution, pole on the left.")


def test_what_is_ahead_is_answered_from_the_newest_look_and_never_with_clear(tmp_path: Path) -> None:
    script = presses(tmp_path, {"t_s": 5.0, "action": "ahead"})
    done = run(tmp_path, StoryModel(pole), buttons__script=str(script))
    (asked,) = [entry for entry in done.report["announced"] if entry["why"] == "asked"]
    assert asked["text"] == "Caution, pole on the left."
    done = run(tmp_path / "b", StoryModel(nothing), walk=film(tmp_path), buttons__script=str(script))
    assert "Nothing recognised. Check for yourself." in done.texts
    assert not [text for text in done.texts if "clear" in text]


def test_without_a_model_nothing_is_claimed_to_be_seen(tmp_path: Path) -> None:
    script = presses(tmp_path, {"t_s": 5.0, "action": "ahead"})
    done = run(tmp_path, None, buttons__script=str(script))
    assert done.texts[-1] == "Cannot see ahead."


def test_how_it_is_is_told_in_one_line(tmp_path: Path) -> None:
    script = presses(tmp_path, {"t_s": 1.0, "action": "flag"}, {"t_s": 7.0, "action": "status"})
    done = run(tmp_path, StoryModel(nothing), buttons__script=str(script))
    assert [text for text in done.texts if text.startswith("No server.")]
    assert line(Wellbeing(63, True, 0)) == "Battery 63 percent. Connected. Nothing waits."
    assert line(Wellbeing(None, False, 1)) == "Not connected. 1 moment waits."
    told = line(Wellbeing(5, None, 12, recording=False, trouble="Storage full."))
    assert told == "Battery 5 percent. No server. 12 moments wait. Recording is paused. Storage full."
    assert monitor.stopped(told, tier=2, why="state") is None
    assert vocabulary.may_be_announced(told)


def test_how_it_is_is_asked_without_waiting_for_a_card_that_stalls(tmp_path: Path) -> None:
    made = agent(config(tmp_path, film(tmp_path)), StoryModel(nothing), tmp_path)
    held, go_on = threading.Event(), threading.Event()

    def stall() -> None:
        box = made.parts.outbox._box
        assert box is not None
        with box._lock:  # as while a record is written
            held.set()
            assert go_on.wait(30)

    stalled = threading.Thread(target=stall)
    stalled.start()
    assert held.wait(10)
    asked = threading.Thread(target=made.parts.wellbeing)
    asked.start()
    asked.join(5)
    answered = not asked.is_alive()
    go_on.set()
    stalled.join()
    asked.join()
    made.run()
    assert answered


def test_the_moments_that_wait_are_told(tmp_path: Path) -> None:
    script = presses(tmp_path, {"t_s": 1.0, "action": "flag"}, {"t_s": 7.5, "action": "status"})
    done = run(tmp_path, StoryModel(nothing), capture__pace="real", buttons__script=str(script))
    assert [text for text in done.texts if re.match(r"No server\. \d+ moments? wait", text)]


def test_while_recording_is_paused_guidance_goes_on_and_nothing_is_kept(tmp_path: Path) -> None:
    script = presses(
        tmp_path,
        {"t_s": 1.5, "action": "flag"},
        {"t_s": 1.8, "action": "pause"},
        {"t_s": 3.0, "action": "flag"},
        {"t_s": 3.2, "action": "hold", "until_s": 4.5},
        {"t_s": 6.5, "action": "pause"},
        {"t_s": 9.0, "action": "flag"},
    )
    walk = film(tmp_path, 14.0)
    done = run(tmp_path, StoryModel(pole), walk=walk, buttons__script=str(script), flags__audit_share=1.0)
    assert set(done.flags()) == {4, 5, 6}, "from the first whole chunk after the pause on"
    assert "wearer" in done.flags()[4]
    assert done.report["corrections"] == []
    assert {"Recording paused.", "Not kept, recording is paused.", "Recording is on."} <= set(done.texts)
    assert done.report["looks"] == 56
    assert "Caution, pole on the left." in done.texts


def test_a_pause_by_hand_outlives_a_restart_and_is_told(tmp_path: Path) -> None:
    script = presses(tmp_path, {"t_s": 1.0, "action": "pause"})
    first = run(tmp_path, StoryModel(nothing), buttons__script=str(script))
    assert first.records == {}
    again = run(tmp_path, StoryModel(nothing), buttons__script="", flags__audit_share=1.0)
    assert again.texts.count("Recording is still paused.") == 1
    assert again.records == {}
    (tmp_path / "captions.jsonl").unlink()
    last = run(tmp_path, StoryModel(nothing), buttons__script=str(script), flags__audit_share=1.0)
    assert "Recording is on." in last.texts
    assert set(last.flags()) == {1, 2, 3}
    assert not (tmp_path / "state" / "recording_paused").exists()


def test_the_last_minutes_are_forgotten_and_what_comes_after_is_kept(tmp_path: Path) -> None:
    script = presses(
        tmp_path,
        {"t_s": 1.0, "action": "flag"},
        {"t_s": 4.2, "action": "hold", "until_s": 5.5},
        {"t_s": 8.5, "action": "flag"},
        {"t_s": 8.7, "action": "forget"},
        {"t_s": 12.9, "action": "forget"},
        {"t_s": 14.0, "action": "flag"},
    )
    # As recorded: at any other pace the first answer may still wait, on a busy machine, when the same one comes.
    walk = film(tmp_path, 17.0)
    done = run(tmp_path, StoryModel(nothing), walk=walk, capture__pace="real", buttons__script=str(script))
    assert done.flags() == {7: ["wearer"]}
    wish, again = [body for body in done.records.values() if "erase_id" in body]
    assert (len(again["record_ids"]), again["to_s"] - wish["to_s"]) == (0, pytest.approx(4.2))
    assert len(wish["record_ids"]) == 4, "two flagged chunks, the one before the second, and its correction"
    assert wish["to_s"] - wish["from_s"] == 300.0
    assert sorted(done.report["erased"]) == sorted(wish["record_ids"])
    assert done.report["corrections"] == []
    assert done.report["flagged"] == [name for name in done.records if "erase_id" not in done.records[name]]
    assert done.texts.count("Last 5 minutes forgotten.") == 2, "each press is answered"


def test_a_correction_is_discarded_while_it_is_spoken_before_it_is_stored_and_after(tmp_path: Path) -> None:
    script = presses(
        tmp_path,
        {"t_s": 0.5, "action": "discard"},
        {"t_s": 1.0, "action": "hold", "until_s": 2.5},
        {"t_s": 8.0, "action": "discard"},
        {"t_s": 9.0, "action": "hold", "until_s": 12.0},
        {"t_s": 9.5, "action": "discard"},
        {"t_s": 12.5, "action": "hold", "until_s": 13.0},
    )
    done = run(tmp_path, StoryModel(nothing), walk=film(tmp_path, 14.0), buttons__script=str(script))
    corrections = [name for name, body in done.records.items() if "correction_id" in body]
    assert [name[-4:] for name in corrections] == ["c003"]
    (wish,) = [body for body in done.records.values() if "erase_id" in body]
    assert [name[-4:] for name in wish["record_ids"]] == ["c001"]
    assert (wish["boot_id"], wish["to_s"]) == ("", 0.0)
    assert done.texts.count("Correction discarded.") == 2
    assert "No correction to discard." in done.texts
    assert len([flags for flags in done.flags().values() if "correction" in flags]) == 2


@pytest.mark.parametrize("text", [*MOMENT_TEXTS, *PAUSE_TEXTS, *HOW_TEXTS, *policy.AHEAD_TEXTS, *policy.HEARD_TEXTS])
def test_what_is_answered_may_be_said_and_is_rendered_before_the_walk(text: str) -> None:
    assert monitor.stopped(text, tier=2, why="state") is None
    assert vocabulary.may_be_announced(text)
    assert text in SAID_BEFOREHAND
    assert len(text.split()) <= 8


@pytest.mark.parametrize(
    ("events", "paused"),
    [
        (["pressed"], True),
        (["pressed", "pressed"], False),
        (["switch on"], True),
        (["switch on", "pressed"], True),
        (["switch on", "pressed", "switch off"], False),
        (["pressed", "switch on", "switch off"], True),
        (["zone entered"], True),
        (["zone entered", "pressed"], False),
        (["zone entered", "pressed", "zone left", "zone entered"], True),
        (["pressed", "zone entered", "zone left"], True),
        (["zone entered", "switch on", "zone left", "switch off"], False),
    ],
)
def test_recording_is_off_as_long_as_anything_turns_it_off(events: list[str], paused: bool) -> None:
    state = Pausing()
    for event in events:
        before = state.paused
        state, text = step(state, PauseEvent(event))
        changed = {True: "Recording paused.", False: "Recording is on."}[state.paused]
        assert (text == changed) == (state.paused != before)
    assert state.paused is paused


def test_a_clear_way_is_no_answer_whatever_the_model_words(tmp_path: Path) -> None:
    script = presses(tmp_path, *({"t_s": t_s, "action": "ahead"} for t_s in (2.0, 4.0, 6.0)))
    done = run(tmp_path, StoryModel(lambda look: ((), CLEAR)), buttons__script=str(script), guidance__say_clear=True)
    answers = [entry["text"] for entry in done.report["announced"] if entry["t_s"] > 1.5]
    assert set(answers) == {"Nothing recognised. Check for yourself."}
