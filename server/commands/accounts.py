"""`waycue-server accounts`: who may come in to the review page, and what they looked at."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from server.commands.opening import add_json, opened, print_json, when

if TYPE_CHECKING:
    from server.access.accounts import PersonAccount
    from server.access.service import Access
    from server.access.tokens import ApiToken

ROLES = ("wearer", "caregiver", "admin")
SCOPES = ("read", "review", "admin", "accounts")
DEFAULT_HOURS = 72.0
DESCRIPTION = """\
Who may come in to the review page. The first account is made by an invitation:

  waycue-server accounts invite --role admin

prints a link that is good once. Whoever opens it chooses a name and a password. From the first account on, the page
asks everybody to log in, on this machine too; programs bring an API token.

roles:
  wearer      sees and reviews their own moments
  caregiver   sees and reviews the moments of the wearers that they were invited for, or of all
  admin       all moments, and who may come in
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its actions."""
    parser = commands.add_parser(
        "accounts",
        help="who may come in to the review page: invite, list, reset, remove, tokens, audit",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    _add_invite(actions)
    listing = actions.add_parser("list", help="everybody who has an account")
    add_json(listing, "them")
    listing.set_defaults(run=_list)
    reset = actions.add_parser(
        "reset",
        help="make a link with which somebody sets a new password",
        description="Makes a link, good once, with which somebody sets a new password. When they use it, all their"
        " log-ins and tokens end, and their second factor is switched off.",
    )
    reset.add_argument("name", help="a name of `accounts list`")
    _add_link_flags(reset)
    reset.set_defaults(run=_reset)
    remove = actions.add_parser(
        "remove",
        help="take somebody's access away, at once",
        description="Takes somebody's access away: log-ins and tokens end at once. What they decided stays, with their"
        " name.",
    )
    remove.add_argument("name", help="a name of `accounts list`")
    remove.set_defaults(run=_remove)
    _add_tokens(actions)
    _add_audit(actions)


def _add_invite(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    invite = actions.add_parser(
        "invite",
        help="make a link with which somebody new comes in",
        description="Makes a link, good once, with which somebody new chooses a name and a password. Send it to that"
        " person and nobody else.",
    )
    invite.add_argument("--role", choices=ROLES, default="caregiver", help="what they may do (caregiver)")
    wearer_help = "a wearer whose moments they may see; may be given again. Without it: all (not for a wearer)"
    invite.add_argument("--wearer", action="append", metavar="NAME", help=wearer_help)
    _add_link_flags(invite)
    invite.set_defaults(run=_invite)


def _add_link_flags(parser: argparse.ArgumentParser) -> None:
    hours = f"how long the link is good, at most 720 ({DEFAULT_HOURS:g})"
    parser.add_argument("--hours", type=float, default=DEFAULT_HOURS, metavar="N", help=hours)
    parser.add_argument("--no-qr", action="store_true", help="no QR code, for a screen reader")
    add_json(parser, "the link")


def _add_tokens(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    tokens = actions.add_parser(
        "tokens",
        help="API tokens: list, make, revoke",
        description="Lists API tokens; with --make, makes one for somebody and prints it this once; with --revoke, ends"
        " one. A token never does more than its owner may.",
    )
    tokens.add_argument("--make", metavar="NAME", help="make a token for this person of `accounts list`")
    tokens.add_argument("--label", default="command line", metavar="WORDS", help="what it is for (command line)")
    tokens.add_argument("--scope", action="append", choices=SCOPES, help="what it may do; may be given again (read)")
    tokens.add_argument("--days", type=float, metavar="N", help="how long it is good (until it is revoked)")
    tokens.add_argument("--revoke", type=int, metavar="ID", help="end the token with this number")
    add_json(tokens)
    tokens.set_defaults(run=_tokens)


def _add_audit(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    audit = actions.add_parser(
        "audit",
        help="who looked at what, decided, logged in or was let in",
        description="Who looked at which moment or file, who decided, who logged in or was refused, the newest last."
        " Entries are kept for as long as access.audit_days says.",
    )
    audit.add_argument("--name", default="", metavar="NAME", help="of this person only")
    audit.add_argument("--about", default="", metavar="ID", help="about this moment, file or person only")
    audit.add_argument("--limit", type=int, default=100, metavar="N", help="how many (100)")
    add_json(audit, "them")
    audit.set_defaults(run=_audit)


@contextmanager
def _access(options: argparse.Namespace) -> Iterator[Access]:
    from server import config as server_config
    from server.access.service import Access
    from shared.clock import SystemClock

    config = server_config.load(options.home)
    with opened(options.home) as (store, _dataset):
        access = Access(store, SystemClock(), config.access)
        yield access
        access.audit.flush()


def _invite(options: argparse.Namespace) -> int:
    from server.access.person import Role

    with _access(options) as access:
        wearers = frozenset(options.wearer) if options.wearer else None
        token = access.invitations.invite(Role(options.role), wearers, by=_OPERATOR, hours=options.hours)
        access.audit.note(_OPERATOR, "let in", detail=f"invited: {options.role}")
    who = "all wearers" if wearers is None else ", ".join(sorted(wearers))
    role = f"{'an' if options.role == 'admin' else 'a'} {options.role}"
    return _print_link(options, token, f"Whoever opens this link becomes {role}, for {who}")


def _reset(options: argparse.Namespace) -> int:
    with _access(options) as access:
        account = access.accounts.named(options.name)
        token = access.invitations.reset(account.id, by=_OPERATOR, hours=options.hours)
        access.audit.note(_OPERATOR, "let in", account.person.name, detail="a link for a new password")
    return _print_link(options, token, f"With this link {account.person.name} sets a new password")


_OPERATOR = "(command line)"
"""Written down as who did it: whoever may run the command on the server."""


def _print_link(options: argparse.Namespace, token: str, what: str) -> int:
    import segno

    from server import config as server_config

    reach = server_config.page_reach(server_config.load(options.home))
    links = [f"{url}/join/{token}" for url in reach.urls()]
    if options.json:
        print_json({"links": links, "hours": options.hours})
        return 0
    print(f"{what}; good once, for {options.hours:g} hours:\n")
    print("\n".join(f"    {link}" for link in links))
    if reach.alone:
        print("\nOnly this machine reaches the page as it is set up: see [web] address in waycue.toml.")
    if not options.no_qr and sys.stdout.isatty():
        segno.make_qr(links[0]).terminal(compact=True)
    return 0


def _list(options: argparse.Namespace) -> int:
    with _access(options) as access:
        found = access.accounts.all()
    if options.json:
        print_json([_to_json(account) for account in found])
    elif not found:
        print("Nobody has an account yet. Let somebody in with: waycue-server accounts invite --role admin")
    else:
        print("\n".join(map(_described, found)))
    return 0


def _to_json(account: PersonAccount) -> dict[str, Any]:
    who = account.person
    wearers = None if who.wearers is None else sorted(who.wearers)
    ways = {"code": bool(account.totp), "provider": bool(account.provider_id), "seen_at_s": account.seen_at_s}
    return {"name": who.name, "role": who.role, "wearers": wearers, "made_at_s": account.made_at_s, **ways}


def _described(account: PersonAccount) -> str:
    who = account.person
    wearers = "all wearers" if who.wearers is None else ", ".join(sorted(who.wearers))
    seen = "never logged in" if account.seen_at_s is None else f"last logged in {when(account.seen_at_s)}"
    code = ", with a code" if account.totp else ""
    return f"{who.name:<24} {who.role:<10} {wearers}; {seen}{code}"


def _remove(options: argparse.Namespace) -> int:
    with _access(options) as access:
        account = access.accounts.named(options.name)
        access.accounts.remove(account.id)
        access.audit.note(_OPERATOR, "removed", account.person.name)
        left = access.accounts.any()
    print(f"{account.person.name} can not come in any more.")
    if not left:
        print("Nobody has an account now: once the server is started anew, the page asks for none on this machine.")
    return 0


def _tokens(options: argparse.Namespace) -> int:
    with _access(options) as access:
        if options.make is not None:
            return _token_made(options, access)
        if options.revoke is not None:
            return _revoked(access, options.revoke)
        found = access.tokens.all()
    if options.json:
        print_json([asdict(token) for token in found])
    else:
        print("\n".join(map(_token_described, found)) or "There is no token.")
    return 0


def _token_made(options: argparse.Namespace, access: Access) -> int:
    from server.access.tokens import TokenScope

    account = access.accounts.named(options.make)
    scopes = [TokenScope(one) for one in options.scope or ("read",)]
    token = access.tokens.make(account.id, options.label, scopes, days=options.days)
    access.audit.note(_OPERATOR, "changed", account.person.name, detail=f"token {options.label}")
    if options.json:
        print_json({"token": token})
    else:
        print(f"{token}\nIt is shown this once. Programs send it as: Authorization: Bearer {token[:8]}…")
    return 0


def _token_described(one: ApiToken) -> str:
    used = "never used" if one.used_at_s is None else f"last used {when(one.used_at_s)}"
    ends = "" if one.expires_at_s is None else f", ends {when(one.expires_at_s)}"
    return f"{one.id:>4}  {one.name:<20} {one.label:<24} {', '.join(one.scopes)}; {used}{ends}"


def _revoked(access: Access, token_id: int) -> int:
    from shared.errors import Refused

    if not access.tokens.revoke(token_id):
        raise Refused(f"No token has the number {token_id}.", hint="See: waycue-server accounts tokens")
    access.audit.note(_OPERATOR, "changed", detail=f"token {token_id} revoked")
    print(f"Token {token_id} is revoked.")
    return 0


def _audit(options: argparse.Namespace) -> int:
    with _access(options) as access:
        found = access.audit.newest(name=options.name, about=options.about, most=max(1, options.limit))[::-1]
    if options.json:
        print_json([asdict(entry) for entry in found])
    elif not found:
        print("Nothing is written down about that.")
    else:
        for one in found:
            print(f"{when(one.at)}  {one.name:<20} {one.action:<10} {one.about} {one.detail} {one.address}".rstrip())
    return 0
