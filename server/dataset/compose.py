"""What a moment's sample row should be, given everything known about it so far. Pure.

The same facts give the same row whatever order they came in, so a message that arrives twice, late or out of order can
not change the dataset.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from server.dataset import sample_row
from server.dataset.choices import HeardChoice
from server.dataset.sample_row import SampleRow, Split, next_version
from server.dataset.wording import canonical, means_the_same
from shared import hidden
from shared.messages import ChunkRecord, CorrectionRecord

_NO_RECORD_SAYS = ("golden", *sample_row.TEACHER_FIELDS, *sample_row.LLM_FIELDS, *sample_row.DOUBT_FIELDS)
"""What persons, teachers and language models on the server said of a moment: it stays whatever else comes in."""


@dataclass(frozen=True, slots=True)
class KnownCorrection:
    """A correction as far as it is known: its record, its sound, and what was understood of it."""

    record: CorrectionRecord
    audio_path: str = ""
    transcript: str | None = None
    confidence: float = 0.0
    proposal: str = ""
    choices: tuple[HeardChoice, ...] = ()


def compose(
    record: ChunkRecord,
    paths: Mapping[str, str],
    corrections: Sequence[KnownCorrection],
    *,
    current: SampleRow | None,
    split: Split,
) -> SampleRow | None:
    """The row that a chunk's sample should have now, or None while its frame or audio is missing. Pure.

    paths: part kind -> path in the dataset. current: the sample's newest row; what a person decided in it stays, unless
    a correction comes in afterwards that says something else, which puts the sample back in the queue.
    """
    if "frame" not in paths or "audio" not in paths:
        return None
    newest = max(corrections, key=lambda c: (c.record.started_at_s, c.record.correction_id), default=None)
    # A correction that was not understood still says that raw_output was wrong: propose nothing then.
    proposed = canonical(newest.proposal if newest else record.raw_output)
    understood = newest is not None and proposed != ""
    row = SampleRow(
        **_identity(record, current),
        sample_id=record.chunk_id,
        frame_path=paths["frame"],
        audio_path=paths["audio"],
        clip_path=paths.get("clip", ""),
        instruction=proposed,
        raw_output=record.raw_output,
        spoken=record.spoken,
        llm_correction=proposed,
        timestamp=record.captured_at_utc,
        speaker_id=record.wearer,
        context=record.context,
        device=record.device,
        walk_id=record.walk_id,
        model_version=record.model_version,
        confidence=record.confidence,
        flags=tuple(dict.fromkeys((*record.flags, *(("correction",) if newest else ())))),
        consent=record.consent,
        **_origin(record, understood=understood),
        split=split,
        **_correction_fields(newest),
        duration_s=record.duration_s,
        extra=_extra(record, paths, current),
    )
    row = _keep_decision(row, current)
    if current is None or row == current:
        return row
    return next_version(current, row)


def _identity(record: ChunkRecord, current: SampleRow | None) -> dict[str, Any]:
    if current is None:
        return {"row_id": f"{record.chunk_id}#1"}
    kept = {name: getattr(current, name) for name in _NO_RECORD_SAYS}
    return {"row_id": current.row_id, "supersedes": current.supersedes, **kept}


def _extra(record: ChunkRecord, paths: Mapping[str, str], current: SampleRow | None) -> dict[str, Any]:
    """Fields of other tools; and what was hidden here in a picture that is the row's still."""
    fields = sample_row.foreign_fields(record.extra)
    if current is not None and current.hidden and current.frame_path == paths["frame"]:
        fields[hidden.FIELD] = current.hidden
    return fields


def _origin(record: ChunkRecord, *, understood: bool) -> dict[str, Any]:
    """Whose words they are. understood: a correction of the wearer's was"""
    if understood:
        return {"source": "wearer_voice", "author": record.wearer or record.device}
    return {"source": "device", "author": record.device}


def _correction_fields(newest: KnownCorrection | None) -> dict[str, Any]:
    if newest is None:
        return {}
    return {
        "transcript": newest.transcript or "",
        "transcript_confidence": newest.confidence,
        "transcript_choices": newest.choices,
        "correction_id": newest.record.correction_id,
        "correction_audio_path": newest.audio_path,
    }


def _keep_decision(row: SampleRow, current: SampleRow | None) -> SampleRow:
    if current is None or (current.state == "pending" and not current.doubted):
        return row
    contradicted = row.correction_id != current.correction_id or row.transcript != current.transcript
    if contradicted and row.source == "wearer_voice" and not means_the_same(row.llm_correction, current.ground_truth):
        return replace(row, doubt_score=0.0)  # the label that was doubted is gone
    return replace(
        row,
        reviewed=current.reviewed,
        rejected=current.rejected,
        ground_truth=current.ground_truth,
        was_correct=current.was_correct,
        instruction=current.instruction,
        source=current.source,
        author=current.author,
        batch=current.batch,
    )
