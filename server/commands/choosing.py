"""Which moments a command is about: the filters of `samples list` and `samples review`."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from typing import Any

from server.database.store import Store
from server.dataset.folder import Dataset
from server.review import near
from server.review.moment_filter import MomentFilter
from shared import vocabulary
from shared.errors import Refused

DAY_S = 86_400.0
_TEXTS = {
    "wearer": ("NAME", "of this wearer"),
    "device": ("NAME", "from this device"),
    "walk": ("ID", "of this walk"),
    "model": ("VERSION", "guided by this model"),
    "thing": ("THING", "of which any wording names this thing, such as cone"),
    "flag": ("FLAG", "flagged so: correction, wearer, stopped, disagreement, low_confidence, audit, predecessor"),
    "words": ("WORDS", "with all of these words in what was said, heard or confirmed"),
    "like": ("ID", "with a picture like that of this moment"),
    "since": ("DAY", "from this day on, YYYY-MM-DD in UTC"),
    "until": ("DAY", "up to this day"),
    "assigned": ("NAME", "assigned to this person"),
}
_SIGNS = {
    "difficult": "only those that somebody marked as difficult",
    "commented": "only those with comments",
    "skipped": "only those that you skipped",
}


def add_filters(parser: argparse.ArgumentParser) -> None:
    """The options."""
    group = parser.add_argument_group("which moments", "Everything that is given must hold.")
    for name, (metavar, text) in _TEXTS.items():
        group.add_argument(f"--{name}", metavar=metavar, default="", help=text)
    for name, text in _SIGNS.items():
        group.add_argument(f"--{name}", action="store_true", help=text)


def is_filtered(options: argparse.Namespace) -> bool:
    """Whether any of them was given."""
    return any(getattr(options, name) for name in (*_TEXTS, *_SIGNS))


def wanted(options: argparse.Namespace, store: Store, dataset: Dataset, *, state: Any = "pending") -> MomentFilter:
    """The filter of a command. Raises: Refused for what no moment can be; OSError."""
    if options.thing and options.thing not in vocabulary.load().objects:
        raise Refused(
            f"{options.thing!r:.60} is no thing of the vocabulary.", hint="See: waycue-server vocabulary table"
        )
    try:
        "".join(getattr(options, name) for name in _TEXTS).encode()
    except UnicodeEncodeError:  # bytes that are no UTF-8, as Python hands them on
        raise Refused("What is searched for is no text.", hint="Set the terminal to UTF-8.") from None
    if options.like:
        near.hashed(store, dataset, options.like)
    plain = ("wearer", "device", "walk", "model", "thing", "flag", "words", "like", "difficult", "commented")
    return MomentFilter(
        state=state,
        **{name: getattr(options, name) for name in plain},
        since=_begins(options.since) if options.since else None,
        until=_begins(options.until, days=1) if options.until else None,
        assigned_to=options.assigned,
        skipped_by=options.reviewer if options.skipped else "",
    )


def _begins(day: str, *, days: int = 0) -> float:
    try:
        begin = datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise Refused(f"{day!r:.20} is no day.", hint="Write it as 2026-05-31.") from None
    return begin.timestamp() + days * DAY_S
