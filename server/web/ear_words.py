"""What the mode by ear says: a moment, what became of a decision, the keys. Pure: values in, parts to be played out.

Sentences are short and in one order, so that a person who knows it can press a key before the end. Nothing is left to a
picture: what is drawn or coloured on the page is said here, or not needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from server.privacy.proof import Proof
from server.web.view import MomentCard, Rewording
from shared.plural import several


class EarKind(StrEnum):
    """What a part is for whoever plays it."""

    WORDS = "words"
    SOUND = "sound"
    """The sound of the moment."""
    WEARER = "wearer"
    """What the wearer said: a proposal that is unsure is accepted only once this was heard to its end."""
    PROPOSAL = "proposal"
    """What Enter accepts: it accepts nothing before this was heard."""
    QUESTION = "question"
    """What is asked before a moment is deleted or blurred, or one decision is about several: Enter carries out nothing
    before this was heard."""


@dataclass(frozen=True, slots=True)
class EarPart:
    """One piece of what is heard."""

    text: str
    """Spoken by the server's voice; of a file, what it is."""
    media: str = ""
    """A file inside the dataset folder that is played instead, "" = the text is spoken."""
    kind: EarKind = EarKind.WORDS


HELP = (
    "Keys.",
    "Enter accepts what is proposed.",
    "The numbers choose another wording.",
    "E: type what should be said, then Enter.",
    "N: nothing should be said.",
    "T: reject, so that it teaches nothing.",
    "S: skip. U: undo. D: difficult, for somebody else.",
    "R: hear the moment again. W: hear only what the wearer said.",
    "J and K: the moment after and before this one on the walk.",
    "X: accept for the moments that look the same, too. B: blur faces and number plates. You are asked first.",
    "Delete: delete the moment for good, where it is yours. You are asked first.",
    "Space: pause, and go on. Plus and minus: faster and slower.",
    "Escape: stop speaking. H: these keys.",
)
DONE = "Nothing is left to review. Thank you."
NOT_YOURS = "Only an admin, or the wearer, may delete it."
MORE_WOULD_GO = "Nothing was deleted. Something else would go by now. Delete asks again."
ON_WALK = {"next": "The moment after it on the walk.", "previous": "The moment before it on the walk."}
END_OF_WALK = {
    "next": "No moment of this walk comes after this one.",
    "previous": "No moment of this walk comes before this one.",
}
ONE_WENT = "Nothing was saved. One of these moments is not there for you any more. X asks again."
NONE_ALIKE = "No other moment that waits looks the same."
BLUR = "Faces and number plates are made unrecognisable, in the picture and in the clip. It cannot be taken back."
UNHEARD = "Listen first. Then Enter accepts it."


def moment(card: MomentCard, *, number: int, of: int, held_by: str = "") -> tuple[EarPart, ...]:
    """All that is heard of one moment, in order.

    number, of: its place among those of this sitting, from 1
    held_by: who else has it open, "" = nobody
    """
    return (
        EarPart(f"Moment {number} of {of}. {card.title}, {card.at:%B} {card.at.day}, {card.at:%H:%M}."),
        *(EarPart(f"{held_by} has this one.") for _ in range(bool(held_by))),
        EarPart(_device(card)),
        EarPart("The sound of the moment", card.row.audio_path, EarKind.SOUND),
        *_wearer(card),
        *_proposal(card),
    )


def wearer_only(card: MomentCard) -> tuple[EarPart, ...]:
    """What the wearer said, again."""
    return tuple(_wearer(card)) or (EarPart("The wearer said nothing."),)


def choice(card: MomentCard, key: int) -> EarPart:
    """What a number would teach."""
    found = next((item for item in card.choices if item.key == key), None)
    if found is None:
        return EarPart(f"There is no wording {key}.")
    return EarPart(f"{key}: {found.wording} Enter teaches it. Escape leaves it.", kind=EarKind.PROPOSAL)


def offered(offer: Rewording | None, reason: str) -> tuple[EarPart, ...]:
    """Words that were not taken as they are: what they would become, or what may have been meant."""
    if offer is None:
        return (EarPart(reason),)
    if offer.wording:
        told = f"{offer.what}: {offer.text}. It will be taught as: {offer.wording} {offer.left_out}"
        return (EarPart(f"{told} Enter teaches it. Escape leaves it.", kind=EarKind.PROPOSAL),)
    options = " ".join(f"{number}: {text}" for number, text in enumerate(offer.suggestions, start=1))
    return (EarPart(reason), EarPart(f"Choose by its number. {options} Or E: type again."))


def decided(card: MomentCard, *, left: int) -> EarPart:
    """What became of a decision. left: how many wait yet"""
    what = card.decided or "This moment waits for a review again."
    return EarPart(f"{what} {_left(left)} U takes it back.")


def changed(card: MomentCard, *, read: str, who: str) -> tuple[EarPart, ...]:
    """Somebody decided meanwhile, or the wearer did. read: the wording that the person had heard; who: "" = unknown"""
    stands = card.decided or (f"Proposed now: {card.proposal}" if card.proposal else "Nothing is proposed now.")
    return (
        EarPart(f"Not saved. {who or 'Somebody'} changed this moment meanwhile."),
        EarPart(f"You heard: {read or 'nothing should be said.'} {stands}"),
    )


def deleting(words: Sequence[str]) -> tuple[EarPart, ...]:
    """The question before a moment is deleted. words: what would go, a sentence for each thing, and that it is final"""
    *before, last = words
    question = f"{last} Enter deletes it. Escape keeps it."
    return (*(EarPart(line) for line in before), EarPart(question, kind=EarKind.QUESTION))


def blurring() -> EarPart:
    """The question before a moment is blurred."""
    return EarPart(f"{BLUR} Enter does it. Escape leaves it.", kind=EarKind.QUESTION)


def alike(proposal: str, times: Sequence[datetime]) -> tuple[EarPart, ...]:
    """The question before one decision is about several moments. times: of the others, in UTC; none = there are none"""
    if not times:
        return (EarPart(NONE_ALIKE),)
    told = f"{several(len(times), 'other moment')} of this walk: the device said the same, and they look the same."
    at = f"At {', '.join(f'{one:%H:%M:%S}' for one in times)}."
    question = f"Proposed for all: {proposal or 'nothing should be said.'} Enter accepts all of them. Escape leaves it."
    return (EarPart(told), EarPart(at), EarPart(question, kind=EarKind.QUESTION))


def decided_all(count: int, *, left: int) -> EarPart:
    """What became of one decision about several."""
    return EarPart(f"Confirmed: {several(count, 'moment')}. {_left(left)} U takes all of them back.")


def taken_back(count: int) -> EarPart:
    """What became of an undo."""
    return EarPart("Taken back." if count == 1 else f"Taken back: {several(count, 'moment')}.")


def deleted(proof: Proof) -> tuple[EarPart, ...]:
    """What is told of a proof: all but figures for a computer, which stand on the page of the proofs."""
    found = "nothing of it is left" if proof.checked else "something of it is still"
    return (
        EarPart(f"Deleted for good: {several(proof.moments, 'moment')} and {several(proof.records, 'record')}."),
        EarPart(f"Looked through afterwards: {found} in the database, the logs and the files of the dataset."),
        *(EarPart(f"Model {name} has learnt from it.") for name in proof.models),
        *(EarPart(f"Left: {line}.") for line in proof.left),
        EarPart(f"This is proof {proof.id}. It stands under Wearers, What was deleted."),
    )


def _left(left: int) -> str:
    return "None is left." if not left else f"{left} left."


def _device(card: MomentCard) -> str:
    if card.row.spoken:
        return f"The device said: {card.row.spoken}"
    if card.row.raw_output:
        return f"The device said nothing aloud. It held back: {card.row.raw_output}"
    return "The device said nothing."


def _wearer(card: MomentCard) -> Iterator[EarPart]:
    if not card.row.correction_id:
        return
    if card.row.correction_audio_path:
        yield EarPart(f"{card.wearer} said:")
        yield EarPart(f"What {card.wearer} said", card.row.correction_audio_path, EarKind.WEARER)
    if card.row.transcript:
        yield EarPart(f"It was heard as: {card.row.transcript}. {card.unsure}".strip())
    else:
        yield EarPart("It was not understood.")


def _proposal(card: MomentCard) -> Iterator[EarPart]:
    if card.decided:
        yield EarPart(card.decided)
        return
    others = [item for item in card.choices if not item.proposed]
    if others:
        yield EarPart("Other wordings. " + " ".join(f"{item.key}: {item.wording} {item.told}." for item in others))
    if card.acceptable or card.to_confirm:
        yield EarPart(_proposed(card), kind=EarKind.PROPOSAL)
    else:
        yield EarPart("Nothing is proposed. E: type what should be said. N: nothing should be said. S: skip.")


def _proposed(card: MomentCard) -> str:
    left_out = card.rewording.left_out if card.rewording else ""
    enter = "It is unsure: listen, then Enter accepts." if card.unsure else "Enter to accept."
    what = card.proposal or "nothing should be said."
    return " ".join(filter(None, (f"Proposed: {what}", left_out, enter)))
