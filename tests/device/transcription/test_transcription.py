"""Every correction comes back once, with words or without, whatever happens meanwhile."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

from device.transcription.listening import ListenPlan, ListenResult
from device.transcription.transcription import MOST_WAITING, Transcription
from shared.clock import SystemClock
from shared.messages import CorrectionRecord
from tests.device.outbox.records import correction
from tests.pulse import until

ECHO = """
import json, sys
print(json.dumps({"text": sys.stdin.read(), "meaning": "", "confidence": 0.5}))
"""
SLEEP = "import signal; signal.pause()"


@dataclass(slots=True)
class Back:
    """What came back, in order."""

    came: list[tuple[str, str | None]] = field(default_factory=list)

    def done(self, record: CorrectionRecord, words: ListenResult | None) -> None:
        self.came.append((record.correction_id[-2:], None if words is None else words.text))

    def made(self, text: str) -> Transcription:
        return Transcription(ListenPlan(command=(sys.executable, "-c", text)), self.done, SystemClock())


def test_one_after_the_other_in_the_order_in_which_they_came() -> None:
    back = Back()
    listener = back.made(ECHO)
    for number in (1, 2, 3):
        listener.take(correction(number), b"sound %d" % number)
    listener.start()
    until(lambda: len(back.came) == 3, "three corrections", timeout_s=60)
    listener.close()
    assert back.came == [("01", "sound 1"), ("02", "sound 2"), ("03", "sound 3")]
    assert listener.trouble is None


def test_a_hot_board_stops_who_listens_and_nobody_begins() -> None:
    back = Back()
    listener = back.made(SLEEP)
    listener.start()
    listener.take(correction(1), b"")
    listener.allowed = False
    listener.take(correction(2), b"")
    until(lambda: len(back.came) == 2, "both without words", timeout_s=20)
    assert sorted(back.came) == [("01", None), ("02", None)]
    assert listener.trouble is None, "it is no fault"
    listener.close()


def test_at_the_end_what_waits_comes_back_and_so_does_what_comes_later() -> None:
    back = Back()
    listener = back.made(SLEEP)
    listener.start()
    for number in range(4):
        listener.take(correction(number), b"")
    listener.close()
    listener.take(correction(4), b"")
    assert sorted(back.came) == [(f"0{number}", None) for number in range(5)]


def test_more_than_can_wait_come_back_at_once() -> None:
    back = Back()
    listener = back.made(SLEEP)
    for number in range(MOST_WAITING + 2):
        listener.take(correction(number), b"")
    assert back.came == [("08", None), ("09", None)]


def test_a_failure_is_remembered_until_one_goes_well() -> None:
    back = Back()
    listener = back.made("import sys; word = sys.stdin.read(); sys.exit(word) if word == 'bad' else None" + ECHO_OF)
    listener.start()
    listener.take(correction(1), b"bad")
    until(lambda: back.came == [("01", None)], "the first", timeout_s=30)
    troubles = [listener.trouble]
    listener.take(correction(2), b"good")
    until(lambda: len(back.came) == 2, "the second", timeout_s=30)
    assert back.came[1] == ("02", "good")
    assert [*troubles, listener.trouble] == ["bad", None]
    listener.close()


def test_who_is_told_may_fail_and_the_next_one_is_listened_to_all_the_same() -> None:
    back = Back()
    listener = back.made(ECHO)
    done, calls = listener._done, list[str]()

    def crooked(record: CorrectionRecord, words: ListenResult | None) -> object:
        calls.append(record.correction_id)
        if len(calls) == 1:
            raise RuntimeError("nobody foresaw this")
        return done(record, words)

    listener._done = crooked
    listener.start()
    for number in (1, 2):
        listener.take(correction(number), b"sound")
    until(lambda: back.came == [("02", "sound")], "the second", timeout_s=60)
    listener.close()


ECHO_OF = """
import json
print(json.dumps({"text": word, "meaning": "", "confidence": 0.5}))
"""
