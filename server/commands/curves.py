"""`waycue-server curves`: what more confirmed moments would bring, by what fewer of them brought."""

from __future__ import annotations

import argparse
import sys

from server import config as settings
from server.commands.opening import add_json, opened, print_json
from server.evaluation import growth
from shared.clock import SystemClock

PARTS, MORE = 4, 100


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command."""
    parser = commands.add_parser(
        "curves",
        help="what more confirmed moments would bring, thing by thing",
        description="Trains on an eighth, a quarter, a half and all of the moments, judges each model on the held-out"
        " ones, and draws a line through it. Takes as long as some short nights.",
    )
    parser.add_argument("--thing", metavar="NAME", help="of this thing alone (default: all that is held out)")
    parser.add_argument(
        "--parts", type=_parts, default=PARTS, metavar="N", help="trainings, 3 to 8 (default %(default)s)"
    )
    parser.add_argument(
        "--steps", type=_positive, metavar="N", help="optimiser steps of each training (default: learn.teach_steps)"
    )
    parser.add_argument(
        "--more", type=_positive, default=MORE, metavar="N", help="moments that would come (default %(default)s)"
    )
    add_json(parser, "sizes and forecasts")
    parser.set_defaults(run=_run)


def _parts(text: str) -> int:
    value = int(text)
    if not 3 <= value <= 8:
        raise argparse.ArgumentTypeError("it must be 3 to 8")
    return value


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("it must be 1 or more")
    return value


def _run(options: argparse.Namespace) -> int:
    learn = settings.load(options.home).learn
    with opened(options.home):
        pass  # says that there is no home before torch is imported
    from server.learn import curves  # torch takes seconds to import

    def progress(text: str) -> None:
        print(text, file=sys.stderr if options.json else sys.stdout, flush=True)

    sizes = curves.Sizes(options.parts, options.steps or learn.teach_steps)
    found = curves.measured(options.home, learn, sizes, progress=progress, clock=SystemClock())
    chosen = [curve for curve in found if options.thing in (None, curve.thing)]
    told = [growth.to_dict(curve, growth.forecast(curve, options.more)) for curve in chosen]
    if options.json:
        print_json(told)
        return 0
    for curve in told:
        sizes_said = ", ".join(f"{size['right']} with {size['taught']}" for size in curve["sizes"])
        print(f"{curve['thing'] or 'all'}: of {curve['cases']} held-out moments right: {sizes_said}")
        print(f"    {curve['said']}")
    if not told:
        print(f"No held-out moment is about a {options.thing}.")
    return 0
