"""A call for help is kept before anything is said, whatever else is kept; each answer of the server is said once."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from device.moments.calling import ASKED, HELP_TEXTS, NOT_TAKEN, TAKEN, HelpCalls, HelpPorts
from device.moments.collector import WalkId
from device.moments.sealer import HELP_WAITS, Parcel, Sealer
from device.outbox.late import LateOutbox
from device.outbox.outbox import Outbox
from shared import messages, monitor, vocabulary
from shared.clock import ManualClock
from shared.messages import ChunkRecord, Envelope, EraseRecord, HelpRecord
from tests.device.agent.stage import StoryModel, film, nothing, presses, run
from tests.device.outbox.records import chunk, payloads
from tests.pulse import until

CALL = HelpRecord("pi-1-b0071-h001", "pi-1", 1_700_000_000.0, clock_synced=True)


def test_a_press_is_kept_on_a_walk_also_while_recording_is_paused(tmp_path: Path) -> None:
    script = presses(
        tmp_path,
        {"t_s": 1.0, "action": "pause"},
        {"t_s": 2.0, "action": "help"},
        {"t_s": 2.5, "action": "help"},
        {"t_s": 4.0, "action": "forget"},
    )
    done = run(tmp_path, StoryModel(nothing), walk=film(tmp_path, 6.0), buttons__script=str(script))
    (call,) = [body for body in done.records.values() if "help_id" in body]
    assert set(call) == {"help_id", "device", "asked_at_utc", "clock_synced"}, "nothing of who, where or what"
    assert messages.is_help(call["help_id"])
    assert done.texts.count(ASKED) == 1


def test_presses_soon_after_one_another_are_one_call_and_later_ones_another(tmp_path: Path) -> None:
    clock, parcels, sent = ManualClock(), list[Parcel](), list[bytes]()
    calls = HelpCalls(WalkId.begin("pi-1", clock), clock, HelpPorts(parcels.append, sent.append, lambda _: None))
    for wait_s in (0.0, 3.0, 8.0, 3600.0):
        clock.sleep(wait_s)
        calls.ask()
    assert [parcel.name[-5:] for parcel in parcels] == ["-h001", "-h002", "-h003"]
    assert [messages.decode(Envelope, payload).record_id for payload in sent] == [parcel.name for parcel in parcels]
    assert {parcel.say for parcel in parcels} == {ASKED}


def test_it_goes_before_everything_else_and_is_given_up_for_nothing(memory_path: Path) -> None:
    box = Outbox(memory_path / "outbox")
    for number in range(3):
        box.seal_chunk(chunk(number), payloads(number))
    box.seal_help(CALL)
    assert box.seal_help(CALL) == CALL, "the same again does nothing"
    assert box.claim(1)[0].record_id == CALL.help_id
    box.release(box.claim(0))
    assert CALL.help_id not in box.prune(0).lost
    box.close()
    again = Outbox(memory_path / "outbox")
    wish = EraseRecord("pi-1-b0071-e001", "pi-1", 1.0, boot_id="b0071", from_s=0.0, to_s=1e9)
    assert CALL.help_id not in again.seal_erase(wish).record_ids
    assert CALL.help_id not in again.evict(10**9, -1).lost
    assert again.claim(9)[0].record_id == CALL.help_id
    again.close()


@pytest.mark.parametrize("taken", [True, False])
def test_the_servers_answer_is_said_after_a_restart_too(taken: bool, memory_path: Path) -> None:
    first = Outbox(memory_path / "outbox")
    first.seal_help(CALL)
    first.close()
    box, clock, said = LateOutbox(memory_path / "outbox"), ManualClock(), list[str]()
    calls = HelpCalls(WalkId.begin("pi-1", clock), clock, HelpPorts(lambda _: None, lambda _: None, said.append))
    box.on_help = calls.answered
    items = box.claim(4)
    if taken:
        box.merged(items)
    else:
        box.refused(items[0], "This server takes no 'help' events.")
    assert said == [TAKEN if taken else NOT_TAKEN]
    assert box.forget_merged() == ((CALL.help_id,) if taken else ())
    box.close()
    late = LateOutbox(memory_path / "outbox")
    assert late.claim(4) == []
    late.close()


class BrokenCard(LateOutbox):
    """Stands for a card that takes nothing until it is told to: only the operating system's answer is made up."""

    broken = True

    def seal_help(self, record: HelpRecord) -> HelpRecord:
        if self.broken:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return super().seal_help(record)

    def seal_chunk(self, record: ChunkRecord, payloads: Mapping[str, bytes]) -> ChunkRecord:
        raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_a_card_that_takes_nothing_is_told_and_the_call_waits_in_memory(memory_path: Path) -> None:
    box, said = BrokenCard(memory_path / "outbox"), list[str]()
    sealer = Sealer(box, announce=said.append, answer=said.append, sealed=lambda _: None, limit_bytes=10**9)
    sealer.start()
    sealer.store(Parcel(CALL, {}, say=ASKED))
    until(lambda: HELP_WAITS in said, "that it waits")
    box.broken = False
    sealer.store(Parcel(EraseRecord("pi-1-b0071-e009", "pi-1", 1.0), {}))
    until(lambda: ASKED in said, "that it is kept")
    sealer.close()
    assert box.claim(1)[0].record_id == CALL.help_id
    box.close()


def test_what_is_said_may_be_said() -> None:
    for text in (*HELP_TEXTS, HELP_WAITS):
        assert vocabulary.may_be_announced(text)
        assert monitor.stopped(text, tier=2, why="state") is None
