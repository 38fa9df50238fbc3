"""`waycue-server telling`: who is told of what in time, tests that reach them, and adding people without the page."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from server.commands.opening import add_json, print_json, when
from server.telling.step import KIND_WORDS, NewsKind
from shared.clock import SystemClock
from shared.errors import ConfigError, Refused

if TYPE_CHECKING:
    from server.telling.loop import Telling

DESCRIPTION = """\
Who is told of what in time, by ntfy, e-mail, Telegram or whatever else apprise speaks. The page of the admins does the
same (docs/admin.md). A running server reads what is changed here within a minute.

kinds: """ + ", ".join(NewsKind)


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command and its actions."""
    parser = commands.add_parser(
        "telling",
        help="who is told of what in time: list, add, test, remove",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="everybody who is told something, and how it went")
    add_json(listing, "them")
    listing.set_defaults(run=_list)
    _add_parser(actions)
    test = actions.add_parser(
        "test",
        help="send a test message",
        description="Sends a test message to each address of the people who are named, or of everybody. Exit status: 0"
        " every address took it, 1 one did not.",
    )
    test.add_argument("names", nargs="*", metavar="NAME", help="a name of `telling list` (everybody)")
    add_json(test, "what became of each")
    test.set_defaults(run=_test)
    remove = actions.add_parser("remove", help="tell somebody nothing any more")
    remove.add_argument("name", metavar="NAME", help="a name of `telling list`")
    remove.set_defaults(run=_remove)


def _add_parser(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    add = actions.add_parser(
        "add",
        help="tell somebody, or change what they are told",
        description="Addresses are read from standard input, one a line, as apprise writes them: they hold passwords,"
        " and others of this machine see the arguments of a command. What is not named has its first value.",
    )
    add.add_argument("name", metavar="NAME", help="letters, digits, dots and hyphens, at most 32")
    add.add_argument("--from", dest="source", type=Path, metavar="FILE", help="read the addresses from this file")
    kind_help = "what they are told of; may be given again (all of it)"
    add.add_argument("--kind", action="append", choices=tuple(map(str, NewsKind)), help=kind_help)
    add.add_argument("--quiet", default="", metavar="HH:MM-HH:MM", help="when they are not, but for a call for help")
    add.add_argument("--zone", default="UTC", metavar="ZONE", help="where their clock is: Europe/Berlin (UTC)")
    whose_help = "whose calls for help they are told of; may be given again (all wearers')"
    add.add_argument("--wearer", action="append", metavar="NAME", help=whose_help)
    add.add_argument("--help-waits", action="store_true", help="a call for help waits for the end of quiet hours, too")
    cool_help = "the same is told again after so many hours (12)"
    add.add_argument("--cool-down", type=float, default=12.0, metavar="HOURS", help=cool_help)
    add.set_defaults(run=_add)


def _list(options: argparse.Namespace) -> int:
    from server.telling import loop, people, send

    home = _home(options)
    everybody, told = people.load(home), loop.read(home)
    rows = []
    for name, person in everybody.items():
        times = [at_utc for (who, _), at_utc in told.at_utc.items() if who == name]
        row = {
            "name": name,
            "services": [send.service(url) for url in person.urls],
            "kinds": list(person.kinds or NewsKind),
            "quiet": person.quiet,
            "zone": person.zone,
            "cool_down_h": person.cool_down_h,
            "wearers": list(person.wearers),
            "help_in_quiet": person.help_in_quiet,
            "told_at_s": max(times, default=None),
            "failures": told.failures.get(name, 0),
        }
        rows.append(row)
    if options.json:
        print_json(rows)
        return 0
    for row in rows:
        print("\n".join(_in_words(row)))
    if not rows:
        print("Nobody is told anything yet. To add somebody: waycue-server telling add NAME")
    return 0


def _in_words(row: dict[str, Any]) -> list[str]:
    last = "nothing was told yet" if row["told_at_s"] is None else f"last told {when(row['told_at_s'])}"
    but = ", but for calls for help" if row["help_in_quiet"] else ""
    quiet = f", not from {row['quiet'].replace('-', ' to ')} ({row['zone']}{but})" if row["quiet"] else ""
    lines = [f"{row['name']}: by {', '.join(row['services'])}; {last}"]
    lines += [f"  {KIND_WORDS[kind]}" for kind in row["kinds"]]
    lines += [f"  calls for help of {', '.join(row['wearers'])} alone"] if row["wearers"] else []
    lines.append(f"  the same again after {row['cool_down_h']:g} h{quiet}")
    if row["failures"]:
        again = f"Try: waycue-server telling test {row['name']}"
        lines.append(f"  the last {row['failures']} tries did not go out. {again}")
    return lines


def _add(options: argparse.Namespace) -> int:
    from server.telling import people, send
    from server.telling.people import PersonTold

    home = _home(options)
    if options.source is None and sys.stdin.isatty():
        print("Addresses, one a line, then Ctrl-D:", file=sys.stderr)
    text = options.source.read_text(encoding="utf-8") if options.source else sys.stdin.read()
    urls = tuple(line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#"))
    person = PersonTold(
        urls,
        tuple(options.kind or ()),
        options.quiet,
        options.zone,
        options.cool_down,
        tuple(options.wearer or ()),
        help_in_quiet=not options.help_waits,
    )
    people.check(options.name, person)
    send.check(urls)
    people.put(home, options.name, person)
    print(f"{options.name} is told from now on. Send a test: waycue-server telling test {options.name}")
    return 0


def _test(options: argparse.Namespace) -> int:
    from server import config as server_config
    from server.telling import loop, people

    home = _home(options)
    names = options.names or list(people.load(home))
    if not names:
        raise Refused("Nobody is told anything yet.", hint="Add somebody: waycue-server telling add NAME")
    link = server_config.load(home).telling.link
    telling = loop.Telling(home, list, SystemClock(), link=link)
    outcomes = {name: _tested(telling, name) for name in names}
    if options.json:
        print_json([{"name": name, "took_it": not trouble, "trouble": trouble} for name, trouble in outcomes.items()])
    else:
        print("\n".join(trouble or f"{name} was sent a test." for name, trouble in outcomes.items()))
    return 1 if any(outcomes.values()) else 0


def _tested(telling: Telling, name: str) -> str:
    """Why a test did not reach somebody, "" = it did."""
    try:
        telling.test(name)
    except Refused as refused:
        return f"{name}: {refused}"
    return ""


def _remove(options: argparse.Namespace) -> int:
    from server.telling import people

    people.remove(_home(options), options.name)
    print(f"{options.name} is told nothing any more.")
    return 0


def _home(options: argparse.Namespace) -> Path:
    """Raises: ConfigError where it is no server's."""
    from server import config as server_config

    home: Path = options.home
    if not (home / server_config.FILE).exists():
        raise ConfigError(f"{home} is not a waycue server folder.", hint=f"Run: waycue-server --home {home} init")
    return home
