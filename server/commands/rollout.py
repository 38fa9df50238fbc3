"""`waycue-server rollout`: a new version for some devices first, for all when it has proven itself, or for none."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict

from server.commands.opening import opened, when
from server.releases.registry import Registry
from server.releases.rollout_rules import FAILED, MISSING, RUNNING, Rollout
from server.releases.rollouts import ERROR_SHARE, MISSING_AFTER_S, Progress, Rollouts

_HOUR_S = 3600.0


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command and its actions."""
    parser = commands.add_parser(
        "rollout",
        help="offer a version to one device, a cohort, a share of all, or all",
        description="Devices that no running rollout covers are offered the champion (see `models`). A running server "
        "acts within a second, and halts a rollout by itself once too many devices failed or fell silent.",
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    start = actions.add_parser("start", help="offer a version to some devices")
    start.add_argument("version", help="a version of `models list`")
    start.add_argument("--device", action="append", default=[], metavar="NAME", help="this device; repeatable")
    start.add_argument("--cohort", default="", metavar="NAME", help="the devices of a cohort (see `devices add`)")
    share = start.add_mutually_exclusive_group()
    share.add_argument("--percent", type=int, default=0, metavar="N", help="this share of all devices, drawn for good")
    share.add_argument("--all", action="store_const", const=100, dest="percent", help="every device")
    start.add_argument(
        "--error-share",
        type=_share,
        default=ERROR_SHARE,
        metavar="X",
        help=f"share of its devices that may fail or fall silent, 0 to 1 ({ERROR_SHARE:g})",
    )
    start.add_argument(
        "--supervised",
        action="store_true",
        help="a version on trial, for wearers who walk with a sighted companion; needs --device",
    )
    start.add_argument("--companion", default="", metavar="TEXT", help="with --supervised: who walks along")
    hours = MISSING_AFTER_S / _HOUR_S
    start.add_argument(
        "--missing-after-h",
        type=_hours,
        default=hours,
        metavar="H",
        help=f"hours without a result after which a device counts as silent ({hours:g})",
    )
    _why(start)
    start.set_defaults(run=_start)
    status = actions.add_parser("status", help="how far each rollout has come, on which devices")
    status.add_argument("--json", action="store_true", help="print everything as JSON")
    status.set_defaults(run=_status)
    advance = actions.add_parser("advance", help="to the next stage: 10 %% of all devices, then all")
    _version(advance)
    step = advance.add_mutually_exclusive_group()
    step.add_argument("--percent", type=int, metavar="N", help="to this share instead")
    step.add_argument("--all", action="store_const", const=100, dest="percent", help="to every device")
    advance.add_argument("--force", action="store_true", help="also where no device has proven it, or some failed")
    _why(advance)
    advance.set_defaults(run=_advance)
    halt = actions.add_parser("halt", help="take it back: its devices are offered what they had before")
    _version(halt)
    _why(halt)
    halt.set_defaults(run=_halt)
    finish = actions.add_parser("finish", help="make its version the champion")
    _version(finish)
    _why(finish)
    finish.set_defaults(run=_finish)


def _version(action: argparse.ArgumentParser) -> None:
    action.add_argument("version", nargs="?", default="", help="which one, where several run")


def _why(action: argparse.ArgumentParser) -> None:
    action.add_argument("--why", default="", metavar="TEXT", help="reason for the audit log")


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is no share from 0 to 1")
    return value


def _hours(text: str) -> float:
    value = float(text)
    if not 0 < value <= 24 * 365:
        raise argparse.ArgumentTypeError(f"{text} is no number of hours")
    return value


@contextmanager
def _rollouts(options: argparse.Namespace) -> Iterator[Rollouts]:
    with opened(options.home) as (store, _dataset):
        yield Rollouts(Registry(options.home, store=store))


def _start(options: argparse.Namespace) -> int:
    with _rollouts(options) as rollouts:
        started = rollouts.start(
            options.version,
            percent=options.percent,
            devices=options.device,
            cohort=options.cohort,
            error_share=options.error_share,
            missing_after_s=options.missing_after_h * _HOUR_S,
            why=options.why,
            supervised=options.supervised,
            companion=options.companion,
        )
    to = who(started.percent, started.devices, started.cohort)
    print(f"Rollout {started.id}: {started.version} is offered to {to}{_with(started)}.")
    if started.supervised:
        print(f"It is on trial, and says so at every start of a walk. Take it back: rollout halt {started.version}")
    return 0


def _advance(options: argparse.Namespace) -> int:
    with _rollouts(options) as rollouts:
        found = rollouts.advance(options.version, percent=options.percent, force=options.force, why=options.why)
    print(f"{found.version} is offered to {who(found.percent, found.devices, found.cohort)} now.")
    return 0


def _halt(options: argparse.Namespace) -> int:
    with _rollouts(options) as rollouts:
        found = rollouts.halt(options.version, why=options.why)
    print(f"{found.version} is halted: its devices are offered what they would run without it.")
    return 0


def _finish(options: argparse.Namespace) -> int:
    with _rollouts(options) as rollouts:
        found = rollouts.finish(options.version, why=options.why)
    print(f"{found.version} is the champion: every device is offered it.")
    return 0


def _status(options: argparse.Namespace) -> int:
    with _rollouts(options) as rollouts:
        found, changes = rollouts.status(), rollouts.log()
    if options.json:
        value = {"rollouts": [_as_json(one) for one in found], "log": [asdict(change) for change in changes]}
        print(json.dumps(value, indent=1, ensure_ascii=False))
    else:
        print("\n".join(told(found)))
    return 0


def _as_json(progress: Progress) -> dict[str, object]:
    outcomes = [asdict(one) for one in progress.outcomes]
    return {**asdict(progress.rollout), "tally": asdict(progress.tally), "outcomes": outcomes}


def told(found: Iterable[Progress]) -> Iterable[str]:
    """The rollouts in words. Pure."""
    none = True
    for progress in found:
        none = False
        rollout, tally = progress.rollout, progress.tally
        why = f": {rollout.why}" if rollout.why and rollout.state != RUNNING else ""
        yield f"{rollout.version}  {rollout.state} since {when(rollout.changed_utc)}{why}"
        to = who(rollout.percent, rollout.devices, rollout.cohort)
        yield f"  for {to}{_with(rollout)}; at most {rollout.error_share:.0%} may go wrong"
        yield (
            f"  {tally.covered} devices so far: {tally.proven} proven, {tally.failed} failed, {tally.missing} silent, "
            f"{tally.waiting} waiting"
        )
        for one in progress.outcomes:
            if one.outcome in (FAILED, MISSING):
                yield f"  {one.device}: {one.outcome}, {one.reason}"
    if none:
        yield "No rollouts yet. Begin one with: waycue-server rollout start VERSION --device NAME"


def _with(rollout: Rollout) -> str:
    return f", supervised, with {rollout.companion}" if rollout.supervised else ""


def who(percent: int, devices: Iterable[str], cohort: str) -> str:
    """The devices that a rollout is for, in words."""
    named = ["every device" if percent == 100 else f"{percent} % of all devices"] if percent else []
    named += [", ".join(devices)] if devices else []
    return " and ".join([*named, *([f"the cohort {cohort}"] if cohort else [])])
