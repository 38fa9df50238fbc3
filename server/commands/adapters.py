"""`waycue-server adapters`: which wearer has an adapter of their own, fit them now, take one away."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from server import config
from server.commands.opening import add_json, print_json, when
from server.releases.registry import Registry

if TYPE_CHECKING:
    from server.learn.wearer_adapters import WearerOutcome
    from server.releases.wearers import WearerVersion


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its actions."""
    parser = commands.add_parser(
        "adapters",
        help="adapters of single wearers: list, fit, withdraw",
        description="An adapter is fitted to what one wearer's moments confirm, beside the champion, and offered to "
        "that wearer's devices alone where it is better on their held-out walks.",
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="which wearer has which, on which devices, and how much it gains")
    add_json(listing, "them")
    listing.set_defaults(run=_list)
    fit = actions.add_parser("fit", help="fit, judge and offer now, as the night does where learn.adapters is set")
    fit.add_argument("--force", action="store_true", help="also for wearers of whom nothing is new")
    add_json(fit, "what was done")
    fit.set_defaults(run=_fit)
    withdraw = actions.add_parser("withdraw", help="delete a wearer's adapter: their devices are offered the champion")
    withdraw.add_argument("wearer", help="as in `adapters list`")
    withdraw.add_argument("--why", default="withdrawn by hand", help="reason for the audit log")
    withdraw.set_defaults(run=_withdraw)


def _list(options: argparse.Namespace) -> int:
    from server.releases import wearers

    config.load(options.home)
    registry = Registry(options.home)
    with registry.store.reading() as connection:
        given = wearers.given(connection)
    if options.json:
        print_json([{"version": version, **asdict(whose)} for version, whose in given.items()])
    else:
        print("\n".join(described(given, registry.champion())))
    return 0


def described(given: Mapping[str, WearerVersion], champion: str | None) -> Iterator[str]:
    """Two lines a wearer. Pure."""
    if not given:
        yield "No wearer has an adapter. Fit them with: waycue-server adapters fit"
    for version, whose in sorted(given.items(), key=lambda item: item[1].name):
        rests = "" if whose.of == champion else f"; not offered, the champion is {champion}"
        yield f"{whose.name}: {version}, on {', '.join(whose.devices)}{rests}"
        yield f"  {gained(whose)}; {whose.rows} moments up to {when(whose.began_utc)} taught it"


def gained(whose: WearerVersion) -> str:
    """What it changes, in words. Pure."""
    span = f"{whose.low:+.3f} to {whose.high:+.3f}"
    return f"{whose.gain:+.3f} right ({span}) on {whose.cases} held-out moments of {whose.walks} walks"


def _fit(options: argparse.Namespace) -> int:
    settings = config.load(options.home)
    outcomes = fitted(options.home, settings, json=options.json, force=options.force)
    if options.json:
        print_json(outcomes_json(outcomes))
    elif not outcomes:
        print("There is nobody to fit an adapter to: no moment is confirmed, or no champion can be adapted.")
    for name, outcome in () if options.json else outcomes.items():
        print(f"{name}: {outcome.outcome}{f', {outcome.version}' if outcome.version else ''}\n  {outcome.reason}")
    return 0


def fitted(home: Path, settings: config.ServerConfig, *, json: bool, force: bool = False) -> dict[str, WearerOutcome]:
    """Fit, judge and offer; progress goes to stderr where JSON is printed. Raises: Transient, BundleError, OSError."""
    from server.learn import wearer_adapters  # torch takes seconds to import

    def progress(text: str) -> None:
        print(text, file=sys.stderr if json else sys.stdout, flush=True)

    return wearer_adapters.run(home, settings=settings.learn, progress=progress, force=force)


def after_night(home: Path, settings: config.ServerConfig, *, json: bool) -> dict[str, Any]:
    """What `retrain` does last: fits adapters where learn.adapters is set, deletes what nobody has. Returns what is
    printed beside the night. Raises: as `fitted`."""
    if settings.learn.adapters:
        return {"wearers": outcomes_json(fitted(home, settings, json=json))}
    from server.releases import wearers

    wearers.tidy(Registry(home))
    return {}


def outcomes_json(outcomes: Mapping[str, WearerOutcome]) -> dict[str, Any]:
    """As `--json` prints them."""
    return {name: asdict(outcome) for name, outcome in outcomes.items()}


def _withdraw(options: argparse.Namespace) -> int:
    from server.releases import wearers

    config.load(options.home)
    version = wearers.withdraw(Registry(options.home), options.wearer, options.why)
    print(f"{version} is deleted; the devices of {options.wearer} are offered the champion.")
    return 0
