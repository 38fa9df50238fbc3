"""What may be taught about a moment, with who says so and how sure they are: keys 1 to 9 on the page. Pure.

The wearer's words come first, as they were heard, then what else may have been heard, then what networks on the server
and the device saw. Each sentence stands there once, with all who say it. None is taken by itself: a person presses its
key, and that is an edit to this sentence.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from server.dataset import wording
from server.dataset.sample_row import SampleRow
from server.review import decisions, listening

MOST = 9


@dataclass(frozen=True, slots=True)
class WordingChoice:
    """One sentence that may be taught."""

    key: int
    """1 to MOST."""
    wording: str
    """Canonical, never ""."""
    said_by: tuple[str, ...]
    """Who says it and how sure they are: "heard, 62 % sure"."""
    proposed: bool
    """Accept teaches it."""

    @property
    def told(self) -> str:
        """All who say it, in words."""
        return "; ".join(self.said_by)


def sure(share: float) -> str:
    """0..1 in words."""
    return f"{round(100 * min(1.0, max(0.0, share)))} % sure"


def choices(row: SampleRow) -> tuple[WordingChoice, ...]:
    """The sentences of a moment that waits, the proposal first; () once a person has decided."""
    if row.state != "pending":
        return ()
    proposed = decisions.proposal(row)
    found: dict[str, list[str]] = {proposed: []} if proposed else {}
    for text, told in _voices(row):
        sentence = wording.canonical(text)
        if sentence:
            found.setdefault(sentence, []).append(told)
    kept = list(found.items())[:MOST]
    return tuple(
        WordingChoice(number, sentence, tuple(dict.fromkeys(told)), sentence == proposed)
        for number, (sentence, told) in enumerate(kept, start=1)
    )


def unsure(row: SampleRow) -> str:
    """Why a person must listen before the proposal is accepted, "" where there is no such reason."""
    if row.state != "pending" or not row.correction_audio_path:
        return ""
    if decisions.suggested_by(row):
        return "A language model proposes this from the words alone."
    if row.transcript and listening.must_listen(row):
        return f"It was not heard clearly: {sure(row.transcript_confidence)}."
    return ""


def _voices(row: SampleRow) -> Iterator[tuple[str, str]]:
    """(words, who says them) of each that has an opinion, in the order in which a person should think of them."""
    if row.llm_correction and row.correction_id:
        yield row.llm_correction, f"heard from the wearer, {sure(row.transcript_confidence)}"
    yield from _heard_otherwise(row)
    if decisions.suggested(row):
        yield row.llm_wording, f"language model {row.llm_model}"
    if row.teacher_wording:
        yield row.teacher_wording, f"{row.teacher} on this server, {sure(row.teacher_score)}"
    for text in _sentences(decisions.said(row)):
        yield text, f"the device, {sure(row.confidence)}"


def _heard_otherwise(row: SampleRow) -> Iterator[tuple[str, str]]:
    """What else may have been meant by the correction, the likeliest first."""
    kept = getattr(row, "transcript_choices", None) or row.extra.get("transcript_choices")
    for other in kept if isinstance(kept, list | tuple) else ():
        text, share = (_field(other, name) for name in ("wording", "probability"))
        if isinstance(text, str):
            yield text, f"may have been meant{f', {sure(share)}' if isinstance(share, float) else ''}"


def _field(choice: Any, name: str) -> Any:
    """Of a choice as a row has it: an object, or JSON from a newer server than this one."""
    return choice.get(name) if isinstance(choice, Mapping) else getattr(choice, name, None)


def _sentences(text: str) -> Iterable[str]:
    return (f"{part.strip()}." for part in text.split(".") if part.strip())
