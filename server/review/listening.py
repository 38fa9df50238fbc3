"""Which proposals a person must listen to before they take them. Pure."""

from __future__ import annotations

from server.dataset.choices import SURE
from server.dataset.sample_row import SampleRow


def must_listen(row: SampleRow) -> bool:
    """Whether the wording that waits was heard in a spoken correction, and too many such hearings were wrong: below
    `SURE`, the probability from which 19 of 20 were right."""
    return bool(row.correction_id) and row.state == "pending" and not row.doubted and row.transcript_confidence < SURE
