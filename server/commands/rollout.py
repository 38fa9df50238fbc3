"""`waycue-server rollout`: a new version for some devices first, for all when it has proven itself, or for none."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict

from server.commands import rollout_result
from server.commands.opening import opened, when
from server.releases import days
from server.releases.registry import Registry
from server.releases.rollout_requests import ERROR_SHARE, MISSING_AFTER_S, RolloutRequest
from server.releases.rollout_rules import Rollout, RolloutState, UpdateOutcome
from server.releases.rollouts import RolloutProgress, Rollouts

_HOUR_S = 3600.0


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its actions."""
    parser = commands.add_parser(
        "rollout",
        help="offer a version to one device, a cohort, a share of all, or all",
        description="Devices that no running rollout covers are offered the champion (see `models`). A running server "
        "acts within a second, and halts a rollout by itself once too many devices failed or fell silent.",
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    _add_start(actions.add_parser("start", help="offer a version to some devices"))
    status = actions.add_parser("status", help="how far each rollout has come, on which devices")
    status.add_argument("--json", action="store_true", help="print everything as JSON")
    status.set_defaults(run=_status)
    rollout_result.add_parser(actions)
    advance = actions.add_parser("advance", help="to the next stage: 10 %% of all devices, then all")
    halt = actions.add_parser("halt", help="take it back: its devices are offered what they had before")
    finish = actions.add_parser("finish", help="make its version the champion")
    for action, run in ((advance, _advance), (halt, _halt), (finish, _finish)):
        action.add_argument("version", nargs="?", help="which one, where several run")
        action.set_defaults(run=run)
    step = advance.add_mutually_exclusive_group()
    step.add_argument("--percent", type=int, metavar="N", help="to this share instead")
    step.add_argument("--all", action="store_const", const=100, dest="percent", help="to every device")
    advance.add_argument("--force", action="store_true", help="also where no device has proven it, or some failed")
    for action in (advance, halt, finish):
        _add_why(action)


def _add_start(start: argparse.ArgumentParser) -> None:
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
    start.add_argument(
        "--days",
        type=int,
        default=0,
        metavar="N",
        help="A/B: its devices run it on N %% of their wearers' days, drawn by a hash, and the champion on the others",
    )
    start.add_argument(
        "--day-begins", type=int, default=days.BEGINS_H, metavar="H", help=f"with --days: hour in UTC ({days.BEGINS_H})"
    )
    hours = MISSING_AFTER_S / _HOUR_S
    start.add_argument(
        "--missing-after-h",
        type=_hours,
        default=hours,
        metavar="H",
        help=f"hours without a result after which a device counts as silent ({hours:g})",
    )
    _add_why(start)
    start.set_defaults(run=_start)


def _add_why(action: argparse.ArgumentParser) -> None:
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
    request = RolloutRequest(
        options.version,
        options.percent,
        options.device,
        options.cohort,
        options.error_share,
        options.missing_after_h * _HOUR_S,
        options.supervised,
        options.companion,
        options.why,
        options.days,
        options.day_begins,
    )
    with _rollouts(options) as rollouts:
        rollout = rollouts.start(request)
    print(f"Rollout {rollout.id}: {rollout.version} is offered to {_recipients(rollout)}{_supervision(rollout)}.")
    if rollout.supervised:
        print(f"It is on trial, and says so at every start of a walk. Take it back: rollout halt {rollout.version}")
    return 0


def _advance(options: argparse.Namespace) -> int:
    with _rollouts(options) as rollouts:
        rollout = rollouts.advance(options.version, percent=options.percent, force=options.force, why=options.why)
    print(f"{rollout.version} is offered to {_recipients(rollout)} now.")
    return 0


def _halt(options: argparse.Namespace) -> int:
    with _rollouts(options) as rollouts:
        rollout = rollouts.halt(options.version, why=options.why)
    print(f"{rollout.version} is halted: its devices are offered what they would run without it.")
    return 0


def _finish(options: argparse.Namespace) -> int:
    with _rollouts(options) as rollouts:
        rollout = rollouts.finish(options.version, why=options.why)
    print(f"{rollout.version} is the champion: every device is offered it.")
    return 0


def _status(options: argparse.Namespace) -> int:
    with _rollouts(options) as rollouts:
        statuses, changes = rollouts.status(), rollouts.log()
    if options.json:
        value = {"rollouts": [_to_json(status) for status in statuses], "log": [asdict(change) for change in changes]}
        print(json.dumps(value, indent=1, ensure_ascii=False))
    else:
        print("\n".join(describe(statuses)))
    return 0


def _to_json(status: RolloutProgress) -> dict[str, object]:
    outcomes = [asdict(outcome) for outcome in status.outcomes]
    return {**asdict(status.rollout), "tally": asdict(status.counts), "outcomes": outcomes}


def describe(statuses: Sequence[RolloutProgress]) -> Iterable[str]:
    """The rollouts in words, a line each. Pure."""
    if not statuses:
        yield "No rollouts yet. Begin one with: waycue-server rollout start VERSION --device NAME"
    for status in statuses:
        rollout, counts = status.rollout, status.counts
        why = f": {rollout.why}" if rollout.why and rollout.state != RolloutState.RUNNING else ""
        yield f"{rollout.version}  {rollout.state} since {when(rollout.changed_utc)}{why}"
        allowed = f"at most {rollout.error_share:.0%} may go wrong"
        yield f"  for {_recipients(rollout)}{_supervision(rollout)}; {allowed}"
        yield (
            f"  {counts.covered} devices so far: {counts.proven} proven, {counts.failed} failed, {counts.missing} "
            f"silent, {counts.waiting} waiting"
        )
        for entry in status.outcomes:
            if entry.outcome in (UpdateOutcome.FAILED, UpdateOutcome.MISSING):
                yield f"  {entry.device}: {entry.outcome}, {entry.reason}"


def _supervision(rollout: Rollout) -> str:
    return f", supervised, with {rollout.companion}" if rollout.supervised else ""


def _recipients(rollout: Rollout) -> str:
    on_days = f"{rollout.days_percent} % of the wearer-days of " if rollout.days_percent else ""
    share = "every device" if rollout.percent == 100 else f"{rollout.percent} % of all devices"
    parts = [share if rollout.percent else "", ", ".join(rollout.devices)]
    return on_days + " and ".join(filter(None, [*parts, f"the cohort {rollout.cohort}" if rollout.cohort else ""]))
