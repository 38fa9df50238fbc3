"""The consent of one wearer: what may be kept, who sees it, what it may teach, where it may go, for how long. Pure.

A wearer is who the moments say (`device.wearer`), or the device where they say nobody.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, Protocol

from msgspec import Meta

from shared import strict
from shared.errors import DatasetError, MessageError

EVERYBODY = ""
"""Stands for all wearers whom nobody has asked."""
DAYS_MOST = 36_500
NAMED_MOST = 100


class SeenBy(StrEnum):
    """Who may see a wearer's moments beside the wearer and the admins."""

    NOBODY = "nobody"
    NAMED = "named"
    """The accounts that the consent names."""
    CAREGIVERS = "caregivers"
    """All caregivers."""


class LeavesFor(StrEnum):
    """Into which exports a wearer's moments may go."""

    NOWHERE = "nowhere"
    OWN = "own"
    """Into exports for this server's own use."""
    OTHERS = "others"
    """Also into what is handed on (`export --for others`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """What a wearer agreed to. Without an answer to a question the answer is no."""

    keep: bool = False
    """Moments may be stored. Where not, what comes is deleted, on the device too; what is there stays until it is
    deleted by hand or by its age."""
    seen: SeenBy = SeenBy.NOBODY
    named: Annotated[tuple[strict.Text, ...], Meta(max_length=NAMED_MOST)] = ()
    """With SeenBy.NAMED: accounts."""
    teach: bool = False
    """Moments may teach and judge models at all."""
    for_others: bool = False
    """They may teach the model that everybody is offered; where not, only an adapter of the wearer's own."""
    export: LeavesFor = LeavesFor.NOWHERE
    days: Annotated[int, Meta(ge=0, le=DAYS_MOST)] = 0
    """For how many days a moment is kept; 0 = as long as the server's own setting says."""


GRANTED = Consent(keep=True, seen=SeenBy.CAREGIVERS, teach=True, for_others=True, export=LeavesFor.OWN)
"""What held for everybody before wearers were asked. What is handed on stays a matter of `export.agreed`."""
NOTHING = Consent()
DEFAULTS = {"granted": GRANTED, "ask": NOTHING}
"""`consent.default` → what holds for a wearer whom nobody has asked."""


class OfWearer(Protocol):
    """A row of the dataset, or what else says whose it is."""

    @property
    def speaker_id(self) -> str: ...
    @property
    def device(self) -> str: ...


def wearer_of(row: OfWearer) -> str:
    """Whose moment it is."""
    return row.speaker_id or row.device


def hashed(wearer: str) -> str:
    """What stands for the name of a wearer of whom everything was deleted."""
    return f"sha256:{hashlib.sha256(wearer.encode()).hexdigest()}"


@dataclass(frozen=True, slots=True)
class Consents:
    """The newest answers of all wearers, as they stood when they were read."""

    known: Mapping[str, Consent] = field(default_factory=dict)
    """Wearer, or the hash of one who was deleted → consent; EVERYBODY → of those whom nobody has asked."""

    def of(self, wearer: str) -> Consent:
        """What this wearer agreed to, or what holds for those whom nobody has asked."""
        return self.asked(wearer) or self.known.get(EVERYBODY, GRANTED)

    def asked(self, wearer: str) -> Consent | None:
        """What this wearer said; None where nobody has asked."""
        if wearer == EVERYBODY:
            return None
        return self.known.get(wearer) or self.known.get(hashed(wearer))

    def keeps(self, wearer: str) -> bool:
        """Whether a moment may be stored."""
        return self.of(wearer).keep

    def teaches(self, row: OfWearer) -> bool:
        """Whether a moment may teach or judge anything: the shared model, or the wearer's own adapter."""
        return self.of(wearer_of(row)).teach

    def teaches_others(self, row: OfWearer) -> bool:
        """Whether it may teach or judge what others are offered."""
        consent = self.of(wearer_of(row))
        return consent.teach and consent.for_others


def to_dict(consent: Consent) -> dict[str, Any]:
    """As plain JSON values."""
    return dict(strict.plain(consent))


def from_dict(value: Any) -> Consent:
    """Raises: DatasetError where it cannot be read: nobody guesses what somebody agreed to."""
    try:
        return strict.read(Consent, value)
    except MessageError as error:
        raise DatasetError(
            f"A consent in the database cannot be read ({error}).", hint="Ask the wearer anew."
        ) from None


def in_words(consent: Consent) -> list[str]:
    """One sentence for each question, to be read aloud."""
    seen = {
        SeenBy.NOBODY: "Only the wearer and the admins see them.",
        SeenBy.NAMED: f"Only the wearer, the admins and {', '.join(consent.named) or 'nobody else'} see them.",
        SeenBy.CAREGIVERS: "All caregivers see them.",
    }
    leaves = {
        LeavesFor.NOWHERE: "They are in no export.",
        LeavesFor.OWN: "They are in exports for this server's own use.",
        LeavesFor.OTHERS: "They may be handed on to others.",
    }
    teaches = (
        "They teach the model of everybody." if consent.for_others else "They teach only the wearer's own adapter."
    )
    return [
        "New moments are stored." if consent.keep else "New moments are not stored.",
        seen[consent.seen],
        teaches if consent.teach else "They teach nothing.",
        leaves[consent.export],
        f"They are deleted after {consent.days} days." if consent.days else "They have no age limit of their own.",
    ]
