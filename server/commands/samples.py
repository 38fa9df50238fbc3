"""`waycue-server samples`: list moments, show one, decide about them, bring labelled ones in, let teachers propose."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from server.commands import (
    blurring,
    choosing,
    deleting,
    doubting,
    erasing,
    importing,
    marking,
    masking,
    proposing,
    reviewing,
    splitting,
    viewing,
)
from server.commands.opening import add_json, add_reviewer, opened, print_json, shown, when
from server.commands.reviewing import TerminalDesk
from server.database.store import Store
from server.dataset import folder as data
from server.dataset import sample_row, surroundings
from server.dataset.folder import Dataset
from server.dataset.sample_row import SampleRow
from server.dataset.wording import Reworded
from server.labelling import conditions
from server.review import batches, decisions, searching
from server.review.decisions import PastDecision
from shared.clock import SystemClock
from shared.errors import Refused
from shared.printable import shortened

_PATHS = tuple(f"{kind}_path" for kind in data.FOLDERS)


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command and its actions."""
    parser = commands.add_parser(
        "samples", help="flagged moments: list, show, review, import, let teachers propose, hold out"
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="moments, the most important first")
    listing.add_argument(
        "--state", choices=("pending", "reviewed", "rejected", "all"), default="pending", help="default: pending"
    )
    listing.add_argument("--limit", type=_positive, default=50, metavar="N", help="at most N moments (default 50)")
    listing.add_argument("--json", action="store_true", help="print a JSON list with every field")
    add_reviewer(listing, "asks: what they skipped comes last")
    choosing.add_filters(listing)
    listing.set_defaults(run=_list)
    show = actions.add_parser("show", help="everything that is known of one moment")
    show.add_argument("id", metavar="ID", help="an id of `samples list`")
    add_json(show)
    show.set_defaults(run=_show)
    _review_parser(actions)
    marking.add_parsers(actions)
    importing.add_parser(actions)
    proposing.add_parser(actions)
    doubting.add_parser(actions)
    masking.add_parser(actions)
    splitting.add_parsers(actions)
    viewing.add_parser(actions)
    erasing.add_parser(actions)
    deleting.add_parser(actions)
    blurring.add_parser(actions)


def _review_parser(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    review = actions.add_parser(
        "review",
        help="decide about one moment, or about all that wait, one after the other",
        description="Without a decision it asks, moment by moment: was this correct? Each answer is kept at once.",
    )
    review.add_argument(
        "id",
        metavar="ID",
        nargs="?",
        help="an id of `samples list`, or a row_id of `samples show`: then only if that row still stands; without it: "
        "all that wait",
    )
    decision = review.add_mutually_exclusive_group()
    decision.add_argument("--accept", action="store_true", help="the proposed wording is right")
    decision.add_argument("--edit", metavar="TEXT", help="this wording is right instead")
    decision.add_argument("--nothing", action="store_true", help="nothing should have been said")
    decision.add_argument("--reject", action="store_true", help="this moment must not teach")
    decision.add_argument("--return", action="store_true", help="it waits for review again, as if nobody had decided")
    review.add_argument(
        "--where", metavar="WORDS", help='where and when it was: "sidewalk, day, rain"; confirms guesses'
    )
    review.add_argument(
        "--yes", action="store_true", help="with --edit or --accept: take the wording that the words would be taught as"
    )
    review.add_argument(
        "--similar",
        action="store_true",
        help="with a decision: take it also for what waits on the same walk, looks alike, and was said the same of",
    )
    add_reviewer(review, "decides")
    choosing.add_filters(review)
    review.add_argument("--open", action="store_true", help="open each picture with the desktop's own program")
    review.set_defaults(run=_review)


MOST_LISTED = 1_000_000_000
"""More moments than there are; SQLite takes no number of more than 63 bits."""


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("it must be 1 or more")
    return min(value, MOST_LISTED)


def _list(options: argparse.Namespace) -> int:
    with opened(options.home) as (store, dataset):
        wanted = choosing.wanted(options, store, dataset, state=options.state)
        person, now_s = options.reviewer, SystemClock().utc_s()
        rows = searching.find(store, wanted, person=person, now_s=now_s, limit=options.limit)
        total = searching.count(store, wanted)
    if options.json:
        print_json([describe(row) for row in rows])
        return 0
    for row in rows:
        flags = ",".join(row.flags) or "-"
        said, proposed = shown(shortened(decisions.said(row), reviewing.TYPED_MOST)), shown(decisions.proposal(row))
        print(f"{row.sample_id}  {when(row.timestamp)}  {row.state}  {flags}\n    said: {said}  →  {proposed}")
    kind = "" if options.state == "all" else f" {options.state}"
    print(f"{len(rows)} of {total}{kind} moments." if total else f"No{kind} moments.")
    return 0


def describe(row: SampleRow) -> dict[str, Any]:
    """A row as JSON values, with its state, and the wording that `accept` would confirm."""
    return {**sample_row.to_dict(row), "state": row.state, "proposal": decisions.proposal(row)}


def _show(options: argparse.Namespace) -> int:
    with opened(options.home) as (store, dataset):
        row = _moment(store, options.id)
        history = decisions.history(store, row.sample_id)
        files, left = _files(dataset, row), marking.told(store, row.sample_id)
    if options.json:
        print_json({**describe(row), "files": files, "decisions": [asdict(decision) for decision in history]})
        return 0
    for name, value in describe(row).items():
        if name not in _PATHS and value not in ("", None, []):
            print(f"{name + ':':<24}{_plain(name, value)}")
    for name, file in files.items():
        state = f"{file['size_bytes']} bytes" if file["size_bytes"] is not None else "MISSING"
        print(f"{name + ':':<24}{file['path']} ({state})")
    print("\n".join([*left, *_decisions_told(history)]))
    return 0


def _decisions_told(history: Sequence[PastDecision]) -> list[str]:
    told = [
        f"{when(past.at)}  {past.reviewer} chose {past.action}: {shown(past.before)} → {shown(past.after)}"
        for past in history
    ]
    return told or ["Nobody has decided about it yet."]


def _plain(name: str, value: Any) -> str:
    if name == "timestamp":
        return when(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _files(dataset: Dataset, row: SampleRow) -> dict[str, dict[str, Any]]:
    """Where each file lies and how large it is; size_bytes None where it is missing."""
    out = {}
    for name in _PATHS:
        if relative := getattr(row, name):
            path, size = dataset.blobs.local(relative), dataset.blobs.size(relative)
            out[name.removesuffix("_path")] = {"path": str(path), "size_bytes": size}
    return out


def _moment(store: Store, sample_id: str) -> SampleRow:
    row = decisions.get(store, sample_id)
    if row is None:
        raise Refused(f"There is no moment {sample_id!r:.110}.", hint="See: waycue-server samples list --state all")
    return row


def _review(options: argparse.Namespace) -> int:
    decided = decision_of(options)
    around = conditions.named(options.where or "")
    with opened(options.home) as (store, dataset):
        if around:
            row = _described(store, dataset, around, options)
            if decided is None:
                print(f"Where and when: {', '.join(conditions.said(surroundings.fields_of(row)).values())}")
                return 0
        desk = TerminalDesk(store, dataset, SystemClock(), options.reviewer, open_pictures=options.open)
        if decided is None:
            return _asked(desk, store, options)
        row, *rest = _decide(desk, decided, options.yes, _row_ids(store, dataset, options))
    print(reviewing.outcome(row))
    if options.similar:
        print(
            "\n".join((f"{len(rest)} moments like it were decided with it.", *(f"  {one.sample_id}" for one in rest)))
        )
    return 0


def _row_ids(store: Store, dataset: Dataset, options: argparse.Namespace) -> list[str]:
    """The rows that a decision is about: the named one, or the one that stands, then those like it."""
    if not options.id:
        raise Refused("A decision needs the id of a moment.", hint="See: waycue-server samples list")
    row_id = options.id if "#" in options.id else _moment(store, options.id).row_id
    row = _moment(store, row_id.rpartition("#")[0])
    others = batches.similar(store, dataset, row) if options.similar else []
    return [row_id, *(other.row_id for other in others)]


def _asked(desk: TerminalDesk, store: Store, options: argparse.Namespace) -> int:
    """One moment after the other, by question."""
    if options.similar:
        raise Refused("--similar needs a decision.", hint="Add --accept, --edit TEXT, --nothing or --reject.")
    if options.id:
        return reviewing.ask(desk, [_moment(store, options.id).sample_id], again=True)
    wanted = choosing.wanted(options, store, desk.dataset)
    person, now_s = options.reviewer, SystemClock().utc_s()
    queue = searching.find(store, wanted, person=person, now_s=now_s, limit=reviewing.MOST)
    return reviewing.ask(desk, [row.sample_id for row in queue])


def _described(store: Store, dataset: Dataset, around: dict[str, str], options: argparse.Namespace) -> SampleRow:
    if not options.id:
        raise Refused("--where needs the id of a moment.", hint="See: waycue-server samples list")
    return surroundings.describe(store, dataset, options.id, around, now_s=SystemClock().utc_s())


def _decide(desk: TerminalDesk, decided: tuple[str, str], yes: bool, row_ids: Sequence[str]) -> list[SampleRow]:
    """One decision, also about others, without a question: a rewording is taken where the person has said so, else
    named."""
    action, text = decided
    try:
        return desk.take_all(row_ids, action, text)
    except Reworded as reworded:
        print("\n".join(reviewing.rewording(reworded, written=action == "edit")))
        if not yes:
            raise Refused(
                "Nothing was saved.", hint=f'To teach this: --edit "{reworded.wording}", or add --yes.'
            ) from None
        return desk.take_all(row_ids, "edit", reworded.wording)


def decision_of(options: argparse.Namespace) -> tuple[str, str] | None:
    """(action, text) of the flags, or None where they hold no decision."""
    if options.edit is not None:
        return "edit", options.edit
    return next(((name, "") for name in ("accept", "nothing", "reject", "return") if getattr(options, name)), None)
