"""`waycue-server samples delete`: moments, a walk or a wearer, now, with a proof."""

from __future__ import annotations

import argparse
import sys

from server.commands.erasing import confirm
from server.commands.opening import add_json, add_reviewer, opened, print_json
from shared.clock import SystemClock
from shared.plural import several


def add_parser(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The action."""
    parser = actions.add_parser(
        "delete",
        help="delete moments, a walk or all of a wearer for good, and print the proof",
        description="Deletes from database, logs, files, caches and the exports made here, names the models that learnt"
        " from it and the copies that it is still in, and prints what it did. What a device still has of it is refused."
        " It can not be undone. Cut off, it is gone on with by the next one, and when the server starts.",
    )
    parser.add_argument("names", metavar="ID", nargs="*", help="ids of `samples list`, or one walk")
    parser.add_argument("--wearer", metavar="NAME", help="all of this wearer; nothing of theirs is stored any more")
    parser.add_argument("--dry-run", action="store_true", help="only say what would go")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    add_reviewer(parser, "deletes")
    add_json(parser, "the proof")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Delete; returns the exit status."""
    from server import config as settings
    from server.privacy import deletion, plans
    from server.privacy import proof as proofs

    consent = settings.load(options.home).consent
    with opened(options.home) as (store, dataset):
        port = deletion.port_of(options.home, store, dataset, SystemClock())
        with store.reading() as connection:
            plan = deletion.with_settings(plans.named(connection, options.names, options.wearer), consent)
        words = plans.in_words(plan)
        if options.dry_run:
            print("\n".join(words))
            return 0
        if not options.yes:
            print("\n".join(words), file=sys.stderr)
            told = f"{several(len(plan.moments), 'moment')} would be deleted for good."
            confirm(told, "Delete them?", "Nothing was deleted.")
        proof = deletion.carry_out(port, plan, by=options.reviewer)
    if options.json:
        print_json(proofs.to_dict(proof))
    else:
        print("\n".join(proofs.in_words(proof)))
    return 0 if proof.checked else 1
