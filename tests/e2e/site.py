"""One whole installation on this machine: a broker, a server and devices, all through waycue's public commands."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from device.updates.updater import current_slot
from scripts.demo.caregiver import Caregiver
from scripts.demo.children import Child, Children, command
from server.broker.child import HOST, BrokerChild, free_port
from shared.bundle import read_manifest
from tests.pulse import until

DEVICE = "dev-1"
TAUGHT = "cone"
HEARD_S = 240
"""The recogniser takes half a minute of a core to load its models."""
# As the demo: waiting threads sleep instead of spinning, several processes share the cores.
ENV = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}
PATIENCE = float(os.environ.get("WAYCUE_PATIENCE", "1"))
"""Times as long is waited for a command: under strace everything is slower."""
# The template that `init` writes ends with its [learn] section.
LEARN = "steps = 2\nreplay = 64\ngate_cases = 40\nnew_rows_least = 1\n"


@dataclass(frozen=True, slots=True)
class Done:
    """A command that ended, and what a walk left behind."""

    status: int
    out: str
    err: str
    report: dict[str, Any] = field(default_factory=dict)

    @property
    def announced(self) -> list[str]:
        return [entry["text"] for entry in self.report["announced"]]

    @property
    def guided(self) -> list[str]:
        return [entry["text"] for entry in self.report["guidance"]]

    @property
    def version(self) -> str:
        version: str = self.report["model_version"]
        return version


def called(arguments: Sequence[str], *, timeout_s: float = 240.0) -> Done:
    """Run one command to its end."""
    done = subprocess.run(
        list(arguments),
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
        timeout=timeout_s * PATIENCE,
        env=ENV,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def walked(state: Path, source: str, *more: str, timeout_s: float = 240.0) -> Done:
    """`waycue-device run` until its replay is over and synced. Its report is read where it wrote one."""
    report = state.parent / f"{state.name}.report.json"
    report.unlink(missing_ok=True)
    arguments = [
        command("waycue-device"),
        "run",
        "--source",
        source,
        "--state",
        str(state),
        "--device",
        DEVICE,
        "--speech",
        "none",
        "--report",
        str(report),
        "--exit-at-end",
        *more,
    ]
    done = called(arguments, timeout_s=timeout_s)
    assert "Traceback" not in done.err, done.err
    return Done(done.status, done.out, done.err, json.loads(report.read_bytes()) if report.exists() else {})


def presses(folder: Path, *lines: Mapping[str, Any]) -> str:
    """A script for --buttons."""
    path = folder / "buttons.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(path)


def flags_at(folder: Path, *times_s: float) -> str:
    return presses(folder, *({"t_s": t_s, "action": "flag"} for t_s in times_s))


def sealed(state: Path) -> dict[str, dict[str, Any]]:
    """Records that wait in a device's outbox: id → record."""
    sidecars = [json.loads(path.read_bytes()) for path in sorted((state / "outbox").glob("*/record.json"))]
    return {value["record_id"]: value["body"] for value in sidecars}


def slot_version(state: Path) -> str:
    """The version that a device would walk with after a restart."""
    folder = current_slot(state)
    return "" if folder is None else read_manifest(folder).version


@dataclass(slots=True)
class Site:
    """One server with its home, and the devices that belong to it. Made by the fixtures `site` and `taught_site`."""

    folder: Path
    broker_address: str
    children: Children
    _server: Child | None = None
    url: str = ""
    _starts: int = 0

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def state(self) -> Path:
        return self.folder / "device"

    @property
    def people(self) -> Caregiver:
        return Caregiver(self.url)

    def server(self, *arguments: str, timeout_s: float = 240.0) -> Done:
        """One server command that must end well."""
        done = called([command("waycue-server"), "--home", str(self.home), *arguments], timeout_s=timeout_s)
        assert done.status == 0, f"{arguments}: {done.out}\n{done.err}"
        return done

    def serve(self) -> None:
        """Start `waycue-server run` and wait until it is ready."""
        web, ready = f"{HOST}:{free_port()}", self.folder / "ready"
        self._starts += 1
        self._server = self.children.start(
            f"server-{self._starts}",
            [
                command("waycue-server"),
                "--home",
                str(self.home),
                "run",
                "--plain",
                "--broker",
                self.broker_address,
                "--web",
                web,
                "--ready-file",
                str(ready),
            ],
        )
        self.children.until(self._server, ready.exists, timeout_s=60, what="ready server")
        self.url = ready.read_text().strip()

    def stop_serving(self) -> None:
        assert self._server is not None
        self.children.stop(self._server)
        assert self._server.process.returncode in (0, 130), self.server_log
        (self.folder / "ready").unlink()

    @property
    def serving(self) -> bool:
        return self._server is not None and self._server.running()

    @property
    def server_log(self) -> str:
        assert self._server is not None
        return self._server.log.read_text()

    def walk(self, source: str, *more: str) -> Done:
        """A device of this site walks."""
        return walked(self.state, source, "--broker", self.broker_address, "--linger-s", "60", *more)

    def versions(self) -> dict[str, str]:
        """Role → version, of `models list`."""
        return {model["role"]: model["version"] for model in json.loads(self.server("models", "list", "--json").out)}

    def samples(self) -> dict[str, dict[str, Any]]:
        """All moments of the review page by id, each of which it may list once only."""
        found = self.people.samples()
        by_id = {sample["sample_id"]: sample for sample in found}
        assert len(by_id) == len(found)
        return by_id

    def rows(self) -> list[dict[str, Any]]:
        """The dataset's log, line by line."""
        return [json.loads(line) for line in (self.home / "dataset" / "metadata.jsonl").read_text().splitlines()]

    def wait_merged(self, done: Done) -> dict[str, dict[str, Any]]:
        """Until all that a walk flagged is on the review page, and its corrections with it."""
        flagged, corrections = set(done.report["flagged"]), set(done.report["corrections"])

        def there() -> bool:
            samples = self.samples()
            return flagged <= set(samples) and corrections <= {one["correction_id"] for one in samples.values()}

        until(there, "merged chunks and corrections", timeout_s=90)
        return self.samples()

    def wait_heard(self, corrections: Collection[str]) -> dict[str, dict[str, Any]]:
        """Until the recogniser understood words in these, which have such. Its process loads two models first."""

        def heard() -> bool:
            return set(corrections) <= {one["correction_id"] for one in self.samples().values() if one["transcript"]}

        until(heard, "heard corrections", timeout_s=HEARD_S)
        return self.samples()


@contextmanager
def opened(folder: Path, broker: BrokerChild) -> Iterator[Site]:
    """A site whose processes end with the block."""
    with Children(folder / "logs") as children:
        yield Site(folder, f"{broker.host}:{broker.port}", children)
