"""Kill the updater at every durable step in turn, start it again, and report what is left. Run as a program.

Each try is a life (see tests.crash) that updates a device from m1 to m2 and then to m3, which fails on probation. A
half-written block is a step, too. What the disk then holds is checked; another life starts on it and must bring the
update to its end. One JSON line per try: where it was killed, what is wrong, how many bytes came twice.
"""

from __future__ import annotations

import json
import random
import sys
from multiprocessing import Value
from pathlib import Path

import sqlalchemy.dialects.sqlite  # noqa: F401  once, and not in each of the forks

from device.updates.slots import current_slot, previous_slot
from device.updates.state_file import load_denied
from device.updates.tuf_client import Trust
from server.releases.signing import Release
from shared import bundle
from shared.atomic import Step, no_step
from shared.bundle import BLOCK_BYTES, DELTA_NAME
from shared.clock import ManualClock
from shared.errors import BundleError
from shared.floor import ClockFloor
from tests import crash
from tests.crash import Chosen, Killer
from tests.device.updates.house import DEVICE, Device, Server
from tests.shared.bundle.bundles import contents, delta_of

DECODER = "decoder_model_merged.onnx"
VISION = "vision_encoder.onnx"
FILES = {DECODER: 300_000, VISION: 150_000, "tokenizer.json": 4_000, "golden/000.jpg": 70_000}
NOW_S = 1_795_200_000.0
CARRIED, WHOLE = (Value("q", lock=False) for _ in range(2))
"""Bytes that went over the wire, also in forks: of one try, and of an undisturbed life."""
ENOUGH_ROUNDS = 300


def server_of(place: Path) -> Server:
    """With keys: the device is enrolled."""
    return Server(place / "home", clock=ManualClock(epoch_s=NOW_S), signed=True)


def device_of(place: Path, server: Server, crash_point: Step = no_step) -> Device:
    state, clock = place / "state", ManualClock(epoch_s=NOW_S)
    root = Release(server.home, clock=ManualClock(epoch_s=NOW_S)).root_json()

    def trust() -> Trust:
        return Trust(state / "trust", root, ClockFloor(state / "trust", clock), crash_point=crash_point)

    return Device(state, server, crash_point=crash_point, trust=trust, clock=clock)


def offered(device: Device, version: str) -> bytes:
    """The signed offer of a version to everyone."""
    device.server.registry.promote(version, "next")
    reply = device.server.push.offer_for(DEVICE)
    assert reply is not None
    return reply[1]


def prepare(place: Path) -> None:
    """A server with three models, and a device with the first. Of the decoder only one block changes, and the eyes of
    the others are made from the first's."""
    server = server_of(place)
    same = contents(FILES)
    for number in (1, 2, 3):
        decoder = bytearray(same[DECODER])
        decoder[number * BLOCK_BYTES : number * BLOCK_BYTES + 100] = bytes(100)
        vision, delta = delta_of(VISION, same[VISION], {50: random.Random(number).randbytes(20_000)})
        files = contents(FILES, seed=number) | {"tokenizer.json": same["tokenizer.json"], DECODER: bytes(decoder)}
        made = {VISION: vision, DELTA_NAME: delta} if number > 1 else {VISION: same[VISION]}
        server.register(f"m{number}", files | made)
    device = device_of(place, server)
    device.updater.on_offer(offered(device, "m1"))
    device.go(lambda: device.updater.phase == "probation")
    device.prove()
    device.updater.close()
    server.registry.close()


def live(device: Device) -> None:
    """Whatever the device's state: bring it to m2 in use and m3 denied."""
    for _ in range(ENOUGH_ROUNDS):
        device.updater.tick()
        phase, current = device.updater.phase, device.current
        denied = {one.version for one in load_denied(device.state_dir / "models")}
        if phase == "probation" and current == "m3":
            device.updater.report_failure("it fails")
        elif phase == "probation":
            device.updater.report_look_ok()
        elif phase == "idle" and "m3" in denied and current == "m2":
            return
        elif phase == "idle":
            device.updater.on_offer(offered(device, "m3" if current == "m2" else "m2"))
        device.deliver()
        device.clock.sleep(1)
    raise AssertionError(f"never done: {device.text()}, {device.current} in use")


def life(place: Path, killer: Killer) -> None:
    """From m1 to its end, killed on the way, or undisturbed: then what it carried is the whole."""
    CARRIED.value = 0
    killer.watch()
    killer.watch_half_writes()
    run(place, killer)
    WHOLE.value = CARRIED.value


def run(place: Path, crash_point: Step) -> None:
    device = device_of(place, server_of(place), crash_point)
    count = device.block

    def counted(topic: str, data: bytes) -> None:
        CARRIED.value += len(data)
        count(topic, data)

    device.block = counted  # type: ignore[method-assign]
    live(device)
    device.updater.close()


def verdict(place: Path) -> list[str]:
    """What is not as promised right after the kill, and once the update was brought to its end."""
    before = wrong(place / "state")
    run(place, no_step)
    return before + wrong(place / "state")


def wrong(state_dir: Path) -> list[str]:
    """What is not as promised on a disk whose power went."""
    problems = []
    for name, folder in (("current", current_slot(state_dir)), ("previous", previous_slot(state_dir))):
        if folder is None:
            problems += [f"there is no {name} model"] if name == "current" else []
            continue
        try:
            bundle.verify(folder)
        except BundleError as error:
            problems.append(f"{name}: {error}")
    return problems


def main(place: Path, chosen: Chosen) -> None:
    template = place / "template"
    assert crash.fork(lambda: prepare(template)).status == 0
    for one in crash.tries(place, template, life, verdict, chosen=chosen, packages=("device",)):
        report = {"at": one.label, "problems": one.problems, "twice_bytes": CARRIED.value - WHOLE.value}
        print(json.dumps({"step": one.step, **report}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), crash.first_and_last if "--first-too" in sys.argv else crash.last)
