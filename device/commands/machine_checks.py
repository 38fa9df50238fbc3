"""The selftest's checks of the machine: sentinel, buttons, recogniser, heat, clock, watchdog, service, libraries.

Each is a check as in device.commands.selftest. What this machine does not have is no fault of it.
"""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import cv2

from device import board, build
from device.commands.check_result import CheckResult, bad, good
from device.config import Config, is_replay, state_folder
from device.health import machine_kind, status
from device.install.plan import SERVICES, UNIT_FOLDER
from device.sync import conditions
from device.transcription.listening import RECOGNISER, listen
from shared.clock import Clock
from shared.errors import ConfigError, MediaError
from shared.floor import ClockFloor

SENTINEL_S = 10.0
DAY_S = 86_400.0
WATCHDOG = Path("/dev/watchdog")
RUNNING = Path("/run/systemd/system")


def check_sentinel(config: Config, clock: Clock) -> CheckResult:
    """The sentinel's own way to the sound card, in a process of its own: a driver may hang."""
    if config.sentinel.when == "never":
        return good("sentinel", "switched off: nobody would say that guidance stopped (sentinel.when)")
    if is_replay(config) or config.voice.speech != "speakers":
        return good("sentinel", "not used")
    output = config.sentinel.output or config.voice.output
    return sentinel_plays((sys.executable, "-m", "device.sentinel.trial", "--output", output))


def sentinel_plays(command: tuple[str, ...]) -> CheckResult:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SENTINEL_S, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        return bad("sentinel", "the sound output hangs", do="Plug the sound card in again, or name another output.")
    if done.returncode != 0:
        said = [line.partition(": ")[2] for line in done.stderr.splitlines() if line.startswith("waycue-sentinel: ")]
        why = said[-1] if said else f"exit status {done.returncode}"
        return bad("sentinel", f"it cannot be heard: {why}", do="Name an ALSA output: sentinel.output (aplay -L).")
    return good("sentinel", "played three rising notes by its own way; did you hear them?")


def check_buttons(config: Config, clock: Clock) -> CheckResult:
    """Every button of the settings can be used. Keys of a terminal are no part of this."""
    running = status.read(state_folder(config), clock)
    wanted = [*build.pins(config, clock), *build.inputs(config, clock), *build.switches(config)]
    if not wanted:
        return good("buttons", "none are set")
    if running is not None:
        troubles = [trouble for trouble in running.troubles if "utton" in trouble]
        held = "the running agent has them"
        return bad("buttons", f"{held}: {troubles[0]}", do="See its log.") if troubles else good("buttons", held)
    for button in wanted:
        try:
            button.open()
        finally:
            button.close()
    return good("buttons", f"{len(wanted)} can be used; press them during a walk")


def check_transcription(config: Config, clock: Clock) -> CheckResult:
    """The recogniser of corrections is there, and loads in a process like the one of a walk."""
    plan = build.listen_plan(config)
    if plan is None:
        return good("transcription", "left to the server (corrections.transcribe)")
    try:
        plan.check()
        used = listen(b"", plan, clock, may_go_on=lambda: True)
    except (ConfigError, MediaError) as error:
        found = f"corrections would wait for the server: {Exception.__str__(error)}"
        return bad("transcription", found, do=error.hint or "See docs/settings.md, corrections.")
    assert used is not None
    spent = f"{used.processor_s:.1f} s of processor time, {used.memory_mb:.0f} MB"
    return good("transcription", f"{RECOGNISER} is loaded for {plan.language}: {spent}")


def check_heat(config: Config, clock: Clock) -> CheckResult:
    """The board is cool enough to guide, and its firmware does not slow it down."""
    found = conditions.look(board.THERMAL, board.run)
    if found.throttled:
        return bad("heat", "the firmware slows the board down", do="Give it a cooler, air and a stronger supply.")
    if found.heat_c is None:
        return good("heat", "the board does not tell")
    told = f"{found.heat_c:.0f} °C"
    if found.heat_c >= config.sync.too_hot_c:
        return bad("heat", told, do="Give it air or a cooler: it will be slowed down.")
    return good("heat", told)


def check_clock(config: Config, clock: Clock) -> CheckResult:
    """A clock that is behind what was signed takes no updates at the right time; guidance does not need it."""
    floor_s = ClockFloor(state_folder(config), clock).floor_s()
    now_s = clock.utc_s()
    told = f"{datetime.fromtimestamp(now_s, UTC):%Y-%m-%d %H:%M} UTC"
    if now_s < floor_s:
        late = f"{told}, {(floor_s - now_s) / DAY_S:.1f} days behind what is certain"
        return bad("clock", late, do="Bring it online: systemd-timesyncd sets the clock. Guidance works without.")
    return good("clock", told)


def check_watchdog(config: Config, clock: Clock) -> CheckResult:
    """The board starts again by itself when its kernel hangs."""
    if not WATCHDOG.exists():
        return good("watchdog", "this machine has none")
    if not RUNNING.is_dir():
        return good("watchdog", "not asked: systemd does not run here")
    said = board.run(("systemctl", "show", "--property=RuntimeWatchdogUSec", "--value")).strip()
    if said in ("", "0", "infinity"):
        return bad("watchdog", "it is off", do="Switch it on: sudo waycue-device install.")
    return good("watchdog", f"the board starts again after {said} of a hang")


def check_service(config: Config, clock: Clock) -> CheckResult:
    """What `install` made starts at boot: a device that is switched on and stays silent has no other sign of it."""
    return service_found(Path(UNIT_FOLDER))


def service_found(folder: Path) -> CheckResult:
    """folder: of the units. Told by its links, as systemd is."""
    for name in SERVICES:
        unit = folder / name
        if unit.is_symlink() and unit.resolve() == Path("/dev/null"):
            return bad("service", f"{name} is masked: it never starts", do=f"sudo systemctl unmask {name}")
    here = [name for name in SERVICES if (folder / name).exists()]
    if not here:
        return good("service", "not installed here (waycue-device install): nothing starts at boot by itself")
    off = [name for name in SERVICES if not any(folder.glob(f"*.wants/{name}"))]
    if off:
        return bad("service", f"{off[0]} does not start at boot", do="Switch it on: sudo waycue-device install.")
    return good("service", "starts at boot")


def check_libraries(config: Config, clock: Clock) -> CheckResult:
    """Libraries that came in a build without what the settings need: pip's on a Jetson."""
    found = {name: _version(name) for name in ("onnxruntime", "onnxruntime-gpu")}
    installed = {name: number for name, number in found.items() if number}
    gstreamer = has_gstreamer(cv2.getBuildInformation())
    trouble = library_trouble(config, has_gstreamer=gstreamer, installed=frozenset(installed))
    if trouble is not None:
        return trouble
    runtime = ", ".join(f"{name} {number}" for name, number in installed.items())
    return good("libraries", f"{runtime}, OpenCV {cv2.__version__}, {_python()}")


def library_trouble(config: Config, *, has_gstreamer: bool, installed: frozenset[str]) -> CheckResult | None:
    """Pure. installed: distributions that own the module onnxruntime."""
    if len(installed) > 1:
        return bad(
            "libraries",
            "onnxruntime and onnxruntime-gpu are both installed, and one has written over the other",
            do="pip uninstall both, then install NVIDIA's alone, and waycue with the extra [device-jetson].",
        )
    if " ! " in config.capture.source and not has_gstreamer:
        return bad(
            "libraries",
            "this OpenCV was built without GStreamer, and capture.source is a pipeline",
            do="Build one: docs/operations.md, a Jetson. Or name a USB camera: camera:0.",
        )
    return None


def has_gstreamer(build_information: str) -> bool:
    """build_information: cv2.getBuildInformation()"""
    lines = (line.strip() for line in build_information.splitlines())
    return any(line.startswith("GStreamer:") and "YES" in line for line in lines)


def _version(name: str) -> str:
    """ "" = it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _python() -> str:
    return f"Python {sys.version_info.major}.{sys.version_info.minor} on {machine_kind.this_machine()}"
