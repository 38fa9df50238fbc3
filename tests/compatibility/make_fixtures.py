"""Make a fixture with the code of the checkout that this runs in, through its public commands.

The tests of this folder show that later code opens what older code wrote to disk, and understands what it sent. So a
fixture is made once, by the code before a change, and then kept. To make one of another version:

    git worktree add ../older VERSION
    cp tests/compatibility/*.py ../older/tests/compatibility/
    cd ../older && PYTHONPATH=$PWD python -m tests.compatibility.make_fixtures OUT

It takes three minutes and needs Mosquitto and espeak-ng. It writes OUT/NAME.tar.xz, to be kept beside this module:

    home/                     a server's home: database, authority, releases, dataset, decisions, a half-received clip
    device/                   device.toml and the state of the device "anna": identity, outbox, models, half an update
    session/state/            the state of the device "bert" before its session
    session/exchanges.jsonl   each message that bert published then, and the server's answers
    session/samples.json      the moments of bert on the server afterwards
    session/report.json       bert's report
    answers.json              the output of this code's commands about all of it, and what it made of messages

Its keys are of no other use. The certificate of "anna" ends ten years after the fixture was made; the tests need a new
fixture then.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.compatibility import recordings, session, site, tiny, wire
from tests.compatibility.commands import SERVER_COMMANDS, device_answers, exported, exported_records, server_answers
from tests.compatibility.site import ANNA, BERT, HOST, Message, call, call_json, free_port

VERSION = "0.1.0"
CARL, DORA = "carl", "dora"
OFFLINE = ("--broker", f"{HOST}:1", "--linger-s", "0")
HOME_SETTINGS = """\
[enrol]
certificate_days = 3650.0

[limits]
day_mb = 500
abandoned_hours = 0

[learn]
steps = 3

[gate]
tier1_cases = 60

[budget]
look_ms = 400
"""
DEVICE_SETTINGS = """\
[device]
wearer = "Anna"
context = "to the shop"

[capture]
source = "none"

[voice]
words_per_minute = 200
earcons = false

[guidance]
allow_demo_model = true
looks_per_s = 5

[flags]
audit_share = 0.0
low_confidence_share = 0.0
storage_mb = 200

[sync]
hot_c = 75
"""
LABELS = {
    "market-1": ("Stop, curb ahead.", "Continue straight, path is clear.", "Caution, bin on the left."),
    "market-2": ("Caution, person ahead.", "Stop, stairs down."),
    "market-3": ("Caution, pole ahead.", "Continue straight, path is clear."),
    "market-4": ("Stop, vehicle approaching left.", "Caution, cone ahead."),
}
TWO_BLOCKS_PX = 270
"""Side of a golden picture of two blocks: noise has 1.2 bytes a pixel."""


class Making:
    """A server's home and its devices in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home, self.state = folder / "home", folder / "device" / "state"
        self.bert = folder / "session" / "state"
        self.config = folder / "device" / "device.toml"
        self.films, self.bundles = folder / "films", folder / "bundles"
        for path in (self.films, self.state, self.bert):
            path.mkdir(parents=True)
        self.config.write_text(DEVICE_SETTINGS)

    def server(self, *arguments: str | Path) -> None:
        """Run a command of waycue-server that must succeed."""
        status, out = call("waycue-server", "--home", self.home, *arguments)
        assert status == 0, (arguments, out)

    def server_json(self, *arguments: str | Path) -> Any:
        """Run a command of waycue-server with --json."""
        return call_json("waycue-server", "--home", self.home, *arguments, "--json")

    def models(self) -> Any:
        """`waycue-device models list` of anna."""
        return call_json("waycue-device", "models", "list", "--config", self.config, "--state", self.state, "--json")

    def run(self, *arguments: str | Path, state: Path | None = None) -> dict[str, Any]:
        """Run a device until it exits. Returns its report."""
        path = self.folder / "report.json"
        more = ("--report", path, "--exit-at-end", "--quiet", *arguments)
        with site.device(state or self.state, self.config, *more) as process:
            status = process.child.wait(120)
            assert status == 0, process.text()
        report: dict[str, Any] = json.loads(path.read_bytes())
        return report

    def walk(self, name: str, seconds: float, *presses: dict[str, object], **more: Any) -> Sequence[str | Path]:
        """Record a walk. Returns the arguments with which a device replays it."""
        film = recordings.walk(self.films / f"{name}.mkv", seconds, **more)
        script = recordings.presses(self.films / f"{name}.jsonl", *presses)
        return "--source", f"replay:{film}", "--pace", "fast", "--buttons", script

    def model(self, version: str, **more: Any) -> None:
        """Make a model and register it."""
        tiny.make(self.bundles / version, version, **more)
        self.server("models", "add", self.bundles / version)


def main() -> None:
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        made = Making(Path(folder))
        _make_home(made)
        with _served(made) as broker:
            _first_weeks(made)
            _cut_update_off(made)
            _cut_upload_off(made, broker)
        _decide(made)
        _tidy(made)
        _record_session(made)
        _record_answers(made)
        _pack(made, out / f"{VERSION}.tar.xz")


# --- the home ---


def _make_home(made: Making) -> None:
    made.server("init")
    (made.home / "waycue.toml").write_text(HOME_SETTINGS)
    made.server("samples", "import", recordings.labelled(made.folder / "labels", LABELS), "--as", "Ben")
    made.model("tiny-1")
    made.server("models", "promote", "tiny-1", "--why", "to begin with")
    made.model("tiny-2", says=("bin", "on the left"), noise_px=(16, 48), parent="tiny-1")
    made.model("tiny-3", says=("person", "ahead"), golden=("curb", "ahead"), parent="tiny-2")
    made.model("tiny-4", says=("person", "ahead"), noise_px=(16, TWO_BLOCKS_PX), parent="tiny-2")
    _add_night(made, "night-1")


def _add_night(made: Making, version: str) -> None:
    """A model of a night with the gate's verdict. `models add` registers a folder that lies in its place already."""
    folder = made.home / "models" / version
    tiny.make(folder / "bundle", version, intended_use="field", parent="tiny-1")
    rule = {
        "name": "recall of tier 1",
        "about": "tier 1",
        "verdict": "passed",
        "sentence": "57 of 60 hazards were seen.",
        "leads_to": "",
        "figures": {"hits": 57, "count": 60},
        "interval": [0.86, 0.99],
        "bound": 0.8,
        "cases": 60,
        "walks": 7,
    }
    gate = {"format": 1, "verdict": "promoted", "rules": [rule, rule | {"about": "tier 2", "interval": [0.7, None]}]}
    manifest = (folder / "bundle" / "manifest.json").read_bytes()
    lineage = {
        "format": 1,
        "version": version,
        "parent": "tiny-1",
        "base": "tiny",
        "dataset": "512:" + "ab" * 32,
        "manifest_sha256": hashlib.sha256(manifest).hexdigest(),
        "created_at_utc": 1_793_600_000.0,
        "evaluation": {"outcome": "promoted", "gate": gate, "parity_float": 1.0},
        "code": "torch 2.13.0",
        "seconds": 812.5,
        "rows": 2,
        "walks": 1,
    }
    (folder / "lineage.json").write_text(json.dumps(lineage))
    (folder / "taught_by.txt").write_text("market-1-0#2:0123456789abcdef\nmarket-1-1#2:fedcba9876543210\n")
    night = {"version": version, "outcome": "promoted", "champion": "tiny-1", "reasons": ["better"], "gate": gate}
    (made.home / "nights").mkdir(exist_ok=True)
    (made.home / "nights" / f"{version}.json").write_text(json.dumps(night))
    made.server("models", "add", folder / "bundle")


@contextmanager
def _served(made: Making) -> Iterator[int]:
    """Run broker and server of the home as in the field, with devices enrolled. Gives the broker's port."""
    port, enrol = free_port(), f"{HOST}:{free_port()}"
    made.server("broker", "config", "--address", f"{HOST}:{port}")
    broker = site.mosquitto(made.home / "broker" / "mosquitto.conf")
    with broker, site.server(made.home, "--broker", f"{HOST}:{port}", "--enrol", enrol):
        for name, cohort in ((ANNA, "clinic"), (CARL, ""), (DORA, "clinic")):
            more = ("--cohort", cohort) if cohort else ()
            claim = made.server_json("devices", "add", name, "--server", enrol, "--hours", "720", *more)
            state = made.state if name == ANNA else made.folder / name
            if name != DORA:
                words = ("enroll", "--config", made.config, "--state", state, "--uri", claim["uri"])
                assert call("waycue-device", *words)[0] == 0, name
        made.server("devices", "revoke", CARL, "--why", "lost on the bus")
        yield port


def _first_weeks(made: Making) -> None:
    """Walks that were delivered, an update that was proven, a model and a record that were refused."""
    flag: dict[str, object] = {"t_s": 5.0, "action": "flag"}
    hold: dict[str, object] = {"t_s": 8.2, "action": "hold", "until_s": 9.8}
    voice = made.films / "voice.wav"
    subprocess.run(["espeak-ng", "-s", "140", "-w", str(voice), "Caution, bin on the left."], check=True)
    update_first = ("--update-first-s", "30", "--linger-s", "30")
    first = made.run(*update_first, *made.walk("first", 14.0, flag, hold, voice=(8.3, voice)))
    assert (first["model_version"], first["sync"]["queued"]) == ("tiny-1", 0), first
    made.server("rollout", "start", "tiny-2", "--device", ANNA, "--why", "try it on Anna first")
    second = made.run(*update_first, *made.walk("second", 14.0, seed=2))
    assert second["model_version"] == "tiny-2", second
    made.server("rollout", "start", "tiny-3", "--device", ANNA)
    for _ in range(2):  # a model is denied after two self-tests with problems
        made.run("--linger-s", "7")
    models = made.models()
    assert [denied["version"] for denied in models["denied"]] == ["tiny-3"], models
    assert (models["current"]["version"], models["previous"]["version"]) == ("tiny-2", "tiny-1"), models
    third = made.run(*OFFLINE, *made.walk("third", 2.0, {"t_s": 1.0, "action": "flag"}, seed=4))
    damaged = made.state / "outbox" / third["flagged"][0] / "frame.jpg"
    data = bytearray(damaged.read_bytes())
    data[len(data) // 2] ^= 1
    damaged.write_bytes(data)
    refused = made.run("--linger-s", "30")
    assert (refused["sync"]["queued"], refused["sync"]["failed"]) == (0, 1), refused


def _cut_update_off(made: Making) -> None:
    """The server has only the first block of a file: the device stores it and waits for the rest. Then it is killed."""
    # With this share the rollout never halts, however long ago the device was heard of.
    share = ("--error-share", "1")
    made.server("rollout", "start", "tiny-4", "--device", ANNA, *share, "--why", "knows people")
    served = _file_with_two_blocks(made.home / "models" / "tiny-4" / "bundle")
    whole = served.read_bytes()
    assert 65_536 < len(whole) < 131_072, len(whole)
    served.write_bytes(whole[:65_536])
    state = made.state / "models" / "update.json"

    def is_half_done() -> bool:
        update = json.loads(state.read_bytes())
        ranges = update["progress"].get("golden/001.jpg", {}).get("ranges")
        return (update["phase"], ranges) == ("files", [[0, 65_536]])

    with site.device(made.state, made.config, "--quiet") as process:
        process.until(is_half_done, "the first block of a file", timeout_s=60)
        process.kill()


def _cut_upload_off(made: Making, broker: int) -> None:
    """A walk offline, then a connection that breaks in the middle of its first clip, which is large for its noise."""
    flag: dict[str, object] = {"t_s": 3.0, "action": "flag"}
    hold: dict[str, object] = {"t_s": 4.5, "action": "hold", "until_s": 5.5}
    made.run(*OFFLINE, *made.walk("fourth", 8.0, flag, hold, noise=(4.0, 6.0), seed=3))
    files = [path for path in (made.state / "outbox").glob("[!.]*/*.*") if path.parent.name != "failed"]
    small = sum(path.stat().st_size for path in files if path.suffix != ".mp4")
    clips = {path: path.stat().st_size for path in files if path.suffix == ".mp4"}
    assert max(clips.values()) > 90_000, clips
    with Relay(broker, small + 80_000) as relay:
        address = f"{HOST}:{relay.port}"
        arriving = made.home / "incoming" / ANNA
        with site.device(made.state, made.config, "--quiet", "--broker", address) as process:
            site.until(relay.full.is_set, "the connection to break", timeout_s=60)
            process.until(lambda: any(arriving.glob("*.clip.ranges")), "a part of the clip")
            process.kill()
    shutil.copyfile(
        _file_with_two_blocks(made.bundles / "tiny-4"),
        _file_with_two_blocks(made.home / "models" / "tiny-4" / "bundle"),
    )
    assert call("waycue-device", "renew", "--rekey", "--config", made.config, "--state", made.state)[0] == 0


def _file_with_two_blocks(bundle: Path) -> Path:
    return bundle / "golden" / "001.jpg"


class Relay:
    """Relays TCP connections to a port until `most` bytes went there; then it passes nothing on."""

    def __init__(self, port: int, most: int) -> None:
        self.full = threading.Event()
        self._left, self._target = most, port
        self._listener = socket.create_server((HOST, 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while not self.full.is_set():
                near, _ = self._listener.accept()
                far = socket.create_connection((HOST, self._target))
                threading.Thread(target=self._up, args=(near, far), daemon=True).start()
                threading.Thread(target=self._down, args=(far, near), daemon=True).start()

    def _up(self, near: socket.socket, far: socket.socket) -> None:
        with suppress(OSError):
            while data := near.recv(1024):
                self._left -= len(data)
                if self._left < 0:
                    self.full.set()
                    return
                far.sendall(data)

    def _down(self, far: socket.socket, near: socket.socket) -> None:
        with suppress(OSError):
            while data := far.recv(65536):
                near.sendall(data)

    def __enter__(self) -> Relay:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()


def _decide(made: Making) -> None:
    """Decisions of a person: moments reviewed, one of them twice, and walks held out or golden."""
    pending = [sample["sample_id"] for sample in made.server_json("samples", "list")]
    assert len(pending) >= 4, pending

    def review(sample_id: str, *decision: str) -> None:
        made.server("samples", "review", sample_id, *decision, "--as", "Eve")

    review(pending[0], "--edit", "Caution, bin on the left.")
    review(pending[1], "--nothing")
    review(pending[2], "--reject")
    review(pending[0], "--edit", "Stop, curb ahead.")
    made.server("samples", "hold-out", "market-3")
    made.server("samples", "golden", "add", pending[0], "market-4")


def _tidy(made: Making) -> None:
    """Remove the rendered phrases, which are made again, and the broker's files that name this machine's folders."""
    shutil.rmtree(made.state / "voice", ignore_errors=True)
    for path in (made.home / "broker").glob("mosquitto.*"):
        path.unlink()


# --- the session ---


def _record_session(made: Making) -> None:
    """Record what a device that was never enrolled sends over a plain broker, and the server's answers to it."""
    folder = made.folder / "session"
    flag: dict[str, object] = {"t_s": 1.0, "action": "flag"}
    hold: dict[str, object] = {"t_s": 2.5, "action": "hold", "until_s": 3.5}
    made.run(*OFFLINE, "--device", BERT, *made.walk("bert", 4.0, flag, hold, seed=5), state=made.bert)
    shutil.rmtree(made.bert / "voice", ignore_errors=True)
    sent, report = _sent(made)
    (folder / "report.json").write_text(json.dumps(report, indent=1))
    home = made.folder / "replayed" / "home"
    session.copy_home(made.home, home)
    with site.plain_broker(home.parent / "broker") as port, site.server(home, "--plain", "--broker", f"{HOST}:{port}"):
        exchanges = session.replay(port, BERT, [*sent, *session.strays(BERT, sent)])
    assert {"event", "begin", "part", "end", "want", "status"} <= set(session.kinds(exchanges))
    session.save(folder / "exchanges.jsonl", exchanges)
    samples = call_json("waycue-server", "--home", home, *SERVER_COMMANDS["samples"])
    (folder / "samples.json").write_text(json.dumps([row for row in samples if row["device"] == BERT], indent=1))


def _sent(made: Making) -> tuple[list[Message], dict[str, Any]]:
    """The messages of the device while it delivers everything and fetches a model, and its report."""
    folder = made.folder / "recorded"
    session.copy_home(made.home, folder / "home")
    shutil.copytree(made.bert, folder / "state")
    with site.plain_broker(folder / "broker") as port, site.Client(port, "wc/v1/#") as spy:
        address = ("--broker", f"{HOST}:{port}")
        with site.server(folder / "home", "--plain", *address):
            report = made.run("--device", BERT, *address, "--linger-s", "30", state=folder / "state")
            assert (report["model_version"], report["sync"]["queued"]) == ("tiny-1", 0), report
            site.until(lambda: b'"online":false' in spy.received[-1][1], "the status that says offline")
    prefixes = f"wc/v1/{BERT}/status", f"wc/v1/{BERT}/up/"
    return [message for message in spy.received if message[0].startswith(prefixes)], report


# --- the answers ---


def _record_answers(made: Making) -> None:
    answers = {
        "server": server_answers(made.home),
        "device": device_answers(made.state, made.config),
        "exported": exported(made.home, made.folder / "exported"),
        "exported records": exported_records(made.state, made.config, made.folder / "exported-records"),
        "written": {kind: list(wire.written(kind)) for kind in wire.EXAMPLES},
        "verdicts": {kind: wire.verdicts(kind) for kind in wire.EXAMPLES},
    }
    (made.folder / "answers.json").write_text(json.dumps(answers, indent=1))


def _pack(made: Making, path: Path) -> None:
    def kept(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
        """Leave out logs, SQLite's shared memory, and the outbox's reserve, which is noise and made again."""
        return None if info.name.endswith((".log", ".ready", "-shm", "/.reserve")) else info

    with tarfile.open(path, "w:xz", preset=9) as archive:
        for name in ("home", "device", "session", "answers.json"):
            archive.add(made.folder / name, name, filter=kept)
    print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
