"""The section [consent] of the server's settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

from server.consent.terms import DAYS_MOST


@dataclass(frozen=True, slots=True)
class ConsentSettings:
    """What holds for wearers whom nobody has asked, how long moments are kept, and what a deletion takes along."""

    default: Literal["granted", "ask"] = "granted"
    """Of wearers whom nobody has asked: granted (everything is stored, seen by caregivers and teaches, as before there
    was consent), or ask (nothing is stored until somebody has asked them). Read when the server starts."""
    days: Annotated[int, Meta(ge=0, le=DAYS_MOST)] = 0
    """Moments are deleted this many days after they were recorded. 0 = they stay. A wearer's own number of days, where
    it is smaller, counts instead."""
    announce_days: Annotated[int, Meta(ge=0, le=DAYS_MOST)] = 14
    """For so many days before, the page and `waycue-server consent retention` say what will be deleted, and how much
    of it nobody has reviewed."""
    unreviewed_days: Annotated[int, Meta(ge=0, le=DAYS_MOST)] = 30
    """Moments that nobody has reviewed are kept so many days longer than reviewed ones. Never longer than a wearer's
    own number of days."""
    exports: Literal["remove", "mark"] = "remove"
    """What a deletion does with exports that were made on this machine and hold what is deleted: remove the folder, or
    leave it and write into it what must go."""
    retire: bool = False
    """A deletion also retires the models that learnt from what is deleted: none of them can be promoted any more, and
    where one is in use, the newest of those before it that did not learn from it takes its place."""
    backups: str = ""
    """Where copies of this server lie, separated by commas: each proof of a deletion names them as places where what
    was deleted still is."""
