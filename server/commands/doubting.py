"""`waycue-server samples doubt`: labels that a model and the moments most alike contradict go back to review."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from server import config as settings
from server.commands.opening import add_json, opened, print_json
from server.review import doubts
from server.review.doubts import Doubt, DoubtSettings
from server.review.ranking import Ranking
from shared import vocabulary
from shared.clock import SystemClock

FOLDS, MOST = 3, 50


def add_parser(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The action."""
    parser = actions.add_parser(
        "doubt",
        help="find confirmed labels that are probably slips, and put them back into the queue",
        description="Trains a model without each part of the walks and lets it look at that part. A label that it and"
        " the moments most alike contradict goes back to review, with the reason, once; it does not teach meanwhile.",
    )
    parser.add_argument("--list", action="store_true", help="only show them; nothing goes back")
    parser.add_argument(
        "--folds", type=_folds, default=FOLDS, metavar="N", help="trainings, 2 to 20 (default %(default)s)"
    )
    parser.add_argument(
        "--steps", type=_positive, metavar="N", help="optimiser steps of each training (default: learn.teach_steps)"
    )
    parser.add_argument(
        "--most", type=_positive, default=MOST, metavar="N", help="labels that go back, at most (default %(default)s)"
    )
    add_json(parser, "what was found")
    parser.set_defaults(run=_run)


def _folds(text: str) -> int:
    value = int(text)
    if not 2 <= value <= 20:
        raise argparse.ArgumentTypeError("it must be 2 to 20")
    return value


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("it must be 1 or more")
    return value


def _run(options: argparse.Namespace) -> int:
    found = find(options)
    back: list[str] = []
    if found and not options.list:
        with opened(options.home) as (store, dataset):
            back = [row.sample_id for row in doubts.put_back(store, dataset, found, now_s=SystemClock().utc_s())]
            Ranking(store, dataset).refresh()
    if options.json:
        print_json({"doubted": [doubts.to_dict(doubt) for doubt in found], "put_back": back})
        return 0
    for doubt in found:
        print(f"{doubt.score:.2f}  {doubt.sample_id}  {doubt.label or vocabulary.CLEAR}\n    {doubt.why}")
    print(f"{len(found)} labels are doubtful." if found else "No label is doubtful.")
    if back:
        print(f"{len(back)} went back to review: waycue-server samples review")
    return 0


def find(options: argparse.Namespace) -> list[Doubt]:
    """The doubtful labels of a home. Raises: WaycueError, OSError."""
    learn = settings.load(options.home).learn
    with opened(options.home):
        pass  # says that there is no home before torch is imported
    from server.learn import crossed  # torch takes seconds to import

    def progress(text: str) -> None:
        print(text, file=sys.stderr if options.json else sys.stdout, flush=True)

    crossing = crossed.Crossing(options.folds, options.steps or learn.teach_steps)
    home: Path = options.home
    seen = crossed.witnesses(home, learn, crossing, progress=progress, clock=SystemClock())
    return doubts.doubts(seen, DoubtSettings(most=options.most))
