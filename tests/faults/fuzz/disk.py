"""Fuzz targets: everything that reads back what lies on a disk, which may be damaged, cut short, or edited by hand."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from device import config as device_config
from device.controls.buttons import Script
from device.health import status
from device.outbox import folder as outbox_folder
from device.outbox.outbox import Outbox
from device.updates.permission import Permission
from device.updates.state import Denied, Settings, State, UpdatePhase
from device.updates.state_file import load_denied, load_state, save_denied, save_state
from device.updates.updater import Updater, UpdaterPorts
from server import config as server_config
from server.dataset import record_log
from server.dataset.folder import Dataset
from server.ingest.arrivals import Arrivals
from shared import messages
from shared.clock import ManualClock
from shared.errors import ConfigError, DatasetError, MessageError
from shared.floor import ClockFloor
from shared.messages import Begin, Envelope, Offer
from tests.faults import cargo
from tests.faults.fuzz.shape import DEEP, RAW, shaped
from tests.faults.fuzz.target import Run, Target, emptied, scratch

DEVICE = "pi-1"
EPOCH_S = 1_795_200_000.0
OFFER = Offer("m1", "0" * 64, 500, EPOCH_S, 1)


def _sidecar() -> tuple[str, bytes, dict[str, bytes]]:
    record, payloads = cargo.chunk(DEVICE, 0)
    sealed = replace(record, parts=outbox_folder.parts(payloads))
    return (record.chunk_id, messages.encode(Envelope("chunk", record.chunk_id, messages.to_dict(sealed))), payloads)


def _outboxes() -> Run:
    """An outbox opens whatever lies in it, and counts and claims."""
    folder = scratch()
    name, sidecar, payloads = _sidecar()
    kinds = ("record.json", "reason.json", "lost.jsonl", "index.sqlite", "frame.jpg")

    def run(data: bytes) -> None:
        place = emptied(folder / "outbox")
        kind = kinds[data[0] % len(kinds)] if data else kinds[0]
        record = place / ("failed" if kind == "reason.json" else "") / name
        record.mkdir(parents=True)
        files = {"record.json": sidecar} | {outbox_folder.FILE_NAMES[part]: value for part, value in payloads.items()}
        for file, value in files.items():
            (record / file).write_bytes(value)
        changed = shaped(data[1:], [sidecar])
        (place / kind if kind in ("lost.jsonl", "index.sqlite") else record / kind).write_bytes(changed)
        box = Outbox(place)
        try:
            box.counts()
            box.failures()
            box.release(box.claim(10) + box.claim(10, bulk=True))
            box.prune(0)
        finally:
            box.close()

    return run


def _incoming() -> Run:
    folder = scratch()
    record_id, _, payloads = _sidecar()
    part = outbox_folder.parts(payloads)[0]
    begin = messages.to_dict(Begin(record_id, part, DEVICE))
    good = json.dumps({"begin": begin, "ranges": [[0, 100], [200, 300]]}).encode()
    clock = ManualClock(epoch_s=EPOCH_S)

    def run(data: bytes) -> None:
        place = emptied(folder / "incoming")
        own = place / DEVICE
        own.mkdir()
        transfer = f"{record_id}.{part.kind}"
        (own / f"{transfer}.data").write_bytes(payloads[part.kind][: data[0] * 20 if data else 0])
        (own / f"{transfer}.json").write_bytes(shaped(data[1:], [good]))
        opened = Arrivals(place, clock=clock)
        for arrival in list(opened.of(DEVICE)):
            arrival.close()

    return run


def _dataset_rows() -> Run:
    folder = scratch()
    row = {
        "row_id": "x.1",
        "sample_id": "x",
        "frame_path": "frames/a.jpg",
        "audio_path": "audio/a.wav",
        "instruction": "Stop, curb ahead.",
        "timestamp": 1.0,
        "device": DEVICE,
        "walk_id": "w",
    }
    good = json.dumps(row).encode()

    def run(data: bytes) -> None:
        place = emptied(folder / "dataset")
        dataset = Dataset(place)
        dataset.create()
        dataset.log.write_bytes(good + b"\n" + shaped(data, [good]) + b"\n")
        with contextlib.suppress(DatasetError):
            list(dataset.history())
        with contextlib.suppress(DatasetError):
            dataset.rows()

    return run


def _journal_lines() -> Run:
    good = [
        {
            "what": "part",
            "device": DEVICE,
            "record_id": "r",
            "kind": "frame",
            "sha256": "0" * 64,
            "size_bytes": 5,
            "path": "frames/0.jpg",
            "received_at": 1.0,
        },
        {
            "what": "record",
            "device": DEVICE,
            "kind": "chunk",
            "record_id": "r",
            "chunk_id": "r",
            "received_at": 1.0,
            "body": {},
        },
    ]
    examples = [json.dumps(one).encode() for one in good]

    def run(data: bytes) -> None:
        try:
            record_log.key_of(record_log.parse(shaped(data, examples), where="a test"))
        except DatasetError:
            return

    return run


def _update_files() -> Run:
    """update.json and denied.json, and an updater that starts on them."""
    folder = scratch()
    models = folder / "models"
    models.mkdir()
    save_state(models, State(phase=UpdatePhase.FILES, offered=OFFER, target=OFFER))
    save_denied(models, (Denied("m0", "1" * 64, "it failed"),))
    names = ("update.json", "denied.json")
    good = {name: (models / name).read_bytes() for name in names}

    def run(data: bytes) -> None:
        state = emptied(folder / "state")
        (state / "models").mkdir()
        name = names[data[0] % 2] if data else names[0]
        for one in names:
            (state / "models" / one).write_bytes(good[one])
        (state / "models" / name).write_bytes(shaped(data[1:], [good[name]]))
        load_state(state / "models")
        load_denied(state / "models")
        ports = UpdaterPorts(
            clock=ManualClock(epoch_s=EPOCH_S),
            publish=lambda topic, payload: True,
            selftest=lambda _: [],
            use_model=lambda _, __: None,
        )
        updater = Updater(state, ports, Permission(device=DEVICE), settings=Settings(margin_bytes=0))
        try:
            updater.tick()
            updater.on_offer(messages.encode(OFFER))
            updater.tick()
            updater.state_text()
        finally:
            updater.close()

    return run


def _one_file(name: str, read: Callable[[Path], object], *allowed: type[Exception]) -> Callable[[], Run]:
    """A reader of one file."""

    def make() -> Run:
        folder = scratch()

        def run(data: bytes) -> None:
            (folder / name).write_bytes(data)
            try:
                read(folder)
            except allowed:
                return

        return run

    return make


def _json_file(name: str, good: bytes, read: Callable[[Path], object], *allowed: type[Exception]) -> Callable[[], Run]:
    def make() -> Run:
        inner = _one_file(name, read, *allowed)()
        return lambda data: inner(shaped(data, [good]))

    return make


def _status_example() -> bytes:
    folder = scratch()
    (folder / status.NAME).write_text(json.dumps(messages.to_dict(_a_status())))
    return (folder / status.NAME).read_bytes()


def _a_status() -> status.DeviceStatus:
    values: dict[str, object] = {}
    kinds = {"str": "", "bool": False, "int": 0, "float": 0.0}
    for name, field in status.DeviceStatus.__dataclass_fields__.items():
        if field.default is field.default_factory:  # both missing: it has to be given
            values[name] = kinds[str(field.type)]
    return status.DeviceStatus(**values)  # type: ignore[arg-type]


CLOCK = ManualClock(epoch_s=EPOCH_S)
DEVICE_TOML = b'[device]\nname = "anna"\n[capture]\nfps = 10\n[broker]\naddress = "127.0.0.1:1883"\n'
SERVER_TOML = b'[broker]\naddress = "127.0.0.1:1883"\ntls = false\n[learn]\nsteps = 3\n'
PRESSES = b'{"t_s": 1.0, "action": "flag"}\n{"t_s": 2, "action": "hold"}\n'
TARGETS = (
    Target("outbox", _outboxes, (*(bytes((at,)) + RAW + _sidecar()[1] for at in range(5)), b"\x00\x40\x05\x00\x10",
                                *(bytes((at,)) + DEEP for at in range(3)))),
    Target("unfinished files", _incoming, (b"\x05\x40", b"\xff\x40\x08\x00\x1e", b"\x00" + RAW + b"{}",
                                           b"\x00" + DEEP)),
    Target("dataset rows", _dataset_rows, (b"\x40", b"\x40\x05\x00\x10", RAW + b"{}", DEEP)),
    Target("journal", _journal_lines, (b"\x40", b"\x41", b"\x40\x05\x00\x10", RAW + b"{}", DEEP)),
    Target("update state", _update_files, (b"\x00\x40", b"\x01\x40", b"\x00\x40\x05\x00\x10", b"\x01\x40\x02\x00\x0f",
                                                b"\x00" + DEEP, b"\x01" + DEEP)),
    Target("device settings", _one_file("x.toml", lambda folder: device_config.load(folder / "x.toml"), ConfigError),
           (DEVICE_TOML, b"[voice]\nspeech = 1", b"x = 1", b"x = " + DEEP[1:])),
    Target("server settings", _one_file(server_config.FILE, server_config.load, ConfigError),
           (SERVER_TOML, b"[web]\naddress = 1", b"[x]", b"x = " + DEEP[1:])),
    Target("device status", _json_file(status.NAME, _status_example(), lambda folder: status.read(folder, CLOCK),
                                       MessageError), (b"\x40", b"\x40\x05\x00\x10", RAW + b"{}", DEEP)),
    Target("clock floor", _json_file("floor.json", b'{"format": 1, "floor_utc_s": 1795200000.0}',
                                     lambda folder: ClockFloor(folder, CLOCK).now_s()),
           (b"\x40", b"\x40\x01\x00\x0c", DEEP)),
    Target("presses", _one_file("x.jsonl", lambda folder: Script.load(folder / "x.jsonl"), ConfigError),
           (PRESSES, b"{}", b"[]", DEEP[1:])),
)  # fmt: skip
