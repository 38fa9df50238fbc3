"""Over a real broker: a link that may not send keeps still in the middle of a clip, one that is slow lets corrections
by, and a server that wants things later gets them later."""

from __future__ import annotations

import threading
from pathlib import Path

from device.outbox import inspect
from device.outbox.outbox import Outbox
from device.sync.reconnect import BACKOFF_MAX_S, wait_s
from server.broker.child import BrokerChild
from shared import messages, topics
from shared.clock import SystemClock
from shared.messages import Ack, Envelope, Status
from shared.topics import Reply
from shared.transfer import WINDOW_BYTES
from tests.device.outbox.records import DEVICE, chunk, correction, payloads, wav
from tests.faults.relay import Relay, Weather
from tests.link.parties import DEADLINE_S, MakeLink, Server, check, seal, until

RADIO = Weather(bytes_per_s=2_500_000)
SLOW = Weather(bytes_per_s=64_000)


def test_clips_wait_on_a_metered_connection_also_half_sent_ones_and_small_things_go(
    broker: BrokerChild, box: Outbox, memory_path: Path, make_link: MakeLink
) -> None:
    box.seal_chunk(chunk(1), payloads(1, clip_bytes=4_000_000))
    with Server(broker, memory_path) as server, Relay(broker.host, broker.port, weather=RADIO) as relay:
        link = make_link(host=relay.host, port=relay.port, clock=SystemClock())
        link.start()
        until(lambda: link.sent_bytes > 500_000)
        link.allow("small")
        until(lambda: link.delivery.uploads.allowed == "small")
        at_once = link.sent_bytes
        later = box.seal_chunk(chunk(2), payloads(2)).chunk_id
        until(lambda: f"{DEVICE}/{later}.audio" in server.depot.entries)
        assert link.sent_bytes - at_once < 10_000 + WINDOW_BYTES < 2_000_000
        until(lambda: box.counts().queued == 1)
        link.allow("all")
        assert link.wait_idle(DEADLINE_S)
        assert link.resent_bytes == 0


def test_nothing_goes_while_it_is_too_hot_and_the_device_stays_online(
    broker: BrokerChild, box: Outbox, memory_path: Path, make_link: MakeLink
) -> None:
    with Server(broker, memory_path) as server:
        link = make_link(allowed="none", clock=SystemClock())
        link.start()
        until(lambda: link.online)
        expected = seal(box, 2)
        link.set_status(Status(online=True, backlog=3))
        until(lambda: any(status.backlog == 3 for _, status in server.statuses))
        assert link.sent_bytes == 0
        link.allow("all")
        assert link.wait_idle(DEADLINE_S)
        check(memory_path, box, expected, 3)


def test_a_correction_overtakes_a_clip_on_a_slow_link(
    broker: BrokerChild, box: Outbox, memory_path: Path, make_link: MakeLink
) -> None:
    box.seal_chunk(chunk(1), payloads(1, clip_bytes=1_000_000))
    clock = SystemClock()
    with Server(broker, memory_path) as server, Relay(broker.host, broker.port, weather=SLOW) as relay:
        link = make_link(host=relay.host, port=relay.port, clock=clock)
        link.start()
        until(lambda: link.delivery.uploads.pace.bytes_per_s > 0)  # the clip has filled the window
        sealed_s = clock.monotonic_s()
        own = box.seal_correction(correction(1), wav(1)).correction_id
        until(lambda: f"{DEVICE}/{own}.correction_audio" in server.depot.entries)
        took_s = clock.monotonic_s() - sealed_s
        until(lambda: box.counts().queued == 1)  # the clip is not through
        assert link.resent_bytes == 0
        link.stop()
    # 512 KiB of clip would be 8 s of this link; its own window is 3 s, and the network holds some more.
    assert took_s < 6.5


def test_what_the_server_wants_later_is_not_refused_and_comes_later(
    broker: BrokerChild, box: Outbox, memory_path: Path, make_link: MakeLink
) -> None:
    expected = seal(box, 3, clip_bytes=60_000)
    busy = threading.Event()
    busy.set()
    server = Server(broker, memory_path)
    take_in = server.handle

    def later(device: str, levels: list[str], payload: bytes) -> list[Reply]:
        if not busy.is_set():
            return take_in(device, levels, payload)
        name = messages.decode(Envelope, payload).record_id if levels[1] == "event" else levels[1]
        return [(topics.ack(device, name), messages.encode(Ack("paused", reason="enough for today")))]

    server.handle = later
    with server:
        link = make_link()
        link.start()
        until(lambda: link.server_waits is not None)
        assert "enough for today" in (link.server_waits or "")
        until(lambda: link.counters["paused"] >= 8)
        assert box.counts().failed == 0
        busy.clear()
        assert link.wait_idle(DEADLINE_S)
        assert link.server_waits is None
        check(memory_path, box, expected, 4)


def test_a_refused_record_that_a_person_sends_again_goes_out_while_the_link_runs(
    broker: BrokerChild, box: Outbox, memory_path: Path, make_link: MakeLink
) -> None:
    own = box.seal_chunk(chunk(1), payloads(1)).chunk_id
    box.refused(box.claim(1)[0], "the server was too old")
    with Server(broker, memory_path) as server:
        link = make_link()
        link.start()
        until(lambda: link.online)
        assert box.counts().failed == 1
        inspect.ask_retry(box.folder, own)
        until(lambda: f"{DEVICE}/{own}" in server.depot.entries)
        assert link.wait_idle(DEADLINE_S)
        assert (box.counts().failed, box.counts().merged) == (0, 1)


def test_a_broker_that_does_not_let_the_device_in_is_asked_ever_more_seldom(
    tmp_path: Path, box: Outbox, make_link: MakeLink
) -> None:
    states: list[str] = []
    with BrokerChild(tmp_path / "closed", options=["allow_anonymous false"]) as closed:
        link = make_link(host=closed.host, port=closed.port, draw=lambda: 0.0, on_state=states.append)
        link.start()
        until(lambda: link.counters["rejected"] >= 3)  # it goes on trying: a person may let it in
        assert "Not authorized" in (link.why_offline or "")
        assert "waycue-device enroll" in (link.why_offline or "")
        link.stop()
    assert "Not authorized" in states[0]
    assert wait_s(12, rejected=True, jitter=1.0) > wait_s(12, rejected=False, jitter=1.0) == BACKOFF_MAX_S
