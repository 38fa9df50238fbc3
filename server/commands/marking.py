"""`waycue-server samples undo` and `samples mark`: take decisions back; difficult, assigned, comments."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from server.commands.opening import add_json, add_reviewer, opened, print_json, when
from server.database.store import Store
from server.review import decisions, marks, undoing
from shared.clock import SystemClock
from shared.errors import Refused


def add_parsers(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The two actions."""
    undo = actions.add_parser(
        "undo",
        help="take your newest decision back",
        description="The moment is again as it was before, also where it waited for review. What was decided at once "
        f"is taken back at once. The last {undoing.MOST} decisions can be taken back, unless somebody decided since.",
    )
    undo.add_argument(
        "act", metavar="NUMBER", nargs="?", type=int, help="of --list; without it, the newest that stands"
    )
    undo.add_argument("--list", action="store_true", help="only show what you decided last")
    add_json(undo)
    add_reviewer(undo, "takes it back: their own decisions only")
    undo.set_defaults(run=_undo)
    mark = actions.add_parser("mark", help="say what others should know of a moment; it decides nothing")
    mark.add_argument("id", metavar="ID", help="an id of `samples list`")
    difficult = mark.add_mutually_exclusive_group()
    difficult.add_argument("--difficult", action="store_true", help="somebody who knows more should look")
    difficult.add_argument("--easy", action="store_true", help="it is not difficult")
    mark.add_argument("--assign", metavar="NAME", help='whose it is; "" = nobody\'s')
    mark.add_argument("--comment", metavar="TEXT", help="a comment for others to read")
    add_reviewer(mark, "says so")
    mark.set_defaults(run=_mark)


def _undo(options: argparse.Namespace) -> int:
    with opened(options.home) as (store, dataset):
        if options.list:
            return _listed(store, options)
        rows = undoing.undo(store, dataset, options.reviewer, act=options.act, now_s=SystemClock().utc_s())
    if options.json:
        print_json([row.sample_id for row in rows])
    else:
        print("\n".join(f"Undone: {row.sample_id} stands as before: {decisions.stands(row)}" for row in rows))
    return 0


def _listed(store: Store, options: argparse.Namespace) -> int:
    acts = undoing.newest(store, options.reviewer)
    if options.json:
        print_json([asdict(act) for act in acts])
        return 0
    for act in acts:
        more = f" and {len(act.sample_ids) - 1} more" if len(act.sample_ids) > 1 else ""
        undone = "  (undone)" if act.undone else ""
        print(f"{act.act:>8}  {when(act.at)}  {act.action}  {act.sample_ids[0]}{more}{undone}")
        print(f"          {act.before} → {act.after}")
    print("" if acts else f"{options.reviewer} has decided nothing yet.")
    return 0


def _mark(options: argparse.Namespace) -> int:
    now_s = SystemClock().utc_s()
    with opened(options.home) as (store, _dataset):
        if decisions.get(store, options.id) is None:
            raise Refused(
                f"There is no moment {options.id!r:.110}.", hint="See: waycue-server samples list --state all"
            )
        if options.difficult or options.easy:
            marks.mark_difficult(store, options.id, options.reviewer, difficult=options.difficult, now_s=now_s)
        if options.assign is not None:
            marks.assign(store, options.id, options.assign, options.reviewer)
        if options.comment is not None:
            marks.comment(store, options.id, options.reviewer, options.comment, now_s=now_s)
        print("\n".join(told(store, options.id)) or "Nobody has left anything at it.")
    return 0


def told(store: Store, sample_id: str) -> list[str]:
    """What people left at a moment, a line each."""
    own = marks.of(store, [sample_id]).get(sample_id, marks.NO_MARKS)
    lines = [f"Difficult, says {own.difficult_by}."] if own.difficult_by else []
    if own.assigned_to:
        lines.append(f"Assigned to {own.assigned_to} by {own.assigned_by}.")
    return lines + [f"{when(one.at)}  {one.author}: {one.text}" for one in marks.comments(store, sample_id)]
