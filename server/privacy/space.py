"""Which moments are deleted where space is needed. Pure; server.privacy.making_room applies it.

Moments are looked at in the order of their worth (server.dataset.worth), the least first, until they come to what is
needed. Rules that it keeps:

1. Nothing is deleted that was not announced for `announce_days`, whatever is needed.
2. What nobody has reviewed is neither announced nor deleted unless the settings allow it.
3. No more is deleted than is needed now, the least worth first of what is due. What people confirmed goes only where
   all that is worth less, also what waits for its day still, does not come to it.
4. A golden moment is deleted only where nothing before it is left that will go.
5. What goes for its age soon is left to that, and counted: consent says when it goes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from server.dataset.worth import Worth
from server.privacy.space_settings import SpaceSettings

DAY_S = 86_400.0
GB = 1_000_000_000
SPARE_DAYS = 2.0
"""Announced so much further ahead: rounds are an hour apart, and devices bring more on some days."""
KEPT_ANNOUNCED = 0.25
"""What was announced is taken back only where so much more than what is needed was found before it: a forecast that
wavers must not begin its days anew."""


@dataclass(frozen=True, slots=True)
class SpaceFacts:
    """What was measured."""

    free: int
    """Bytes on the server's disk."""
    total: int
    stored: int
    """Bytes of the dataset's files."""
    a_day: float
    """Bytes that come in a day."""


@dataclass(frozen=True, slots=True)
class SpaceMoment:
    """A moment, as the order of their worth brings it."""

    sample_id: str
    wearer: str
    worth: int
    size_bytes: int
    reviewed: bool = True
    announced_at: float | None = None
    ages: bool = False
    """It was announced for its age, and goes by that as soon as it would by this."""
    changed_at: float = 0.0


class SpaceChoice(StrEnum):
    """What becomes of one moment now."""

    STAYS = "stays"
    ANNOUNCED = "announced"
    """It is announced now."""
    WAITS = "waits"
    """It was announced before, and its day has not come, or it is not needed yet."""
    DELETED = "deleted"
    AGES = "ages"


@dataclass(frozen=True, slots=True)
class SpaceNeed:
    """How many bytes are to be found still."""

    over: float
    """That are too many now, after what is deleted."""
    unmet: float
    """That are too many now, after what is deleted and what waits for its day; never more than `over`."""
    ahead: float
    """That will be too many when what is announced now may go; below zero, there is room."""
    spare: float = 0.0
    """Announced moments that come to so much more keep their day."""
    waits: bool = False
    """Something that was looked at goes later."""

    @property
    def met(self) -> bool:
        return self.unmet <= 0 and self.ahead <= -self.spare

    @property
    def short(self) -> int:
        """Bytes that were not found."""
        return max(0, round(self.ahead))


def need(facts: SpaceFacts, settings: SpaceSettings) -> SpaceNeed:
    """What the settings ask for."""
    room = []
    if settings.keep_free_gb or settings.keep_free_percent:
        keep = max(settings.keep_free_gb * GB, settings.keep_free_percent / 100 * facts.total)
        room.append(facts.free - keep)
    if settings.dataset_most_gb:
        room.append(settings.dataset_most_gb * GB - facts.stored)
    if not room:
        return SpaceNeed(0.0, 0.0, 0.0)
    a_day = max(0.0, facts.a_day)
    ahead = a_day * (settings.announce_days + SPARE_DAYS) - min(room)
    over = max(0.0, -min(room))
    return SpaceNeed(over, over, ahead, max(a_day, ahead * KEPT_ANNOUNCED))


def step(left: SpaceNeed, moment: SpaceMoment, settings: SpaceSettings, now_s: float) -> tuple[SpaceNeed, SpaceChoice]:
    """One moment, the next in the order of worth: (what is needed still, what becomes of it)."""
    if not moment.reviewed and not settings.unreviewed and not moment.ages:
        return left, SpaceChoice.STAYS
    size = moment.size_bytes
    rest = replace(left, unmet=left.unmet - size, ahead=left.ahead - size)
    if moment.ages:
        return replace(rest, waits=True), SpaceChoice.AGES
    if moment.announced_at is None:
        if left.ahead <= 0:
            return rest, SpaceChoice.STAYS
        return replace(rest, waits=True), SpaceChoice.ANNOUNCED
    due = moment.announced_at + settings.announce_days * DAY_S <= now_s
    if due and _may_go(left, moment):
        return replace(rest, over=left.over - size), SpaceChoice.DELETED
    return replace(rest, waits=True), SpaceChoice.WAITS


def _may_go(left: SpaceNeed, moment: SpaceMoment) -> bool:
    if moment.worth < Worth.CONFIRMED:
        return left.over > 0
    return left.unmet > 0 and not (moment.worth >= Worth.GOLDEN and left.waits)


def plan(
    left: SpaceNeed, moments: Iterable[SpaceMoment], settings: SpaceSettings, now_s: float
) -> Iterator[tuple[SpaceMoment, SpaceChoice, SpaceNeed]]:
    """What becomes of each moment until enough was found, with what is needed after it. moments: in order of worth; no
    more of them are taken than are needed."""
    if left.met:
        return
    for moment in moments:
        left, choice = step(left, moment, settings, now_s)
        yield moment, choice, left
        if left.met:
            return
