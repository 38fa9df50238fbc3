"""Makes the fixtures of this folder with the code of the checkout it runs in, through the public commands.

The tests prove that later code opens what this code left on disk, and understands what it said on the wire. So a
fixture is made once, by the code before a change, and then kept. To make one of another version:

    git worktree add ../older VERSION
    cp tests/compatibility/*.py ../older/tests/compatibility/
    cd ../older && PYTHONPATH=$PWD python -m tests.compatibility.make_fixtures OUT

Takes two minutes and needs Mosquitto and espeak-ng. OUT gets one file, NAME.tar.xz, which belongs beside this module:

    home/            a server's home: database, authority, releases, dataset, decisions, a half-received clip
    device/          device.toml and the state of the device "anna": identity, outbox, models, an update cut off half-way
    session/state/   the state of the device "bert" before its session
    session/exchanges.jsonl   each message that bert published then, and the server's answers
    session/samples.json      what the server had of bert afterwards
    answers.json     what this code's commands said about all of it, its messages, and which damaged ones it refused
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

from shared import bundle
from tests.compatibility import recordings, session, site, tiny, wire
from tests.compatibility.asked import SERVER_ASKED, carried_away, device_answers, exported, server_answers
from tests.compatibility.site import ANNA, BERT, HOST, called, free_port, told

VERSION = "0.1.0"
CARL, DORA = "carl", "dora"
NOWHERE = ("--broker", f"{HOST}:1", "--linger-s", "0")
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
HALF_NOISE_PX = 270
"""Side of the golden picture of which a device has fetched the first block only: 1.2 bytes a pixel, two blocks."""


class Making:
    """A server's home and its devices in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home, self.state = folder / "home", folder / "device" / "state"
        self.bert = folder / "session" / "state"
        self.config = folder / "device" / "device.toml"
        self.films, self.bundles = folder / "films", folder / "bundles"
        self.films.mkdir()
        for path in (self.state, self.bert):
            path.mkdir(parents=True)
        self.config.write_text(DEVICE_SETTINGS)

    def server(self, *arguments: str | Path) -> str:
        """A command of waycue-server that must end well."""
        status, out = called("waycue-server", "--home", self.home, *arguments)
        assert status == 0, (arguments, out)
        return out

    def server_told(self, *arguments: str | Path) -> Any:
        return told("waycue-server", "--home", self.home, *arguments)

    def device_told(self, *arguments: str | Path) -> Any:
        return told("waycue-device", *arguments, "--config", self.config, "--state", self.state, "--json")

    def run(self, *arguments: str | Path, state: Path | None = None) -> dict[str, Any]:
        """One run of a device to its end. Returns its report."""
        report = self.folder / "report.json"
        with site.device(
            state or self.state, self.config, "--report", report, "--exit-at-end", "--quiet", *arguments
        ) as process:
            status = process.child.wait(120)
            assert status == 0, process.text()
        found: dict[str, Any] = json.loads(report.read_bytes())
        return found

    def walk(self, film: str, seconds: float, *presses: dict[str, object], **more: Any) -> Sequence[str | Path]:
        """Arguments with which a device replays a new film."""
        path = recordings.walk(self.films / f"{film}.mkv", seconds, **more)
        script = recordings.presses(self.films / f"{film}.jsonl", *presses)
        return "--source", f"replay:{path}", "--pace", "fast", "--buttons", script

    def model(self, version: str, **more: Any) -> None:
        tiny.make(self.bundles / version, version, **more)
        self.server("models", "add", self.bundles / version)


def main() -> None:
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temp:
        made = Making(Path(temp))
        _found_home(made)
        with _served(made) as broker:
            _first_weeks(made)
            _mid_update(made)
            _mid_upload(made, broker)
        _decide(made)
        _tidy(made)
        _session(made)
        _answers(made)
        _pack(made, out / f"{VERSION}.tar.xz")


# --- the home ---


def _found_home(made: Making) -> None:
    made.server("init")
    (made.home / "waycue.toml").write_text(HOME_SETTINGS)
    made.server("samples", "import", recordings.labelled(made.folder / "labels", LABELS), "--as", "Ben")
    made.model("tiny-1")
    made.server("models", "promote", "tiny-1", "--why", "the first one")
    made.model("tiny-2", says=("bin", "on the left"), noise_px=(16, 48), parent="tiny-1")
    made.model("tiny-3", says=("person", "ahead"), golden=("curb", "ahead"), parent="tiny-2")
    made.model("tiny-4", says=("person", "ahead"), noise_px=(16, HALF_NOISE_PX), parent="tiny-2")
    _judged(made, "night-1")


def _judged(made: Making, version: str) -> None:
    """A model of a night, with the gate's word about it: `models add` completes a folder that was put there whole."""
    folder = made.home / "models" / version
    manifest = tiny.make(folder / "bundle", version, intended_use=bundle.FIELD, parent="tiny-1")
    rule = {
        "name": "recall of tier 1", "about": "tier 1", "verdict": "passed", "sentence": "57 of 60 hazards were seen.",
        "leads_to": "", "figures": {"hits": 57, "count": 60}, "interval": [0.86, 0.99], "bound": 0.8, "cases": 60,
        "walks": 7,
    }  # fmt: skip
    gate = {"format": 1, "verdict": "promoted", "rules": [rule, rule | {"about": "tier 2", "interval": [0.7, None]}]}
    evaluation = {"outcome": "promoted", "gate": gate, "parity_float": 1.0}
    digest = hashlib.sha256(bundle.manifest_bytes(manifest)).hexdigest()
    lineage = {
        "format": 1, "version": version, "parent": "tiny-1", "base": "tiny", "dataset": "512:" + "ab" * 32,
        "manifest_sha256": digest, "created_at_utc": 1_793_600_000.0, "evaluation": evaluation, "code": "torch 2.13.0",
        "seconds": 812.5, "rows": 2, "walks": 1,
    }  # fmt: skip
    (folder / "lineage.json").write_text(json.dumps(lineage))
    (folder / "taught_by.txt").write_text("market-1-0#2:0123456789abcdef\nmarket-1-1#2:fedcba9876543210\n")
    night = {"version": version, "outcome": "promoted", "champion": "tiny-1", "reasons": ["better"], "gate": gate}
    (made.home / "nights").mkdir(exist_ok=True)
    (made.home / "nights" / f"{version}.json").write_text(json.dumps(night))
    made.server("models", "add", folder / "bundle")


@contextmanager
def _served(made: Making) -> Iterator[int]:
    """Broker and server of the home, as in the field. Gives the broker's port."""
    port, enrol = free_port(), f"{HOST}:{free_port()}"
    made.server("broker", "config", "--address", f"{HOST}:{port}")
    with site.mosquitto(made.home / "broker" / "mosquitto.conf"):
        with site.server(made.home, "--broker", f"{HOST}:{port}", "--enrol", enrol):
            for name, cohort in ((ANNA, "clinic"), (CARL, ""), (DORA, "clinic")):
                more = ("--cohort", cohort) if cohort else ()
                claim = made.server_told("devices", "add", name, "--server", enrol, "--hours", "720", "--json", *more)
                state = made.state if name == ANNA else made.folder / name
                if name != DORA:
                    status, _ = called(
                        "waycue-device", "enroll", "--config", made.config, "--state", state, "--uri", claim["uri"]
                    )
                    assert status == 0, name
            made.server("devices", "revoke", CARL, "--why", "lost on the bus")
            yield port


def _first_weeks(made: Making) -> None:
    """Walks that were delivered, an update that was proven, one that was refused, a record that was."""
    flag, hold = {"t_s": 5.0, "action": "flag"}, {"t_s": 8.2, "action": "hold", "until_s": 9.8}
    voice = made.films / "voice.wav"
    subprocess.run(["espeak-ng", "-s", "140", "-w", str(voice), "Caution, bin on the left."], check=True)
    walk = made.walk("first", 14.0, flag, hold, voice=(8.3, voice))
    first = made.run("--update-first-s", "30", "--linger-s", "30", *walk)
    assert (first["model_version"], first["sync"]["queued"]) == ("tiny-1", 0), first
    made.server("rollout", "start", "tiny-2", "--device", ANNA, "--why", "try it on Anna first")
    second = made.run("--update-first-s", "30", "--linger-s", "30", *made.walk("second", 14.0, seed=2))
    assert second["model_version"] == "tiny-2", second
    made.server("rollout", "start", "tiny-3", "--device", ANNA)
    for _ in range(2):  # a self-test that finds something wrong is run twice
        made.run("--linger-s", "7")
    models = made.device_told("models", "list")
    assert [one["version"] for one in models["denied"]] == ["tiny-3"], models
    assert (models["current"]["version"], models["previous"]["version"]) == ("tiny-2", "tiny-1"), models
    lonely = made.run(*NOWHERE, *made.walk("rotten", 2.0, {"t_s": 1.0, "action": "flag"}, seed=4))
    rotten = made.state / "outbox" / lonely["flagged"][0] / "frame.jpg"
    data = bytearray(rotten.read_bytes())
    data[len(data) // 2] ^= 1
    rotten.write_bytes(data)
    refused = made.run("--linger-s", "30")
    assert (refused["sync"]["queued"], refused["sync"]["failed"]) == (0, 1), refused


def _mid_update(made: Making) -> None:
    """The server's disk fails after the first block of a file: the device keeps what came and waits for the rest."""
    made.server("rollout", "start", "tiny-4", "--device", ANNA, "--error-share", "1", "--why", "knows people")
    served = made.home / "models" / "tiny-4" / "bundle" / "golden" / "001.jpg"
    whole = served.read_bytes()
    assert 65_536 < len(whole) < 131_072, len(whole)
    served.write_bytes(whole[:65_536])
    state = made.state / "models" / "update.json"

    def half() -> bool:
        update = json.loads(state.read_bytes())
        ranges = update["progress"].get("golden/001.jpg", {}).get("ranges")
        return (update["phase"], ranges) == ("files", [[0, 65_536]])

    with site.device(made.state, made.config, "--quiet") as process:
        process.until(half, "the first block of a file", timeout_s=60)
        process.kill()


def _mid_upload(made: Making, broker: int) -> None:
    """A walk far from the network, then a connection that breaks in the middle of its first clip, which is noise."""
    flag, hold = {"t_s": 3.0, "action": "flag"}, {"t_s": 4.5, "action": "hold", "until_s": 5.5}
    made.run(*NOWHERE, *made.walk("third", 8.0, flag, hold, noise=(4.0, 6.0), seed=3))
    files = [path for path in (made.state / "outbox").glob("[!.]*/*.*") if path.parent.name != "failed"]
    small = sum(path.stat().st_size for path in files if path.suffix != ".mp4")
    clips = {path: path.stat().st_size for path in files if path.suffix == ".mp4"}
    assert max(clips.values()) > 90_000, clips
    with Relay(broker, small + 80_000) as relay:
        with site.device(made.state, made.config, "--quiet", "--broker", f"{HOST}:{relay.port}") as process:
            site.until(relay.full.is_set, "the connection to break", timeout_s=60)
            process.until(lambda: any((made.home / "incoming" / ANNA).glob("*.clip.ranges")), "a part of the clip")
            process.kill()
    served = made.home / "models" / "tiny-4" / "bundle" / "golden" / "001.jpg"
    shutil.copyfile(made.bundles / "tiny-4" / "golden" / "001.jpg", served)
    status, _ = called("waycue-device", "renew", "--rekey", "--config", made.config, "--state", made.state)
    assert status == 0


class Relay:
    """Carries one connection after the other to a port, until so many bytes went there: then nothing passes any more."""

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
    """Four decisions of each kind that a person can take, and walks put to another use."""
    pending = [one["sample_id"] for one in made.server_told("samples", "list", "--json")]
    assert len(pending) >= 4, pending
    for own, *decision in (
        (pending[0], "--edit", "Caution, bin on the left."), (pending[1], "--nothing"), (pending[2], "--reject"),
        (pending[0], "--edit", "Stop, curb ahead."),
    ):  # fmt: skip
        made.server("samples", "review", own, *decision, "--as", "Eve")
    made.server("samples", "hold-out", "market-3")
    made.server("samples", "golden", "add", pending[0], "market-4")


def _tidy(made: Making) -> None:
    """What is made again when it is missing, or is of one machine."""
    shutil.rmtree(made.state / "voice", ignore_errors=True)
    for path in (made.home / "broker").glob("mosquitto.*"):
        path.unlink()


# --- the session ---


def _session(made: Making) -> None:
    """A device that was never enrolled, over a broker on this machine, with a home of its own."""
    folder = made.folder / "session"
    flag, hold = {"t_s": 1.0, "action": "flag"}, {"t_s": 2.5, "action": "hold", "until_s": 3.5}
    made.run(*NOWHERE, "--device", BERT, *made.walk("bert", 4.0, flag, hold, seed=5), state=made.bert)
    shutil.rmtree(made.bert / "voice", ignore_errors=True)
    sent, report = _recorded(made)
    (folder / "report.json").write_text(json.dumps(report, indent=1))
    session.copy_home(made.home, folder / "home")
    with site.plain_broker(folder / "broker") as port:
        with site.server(folder / "home", "--plain", "--broker", f"{HOST}:{port}"):
            exchanges = session.replay(port, BERT, [*sent, *session.strays(BERT, sent)])
    session.save(folder / "exchanges.jsonl", exchanges)
    found = told("waycue-server", "--home", folder / "home", *SERVER_ASKED["samples"])
    (folder / "samples.json").write_text(json.dumps([one for one in found if one["device"] == BERT], indent=1))
    assert {"event", "begin", "part", "end", "want", "status"} <= set(session.kinds(exchanges))
    for name in ("home", "broker"):
        shutil.rmtree(folder / name)


def _recorded(made: Making) -> tuple[list[site.Message], dict[str, Any]]:
    """What the device publishes while it delivers everything and fetches a model, and its report."""
    temp = made.folder / "recorded"
    session.copy_home(made.home, temp / "home")
    shutil.copytree(made.bert, temp / "state")
    with site.plain_broker(temp / "broker") as port:
        with site.server(temp / "home", "--plain", "--broker", f"{HOST}:{port}"), site.Client(port, "wc/v1/#") as spy:
            done = made.run("--device", BERT, "--broker", f"{HOST}:{port}", "--linger-s", "30", state=temp / "state")
            assert (done["model_version"], done["sync"]["queued"]) == ("tiny-1", 0), done
            site.until(lambda: b'"online":false' in spy.heard[-1][1], "its last word")
            own = f"wc/v1/{BERT}"
            return [one for one in spy.heard if one[0].startswith((f"{own}/status", f"{own}/up/"))], done


# --- the answers ---


def _answers(made: Making) -> None:
    found = {
        "server": server_answers(made.home),
        "device": device_answers(made.state, made.config),
        "exported": exported(made.home, made.folder / "exported"),
        "carried away": carried_away(made.state, made.config, made.folder / "carried"),
        "written": {kind: list(wire.written(kind)) for kind in wire.EXAMPLES},
        "verdicts": {kind: wire.verdicts(kind) for kind in wire.EXAMPLES},
    }
    (made.folder / "answers.json").write_text(json.dumps(found, indent=1))


def _pack(made: Making, path: Path) -> None:
    def kept(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
        """Without the logs of the processes, SQLite's shared memory, and the noise that keeps disk space."""
        return None if info.name.endswith((".log", ".ready", "-shm", "/.reserve")) else info

    with tarfile.open(path, "w:xz", preset=9) as archive:
        for name in ("home", "device", "session", "answers.json"):
            archive.add(made.folder / name, name, filter=kept)
    print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
