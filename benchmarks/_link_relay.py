"""What benchmarks.link sees through a relay: speed on networks that have a delay, and what a cut costs.

Raw paho and ours go through the same relay, one after the other, with the same files. Both directions are slowed and
delayed; the relay stands between device and broker, as the mobile network does, and the server is beside the broker.
"""

from __future__ import annotations

import threading
from typing import Any

from benchmarks.link import FILMED, End, Site, fill, our_run, raw_run, site
from device.capture.recorder import ClosedChunk
from server.broker.child import HOST
from tests.faults.relay import MBIT, Relay, Weather

MBITS = (5, 20, 100)
RTT_MS = 40
SECONDS = 12.0  # of each run, at the network's own speed: connecting is then below two percent
CUTS = 6
CUT_AFTER_BYTES = 3_000_000


def weather(mbit: float, rtt_ms: float) -> Weather:
    return Weather(bytes_per_s=mbit * MBIT, delay_s=rtt_ms / 2e3)


def relayed(recorded: list[ClosedChunk], *, mbit: float, rtt_ms: float, seconds: float) -> dict[str, Any]:
    """Ours against raw paho at one speed and delay."""
    megabytes = max(1, round(mbit * MBIT * seconds / 1e6))
    with site(secure=False) as place:
        files, size = fill(place.folder / "outbox", recorded, kind=FILMED, megabytes=megabytes)
        with Relay(HOST, place.broker.port, weather=weather(mbit, rtt_ms)) as wire:
            raw = raw_run(place, size, port=wire.port)
            sent, _ = our_run(place, port=wire.port)
    return {
        "mbit": mbit,
        "rtt_ms": rtt_ms,
        "ratio": raw["seconds"] / sent["seconds"],
        "files": files,
        "bytes": size,
        "seconds": sent["seconds"],
        "mb_s": size / 1e6 / sent["seconds"],
        "raw_mb_s": size / 1e6 / raw["seconds"],
        "resent_bytes": sent["resent_bytes"],
    }


def cuts(recorded: list[ClosedChunk], *, mbit: float, rtt_ms: float, count: int = CUTS) -> dict[str, Any]:
    """Connections reset in the middle of files: what each cost in bytes that went to the socket twice."""
    with site(secure=False) as place:
        _, size = fill(
            place.folder / "outbox", recorded, kind=FILMED, megabytes=round((count + 2) * CUT_AFTER_BYTES / 1e6)
        )
        with Relay(HOST, place.broker.port, weather=weather(mbit, rtt_ms)) as wire:
            sent = _cut_run(place, wire, count)
        per_cut = sent["resent_bytes_per_connection"]
        return {
            "mbit": mbit,
            "rtt_ms": rtt_ms,
            "bytes": size,
            "cuts": wire.cuts,
            "most_bytes": max(per_cut, default=0),
            "bytes_per_cut": per_cut,
        }


def _cut_run(place: Site, wire: Relay, count: int) -> dict[str, Any]:
    server, device = End("serve", place), End("send", place, port=wire.port)
    ended = threading.Event()

    def cut() -> None:
        for number in range(count):
            wire.cut_after(CUT_AFTER_BYTES, "up")
            while wire.cuts <= number and not ended.wait(0.01):
                pass

    cutting = threading.Thread(target=cut, daemon=True)
    cutting.start()
    device.go()
    sent = device.heard()
    ended.set()
    cutting.join()
    device.wait()
    server.end()
    return sent
