"""`waycue-device selftest`: is everything there that a walk needs? Each check says what it found and what to do.

Nothing here needs a running agent; checks that would take a device away from one say so instead.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from device.agent.said import announcements
from device.capture.live import LiveSource
from device.capture.microphone import microphone_plan
from device.capture.open import open_source
from device.capture.source import SoundBlock, Source, VideoFrame
from device.commands import machine_checks, sound_check
from device.commands.check_result import CheckResult
from device.commands.check_result import bad as _bad
from device.commands.check_result import good as _ok
from device.config import Config, is_replay, spoken_language, state_folder
from device.health import status
from device.identity.admission import Admission
from device.outbox.outbox import peek
from device.sync.connection import Connection
from device.updates.permission import Permission, settings_allow
from device.updates.updater import current_slot
from device.voice.espeak import Espeak
from shared import atomic, bundle, lens, topics
from shared.clock import Clock
from shared.errors import Unreachable, WaycueError
from shared.lens import LensTrouble
from shared.runtime import check_golden

CAMERA_S = 8.0
SOUND_S = 5.0
BROKER_S = 5.0
READ_S = 0.2
EXPOSED_S = 2.0
LEAST_FREE_BYTES = 512 * 1024**2  # a day of flagged chunks and one model
LOG_HINT = "See its log: journalctl -u waycue-device."
ANGLES_DIFFER_DEG = 3.0  # 5 % of a distance
MOST_SURE = 0.98  # a threshold above it silences what it is about
LENS_SAID = {
    LensTrouble.DARK: "black",
    LensTrouble.FLAT: "blank",
    LensTrouble.COVERED: "all out of focus",
    LensTrouble.BRIGHT: "overexposed",
    LensTrouble.FROZEN: "frozen",
}


Check = Callable[[Config, Clock], CheckResult]
Item = VideoFrame | SoundBlock


def selftest(config: Config, clock: Clock, *, only: tuple[str, ...] = ()) -> list[CheckResult]:
    """Run the checks, all or those named. Raises nothing."""
    return [_guarded(name, check, config, clock) for name, check in CHECKS.items() if not only or name in only]


def to_json(findings: list[CheckResult]) -> dict[str, Any]:
    return {"ok": all(finding.ok for finding in findings), "checks": [asdict(finding) for finding in findings]}


def _guarded(name: str, check: Check, config: Config, clock: Clock) -> CheckResult:
    try:
        return check(config, clock)
    except WaycueError as error:
        return _bad(name, Exception.__str__(error), do=error.hint)
    except OSError as error:
        return _bad(name, f"{error}", do="Check the path and its permissions.")


def check_camera(config: Config, clock: Clock) -> CheckResult:
    """A picture that shows something."""
    if config.capture.source == "none":
        return _bad("camera", "no walk is guided: capture.source is none", do="Name one: camera:0 or picamera2.")
    frame = _first(config, clock, _ShowsSomething(clock), microphone="none", timeout_s=CAMERA_S)
    if not isinstance(frame, VideoFrame):
        return _bad("camera", f"no picture within {CAMERA_S:.0f} s", do="Check the cable and replug it.")
    height, width = frame.image.shape[:2]
    trouble = lens.trouble(lens.view(frame.image))
    if trouble is not None:
        return _bad("camera", f"{width}×{height}, but {LENS_SAID[trouble]}", do="Is something over the lens?")
    return _ok("camera", f"{config.capture.source}, {width}×{height}, {_sees(config, frame)}")


class _ShowsSomething:
    """Of a picture: it shows something, or nothing has for EXPOSED_S: a camera's first ones are dark until its exposure
    has settled."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until_s: float | None = None

    def __call__(self, item: Item) -> bool:
        if not isinstance(item, VideoFrame):
            return False
        now_s = self._clock.monotonic_s()
        self._until_s = now_s + EXPOSED_S if self._until_s is None else self._until_s
        return now_s >= self._until_s or lens.trouble(lens.view(item.image)) is None


def _is_sound(item: Item) -> bool:
    return isinstance(item, SoundBlock)


def _sees(config: Config, frame: VideoFrame) -> str:
    """The angle by which distances are told, and who says so."""
    told, by_hand = frame.fov_deg, config.capture.camera_fov_deg
    angle = f"sees {config.capture.camera_that_sees(told).fov_deg:g} degrees"
    if by_hand is not None and told is not None and abs(by_hand - told) > ANGLES_DIFFER_DEG:
        return f"{angle} as capture.camera_fov_deg says, but the camera itself says {told:g}: leave that setting out"
    if by_hand is None and told is None and not is_replay(config):
        return f"taken for one that {angle}: measure it and set capture.camera_fov_deg"
    return angle


def check_microphone(config: Config, clock: Clock) -> CheckResult:
    """Sound that is not all zeros."""
    capture = config.capture
    if capture.microphone in ("", "none"):
        return _ok("microphone", "not used")
    if is_replay(config):
        block = _first(config, clock, _is_sound, microphone="none", timeout_s=SOUND_S)
        return _ok("microphone", "the recording has no sound" if block is None else "the recording has sound")
    block = _first_of(LiveSource(microphone_plan(capture.microphone)), _is_sound, clock, timeout_s=SOUND_S)
    if not isinstance(block, SoundBlock):
        return _bad("microphone", f"no sound within {SOUND_S:.0f} s", do="Choose another: capture.microphone.")
    if not np.any(block.samples):
        return _bad("microphone", "only silence", do="Is it muted, or another one meant (capture.microphone)?")
    return _ok("microphone", "hears something")


def check_speech(config: Config, clock: Clock) -> CheckResult:
    """The speech program and its voice."""
    if config.voice.speech == "none" and is_replay(config):
        return _ok("speech", "not used (voice.speech is none)")
    _, voice = spoken_language(config)
    program = Espeak(voice=voice).check()
    return _ok("speech", f"{program}, voice {voice}")


def check_language(config: Config, clock: Clock) -> CheckResult:
    """Every text has words in the wearer's language."""
    language, _ = spoken_language(config)
    missing = language.missing(announcements())
    if missing:
        found = f"{language.name}: {len(missing)} texts would be spoken in English"
        return _bad("language", found, do="; ".join(missing))
    return _ok("language", f"{language.name} ({language.code}), every text has its words")


def check_speaker(config: Config, clock: Clock) -> CheckResult:
    """The sound output takes a short sound, which the wearer should hear."""
    return CheckResult("speaker", *sound_check.speaker(config, clock))


def check_tactile(config: Config, clock: Clock) -> CheckResult:
    """The motors take a warning, which the wearer should feel."""
    return CheckResult("tactile", *sound_check.tactile(config, clock))


def check_model(config: Config, clock: Clock) -> CheckResult:
    """The model in use is whole and passes its own golden chunks."""
    folder = Path(config.guidance.model).expanduser() if config.guidance.model else current_slot(state_folder(config))
    if folder is None:
        return CheckResult(
            "model",
            ok=False,
            found="none on this device",
            do="Offer one: waycue-server rollout start VERSION --device NAME.",
        )
    deaf = [name for name in ("hazard_above", "speak_above") if (getattr(config.guidance, name) or 0.0) > MOST_SURE]
    if deaf:
        return _bad("model", f"no model is so sure: guidance.{deaf[0]}", do="Leave it out: each model brings its own.")
    wrong = check_golden(folder, execution=config.guidance.execution)
    manifest = bundle.read_manifest(folder)
    if wrong:
        return _bad("model", f"{manifest.version}: {'; '.join(wrong)}", do="Offer another version.")
    admission = Admission.of(config, state_folder(config), clock)
    offered = Permission.of(config, admission.trust(state_folder(config)), admission.device)
    (Permission(settings_allow(config)) if config.guidance.model else offered).check(manifest)
    return _ok("model", f"{manifest.version}, {manifest.size_bytes / 1e6:.1f} MB, passes its own test")


def check_broker(config: Config, clock: Clock) -> CheckResult:
    """The broker accepts a connection and a subscription, without putting out a running agent."""
    admission = Admission.of(config, state_folder(config), clock)
    if admission.trouble:
        return _bad("broker", admission.trouble, do="See docs/operations.md, enrolment.")
    if not admission.address:
        return _ok("broker", "not used (not enrolled, and broker.address is empty)")
    running = status.read(state_folder(config), clock)
    if admission.identity is not None and running is not None:  # with TLS there is one connection per certificate
        text = f"the running agent is {'online' if running.online else 'offline'} at {admission.address}"
        return _ok("broker", text) if running.online else _bad("broker", text, do=LOG_HINT)
    name = admission.device if admission.context is not None else f"{admission.device[:23]}-selftest"
    return _tried(admission, name, clock)


def _tried(admission: Admission, name: str, clock: Clock) -> CheckResult:
    host, port = admission.place
    connection = Connection(
        name,
        listen=topics.down(name),
        will=(topics.status(name), b""),
        on_message=lambda topic, payload: None,
        tls=admission.context,
    )
    try:
        connection.open(host, port)
        until_s = clock.monotonic_s() + BROKER_S
        while not connection.subscribed and clock.monotonic_s() < until_s and connection.exchange(READ_S):
            pass
        if connection.subscribed:
            connection.disconnect()
            return _ok(
                "broker", f"{host}:{port} answers{'' if admission.context is None else ', and knows this device'}"
            )
    except Unreachable as error:
        return _bad("broker", str(error), do="Is the server on, and on the same network? Guidance works without it.")
    finally:
        connection.close()
    return _bad("broker", f"{host}:{port} says: {connection.refusal or 'nothing'}", do="Check its log.")


def check_disk(config: Config, clock: Clock) -> CheckResult:
    """The state folder can be written durably and has room."""
    folder = state_folder(config)
    atomic.make_dirs(folder)
    probe = folder / ".selftest"
    atomic.write_bytes(probe, os.urandom(4096))
    probe.unlink()
    free = shutil.disk_usage(folder).free
    waiting = peek(folder / "outbox") if (folder / "outbox").is_dir() else None
    text = "" if waiting is None or not waiting.queued else f", {waiting.queued} records wait for the server"
    if free < LEAST_FREE_BYTES:
        return CheckResult(
            "disk",
            ok=False,
            found=f"{free / 1e6:.0f} MB free in {folder}{text}",
            do="Sync with the server, or make room.",
        )
    return _ok("disk", f"{free / 1e9:.1f} GB free in {folder}{text}")


CHECKS: dict[str, Check] = {
    "camera": check_camera,
    "microphone": check_microphone,
    "speech": check_speech,
    "language": check_language,
    "speaker": check_speaker,
    "tactile": check_tactile,
    "sentinel": machine_checks.check_sentinel,
    "buttons": machine_checks.check_buttons,
    "transcription": machine_checks.check_transcription,
    "model": check_model,
    "broker": check_broker,
    "disk": check_disk,
    "heat": machine_checks.check_heat,
    "clock": machine_checks.check_clock,
    "watchdog": machine_checks.check_watchdog,
    "service": machine_checks.check_service,
    "libraries": machine_checks.check_libraries,
}


def _first(
    config: Config, clock: Clock, wanted: Callable[[Item], bool], *, microphone: str, timeout_s: float
) -> Item | None:
    """The first wanted item that the source gives. Raises: WaycueError."""
    source = open_source(replace(config.capture, pace="real", microphone=microphone), clock=clock)
    return _first_of(source, wanted, clock, timeout_s=timeout_s)


def _first_of(source: Source, wanted: Callable[[Item], bool], clock: Clock, *, timeout_s: float) -> Item | None:
    try:
        source.open()
        until_s = clock.monotonic_s() + timeout_s
        while clock.monotonic_s() < until_s and not source.ended:
            item = source.read(READ_S)
            if item is not None and wanted(item):
                return item
        return None
    finally:
        source.close()
