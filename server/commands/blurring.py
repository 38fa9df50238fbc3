"""`waycue-server samples blur`: faces, heads and plates of moments are made unrecognisable, now."""

from __future__ import annotations

import argparse
from contextlib import closing

from server.commands.opening import add_reviewer, opened
from shared.clock import SystemClock


def add_parser(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The action."""
    parser = actions.add_parser(
        "blur",
        help="make faces and plates of moments unrecognisable, for good",
        description="The picture and the clip are replaced by blurred ones, and deleted with a proof. More is found"
        " with a second detector of faces (waycue-server consent faces) and with a model that has eyes.",
    )
    parser.add_argument("names", metavar="ID", nargs="+", help="an id of `samples list`")
    parser.add_argument("--whole", action="store_true", help="hide all of the picture and the clip")
    add_reviewer(parser, "blurs")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Blur; returns the exit status."""
    from server import config as settings
    from server.privacy import blurring, deletion, replacing
    from server.releases.registry import Registry

    consent, clock = settings.load(options.home).consent, SystemClock()
    with opened(options.home) as (store, dataset), closing(Registry(options.home, store=store)) as registry:
        finder = blurring.finder_of(options.home, registry)
        port = deletion.port_of(options.home, store, dataset, clock)
        for name in options.names:
            made = replacing.blur(port, name, finder, consent, by=options.reviewer, whole=options.whole)
            if made.hidden:
                print(f"{name}: {made.hidden} is hidden now.")
            else:
                print(f"{name}: nothing was found with {made.found_with}.\nTo hide all of it: --whole")
    return 0
