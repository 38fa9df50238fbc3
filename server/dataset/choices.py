"""What may have been meant by a spoken correction, as it is kept with its moment."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Annotated, Any

from shared import strict
from shared.errors import MessageError
from shared.messages import Share
from shared.strict import Text

SURE = 0.85
"""From this probability on a proposal counts as sure; below it a person listens before they take it. Of the sounds that
it was calibrated on 19 of 20 were right from here on, with whatever recogniser (docs/learning.md)."""


@dataclass(frozen=True, slots=True)
class HeardChoice:
    """One of the things that may have been meant."""

    wording: Text
    """Canonical."""
    probability: Share
    heard: Text = ""
    """Words that mean it, as a recogniser heard them; "" = none did word for word."""


HeardChoices = Annotated[tuple[HeardChoice, ...], strict.Items]


@dataclass(frozen=True, slots=True)
class _Kept:
    choices: HeardChoices


def to_list(choices: Iterable[HeardChoice]) -> list[dict[str, Any]]:
    """As plain JSON values."""
    return [asdict(one) for one in choices]


def from_list(value: Any) -> tuple[HeardChoice, ...]:
    """Read them back; () where there are none, or what is there is something else: they are an aid, no fact."""
    try:
        return strict.read(_Kept, {"choices": value}).choices
    except MessageError:
        return ()
