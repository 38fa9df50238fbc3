"""Moments as samples of the collection layout, and what came from such a sample. Pure.

What a sample said when it was brought in stays with its moment, in `extra`: it leaves again under its own id, and with
its own mark of having been right as long as nobody has decided otherwise.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from exporters.datasets import collection
from exporters.datasets.collection import CollectedSample
from server.dataset.sample_row import SampleRow
from server.dataset.wording import means_the_same
from shared.errors import DatasetError

FIELD = "collected"
"""The entry of a row's `extra` that holds the sample as it came."""


def sample_of(row: SampleRow, truth: str | None) -> CollectedSample:
    """The sample of a moment, without its video. truth: what it says was right; None = nobody has decided"""
    came = origin(row)
    sample = CollectedSample(
        id=row.sample_id,
        video_path="",
        raw_output=row.raw_output,
        llm_correction=row.llm_correction,
        ground_truth=truth,
        timestamp=row.timestamp,
        was_correct=row.was_correct,
        speaker=row.speaker_id,
        context=row.context,
    )
    if came is None:
        return sample
    sample = replace(sample, id=came.id, llm_correction=came.llm_correction, more=came.more)
    if (came.ground_truth or None) is None or truth is None or not means_the_same(came.ground_truth or "", truth):
        return sample
    return replace(sample, ground_truth=came.ground_truth, was_correct=came.was_correct)


def origin(row: SampleRow) -> CollectedSample | None:
    """The sample that a moment came from, None = from none."""
    value: Any = row.extra.get(FIELD)
    try:
        return None if value is None else collection.from_dict(value)
    except DatasetError:  # another tool's field of that name
        return None
