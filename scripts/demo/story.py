"""The whole loop, told from top to bottom.

    broker + server, the device is let in → first model offered, fetched, checked, switched on
    first walk: the wearer meets an object the model never saw, flags, corrects by voice → sync → merge
    a caregiver confirms → the night: LoRA, export, gate → the device updates itself
    second walk, on another route → what was taught, measured

Every process is a child started through waycue's public commands, on free loopback ports. The broker has mutual TLS and
the access rules of `waycue-server broker config`, as in the field.
"""

from __future__ import annotations

import json
import shutil
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.demo import eyes, measure, report, wearer
from scripts.demo.caregiver import Caregiver
from scripts.demo.children import Children, command
from scripts.demo.screen import Screen
from server.broker.child import HOST, BrokerChild, free_port
from server.walks.chunks import ChunkTruth, chunk_truths
from server.walks.route import walk_from_name
from server.walks.video import write_video
from shared.errors import WaycueError

TAUGHT = "cone"
DEVICE = "demo-1"
FIRST, SECOND = ("works", 60.0, 1), ("market", 40.0, 2)
"""Route, seconds, seed of the two walks."""


@dataclass(slots=True)
class Demo:
    """What the steps share."""

    out: Path
    screen: Screen
    children: Children
    web: str = ""

    @property
    def home(self) -> Path:
        return self.out / "server"

    @property
    def state(self) -> Path:
        return self.out / "device"

    @property
    def broker_files(self) -> Path:
        return self.home / "broker"

    def server(self, *arguments: str) -> list[str]:
        return [command("waycue-server"), "--home", str(self.home), *arguments]

    def call(self, name: str, *arguments: str, timeout_s: float = 1200.0) -> str:
        """Run one server command to its end; its last line becomes the step's note. Returns what it printed."""
        child = self.children.start(name, self.server(*arguments))

        def watch() -> None:
            lines = child.tail(1)
            if lines and not lines.lstrip().startswith("{"):
                self.screen.note(lines[:70])

        self.children.wait(child, timeout_s=timeout_s, watch=watch)
        return child.log.read_text()


def run(out: Path, screen: Screen, *, eyes_from: Path | None = None) -> int:
    """The demo. Returns the exit status: 0 where every promise was kept.

    eyes_from: tarball of the eyes' package, where there is no registry
    """
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    started = time.monotonic()
    with ExitStack() as ending, Children(out / "logs") as children:
        demo = Demo(out, screen, children)
        truths = _prepare(demo, eyes_from)
        serve(demo, ending)
        first = _first_walk(demo, truths[0])
        sync = _synced(demo, first)
        _confirm(demo, truths[0], first)
        night = _night(demo)
        second = _second_walk(demo)
        with screen.step("Measure what was taught"):
            models = demo.home / "models"
            before, after = (models / night[name] / "bundle" for name in ("champion", "version"))
            taught = measure.taught(TAUGHT, before, after, progress=screen.note)
            screen.note(f"{TAUGHT}: {taught.right_before:.0%} → {taught.right_after:.0%} of instructions right")
        whole = report.assemble(
            walks=[first, second], sync=sync, night=night, taught=taught, seconds=time.monotonic() - started
        )
        report.write(whole, taught, out)
    screen.__exit__()
    return report.summarise(whole, out, screen.console)


def _prepare(demo: Demo, eyes_from: Path | None) -> list[tuple[ChunkTruth, ...]]:
    """Render both walks while the first model is exported, over pretrained eyes where these can be had."""
    with demo.screen.step("Fetch eyes, export the starter model, render two walks"):
        prepare_home(demo)
        sees = eyes.give(demo, eyes_from)
        export = demo.children.start("export", demo.server("models", "add", "starter"))
        truths = []
        for index, (name, seconds, seed) in enumerate((FIRST, SECOND)):
            route = walk_from_name(name, seed=seed, duration_s=seconds)
            truth = chunk_truths(route)
            voice = wearer.speak(wearer.plan(truth, TAUGHT), demo.out) if index == 0 else []
            demo.screen.note(f"rendering the {name} walk, {seconds:.0f} s")
            write_video(route, demo.out / f"{name}.mp4", voice=voice)
            truths.append(truth)
        demo.children.wait(export, timeout_s=1200, watch=lambda: demo.screen.note(export.tail(1)[:70]))
        on = "over the packaged eyes" if sees else "which has only ever seen drawings"
        demo.screen.note(f"two walks rendered; the starter, {on}, exported and checked against PyTorch")
    return truths


def prepare_home(demo: Demo) -> None:
    """A server's home, with its authority, and the files that its broker runs from."""
    demo.call("init", "init", timeout_s=300)
    demo.call("broker-config", "broker", "config", "--address", f"{HOST}:{free_port()}", timeout_s=300)


def serve(demo: Demo, ending: ExitStack) -> None:
    """ending: stops the broker."""
    with demo.screen.step("Start broker and server, let the device in"):
        broker = ending.enter_context(BrokerChild(demo.out / "broker", secure=demo.broker_files))
        web, enrol, ready = f"{HOST}:{free_port()}", f"{HOST}:{free_port()}", demo.out / "ready"
        run = ("run", "--broker", f"{HOST}:{broker.port}", "--enrol", enrol, "--web", web, "--ready-file", str(ready))
        server = demo.children.start("server", demo.server(*run))
        demo.children.until(server, ready.exists, timeout_s=300, what="ready server")
        demo.web = f"http://{web}"
        claim = json.loads(demo.call("devices-add", "devices", "add", DEVICE, "--server", enrol, "--json"))
        enroll = [command("waycue-device"), "enroll", "--state", str(demo.state), "--uri", claim["uri"]]
        demo.children.wait(demo.children.start("enroll", enroll), timeout_s=300)
        demo.screen.note(f"{demo.web}, broker on port {broker.port} with mutual TLS, {DEVICE} enrolled")


def walk(
    demo: Demo, video: Path, *, seconds: float, buttons: Path | None = None, model: Path | None = None
) -> dict[str, Any]:
    """Replay a video in real time through the agent, with its speech in a WAV file. Returns its report.

    model: a bundle to guide with; None = what the server offers
    """
    name, captions = video.stem, demo.out / f"{video.stem}.captions.jsonl"
    report_file = demo.out / f"{name}.report.json"
    options = {
        "--source": f"replay:{video}",
        "--pace": "real",
        "--state": demo.state,
        "--speech": demo.out / f"{name}.speech.wav",
        "--captions": captions,
        "--report": report_file,
        "--linger-s": 600,
        "--update-first-s": 600,
    }
    if buttons is not None:
        options["--buttons"] = buttons
    if model is not None:
        options["--model"] = model
    words = [str(word) for option in options.items() for word in option]
    agent = demo.children.start(f"device-{name}", [command("waycue-device"), "run", "--exit-at-end", *words])
    demo.screen.clear_captions()
    demo.children.wait(agent, timeout_s=seconds + 900, watch=lambda: demo.screen.watch(captions))
    return {"name": name, **json.loads(report_file.read_text())}


def _first_walk(demo: Demo, truth: Sequence[ChunkTruth]) -> dict[str, Any]:
    name, seconds, _ = FIRST
    with demo.screen.step(f"First walk ({name}): fetch the model, guide, flag, correct"):
        first = walk(demo, demo.out / f"{name}.mp4", seconds=seconds, buttons=demo.out / "buttons.jsonl")
        if not first["model_version"]:
            raise WaycueError("The device walked without a model.", hint=f"See {demo.out / 'logs'}.")
        demo.screen.note(f"{len(first['flagged'])} chunks flagged, {len(first['corrections'])} corrections spoken")
    return first


def _synced(demo: Demo, first: dict[str, Any]) -> dict[str, Any]:
    with demo.screen.step("Sync and merge"):
        samples = all_merged(Caregiver(demo.web), first)
        flagged, corrections = set(first["flagged"]), set(first["corrections"])
        merged = flagged & {sample["sample_id"] for sample in samples}
        heard = corrections & {sample["correction_id"] for sample in samples}
        of_corrections = f"{len(heard)} of {len(corrections)} corrections"
        demo.screen.note(f"{len(merged)} of {len(flagged)} chunks, {of_corrections} merged")
        return {
            "flagged": len(flagged),
            "merged": len(merged),
            "corrections": len(corrections),
            "corrections_merged": len(heard),
            "bytes": first["sync"]["sent_bytes"],
            "resent_bytes": first["sync"]["resent_bytes"],
        }


def all_merged(caregiver: Caregiver, walk_report: dict[str, Any]) -> list[dict[str, Any]]:
    """The server's samples: all chunks of a walk there with its corrections, or ten minutes gone."""
    deadline = time.monotonic() + 600
    while True:
        samples = caregiver.samples()
        ids = {sample[name] for sample in samples for name in ("sample_id", "correction_id")}
        if {*walk_report["flagged"], *walk_report["corrections"]} <= ids or time.monotonic() >= deadline:
            return samples
        time.sleep(0.3)


def _confirm(demo: Demo, truths: Sequence[ChunkTruth], first: dict[str, Any]) -> None:
    with demo.screen.step("A caregiver confirms, over the HTTP API"):
        caregiver = Caregiver(demo.web)
        by_index = {truth.index: truth.instruction for truth in truths}
        taken = Counter[str]()
        for sample in caregiver.samples("pending"):
            index = int(sample["sample_id"].rsplit("-", 1)[1])
            taken[caregiver.review(sample, by_index.get(index, ""))] += 1
        demo.screen.note(", ".join(f"{count} {action}" for action, count in sorted(taken.items())))


def _night(demo: Demo) -> dict[str, Any]:
    with demo.screen.step("The night: retrain with LoRA, export, gate"):
        printed = demo.call("retrain", "retrain", "--json", timeout_s=3600)
        night = told_last(printed)
        if night["outcome"] != "promoted":
            raise WaycueError(f"The gate kept the champion: {'; '.join(night['reasons'])}")
        demo.screen.note(f"{night['version']} promoted: {night['reasons'][0]}")
    return night


def told_last(printed: str) -> dict[str, Any]:
    """The JSON object at the end of what a command printed."""
    found: dict[str, Any] = json.loads(printed[f"\n{printed}".rindex("\n{\n") :])
    return found


def _second_walk(demo: Demo) -> dict[str, Any]:
    name, seconds, _ = SECOND
    with demo.screen.step(f"Second walk ({name}): update over MQTT, then guide"):
        second = walk(demo, demo.out / f"{name}.mp4", seconds=seconds)
        if not second["updates"]:
            raise WaycueError(f"The device did not update: {second['model_state']}", hint=f"See {demo.out / 'logs'}.")
        demo.screen.note(f"walked with {second['model_version']}")
    return second
