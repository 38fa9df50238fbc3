"""How fast flagged chunks reach the dataset, and what that costs, against MQTT with nothing around it.

    make bench NAME=link        prints a table and writes build/bench/link.json

Outbox → real Mosquitto on loopback → ingest → merge into a real dataset on this disk, everything durable, device and
server each in a process of their own. In the same run, through the same broker: paho alone at both ends, which sends
the same bytes in the same parts at QoS 1 and does nothing with them; and once more with a receiver that only hashes,
writes, syncs and renames (`durable_raw`), which is what any program in Python could reach. Loopback has no delay: these
are the costs of our own fsyncs, hashes, commits and answers, an upper bound for any network. Then the same through a
relay that limits and delays (`relay`), and one that cuts the connection (`cuts`): benchmarks._link_relay.

Three kinds of files: `chunks`, a drawn walk as the recorder encodes it (picture 53 KB, sound 64 KB, clip 100 KB: a
drawn street compresses far better than a filmed one), `clips`, the same with clips of 1 MB (4 Mbit/s, a filmed street
at 480p), and `long`, the same with clips of 16 MB, where the cost per file no longer counts.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks._link_ends import DEVICE
from benchmarks._recorded import chunks
from device.capture.recorder import ClosedChunk
from device.identity import identity
from device.outbox.outbox import Outbox
from server.broker import dynsec_rules
from server.broker import files as broker_files
from server.broker.child import HOST, BrokerChild, free_port
from server.identity.authority import Authority
from shared import atomic
from shared.clock import SystemClock
from shared.messages import ChunkRecord
from tests.faults.relay import Relay

BUILD = Path("build")
OUT = BUILD / "bench" / "link.json"
MEGABYTES = 200
EVENTS = 2000
WAITING = 10_000
DRAWN, FILMED, LONG = "chunks", "clips", "long"
CLIP_BYTES = {FILMED: 1_000_000, LONG: 16_000_000}


@dataclass(frozen=True, slots=True)
class Site:
    """Where a run happens. folder: holds outbox, server and, for TLS, cards."""

    folder: Path
    broker: BrokerChild


def next_word(process: subprocess.Popen[str], who: str) -> dict[str, Any]:
    """The line of JSON that a child process says next. Raises: RuntimeError where it ended without one."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"{who} ended with {process.wait()}.")
    figures: dict[str, Any] = json.loads(line)
    return figures


class End:
    """One process of benchmarks._link_ends, which is ready when this is made."""

    def __init__(self, role: str, site: Site, *more: str, port: int | None = None) -> None:
        address = (HOST, str(port or site.broker.port), str(site.folder))
        command = [sys.executable, "-m", "benchmarks._link_ends", role, *address, *more]
        self._role = role
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.ready = self.heard()

    def heard(self) -> dict[str, Any]:
        """Its next word. Raises: RuntimeError where it ended without one."""
        return next_word(self._process, self._role)

    def go(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def end(self) -> dict[str, Any]:
        """Tell it to end; its last word."""
        self._process.terminate()
        figures = self.heard()
        self.wait()
        return figures

    def wait(self) -> None:
        self._process.wait(60)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


def main(argv: Sequence[str] | None = None) -> None:
    options = argparse.ArgumentParser(prog="python -m benchmarks.link", description=(__doc__ or "").split("\n\n")[0])
    options.add_argument("--megabytes", type=int, default=MEGABYTES, help=f"how much to send (default {MEGABYTES})")
    options.add_argument("--waiting", type=int, default=WAITING, help=f"chunks that wait (default {WAITING})")
    options.add_argument(
        "--folder",
        type=Path,
        default=BUILD,
        metavar="DIR",
        help="disk to work on; one in memory shows what is left without fsync (default %(default)s)",
    )
    options.add_argument("--relay-s", type=float, default=None, metavar="S", help="seconds of each run through a relay")
    options.add_argument("--only", choices=("loopback", "relay"), help="only these of the figures")
    options.add_argument("--out", type=Path, default=OUT, help=f"where the figures go (default {OUT})")
    chosen = options.parse_args(argv)
    tempfile.tempdir = str(chosen.folder.absolute())
    chosen.folder.mkdir(parents=True, exist_ok=True)
    console = Console()
    with console.status("drawing and encoding a walk"):
        recorded = chunks(20.0)
    figures: dict[str, Any] = {"machine": machine(), "megabytes": chosen.megabytes}
    if chosen.only != "relay":
        figures |= loopback(console, recorded, megabytes=chosen.megabytes, waiting=chosen.waiting)
    if chosen.only != "loopback":
        figures |= relayed(console, recorded, seconds=chosen.relay_s)
    atomic.write_json(chosen.out, figures)
    show(console, figures)


def loopback(console: Console, recorded: list[ClosedChunk], *, megabytes: int, waiting: int) -> dict[str, Any]:
    """All figures without a network."""
    figures: dict[str, Any] = {}
    for kind in (DRAWN, FILMED, LONG):
        for secure in (False, True):
            with console.status(f"{kind}, {'TLS' if secure else 'plain'}"):
                figures[f"{kind}_{'tls' if secure else 'plain'}"] = compare(
                    recorded, kind=kind, secure=secure, megabytes=megabytes
                )
    with console.status("wire overhead"):
        figures["wire"] = overhead(recorded, megabytes=min(40, megabytes))
    with console.status("small events"):
        figures["events_per_s"] = events()
    with console.status(f"memory while {waiting} chunks wait"):
        figures["memory"] = memory(waiting)
    return figures | summary(figures)


def relayed(console: Console, recorded: list[ClosedChunk], *, seconds: float | None) -> dict[str, Any]:
    """Through a relay: speeds, and cuts."""
    from benchmarks import _link_relay as relay  # it needs what is here

    figures: dict[str, Any] = {"relay": []}
    for mbit in relay.MBITS:
        with console.status(f"through a relay: {mbit} Mbit/s, {relay.RTT_MS} ms"):
            run = relay.relayed(recorded, mbit=mbit, rtt_ms=relay.RTT_MS, seconds=seconds or relay.SECONDS)
            figures["relay"].append(run)
    with console.status("cuts"):
        figures["cuts"] = [relay.cuts(recorded, mbit=mbit, rtt_ms=relay.RTT_MS) for mbit in relay.MBITS[1:]]
    figures["resent_bytes_per_cut"] = max(one["most_bytes"] for one in figures["cuts"])
    return figures


def summary(figures: dict[str, Any]) -> dict[str, Any]:
    """The figures that are held to a bar, by their own names: those of the files that are hardest on us."""
    plain, secure = figures[f"{DRAWN}_plain"], figures[f"{DRAWN}_tls"]
    return {
        "ratio_to_raw": plain["ratio_to_raw"],
        "ratio_to_raw_tls": secure["ratio_to_raw"],
        "ratio_to_raw_by_kind": {kind: figures[f"{kind}_plain"]["ratio_to_raw"] for kind in (DRAWN, FILMED, LONG)},
        "durable_ratio": {
            name: figures[f"{kind}_plain"]["ratio_to_durable_raw"]
            for name, kind in (("chunks", DRAWN), ("clips1mb", FILMED), ("clips16mb", LONG))
        },
        "goodput_mb_s": plain["goodput_mb_s"],
        "goodput_mb_s_tls": secure["goodput_mb_s"],
        "overhead": figures["wire"]["overhead_chunks"],
        "cpu_s_per_100_mb": {side: plain[f"{side}_cpu_s_per_100_mb"] for side in ("device", "server")},
    }


def show(console: Console, figures: dict[str, Any]) -> None:
    columns = "run,files,MB/s,raw MB/s,ratio,durable raw MB/s,ratio,device CPU s/100 MB,server CPU s/100 MB"
    table = Table(*columns.split(","), title=f"{figures['megabytes']} MB, outbox to dataset, loopback")
    for name in (f"{kind}_{way}" for kind in (DRAWN, FILMED, LONG) for way in ("plain", "tls")):
        if (run := figures.get(name)) is None:
            continue
        keys = ("goodput_mb_s", "raw_mb_s", "ratio_to_raw", "durable_raw_mb_s", "ratio_to_durable_raw")
        cells = [run[key] for key in (*keys, "device_cpu_s_per_100_mb", "server_cpu_s_per_100_mb")]
        table.add_row(name, str(run["files"]), *(f"{cell:.2f}" for cell in cells))
    console.print(table)
    rest = ("overhead", "events_per_s", "memory", "wire", "durable_ratio", "relay", "cuts", "resent_bytes_per_cut")
    console.print_json(json.dumps({key: figures[key] for key in rest if key in figures}))


def compare(recorded: list[ClosedChunk], *, kind: str, secure: bool, megabytes: int) -> dict[str, Any]:
    """Ours and paho alone, the same bytes through the same broker."""
    with site(secure=secure) as place:
        files, size = fill(place.folder / "outbox", recorded, kind=kind, megabytes=megabytes)
        raw, kept = raw_run(place, size), raw_run(place, size, role="raw-keep")
        sent, served = our_run(place)
    goodput, alone = size / 1e6 / sent["seconds"], size / 1e6 / raw["seconds"]
    per_100_mb = 100e6 / size
    return {
        "files": files,
        "bytes": size,
        "seconds": sent["seconds"],
        "goodput_mb_s": goodput,
        "raw_mb_s": alone,
        "ratio_to_raw": goodput / alone,
        "durable_raw_mb_s": size / 1e6 / kept["seconds"],
        "durable_raw_ratio_to_raw": raw["seconds"] / kept["seconds"],
        "ratio_to_durable_raw": kept["seconds"] / sent["seconds"],
        "device_cpu_s_per_100_mb": sent["cpu_s"] * per_100_mb,
        "server_cpu_s_per_100_mb": served["cpu_s"] * per_100_mb,
        "raw_device_cpu_s_per_100_mb": raw["sender_cpu_s"] * per_100_mb,
        "raw_server_cpu_s_per_100_mb": raw["receiver_cpu_s"] * per_100_mb,
        "device_peak_rss_mb": sent["peak_rss_mb"],
        "server_peak_rss_mb": served["peak_rss_mb"],
        "resent_bytes": sent["resent_bytes"],
    }


def our_run(place: Site, *, port: int | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Everything in the outbox into the dataset; what device and server say of it."""
    server = End("serve", place)
    device = End("send", place, port=port)
    device.go()
    sent = device.heard()
    device.wait()
    return sent, server.end()


def raw_run(place: Site, size: int, *, role: str = "raw-receive", port: int | None = None) -> dict[str, float]:
    """The same parts by paho alone, from the first publish to the last byte received ("raw-keep": durable)."""
    receiver = End(role, place, str(size))
    sender = End("raw-send", place, port=port)
    sender.go()
    sent, received = sender.heard(), receiver.heard()
    sender.wait()
    receiver.wait()
    return {
        "seconds": received["at_s"] - sent["started_s"],
        "sender_cpu_s": sent["cpu_s"],
        "receiver_cpu_s": received["cpu_s"],
    }


def overhead(recorded: list[ClosedChunk], *, megabytes: int) -> dict[str, float]:
    """Bytes on the device's connection, both ways, MQTT and all, beyond the bytes of the files."""
    figures: dict[str, float] = {}
    for kind in (FILMED, DRAWN):
        with site(secure=False) as place:
            _, size = fill(place.folder / "outbox", recorded, kind=kind, megabytes=megabytes)
            with Relay(HOST, place.broker.port) as wire:
                our_run(place, port=wire.port)
            suffix = "" if kind == FILMED else "_chunks"
            figures[f"overhead{suffix}"] = (wire.bytes["up"] + wire.bytes["down"]) / size - 1
            figures[f"overhead_up{suffix}"] = wire.bytes["up"] / size - 1
    return figures


def events() -> float:
    """Records without any file, merged per second."""
    with site(secure=False) as place:
        with closing(Outbox(place.folder / "outbox")) as outbox:
            for number in range(EVENTS):
                outbox.seal_chunk(record(number), {})
        sent, _ = our_run(place)
    return EVENTS / float(sent["seconds"])


def memory(waiting: int) -> dict[str, float]:
    """Memory of device and server, connected to each other, and what chunks that wait in the outbox add to it."""
    figures: dict[str, float] = {"waiting_chunks": waiting}
    for count in (1, waiting):
        with site(secure=False) as place:
            with closing(Outbox(place.folder / "outbox")) as outbox:
                for number in range(count):
                    outbox.seal_chunk(record(number), {"frame": b"\xff\xd8\xff" + bytes(500)})
            device = End("send", place)
            name = "empty" if count == 1 else "waiting"
            figures[f"device_{name}_rss_mb"] = device.ready["rss_mb"]
            server = End("serve", place)
            figures[f"server_{name}_rss_mb"] = server.ready["rss_mb"]
            device.go()
            sent = device.heard()
            device.wait()
            figures[f"device_{name}_peak_mb"] = sent["peak_rss_mb"]
            figures[f"server_{name}_peak_mb"] = server.end()["peak_rss_mb"]
    return figures


def fill(folder: Path, recorded: list[ClosedChunk], *, kind: str, megabytes: int) -> tuple[int, int]:
    """Seal chunks until they hold so many bytes; (files, bytes). No two files are the same."""
    files, size = 0, 0
    with closing(Outbox(folder)) as outbox:
        while size < megabytes * 1e6:
            chunk = recorded[outbox.counts().queued % len(recorded)]
            mark = outbox.counts().queued.to_bytes(8, "big")
            parts = {name: data + mark for name, data in payloads(chunk).items()}
            if kind in CLIP_BYTES:
                parts["clip"] = parts["clip"][:32] + os.urandom(CLIP_BYTES[kind])
            outbox.seal_chunk(record(outbox.counts().queued), parts)
            files, size = files + len(parts), size + sum(map(len, parts.values()))
    return files, size


def payloads(chunk: ClosedChunk) -> dict[str, bytes]:
    """The files of a chunk by part kind."""
    files = {"frame": chunk.frame_jpeg, "audio": chunk.audio_wav}
    return files if chunk.clip_mp4 is None else {**files, "clip": chunk.clip_mp4}


def record(number: int) -> ChunkRecord:
    """A sidecar as the agent writes it."""
    return ChunkRecord(
        chunk_id=f"{DEVICE}-00000000-{number}",
        device=DEVICE,
        boot_id="00000000",
        sequence=number,
        walk_id=f"{DEVICE}-walk",
        started_at_s=2.0 * number,
        duration_s=2.0,
        captured_at_utc=1_700_000_000.0 + 2 * number,
        clock_synced=True,
        flags=("wearer",),
        raw_output="Stop, curb ahead.",
        spoken="Stop, curb ahead.",
        confidence=0.5,
        model_version="starter-1",
        parts=(),
        width_px=640,
        height_px=480,
    )


@contextmanager
def site(*, secure: bool) -> Iterator[Site]:
    """A broker and an empty folder on this disk; with TLS as in the field, certificates and rules included."""
    with tempfile.TemporaryDirectory(prefix="bench-link-") as name:
        folder = Path(name)
        files = let_in(folder) if secure else None
        with BrokerChild(folder / "broker-run", secure=files, options=() if secure else broker_limits()) as broker:
            yield Site(folder, broker)


def broker_limits() -> list[str]:
    """How much the product's own broker takes and keeps."""
    listener = broker_files.BrokerListener(HOST, 0, "", Path())
    lines = broker_files.configuration(Path(), listener).splitlines()
    return [line for line in lines if line.startswith("max_")]


def let_in(folder: Path) -> Path:
    """Certificates for both ends, and the files of a broker that lets them in."""
    authority, cards = Authority.make(folder / "home", clock=SystemClock()), folder / "cards"
    cards.mkdir()
    (cards / "ca.crt").write_bytes(authority.ca_pem)
    for suffix, path in zip(("key", "crt"), authority.service(dynsec_rules.SERVER, server_auth=False), strict=True):
        (cards / f"{dynsec_rules.SERVER}.{suffix}").write_bytes(path.read_bytes())
    key = identity.new_key()
    certificate = authority.issue_device(identity.certificate_request(key, DEVICE).encode(), DEVICE)
    (cards / f"{DEVICE}.crt").write_bytes(certificate)
    (cards / f"{DEVICE}.key").write_bytes(key)
    plugin = broker_files.find_plugin()
    if plugin is None:
        raise SystemExit("bench: Mosquitto's dynamic-security plugin is not installed.")
    files = folder / "broker"
    listening = broker_files.BrokerListener(HOST, free_port(), broker_files.own_account(), plugin)
    broker_files.write(files, authority, listening)
    atomic.write_json(files / broker_files.RULES, dynsec_rules.initial(dynsec_rules.wanted({DEVICE: ""})), mode=0o600)
    return files


def machine() -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="bench-link-") as folder, open(f"{folder}/x", "wb") as file:
        started_s = time.monotonic()
        for _ in range(50):
            file.write(b"x" * 512)
            file.flush()
            os.fdatasync(file.fileno())
        fsync_ms = (time.monotonic() - started_s) / 50 * 1e3
    load = os.getloadavg()[0]
    return {"cpus": os.cpu_count(), "load": load, "python": platform.python_version(), "fdatasync_ms": fsync_ms}


if __name__ == "__main__":
    main()
