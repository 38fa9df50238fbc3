"""What a page shows of a moment, in a caregiver's words. Pure: rows in, values for the templates out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from server.dataset import wording
from server.dataset.folder import SampleRow, State
from server.dataset.wording import NotSayable, Reworded
from server.review import decisions
from server.web.review import Outcome
from shared.errors import Refused

TABS: tuple[tuple[State, str], ...] = (("pending", "To review"), ("reviewed", "Reviewed"), ("rejected", "Rejected"))
_WHY = {
    "correction": "{wearer} said what should have been said",
    "wearer": "{wearer} pressed the button",
    "disagreement": "two models disagreed",
    "stopped": "words that must never be spoken were stopped on the device",
    "low_confidence": "the device was unsure",
    "audit": "picked at random as a check",
    "predecessor": "just before another flagged moment",
}


@dataclass(frozen=True, slots=True)
class Rewording:
    """Words that would be taught as others, for a person to read and confirm."""

    what: str
    """How the words came: "You wrote", "Heard"."""
    text: str
    wording: str
    """"" = they may not be taught; `suggestions` may hold what was meant."""
    left_out: str
    """What `wording` does not say, in words; "" = it says all."""
    suggestions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Card:
    """One moment on a page. "" = there is none."""

    sample_id: str
    row_id: str
    state: State
    title: str
    when_iso: str
    when: str
    why: str
    picture: str
    clip: str
    sound: str
    heard: str
    """What the wearer heard from the device."""
    held_back: str
    """What the device worded and did not say."""
    alt: str
    corrected: bool
    """The wearer spoke a correction."""
    wearer: str
    wearer_sound: str
    transcript: str
    transcribed: bool
    """Somebody or something has listened to the correction already."""
    proposal: str
    """The wording that Accept confirms; "" = nothing should be said."""
    acceptable: bool
    """There is something to accept."""
    to_confirm: bool
    """Accept would not be taken: the proposal is not what was said, and is confirmed by itself."""
    rewording: Rewording | None
    """How the proposal came about, where it says something else than the words that it was made from."""
    unsayable: str
    """Why there is no proposal, where there were words."""
    suggestions: tuple[str, ...]
    """What may have been meant by those."""
    typed: str
    """What stands in the edit field."""
    decided: str
    """The decision in words, where there is one."""
    decided_by: str
    model_version: str


@dataclass(frozen=True, slots=True)
class Tab:
    """One of the lists, with how many moments it holds."""

    state: State
    label: str
    count: int
    current: bool


@dataclass(frozen=True, slots=True)
class Pages:
    """Where a page of a list stands."""

    page: int
    last: int
    first_item: int
    last_item: int
    total: int


def card(row: SampleRow, *, typed: str | None = None) -> Card:
    """A moment for a page. typed: words to put back into the edit field after they were refused."""
    proposal = decisions.proposal(row)
    objection = decisions.objection(row)
    problem = _unsayable(row)
    wearer = row.speaker_id or "the wearer"
    at = datetime.fromtimestamp(row.timestamp, tz=UTC)
    return Card(
        sample_id=row.sample_id,
        row_id=row.row_id,
        state=row.state,
        title=_title(row, wearer),
        when_iso=at.isoformat(timespec="seconds"),
        when=f"{at.day} {at:%B %Y, %H:%M} UTC",
        why=_why(row, wearer),
        picture=f"/media/{row.frame_path}",
        clip=f"/media/{row.clip_path}" if row.clip_path else "",
        sound=f"/media/{row.audio_path}",
        heard=row.spoken,
        held_back="" if row.spoken else row.raw_output,
        alt=_alt(row),
        corrected=bool(row.correction_id),
        wearer=wearer,
        wearer_sound=f"/media/{row.correction_audio_path}" if row.correction_audio_path else "",
        transcript=row.transcript,
        transcribed=bool(row.transcript or row.llm_correction),
        proposal=proposal,
        acceptable=objection is None and not row.reviewed,
        to_confirm=isinstance(objection, Reworded) and not row.reviewed,
        rewording=_rewording(row, proposal),
        unsayable=str(problem) if problem else "",
        suggestions=problem.suggestions if problem else (),
        typed=typed if typed is not None else proposal,
        decided=decided(row),
        decided_by=row.author if row.state != "pending" else "",
        model_version=row.model_version,
    )


def answer(outcome: Outcome, *, typed: str | None) -> Rewording | None:
    """What a person may choose after words that were not taken; None where there is nothing to choose."""
    if not (outcome.wording or outcome.suggestions) or outcome.row is None:
        return None
    text = typed if typed is not None else decisions.source(outcome.row)
    return Rewording(
        "You wrote" if typed is not None else "It was said",
        " ".join(text.split()),
        outcome.wording,
        wording.left_out(outcome.lost),
        outcome.suggestions,
    )


def _rewording(row: SampleRow, proposal: str) -> Rewording | None:
    found = decisions.changed(row)
    if found is None:
        return None
    what = "Heard" if row.correction_id else "The device’s words were"
    return Rewording(what, found.text, proposal, wording.left_out(found.lost))


def _unsayable(row: SampleRow) -> NotSayable | None:
    """Why there is no proposal: the wearer's words as they were heard, else the device's, may not be taught."""
    if not decisions.not_understood(row):
        return None
    try:
        wording.teachable(row.transcript if row.correction_id else decisions.source(row))
    except NotSayable as problem:
        return problem
    except Refused:
        return None
    return None


def _title(row: SampleRow, wearer: str) -> str:
    if row.correction_id:
        return f"Correction by {wearer}"
    if "wearer" in row.flags:
        return f"Flagged by {wearer}"
    return f"Moment from a walk of {wearer}"


def _alt(row: SampleRow) -> str:
    if row.spoken:
        return f"Camera picture. The device said: {row.spoken}"
    if row.raw_output:
        return f"Camera picture. The device said nothing aloud. It held back: {row.raw_output}"
    return "Camera picture. The device said nothing."


def _why(row: SampleRow, wearer: str) -> str:
    # Speaking a correction holds the button down: saying both would be saying it twice.
    flags = [flag for flag in row.flags if flag in _WHY and not (flag == "wearer" and row.correction_id)]
    text = "; ".join(_WHY[flag].format(wearer=wearer) for flag in flags)
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def decided(row: SampleRow) -> str:
    """A decision in words, "" while there is none."""
    if row.rejected:
        return "Rejected: this moment will not teach the device."
    if not row.reviewed:
        return ""
    return f"Confirmed: “{row.ground_truth}”" if row.ground_truth else "Confirmed: nothing should be said."


def tabs(counts: dict[str, int], current: State) -> list[Tab]:
    """The three lists."""
    return [Tab(state, label, counts[state], state == current) for state, label in TABS]


def pages(total: int, *, page: int, size: int) -> Pages:
    """Where page `page` (from 1) of a list stands; a page beyond the end becomes the last one."""
    last = max(1, -(-total // size))
    page = min(max(1, page), last)
    return Pages(page, last, min(total, (page - 1) * size + 1), min(total, page * size), total)
