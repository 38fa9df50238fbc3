"""What holds now that somebody may be told of: read from the database, nothing of a wearer's in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from server.admin import nights, storage, waiting
from server.admin.fleet import FleetDevice
from server.admin.nights import FAILED, NightRun
from server.admin.storage import StorageOutlook
from server.database.store import Store
from server.dataset import help_calls
from server.dataset.help_calls import HelpCall
from server.privacy import making_room
from server.privacy.making_room import SpaceStanding
from server.telling.step import NewsItem, NewsKey, NewsKind
from shared.plural import several

DAY_S, HELP_S = 86_400.0, 3600.0
CERTIFICATE_DAYS, AUTHORITY_DAYS = 14.0, 60.0
LATE_S = 300.0
"""A call that is so much older than its arrival is told with its age."""


@dataclass(frozen=True, slots=True)
class Sights:
    """What was found."""

    now_utc: float
    corrections: int
    """That wait for review."""
    devices: tuple[FleetDevice, ...]
    last_night: NightRun | None
    disk: StorageOutlook
    space: SpaceStanding
    ends: Mapping[str, float]
    """The authority and the release roles → when they end."""
    helps: tuple[HelpCall, ...]
    """That came in the last hour."""


def gathered(
    store: Store,
    devices: Sequence[FleetDevice],
    ends: Mapping[str, float],
    *,
    now_utc: float,
    disk: StorageOutlook | None = None,
) -> Sights:
    """disk: with what the settings say; else as it is. Raises: OSError, SQLAlchemyError."""
    disk, runs = disk or storage.outlook(store), nights.runs(store.home, store, most=1)
    space = making_room.standing(store)
    with store.reading() as connection:
        corrections = waiting.corrections(connection)
        helps = help_calls.since(connection, now_utc - HELP_S)
    last = runs[0] if runs else None
    return Sights(now_utc, corrections, tuple(devices), last, disk, space, dict(ends), tuple(helps))


def items(found: Sights) -> tuple[NewsItem, ...]:
    """In words. Pure."""
    return (
        *correction_items(found.corrections),
        *_devices(found),
        *_night(found),
        *_disk(found),
        *_ends(found),
        *_helps(found),
    )


def correction_items(count: int) -> Iterator[NewsItem]:
    """That spoken corrections wait, where any does. Pure."""
    if count:
        many = "1 spoken correction waits" if count == 1 else f"{count} spoken corrections wait"
        yield NewsItem(NewsKey(NewsKind.CORRECTION, ""), f"{many} for review.")


def _devices(found: Sights) -> Iterator[NewsItem]:
    for device in found.devices:
        if device.is_silent(found.now_utc) and device.seen_utc is not None:
            days = (found.now_utc - device.seen_utc) / DAY_S
            yield NewsItem(
                NewsKey(NewsKind.SILENT, device.name), f"{device.name} was not heard of for {days:.0f} days."
            )
        ends = device.not_after_utc
        if device.state == "enrolled" and ends is not None and ends - found.now_utc < CERTIFICATE_DAYS * DAY_S:
            text = (
                f"The certificate of {device.name} {_left(ends - found.now_utc)}. It is renewed when it comes online."
            )
            yield NewsItem(NewsKey(NewsKind.CERTIFICATE, device.name), text)


def _night(found: Sights) -> Iterator[NewsItem]:
    night = found.last_night
    if night is None or night.outcome not in (FAILED, "refused"):
        return
    # A reason may name a file or a moment: whoever carries the message needs neither.
    failed, refused = "The last night failed.", "The model of the last night was refused; the one in use stays."
    text = f"{failed if night.outcome == FAILED else refused} The page says why."
    yield NewsItem(NewsKey(NewsKind.NIGHT, str(night.id)), text)


def _disk(found: Sights) -> Iterator[NewsItem]:
    disk, space = found.disk, found.space
    if disk.nearly_full:
        text = f"The server's disk is nearly full: {disk.free / 1e9:.1f} GB are free."
        yield NewsItem(NewsKey(NewsKind.DISK, ""), text)
    elif disk.full_soon and disk.days_left is not None:
        text = f"At this rate the server's disk is full in {storage.days_in_words(disk.days_left)}."
        yield NewsItem(NewsKey(NewsKind.DISK, "soon"), text)
    if space.short_bytes:
        text = f"On the server {space.short_bytes / 1e9:.1f} GB are needed that cannot be made free. The page says why."
        yield NewsItem(NewsKey(NewsKind.DISK, "short"), text)
    if space.announced:
        day, many = space.announced[0].day, several(space.moments, "moment")
        text = f"From {day} on, {many} may be deleted to make room, {space.unreviewed} of them not reviewed."
        yield NewsItem(NewsKey(NewsKind.DISK, "space"), text)


def _ends(found: Sights) -> Iterator[NewsItem]:
    for name, ends_utc in found.ends.items():
        if ends_utc - found.now_utc < AUTHORITY_DAYS * DAY_S:
            yield NewsItem(NewsKey(NewsKind.CERTIFICATE, name), f"{name} {_left(ends_utc - found.now_utc)}.")


def _left(seconds: float) -> str:
    return "has ended" if seconds <= 0 else f"ends in {seconds / DAY_S:.0f} days"


def _helps(found: Sights) -> Iterator[NewsItem]:
    for call in found.helps:
        key = NewsKey(NewsKind.HELP, call.key)
        yield NewsItem(key, f"The wearer of {call.device} asked for help{_age(call, found.now_utc)}.", call.wearer)


def _age(call: HelpCall, now_utc: float) -> str:
    age_s = 0.0 if call.asked_at is None else now_utc - call.asked_at
    if age_s < LATE_S:
        return ""
    return f" {age_s / 60:.0f} minutes ago" if age_s < 2 * 3600 else f" {age_s / 3600:.0f} hours ago"
