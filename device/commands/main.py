"""waycue-device: guide a walk, test the device, or ask how it is doing."""

from __future__ import annotations

from shared.collector import set_aside
from shared.ends import interrupted_quietly, missing_named, unread

with interrupted_quietly(), missing_named(), set_aside():
    import argparse
    import io
    import json
    import logging
    import os
    import sys
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Any

    from rich.console import Console
    from rich.logging import RichHandler

    from device import config as settings
    from device import heap
    from device.agent.parts import AgentPorts, RunOptions
    from device.agent.rounds import Rounds
    from device.boot import agent_version
    from device.commands import as_service, doctor, enrol, install, models, outbox, selftest
    from device.config import Config
    from device.health import status
    from shared import model_card
    from shared.clock import SystemClock
    from shared.ends import ending
    from shared.errors import ConfigError, InUse, MessageError, WaycueError
    from shared.messages import to_dict
    from shared.paths import refuse_overwriting

DEFAULT_CONFIG = Path("/etc/waycue/device.toml")
OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130

DESCRIPTION = """\
Spoken guidance for a walk, from a camera worn on the chest. It complements a cane or a dog and never replaces them.
"""
RUN_EPILOG = """\
examples:
  waycue-device run --source camera:0
  waycue-device run --source replay:walk.mp4 --pace fast --speech walk.wav --exit-at-end
  waycue-device run --source none                                 only sync and update, at home

The server is the one at which this device was enrolled (waycue-device enroll).

keys: space keeps this moment, c begins and ends a spoken correction, d discards it, r repeats, m mutes, s says what the
model sees, a what is ahead, h how the device is, p pauses recording, f forgets the last five minutes,
u opens the set-up by a QR code, q quits.
Ctrl-C ends the walk too; what was flagged is kept.
"""


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="waycue-device", description=DESCRIPTION)
    top.add_argument("--version", action="version", version=f"waycue-device {agent_version()}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = commands.add_parser(
        "run",
        help="guide a walk, live or from a recording",
        epilog=RUN_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _common(run)
    _run_flags(run)
    test = commands.add_parser("selftest", help="check everything that a walk needs, and say what to do")
    _common(test)
    test.add_argument(
        "--only",
        action="append",
        default=[],
        choices=sorted(selftest.CHECKS),
        metavar="CHECK",
        help="one check, repeatable: " + ", ".join(selftest.CHECKS),
    )
    test.add_argument("--json", action="store_true", help="print the findings as JSON")
    where = test.add_mutually_exclusive_group()
    where.add_argument(
        "--as-service", action="store_true", help="as the service: its account and sandbox (root does so by itself)"
    )
    where.add_argument("--by-hand", action="store_true", help="as whoever typed it, without the service's sandbox")
    ask = commands.add_parser("status", help="how the running agent is doing")
    _common(ask)
    ask.add_argument("--json", action="store_true", help="print the status as JSON")
    enrol.add_parsers(commands)
    models.add_parser(commands)
    outbox.add_parsers(commands)
    install.add_parsers(commands)
    doctor.add_parser(commands)
    return top


def _common(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("--config", type=Path, metavar="FILE", help=f"settings (default: {DEFAULT_CONFIG} where it exists)")
    add("--state", metavar="DIR", help="folder for the outbox, models and phrases (device.state)")
    add("--device", metavar="NAME", help="name of this device on the network (device.name)")
    add("--source", metavar="SOURCE", help="replay:FILE, camera:INDEX, picamera2, or none (capture.source)")
    add("--model", metavar="DIR", help="model bundle to use, instead of what the server offers (guidance.model)")
    add("--broker", metavar="HOST:PORT", help="MQTT broker of the server (broker.address)")
    add("--speech", metavar="OUT", help="speakers, none, or a WAV file to write the speech into (voice.speech)")


def _run_flags(run: argparse.ArgumentParser) -> None:
    add = run.add_argument
    add("--pace", choices=("real", "fast"), help="of a replay: as recorded, or as fast as guidance can look")
    add("--film-fps", type=float, metavar="N", help="pictures a second of a replay that has no times in it")
    add("--buttons", metavar="FILE.jsonl", help="presses for a replay, one JSON object a line (buttons.script)")
    add(
        "--allow-demo-model",
        action="store_true",
        default=None,
        help="let a demonstration model guide a real walk: only in a safe place, with a sighted companion",
    )
    add(
        "--allow-trial-model",
        action="store_true",
        default=None,
        help="let a model on trial that --model names guide a real walk: only with a sighted companion",
    )
    add("--report", type=Path, metavar="FILE.json", help="write what was said, flagged and measured, at the end")
    add("--captions", type=Path, metavar="FILE.jsonl", help="append each utterance as a JSON line, at once")
    add("--exit-at-end", action="store_true", help="when a replay is over, sync what is left and exit")
    add("--linger-s", type=_seconds, default=30.0, metavar="N", help="longest time to sync with --exit-at-end (30)")
    add(
        "--update-first-s",
        type=_seconds,
        default=0.0,
        metavar="N",
        help="before the walk, wait at most N seconds for an offered model to be fetched and checked",
    )
    add("--setup", action="store_true", help="look for a QR code at once: another server, another Wi-Fi, a new code")
    add("--quiet", action="store_true", help="no captions in the terminal")
    add("--verbose", action="store_true", help="log what the parts are doing")


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point. Returns the exit status: 0, 1 for failure, 2 for wrong use or settings, 130 for Ctrl-C."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal without Unicode, a name of odd bytes: a sign is lost
            stream.reconfigure(errors="replace")
    try:
        status = _carried_out(parser().parse_args(argv))
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        return unread()
    except InUse as error:  # no slip in the settings: systemd tries again
        return _complain(error, FAILED)
    except ConfigError as error:
        return _complain(error, USAGE)
    except (WaycueError, OSError) as error:
        return _complain(error, FAILED)
    except KeyboardInterrupt:
        print("waycue-device: stopped.", file=sys.stderr)
        return INTERRUPTED


def _carried_out(arguments: argparse.Namespace) -> int:
    if arguments.command in install.COMMANDS:  # these need no settings, or must do with broken ones
        return install.run(arguments)
    if arguments.command == doctor.COMMAND:
        return doctor.run(arguments, SystemClock())
    config = load_config(arguments)
    if arguments.command == models.COMMAND:
        return models.run(config, arguments, SystemClock())
    if arguments.command in enrol.COMMANDS:
        return enrol.run(config, arguments, SystemClock())
    if arguments.command in outbox.COMMANDS:
        return outbox.run(config, arguments, SystemClock())
    commands = {"run": _run, "selftest": _selftest, "status": _status}
    return commands[arguments.command](config, arguments)


def load_config(arguments: argparse.Namespace) -> Config:
    """The settings file with the command line over it. Raises: ConfigError."""
    path = _config_path(arguments)
    return settings.load(path, {dotted: getattr(arguments, name, None) for name, dotted in OVERRIDES.items()})


def _config_path(arguments: argparse.Namespace) -> Path | None:
    path: Path | None = arguments.config
    return DEFAULT_CONFIG if path is None and DEFAULT_CONFIG.exists() else path


OVERRIDES = {
    "state": "device.state",
    "device": "device.name",
    "source": "capture.source",
    "pace": "capture.pace",
    "film_fps": "capture.film_fps",
    "model": "guidance.model",
    "allow_demo_model": "guidance.allow_demo_model",
    "allow_trial_model": "guidance.allow_trial_model",
    "broker": "broker.address",
    "speech": "voice.speech",
    "buttons": "buttons.script",
}


def _check_outputs(config: Config, arguments: argparse.Namespace) -> None:
    """Raises: ConfigError where a file that is read would be written over."""
    speech = None if config.voice.speech in settings.SILENT else Path(config.voice.speech).expanduser()
    played = Path(config.capture.source.partition(":")[2]).expanduser() if settings.is_replay(config) else None
    camera = config.capture.source.partition(":")[2] if config.capture.source.startswith("camera:") else ""
    refuse_overwriting(
        {"--speech": speech, "--report": arguments.report, "--captions": arguments.captions},
        {
            "the recording": played,
            "the camera": Path(camera) if "/" in camera and " ! " not in camera else None,
            "the settings": arguments.config,
            "the presses": Path(config.buttons.script).expanduser() if config.buttons.script else None,
            "the model": Path(config.guidance.model).expanduser() if config.guidance.model else None,
        },
    )


def _run(config: Config, arguments: argparse.Namespace) -> int:
    heap.settle()
    _log_to_terminal(verbose=arguments.verbose)
    _check_outputs(config, arguments)
    rounds = Rounds(
        config,
        RunOptions(
            report=arguments.report,
            captions=arguments.captions,
            exit_at_end=arguments.exit_at_end,
            linger_s=arguments.linger_s,
            update_first_s=arguments.update_first_s,
            setup=arguments.setup,
        ),
        AgentPorts(SystemClock(), console=None if arguments.quiet else PlainConsole()),
    )
    with ending(rounds.stop):
        rounds.run()
    return OK


class PlainConsole(Console):
    """A pipe whose reader is gone must not end a walk: rich would raise SystemExit, in whatever thread prints."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError("nobody reads the captions any more")


def _selftest(config: Config, arguments: argparse.Namespace) -> int:
    if as_service.wanted(asked=arguments.as_service, by_hand=arguments.by_hand):
        findings = as_service.run(_repeated(arguments), only=arguments.only, config=_config_path(arguments))
    else:
        findings = selftest.selftest(config, SystemClock(), only=tuple(arguments.only))
    if arguments.json:
        print(json.dumps(selftest.to_json(findings), indent=1, ensure_ascii=False))
    else:
        for finding in findings:
            print(f"{'ok  ' if finding.ok else 'FAIL'}  {finding.name}: {finding.found}")
            if finding.do and not finding.ok:
                print(f"      → {finding.do}")
    return OK if all(finding.ok for finding in findings) else FAILED


def _repeated(arguments: argparse.Namespace) -> list[str]:
    """The words of this selftest, with the files by their whole paths."""
    words = ["selftest"]
    for name in ("config", "state", "device", "source", "model", "broker", "speech"):
        value = getattr(arguments, name)
        if value is not None:
            whole = name in ("config", "state", "model") and not str(value).startswith("~")
            words += [f"--{name}", os.path.abspath(value) if whole else str(value)]
    return [*words, *(word for check in arguments.only for word in ("--only", check))]


def _status(config: Config, arguments: argparse.Namespace) -> int:
    folder = settings.state_folder(config)
    try:
        current = status.read(folder, SystemClock())
    except MessageError as error:
        return _complain(error, FAILED)
    if arguments.json:
        value: dict[str, Any] = {"running": False} if current is None else {"running": True, **to_dict(current)}
        print(json.dumps(value, indent=1, ensure_ascii=False))
        return OK if current is not None else FAILED
    if current is None:
        print(f"Not running (nothing recent in {folder / status.NAME}).")
        return FAILED
    for line in lines(current):
        print(line)
    return OK


def lines(current: status.DeviceStatus) -> list[str]:
    """A status as a person reads it."""
    size_mb = current.queued_bytes / 1e6
    link = "no broker" if not current.broker else f"{'online' if current.online else 'offline'} ({current.broker})"
    why = [f"offline: {current.offline}"] if current.offline else []
    out = [
        f"{current.device}: running for {current.uptime_s / 60:.0f} min, version {current.agent_version}",
        f"walk: {'yes' if current.walking else 'no'}, {current.walk_s:.0f} s from {current.source}",
        f"guidance: {current.guidance}, {current.looks} looks, last said {current.last_said or 'nothing'!r}",
        f"model: {current.model_version or 'none'} (update: {current.model_state})",
        *status.power_lines(current),
        *model_card.lines(model_card.SightCard(current.sees, current.unseen, current.unknown)),
        f"kept: {current.flagged} records from {current.chunks} chunks, {current.not_kept} lost",
        f"server: {link}, {current.queued} records ({size_mb:.1f} MB) waiting, {current.failed} refused",
    ]
    out += why + [f"waiting: {text}" for text in current.waits]
    return out + [f"trouble: {trouble}" for trouble in current.troubles]


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value < 1e6:
        raise argparse.ArgumentTypeError(f"{text} is no number of seconds")
    return value


def _log_to_terminal(*, verbose: bool) -> None:
    """Log lines go to stderr, so that captions on stdout can be read by a screen reader or another program."""
    handler = RichHandler(console=PlainConsole(stderr=True), show_path=False, rich_tracebacks=False)
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, format="%(message)s", handlers=[handler])


def _complain(error: Exception, code: int) -> int:
    print(f"waycue-device: {error}", file=sys.stderr)
    return code
