"""`waycue-server keys`: those that sign releases, and the one that moments are sealed to: state, and replacing them."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from server.commands.opening import when
from shared.clock import SystemClock

if TYPE_CHECKING:
    from server.releases.signing import Release, RoleStatus

OK, UNWELL = 0, 1
_DAY_S = 86_400.0
_ROTATED = ("targets", "snapshot", "timestamp", "root")


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its actions."""
    keys = commands.add_parser(
        "keys",
        help="the keys that sign model releases, and the one that moments are sealed to: status, refresh, rotate",
        description="Devices run only what these keys signed. The root key says which of the others count: keep it "
        "away from this machine (docs/operations.md). Devices encrypt moments to the sealing key.",
    )
    actions = keys.add_subparsers(dest="action", required=True, metavar="ACTION")
    status = actions.add_parser("status", help="each key, where it is and when its signatures end; exit 1 if unwell")
    status.add_argument("--json", action="store_true", help="print it as JSON")
    status.set_defaults(run=_status)
    refresh = actions.add_parser("refresh", help="sign the releases anew now; a running server does so by itself")
    refresh.set_defaults(run=_refresh)
    rotate = actions.add_parser("rotate", help="replace keys: after a break-in, or when one was lost")
    rotate.add_argument(
        "roles", nargs="+", choices=_ROTATED, metavar="ROLE", help=f"which: {', '.join(_ROTATED[:-1])} or root"
    )
    _root_key(rotate)
    rotate.set_defaults(run=_rotate)
    renew = actions.add_parser("renew-root", help="sign the root for another three years")
    _root_key(renew)
    renew.set_defaults(run=_renew_root)
    sealing = actions.add_parser(
        "rotate-sealing",
        help="a new key that devices encrypt moments to; older ones go on opening",
        description="Devices that are connected learn of it when they connect next. Keep the older keys in ca/ and in "
        "the backup for as long as a device may hold what was encrypted to them.",
    )
    sealing.set_defaults(run=_rotate_sealing)


def _root_key(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--root-key", type=Path, required=True, metavar="FILE", help="the root key in force, e.g. on a USB stick"
    )


def _status(options: argparse.Namespace) -> int:
    roles, now_s = _open(options.home).status(), SystemClock().utc_s()
    unwell, advice = list(problems(roles, now_s)), list(_advice(roles, options.home))
    sealing = _sealing(options.home)
    if options.json:
        value = {"well": not unwell, "problems": unwell, "advice": advice, "roles": [asdict(role) for role in roles]}
        print(json.dumps({**value, "sealing": None if sealing is None else asdict(sealing)}, indent=1))
    else:
        print("\n".join([*_describe(roles, now_s), *_describe_sealing(sealing), *unwell, *advice]))
    return UNWELL if unwell else OK


def problems(roles: Sequence[RoleStatus], now_s: float) -> Iterable[str]:
    """What stops updates now or soon. Pure."""
    from server.releases.signing import WARN_DAYS

    for role in roles:
        left_days = (role.expires_utc_s - now_s) / _DAY_S
        if left_days <= 0:
            yield f"{role.role} has ended: devices take no update until it is signed anew."
        elif role.role == "root" and left_days < WARN_DAYS:
            yield f"root ends in {left_days:.0f} days. Run: waycue-server keys renew-root --root-key FILE"
        if not role.key_here and role.role != "root":
            yield f"The {role.role} key is missing. Bring it back, or: waycue-server keys rotate {role.role}"


def _advice(roles: Sequence[RoleStatus], home: Path) -> Iterable[str]:
    if any(role.role == "root" and role.key_here for role in roles):
        yield f"The root key is still on this machine: move {home / 'root-key'} to a USB stick, then delete it here."


def _describe(roles: Iterable[RoleStatus], now_s: float) -> Iterable[str]:
    for role in roles:
        left_days = (role.expires_utc_s - now_s) / _DAY_S
        place = "key here" if role.key_here else "key not here"
        ends = f"ends {when(role.expires_utc_s)} (in {left_days:.0f} days)"
        yield f"{role.role:<10} {role.keyid}  {place:<12}  version {role.version:<11} {ends}"


@dataclass(frozen=True, slots=True)
class SealingStatus:
    """The key that devices encrypt moments to."""

    key_id: str
    since_utc_s: float
    older: list[str]
    """Ids of the keys before it, which open what was encrypted to them."""


def _sealing(home: Path) -> SealingStatus | None:
    """None where none was made yet: to look makes none. Raises: ConfigError for a key that cannot be used."""
    from server.identity import sealing_key
    from server.identity.authority import Authority

    if not sealing_key.exists(home):
        return None
    authority = Authority(home, clock=SystemClock())
    newest = sealing_key.SealingKey.of(authority)
    return SealingStatus(newest.key_id, newest.since_utc_s, sealing_key.older(authority))


def _describe_sealing(sealing: SealingStatus | None) -> Iterable[str]:
    if sealing is not None:
        yield f"sealing    {sealing.key_id}  since {when(sealing.since_utc_s)}; older keys kept: {len(sealing.older)}"


def _rotate_sealing(options: argparse.Namespace) -> int:
    from server import config
    from server.identity import sealing_key
    from server.identity.authority import Authority

    config.load(options.home)
    authority = Authority(options.home, clock=SystemClock())
    made = sealing_key.rotate(authority)
    print(f"Devices encrypt to the key {made.key_id} once they have heard of it: when they connect next.")
    print(f"Older keys kept in {authority.folder}: {', '.join(sealing_key.older(authority))}. Back it up now.")
    return OK


def _refresh(options: argparse.Namespace) -> int:
    _open(options.home).refresh(force=True)
    print("Signed anew. A running server offers it within seconds.")
    return OK


def _rotate(options: argparse.Namespace) -> int:
    roles = tuple(dict.fromkeys(options.roles))
    _open(options.home).rotate(roles, options.root_key.expanduser())
    print(f"New keys for: {', '.join(roles)}. The old ones count for nothing once a device has seen this.")
    if "root" in roles:
        print(f"The new root key is in {options.home / 'root-key'}: move it to where the old one was.")
    return OK


def _renew_root(options: argparse.Namespace) -> int:
    release = _open(options.home)
    release.renew_root(options.root_key.expanduser())
    print(f"The root now ends {when(release.status()[0].expires_utc_s)}.")
    return OK


def _open(home: Path) -> Release:
    from server import config
    from server.releases.signing import Release

    config.load(home)
    return Release(home, clock=SystemClock())
