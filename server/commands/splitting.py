"""`waycue-server samples hold-out`, `teach` and `golden`: which walks and moments teach, and which judge."""

from __future__ import annotations

import argparse

from server import config as settings
from server.commands.opening import add_json, opened, print_json, shown
from server.dataset import splits
from server.dataset.sample_row import Split
from server.dataset.splits import Marked
from server.review import decisions
from shared.clock import SystemClock

_NAMES = {"train": "teaches", "held_out": "held out", "golden": "golden"}


def add_parsers(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Below `samples`."""
    for name, split, text in (
        ("hold-out", "held_out", "walks that new models are judged on, and that nobody learns from"),
        ("teach", "train", "walks whose confirmed moments teach"),
    ):
        parser = actions.add_parser(name, help=f"{text}; the next night heeds it")
        parser.add_argument("walks", metavar="WALK", nargs="+", help="a walk of `stats`, or of `samples show`")
        parser.set_defaults(run=_mark, split=split)
    golden = actions.add_parser("golden", help="moments that every device tests a new model on: add, remove, list")
    inner = golden.add_subparsers(dest="what", required=True, metavar="ACTION")
    for name, text in (
        ("add", "put moments into the golden set, or whole walks, on which models are then calibrated too"),
        ("remove", "take moments out of it; a whole walk then teaches again"),
    ):
        parser = inner.add_parser(name, help=text)
        parser.add_argument("names", metavar="ID", nargs="+", help="an id of `samples list`, or a walk")
        parser.set_defaults(run=_golden)
    listing = inner.add_parser("list", help="the golden set")
    add_json(listing)
    listing.set_defaults(run=_list)


def _mark(options: argparse.Namespace) -> int:
    by = settings.load(options.home).dataset.split_by
    with opened(options.home) as (store, dataset):
        for walk in options.walks:
            print(outcome(splits.mark_walk(store, dataset, walk, options.split, now_s=SystemClock().utc_s(), by=by)))
    return 0


def _golden(options: argparse.Namespace) -> int:
    put, by = options.what == "add", settings.load(options.home).dataset.split_by
    with opened(options.home) as (store, dataset):
        for name in options.names:
            now_s = SystemClock().utc_s()
            if splits.is_walk(store, name):
                split: Split = "golden" if put else "train"
                print(outcome(splits.mark_walk(store, dataset, name, split, now_s=now_s, by=by)))
            else:
                print(outcome(splits.mark_moment(store, dataset, name, golden=put, now_s=now_s)))
    return 0


def _list(options: argparse.Namespace) -> int:
    with opened(options.home) as (store, _dataset):
        rows = splits.in_golden_set(store)
    if options.json:
        moments = [
            {
                "sample_id": row.sample_id,
                "walk_id": row.walk_id,
                "state": row.state,
                "ground_truth": row.ground_truth if row.reviewed else None,
                "because": "its walk" if row.golden is None else "a person",
            }
            for row in rows
        ]
        print_json(moments)
        return 0
    for row in rows:
        wording = shown(decisions.proposal(row)) if row.reviewed else "(nobody has confirmed it)"
        print(f"{row.sample_id}  {row.walk_id}  {wording}")
    print(f"{len(rows)} moments, {sum(row.reviewed for row in rows)} of them confirmed.")
    return 0


def outcome(marked: Marked) -> str:
    """The outcome in words, and what follows. Pure."""
    after, before = (_NAMES.get(name, name) for name in (marked.after, marked.before))
    if not marked.moments and marked.after == marked.before:
        return f"{marked.name}: {after}, as before."
    follows = {
        "held_out": "New models are judged on it. Where one learnt from it before, the two are not compared on it.",
        "golden": "Nobody learns from it from now on.",
        "train": "It teaches from the next night on; models that learn from it are not judged on it.",
    }.get(marked.after, "")
    also = f" With it: {', '.join(marked.together)}." if marked.together else ""
    return f"{marked.name}: {after}, was: {before} ({len(marked.moments)} moments).{also} {follows}".rstrip()
